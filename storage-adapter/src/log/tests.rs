use std::sync::mpsc::{Sender, channel};

use replication::wal::{Log, LogOptions, Record};
use replication::{EntryKind, LogEntry, Membership, PersistBatch, PersistSequence};
use units::{LogIndex, NodeId, PartitionId, Term};

use super::*;

/// Tells a test what the writer reports.
struct Told(Sender<PersistSequence>);

impl LogEvents for Told {
    fn persisted(&self, up_to: PersistSequence, _bytes: u64) {
        self.0.send(up_to).unwrap();
    }

    fn reclaimed(&self, _pinned_by: Vec<PartitionId>) {}

    fn failed(&self, error: &(dyn std::error::Error + 'static)) {
        panic!("the log failed: {error}");
    }
}

const OPTIONS: LogOptions = LogOptions { segment_bytes: 1 << 20, salt: 7 };
const GROUP: PartitionId = PartitionId::new(3);

fn entry(index: u64, bytes: usize) -> Record {
    let payload = vec![index as u8; bytes].into();
    let entry =
        LogEntry { kind: EntryKind::Normal, term: Term::new(1), index: LogIndex::new(index), payload };
    Record::Entry(GROUP, entry)
}

fn created() -> Record {
    Record::Created(GROUP, Membership::of_voters([NodeId::new(1)]), false)
}

fn open(path: &std::path::Path) -> (Log<SegmentFolder>, replication::wal::RecoveredLog) {
    Log::open(SegmentFolder::open(path.to_owned()).unwrap(), OPTIONS).unwrap()
}

#[test]
fn what_was_reported_durable_is_found_again_over_several_segments() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let (log, _) = open(&path);
    let (told, durable) = channel();
    let mut writer = LogWriter::start(log, Told(told)).unwrap();
    writer.append(PersistBatch { sequence: PersistSequence(1), records: vec![created()] });
    for index in 1..=40 {
        let batch =
            PersistBatch { sequence: PersistSequence(index + 1), records: vec![entry(index, 100_000)] };
        writer.append(batch);
    }
    while durable.recv().unwrap() < PersistSequence(41) {}
    writer.close();

    let (log, recovered) = open(&path);
    assert!(log.sealed_segments() >= 4);
    assert_eq!(recovered.damage, []);
    assert_eq!(recovered.groups[&GROUP].entries.len(), 40);
}

#[test]
fn a_torn_tail_is_cut_and_what_was_synced_before_it_stays() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let (mut log, _) = open(&path);
    log.append(&[created(), entry(1, 10)]).unwrap();
    log.sync().unwrap();
    log.append(&[entry(2, 10_000)]).unwrap();
    drop(log);
    // The last record loses its end, as when power fails before the sync.
    let file = path.join("00000000000000000001.log");
    let mut bytes = std::fs::read(&file).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[end - 100..=end].fill(0);
    std::fs::write(&file, bytes).unwrap();

    let (_, recovered) = open(&path);

    assert!(recovered.torn.is_some());
    assert_eq!(recovered.damage, []);
    assert_eq!(recovered.groups[&GROUP].entries.len(), 1);
}
