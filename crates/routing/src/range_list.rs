//! Disjoint key ranges in order, with the newest route for each: the list under the maps and caches.

use std::ops::Range;

use crate::{Learned, Route};

/// Entries with disjoint ranges, sorted by range start; there may be gaps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RangeList<E> {
    entries: Vec<E>,
}

impl<E> Default for RangeList<E> {
    fn default() -> Self {
        Self { entries: Vec::new() }
    }
}

impl<E: AsRef<Route>> RangeList<E> {
    /// The entry with the greatest range start that is not past `key`.
    pub(crate) fn floor(&self, key: &[u8]) -> Option<&E> {
        let after = self.entries.partition_point(|entry| *entry.as_ref().range.start <= *key);
        after.checked_sub(1).and_then(|at| self.entries.get(at))
    }

    /// The entry whose range holds `key`.
    pub(crate) fn holder(&self, key: &[u8]) -> Option<&E> {
        self.floor(key).filter(|entry| entry.as_ref().holds(key))
    }

    /// Whether [`learn`](Self::learn) would change anything.
    pub(crate) fn would_learn(&self, route: &Route) -> bool {
        self.entries[self.overlapping(route)].iter().all(|known| route.supersedes(known.as_ref()))
    }

    /// Takes `entry` in unless something that it does not supersede overlaps it. What it supersedes goes.
    pub(crate) fn learn(&mut self, entry: E) -> Learned {
        if !self.would_learn(entry.as_ref()) {
            return Learned::Known;
        }
        let overlapping = self.overlapping(entry.as_ref());
        self.entries.splice(overlapping, [entry]);
        Learned::News
    }

    pub(crate) fn retain(&mut self, keep: impl FnMut(&mut E) -> bool) {
        self.entries.retain_mut(keep);
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The positions of the entries whose ranges share a key with `route`'s.
    fn overlapping(&self, route: &Route) -> Range<usize> {
        let first = self.entries.partition_point(|known| {
            known.as_ref().range.end.as_ref().is_some_and(|end| *end <= route.range.start)
        });
        let past = route.range.end.as_ref().map_or(self.entries.len(), |end| {
            self.entries.partition_point(|known| known.as_ref().range.start < *end)
        });
        first..past.max(first)
    }
}
