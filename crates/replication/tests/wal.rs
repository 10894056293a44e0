//! The write-ahead log: what was durable comes back, what was torn is cut, what is damaged is told.

#![expect(clippy::unwrap_used, reason = "clippy allows it in test functions, not in their helpers")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;

use bytes::Bytes;
use proptest::prelude::*;
use replication::wal::{
    Footer, Log, LogError, LogOptions, Record, ScanEnd, SegmentFile, SegmentNumber, SegmentStore, scan,
};
use replication::{EntryKind, HardState, LogEntry, Membership, Origin, Position, SnapshotPosition};
use units::{LogIndex, NodeId, PartitionId, Term};

const SEGMENT: u32 = 4096;
const FIRST: SegmentNumber = SegmentNumber(1);

#[test]
fn what_was_synced_is_recovered() {
    let disk = Disk::default();
    let (mut log, _) = open(&disk);
    log.append(&[created(1), hard_state(1, 3, 2), entry(1, 1, 3, b"a"), entry(1, 2, 3, b"b")]).unwrap();
    log.sync().unwrap();

    let (_, recovered) = open(&disk);

    let group = &recovered.groups[&group(1)];
    assert_eq!(group.origin, Origin::Intact);
    assert_eq!(
        group.hard_state,
        HardState { term: Term::new(3), vote: Some(NodeId::new(2)), commit: index(0) }
    );
    assert_eq!(payloads(&group.entries), ["a", "b"]);
}

#[test]
fn a_later_entry_replaces_those_from_its_index_on() {
    let disk = Disk::default();
    let (mut log, _) = open(&disk);
    log.append(&[created(1), entry(1, 1, 1, b"a"), entry(1, 2, 1, b"b"), entry(1, 3, 1, b"c")]).unwrap();
    log.append(&[entry(1, 2, 2, b"B")]).unwrap();
    log.sync().unwrap();

    assert_eq!(payloads(&open(&disk).1.groups[&group(1)].entries), ["a", "B"]);
}

#[test]
fn a_snapshot_replaces_the_log_and_a_checkpoint_shortens_it() {
    let disk = Disk::default();
    let (mut log, _) = open(&disk);
    let at = Position { index: index(10), term: Term::new(2) };
    let snapshot = SnapshotPosition { at, membership: Membership::of_voters([NodeId::new(7)]) };
    log.append(&[created(1), entry(1, 1, 1, b"a"), Record::Snapshot(group(1), snapshot.clone())]).unwrap();
    log.append(&[entry(1, 11, 2, b"k"), entry(1, 12, 2, b"l")]).unwrap();
    log.append(&[Record::Checkpoint(group(1), Position { index: index(11), term: Term::new(2) })]).unwrap();
    log.sync().unwrap();

    let recovered = &open(&disk).1.groups[&group(1)];

    assert_eq!(recovered.checkpoint.index, index(11));
    assert_eq!(recovered.membership, snapshot.membership);
    assert_eq!(recovered.hard_state.commit, index(11));
    assert_eq!(payloads(&recovered.entries), ["l"]);
}

#[test]
fn a_removed_group_does_not_come_back() {
    let disk = Disk::default();
    let (mut log, _) = open(&disk);
    log.append(&[created(1), entry(1, 1, 1, b"a"), Record::Removed(group(1)), created(2)]).unwrap();
    log.sync().unwrap();
    assert_eq!(open(&disk).1.groups.keys().collect::<Vec<_>>(), [&group(2)]);
}

#[test]
fn a_lost_replica_stays_so_until_it_is_refilled() {
    let disk = Disk::default();
    let (mut log, _) = open(&disk);
    log.append(&[Record::Created(group(1), Membership::default(), true), entry(1, 1, 1, b"a")]).unwrap();
    log.sync().unwrap();
    let (mut log, recovered) = open(&disk);
    assert_eq!(recovered.groups[&group(1)].origin, Origin::Wiped);

    log.append(&[Record::Refilled(group(1))]).unwrap();
    log.sync().unwrap();

    assert_eq!(open(&disk).1.groups[&group(1)].origin, Origin::Intact);
}

