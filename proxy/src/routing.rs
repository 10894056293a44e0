//! Where requests go: table descriptors, partition routes and node addresses, from MemDS.
//!
//! A hit answers from the cache and sends the same lookups as a miss, without waiting for them, so that
//! MemDS does the same work whatever the caches hold (*constant work*: no sampling, no debouncing, no
//! skipping): every operation sends one lookup to each of two servers. A request on a table that is not known
//! asks by name, with what it says of its key, and is answered descriptor and route at once; its [`Looked`]
//! keeps its first operation from asking again. Nothing here waits for the control plane.
//!
//! ```text
//! route() ─ hit ──▶ LookupQueue of each of two servers ─▶ send_lookups: one message for many ─▶ MemDS
//!    └──── miss ──▶ the same, at once; waits ◀── absorb: caches, waiters ◀────── answers, in order ┘
//! ```

mod lookup;
mod lookup_queue;
mod lookup_sender;
mod memds_servers;
mod metrics;
mod node_refresh;
mod repeats;
mod server_choice;
mod status;
mod table_cache;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dynamodb::api::KeyClue;
use dynamodb::table::{TableDescriptor, TableStatus};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::warn;
use units::TableId;

use self::lookup::{Asked, Said};
use self::lookup_queue::Patience;
use self::memds_servers::MemdsServers;
use self::metrics::Metrics;
use self::repeats::Repeats;
use self::table_cache::TableCache;

pub use self::status::{RoutingStatus, ServerStatus};
use ::routing::{KeyRange, Learned};
pub use ::routing::{NodeAddress, NodeDirectory, Route};

/// What routing needs to know at its start.
#[derive(Clone, Debug)]
pub struct RoutingConfig {
    /// `host:port` of the MemDS servers; every operation asks two of them.
    pub memds: Vec<String>,
    /// Routes that are kept ready for use, per proxy, at about 300 bytes each; 0: nothing is cached.
    pub cached_routes: usize,
    /// Memory for the routes of idle tables, per proxy, in bytes, at about 100 bytes each.
    pub warm_routes_bytes: usize,
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

/// Whether the lookups of an operation went out already, with the one for its table: the first operation of a
/// request on a table that was not known uses it up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Looked {
    /// They did not.
    #[default]
    No,
    /// They did, and brought this route of its key, if any.
    Yes(Option<Arc<Route>>),
}

