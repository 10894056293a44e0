//! One immutable version of everything that a server knows.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use dynamodb::table::KeySchema;
use routing::{Learned, NodeAddress, NodeDirectory, PartitionMap, Route};
use serde::Deserialize;
use units::TableId;

/// A table's descriptor, kept in the form in which it is sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) id: TableId,
    pub(crate) name: Arc<str>,
    pub(crate) version: u64,
    pub(crate) json: Bytes,
    /// Of these MemDS makes the key of a request whose sender does not know the table. Every descriptor has
    /// them.
    pub(crate) keys: Option<KeySchema>,
    pub(crate) hash_seed: u64,
}

impl Table {
    /// Reads a pushed descriptor.
    ///
    /// # Errors
    /// When it is none.
    pub(crate) fn read(json: Bytes) -> Result<Self, serde_json::Error> {
        let header: Header = serde_json::from_slice(&json)?;
        Ok(Self {
            id: TableId::new(header.id),
            name: header.name.into(),
            version: header.version,
            json,
            keys: header.keys,
            hash_seed: header.hash_seed,
        })
    }
}

/// What MemDS reads of a descriptor (`dynamodb::table::TableDescriptor`); the rest is the proxies'.
#[derive(Deserialize)]
struct Header {
    id: u64,
    name: String,
    version: u64,
    #[serde(default)]
    keys: Option<KeySchema>,
    #[serde(default)]
    hash_seed: u64,
}

/// What a server knows. A writer clones it, changes the clone, and publishes that; clones share what did
/// not change, so a route that changes costs the same however many tables there are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot {
    catalog: Arc<Catalog>,
    routes: PartitionMap,
    nodes: Arc<NodeDirectory>,
    catalog_is_whole: bool,
}

#[derive(Clone, Debug, Default)]
struct Catalog {
    tables: BTreeMap<TableId, Arc<Table>>,
    /// The table that has the name now: of two (one being deleted), the one with the greater number.
    names: BTreeMap<Arc<str>, TableId>,
}

impl Snapshot {
    pub(crate) fn by_number(&self, table: TableId) -> Option<&Arc<Table>> {
        self.catalog.tables.get(&table)
    }

    pub(crate) fn by_name(&self, name: &str) -> Option<&Arc<Table>> {
        self.catalog.tables.get(self.catalog.names.get(name)?)
    }

    pub(crate) const fn routes(&self) -> &PartitionMap {
        &self.routes
    }

    /// Tables with greater numbers, in order.
    pub(crate) fn tables_after(&self, after: TableId) -> impl Iterator<Item = &Arc<Table>> {
        self.catalog.tables.range((Bound::Excluded(after), Bound::Unbounded)).map(|(_, table)| table)
    }

    /// From here on a table that is not known does not exist.
    pub(crate) const fn hears_the_whole(&mut self) {
        self.catalog_is_whole = true;
    }

    pub(crate) fn nodes(&self) -> &NodeDirectory {
        &self.nodes
    }

    /// Whether it has heard the whole catalog since it started: whether a table that it does not know
    /// does not exist.
    pub(crate) fn catalog_is_whole(&self) -> bool {
        self.catalog_is_whole
    }

    pub(crate) fn table_count(&self) -> usize {
        self.catalog.tables.len()
    }

    pub(crate) fn route_count(&self) -> usize {
        self.routes.len()
    }

    /// Bytes that the routes' tree takes, about.
    pub(crate) fn route_bytes(&self) -> u64 {
        self.routes.bytes() as u64
    }

    pub(crate) fn would_learn_node(&self, node: &NodeAddress) -> bool {
        self.nodes.would_learn(node)
    }

    pub(crate) fn would_learn_route(&self, route: &Route) -> bool {
        self.routes.would_learn(route)
    }

    pub(crate) fn learn_node(&mut self, node: NodeAddress) -> bool {
        // Not touched for nothing: that would copy it.
        self.nodes.would_learn(&node) && Arc::make_mut(&mut self.nodes).learn(node)
    }

    pub(crate) fn learn_route(&mut self, route: Route) -> bool {
        self.routes.learn(&route) == Learned::News
    }

    /// Takes a descriptor in unless a newer version of it is known; says whether it was news.
    pub(crate) fn learn_table(&mut self, table: Table) -> bool {
        if self.catalog.tables.get(&table.id).is_some_and(|known| known.version >= table.version) {
            return false;
        }
        let catalog = Arc::make_mut(&mut self.catalog);
        let owner = catalog.names.entry(Arc::clone(&table.name)).or_insert(table.id);
        *owner = table.id.max(*owner);
        catalog.tables.insert(table.id, Arc::new(table));
        true
    }

    /// Forgets a table and its routes; says whether there was anything to forget.
    pub(crate) fn remove_table(&mut self, id: TableId) -> bool {
        let had_routes = self.routes.remove_table(id);
        if !self.catalog.tables.contains_key(&id) {
            return had_routes;
        }
        let catalog = Arc::make_mut(&mut self.catalog);
        let table = catalog.tables.remove(&id).expect("it is there");
        if catalog.names.get(&table.name) == Some(&id) {
            catalog.names.remove(&table.name);
        }
        true
    }

    /// Forgets every table that is not in `catalog`, and the routes of such tables; from here on a table
    /// that is not known does not exist. Says whether anything changed.
    pub(crate) fn keep_only(&mut self, catalog: &BTreeSet<TableId>) -> bool {
        let known: BTreeSet<TableId> =
            self.catalog.tables.keys().copied().chain(self.routes.tables()).collect();
        let gone = known.difference(catalog);
        let changed = gone.fold(false, |changed, table| self.remove_table(*table) | changed);
        changed | !std::mem::replace(&mut self.catalog_is_whole, true)
    }
}
