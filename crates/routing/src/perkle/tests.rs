use std::collections::BTreeMap;
use std::ops::Bound;

use proptest::prelude::*;

use super::*;

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

/// Few bytes, so that keys share prefixes, are prefixes of one another, and branch in both halves of a byte.
fn key() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop::sample::select(vec![0_u8, 1, 0x0f, 0x10, 0x11, 0xf0, 0xff]), 0..6)
}

fn changes() -> impl Strategy<Value = Vec<(Vec<u8>, Option<u8>)>> {
    prop::collection::vec((key(), prop::option::weighted(0.7, any::<u8>())), 0..60)
}

fn apply(changes: &[(Vec<u8>, Option<u8>)]) -> (PerkleTree, Model) {
    let (mut tree, mut model) = (PerkleTree::new(), Model::new());
    for (key, value) in changes {
        match value {
            Some(value) => {
                tree.insert(key, &[*value]);
                model.insert(key.clone(), vec![*value]);
            }
            None => assert_eq!(tree.remove(key), model.remove(key).is_some()),
        }
    }
    (tree, model)
}

fn listed<'a>(entries: impl Iterator<Item = (Vec<u8>, &'a [u8])>) -> Vec<(Vec<u8>, Vec<u8>)> {
    entries.map(|(key, value)| (key, value.to_vec())).collect()
}

proptest! {
    #[test]
    fn it_finds_what_an_ordered_map_finds(changes in changes(), probe in key()) {
        let (tree, model) = apply(&changes);
        prop_assert_eq!(tree.len(), model.len());
        prop_assert_eq!(tree.get(&probe), model.get(&probe).map(Vec::as_slice));
        let mut found = Vec::new();
        let floor = tree.floor(&probe, &mut found).map(|value| (found.clone(), value.to_vec()));
        let wanted = model.range(..=probe.clone()).next_back().map(|(key, value)| (key.clone(), value.clone()));
        prop_assert_eq!(floor, wanted);
        let ceiling = tree.ceiling(&probe).map(|(key, value)| (key, value.to_vec()));
        let wanted = model.range(probe.clone()..).next().map(|(key, value)| (key.clone(), value.clone()));
        prop_assert_eq!(ceiling, wanted);
    }

    #[test]
    fn it_lists_what_an_ordered_map_lists(changes in changes(), probe in key()) {
        let (tree, model) = apply(&changes);
        prop_assert_eq!(listed(tree.entries()), model.clone().into_iter().collect::<Vec<_>>());
        let from = model.range::<[u8], _>((Bound::Included(&probe[..]), Bound::Unbounded));
        let from: Vec<_> = from.map(|(key, value)| (key.clone(), value.clone())).collect();
        prop_assert_eq!(listed(tree.from(&probe)), from.clone());
        let wanted: Vec<_> = from.into_iter().filter(|(key, _)| key.starts_with(&probe)).collect();
        prop_assert_eq!(listed(tree.with_prefix(&probe)), wanted);
    }

    #[test]
    fn the_hash_depends_on_the_entries_alone(changes in changes()) {
        let (tree, model) = apply(&changes);
        let mut anew = PerkleTree::new();
        for (key, value) in model.iter().rev() {
            anew.insert(key, value);
        }
        prop_assert_eq!(tree.sum(), anew.sum());
        let by_hand = model.iter().fold(EntrySum::default(), |sum, (key, value)| sum.plus(EntrySum::of(key, value)));
        prop_assert_eq!(tree.sum(), by_hand);
    }

    #[test]
    fn a_regions_digest_is_that_of_its_entries(changes in changes(), probe in key(), depth in 0_usize..12) {
        let (tree, model) = apply(&changes);
        let mut region = Region::everything();
        for at in 0..depth {
            let next = region.parts().find(|part| part.to_parts().1 > at && tree_holds(part, &probe));
            let Some(next) = next else { break };
            region = next;
        }
        for region in region.parts().chain([region.clone()]) {
            let mut wanted = RegionDigest::default();
            for (key, value) in &model {
                if tree_holds(&region, key) {
                    wanted.sum = wanted.sum.plus(EntrySum::of(key, value));
                    wanted.entries += 1;
                }
            }
            prop_assert_eq!(tree.digest(&region), wanted);
            prop_assert_eq!(tree.entries_in(&region).count() as u64, wanted.entries);
            let (bytes, nibbles, ends) = region.to_parts();
            prop_assert_eq!(Region::from_parts(bytes, nibbles, ends), Some(region.clone()));
        }
    }

    #[test]
    fn the_difference_is_what_differs(one in changes(), more in changes()) {
        let (tree, model) = apply(&one);
        let mut both = one;
        both.extend(more);
        let (other_tree, other_model) = apply(&both);
        let mut keys: Vec<_> = model.keys().chain(other_model.keys()).cloned().collect();
        keys.sort();
        keys.dedup();
        keys.retain(|key| model.get(key) != other_model.get(key));
        prop_assert_eq!(tree.difference(&other_tree), keys);
    }

    #[test]
    fn a_clone_keeps_what_it_had(before in changes(), after in changes()) {
        let (mut tree, model) = apply(&before);
        let snapshot = tree.clone();
        for (key, value) in &after {
            match value {
                Some(value) => tree.insert(key, &[*value, 1]),
                None => drop(tree.remove(key)),
            }
        }
        prop_assert_eq!(listed(snapshot.entries()), model.into_iter().collect::<Vec<_>>());
    }
}

/// By the definition, not by the tree.
fn tree_holds(region: &Region, key: &[u8]) -> bool {
    let (bytes, nibbles, ends) = region.to_parts();
    if ends {
        return key == bytes;
    }
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    hex(key).starts_with(&hex(bytes)[..nibbles])
}

#[test]
fn an_empty_tree_knows_nothing() {
    let tree = PerkleTree::new();
    assert!(tree.is_empty() && tree.get(b"").is_none() && tree.ceiling(b"").is_none());
    assert_eq!(tree.floor(b"x", &mut Vec::new()), None);
    assert_eq!(tree.digest(&Region::everything()), RegionDigest::default());
}

#[test]
fn regions_that_are_none_are_refused() {
    assert_eq!(Region::from_parts(&[0x12], 1, false), None, "half a byte too much");
    assert_eq!(Region::from_parts(&[0x10], 1, true), None, "keys end between bytes");
    assert_eq!(Region::from_parts(&[], 1, false), None);
    assert!(Region::from_parts(&[0x10], 1, false).is_some());
}
