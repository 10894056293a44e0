//! The tree's nodes. A leaf is one entry; a branch has a child per symbol that follows its prefix.
//!
//! A node's bytes begin at its *base*: the byte in which its parent branched (0 for the root). So every byte of
//! a key is stored once on the way down, except one in whose middle a branch stands.

use triomphe::ThinArc;
use twox_hash::{XxHash3_64, XxHash3_128};

use super::symbol::{Symbol, first_difference, symbol};

/// Two words of one allocation each: a count, a length, and the content.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Leaf(Leaf),
    Branch(Branch),
}

/// One entry: two bytes for the length of the key's rest, that rest, the value.
pub(super) type Leaf = ThinArc<(), u8>;
/// Its children, in the order of their symbols.
pub(super) type Branch = ThinArc<BranchHead, Node>;

#[derive(Clone, Debug)]
pub(super) struct BranchHead {
    /// Sum of the hashes of all entries below.
    pub(super) sum: EntrySum,
    /// The key's bytes from the base up to the branch; of a byte in whose middle it branches, only the first
    /// half counts.
    pub(super) prefix: Box<[u8]>,
    /// Number of entries below.
    pub(super) count: u32,
    /// Which symbols have children.
    pub(super) symbols: u32,
    /// Where it branches, in nibbles from the key's start.
    pub(super) at: u16,
}

/// The sum, modulo 2¹²⁸, of the hashes of a set of entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntrySum([u64; 2]);

impl EntrySum {
    pub(super) fn of(key: &[u8], value: &[u8]) -> Self {
        Self::from_number(XxHash3_128::oneshot_with_seed(XxHash3_64::oneshot(value), key))
    }

    pub(super) const fn plus(self, other: Self) -> Self {
        Self::from_number(self.number().wrapping_add(other.number()))
    }

    pub(super) const fn minus(self, other: Self) -> Self {
        Self::from_number(self.number().wrapping_sub(other.number()))
    }

    /// As a number, for messages.
    #[must_use]
    pub const fn number(self) -> u128 {
        (self.0[0] as u128) << 64 | self.0[1] as u128
    }

    /// Reads what [`Self::number`] gave.
    #[must_use]
    pub const fn from_number(number: u128) -> Self {
        Self([(number >> 64) as u64, number as u64])
    }
}

pub(super) fn leaf(rest: &[u8], value: &[u8]) -> Node {
    let length = u16::try_from(rest.len()).expect("keys are bounded by MAX_KEY");
    let bytes = [&length.to_le_bytes(), rest, value].concat();
    Node::Leaf(ThinArc::from_header_and_slice((), &bytes))
}

pub(super) fn branch(
    head: BranchHead,
    children: impl IntoIterator<Item = Node, IntoIter: ExactSizeIterator>,
) -> Node {
    debug_assert!(head.symbols.count_ones() >= 2, "a branch with one child is no branch");
    Node::Branch(ThinArc::from_header_and_iter(head, children.into_iter()))
}

/// The key's rest and the value.
pub(super) fn leaf_parts(leaf: &Leaf) -> (&[u8], &[u8]) {
    let (length, bytes) = leaf.slice.split_at(2);
    bytes.split_at(usize::from(u16::from_le_bytes([length[0], length[1]])))
}

impl BranchHead {
    /// The child of a symbol, by its place among the children.
    pub(super) const fn place(&self, symbol: Symbol) -> Option<usize> {
        if self.symbols >> symbol & 1 == 1 { Some(self.below(symbol)) } else { None }
    }

    /// How many children have lesser symbols.
    pub(super) const fn below(&self, symbol: Symbol) -> usize {
        (self.symbols & ((1 << symbol) - 1)).count_ones() as usize
    }

    /// The first byte that its children's bytes begin with.
    pub(super) fn child_base(&self) -> usize {
        usize::from(self.at) / 2
    }

    /// Where `key` leaves the prefix before the branch; none: it follows it up to there.
    pub(super) fn leaves_at(&self, key: &[u8], base: usize) -> Option<usize> {
        let at = usize::from(self.at);
        let rest = key.get(base..).unwrap_or(&[]);
        let relative = first_difference(rest, &self.prefix, 0)?;
        (relative + base * 2 < at).then_some(relative + base * 2)
    }

    /// The symbol of the prefix at a position before the branch.
    pub(super) fn prefix_symbol(&self, at: usize, base: usize) -> Symbol {
        symbol(&self.prefix, at - base * 2)
    }

    /// The bytes that stand before its children's.
    pub(super) fn before_children(&self, base: usize) -> &[u8] {
        &self.prefix[..self.child_base() - base]
    }
}

impl Node {
    pub(super) fn count(&self) -> u32 {
        match self {
            Self::Leaf(_) => 1,
            Self::Branch(branch) => branch.header.header.count,
        }
    }
}