#[test]
fn segments_roll_and_go_when_checkpoints_cover_them() {
    let disk = Disk::default();
    let (mut log, _) = open(&disk);
    log.append(&[created(1), created(2), entry(2, 1, 1, b"pins the first segment")]).unwrap();
    for at in 1..200 {
        log.append(&[entry(1, at, 1, &[b'x'; 100])]).unwrap();
        log.sync().unwrap();
    }
    assert!(log.sealed_segments() > 4);
    log.append(&[Record::Checkpoint(group(1), Position { index: index(199), term: Term::new(1) })]).unwrap();
    assert_eq!(log.reclaim().unwrap(), 0);
    assert_eq!(log.pinned_by(), [group(2)]);

    log.append(&[Record::Checkpoint(group(2), Position { index: index(1), term: Term::new(1) })]).unwrap();
    log.sync().unwrap();
    assert!(log.reclaim().unwrap() > 4);

    let recovered = open(&disk).1;
    assert_eq!(recovered.damage, []);
    assert_eq!(recovered.groups[&group(1)].checkpoint.index, index(199));
    assert_eq!(recovered.groups[&group(2)].checkpoint.index, index(1));
}

#[test]
fn a_sealed_segment_says_which_groups_it_has() {
    let disk = Disk::default();
    let (mut log, _) = open(&disk);
    log.append(&[created(1), entry(1, 1, 1, b"a"), entry(1, 2, 1, b"b"), created(2)]).unwrap();
    log.sync().unwrap();
    drop(open(&disk));
    let footer = Footer::of_segment(&disk.bytes(FIRST)).unwrap();
    let entries: Vec<_> = footer.groups.iter().map(|group| (group.group.get(), group.entries)).collect();
    assert_eq!(entries, [(1, Some((index(1), index(2)))), (2, None)]);
}

#[test]
fn a_tail_torn_at_any_byte_is_cut_and_nothing_durable_is_lost() {
    let disk = Disk::default();
    let (mut log, _) = open(&disk);
    log.append(&[created(1), entry(1, 1, 1, b"durable")]).unwrap();
    log.sync().unwrap();
    let before = disk.bytes(FIRST);
    log.append(&[entry(1, 2, 1, b"two"), entry(1, 3, 1, b"three"), hard_state(1, 1, 1)]).unwrap();
    log.sync().unwrap();
    let after = disk.bytes(FIRST);
    drop(log);
    let written: Vec<usize> = (0..after.len()).filter(|at| before[*at] != after[*at]).collect();

    for cut in written[0]..=written[written.len() - 1] + 1 {
        let torn = Disk::default();
        torn.0.borrow_mut().insert(FIRST, [&after[..cut], &before[cut..]].concat());
        let (mut log, recovered) = open(&torn);
        assert_eq!(recovered.damage, [], "cut at {cut}");
        let entries = payloads(&recovered.groups[&group(1)].entries);
        assert!(
            ["durable", "two", "three"].starts_with(&entries.iter().map(String::as_str).collect::<Vec<_>>())
        );
        assert!(!entries.is_empty(), "cut at {cut}");

        // What is written next stands, and what was cut does not return.
        let next = entries.len() as u64 + 1;
        log.append(&[entry(1, next, 2, b"next")]).unwrap();
        log.sync().unwrap();
        let again = open(&torn).1;
        assert_eq!(again.damage, [], "cut at {cut}");
        assert_eq!(payloads(&again.groups[&group(1)].entries).last().unwrap(), "next");
    }
}

