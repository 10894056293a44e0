//! A Perkle tree: a Patricia tree over byte strings whose nodes carry hashes of what is below them.
//!
//! Versions share their structure: a change copies the path to it, and a clone costs one counter. So a writer
//! publishes a clone, and readers look up in it without waiting for anyone.
//!
//! A node's hash is the *sum* of its entries' hashes, modulo 2¹²⁸. It depends on the set of entries alone and
//! not on the tree's shape; a change adjusts it on the way up instead of hashing all children again; and two
//! servers can compare any region of the key space, whether or not a node stands there. It finds what was lost
//! or is late; it is no defence against somebody who constructs collisions, and need not be one: whoever can
//! push entries can push wrong ones.

mod difference;
mod entries;
mod node;
mod region;
mod symbol;
#[cfg(test)]
mod tests;

pub use entries::Entries;
pub use node::EntrySum;
pub use region::{Region, RegionDigest};

use node::{BranchHead, Node, branch, leaf, leaf_parts};
use symbol::{Symbol, first_difference, symbol};

/// The longest key: a table's number and the longest storage key, with room to spare. Bounds the depth.
pub const MAX_KEY: usize = 4096;

/// An ordered map from byte strings to byte strings, with hashes. See the module's documentation.
#[derive(Clone, Debug, Default)]
pub struct PerkleTree {
    root: Option<Node>,
}

/// What became of a subtree from which a key was removed.
enum Removed {
    Nothing,
    /// The entry's hash, and what is left.
    Entry(EntrySum, Option<Node>),
}

impl PerkleTree {
    /// An empty tree.
    #[must_use]
    pub const fn new() -> Self {
        Self { root: None }
    }

    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.root.as_ref().map_or(0, |root| root.count() as usize)
    }

    /// Whether there are no entries.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.root.is_none()
    }

    /// The root hash: equal for two trees with the same entries.
    #[must_use]
    pub fn sum(&self) -> EntrySum {
        self.digest(&Region::everything()).sum
    }

    /// Puts an entry in, or replaces its value.
    ///
    /// # Panics
    /// When the key is longer than [`MAX_KEY`].
    pub fn insert(&mut self, key: &[u8], value: &[u8]) {
        assert!(key.len() <= MAX_KEY, "keys are at most {MAX_KEY} bytes");
        let sum = EntrySum::of(key, value);
        self.root = Some(match &self.root {
            None => leaf(key, value),
            Some(root) => put(root, 0, key, value, sum).0,
        });
    }

    /// Removes an entry; says whether there was one.
    pub fn remove(&mut self, key: &[u8]) -> bool {
        let Some(root) = &self.root else { return false };
        match take(root, 0, key) {
            Removed::Nothing => false,
            Removed::Entry(_, rest) => {
                self.root = rest;
                true
            }
        }
    }

    /// The value of `key`.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<&[u8]> {
        let (mut node, mut base) = (self.root.as_ref()?, 0);
        loop {
            match node {
                Node::Leaf(leaf) => {
                    let (rest, value) = leaf_parts(leaf);
                    return (key.get(base..) == Some(rest)).then_some(value);
                }
                Node::Branch(branch) => {
                    let head = &branch.header.header;
                    if head.leaves_at(key, base).is_some() {
                        return None;
                    }
                    node = &branch.slice[head.place(symbol(key, usize::from(head.at)))?];
                    base = head.child_base();
                }
            }
        }
    }

    /// The entry with the greatest key that is at most `key`: its value, and its key in `found`.
    pub fn floor(&self, key: &[u8], found: &mut Vec<u8>) -> Option<&[u8]> {
        let (mut node, mut base) = (self.root.as_ref()?, 0);
        // The greatest subtree passed by that is below `key`; on the way to it the bytes are the key's.
        let mut lesser: Option<(&Node, usize)> = None;
        let (node, base) = loop {
            match node {
                Node::Leaf(leaf) => {
                    let is_at_most = leaf_parts(leaf).0 <= key.get(base..).unwrap_or(&[]);
                    break if is_at_most { (node, base) } else { lesser? };
                }
                Node::Branch(branch) => {
                    let head = &branch.header.header;
                    if let Some(at) = head.leaves_at(key, base) {
                        let is_below = head.prefix_symbol(at, base) < symbol(key, at);
                        break if is_below { (node, base) } else { lesser? };
                    }
                    let next = symbol(key, usize::from(head.at));
                    let below = head.below(next);
                    if below > 0 {
                        lesser = Some((&branch.slice[below - 1], head.child_base()));
                    }
                    match head.place(next) {
                        Some(place) => (node, base) = (&branch.slice[place], head.child_base()),
                        None => break lesser?,
                    }
                }
            }
        };
        found.clear();
        found.extend_from_slice(&key[..base]);
        Some(last(node, base, found))
    }

    /// The entry with the least key that is at least `key`.
    #[must_use]
    pub fn ceiling(&self, key: &[u8]) -> Option<(Vec<u8>, &[u8])> {
        self.from(key).next()
    }

    /// All entries, in the order of their keys.
    #[must_use]
    pub fn entries(&self) -> Entries<'_> {
        self.from(&[])
    }

    /// The entries with keys of at least `key`, in order.
    #[must_use]
    pub fn from(&self, key: &[u8]) -> Entries<'_> {
        Entries::seek(self.root.as_ref(), key)
    }

    /// The entries whose keys begin with `prefix`, in order.
    pub fn with_prefix<'a>(&'a self, prefix: &'a [u8]) -> impl Iterator<Item = (Vec<u8>, &'a [u8])> + 'a {
        self.from(prefix).take_while(move |(key, _)| key.starts_with(prefix))
    }
}

