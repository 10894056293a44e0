//! Where requests go: table descriptors, partition routes and node addresses, from MemDS.
//!
//! A hit answers from the cache and sends the same lookups as a miss, without waiting for them, so that
//! MemDS does the same work whatever the caches hold (*constant work*: no sampling, no debouncing, no
//! skipping). Nothing here waits for the control plane.

mod lookup;
mod metrics;
mod node_refresh;
mod table_cache;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dynamodb::table::{TableDescriptor, TableStatus};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use units::TableId;
use wire::proto::routing::LookupRequest;
use wire::transport::{Connection, ConnectionConfig};

use self::table_cache::TableCache;

pub use ::routing::{NodeAddress, NodeDirectory, Route};

/// What routing needs to know at its start.
#[derive(Clone, Debug)]
pub struct RoutingConfig {
    /// `host:port` of the MemDS servers that every request asks: two in a fleet.
    pub memds: Vec<String>,
    /// Routes that the cache may hold, per proxy, at about 400 bytes each.
    pub cached_routes: usize,
}

/// What was forgotten: how many of each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Flushed {
    /// Table descriptors.
    pub tables: usize,
    /// Routes that were ready for use.
    pub routes: usize,
    /// Routes of idle tables, kept in few bytes.
    pub warm: usize,
}

/// Why there is no table or route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RoutingError {
    /// The catalog has no such table.
    #[error("there is no such table")]
    NotFound,
    /// Nothing is cached and no MemDS server answered with it in time.
    #[error("the metadata tier is unavailable")]
    Unavailable,
}

/// The proxy's view of the metadata tier. Clones share it.
#[derive(Clone, Debug)]
pub struct Routing {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    servers: Vec<Connection>,
    tables: TableCache,
    routes: ::routing::RouteCache,
    nodes: watch::Sender<Arc<NodeDirectory>>,
    node_unknown: Notify,
    node_refresh: Mutex<Option<JoinHandle<()>>>,
}

/// Requests to one MemDS server that may wait to be sent: 100 ms at 80,000 requests/s.
const QUEUE: usize = 8192;
/// Lookups that may wait for their answers, per MemDS server: 1 s of 65,000 requests/s when one is gray.
const IN_FLIGHT: usize = 65_536;

/// Memory for the warm routes of idle tables: 330,000 of them.
const WARM_BYTES: usize = 32 << 20;

impl Routing {
    /// Connects to the MemDS servers and starts keeping the nodes' addresses, both in the background,
    /// until `shutdown`.
    ///
    /// # Panics
    /// When `config.cached_routes` is 0.
    #[must_use]
    pub fn open(config: &RoutingConfig, shutdown: CancellationToken) -> Self {
        metrics::describe();
        let bounds = ConnectionConfig { name: "proxy-routing".into(), queue: QUEUE, in_flight: IN_FLIGHT };
        let inner = Arc::new(Inner {
            servers: config.memds.iter().map(|address| Connection::open(address, bounds.clone())).collect(),
            tables: TableCache::default(),
            routes: ::routing::RouteCache::with_capacity(config.cached_routes, WARM_BYTES),
            nodes: watch::Sender::new(Arc::default()),
            node_unknown: Notify::new(),
            node_refresh: Mutex::new(None),
        });
        let task = tokio::spawn(node_refresh::keep_nodes(Arc::clone(&inner), shutdown));
        *inner.node_refresh.lock() = Some(task);
        Self { inner }
    }

    /// The table of this name: from the cache, else from the first MemDS server that knows it.
    ///
    /// A table that is cached as `CREATING` or `DELETING` is looked up again, since it may have become
    /// `ACTIVE`, or made room for another. What is cached outlives an outage of MemDS; the lookups of
    /// [`route`](Self::route) keep it fresh.
    ///
    /// # Errors
    /// `NotFound` when the catalog has none, `Unavailable` when nobody answers within `deadline`.
    pub async fn table(&self, name: &str, deadline: Duration) -> Result<Arc<TableDescriptor>, RoutingError> {
        let usable = || {
            let table = self.inner.tables.by_name(name)?;
            matches!(table.status, TableStatus::Active | TableStatus::Updating).then_some(table)
        };
        if let Some(table) = usable() {
            return Ok(table);
        }
        metrics::table_miss();
        let request = Arc::new(LookupRequest { table_name: name.into(), ..Default::default() });
        let Some(cached) = self.inner.tables.by_name(name) else {
            return self.inner.ask_until(&request, deadline, || self.inner.tables.by_name(name)).await;
        };
        match self.inner.ask_round(&request, deadline, usable).await {
            Ok(table) => Ok(table),
            Err(lookup::Round::NoTable) => {
                self.inner.tables.forget(name, TableId::new(cached.id));
                Err(RoutingError::NotFound)
            }
            Err(lookup::Round::Nothing) => Ok(self.inner.tables.by_name(name).unwrap_or(cached)),
        }
    }

