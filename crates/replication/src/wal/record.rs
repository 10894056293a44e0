//! What the log holds, and its bytes.
//!
//! ```text
//!  0  u32  length of the body
//!  4  u32  CRC32C of: the log's salt, the segment's number, the offset, length, batch start, kind,
//!          detail, group, body
//!  8  u32  where in this segment the record's batch began
//! 12  u8   kind     13 u8 detail (an entry's kind)    14 u16 zero
//! 16  u64  group
//! 24  body, then zeros up to a multiple of 8
//! ```

use bytes::Bytes;
use units::{LogIndex, NodeId, PartitionId, Term};

use super::bytes::{Fields, put_membership, put_position, put_u32, put_u64};
use super::group_state::GroupState;
use super::segment::SegmentHeader;
use crate::message::{EntryKind, LogEntry};
use crate::recovered::{HardState, Membership, Position, SnapshotPosition};

/// Bytes before a record's body.
pub(super) const RECORD_HEADER: usize = 24;
/// Records begin at multiples of this.
pub(super) const ALIGNMENT: usize = 8;
/// Largest body: an entry holds one request's effects, at most a few items of 400 KB.
pub(super) const MAX_BODY: usize = 32 << 20;

/// One record of the node's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// An entry; it replaces what the group's log had at its index and after.
    Entry(PartitionId, LogEntry),
    /// Term, vote, commit index.
    HardState(PartitionId, HardState),
    /// Who belongs to the group from this index on.
    Membership(PartitionId, LogIndex, Membership),
    /// The replica's data were replaced by a snapshot; the log begins after it.
    Snapshot(PartitionId, SnapshotPosition),
    /// The checkpoint covers the log up to here.
    Checkpoint(PartitionId, Position),
    /// Entries from this index on are void.
    Truncated(PartitionId, LogIndex),
    /// The replica exists; `true`: its data were lost, it must be refilled before it votes.
    Created(PartitionId, Membership, bool),
    /// The replica holds again all that it may have promised.
    Refilled(PartitionId),
    /// The replica is gone.
    Removed(PartitionId),
    /// The state of a group at the beginning of a segment; the log writes it itself.
    State(PartitionId, GroupState),
}

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// There is not enough of it.
    #[error("the record is cut short")]
    Short,
    /// The checksum does not match its bytes and place.
    #[error("the record's checksum does not match")]
    Checksum,
    /// The checksum matches and the content makes no sense: written by something else.
    #[error("the record is malformed")]
    Malformed,
}

impl Record {
    /// The group that it is about.
    #[must_use]
    pub const fn group(&self) -> PartitionId {
        match self {
            Self::Entry(group, _)
            | Self::HardState(group, _)
            | Self::Membership(group, ..)
            | Self::Snapshot(group, _)
            | Self::Checkpoint(group, _)
            | Self::Truncated(group, _)
            | Self::Created(group, ..)
            | Self::Refilled(group)
            | Self::Removed(group)
            | Self::State(group, _) => *group,
        }
    }

    const fn kind(&self) -> u8 {
        match self {
            Self::Entry(..) => 1,
            Self::HardState(..) => 2,
            Self::Membership(..) => 3,
            Self::Snapshot(..) => 4,
            Self::Checkpoint(..) => 5,
            Self::Truncated(..) => 6,
            Self::Created(..) => 7,
            Self::Refilled(_) => 8,
            Self::Removed(_) => 9,
            Self::State(..) => 10,
        }
    }

    const fn detail(&self) -> u8 {
        match self {
            Self::Entry(_, entry) => entry.kind.number(),
            _ => 0,
        }
    }

