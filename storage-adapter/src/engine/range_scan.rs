//! Range reads: active, frozen and tree merged in key order, a chunk at a time.

use std::collections::VecDeque;
use std::iter::Peekable;
use std::ops::Bound;

use bytes::Bytes;

use super::replica::{ChunkLimit, Replica};
use super::table::{Bounds, Table};
use super::tree_file::{self, TreeView};
use super::{EngineError, StoredItem};

/// Entries of a scan's first chunk: a query for one item must not read many.
const FIRST_CHUNK: usize = 8;
/// Entries of a later chunk.
const LARGEST_CHUNK: usize = 256;
/// Bytes of a chunk, so that chunks of large items stay small: the 1 MB of a page is 16 of these.
const CHUNK_BYTES: usize = 64 << 10;

/// A key–item pair as the engine hands it out.
pub(crate) type Entry = (Bytes, StoredItem);

/// An iterator over a range of a replica's items, each checked against its checksum.
///
/// Each chunk sees one state of the replica; a later chunk may see a newer one, as DynamoDB's reads of
/// several items do.
#[derive(Debug)]
pub(crate) struct RangeScan<'r> {
    replica: &'r Replica,
    start: Bound<Bytes>,
    end: Bound<Bytes>,
    forward: bool,
    buffer: VecDeque<Entry>,
    chunk: usize,
    exhausted: bool,
}

impl<'r> RangeScan<'r> {
    /// Scans `start ≤ key < end` in key order, or in its reverse.
    pub(crate) fn new(replica: &'r Replica, start: Bytes, end: Option<Bytes>, forward: bool) -> Self {
        Self {
            replica,
            start: Bound::Included(start),
            end: end.map_or(Bound::Unbounded, Bound::Excluded),
            forward,
            buffer: VecDeque::new(),
            chunk: FIRST_CHUNK,
            exhausted: false,
        }
    }

    fn refill(&mut self) -> Result<(), EngineError> {
        while self.buffer.is_empty() && !self.exhausted {
            let limit = ChunkLimit { entries: self.chunk, bytes: CHUNK_BYTES };
            let bounds = (as_slice(&self.start), as_slice(&self.end));
            let (entries, next) = self.replica.read_chunk(bounds, self.forward, limit)?;
            self.buffer = entries.into();
            self.chunk = (self.chunk * 4).min(LARGEST_CHUNK);
            match next {
                Some(last) if self.forward => self.start = Bound::Excluded(last),
                Some(last) => self.end = Bound::Excluded(last),
                None => self.exhausted = true,
            }
        }
        Ok(())
    }
}

impl Iterator for RangeScan<'_> {
    type Item = Result<Entry, EngineError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.buffer.is_empty()
            && let Err(error) = self.refill()
        {
            self.exhausted = true;
            return Some(Err(error));
        }
        let (key, item) = self.buffer.pop_front()?;
        Some(item.checked().map(|item| (key, item)))
    }
}

fn as_slice(bound: &Bound<Bytes>) -> Bound<&[u8]> {
    match bound {
        Bound::Included(key) => Bound::Included(key),
        Bound::Excluded(key) => Bound::Excluded(key),
        Bound::Unbounded => Bound::Unbounded,
    }
}

/// What a chunk is merged from; newest first.
pub(super) struct Merge<'s> {
    /// The active table's part of the range, copied out.
    pub(super) recent: Vec<(Bytes, Option<StoredItem>)>,
    /// Whether the active table has more of the range than `recent`.
    pub(super) cut: bool,
    pub(super) frozen: Option<&'s Table>,
    pub(super) tree: Option<&'s TreeView>,
}

impl Merge<'_> {
    /// Reads a chunk in the order asked for. The second value says after which key to go on; none: the
    /// range is exhausted.
    pub(super) fn read(
        self,
        bounds: Bounds<'_>,
        forward: bool,
        limit: ChunkLimit,
    ) -> Result<(Vec<Entry>, Option<Bytes>), EngineError> {
        EngineError::guard(|| {
            let recent = self.recent.into_iter();
            let frozen = self.frozen.map(|table| table.range(bounds)).into_iter().flatten();
            let tree = self.tree.map(|view| tree_file::range(view, bounds)).transpose()?;
            let tree = tree.into_iter().flatten();
            if forward {
                merge(recent, self.cut, frozen, tree, |a, b| a < b, limit)
            } else {
                merge(recent, self.cut, frozen.rev(), tree.rev(), |a, b| a > b, limit)
            }
        })
    }
}

type TreeEntry = Result<
    (redb::AccessGuard<'static, &'static [u8]>, redb::AccessGuard<'static, &'static [u8]>),
    redb::StorageError,
>;

fn merge<'t>(
    recent: impl Iterator<Item = (Bytes, Option<StoredItem>)>,
    cut: bool,
    frozen: impl Iterator<Item = (&'t Bytes, &'t Option<StoredItem>)>,
    tree: impl Iterator<Item = TreeEntry>,
    precedes: impl Fn(&[u8], &[u8]) -> bool,
    limit: ChunkLimit,
) -> Result<(Vec<Entry>, Option<Bytes>), EngineError> {
    let (mut recent, mut frozen, mut tree) = (recent.peekable(), frozen.peekable(), tree.peekable());
    let mut out = Vec::new();
    let mut bytes = 0;
    loop {
        let Some(key) = next_key(&mut recent, &mut frozen, &mut tree, &precedes)? else {
            return Ok((out, None));
        };
        let newest = recent.next_if(|(found, _)| *found == key);
        let older = frozen.next_if(|(found, _)| **found == key);
        let oldest = tree.next_if(|entry| matches!(entry, Ok((found, _)) if found.value() == &*key));
        let item = match (newest, older, oldest) {
            (Some((_, item)), _, _) => item,
            (None, Some((_, item)), _) => item.clone(),
            (None, None, Some(Ok((_, value)))) => Some(StoredItem::read_from(value.value())?),
            (None, None, _) => unreachable!("the key is some source's head"),
        };
        if let Some(item) = item {
            bytes += item.bytes.len();
            out.push((key.clone(), item));
        }
        // Past the part that was copied out of the active table, only another chunk knows.
        let blind = cut && recent.peek().is_none();
        if blind || out.len() >= limit.entries || bytes >= limit.bytes {
            return Ok((out, Some(key)));
        }
    }
}

/// The first key, in the order asked for, among the heads of the three sources.
fn next_key<'t>(
    recent: &mut Peekable<impl Iterator<Item = (Bytes, Option<StoredItem>)>>,
    frozen: &mut Peekable<impl Iterator<Item = (&'t Bytes, &'t Option<StoredItem>)>>,
    tree: &mut Peekable<impl Iterator<Item = TreeEntry>>,
    precedes: &impl Fn(&[u8], &[u8]) -> bool,
) -> Result<Option<Bytes>, EngineError> {
    let mut first: Option<Bytes> = recent.peek().map(|(key, _)| key.clone());
    if let Some((key, _)) = frozen.peek()
        && first.as_ref().is_none_or(|first| precedes(key, first))
    {
        first = Some((*key).clone());
    }
    if matches!(tree.peek(), Some(Err(_))) {
        let error = tree.next().and_then(Result::err).expect("peeked an error");
        return Err(EngineError::tree(error));
    }
    if let Some(Ok((key, _))) = tree.peek()
        && first.as_ref().is_none_or(|first| precedes(key.value(), first))
    {
        first = Some(Bytes::copy_from_slice(key.value()));
    }
    Ok(first)
}
