//! Walking towards several keys at once.
//!
//! A lookup in a large tree mostly waits for memory: each step's address comes of the step before. Lookups of
//! different keys do not wait for each other; so a step of each in turn lets their reads overlap, and the
//! lookups that follow find what they read near.

use std::hint::black_box;

use super::PerkleTree;
use super::block::View;
use super::node::Node;
use super::symbol::symbol;

/// Keys that are walked towards at once: about as many reads as a core keeps under way.
pub(crate) const TOGETHER: usize = 16;

impl PerkleTree {
    /// Reads what looking up these keys will read, so that it is near; changes and answers nothing. `byte(i, at)`
    /// is the byte of the `i`-th key at a position; of `keys` keys, [`TOGETHER`] count.
    pub(crate) fn approach(&self, keys: usize, byte: impl Fn(usize, usize) -> Option<u8>) {
        let Some(root) = &self.root else { return };
        let mut places = [(root, 0); TOGETHER];
        let places = &mut places[..keys.min(TOGETHER)];
        let mut walking = true;
        while walking {
            walking = false;
            for (key, (node, base)) in places.iter_mut().enumerate() {
                let Node::Branch(fork, branch) = *node else { continue };
                let at = fork.at();
                let symbol = symbol(byte(key, at / 2).as_slice(), at % 2);
                // Where there is no such child, the one before is where a floor leads.
                let child = fork.place(symbol).unwrap_or_else(|| fork.below(symbol).saturating_sub(1));
                (*node, *base) = (&branch.slice[child], fork.child_base());
                walking = true;
            }
        }
        let mut read = 0;
        for (key, (node, base)) in places.iter().enumerate() {
            let Node::Block(block) = node else { continue };
            let view = View::of(block);
            let after = base + view.shared.len();
            let pair = [byte(key, after), byte(key, after + 1)].map(Option::unwrap_or_default);
            let entry = view.before(u16::from_be_bytes(pair)).saturating_sub(1);
            read ^= view.entry(entry).1.last().copied().unwrap_or_default();
        }
        // What is read and not used would not be read.
        black_box(read);
    }
}
