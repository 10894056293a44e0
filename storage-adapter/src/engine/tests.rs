use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use units::{LogIndex, Term};

use super::*;

const CACHE: usize = 1 << 20;

/// What a test does to a replica.
#[derive(Clone, Debug)]
enum Step {
    Put(u8, Vec<u8>),
    Delete(u8),
    Checkpoint,
    Reopen,
    Range { start: u8, end: Option<u8>, forward: bool },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (any::<u8>(), prop::collection::vec(any::<u8>(), 0..40)).prop_map(|(k, v)| Step::Put(k, v)),
        4 => any::<u8>().prop_map(Step::Delete),
        1 => Just(Step::Checkpoint),
        1 => Just(Step::Reopen),
        2 => (any::<u8>(), any::<Option<u8>>(), any::<bool>())
            .prop_map(|(start, end, forward)| Step::Range { start, end, forward }),
    ]
}

fn key(number: u8) -> Bytes {
    Bytes::from(vec![number])
}

/// The effect that a leader would propose, given what is there.
fn effect(model: &BTreeMap<u8, Vec<u8>>, number: u8, value: Option<&Vec<u8>>) -> Effect {
    let old = model.get(&number);
    Effect {
        key: key(number),
        item: value.map(|bytes| StoredItem::seal(Bytes::from(bytes.clone()))),
        items_delta: i8::from(value.is_some()) - i8::from(old.is_some()),
        bytes_delta: value.map_or(0, Vec::len) as i64 - old.map_or(0, Vec::len) as i64,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_replica_answers_as_an_ordered_map_through_checkpoints_and_reopens(
        steps in prop::collection::vec(step(), 1..120)
    ) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("replica.redb");
        let mut replica = Replica::open(path.clone(), CACHE).unwrap();
        let mut model: BTreeMap<u8, Vec<u8>> = BTreeMap::new();
        let mut index = 0;
        // What the log would replay after a reopen: all since the last checkpoint.
        let mut log: Vec<(Position, Effect)> = Vec::new();
        for step in steps {
            let change = match step {
                Step::Put(number, value) => Some((number, Some(value))),
                Step::Delete(number) => Some((number, None)),
                Step::Checkpoint => {
                    let position = replica.checkpoint().unwrap();
                    prop_assert_eq!(position.index.get(), index);
                    log.clear();
                    None
                }
                Step::Reopen => {
                    drop(replica);
                    replica = Replica::open(path.clone(), CACHE).unwrap();
                    prop_assert_eq!(replica.applied().position.index.get(), index - log.len() as u64);
                    for (position, effect) in &log {
                        replica.apply(*position, Some(effect.clone()));
                    }
                    None
                }
                Step::Range { start, end, forward } => {
                    let found: Vec<_> = RangeScan::new(&replica, key(start), end.map(key), forward)
                        .map(|entry| entry.map(|(key, item)| (key[0], item.bytes.to_vec())).unwrap())
                        .collect();
                    let mut expected: Vec<_> = model
                        .iter()
                        .filter(|(k, _)| **k >= start && end.is_none_or(|end| **k < end))
                        .map(|(k, v)| (*k, v.clone()))
                        .collect();
                    if !forward {
                        expected.reverse();
                    }
                    prop_assert_eq!(found, expected);
                    None
                }
            };
            if let Some((number, value)) = change {
                index += 1;
                let effect = effect(&model, number, value.as_ref());
                let position = Position { index: LogIndex::new(index), term: Term::new(1) };
                prop_assert_eq!(&Effect::decode(effect.encode()).unwrap(), &effect);
                replica.apply(position, Some(effect.clone()));
                log.push((position, effect));
                match value {
                    Some(value) => model.insert(number, value),
                    None => model.remove(&number),
                };
            }
            let totals = replica.applied();
            prop_assert_eq!(totals.items, model.len() as u64);
            prop_assert_eq!(totals.bytes, model.values().map(Vec::len).sum::<usize>() as u64);
        }
        for number in 0..=u8::MAX {
            let found = replica.get(&key(number)).unwrap().map(|item| item.bytes.to_vec());
            prop_assert_eq!(found.as_ref(), model.get(&number));
        }
    }

    #[test]
    fn no_damaged_effect_panics(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = Effect::decode(Bytes::from(bytes));
    }
}