/// The last entry below a node; its key's rest is appended to `key`.
fn last<'a>(mut node: &'a Node, mut base: usize, key: &mut Vec<u8>) -> &'a [u8] {
    loop {
        match node {
            Node::Leaf(leaf) => {
                let (rest, value) = leaf_parts(leaf);
                key.extend_from_slice(rest);
                return value;
            }
            Node::Branch(branch) => {
                let head = &branch.header.header;
                key.extend_from_slice(head.before_children(base));
                base = head.child_base();
                node = branch.slice.last().expect("a branch has children");
            }
        }
    }
}

/// Copies the path to `key` with its new value: the copy, and the old value's hash.
fn put(node: &Node, base: usize, key: &[u8], value: &[u8], sum: EntrySum) -> (Node, Option<EntrySum>) {
    match node {
        Node::Leaf(old) => {
            let (rest, old_value) = leaf_parts(old);
            let old_sum = || EntrySum::of(&[&key[..base], rest].concat(), old_value);
            match first_difference(&key[base..], rest, 0) {
                None => (leaf(rest, value), Some(old_sum())),
                Some(relative) => {
                    let at = base * 2 + relative;
                    let moved = leaf(&rest[at / 2 - base..], old_value);
                    let beside = (symbol(rest, relative), moved, old_sum(), 1);
                    (fork(at, base, key, (value, sum), beside), None)
                }
            }
        }
        Node::Branch(old) => {
            let head = &old.header.header;
            if let Some(at) = head.leaves_at(key, base) {
                let moved = BranchHead { prefix: head.prefix[at / 2 - base..].into(), ..head.clone() };
                let moved = branch(moved, old.slice.to_vec());
                let beside = (head.prefix_symbol(at, base), moved, head.sum, head.count);
                return (fork(at, base, key, (value, sum), beside), None);
            }
            let next = symbol(key, usize::from(head.at));
            let mut children = old.slice.to_vec();
            let replaced = if let Some(place) = head.place(next) {
                let (child, replaced) = put(&children[place], head.child_base(), key, value, sum);
                children[place] = child;
                replaced
            } else {
                children.insert(head.below(next), leaf(&key[head.child_base()..], value));
                None
            };
            let head = BranchHead {
                sum: head.sum.minus(replaced.unwrap_or_default()).plus(sum),
                count: head.count + u32::from(replaced.is_none()),
                symbols: head.symbols | 1 << next,
                ..head.clone()
            };
            (branch(head, children), replaced)
        }
    }
}

/// A new branch at `at`, with the new entry and what stood there before.
fn fork(
    at: usize,
    base: usize,
    key: &[u8],
    (value, sum): (&[u8], EntrySum),
    (other_symbol, other, other_sum, other_count): (Symbol, Node, EntrySum, u32),
) -> Node {
    let next = symbol(key, at);
    let head = BranchHead {
        sum: sum.plus(other_sum),
        prefix: key[base..at.div_ceil(2)].into(),
        count: other_count + 1,
        symbols: 1 << next | 1 << other_symbol,
        at: u16::try_from(at).expect("keys are bounded by MAX_KEY"),
    };
    let new = leaf(&key[at / 2..], value);
    branch(head, if next < other_symbol { [new, other] } else { [other, new] })
}

/// Copies the path to `key` without its entry.
fn take(node: &Node, base: usize, key: &[u8]) -> Removed {
    match node {
        Node::Leaf(leaf) => {
            let (rest, value) = leaf_parts(leaf);
            if key.get(base..) == Some(rest) {
                Removed::Entry(EntrySum::of(key, value), None)
            } else {
                Removed::Nothing
            }
        }
        Node::Branch(old) => {
            let head = &old.header.header;
            if head.leaves_at(key, base).is_some() {
                return Removed::Nothing;
            }
            let next = symbol(key, usize::from(head.at));
            let Some(place) = head.place(next) else { return Removed::Nothing };
            let Removed::Entry(sum, child) = take(&old.slice[place], head.child_base(), key) else {
                return Removed::Nothing;
            };
            let mut children = old.slice.to_vec();
            let mut symbols = head.symbols;
            match child {
                Some(child) => children[place] = child,
                None => {
                    children.remove(place);
                    symbols &= !(1 << next);
                }
            }
            let rest = match <[Node; 1]>::try_from(children) {
                Ok([only]) => joined(head.before_children(base), only),
                Err(children) => {
                    let head = BranchHead {
                        sum: head.sum.minus(sum),
                        count: head.count - 1,
                        symbols,
                        ..head.clone()
                    };
                    branch(head, children)
                }
            };
            Removed::Entry(sum, Some(rest))
        }
    }
}

/// A node whose parent is gone, with the bytes that stood before it.
fn joined(before: &[u8], node: Node) -> Node {
    match &node {
        Node::Leaf(old) => {
            let (rest, value) = leaf_parts(old);
            leaf(&[before, rest].concat(), value)
        }
        Node::Branch(old) => {
            let head = &old.header.header;
            let prefix = [before, &head.prefix].concat().into();
            branch(BranchHead { prefix, ..head.clone() }, old.slice.to_vec())
        }
    }
}
