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

mod approach;
mod block;
mod change;
mod difference;
mod entries;
mod entry_sum;
mod fork;
mod node;
mod prefix;
mod region;
mod symbol;
#[cfg(test)]
mod tests;

pub(crate) use approach::TOGETHER;
pub use entries::Entries;
pub use entry_sum::EntrySum;
pub use region::{Region, RegionDigest};

use block::View;
use change::{New, alone, put, take};
use node::Node;
use symbol::symbol;

/// The longest key: a table's number and the longest storage key, with room to spare. Bounds the depth.
pub const MAX_KEY: usize = 4096;

/// An ordered map from byte strings to byte strings, with hashes. See the module's documentation.
#[derive(Clone, Debug, Default)]
pub struct PerkleTree {
    root: Option<Node>,
    /// Bytes of all nodes.
    bytes: usize,
}

impl PerkleTree {
    /// An empty tree.
    #[must_use]
    pub const fn new() -> Self {
        Self { root: None, bytes: 0 }
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
        let new = New { key, value, sum: EntrySum::of(key, value) };
        let grown = match &mut self.root {
            None => {
                let root = self.root.insert(alone(new, 0));
                root.bytes().cast_signed()
            }
            Some(root) => put(root, 0, new).grown,
        };
        self.bytes = self.bytes.strict_add_signed(grown);
    }

    /// Removes an entry; says whether there was one.
    pub fn remove(&mut self, key: &[u8]) -> bool {
        let Some(sum) = self.get(key).map(|value| EntrySum::of(key, value)) else { return false };
        let taken = take(self.root.as_mut().expect("it has an entry"), 0, key, sum);
        if taken.is_empty {
            self.root = None;
        }
        self.bytes = self.bytes.strict_add_signed(taken.grown);
        true
    }

    /// Bytes of memory that its nodes take, those that it shares with other versions with them; what the
    /// allocator adds is not counted.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The value of `key`.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<&[u8]> {
        let (mut node, mut base) = (self.root.as_ref()?, 0);
        // So many symbols of the key are known to be those of the way here: then the branch is not asked.
        let mut agrees = 0;
        loop {
            match node {
                Node::Block(block) => {
                    let view = View::of(block);
                    return view.search(key.get(base..)?).ok().map(|at| view.entry(at).1);
                }
                Node::Branch(fork, branch) => {
                    if fork.at() > agrees && branch.header.header.leaves_at(*fork, key, base).is_some() {
                        return None;
                    }
                    agrees = fork.at() + 1;
                    node = &branch.slice[fork.place(symbol(key, fork.at()))?];
                    base = fork.child_base();
                }
            }
        }
    }

    /// The entry with the greatest key that is at most `key`: its value, and its key in `found`.
    pub fn floor(&self, key: &[u8], found: &mut Vec<u8>) -> Option<&[u8]> {
        let (mut node, mut base) = (self.root.as_ref()?, 0);
        // As in `get`.
        let mut agrees = 0;
        // The greatest subtree passed by that is below `key`; on the way to it the bytes are the key's.
        let mut lesser: Option<(&Node, usize)> = None;
        let (node, base) = loop {
            match node {
                Node::Block(block) => {
                    let view = View::of(block);
                    let place = match view.search(key.get(base..).unwrap_or(&[])) {
                        Ok(place) => place,
                        Err(0) => break lesser?,
                        Err(after) => after - 1,
                    };
                    let (rest, value) = view.entry(place);
                    found.clear();
                    for part in [&key[..base], view.shared, rest] {
                        found.extend_from_slice(part);
                    }
                    return Some(value);
                }
                Node::Branch(fork, branch) => {
                    let head = &branch.header.header;
                    if fork.at() > agrees
                        && let Some(at) = head.leaves_at(*fork, key, base)
                    {
                        let is_below = head.prefix_symbol(at, base) < symbol(key, at);
                        break if is_below { (node, base) } else { lesser? };
                    }
                    agrees = fork.at() + 1;
                    let next = symbol(key, fork.at());
                    let below = fork.below(next);
                    if below > 0 {
                        lesser = Some((&branch.slice[below - 1], fork.child_base()));
                    }
                    match fork.place(next) {
                        Some(place) => (node, base) = (&branch.slice[place], fork.child_base()),
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
            Node::Block(block) => {
                let view = View::of(block);
                let (rest, value) = view.entry(view.len() - 1);
                key.extend_from_slice(view.shared);
                key.extend_from_slice(rest);
                return value;
            }
            Node::Branch(fork, branch) => {
                key.extend_from_slice(branch.header.header.before_children(*fork, base));
                base = fork.child_base();
                node = branch.slice.last().expect("a branch has children");
            }
        }
    }
}
