//! Reading a segment's bytes: its records, and how it ends.

use super::record::{ALIGNMENT, Record};
use super::segment::{FIRST_RECORD, Footer, SegmentHeader, SegmentNumber, TRAILER, footer_offset};

/// What a segment holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Scanned {
    /// Valid records with their offsets, in order. After damage they go on behind it.
    pub records: Vec<(u32, Record)>,
    /// How it ends.
    pub end: ScanEnd,
}

/// How a segment ends. Offsets are those of the first byte that is no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScanEnd {
    /// With its footer: nothing was ever meant to follow.
    Sealed {
        /// Where the footer stands.
        at: u32,
    },
    /// With zeros: this is how far it was written.
    Clean {
        /// Where the next record would go.
        at: u32,
    },
    /// In the middle of the last batch, which was never durable as a whole.
    Torn {
        /// Where to cut.
        at: u32,
    },
    /// Something that was durable is not readable any more.
    Damaged {
        /// Where the first unreadable record stands.
        at: u32,
    },
}

/// Scans a whole segment. `newest`: no later segment exists, so its end may be missing.
#[must_use]
pub fn scan(number: SegmentNumber, bytes: &[u8], newest: bool) -> Scanned {
    let header = match SegmentHeader::decode(bytes) {
        Ok(header) if header.number == number && header.size as usize == bytes.len() => header,
        // The header is durable before anything else is written: alone and bad, it was being created.
        Ok(_) | Err(_) => {
            let unused = bytes.get(FIRST_RECORD as usize..).is_none_or(is_zero);
            let end = if newest && unused { ScanEnd::Torn { at: 0 } } else { ScanEnd::Damaged { at: 0 } };
            return Scanned { records: Vec::new(), end };
        }
    };
    scan_records(&header, bytes, newest)
}

fn scan_records(header: &SegmentHeader, bytes: &[u8], newest: bool) -> Scanned {
    let footer = footer_offset(header, bytes).ok();
    let mut records = Vec::new();
    let mut at = FIRST_RECORD;
    let mut damage: Option<u32> = None;
    loop {
        while let Ok(framed) = Record::decode(header, bytes, at) {
            records.push((at, framed.what));
            at = framed.next;
        }
        if footer == Some(at) && Footer::decode(header, bytes, at).is_ok() {
            let end = damage.map_or(ScanEnd::Sealed { at }, |at| ScanEnd::Damaged { at });
            return Scanned { records, end };
        }
        // A sealed or older segment is durable to its end; in the newest, what a later batch follows.
        let durable = footer.is_some() || !newest;
        let rest = &bytes[(at as usize).min(bytes.len())..];
        let found = if is_zero(rest) { None } else { next_valid(header, bytes, at) };
        match found {
            Some(next) if durable || next.batch_start > at => {
                damage.get_or_insert(at);
                at = next.offset;
            }
            _ => {
                let end = if let Some(at) = damage {
                    ScanEnd::Damaged { at }
                } else if durable {
                    ScanEnd::Damaged { at }
                } else if is_zero(rest) {
                    ScanEnd::Clean { at }
                } else {
                    ScanEnd::Torn { at }
                };
                return Scanned { records, end };
            }
        }
    }
}

struct Found {
    offset: u32,
    batch_start: u32,
}

/// The next valid record after a bad one; of several, preferably one that proves the bad one durable.
fn next_valid(header: &SegmentHeader, bytes: &[u8], bad: u32) -> Option<Found> {
    let step = u32::try_from(ALIGNMENT).expect("small");
    let limit = u32::try_from(bytes.len().saturating_sub(TRAILER)).unwrap_or(u32::MAX);
    let mut offset = bad.saturating_add(step);
    let mut first = None;
    while offset < limit {
        match Record::decode(header, bytes, offset) {
            Ok(framed) => {
                let found = Found { offset, batch_start: framed.batch_start };
                let proves = found.batch_start > bad;
                let first = first.get_or_insert(found);
                if proves {
                    return Some(Found { offset: first.offset, batch_start: framed.batch_start });
                }
                offset = framed.next;
            }
            Err(_) => {
                offset += step;
                // Most of a fresh segment is zeros, which hold no record.
                let rest = bytes.get(offset as usize..).unwrap_or_default();
                if offset.is_multiple_of(SKIP) && rest.len() >= ZEROS.len() && rest[..ZEROS.len()] == ZEROS {
                    offset += SKIP - step;
                }
            }
        }
    }
    first
}

/// Zeros are passed over in pieces of this size; a record in the last bytes of one is still found,
/// because a piece is passed only when it and the header that could begin in it are all zero.
const SKIP: u32 = 4096;
const ZEROS: [u8; SKIP as usize] = [0; SKIP as usize];

fn is_zero(bytes: &[u8]) -> bool {
    bytes.chunks(ZEROS.len()).all(|chunk| chunk == &ZEROS[..chunk.len()])
}
