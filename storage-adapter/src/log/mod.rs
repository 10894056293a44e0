//! The node's log on disk: segment files zeroed ahead of the writer, and the writer's thread.

mod segment_folder;
mod writer;
mod zeroing;

pub(crate) use segment_folder::{SegmentFolder, has_segments};
pub(crate) use writer::{LogEvents, LogWriter};

use replication::wal::Record;

/// Bytes of a record beside an entry's payload, roughly.
const RECORD_BYTES: u64 = 64;

/// What records occupy in the log, roughly: what decides when to checkpoint.
pub(crate) fn weight(records: &[Record]) -> u64 {
    let payload = |record: &Record| match record {
        Record::Entry(_, entry) => entry.payload.len() as u64,
        _ => 0,
    };
    records.iter().map(|record| RECORD_BYTES + payload(record)).sum()
}

#[cfg(test)]
mod tests;
