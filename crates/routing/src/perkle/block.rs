//! Blocks: the entries at the bottom of the tree, a few of them in one allocation.
//!
//! A block's bytes are, for *n* entries: the *n* first byte pairs of the keys, the *n* places at which the
//! entries begin, the bytes that all keys share, and the entries. An entry is two bytes for the length of its
//! key's rest, that rest, and its value. So a search reads one or two cache lines of byte pairs and the lines
//! of the entry that it finds.

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
    /// The first two bytes of each key after the shared ones, as numbers that sort as the keys do.
    pairs: &'a [u8],
    places: &'a [u8],
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
        let pairs = usize::from(head.entries) * 2;
        let (pairs, rest) = block.slice.split_at(pairs);
        let (places, rest) = rest.split_at(pairs.len());
        let (shared, entries) = rest.split_at(usize::from(head.shared));
        Self { pairs, places, shared, entries }
    }

    pub(super) const fn len(&self) -> usize {
        self.pairs.len() / 2
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
        while at < self.len() && self.pairs[at * 2..at * 2 + 2] == wanted.to_le_bytes() {
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
        let pairs = self.pairs.as_chunks::<2>().0;
        usize::from(pairs.iter().map(|pair| u16::from(u16::from_le_bytes(*pair) < wanted)).sum::<u16>())
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
        usize::from(u16::from_le_bytes([self.places[at * 2], self.places[at * 2 + 1]]))
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
    let index = pieces.len() * 2;
    let mut bytes = Vec::with_capacity(index * 2 + shared + bytes_of(pieces, shared));
    for piece in pieces {
        let mut after = piece.key().skip(shared);
        let first = [after.next().unwrap_or_default(), after.next().unwrap_or_default()];
        bytes.extend(u16::from_be_bytes(first).to_le_bytes());
    }
    bytes.resize(index * 2, 0);
    bytes.extend(pieces[0].key().take(shared));
    let entries = bytes.len();
    for (at, piece) in pieces.iter().enumerate() {
        let place = short(bytes.len() - entries).to_le_bytes();
        bytes[index + at * 2..index + at * 2 + 2].copy_from_slice(&place);
        let piece = piece.without(shared);
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
    for later in at + 1..view.len() {
        let place = short(view.place(later) - old + value.len()).to_le_bytes();
        let stored = view.pairs.len() + later * 2;
        bytes[stored..stored + 2].copy_from_slice(&place);
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
