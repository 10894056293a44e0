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
    prop::collection::vec((key(), prop::option::weighted(0.7, any::<u8>())), 0..120)
}

/// Some values are long, so that blocks fill by their bytes, too.
fn value(short: u8) -> Vec<u8> {
    vec![short; if short.is_multiple_of(8) { block::MAX_BYTES / 4 } else { 1 + usize::from(short % 2) }]
}

fn apply(changes: &[(Vec<u8>, Option<u8>)]) -> (PerkleTree, Model) {
    let (mut tree, mut model) = (PerkleTree::new(), Model::new());
    for (key, value) in changes {
        match value {
            Some(value) => {
                tree.insert(key, &self::value(*value));
                model.insert(key.clone(), self::value(*value));
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
        // Walking towards keys, present or not, ends.
        tree.approach(2, |which, at| if which == 0 { probe.get(at).copied() } else { None });
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
    fn its_nodes_say_what_is_below_them(before in changes(), after in changes()) {
        let (mut tree, _) = apply(&before);
        check(&tree);
        let snapshot = tree.clone();
        for (key, value) in &after {
            match value {
                Some(value) => tree.insert(key, &self::value(*value)),
                None => drop(tree.remove(key)),
            }
        }
        check(&tree);
        check(&snapshot);
    }

    #[test]
    fn a_tree_that_is_emptied_is_as_new(changes in changes()) {
        let (mut tree, model) = apply(&changes);
        for key in model.keys() {
            prop_assert!(tree.remove(key));
        }
        prop_assert!(tree.is_empty() && tree.bytes() == 0 && tree.sum() == EntrySum::default());
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

/// Every node's sum, count and bounds, and the tree's bytes.
fn check(tree: &PerkleTree) {
    let Some(root) = &tree.root else { return assert_eq!(tree.bytes(), 0) };
    assert_eq!(tree.bytes(), root.bytes_below());
    let (sum, count) = check_node(root, 0, &[]);
    assert_eq!((tree.sum(), tree.len()), (sum, count as usize));
}

fn check_node(node: &Node, base: usize, before: &[u8]) -> (EntrySum, u32) {
    let (sum, count) = match node {
        Node::Block(block) => {
            let pieces: Vec<_> = View::of(block).pieces().collect();
            assert!(block::fits(&pieces, 1) && !pieces.is_empty());
            let keys: Vec<Vec<u8>> =
                pieces.iter().map(|piece| before.iter().copied().chain(piece.key()).collect()).collect();
            assert!(keys.is_sorted_by(|one, next| one < next));
            let sums = keys.iter().zip(&pieces).map(|(key, piece)| EntrySum::of(key, piece.value));
            (sums.fold(EntrySum::default(), EntrySum::plus), pieces.len() as u32)
        }
        Node::Branch(fork, branch) => {
            let head = &branch.header.header;
            assert_eq!(fork.children(), branch.slice.len());
            assert_eq!(head.prefix.bytes().len(), fork.at().div_ceil(2) - base);
            let before = [before, head.before_children(*fork, base)].concat();
            let below = branch.slice.iter().map(|child| check_node(child, fork.child_base(), &before));
            below.fold((EntrySum::default(), 0), |(sum, count), (more, entries)| {
                (sum.plus(more), count + entries)
            })
        }
    };
    assert_eq!((node.sum(), node.count()), (sum, count));
    (sum, count)
}

#[test]
fn many_entries_are_found_listed_and_removed() {
    // Some 20,000 keys spread as hashes are, in four levels of branches and full blocks.
    let key = |number: u64| number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
    let mut tree = PerkleTree::new();
    let mut model = Model::new();
    for number in 0..20_000 {
        tree.insert(&key(number), &number.to_le_bytes());
        model.insert(key(number).to_vec(), number.to_le_bytes().to_vec());
    }
    check(&tree);
    assert_eq!(listed(tree.entries()), model.clone().into_iter().collect::<Vec<_>>());
    let mut found = Vec::new();
    for probe in (0..20_000).map(|number| key(number * 7 + 3)) {
        let wanted = model.range(..=probe.to_vec()).next_back().map(|(key, value)| (&key[..], &value[..]));
        let value = tree.floor(&probe, &mut found);
        assert_eq!(value.map(|value| (&found[..], value)), wanted);
    }
    for number in (0..20_000).filter(|number| number % 100 > 0) {
        assert!(tree.remove(&key(number)));
    }
    check(&tree);
    assert_eq!(tree.len(), 200);
}

#[test]
fn the_deepest_tree_fits_on_a_threads_stack() {
    // Each key is the beginning of the next, and no two fit one block: a branch per byte.
    let longest = [7; MAX_KEY];
    let value = [1; block::MAX_BYTES];
    let mut tree = PerkleTree::new();
    for length in (0..=MAX_KEY).rev() {
        tree.insert(&longest[..length], &value);
    }
    assert_eq!(tree.len(), MAX_KEY + 1);
    assert_eq!(tree.entries().count(), MAX_KEY + 1);
    let snapshot = tree.clone();
    for length in 0..=MAX_KEY {
        assert!(tree.remove(&longest[..length]));
    }
    assert_eq!((tree.bytes(), snapshot.len()), (0, MAX_KEY + 1));
}

#[test]
fn a_change_leaves_what_it_does_not_touch_shared() {
    let mut tree = PerkleTree::new();
    for number in 0_u32..10_000 {
        tree.insert(&number.wrapping_mul(0x9e37_79b9).to_be_bytes(), &[1; 40]);
    }
    let snapshot = tree.clone();
    tree.insert(&[1, 2, 3, 4], &[2; 40]);
    let children = |tree: &PerkleTree| match &tree.root {
        Some(Node::Branch(_, branch)) => branch.slice.to_vec(),
        _ => panic!("so many entries need a branch"),
    };
    let same = |(one, other): (&Node, &Node)| match (one, other) {
        (Node::Branch(_, one), Node::Branch(_, other)) => std::ptr::eq(&one.slice, &other.slice),
        _ => false,
    };
    let (old, new) = (children(&snapshot), children(&tree));
    assert_eq!(old.iter().zip(&new).filter(|pair| same(*pair)).count(), 15);
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
