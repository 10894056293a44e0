//! Where a branch stands, and which symbols follow.

use super::symbol::{SYMBOLS, Symbol};

/// Packed, so that it fits beside the pointer to its branch: a bit for each symbol that has a child, and above
/// them the position, in nibbles from the key's start.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fork(u32);

const _: () = assert!(super::MAX_KEY * 2 < 1 << (u32::BITS - SYMBOLS as u32), "every position fits");

impl Fork {
    /// At a position, without children yet.
    pub(super) fn at_position(at: usize) -> Self {
        Self(u32::try_from(at << SYMBOLS).expect("keys are bounded by MAX_KEY"))
    }

    #[must_use]
    pub(super) const fn with(self, symbol: Symbol) -> Self {
        Self(self.0 | 1 << symbol)
    }

    #[must_use]
    pub(super) const fn without(self, symbol: Symbol) -> Self {
        Self(self.0 & !(1 << symbol))
    }

    /// Where it branches, in nibbles from the key's start.
    pub(super) const fn at(self) -> usize {
        (self.0 >> SYMBOLS) as usize
    }

    /// The first byte that its children's bytes begin with.
    pub(super) const fn child_base(self) -> usize {
        self.at() / 2
    }

    /// The child of a symbol, by its place among the children.
    pub(super) const fn place(self, symbol: Symbol) -> Option<usize> {
        if self.0 >> symbol & 1 == 1 { Some(self.below(symbol)) } else { None }
    }

    /// How many children have lesser symbols.
    pub(super) const fn below(self, symbol: Symbol) -> usize {
        (self.0 & ((1 << symbol) - 1)).count_ones() as usize
    }

    pub(super) const fn children(self) -> usize {
        self.below(SYMBOLS)
    }
}
