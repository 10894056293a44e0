//! Blocks: the entries at the bottom of the tree, a few of them in one allocation.
//!
//! A block's bytes are: for each entry the first two bytes of its key and the place at which it begins, the
//! bytes that all keys share, and the entries. An entry is two bytes for the length of its key's rest, that
//! rest, and its value. So a search reads a few cache lines of index, which stand side by side, and the lines of
//! the entry that it finds.

use triomphe::{Arc, ThinArc};

use super::entry_sum::EntrySum;
use super::symbol::{Symbol, symbol};

/// Entries of a block, at most. Branches spread keys that are hashes sixteen ways, so blocks hold between eight
/// and this many. Larger blocks save a level of branches for most tables, whose children are scattered over
/// memory, and cost longer copies, which are not.
pub(super) const MAX_ENTRIES: usize = 128;

/// Bytes of the entries of a block of more than one, at most: some 96 for each, where routes take 60. Bounds
/// what an update copies, and lets the places fit two bytes.
pub(super) const MAX_BYTES: usize = 12 * 1024;

/// Bytes of an entry in the index: two for its place, two for its key's first bytes.
const INDEX: usize = 4;
/// The place in them.
const PLACE: u32 = 0xffff;

/// Bytes of the length of a key's rest.
const LENGTH: usize = 2;

/// One allocation: a count of references, the head, a length, and the bytes.
pub(super) type Block = ThinArc<BlockHead, u8>;

#[derive(Clone, Debug)]
pub(super) struct BlockHead {
    /// Sum of the entries' hashes.
    pub(super) sum: EntrySum,
    pub(super) entries: u16,
    /// How many bytes all keys share, from the block's base.
    shared: u16,
}

/// What a block's bytes say.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a> {
    /// For each entry the first two bytes of its key after the shared ones, as a number that sorts as the keys
    /// do, and below it the place where it begins; in order.
    index: &'a [[u8; INDEX]],
    /// What all keys begin with, from the block's base.
    pub(super) shared: &'a [u8],
    entries: &'a [u8],
}

/// An entry on its way into a block. Its key, from the block's base, is in two parts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece<'a> {
    pub(super) lead: &'a [u8],
    pub(super) rest: &'a [u8],
    pub(super) value: &'a [u8],
}

impl<'a> View<'a> {
    pub(super) fn of(block: &'a Block) -> Self {
        let head = &block.header.header;
        let (index, rest) = block.slice.split_at(usize::from(head.entries) * INDEX);
        let (shared, entries) = rest.split_at(usize::from(head.shared));
        Self { index: index.as_chunks().0, shared, entries }
    }

    pub(super) const fn len(&self) -> usize {
        self.index.len()
    }

    /// The key's rest after the shared bytes, and the value.
    pub(super) fn entry(&self, at: usize) -> (&'a [u8], &'a [u8]) {
        let entry = &self.entries[self.place(at)..self.end(at)];
        let (length, bytes) = entry.split_at(LENGTH);
        bytes.split_at(usize::from(u16::from_le_bytes([length[0], length[1]])))
    }

    /// Where a key is, or where it would be; the key from the block's base on.
    pub(super) fn search(&self, key: &[u8]) -> Result<usize, usize> {
        let Some(after) = key.strip_prefix(self.shared) else {
            return Err(if key < self.shared { 0 } else { self.len() });
        };
        let wanted = pair(after);
        let mut at = self.before(wanted);
        while self.index.get(at).is_some_and(|entry| u32::from_le_bytes(*entry) >> 16 == wanted.into()) {
            match self.entry(at).0.cmp(after) {
                std::cmp::Ordering::Less => at += 1,
                std::cmp::Ordering::Equal => return Ok(at),
                std::cmp::Ordering::Greater => break,
            }
        }
        Err(at)
    }

    /// How many entries have lesser byte pairs.
    pub(super) fn before(&self, wanted: u16) -> usize {
        // Without a branch, so that many are compared at once.
        let wanted = u32::from(wanted) << 16;
        self.index.iter().map(|entry| u32::from(u32::from_le_bytes(*entry) < wanted)).sum::<u32>() as usize
    }

    pub(super) fn piece(&self, at: usize) -> Piece<'a> {
        let (rest, value) = self.entry(at);
        Piece { lead: self.shared, rest, value }
    }

    pub(super) fn pieces(self) -> impl Iterator<Item = Piece<'a>> {
        (0..self.len()).map(move |at| self.piece(at))
    }

    /// Where the entry ends.
    fn end(&self, at: usize) -> usize {
        if at + 1 < self.len() { self.place(at + 1) } else { self.entries.len() }
    }

    fn place(&self, at: usize) -> usize {
        (u32::from_le_bytes(self.index[at]) & PLACE) as usize
    }
}

impl<'a> Piece<'a> {
    pub(super) const fn new(rest: &'a [u8], value: &'a [u8]) -> Self {
        Self { lead: &[], rest, value }
    }