#[test]
fn a_flipped_bit_never_yields_a_wrong_record_and_is_told_when_it_was_durable() {
    let disk = Disk::default();
    let (mut log, _) = open(&disk);
    for at in 1..=4 {
        log.append(&[hard_state(1, at, 1), entry(1, at, at, b"some payload")]).unwrap();
        log.sync().unwrap();
    }
    drop(log);
    let good = disk.bytes(FIRST);
    let original: BTreeMap<u32, Record> = scan(FIRST, &good, true).records.into_iter().collect();
    let last_batch = *original.keys().nth(original.len() - 2).unwrap();
    let end = match scan(FIRST, &good, true).end {
        ScanEnd::Clean { at } => at,
        other => panic!("{other:?}"),
    };

    for bit in 0..end as usize * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        let scanned = scan(FIRST, &bad, true);
        for (at, record) in &scanned.records {
            assert_eq!(original.get(at), Some(record), "bit {bit}");
        }
        let lost = scanned.records.len() < original.len();
        let durable = bit / 8 < last_batch as usize;
        let told = matches!(scanned.end, ScanEnd::Damaged { .. });
        assert_eq!(lost && durable, told, "bit {bit}: {:?}", scanned.end);
    }
}

#[test]
fn damage_in_the_middle_makes_the_groups_refill_once() {
    let disk = Disk::default();
    let (mut log, _) = open(&disk);
    log.append(&[created(1)]).unwrap();
    for at in 1..=3 {
        log.append(&[entry(1, at, 1, b"payload")]).unwrap();
        log.sync().unwrap();
    }
    drop(log);
    let bytes = disk.bytes(FIRST);
    let second = scan(FIRST, &bytes, true).records[2].0 as usize;
    disk.0.borrow_mut().get_mut(&FIRST).unwrap()[second + 30] ^= 1;

    let (mut log, recovered) = open(&disk);
    assert_eq!(recovered.damage.len(), 1);
    assert_eq!(recovered.groups[&group(1)].origin, Origin::Wiped);
    assert_eq!(recovered.groups[&group(1)].entries.len(), 1, "what stood before the damage is kept");

    // Refilled, it is whole, although the damage is still in its segment.
    log.append(&[entry(1, 2, 2, b"again"), Record::Refilled(group(1))]).unwrap();
    log.sync().unwrap();
    let again = open(&disk).1;
    assert_eq!(again.groups[&group(1)].origin, Origin::Intact);
    assert_eq!(payloads(&again.groups[&group(1)].entries), ["payload", "again"]);
}

#[test]
fn what_was_committed_behind_damage_makes_nothing_before_it_committed() {
    let disk = Disk::default();
    let (mut log, _) = open(&disk);
    log.append(&[created(1), entry(1, 1, 1, b"void")]).unwrap();
    log.sync().unwrap();
    log.append(&[entry(1, 1, 2, b"real")]).unwrap();
    log.sync().unwrap();
    let state = HardState { term: Term::new(2), vote: None, commit: index(1) };
    log.append(&[Record::HardState(group(1), state)]).unwrap();
    log.sync().unwrap();
    drop(log);
    let bytes = disk.bytes(FIRST);
    let real = scan(FIRST, &bytes, true).records[2].0 as usize;
    disk.0.borrow_mut().get_mut(&FIRST).unwrap()[real + 30] ^= 1;

    let recovered = open(&disk).1;
    let recovered = &recovered.groups[&group(1)];
    assert_eq!(recovered.origin, Origin::Wiped);
    assert_eq!((recovered.hard_state.term, recovered.hard_state.commit), (Term::new(2), index(0)));
}

#[test]
fn a_segment_whose_creation_was_cut_short_at_any_size_is_no_damage() {
    for size in 0..200 {
        let disk = Disk::default();
        let (mut log, _) = open(&disk);
        log.append(&[created(1), entry(1, 1, 1, b"kept")]).unwrap();
        log.sync().unwrap();
        drop(log);
        let next = SegmentNumber(disk.0.borrow().last_key_value().unwrap().0.0 + 1);
        // The tail before it was sealed first.
        let sealed = open(&disk);
        drop(sealed);
        disk.0.borrow_mut().insert(next, vec![0; size]);
        for _ in 0..2 {
            let recovered = open(&disk).1;
            assert_eq!(recovered.damage, [], "size {size}");
            assert_eq!(payloads(&recovered.groups[&group(1)].entries), ["kept"]);
        }
    }
}

