//! The tree's nodes. A block has a few entries; a branch has a child per symbol that follows its prefix.
//!
//! A node's bytes begin at its *base*: the byte in which its parent branched (0 for the root). So every byte of
//! a key is stored once on the way down, except one in whose middle a branch stands.

use triomphe::{Arc, HeaderSliceWithLengthProtected, ThinArc};

use super::block::{Block, BlockHead};
use super::entry_sum::EntrySum;
use super::prefix::Prefix;
use super::symbol::{Symbol, first_difference, symbol};

/// A count and a length, which stand in every allocation beside head and content.
const COUNTERS: usize = 2 * size_of::<usize>();

#[derive(Clone, Debug)]
pub(super) enum Node {
    Block(Block),
    Branch(Branch),
}

/// One allocation: a count of references, the head, a length, and the children in the order of their symbols.
pub(super) type Branch = ThinArc<BranchHead, Node>;

/// A branch that is being changed.
type Parts = HeaderSliceWithLengthProtected<BranchHead, Node>;

#[derive(Clone, Debug)]
pub(super) struct BranchHead {
    /// Sum of the hashes of all entries below.
    pub(super) sum: EntrySum,
    /// The key's bytes from the base up to the branch; of a byte in whose middle it branches, only the first
    /// half counts.
    pub(super) prefix: Prefix,
    /// Number of entries below.
    pub(super) count: u32,
    /// Which symbols have children.
    pub(super) symbols: u32,
    /// Where it branches, in nibbles from the key's start.
    pub(super) at: u16,
}

pub(super) fn branch(
    head: BranchHead,
    children: impl IntoIterator<Item = Node, IntoIter: ExactSizeIterator>,
) -> Node {
    debug_assert!(head.symbols.count_ones() >= 2, "a branch with one child is no branch");
    Node::Branch(ThinArc::from_header_and_iter(head, children.into_iter()))
}

/// Changes a branch that no other version has; of one that others have, a copy.
pub(super) fn edit<T>(branch: &mut Branch, change: impl FnOnce(&mut Parts) -> T) -> T {
    if ThinArc::strong_count(branch) > 1 {
        let children = branch.slice.to_vec();
        *branch = ThinArc::from_header_and_iter(branch.header.header.clone(), children.into_iter());
    }
    branch.with_arc_mut(|branch| change(Arc::get_mut(branch).expect("nobody else has it")))
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
        let relative = first_difference(key.get(base..).unwrap_or(&[]), self.prefix.bytes(), 0)?;
        (relative + base * 2 < at).then_some(relative + base * 2)
    }

    /// The prefix's symbol at a position before the branch.
    pub(super) fn prefix_symbol(&self, at: usize, base: usize) -> Symbol {
        symbol(self.prefix.bytes(), at - base * 2)
    }

    /// The bytes that stand before its children's.
    pub(super) fn before_children(&self, base: usize) -> &[u8] {
        &self.prefix.bytes()[..self.child_base() - base]
    }
}

impl Node {
    pub(super) fn count(&self) -> u32 {
        match self {
            Self::Block(block) => u32::from(block.header.header.entries),
            Self::Branch(branch) => branch.header.header.count,
        }
    }

    pub(super) fn sum(&self) -> EntrySum {
        match self {
            Self::Block(block) => block.header.header.sum,
            Self::Branch(branch) => branch.header.header.sum,
        }
    }

    /// Bytes of its own allocation.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Block(block) => COUNTERS + size_of::<BlockHead>() + block.slice.len(),
            Self::Branch(branch) => {
                let prefix = branch.header.header.prefix.bytes_apart();
                COUNTERS + size_of::<BranchHead>() + size_of_val(&branch.slice) + prefix
            }
        }
    }

    /// Bytes of all allocations below, its own with them. For small trees: it visits every node.
    pub(super) fn bytes_below(&self) -> usize {
        let below = match self {
            Self::Block(_) => 0,
            Self::Branch(branch) => branch.slice.iter().map(Self::bytes_below).sum(),
        };
        self.bytes() + below
    }
}