    /// The entry with so many fewer bytes at its key's beginning.
    pub(super) fn without(self, bytes: usize) -> Self {
        let of_lead = bytes.min(self.lead.len());
        Self { lead: &self.lead[of_lead..], rest: &self.rest[bytes - of_lead..], value: self.value }
    }

    pub(super) fn key(self) -> impl Iterator<Item = u8> {
        self.lead.iter().chain(self.rest).copied()
    }

    /// The key's symbol at a position, counted in nibbles from the block's base.
    pub(super) fn symbol(self, at: usize) -> Symbol {
        let byte = self.key().nth(at / 2);
        symbol(byte.as_slice(), at % 2)
    }

    const fn len(self) -> usize {
        self.lead.len() + self.rest.len()
    }
}

/// How many bytes the keys of these entries, in order, share.
fn shared(pieces: &[Piece<'_>]) -> usize {
    let (first, last) = (pieces[0], pieces[pieces.len() - 1]);
    first.key().zip(last.key()).take_while(|(first, last)| first == last).count()
}

/// Bytes of the entries alone.
fn bytes_of(pieces: &[Piece<'_>], shared: usize) -> usize {
    pieces.iter().map(|piece| LENGTH + piece.len() - shared + piece.value.len()).sum()
}

/// Whether a block may have these entries, which are in order, and as many `times` the bytes.
pub(super) fn fits(pieces: &[Piece<'_>], times: usize) -> bool {
    let few = pieces.len() <= MAX_ENTRIES;
    pieces.len() == 1 || (few && bytes_of(pieces, shared(pieces)) * times <= MAX_BYTES)
}

/// A block of these entries, in order.
pub(super) fn block(pieces: &[Piece<'_>], sum: EntrySum) -> Block {
    debug_assert!(fits(pieces, 1), "a block is bounded");
    let shared = shared(pieces);
    let index = pieces.len() * INDEX;
    let mut bytes = Vec::with_capacity(index + shared + bytes_of(pieces, shared));
    bytes.resize(index, 0);
    bytes.extend(pieces[0].key().take(shared));
    let entries = bytes.len();
    for (at, piece) in pieces.iter().enumerate() {
        let piece = piece.without(shared);
        let mut first = piece.key();
        let pair = [first.next().unwrap_or_default(), first.next().unwrap_or_default()];
        let indexed = u32::from(u16::from_be_bytes(pair)) << 16 | u32::from(short(bytes.len() - entries));
        bytes[at * INDEX..(at + 1) * INDEX].copy_from_slice(&indexed.to_le_bytes());
        bytes.extend(short(piece.len()).to_le_bytes());
        bytes.extend_from_slice(piece.lead);
        bytes.extend_from_slice(piece.rest);
        bytes.extend_from_slice(piece.value);
    }
    let head = BlockHead { sum, entries: short(pieces.len()), shared: short(shared) };
    ThinArc::from_header_and_slice(head, &bytes)
}

/// Puts another value in the place of an entry's, in the block itself if no other version has it; none: a block
/// cannot have so much.
pub(super) fn replace(block: &mut Block, at: usize, value: &[u8], sum: EntrySum) -> Option<()> {
    let view = View::of(block);
    let old = view.entry(at).1.len();
    let before_entries = block.slice.len() - view.entries.len();
    let (start, end) = (before_entries + view.end(at) - old, before_entries + view.end(at));
    if old == value.len() && ThinArc::strong_count(block) == 1 {
        block.with_arc_mut(|block| {
            let block = Arc::get_mut(block).expect("nobody else has it");
            block.slice_mut()[start..end].copy_from_slice(value);
            block.header_mut().sum = sum;
        });
        return Some(());
    }
    if view.len() > 1 && view.entries.len() - old + value.len() > MAX_BYTES {
        return None;
    }
    let mut bytes = Vec::with_capacity(block.slice.len() - old + value.len());
    bytes.extend_from_slice(&block.slice[..start]);
    bytes.extend_from_slice(value);
    bytes.extend_from_slice(&block.slice[end..]);
    for (later, indexed) in
        bytes.as_chunks_mut::<INDEX>().0.iter_mut().enumerate().take(view.len()).skip(at + 1)
    {
        let place = short(view.place(later) - old + value.len());
        *indexed = (u32::from_le_bytes(*indexed) & !PLACE | u32::from(place)).to_le_bytes();
    }
    let head = BlockHead { sum, ..block.header.header.clone() };
    *block = ThinArc::from_header_and_slice(head, &bytes);
    Some(())
}

/// The first two bytes, as a number that sorts as they do; what is missing counts as zero.
fn pair(bytes: &[u8]) -> u16 {
    match bytes {
        [] => 0,
        [one] => u16::from_be_bytes([*one, 0]),
        [one, two, ..] => u16::from_be_bytes([*one, *two]),
    }
}

fn short(length: usize) -> u16 {
    u16::try_from(length).expect("keys are bounded by MAX_KEY, places by MAX_BYTES")
}
