//! Any sequence of operations: a Perkle tree and an ordered map must agree throughout, and snapshots must not
//! change.

use std::collections::BTreeMap;

use arbitrary::{Result, Unstructured};
use routing::perkle::PerkleTree;

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

/// Reads operations until the bytes end.
pub(crate) fn run(bytes: &[u8]) {
    let mut input = Unstructured::new(bytes);
    let mut now = (PerkleTree::new(), Model::new());
    let mut snapshot = now.clone();
    while !input.is_empty() {
        if step(&mut input, &mut now, &mut snapshot).is_err() {
            break;
        }
    }
    for (tree, model) in [&now, &snapshot] {
        let listed: Vec<_> = tree.entries().map(|(key, value)| (key, value.to_vec())).collect();
        assert!(listed.iter().map(|(key, value)| (key, value)).eq(model));
        let mut anew = PerkleTree::new();
        for (key, value) in model.iter().rev() {
            anew.insert(key, value);
        }
        assert_eq!((tree.sum(), tree.len()), (anew.sum(), anew.len()));
    }
    let mut differs: Vec<_> = now.1.keys().chain(snapshot.1.keys()).cloned().collect();
    differs.sort_unstable();
    differs.dedup();
    differs.retain(|key| now.1.get(key) != snapshot.1.get(key));
    assert_eq!(now.0.difference(&snapshot.0), differs);
}

fn step(
    input: &mut Unstructured<'_>,
    (tree, model): &mut (PerkleTree, Model),
    snapshot: &mut (PerkleTree, Model),
) -> Result<()> {
    let operation: u8 = input.arbitrary()?;
    let key = key(input)?;
    match operation % 8 {
        // More goes in than comes out, so that blocks fill.
        0..=2 => {
            let value =
                vec![operation; if operation.is_multiple_of(5) { 3_000 } else { usize::from(operation % 7) }];
            tree.insert(&key, &value);
            model.insert(key, value);
        }
        3 => assert_eq!(tree.remove(&key), model.remove(&key).is_some()),
        4 => assert_eq!(tree.get(&key), model.get(&key).map(Vec::as_slice)),
        5 => {
            let mut found = Vec::new();
            let floor = tree.floor(&key, &mut found).map(|value| (found.as_slice(), value));
            let wanted = model.range(..=key).next_back();
            assert_eq!(floor, wanted.map(|(key, value)| (key.as_slice(), value.as_slice())));
        }
        6 => {
            let from = tree.from(&key).map(|(key, value)| (key, value.to_vec()));
            assert!(
                from.take(40)
                    .eq(model.range(key.clone()..).take(40).map(|(key, value)| (key.clone(), value.clone())))
            );
            let with_prefix = model.keys().filter(|entry| entry.starts_with(&key));
            assert!(tree.with_prefix(&key).map(|(key, _)| key).eq(with_prefix.cloned()));
        }
        _ => *snapshot = (tree.clone(), model.clone()),
    }
    Ok(())
}

/// Short, and of few different bytes, as a rule: so that keys meet.
fn key(input: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let length: u8 = input.arbitrary()?;
    let bytes = input.bytes(usize::from(length % 8).min(input.len()))?;
    let few = |byte: &u8| if length & 0x80 == 0 { byte & 0x13 } else { *byte };
    let mut key: Vec<u8> = bytes.iter().map(few).collect();
    if length & 0x40 != 0 {
        // Something in common that no branch has room for.
        key.splice(0..0, [0x55; 40]);
    }
    Ok(key)
}
