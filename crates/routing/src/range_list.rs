//! Disjoint key ranges in order, with the newest route for each: the list under the route cache.

use std::cmp::Ordering;

use bytes::Bytes;

use crate::{KeyRange, Route};

/// Entries with disjoint ranges, sorted by range start; there may be gaps.
///
/// They stand in chunks, so that an insertion moves at most a chunk's entries, and beside the first eight
/// bytes of their starts and ends, so that a search follows no pointers: storage keys begin with a hash.
#[derive(Clone, Debug)]
pub(crate) struct RangeList<E> {
    chunks: Vec<Chunk<E>>,
    entries: usize,
}

/// Neighbours, never none of them.
#[derive(Clone, Debug)]
struct Chunk<E> {
    /// That of the first entry.
    first: u64,
    /// Of the starts.
    prefixes: Vec<u64>,
    entries: Vec<Slot<E>>,
}

/// An entry beside the first bytes of its range's end, or the greatest if that has none.
#[derive(Clone, Debug)]
struct Slot<E> {
    end: u64,
    entry: E,
}

impl<E: AsRef<Route>> Slot<E> {
    fn of(entry: E) -> Self {
        Self { end: entry.as_ref().range.end.as_deref().map_or(u64::MAX, prefix_of), entry }
    }

    fn route(&self) -> &Route {
        self.entry.as_ref()
    }
}

/// What a [sweep](RangeList::sweep) does with an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Visit {
    Keep,
    Remove,
    /// Keeps it, and ends the sweep before it.
    Stop,
}

/// A full chunk is halved: 256 entries of 24 bytes and their prefixes are 8 kB, moved in 100 ns.
const FULL: usize = 256;

impl<E> Default for RangeList<E> {
    fn default() -> Self {
        Self { chunks: Vec::new(), entries: 0 }
    }
}

impl<E: AsRef<Route>> RangeList<E> {
    /// The entry whose range holds `key`.
    pub(crate) fn holder(&self, key: &[u8]) -> Option<&E> {
        let (chunk, at) = self.floor(key)?;
        let slot = &self.chunks[chunk].entries[at];
        // Nearly always the prefix tells, and the route is not even touched.
        (prefix_of(key) < slot.end || slot.route().holds(key)).then_some(&slot.entry)
    }

    /// The entries whose ranges share a key with `range`, in order.
    pub(crate) fn overlapping(&self, range: &KeyRange) -> impl Iterator<Item = &E> {
        let from = self.first_overlap_or_after(range);
        let chunks = self.chunks.get(from.0..).unwrap_or_default().iter();
        let slots = chunks.flat_map(|chunk| &chunk.entries).skip(from.1);
        slots.take_while(|slot| starts_within(slot.route(), range)).map(|slot| &slot.entry)
    }

    /// Removes the entries whose ranges share a key with `range`.
    pub(crate) fn remove_overlapping(&mut self, range: &KeyRange) -> Vec<E> {
        let mut removed = Vec::new();
        loop {
            let (chunk, at) = self.first_overlap_or_after(range);
            let found = self.chunks.get(chunk).and_then(|chunk| chunk.entries.get(at));
            if !found.is_some_and(|slot| starts_within(slot.route(), range)) {
                return removed;
            }
            removed.push(self.chunks[chunk].remove(at));
            self.entries -= 1;
            if self.chunks[chunk].entries.is_empty() {
                self.chunks.remove(chunk);
            }
        }
    }

    /// Puts in an entry whose range overlaps no other.
    pub(crate) fn insert(&mut self, entry: E) {
        debug_assert!(self.overlapping(&entry.as_ref().range).next().is_none(), "ranges are disjoint");
        self.entries += 1;
        let floor = self.floor(&entry.as_ref().range.start);
        if self.chunks.is_empty() {
            // Most tables have one partition: room for no more.
            self.chunks.reserve_exact(1);
            self.chunks.push(Chunk::of(entry));
            return;
        }
        let (chunk, at) = floor.map_or((0, 0), |(chunk, at)| (chunk, at + 1));
        self.chunks[chunk].insert(at, entry);
        if self.chunks[chunk].entries.len() >= FULL {
            let upper = self.chunks[chunk].split();
            self.chunks.insert(chunk + 1, upper);
        }
    }

