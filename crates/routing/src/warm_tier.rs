//! Routes that are known but not in use: few bytes each, decoded only when they are needed again.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::ops::Bound;

use units::TableId;

use crate::route_entry::{self, RouteEntry};
use crate::{KeyRange, Route};

/// Routes in their compact form, in two generations. New ones join the young generation; when that has grown
/// enough, its owner [ages](Self::age) the tier: the young generation becomes the old one, and what was old
/// is forgotten. What is used meanwhile leaves for the hot tier. Never do two of them overlap.
#[derive(Debug, Default)]
pub(crate) struct WarmTier {
    young: Generation,
    old: Generation,
}

/// Routes that became warm at about the same time.
#[derive(Debug, Default)]
pub(crate) struct Generation {
    routes: BTreeSet<CompactRoute>,
    bytes: usize,
}

/// A route as the partition map keeps it, in one allocation: the length of its key, the key (table and range
/// start), the value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct CompactRoute(Box<[u8]>);

/// Bytes of a key's length.
const LENGTH: usize = 2;
/// What a route takes beside its bytes: 16 for its place in a tree whose nodes are half full when keys arrived
/// in order, and have headers (40 in all), and the allocator's rounding up (16 at most).
const OVERHEAD: usize = 56;

impl CompactRoute {
    /// None: its key is longer than any storage key.
    pub(crate) fn of(route: &Route) -> Option<Self> {
        if !route_entry::fits(route) {
            return None;
        }
        let key = route_entry::key(route.table, &route.range.start);
        let length = u16::try_from(key.len()).ok()?.to_be_bytes();
        Some(Self([&length[..], &key, &route_entry::value(route)].concat().into()))
    }

    /// What it takes in memory.
    pub(crate) const fn bytes(&self) -> usize {
        self.0.len() + OVERHEAD
    }

    fn key(&self) -> &[u8] {
        self.parts().0
    }

    fn parts(&self) -> (&[u8], &[u8]) {
        let (length, rest) = self.0.split_first_chunk::<LENGTH>().expect("it begins with its key's length");
        rest.split_at(usize::from(u16::from_be_bytes(*length)))
    }

    fn entry(&self) -> RouteEntry<'_> {
        let (key, value) = self.parts();
        RouteEntry { start: &key[route_entry::TABLE..], value }
    }

    fn table(&self) -> TableId {
        route_entry::table(self.key())
    }
}

impl Ord for CompactRoute {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(other.key())
    }
}

impl PartialOrd for CompactRoute {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Borrow<[u8]> for CompactRoute {
    fn borrow(&self) -> &[u8] {
        self.key()
    }
}

impl WarmTier {
    /// Takes in a route that overlaps none here.
    pub(crate) fn insert(&mut self, route: CompactRoute) {
        self.young.bytes += route.bytes();
        let replaced = self.young.routes.replace(route);
        debug_assert!(replaced.is_none(), "the tiers hold a range once");
    }

    /// The route of the partition of `table` that holds `key`.
    pub(crate) fn holder(&self, table: TableId, key: &[u8]) -> Option<Route> {
        let key_in_table = route_entry::key(table, key);
        let generations = [&self.young, &self.old].into_iter();
        let mut holders = generations.filter_map(|generation| {
            let floor = generation.floor(&key_in_table).filter(|route| route.table() == table)?;
            Some(floor.entry()).filter(|entry| entry.holds(key))
        });
        holders.next()?.route(table)
    }

    /// Whether `route` supersedes all that it overlaps here.
    pub(crate) fn would_learn(&self, route: &Route) -> bool {
        let overlapping = [&self.young, &self.old].into_iter().flat_map(|generation| {
            generation.overlapping(route.table, &route.range).map(|known| known.entry().version())
        });
        // What cannot be read is no reason to refuse what can be.
        overlapping.flatten().all(|known| route.rank() > known)
    }

    /// Forgets what overlaps `range` of `table`.
    pub(crate) fn forget_overlapping(&mut self, table: TableId, range: &KeyRange) {
        for generation in [&mut self.young, &mut self.old] {
            let gone: Vec<Vec<u8>> =
                generation.overlapping(table, range).map(|route| route.key().to_vec()).collect();
            for key in gone {
                let removed = generation.routes.take(key.as_slice());
                generation.bytes -= removed.map_or(0, |route| route.bytes());
            }
        }
    }

    /// Makes the young generation the old one. What was old is the caller's, since dropping it takes a while.
    pub(crate) fn age(&mut self) -> Generation {
        std::mem::replace(&mut self.old, std::mem::take(&mut self.young))
    }

    pub(crate) fn len(&self) -> usize {
        self.young.routes.len() + self.old.routes.len()
    }

    /// Memory of the young generation.
    pub(crate) const fn young_bytes(&self) -> usize {
        self.young.bytes
    }

    /// Memory of both.
    pub(crate) const fn bytes(&self) -> usize {
        self.young.bytes + self.old.bytes
    }
}

impl Generation {
    fn floor(&self, key: &[u8]) -> Option<&CompactRoute> {
        self.routes.range::<[u8], _>((Bound::Unbounded, Bound::Included(key))).next_back()
    }

    fn overlapping(&self, table: TableId, range: &KeyRange) -> impl Iterator<Item = &CompactRoute> {
        let start = route_entry::key(table, &range.start);
        let mut before = self.routes.range::<[u8], _>((Bound::Unbounded, Bound::Excluded(start.as_slice())));
        let before = before.next_back().filter(|known| known.table() == table);
        let before = before.filter(|known| known.entry().holds(&range.start));
        let after = self.routes.range::<[u8], _>((Bound::Included(start.as_slice()), Bound::Unbounded));
        before.into_iter().chain(after.take_while(move |known| {
            known.table() == table && range.end.as_deref().is_none_or(|end| known.entry().start < end)
        }))
    }
}
