//! Changes: putting entries in and taking them out. Nodes that only this version has are changed in place,
//! others are copied; so the first change after a clone copies a path, and a lone tree is built quickly.

use super::block::{Block, MAX_ENTRIES, Piece, View, block, fits, replace};
use super::entry_sum::EntrySum;
use super::fork::Fork;
use super::node::{Branch, BranchHead, Node, branch, edit};
use super::prefix::Prefix;
use super::symbol::symbol;

/// A branch with so few entries becomes a block, if they fill at most half of one: far enough from where blocks
/// become branches that an entry that comes and goes does not do both each time.
const FEW: u32 = MAX_ENTRIES as u32 / 4;

/// The entry that is put in.
#[derive(Clone, Copy)]
pub(super) struct New<'a> {
    pub(super) key: &'a [u8],
    pub(super) value: &'a [u8],
    pub(super) sum: EntrySum,
}

/// What putting an entry in changed.
pub(super) struct Put {
    /// The hash of the entry of the same key that was there.
    replaced: Option<EntrySum>,
    /// Bytes of memory that the nodes take now, more or less.
    pub(super) grown: isize,
}

/// What taking an entry out changed.
pub(super) struct Taken {
    /// Nothing is left of the node: it must go.
    pub(super) is_empty: bool,
    /// As in [`Put`].
    pub(super) grown: isize,
}

/// A block of one entry, whose bytes begin at `base`.
pub(super) fn alone(new: New<'_>, base: usize) -> Node {
    Node::Block(block(&[Piece::new(&new.key[base..], new.value)], new.sum))
}

/// Puts an entry in below `node`, whose bytes begin at `base`.
pub(super) fn put(node: &mut Node, base: usize, new: New<'_>) -> Put {
    let (next, grown) = match node {
        Node::Block(old) => {
            let view = View::of(old);
            match view.search(&new.key[base..]) {
                Ok(place) => return put_instead(node, base, place, new),
                Err(place) => {
                    let mut pieces = Vec::with_capacity(view.len() + 1);
                    pieces.extend(view.pieces());
                    pieces.insert(place, Piece::new(&new.key[base..], new.value));
                    let next = arranged(&pieces, old.header.header.sum.plus(new.sum), &new.key[..base]);
                    let grown = signed(next.bytes_below());
                    (next, grown)
                }
            }
        }
        Node::Branch(fork, old) => {
            if let Some(at) = old.header.header.leaves_at(*fork, new.key, base) {
                forked(*fork, old, base, at, new)
            } else if let Some(place) = fork.place(symbol(new.key, fork.at())) {
                return put_below(*fork, old, place, new);
            } else {
                with_child(*fork, old, new)
            }
        }
    };
    let old = std::mem::replace(node, next);
    Put { replaced: None, grown: grown - signed(old.bytes()) }
}

/// Puts an entry in the place of another of its key, in a block.
fn put_instead(node: &mut Node, base: usize, place: usize, new: New<'_>) -> Put {
    let old_bytes = signed(node.bytes());
    let Node::Block(block) = node else { unreachable!("only a block has places") };
    let view = View::of(block);
    let replaced = EntrySum::of(new.key, view.entry(place).1);
    let sum = block.header.header.sum.minus(replaced).plus(new.sum);
    if replace(block, place, new.value, sum).is_none() {
        let mut pieces: Vec<_> = View::of(block).pieces().collect();
        pieces[place].value = new.value;
        *node = arranged(&pieces, sum, &new.key[..base]);
    }
    Put { replaced: Some(replaced), grown: signed(node.bytes_below()) - old_bytes }
}