#[test]
fn a_missing_segment_is_damage() {
    let disk = Disk::default();
    let (mut log, _) = open(&disk);
    log.append(&[created(1)]).unwrap();
    for at in 1..100 {
        log.append(&[entry(1, at, 1, &[0; 100])]).unwrap();
    }
    log.sync().unwrap();
    disk.0.borrow_mut().remove(&SegmentNumber(2));
    let recovered = open(&disk).1;
    assert_eq!(recovered.damage.len(), 1);
    assert_eq!(recovered.groups[&group(1)].origin, Origin::Wiped);
}

#[test]
fn a_record_is_valid_only_in_its_own_place() {
    let disk = Disk::default();
    let (mut log, _) = open(&disk);
    log.append(&[entry(1, 1, 1, b"one"), entry(1, 2, 1, b"two")]).unwrap();
    log.sync().unwrap();
    let bytes = disk.bytes(FIRST);
    let records = scan(FIRST, &bytes, true).records;
    let (first, second) = (records[0].0 as usize, records[1].0 as usize);
    let length = second - first;
    let mut misdirected = bytes.clone();
    misdirected.copy_within(first..second, second);
    assert_eq!(scan(FIRST, &misdirected, true).records.len(), 1, "{length} bytes copied");
    assert_eq!(scan(SegmentNumber(2), &bytes, true).records.len(), 0);
}

#[test]
fn after_a_failed_sync_the_log_refuses_everything() {
    let disk = Disk::default();
    let (mut log, _) = open(&disk);
    disk.1.replace(true);
    log.append(&[created(1)]).unwrap();
    assert!(matches!(log.sync(), Err(LogError::Io("synced", _))));
    disk.1.replace(false);
    assert!(matches!(log.sync(), Err(LogError::Failed)));
    assert!(matches!(log.append(&[created(2)]), Err(LogError::Failed)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn records_survive_the_way_to_disk_and_back(batches in prop::collection::vec(prop::collection::vec(any_record(), 1..12), 1..12)) {
        let disk = Disk::default();
        let (mut log, _) = open(&disk);
        for batch in &batches {
            log.append(batch).unwrap();
            log.sync().unwrap();
        }
        let written: Vec<Record> = batches.concat();
        let newest = *disk.0.borrow().keys().next_back().unwrap();
        let mut read = Vec::new();
        for (number, bytes) in disk.0.borrow().iter() {
            let scanned = scan(*number, bytes, *number == newest);
            let ends_well = matches!(scanned.end, ScanEnd::Sealed { .. } | ScanEnd::Clean { .. });
            prop_assert!(ends_well, "{:?}", scanned.end);
            read.extend(scanned.records.into_iter().map(|(_, record)| record).filter(|record| !matches!(record, Record::State(..))));
        }
        prop_assert_eq!(read, written);
        let reopened = open(&disk).1;
        prop_assert_eq!(reopened.damage, vec![]);
    }

    #[test]
    fn no_bytes_make_the_scan_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..600), keep_header: bool) {
        if keep_header {
            let disk = Disk::default();
            drop(open(&disk));
            bytes = [&disk.bytes(SegmentNumber(1))[..64], &bytes].concat();
        }
        let scanned = scan(FIRST, &bytes, true);
        prop_assert!(scanned.records.is_empty());
    }
}