    fn put_body(&self, out: &mut Vec<u8>) {
        match self {
            Self::Entry(_, entry) => {
                put_u64(out, entry.index.get());
                put_u64(out, entry.term.get());
                out.extend_from_slice(&entry.payload);
            }
            Self::HardState(_, state) => put_hard_state(out, state),
            Self::Membership(_, at, membership) => {
                put_u64(out, at.get());
                put_membership(out, membership);
            }
            Self::Snapshot(_, snapshot) => {
                put_position(out, snapshot.at);
                put_membership(out, &snapshot.membership);
            }
            Self::Checkpoint(_, at) => put_position(out, *at),
            Self::Truncated(_, from) => put_u64(out, from.get()),
            Self::Created(_, membership, refilling) => {
                out.push(u8::from(*refilling));
                put_membership(out, membership);
            }
            Self::Refilled(_) | Self::Removed(_) => {}
            Self::State(_, state) => {
                put_u64(out, state.membership_at.get());
                put_membership(out, &state.membership);
                put_hard_state(out, &state.hard_state);
                put_position(out, state.checkpoint);
                out.push(u8::from(state.refilling));
            }
        }
    }

    fn parse(kind: u8, detail: u8, group: PartitionId, body: &[u8]) -> Result<Self, RecordError> {
        if kind != 1 && detail != 0 {
            return Err(RecordError::Malformed);
        }
        let mut fields = Fields(body);
        let record = match kind {
            1 => {
                let kind = EntryKind::from_number(detail).ok_or(RecordError::Malformed)?;
                let index = LogIndex::new(fields.u64()?);
                let term = Term::new(fields.u64()?);
                let payload = Bytes::copy_from_slice(fields.0);
                return Ok(Self::Entry(group, LogEntry { kind, term, index, payload }));
            }
            2 => Self::HardState(group, hard_state(&mut fields)?),
            3 => Self::Membership(group, LogIndex::new(fields.u64()?), fields.membership()?),
            4 => Self::Snapshot(
                group,
                SnapshotPosition { at: fields.position()?, membership: fields.membership()? },
            ),
            5 => Self::Checkpoint(group, fields.position()?),
            6 => Self::Truncated(group, LogIndex::new(fields.u64()?)),
            7 => {
                let refilling = fields.flag()?;
                Self::Created(group, fields.membership()?, refilling)
            }
            8 => Self::Refilled(group),
            9 => Self::Removed(group),
            10 => {
                let membership_at = LogIndex::new(fields.u64()?);
                let state = GroupState {
                    membership_at,
                    membership: fields.membership()?,
                    hard_state: hard_state(&mut fields)?,
                    checkpoint: fields.position()?,
                    refilling: fields.flag()?,
                };
                Self::State(group, state)
            }
            _ => return Err(RecordError::Malformed),
        };
        fields.end()?;
        Ok(record)
    }

    /// How many bytes it takes in a segment.
    pub(super) fn encoded_len(&self) -> usize {
        // Only entries are large; the others are written twice rather than measured by a second match.
        let body = match self {
            Self::Entry(_, entry) => 16 + entry.payload.len(),
            other => {
                let mut body = Vec::new();
                other.put_body(&mut body);
                body.len()
            }
        };
        (RECORD_HEADER + body).next_multiple_of(ALIGNMENT)
    }

    /// Appends its bytes to `out`, which will be written so that the record lands at `offset`.
    pub(super) fn encode(&self, segment: &SegmentHeader, offset: u32, batch_start: u32, out: &mut Vec<u8>) {
        let (kind, detail, group) = (self.kind(), self.detail(), self.group());
        let place = Place { offset, batch_start };
        put_frame(out, segment, place, kind, detail, group.get(), |out| self.put_body(out));
    }

    /// Reads the record at `offset` of a segment's bytes.
    ///
    /// # Errors
    /// See [`RecordError`].
    pub(super) fn decode(
        segment: &SegmentHeader,
        bytes: &[u8],
        offset: u32,
    ) -> Result<Framed<Self>, RecordError> {
        let frame = read_frame(segment, bytes, offset)?;
        let what = Self::parse(frame.kind, frame.detail, PartitionId::new(frame.group), frame.body)?;
        Ok(Framed { what, batch_start: frame.batch_start, next: frame.next })
    }
}

