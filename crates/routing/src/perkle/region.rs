//! Regions of the key space, and what a tree holds there: what two servers compare.

use super::block::View;
use super::entry_sum::EntrySum;
use super::node::Node;
use super::symbol::{END, SYMBOLS, Symbol, symbol};
use super::{Entries, PerkleTree};

/// All keys that begin with the same symbols.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Region {
    /// The symbols' bytes; of the last one only the upper half counts if `nibbles` is odd.
    bytes: Vec<u8>,
    nibbles: usize,
    /// Only the key that ends here.
    ends: bool,
}

/// What a tree holds in a region.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RegionDigest {
    /// Sum of the entries' hashes.
    pub sum: EntrySum,
    /// Number of entries.
    pub entries: u64,
}

impl Region {
    /// The whole key space.
    #[must_use]
    pub const fn everything() -> Self {
        Self { bytes: Vec::new(), nibbles: 0, ends: false }
    }

    /// Its parts, one per next symbol, in the order of their keys. A region of a single key has none.
    pub fn parts(&self) -> impl Iterator<Item = Self> + '_ {
        let symbols = if self.ends { 0..0 } else { END..SYMBOLS };
        symbols
            .filter(|symbol| *symbol != END || self.nibbles.is_multiple_of(2))
            .map(|symbol| self.part(symbol))
    }

    /// The bytes and the number of nibbles that count, and whether only the key that ends there is meant: for
    /// messages.
    #[must_use]
    pub fn to_parts(&self) -> (&[u8], usize, bool) {
        (&self.bytes, self.nibbles, self.ends)
    }

    /// Reads what [`Self::to_parts`] gave; none: it is no region.
    #[must_use]
    pub fn from_parts(bytes: &[u8], nibbles: usize, ends: bool) -> Option<Self> {
        let fits = nibbles.div_ceil(2) == bytes.len() && bytes.len() <= super::MAX_KEY;
        let half_is_clear = nibbles.is_multiple_of(2) || bytes.last().is_some_and(|byte| byte & 15 == 0);
        let ends_between_bytes = !ends || nibbles.is_multiple_of(2);
        (fits && half_is_clear && ends_between_bytes).then(|| Self { bytes: bytes.to_vec(), nibbles, ends })
    }

    fn part(&self, symbol: Symbol) -> Self {
        let mut part = self.clone();
        if symbol == END {
            part.ends = true;
            return part;
        }
        let nibble = symbol - 1;
        if part.nibbles.is_multiple_of(2) {
            part.bytes.push(nibble << 4);
        } else {
            *part.bytes.last_mut().expect("an odd number of nibbles") |= nibble;
        }
        part.nibbles += 1;
        part
    }

    fn holds(&self, key: &[u8]) -> bool {
        let whole = self.nibbles / 2;
        key.get(..whole) == Some(&self.bytes[..whole])
            && (self.nibbles.is_multiple_of(2)
                || symbol(key, self.nibbles - 1) == symbol(&self.bytes, self.nibbles - 1))
            && (!self.ends || key.len() == self.bytes.len())
    }

    /// What a block holds in the region; `before` is what its keys begin with, `sum` its hash.
    fn digest_of(&self, before: &[u8], view: View<'_>, sum: EntrySum) -> RegionDigest {
        let mut key = before.to_vec();
        let mut held = |at: usize| {
            let (rest, value) = view.entry(at);
            key.truncate(before.len());
            key.extend_from_slice(rest);
            self.holds(&key).then(|| EntrySum::of(&key, value))
        };
        // A region is without gaps: with the first and the last it has all.
        if held(0).is_some() && held(view.len() - 1).is_some() {
            return RegionDigest { sum, entries: view.len() as u64 };
        }
        (0..view.len()).filter_map(held).fold(RegionDigest::default(), |digest, sum| RegionDigest {
            sum: digest.sum.plus(sum),
            entries: digest.entries + 1,
        })
    }
}

impl PerkleTree {
    /// What it holds in `region`.
    #[must_use]
    pub fn digest(&self, region: &Region) -> RegionDigest {
        let Some(mut node) = self.root.as_ref() else { return RegionDigest::default() };
        let mut base = 0;
        let mut before = Vec::new();
        loop {
            match node {
                Node::Block(block) => {
                    let view = View::of(block);
                    before.extend_from_slice(view.shared);
                    return region.digest_of(&before, view, block.header.header.sum);
                }
                Node::Branch(fork, branch) => {
                    let (at, head) = (fork.at(), &branch.header.header);
                    let shared = at.min(region.nibbles);
                    let leaves = head.leaves_at(*fork, &region.bytes, base);
                    if leaves.is_some_and(|leaves| leaves < shared) {
                        return RegionDigest::default();
                    }
                    if region.nibbles <= at && !(region.ends && region.nibbles == at) {
                        // A region of one key that ends before the branch holds nothing of it.
                        let whole = RegionDigest { sum: head.sum, entries: u64::from(head.count) };
                        return if region.ends { RegionDigest::default() } else { whole };
                    }
                    before.extend_from_slice(head.before_children(*fork, base));
                    let next = if region.nibbles == at { END } else { symbol(&region.bytes, at) };
                    let Some(place) = fork.place(next) else { return RegionDigest::default() };
                    node = &branch.slice[place];
                    base = fork.child_base();
                }
            }
        }
    }

    /// The entries in `region`, in order.
    pub fn entries_in<'a>(&'a self, region: &'a Region) -> impl Iterator<Item = (Vec<u8>, &'a [u8])> + 'a {
        let entries: Entries<'a> = self.from(&region.bytes);
        entries.take_while(|(key, _)| region.holds(key))
    }
}