fn any_record() -> impl Strategy<Value = Record> {
    let group = (1_u64..5).prop_map(PartitionId::new);
    let position =
        (0_u64..50, 0_u64..9).prop_map(|(at, term)| Position { index: index(at), term: Term::new(term) });
    let membership = prop::collection::btree_set(1_u64..9, 0..4)
        .prop_map(|nodes| Membership::of_voters(nodes.into_iter().map(NodeId::new)));
    let payload = prop::collection::vec(any::<u8>(), 0..900);
    (group, position, membership, payload, any::<bool>(), 0_u8..9).prop_map(
        |(group, at, membership, payload, flag, kind)| match kind {
            0 => Record::HardState(
                group,
                HardState { term: at.term, vote: flag.then(|| NodeId::new(3)), commit: at.index },
            ),
            1 => Record::Membership(group, at.index, membership),
            2 => Record::Snapshot(group, SnapshotPosition { at, membership }),
            3 => Record::Checkpoint(group, at),
            4 => Record::Truncated(group, at.index),
            5 => Record::Created(group, membership, flag),
            6 => Record::Refilled(group),
            7 => Record::Removed(group),
            _ => {
                let kind = if flag { EntryKind::Normal } else { EntryKind::Membership };
                Record::Entry(
                    group,
                    LogEntry { kind, term: at.term, index: at.index, payload: Bytes::from(payload) },
                )
            }
        },
    )
}

/// Segments in memory; the flag makes syncs fail.
#[derive(Clone, Default)]
struct Disk(Rc<RefCell<BTreeMap<SegmentNumber, Vec<u8>>>>, Rc<RefCell<bool>>);

impl Disk {
    fn bytes(&self, number: SegmentNumber) -> Vec<u8> {
        self.0.borrow()[&number].clone()
    }
}

struct File(Disk, SegmentNumber);

impl SegmentFile for File {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).unwrap();
        let mut files = self.0.0.borrow_mut();
        let file = files.get_mut(&self.1).unwrap();
        file.resize(file.len().max(offset + bytes.len()), 0);
        file[offset..offset + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        if *self.0.1.borrow() { Err(io::Error::other("the disk failed")) } else { Ok(()) }
    }
}

impl SegmentStore for Disk {
    type File = File;

    fn list(&mut self) -> io::Result<Vec<SegmentNumber>> {
        Ok(self.0.borrow().keys().copied().collect())
    }

    fn read(&mut self, number: SegmentNumber) -> io::Result<Vec<u8>> {
        Ok(self.bytes(number))
    }

    fn open(&mut self, number: SegmentNumber) -> io::Result<File> {
        Ok(File(self.clone(), number))
    }

    fn create(&mut self, number: SegmentNumber, size: u32) -> io::Result<File> {
        self.0.borrow_mut().insert(number, vec![0; size as usize]);
        Ok(File(self.clone(), number))
    }

    fn remove(&mut self, number: SegmentNumber) -> io::Result<()> {
        self.0.borrow_mut().remove(&number);
        Ok(())
    }
}

fn open(disk: &Disk) -> (Log<Disk>, replication::wal::RecoveredLog) {
    Log::open(disk.clone(), LogOptions { segment_bytes: SEGMENT, salt: 0x5a17 }).unwrap()
}

fn group(number: u64) -> PartitionId {
    PartitionId::new(number)
}

fn index(number: u64) -> LogIndex {
    LogIndex::new(number)
}

fn created(number: u64) -> Record {
    Record::Created(group(number), Membership::of_voters([1, 2, 3].map(NodeId::new)), false)
}

fn hard_state(number: u64, term: u64, vote: u64) -> Record {
    let vote = Some(NodeId::new(vote));
    Record::HardState(group(number), HardState { term: Term::new(term), vote, commit: LogIndex::default() })
}

fn entry(number: u64, at: u64, term: u64, payload: &[u8]) -> Record {
    let payload = Bytes::copy_from_slice(payload);
    let (term, index) = (Term::new(term), index(at));
    Record::Entry(group(number), LogEntry { kind: EntryKind::Normal, term, index, payload })
}

fn payloads(entries: &[LogEntry]) -> Vec<String> {
    entries.iter().map(|entry| String::from_utf8(entry.payload.to_vec()).unwrap()).collect()
}