/// The proxy's view of the metadata tier. Clones share it.
#[derive(Clone, Debug)]
pub struct Routing {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    memds: Arc<MemdsServers>,
    tables: TableCache,
    routes: ::routing::RouteCache,
    nodes: watch::Sender<Arc<NodeDirectory>>,
    node_unknown: Notify,
    repeats: Repeats,
    metrics: Metrics,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl Routing {
    /// Connects to the MemDS servers and starts what works in the background, until `shutdown`: sending
    /// lookups, looking for gray servers, keeping the nodes' addresses.
    #[must_use]
    pub fn open(config: &RoutingConfig, shutdown: CancellationToken) -> Self {
        Self::open_with(config, Patience::default(), shutdown)
    }

    fn open_with(config: &RoutingConfig, patience: Patience, shutdown: CancellationToken) -> Self {
        let inner = Arc::new(Inner::new(config, patience));
        let memds = Arc::clone(&inner.memds);
        let send = |server: &Arc<_>| {
            let sending =
                lookup_sender::send_lookups(Arc::clone(&inner), Arc::clone(server), shutdown.clone());
            tokio::spawn(sending)
        };
        let mut tasks: Vec<_> = memds.iter().map(send).collect();
        tasks.push(tokio::spawn(node_refresh::keep_nodes(Arc::clone(&inner), shutdown.clone())));
        tasks.push(tokio::spawn(memds_servers::judge_servers(memds, shutdown)));
        *inner.tasks.lock() = tasks;
        Self { inner }
    }

    /// The table of this name: from the cache, else from the first of two MemDS servers that knows it, asked
    /// for the route of the request's key, too. `clue` says what the request knows of that key; it is only
    /// asked when nothing usable is cached.
    ///
    /// A table that is cached as `CREATING` or `DELETING` is looked up again, since it may have become
    /// `ACTIVE`, or made room for another. What is cached outlives an outage of MemDS; the lookups of
    /// [`route`](Self::route) keep it fresh.
    ///
    /// # Errors
    /// `NotFound` when the catalog has none, `Unavailable` when nobody answers within `deadline`.
    pub async fn table(
        &self,
        name: &str,
        clue: impl Fn() -> KeyClue,
        deadline: Duration,
    ) -> Result<(Arc<TableDescriptor>, Looked), RoutingError> {
        let inner = &self.inner;
        let cached = inner.tables.by_name(name);
        if let Some(table) = cached.as_ref().filter(|table| is_usable(table)) {
            return Ok((Arc::clone(table), Looked::No));
        }
        inner.metrics.table_miss.increment(1);
        let clue = clue();
        let asked = Asked::table_named(name, Some(clue.clone()));
        let Some(cached) = cached else {
            let described = |said: Said| {
                let table = inner.tables.by_name(name)?;
                // The other server may know the route, unless no server could.
                let is_enough =
                    !matches!(said, Said::NoRoute) || !is_usable(&table) || !leads_somewhere(&clue, &table);
                is_enough.then(|| (table, Looked::Yes(said.route())))
            };
            return inner.ask_until(&asked, deadline, described).await;
        };
        let usable = |said: Said| {
            let table = inner.tables.by_name(name).filter(|table| is_usable(table))?;
            Some((table, Looked::Yes(said.route())))
        };
        match inner.ask_round(&asked, deadline, usable).await {
            Ok(found) => Ok(found),
            Err(lookup::Round::NoTable) => {
                inner.tables.forget(name, TableId::new(cached.id));
                Err(RoutingError::NotFound)
            }
            Err(lookup::Round::Nothing) => {
                Ok((inner.tables.by_name(name).unwrap_or(cached), Looked::Yes(None)))
            }
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
        let asked = Asked::table_named(name, None);
        let before = self.inner.tables.by_name(name);
        let newer = |_: Said| self.inner.tables.by_name(name).filter(|table| Some(table) != before.as_ref());
        match self.inner.ask_round(&asked, deadline, newer).await {
            Ok(table) => Ok(table),
            Err(lookup::Round::NoTable) => Err(RoutingError::NotFound),
            Err(lookup::Round::Nothing) => before.ok_or(RoutingError::Unavailable),
        }
    }

    /// Takes in a descriptor from the control plane, if it is newer than what is known.
    pub fn learn_table(&self, table: TableDescriptor) {
        self.inner.tables.learn(table);
    }

    /// The route of the partition of `table` that holds `key`: from the cache, else from the first of two
    /// MemDS servers that knows it. Either way two servers get one lookup each, unless they got them with
    /// the table's, as `looked` says.
    ///
    /// # Errors
    /// `NotFound` when the table is gone, `Unavailable` when nobody knows the route within `deadline`.
    pub async fn route(
        &self,
        table: &TableDescriptor,
        key: &Bytes,
        looked: Looked,
        deadline: Duration,
    ) -> Result<Arc<Route>, RoutingError> {
        let inner = &self.inner;
        inner.repeats.operation();
        if let Looked::Yes(brought) = looked {
            inner.metrics.miss.increment(1);
            if let Some(route) = inner.best(table, key, brought) {
                return Ok(route);
            }
            inner.metrics.second_lookups.increment(1);
        } else if let Some((route, tier)) = inner.routes.find(TableId::new(table.id), key) {
            inner.metrics.found_in(tier).increment(1);
            inner.ask_in_background(table, key, &route);
            return Ok(route);
        } else {
            inner.metrics.miss.increment(1);
        }
        let found = |said: Said| inner.best(table, key, said.route());
        let routed = inner.ask_until(&Asked::route(table, key), deadline, found).await;
        if routed == Err(RoutingError::NotFound) {
            inner.forget(table);
        }
        routed
    }

    /// Takes in a route from a storage node's redirect, if it is newer than what is known.
    pub fn learn(&self, route: Route) {
        self.inner.metrics.stale_by_redirect.increment(1);
        self.learn_moved(route);
    }

    /// Takes in a route that came with a redirect for another partition, if it is newer than what is known.
    pub fn learn_moved(&self, route: Route) {
        if !route.is_valid() {
            return warn!(partition = %route.partition, "a storage node sent a malformed route");
        }
        if self.inner.learn(&Arc::new(with_own_range(route))) == Learned::News {
            self.inner.metrics.learned_by_redirect.increment(1);
        }
    }

    /// After a storage node could not serve the partition by the route `tried`: a lookup that waits until a
    /// MemDS server knows better than that, or all have answered; then it is the best that is known. If the
    /// cache knows better already, the lookups are not waited for.
    ///
    /// # Errors
    /// `NotFound` when the table is gone.
    pub async fn refresh(
        &self,
        table: &TableDescriptor,
        key: &Bytes,
        tried: &Arc<Route>,
        deadline: Duration,
    ) -> Result<Arc<Route>, RoutingError> {
        let inner = &self.inner;
        inner.metrics.stale_by_unknown.increment(1);
        let better = |answered| inner.best(table, key, answered).filter(|route| route.supersedes(tried));
        if let Some(route) = better(None) {
            inner.ask_in_background(table, key, &route);
            return Ok(route);
        }
        match inner.ask_round(&Asked::route(table, key), deadline, |said| better(said.route())).await {
            Ok(route) => Ok(route),
            Err(lookup::Round::NoTable) => {
                inner.forget(table);
                Err(RoutingError::NotFound)
            }
            Err(lookup::Round::Nothing) => {
                Ok(inner.best(table, key, None).unwrap_or_else(|| Arc::clone(tried)))
            }
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
        self.inner.memds.iter().any(|server| server.connection.is_connected())
    }

    /// Waits until the background tasks have ended, after the shutdown given to [`open`](Self::open).
    pub async fn closed(&self) {
        let tasks = std::mem::take(&mut *self.inner.tasks.lock());
        for task in tasks {
            // It only ends by returning or, when the runtime itself goes, by being dropped.
            let _ended = task.await;
        }
    }
}

impl Inner {
    fn new(config: &RoutingConfig, patience: Patience) -> Self {
        Self {
            memds: Arc::new(MemdsServers::open(&config.memds, patience)),
            tables: TableCache::default(),
            routes: ::routing::RouteCache::with_capacity(config.cached_routes, config.warm_routes_bytes),
            nodes: watch::Sender::new(Arc::default()),
            node_unknown: Notify::new(),
            repeats: Repeats::new(),
            metrics: Metrics::new(),
            tasks: Mutex::default(),
        }
    }

    /// A table that MemDS says is gone: by name and number, in case the cache does not know which belong
    /// together.
    fn forget(&self, table: &TableDescriptor) {
        self.tables.forget(&table.name, TableId::new(table.id));
    }

    /// The best route for the key, now that an answer was taken in: the cache's, or, when it has no room, the
    /// answer's.
    fn best(&self, table: &TableDescriptor, key: &[u8], answered: Option<Arc<Route>>) -> Option<Arc<Route>> {
        let cached = self.routes.lookup(TableId::new(table.id), key);
        cached.or_else(|| answered.filter(|route| is_of(route, table, key)))
    }
}

fn is_usable(table: &TableDescriptor) -> bool {
    matches!(table.status, TableStatus::Active | TableStatus::Updating)
}

/// The same route without a share of the message that it came in: a cached one would keep that whole.
fn with_own_range(route: Route) -> Route {
    let own = |bound: Bytes| Bytes::copy_from_slice(&bound);
    let KeyRange { start, end } = route.range;
    Route { range: KeyRange { start: own(start), end: end.map(own) }, ..route }
}

fn is_of(route: &Route, table: &TableDescriptor, key: &[u8]) -> bool {
    route.table.get() == table.id && route.holds(key)
}

/// Whether a server that knows the schema can make a storage key of the clue.
fn leads_somewhere(clue: &KeyClue, table: &TableDescriptor) -> bool {
    match clue {
        KeyClue::Key(_) => true,
        KeyClue::Attributes(attributes) => {
            table.keys.routing_key(attributes.view(), table.hash_seed).is_some()
        }
    }
}