    /// The newest word on the table of this name that any MemDS server has: for a caller whose request
    /// does not fit the cached descriptor.
    ///
    /// # Errors
    /// `NotFound` when the catalog has none, `Unavailable` when there is no answer within `deadline`.
    pub async fn refresh_table(
        &self,
        name: &str,
        deadline: Duration,
    ) -> Result<Arc<TableDescriptor>, RoutingError> {
        let request = Arc::new(LookupRequest { table_name: name.into(), ..Default::default() });
        let before = self.inner.tables.by_name(name);
        let newer = || self.inner.tables.by_name(name).filter(|table| Some(table) != before.as_ref());
        match self.inner.ask_round(&request, deadline, newer).await {
            Ok(table) => Ok(table),
            Err(lookup::Round::NoTable) => Err(RoutingError::NotFound),
            Err(lookup::Round::Nothing) => before.ok_or(RoutingError::Unavailable),
        }
    }

    /// Takes in a descriptor from the control plane, if it is newer than what is known.
    pub fn learn_table(&self, table: TableDescriptor) {
        self.inner.tables.learn(table);
    }

    /// The route of the partition of `table` that holds `key`: from the cache, else from the first MemDS
    /// server that knows it. Either way each server gets one lookup.
    ///
    /// # Errors
    /// `NotFound` when the table is gone, `Unavailable` when nobody knows the route within `deadline`.
    pub async fn route(
        &self,
        table: &TableDescriptor,
        key: &Bytes,
        deadline: Duration,
    ) -> Result<Arc<Route>, RoutingError> {
        let id = TableId::new(table.id);
        let request = lookup_of(table, key);
        if let Some(route) = self.inner.routes.lookup(id, key) {
            metrics::route(true);
            self.inner.ask_in_background(&request);
            return Ok(route);
        }
        metrics::route(false);
        self.inner.ask_until(&request, deadline, || self.inner.routes.lookup(id, key)).await
    }

    /// Takes in a route from a storage node's redirect, if it is newer than what is known.
    pub fn learn(&self, route: Route) {
        self.inner.learn(route, "redirect");
    }

    /// After a storage node answered that it does not know the partition: a lookup that waits until a
    /// MemDS server knows better than the cache, or all have answered.
    ///
    /// # Errors
    /// `NotFound` when the table is gone, `Unavailable` when nobody knows the route within `deadline`.
    pub async fn refresh(
        &self,
        table: &TableDescriptor,
        key: &Bytes,
        deadline: Duration,
    ) -> Result<Arc<Route>, RoutingError> {
        let id = TableId::new(table.id);
        let before = self.inner.routes.lookup(id, key);
        let request = lookup_of(table, key);
        let newer = || {
            let route = self.inner.routes.lookup(id, key)?;
            before.as_ref().is_none_or(|before| route.supersedes(before)).then_some(route)
        };
        match self.inner.ask_round(&request, deadline, newer).await {
            Ok(route) => Ok(route),
            Err(lookup::Round::NoTable) => Err(RoutingError::NotFound),
            Err(lookup::Round::Nothing) => before.ok_or(RoutingError::Unavailable),
        }
    }

    /// Forgets every table and route at once: an operators' call, for proof that the metadata tier does
    /// not feel it. The nodes' addresses stay; they are no cache.
    #[must_use]
    pub fn flush(&self) -> Flushed {
        let (routes, warm) = self.inner.routes.clear();
        Flushed { tables: self.inner.tables.clear(), routes, warm }
    }

    /// Where the storage nodes listen, as far as it is known.
    #[must_use]
    pub fn nodes(&self) -> Arc<NodeDirectory> {
        Arc::clone(&self.inner.nodes.borrow())
    }

    /// Follows the changes of [`nodes`](Self::nodes).
    #[must_use]
    pub fn watch_nodes(&self) -> watch::Receiver<Arc<NodeDirectory>> {
        self.inner.nodes.subscribe()
    }

    /// Whether a MemDS server is connected: without one, only what is cached can be served.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.inner.servers.iter().any(Connection::is_connected)
    }

    /// Waits until the background task has ended, after the shutdown given to [`open`](Self::open).
    pub async fn closed(&self) {
        let task = self.inner.node_refresh.lock().take();
        if let Some(task) = task {
            // It only ends by returning or, when the runtime itself goes, by being dropped.
            let _ended = task.await;
        }
    }
}

fn lookup_of(table: &TableDescriptor, key: &Bytes) -> Arc<LookupRequest> {
    Arc::new(LookupRequest {
        table_name: table.name.clone(),
        table: table.id,
        key: Some(key.clone()),
        known_table_version: table.version,
    })
}