    /// Visits the entries that start at `from` or later, in order; says where it was stopped.
    pub(crate) fn sweep(&mut self, from: &[u8], mut visit: impl FnMut(&mut E) -> Visit) -> Option<Bytes> {
        let (first, _) = self.floor(from).unwrap_or_default();
        let mut stopped = None;
        'chunks: for chunk in self.chunks.get_mut(first..).unwrap_or_default() {
            let mut at = 0;
            while let Some(Slot { entry, .. }) = chunk.entries.get_mut(at) {
                if *entry.as_ref().range.start < *from {
                    at += 1;
                    continue;
                }
                match visit(entry) {
                    Visit::Keep => at += 1,
                    Visit::Remove => {
                        drop(chunk.remove(at));
                        self.entries -= 1;
                    }
                    Visit::Stop => {
                        stopped = Some(entry.as_ref().range.start.clone());
                        break 'chunks;
                    }
                }
            }
        }
        self.chunks.retain(|chunk| !chunk.entries.is_empty());
        stopped
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = &E> {
        self.chunks.iter().flat_map(|chunk| &chunk.entries).map(|slot| &slot.entry)
    }

    pub(crate) const fn len(&self) -> usize {
        self.entries
    }

    /// Chunk and place of the first entry that shares a key with `range` or begins after it.
    fn first_overlap_or_after(&self, range: &KeyRange) -> (usize, usize) {
        let Some((chunk, at)) = self.floor(&range.start) else { return (0, 0) };
        let holds_the_start = self.chunks[chunk].entries[at].route().holds(&range.start);
        match at + usize::from(!holds_the_start) {
            past if past == self.chunks[chunk].entries.len() => (chunk + 1, 0),
            at => (chunk, at),
        }
    }

    /// Chunk and place of the entry with the greatest range start that is not past `key`.
    fn floor(&self, key: &[u8]) -> Option<(usize, usize)> {
        let prefix = prefix_of(key);
        let first =
            |chunk: &Chunk<E>| chunk.entries.first().map_or(Ordering::Less, |slot| start_beside(slot, key));
        let chunk = not_past(&self.chunks, prefix, |chunk| chunk.first, |at| first(&self.chunks[at]));
        let chunk = chunk.checked_sub(1)?;
        let Chunk { prefixes, entries, .. } = &self.chunks[chunk];
        let past = not_past(prefixes, prefix, |own| *own, |at| start_beside(&entries[at], key));
        Some((chunk, past - 1))
    }
}

impl<E: AsRef<Route>> Chunk<E> {
    fn of(entry: E) -> Self {
        let first = prefix_of(&entry.as_ref().range.start);
        Self { first, prefixes: vec![first], entries: vec![Slot::of(entry)] }
    }

    fn insert(&mut self, at: usize, entry: E) {
        self.prefixes.insert(at, prefix_of(&entry.as_ref().range.start));
        self.entries.insert(at, Slot::of(entry));
        self.first = self.prefixes[0];
    }

    fn remove(&mut self, at: usize) -> E {
        self.prefixes.remove(at);
        let removed = self.entries.remove(at).entry;
        self.first = self.prefixes.first().copied().unwrap_or_default();
        removed
    }

    /// Takes the upper half out.
    fn split(&mut self) -> Self {
        let half = self.entries.len() / 2;
        let (prefixes, entries) = (self.prefixes.split_off(half), self.entries.split_off(half));
        Self { first: prefixes[0], prefixes, entries }
    }
}

/// How many of the sorted `items` are not past a key with this `prefix`. Only items with the same prefix are
/// compared as a whole, by `beside_key`.
fn not_past<T>(
    items: &[T],
    prefix: u64,
    prefix_of: impl Fn(&T) -> u64,
    beside_key: impl Fn(usize) -> Ordering,
) -> usize {
    let after = items.partition_point(|item| prefix_of(item) <= prefix);
    if items[..after].last().is_none_or(|item| prefix_of(item) < prefix) {
        return after;
    }
    let (mut low, mut high) = (items.partition_point(|item| prefix_of(item) < prefix), after);
    while low < high {
        let middle = low.midpoint(high);
        if beside_key(middle).is_gt() {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    low
}

/// The first eight bytes as a number: those of a lesser key are not greater.
fn prefix_of(key: &[u8]) -> u64 {
    let mut prefix = [0; 8];
    let length = key.len().min(prefix.len());
    prefix[..length].copy_from_slice(&key[..length]);
    u64::from_be_bytes(prefix)
}

fn start_beside<E: AsRef<Route>>(slot: &Slot<E>, key: &[u8]) -> Ordering {
    (*slot.route().range.start).cmp(key)
}

fn starts_within(route: &Route, range: &KeyRange) -> bool {
    range.end.as_ref().is_none_or(|end| route.range.start < *end)
}
