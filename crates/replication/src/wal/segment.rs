//! A segment's first and last bytes.

use units::{LogIndex, PartitionId};

use super::bytes::{Fields, put_u32, put_u64};
use super::record::{ALIGNMENT, Place, RECORD_HEADER, RecordError, put_frame, read_frame};

const MAGIC: &[u8; 8] = b"WEIRLOG1";
const TRAILER_MAGIC: &[u8; 8] = b"WEIRSEAL";
/// Where the first record stands.
pub(super) const FIRST_RECORD: u32 = 64;
/// The trailer: magic, the footer's offset, CRC32C.
pub(super) const TRAILER: usize = 24;
/// The kind number of the footer's frame; other kinds are records.
const FOOTER_KIND: u8 = 255;
const FOOTER_GROUP_BYTES: usize = 25;

/// A segment's number; they count up from 1 and are never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SegmentNumber(pub u64);

/// The beginning of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Which one it is.
    pub number: SegmentNumber,
    /// Bytes of the whole file.
    pub size: u32,
    /// A number that the log drew when it was created: a client cannot forge a record inside its data.
    pub salt: u64,
}

impl SegmentHeader {
    /// The header's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        put_u64(&mut out, self.number.0);
        put_u32(&mut out, self.size);
        put_u32(&mut out, 0);
        put_u64(&mut out, self.salt);
        let crc = crc32c(&out);
        put_u32(&mut out, crc);
        out.resize(FIRST_RECORD as usize, 0);
        out
    }

    /// Reads a header.
    ///
    /// # Errors
    /// It is short, damaged, or none.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut fields = Fields(bytes);
        let covered = bytes.get(..32).ok_or(RecordError::Short)?;
        if fields.take(8)? != MAGIC {
            return Err(RecordError::Malformed);
        }
        let number = SegmentNumber(fields.u64()?);
        let size = fields.u32()?;
        fields.u32()?;
        let salt = fields.u64()?;
        if fields.u32()? != crc32c(covered) {
            return Err(RecordError::Checksum);
        }
        Ok(Self { number, size, salt })
    }
}

/// What a sealed segment says about itself: which groups have what in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Footer {
    /// In order of group.
    pub groups: Vec<FooterGroup>,
}

/// One group in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FooterGroup {
    /// The group.
    pub group: PartitionId,
    /// First and last index of its entries here; `None`: it has only other records.
    pub entries: Option<(LogIndex, LogIndex)>,
}

impl Footer {
    /// Bytes of a footer of so many groups.
    pub(super) fn encoded_len(groups: usize) -> usize {
        (RECORD_HEADER + groups * FOOTER_GROUP_BYTES).next_multiple_of(ALIGNMENT)
    }

    pub(super) fn encode(&self, segment: &SegmentHeader, place: Place, out: &mut Vec<u8>) {
        put_frame(out, segment, place, FOOTER_KIND, 0, 0, |out| {
            for group in &self.groups {
                put_u64(out, group.group.get());
                out.push(u8::from(group.entries.is_some()));
                let (first, last) = group.entries.unwrap_or_default();
                put_u64(out, first.get());
                put_u64(out, last.get());
            }
        });
    }

    /// Reads the footer at `offset`.
    pub(super) fn decode(segment: &SegmentHeader, bytes: &[u8], offset: u32) -> Result<Self, RecordError> {
        let frame = read_frame(segment, bytes, offset)?;
        if frame.kind != FOOTER_KIND {
            return Err(RecordError::Malformed);
        }
        let mut fields = Fields(frame.body);
        let mut groups = Vec::new();
        while !fields.0.is_empty() {
            let group = PartitionId::new(fields.u64()?);
            let has_entries = fields.flag()?;
            let range = (LogIndex::new(fields.u64()?), LogIndex::new(fields.u64()?));
            groups.push(FooterGroup { group, entries: has_entries.then_some(range) });
        }
        Ok(Self { groups })
    }

    /// The footer of a sealed segment, found by its trailer.
    ///
    /// # Errors
    /// The segment is not sealed, or its end is damaged.
    pub fn of_segment(bytes: &[u8]) -> Result<Self, RecordError> {
        let header = SegmentHeader::decode(bytes)?;
        Self::decode(&header, bytes, footer_offset(&header, bytes)?)
    }
}

/// The last bytes of a sealed segment.
pub(super) fn encode_trailer(segment: &SegmentHeader, footer: u32) -> Vec<u8> {
    let mut out = TRAILER_MAGIC.to_vec();
    put_u32(&mut out, footer);
    put_u32(&mut out, 0);
    let mut covered = out.clone();
    put_u64(&mut covered, segment.number.0);
    put_u64(&mut covered, segment.salt);
    put_u32(&mut out, crc32c(&covered));
    out.resize(TRAILER, 0);
    out
}

/// Where the footer of a sealed segment stands.
pub(super) fn footer_offset(segment: &SegmentHeader, bytes: &[u8]) -> Result<u32, RecordError> {
    let start = bytes.len().checked_sub(TRAILER).ok_or(RecordError::Short)?;
    let mut fields = Fields(&bytes[start..]);
    if fields.take(8)? != TRAILER_MAGIC {
        return Err(RecordError::Malformed);
    }
    let footer = fields.u32()?;
    if encode_trailer(segment, footer) == bytes[start..] { Ok(footer) } else { Err(RecordError::Checksum) }
}

fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(bytes)
}
