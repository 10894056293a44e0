use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};

use replication::wal::{Log, LogOptions, Record, SegmentFile, SegmentNumber, SegmentStore};
use replication::{EntryKind, LogEntry, Membership, PersistBatch, PersistSequence};
use units::{LogIndex, NodeId, PartitionId, Term};

use super::*;

/// Tells a test what the writer reports; none: the log failed.
struct Told(Sender<Option<PersistSequence>>);

impl LogEvents for Told {
    fn persisted(&self, up_to: PersistSequence, _bytes: u64) {
        self.0.send(Some(up_to)).unwrap();
    }

    fn reclaimed(&self, _pinned_by: Vec<PartitionId>) {}

    fn failed(&self, _error: &(dyn std::error::Error + 'static)) {
        self.0.send(None).unwrap();
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
    while durable.recv().unwrap().expect("the log works") < PersistSequence(41) {}
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

/// A disk whose syncs fail from the one on that is its number, counting every touch after that.
#[derive(Clone, Default)]
struct FailingDisk {
    syncs_left: Arc<AtomicUsize>,
    touched_after: Arc<AtomicUsize>,
}

impl FailingDisk {
    fn touch(&self) {
        if self.syncs_left.load(Ordering::SeqCst) == 0 {
            self.touched_after.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl SegmentFile for FailingDisk {
    fn write_at(&mut self, _offset: u64, _bytes: &[u8]) -> io::Result<()> {
        self.touch();
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.touch();
        let left = self.syncs_left.load(Ordering::SeqCst);
        if left <= 1 {
            self.syncs_left.store(0, Ordering::SeqCst);
            return Err(io::Error::other("the disk is gone"));
        }
        self.syncs_left.store(left - 1, Ordering::SeqCst);
        Ok(())
    }
}

impl SegmentStore for FailingDisk {
    type File = Self;

    fn list(&mut self) -> io::Result<Vec<SegmentNumber>> {
        Ok(Vec::new())
    }

    fn read(&mut self, _number: SegmentNumber) -> io::Result<Vec<u8>> {
        unreachable!("there is nothing to read")
    }

    fn open(&mut self, _number: SegmentNumber) -> io::Result<Self> {
        unreachable!("there is nothing to open")
    }

    fn create(&mut self, _number: SegmentNumber, _size: u32) -> io::Result<Self> {
        Ok(self.clone())
    }

    fn remove(&mut self, _number: SegmentNumber) -> io::Result<()> {
        unreachable!("there is nothing to remove")
    }
}

#[test]
fn after_a_failed_sync_nothing_is_reported_durable_and_the_file_is_never_touched_again() {
    let disk = FailingDisk { syncs_left: Arc::new(AtomicUsize::new(20)), ..FailingDisk::default() };
    let (log, _) = Log::open(disk.clone(), OPTIONS).unwrap();
    disk.syncs_left.store(2, Ordering::SeqCst);
    let (told, reports) = channel();
    let mut writer = LogWriter::start(log, Told(told)).unwrap();

    let batch = |sequence| PersistBatch { sequence: PersistSequence(sequence), records: vec![created()] };
    writer.append(batch(1));
    assert_eq!(reports.recv(), Ok(Some(PersistSequence(1))));
    writer.append(batch(2));
    assert_eq!(reports.recv(), Ok(None));
    writer.append(batch(3));
    writer.reclaim();
    writer.close();

    assert!(reports.recv().is_err(), "nothing is reported after the failure");
    assert_eq!(disk.touched_after.load(Ordering::SeqCst), 0);
}