/// A block of these entries with this hash, or where that cannot be, several.
fn arranged(pieces: &[Piece<'_>], sum: EntrySum, before: &[u8]) -> Node {
    if fits(pieces, 1) { Node::Block(block(pieces, sum)) } else { spread(pieces, before) }
}

fn put_below(fork: Fork, old: &mut Branch, place: usize, new: New<'_>) -> Put {
    edit(old, |branch| {
        let put = put(&mut branch.slice_mut()[place], fork.child_base(), new);
        let head = branch.header_mut();
        head.sum = head.sum.minus(put.replaced.unwrap_or_default()).plus(new.sum);
        head.count += u32::from(put.replaced.is_none());
        put
    })
}

/// The branch with a child more, the first entry with its symbol; and how much they take.
fn with_child(fork: Fork, old: &Branch, new: New<'_>) -> (Node, isize) {
    let head = &old.header.header;
    let next = symbol(new.key, fork.at());
    let child = alone(new, fork.child_base());
    let child_bytes = child.bytes();
    let mut children = Vec::with_capacity(old.slice.len() + 1);
    children.extend_from_slice(&old.slice);
    children.insert(fork.below(next), child);
    let head = BranchHead { sum: head.sum.plus(new.sum), count: head.count + 1, ..head.clone() };
    let next = branch(fork.with(next), head, children);
    let grown = signed(next.bytes() + child_bytes);
    (next, grown)
}

/// A branch at `at`, where the new entry leaves the old branch's prefix; and how much what is new takes.
fn forked(fork: Fork, old: &Branch, base: usize, at: usize, new: New<'_>) -> (Node, isize) {
    let head = &old.header.header;
    let (next, other) = (symbol(new.key, at), head.prefix_symbol(at, base));
    let moved = BranchHead { prefix: Prefix::new(&head.prefix.bytes()[at / 2 - base..]), ..head.clone() };
    let (moved, child) = (branch(fork, moved, old.slice.to_vec()), alone(new, at / 2));
    let child_bytes = moved.bytes() + child.bytes();
    let head = BranchHead {
        sum: head.sum.plus(new.sum),
        prefix: Prefix::new(&new.key[base..at.div_ceil(2)]),
        count: head.count + 1,
    };
    let fork = Fork::at_position(at).with(next).with(other);
    let next = branch(fork, head, if next < other { [child, moved] } else { [moved, child] });
    let grown = signed(next.bytes() + child_bytes);
    (next, grown)
}

/// A node of these entries, in order; `before` is what stands before their bytes. Where a block cannot have
/// them they are spread over the blocks of a branch. Each part has one entry fewer, at least.
fn spread(pieces: &[Piece<'_>], before: &[u8]) -> Node {
    if fits(pieces, 1) {
        let mut key = before.to_vec();
        let sums = pieces.iter().map(|piece| {
            key.truncate(before.len());
            key.extend(piece.key());
            EntrySum::of(&key, piece.value)
        });
        let sum = sums.fold(EntrySum::default(), EntrySum::plus);
        return Node::Block(block(pieces, sum));
    }
    let (first, last) = (pieces[0], pieces[pieces.len() - 1]);
    let shared = first.key().zip(last.key()).take_while(|(first, last)| first == last).count() * 2;
    let relative = if first.symbol(shared) == last.symbol(shared) { shared + 1 } else { shared };
    let prefix: Vec<u8> = first.key().take(relative.div_ceil(2)).collect();
    let before_children = [before, &prefix[..relative / 2]].concat();
    let mut fork = Fork::at_position(before.len() * 2 + relative);
    let mut children = Vec::new();
    for part in pieces.chunk_by(|one, next| one.symbol(relative) == next.symbol(relative)) {
        fork = fork.with(part[0].symbol(relative));
        let part: Vec<_> = part.iter().map(|piece| piece.without(relative / 2)).collect();
        children.push(spread(&part, &before_children));
    }
    let head = BranchHead {
        sum: children.iter().map(Node::sum).fold(EntrySum::default(), EntrySum::plus),
        prefix: Prefix::new(&prefix),
        count: children.iter().map(Node::count).sum(),
    };
    branch(fork, head, children)
}

/// Takes out the entry of `key`, which is below `node` and has this hash.
pub(super) fn take(node: &mut Node, base: usize, key: &[u8], sum: EntrySum) -> Taken {
    let taken = match node {
        Node::Block(old) if old.header.header.entries == 1 => {
            return Taken { is_empty: true, grown: -signed(node.bytes()) };
        }
        Node::Block(old) => {
            let next = without_entry(old, &key[base..], sum);
            let grown = signed(next.bytes()) - signed(node.bytes());
            *node = next;
            return Taken { is_empty: false, grown };
        }
        Node::Branch(fork, old) => take_below(*fork, old, key, sum),
    };
    let mut grown = taken.grown;
    if taken.is_empty {
        let (next, gone) = without_child(node, base, key);
        grown += signed(next.bytes()) - signed(gone);
        *node = next;
    }
    if let Some(next) = gathered(node, base) {
        grown += signed(next.bytes()) - signed(node.bytes_below());
        *node = next;
    }
    Taken { is_empty: false, grown }
}

fn without_entry(old: &Block, key: &[u8], sum: EntrySum) -> Node {
    let view = View::of(old);
    let at = view.search(key).expect("the entry is below");
    let mut pieces: Vec<_> = view.pieces().collect();
    pieces.remove(at);
    Node::Block(block(&pieces, old.header.header.sum.minus(sum)))
}

fn take_below(fork: Fork, old: &mut Branch, key: &[u8], sum: EntrySum) -> Taken {
    edit(old, |branch| {
        let place = fork.place(symbol(key, fork.at())).expect("the entry is below");
        let taken = take(&mut branch.slice_mut()[place], fork.child_base(), key, sum);
        let head = branch.header_mut();
        head.sum = head.sum.minus(sum);
        head.count -= 1;
        taken
    })
}

/// What is left of a branch when the child with `key` goes, and the bytes of the nodes that this replaces.
fn without_child(node: &Node, base: usize, key: &[u8]) -> (Node, usize) {
    let Node::Branch(fork, old) = node else { unreachable!("only a branch has children") };
    let head = &old.header.header;
    let gone = symbol(key, fork.at());
    let mut children = old.slice.to_vec();
    children.remove(fork.below(gone));
    match <[Node; 1]>::try_from(children) {
        Ok([only]) => {
            let replaced = node.bytes() + only.bytes();
            (joined(head.before_children(*fork, base), &only), replaced)
        }
        Err(children) => (branch(fork.without(gone), head.clone(), children), node.bytes()),
    }
}

/// A node whose parent is gone, with the bytes that stood before it.
fn joined(before: &[u8], node: &Node) -> Node {
    match node {
        Node::Block(old) => {
            let view = View::of(old);
            let lead = [before, view.shared].concat();
            let pieces: Vec<_> = view.pieces().map(|piece| Piece { lead: &lead, ..piece }).collect();
            Node::Block(block(&pieces, old.header.header.sum))
        }
        Node::Branch(fork, old) => {
            let head = &old.header.header;
            let prefix = Prefix::new(&[before, head.prefix.bytes()].concat());
            branch(*fork, BranchHead { prefix, ..head.clone() }, old.slice.to_vec())
        }
    }
}

/// A branch with few entries as a block.
fn gathered(node: &Node, base: usize) -> Option<Node> {
    let Node::Branch(_, branch) = node else { return None };
    let head = &branch.header.header;
    if head.count > FEW {
        return None;
    }
    let mut blocks = Vec::new();
    collect_blocks(node, base, &mut Vec::new(), &mut blocks);
    let pieces: Vec<_> = blocks
        .iter()
        .flat_map(|(lead, view)| view.pieces().map(move |piece| Piece { lead, ..piece }))
        .collect();
    fits(&pieces, 2).then(|| Node::Block(block(&pieces, head.sum)))
}

/// The blocks below, in order, each with the bytes that its keys begin with.
fn collect_blocks<'a>(
    node: &'a Node,
    base: usize,
    lead: &mut Vec<u8>,
    blocks: &mut Vec<(Vec<u8>, View<'a>)>,
) {
    match node {
        Node::Block(block) => {
            let view = View::of(block);
            blocks.push(([lead, view.shared].concat(), view));
        }
        Node::Branch(fork, branch) => {
            let length = lead.len();
            lead.extend_from_slice(branch.header.header.before_children(*fork, base));
            for child in &branch.slice {
                collect_blocks(child, fork.child_base(), lead, blocks);
            }
            lead.truncate(length);
        }
    }
}

fn signed(bytes: usize) -> isize {
    isize::try_from(bytes).expect("memory is finite")
}
