//! The tree's nodes. A block has a few entries; a branch has a child per symbol that follows its prefix.
//!
//! A node's bytes begin at its *base*: the byte in which its parent branched (0 for the root). So every byte of
//! a key is stored once on the way down, except one in whose middle a branch stands.
//!
//! What a lookup asks of a branch, as a rule, stands beside the pointer to it: so it reads one cache line of each
//! branch, where the next child is.

use triomphe::{Arc, HeaderSliceWithLengthProtected, ThinArc};

use super::block::{Block, BlockHead};
use super::entry_sum::EntrySum;
use super::fork::Fork;
use super::prefix::Prefix;
use super::symbol::{Symbol, first_difference, symbol};

/// A count and a length, which stand in every allocation beside head and content.
const COUNTERS: usize = 2 * size_of::<usize>();

#[derive(Clone, Debug)]
pub(super) enum Node {
    Block(Block),
    Branch(Fork, Branch),
}

/// A parent's children stand side by side: four to a cache line.
const _: () = assert!(size_of::<Node>() == 16, "a node is two words");

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
}

pub(super) fn branch(
    fork: Fork,
    head: BranchHead,
    children: impl IntoIterator<Item = Node, IntoIter: ExactSizeIterator>,
) -> Node {
    let children = children.into_iter();
    debug_assert_eq!(children.len(), fork.children(), "a child has a symbol");
    debug_assert!(children.len() >= 2, "a branch with one child is no branch");
    Node::Branch(fork, ThinArc::from_header_and_iter(head, children))
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
    /// Where `key` leaves the prefix before the branch; none: it follows it up to there.
    pub(super) fn leaves_at(&self, fork: Fork, key: &[u8], base: usize) -> Option<usize> {
        let relative = first_difference(key.get(base..).unwrap_or(&[]), self.prefix.bytes(), 0)?;
        let at = relative + base * 2;
        (at < fork.at()).then_some(at)
    }

    /// The prefix's symbol at a position before the branch.
    pub(super) fn prefix_symbol(&self, at: usize, base: usize) -> Symbol {
        symbol(self.prefix.bytes(), at - base * 2)
    }

    /// The bytes that stand before its children's.
    pub(super) fn before_children(&self, fork: Fork, base: usize) -> &[u8] {
        &self.prefix.bytes()[..fork.child_base() - base]
    }
}

impl Node {
    pub(super) fn count(&self) -> u32 {
        match self {
            Self::Block(block) => u32::from(block.header.header.entries),
            Self::Branch(_, branch) => branch.header.header.count,
        }
    }

    pub(super) fn sum(&self) -> EntrySum {
        match self {
            Self::Block(block) => block.header.header.sum,
            Self::Branch(_, branch) => branch.header.header.sum,
        }
    }

    /// Bytes of its own allocation.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Block(block) => COUNTERS + size_of::<BlockHead>() + block.slice.len(),
            Self::Branch(_, branch) => {
                let prefix = branch.header.header.prefix.bytes_apart();
                COUNTERS + size_of::<BranchHead>() + size_of_val(&branch.slice) + prefix
            }
        }
    }

    /// Bytes of all allocations below, its own with them. For small trees: it visits every node.
    pub(super) fn bytes_below(&self) -> usize {
        let below = match self {
            Self::Block(_) => 0,
            Self::Branch(_, branch) => branch.slice.iter().map(Self::bytes_below).sum(),
        };
        self.bytes() + below
    }
}