/// Something read from a segment, and what its frame said.
#[derive(Debug)]
pub(super) struct Framed<T> {
    pub(super) what: T,
    pub(super) batch_start: u32,
    pub(super) next: u32,
}

/// Where a record is.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) offset: u32,
    pub(super) batch_start: u32,
}

pub(super) struct Frame<'a> {
    pub(super) kind: u8,
    pub(super) detail: u8,
    pub(super) group: u64,
    pub(super) body: &'a [u8],
    pub(super) batch_start: u32,
    pub(super) next: u32,
}

/// Writes the header, the body and the padding.
pub(super) fn put_frame(
    out: &mut Vec<u8>,
    segment: &SegmentHeader,
    place: Place,
    kind: u8,
    detail: u8,
    group: u64,
    body: impl FnOnce(&mut Vec<u8>),
) {
    let start = out.len();
    out.extend_from_slice(&[0; 8]);
    put_u32(out, place.batch_start);
    out.extend_from_slice(&[kind, detail, 0, 0]);
    put_u64(out, group);
    body(out);
    let length = out.len() - start - RECORD_HEADER;
    assert!(length <= MAX_BODY, "a record of {length} bytes is larger than any request can cause");
    let length = u32::try_from(length).expect("checked above");
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
    let crc = checksum(segment, place.offset, length, &out[start + 8..]);
    out[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
    let padded = (out.len() - start).next_multiple_of(ALIGNMENT);
    out.resize(start + padded, 0);
}

/// Reads a frame, checking bounds before the checksum and the checksum before all else.
pub(super) fn read_frame<'a>(
    segment: &SegmentHeader,
    bytes: &'a [u8],
    offset: u32,
) -> Result<Frame<'a>, RecordError> {
    let start = offset as usize;
    let mut header = Fields(bytes.get(start..).ok_or(RecordError::Short)?);
    let length = header.u32()?;
    let crc = header.u32()?;
    let batch_start = header.u32()?;
    let kind = header.u8()?;
    let detail = header.u8()?;
    header.take(2)?;
    let group = header.u64()?;
    if length as usize > MAX_BODY || batch_start > offset || kind == 0 {
        return Err(RecordError::Malformed);
    }
    let body = header.take(length as usize)?;
    let covered = &bytes[start + 8..start + RECORD_HEADER + length as usize];
    if checksum(segment, offset, length, covered) != crc {
        return Err(RecordError::Checksum);
    }
    let next = (RECORD_HEADER + length as usize).next_multiple_of(ALIGNMENT);
    let next = offset + u32::try_from(next).expect("at most MAX_BODY");
    Ok(Frame { kind, detail, group, body, batch_start, next })
}

fn checksum(segment: &SegmentHeader, offset: u32, length: u32, rest: &[u8]) -> u32 {
    let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
    let mut place = [0; 24];
    place[..8].copy_from_slice(&segment.salt.to_le_bytes());
    place[8..16].copy_from_slice(&segment.number.0.to_le_bytes());
    place[16..20].copy_from_slice(&offset.to_le_bytes());
    place[20..].copy_from_slice(&length.to_le_bytes());
    digest.update(&place);
    digest.update(rest);
    u32::try_from(digest.finalize()).expect("CRC32C has 32 bits")
}

fn put_hard_state(out: &mut Vec<u8>, state: &HardState) {
    put_u64(out, state.term.get());
    put_u64(out, state.vote.map_or(0, NodeId::get));
    put_u64(out, state.commit.get());
}

fn hard_state(fields: &mut Fields<'_>) -> Result<HardState, RecordError> {
    let term = Term::new(fields.u64()?);
    let vote = match fields.u64()? {
        0 => None,
        node => Some(NodeId::new(node)),
    };
    Ok(HardState { term, vote, commit: LogIndex::new(fields.u64()?) })
}
