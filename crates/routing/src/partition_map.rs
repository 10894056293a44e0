//! The partition map: an ordered map keyed (table, range start), looked up by floor.

use std::collections::BTreeMap;
use std::sync::Arc;

use units::TableId;

use crate::{Learned, Route, TableRoutes};

/// Every route that is known, of every table. Clones share the tables that did not change since, so a
/// writer changes its copy and publishes it as an immutable snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartitionMap {
    tables: BTreeMap<TableId, Arc<TableRoutes>>,
}

impl PartitionMap {
    /// The route of the partition of `table` that holds `key`.
    #[must_use]
    pub fn holder(&self, table: TableId, key: &[u8]) -> Option<&Arc<Route>> {
        self.tables.get(&table)?.holder(key)
    }

    /// The routes of one table.
    #[must_use]
    pub fn table(&self, table: TableId) -> Option<&TableRoutes> {
        self.tables.get(&table).map(|routes| &**routes)
    }

    /// Takes `route` in unless something that it does not supersede overlaps it.
    pub fn learn(&mut self, route: Route) -> Learned {
        let routes = self.tables.entry(route.table).or_default();
        // Asked first, because most of what is pushed is known, and a change copies a shared table.
        if !routes.would_learn(&route) {
            return Learned::Known;
        }
        Arc::make_mut(routes).learn(Arc::new(route))
    }

    /// Whether [`learn`](Self::learn) would change anything.
    #[must_use]
    pub fn would_learn(&self, route: &Route) -> bool {
        self.tables.get(&route.table).is_none_or(|routes| routes.would_learn(route))
    }

    /// Forgets all routes of `table`; says whether there were any.
    pub fn remove_table(&mut self, table: TableId) -> bool {
        self.tables.remove(&table).is_some()
    }

    /// The tables that have routes.
    pub fn tables(&self) -> impl Iterator<Item = TableId> {
        self.tables.keys().copied()
    }

    /// How many routes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tables.values().map(|routes| routes.len()).sum()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tables.values().all(|routes| routes.is_empty())
    }
}
