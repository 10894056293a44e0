//! The partition map: every route under (table, range start) in a Perkle tree, looked up by floor.

use units::TableId;

use crate::perkle::{PerkleTree, TOGETHER};
use crate::route_entry::RouteEntry;
use crate::{Learned, Route, route_entry};

/// Room for the keys of most entries.
const WORKING_KEY: usize = 64;

/// Every route that is known, of every table. Clones share what did not change since, so a writer changes
/// its copy and publishes it as an immutable snapshot.
#[derive(Clone, Debug, Default)]
pub struct PartitionMap {
    tree: PerkleTree,
}

impl PartitionMap {
    /// How many keys [`Self::read_ahead`] takes.
    pub const AHEAD: usize = TOGETHER;

    /// The route of the partition of `table` that holds `key`.
    #[must_use]
    pub fn holder(&self, table: TableId, key: &[u8]) -> Option<Route> {
        self.holder_entry(table, key, &mut Vec::with_capacity(WORKING_KEY))?.route(table)
    }

    /// The entry of the partition of `table` that holds `key`, to be sent as it is. `found` is working memory.
    pub fn holder_entry<'a>(
        &'a self,
        table: TableId,
        key: &[u8],
        found: &'a mut Vec<u8>,
    ) -> Option<RouteEntry<'a>> {
        let value = route_entry::with_key(table, key, |key| self.tree.floor(key, found))?;
        let entry = RouteEntry { start: found.get(route_entry::TABLE..)?, value };
        (route_entry::table(found) == table && entry.holds(key)).then_some(entry)
    }

    /// Reads ahead for lookups that follow, of [`Self::AHEAD`] keys at most: what they need from memory comes
    /// for all of them at once, not for one after the other.
    pub fn read_ahead(&self, wanted: &[(TableId, &[u8])]) {
        self.tree.approach(wanted.len(), |which, at| {
            let (table, key) = wanted[which];
            match at.checked_sub(route_entry::TABLE) {
                None => Some(table.get().to_be_bytes()[at]),
                Some(at) => key.get(at).copied(),
            }
        });
    }

    /// The route of `table` with the greatest range start that is not past `key`.
    fn floor(&self, table: TableId, key: &[u8]) -> Option<Route> {
        let mut found = Vec::with_capacity(WORKING_KEY);
        let value = route_entry::with_key(table, key, |key| self.tree.floor(key, &mut found))?;
        route_entry::route(&found, value).filter(|route| route.table == table)
    }

    /// The routes of one table, in the order of their ranges.
    pub fn table(&self, table: TableId) -> impl Iterator<Item = Route> + '_ {
        let entries = self.tree.from(&route_entry::key(table, &[]));
        entries
            .map_while(|(key, value)| route_entry::route(&key, value))
            .take_while(move |route| route.table == table)
    }

    /// Takes `route` in unless something that it does not supersede overlaps it.
    pub fn learn(&mut self, route: &Route) -> Learned {
        // Asked first, because most of what is pushed is known, and a change copies a path.
        let Some(gone) = self.superseded(route) else { return Learned::Known };
        // What begins where it does is replaced.
        for gone in gone.iter().filter(|gone| gone.range.start != route.range.start) {
            self.tree.remove(&route_entry::key(gone.table, &gone.range.start));
        }
        self.tree.insert(&route_entry::key(route.table, &route.range.start), &route_entry::value(route));
        Learned::News
    }

    /// Whether [`learn`](Self::learn) would change anything.
    #[must_use]
    pub fn would_learn(&self, route: &Route) -> bool {
        self.superseded(route).is_some()
    }

    /// Forgets all routes of `table`; says whether there were any.
    pub fn remove_table(&mut self, table: TableId) -> bool {
        let starts: Vec<_> = self.table(table).map(|route| route.range.start).collect();
        for start in &starts {
            self.tree.remove(&route_entry::key(table, start));
        }
        !starts.is_empty()
    }

    /// The tables that have routes.
    pub fn tables(&self) -> impl Iterator<Item = TableId> + '_ {
        let after = |last: TableId| last.get().checked_add(1).map(TableId::new);
        let first_from =
            |table| self.tree.ceiling(&route_entry::key(table, &[])).map(|(key, _)| route_entry::table(&key));
        std::iter::successors(first_from(TableId::new(0)), move |last| first_from(after(*last)?))
    }

    /// How many routes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tree.len()
    }

    /// Bytes of memory that the routes take, those that are shared with other versions of the map with them;
    /// what the allocator adds is not counted.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.tree.bytes()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tree.is_empty()
    }

    /// The tree, for comparing two servers' knowledge.
    #[must_use]
    pub const fn tree(&self) -> &PerkleTree {
        &self.tree
    }

    /// The known routes of other ranges that overlap `route`'s, all of which it supersedes; none: it does not, or
    /// is not one that the tree takes.
    fn superseded(&self, route: &Route) -> Option<Vec<Route>> {
        if !route_entry::fits(route) {
            return None;
        }
        // Most of what is pushed is of a range that is known: then nothing else overlaps it.
        let same = route_entry::with_key(route.table, &route.range.start, |key| self.tree.get(key))
            .map(|value| RouteEntry { start: &route.range.start, value })
            .filter(|entry| entry.end() == Some(route.range.end.as_deref()));
        if let Some(rank) = same.and_then(|entry| entry.version()) {
            return (route.rank() > rank).then(Vec::new);
        }
        let overlapping = self.overlapping(route);
        overlapping.iter().all(|known| route.supersedes(known)).then_some(overlapping)
    }

    /// The known routes whose ranges share a key with `route`'s.
    fn overlapping(&self, route: &Route) -> Vec<Route> {
        let start = &route.range.start;
        let first =
            self.floor(route.table, start).filter(|known| known.range.start < *start && known.holds(start));
        let after = self.tree.from(&route_entry::key(route.table, start));
        let after = after.map_while(|(key, value)| route_entry::route(&key, value)).take_while(|known| {
            let is_past = route.range.end.as_ref().is_some_and(|end| known.range.start >= *end);
            known.table == route.table && !is_past
        });
        first.into_iter().chain(after).collect()
    }
}