fn filled(path: Option<std::path::PathBuf>, items: u32) -> Replica {
    let replica = Replica::new(path, CACHE);
    for number in 0..items {
        let item = StoredItem::seal(Bytes::from(vec![7; 100]));
        let effect = Effect {
            key: Bytes::copy_from_slice(&number.to_be_bytes()),
            item: Some(item),
            items_delta: 1,
            bytes_delta: 100,
        };
        let position = Position { index: LogIndex::new(u64::from(number) + 1), term: Term::new(1) };
        replica.apply(position, Some(effect));
    }
    replica
}

#[test]
fn a_view_is_not_moved_by_later_writes_and_can_be_rebuilt_elsewhere() {
    let directory = tempfile::tempdir().unwrap();
    let replica = filled(Some(directory.path().join("source.redb")), 3_000);
    replica.checkpoint().unwrap();
    for number in 0..1_000_u32 {
        let effect = Effect {
            key: Bytes::copy_from_slice(&number.to_be_bytes()),
            item: None,
            items_delta: -1,
            bytes_delta: -100,
        };
        let position = Position { index: LogIndex::new(3_001 + u64::from(number)), term: Term::new(1) };
        replica.apply(position, Some(effect));
    }
    let view = replica.view();
    replica.apply(Position { index: LogIndex::new(5_000), term: Term::new(2) }, None);
    let late = Effect { key: Bytes::from_static(b"late"), item: None, items_delta: 0, bytes_delta: 0 };
    replica.apply(Position { index: LogIndex::new(5_001), term: Term::new(2) }, Some(late));

    let target = directory.path().join("target.redb");
    let mut builder = TreeBuilder::create(&directory.path().join("target.building"), CACHE).unwrap();
    let mut after = None;
    loop {
        let (entries, next) = view.chunk(after.as_deref(), 10_000).unwrap();
        builder.add(&entries).unwrap();
        match next {
            Some(last) => after = Some(last),
            None => break,
        }
    }
    builder.finish(&view.checkpoint(), &target).unwrap();

    let copy = Replica::open(target, CACHE).unwrap();
    assert_eq!(copy.applied().position.index.get(), 4_000);
    assert_eq!(copy.applied().items, 2_000);
    assert_eq!(copy.get(&999_u32.to_be_bytes()).unwrap(), None);
    assert!(copy.get(&1_000_u32.to_be_bytes()).unwrap().is_some());
}

#[test]
fn a_flipped_bit_is_refused_by_point_and_range_reads() {
    let replica = Replica::new(None, CACHE);
    let mut item = StoredItem::seal(Bytes::from_static(b"whole"));
    item.crc32c ^= 1;
    let effect = Effect { key: Bytes::from_static(b"k"), item: Some(item), items_delta: 1, bytes_delta: 5 };
    replica.apply(Position { index: LogIndex::new(1), term: Term::new(1) }, Some(effect));

    assert!(matches!(replica.get(b"k"), Err(EngineError::Damaged(_))));
    let mut scan = RangeScan::new(&replica, Bytes::new(), None, true);
    assert!(matches!(scan.next(), Some(Err(EngineError::Damaged(_)))));
}

#[test]
fn a_replica_without_a_path_checkpoints_in_memory() {
    let replica = filled(None, 10);
    assert_eq!(replica.checkpoint().unwrap().index.get(), 10);
    assert!(replica.get(&9_u32.to_be_bytes()).unwrap().is_some());
}

#[test]
fn items_of_a_dropped_replica_whose_file_was_left_do_not_come_back() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("replica.redb");
    let mut at = Position { index: LogIndex::new(1), term: Term::new(1) };
    for number in [1, 2] {
        // As a node does for a partition that it is told to host.
        let replica = Replica::new(Some(path.clone()), CACHE);
        at.index = at.index.next();
        replica.apply(at, Some(effect(&BTreeMap::new(), number, Some(&vec![number]))));
        replica.checkpoint().unwrap();
        assert_eq!(replica.applied().items, 1);
    }
    let replica = Replica::open(path, CACHE).unwrap();
    assert_eq!(replica.get(&key(1)).unwrap(), None);
    assert!(replica.get(&key(2)).unwrap().is_some());
}
