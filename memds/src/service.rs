//! What a MemDS server does with each request: lookups are answered at once, on the connection's task; what takes
//! longer is left to the [clerk](crate::clerk).

use std::convert::Infallible;
use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use routing::{NodeAddress, PartitionMap, Route};
use tokio::sync::mpsc;
use tracing::warn;
use units::{TableId, Timestamp};
use wire::clock;
use wire::method::{Compare, FetchCatalog, LookUp, Method, Nodes, PushRoutes, PushTables};
use wire::proto::routing as proto;
use wire::transport::{Failure, Incoming, Responder, Service};

use crate::clerk::{Desk, Task};
use crate::lookup_rate::LookupRate;
use crate::lookups::{self, MAX_LOOKUPS};
use crate::metadata::{CatalogPush, Metadata, PushPosition, Pushed};
use crate::metrics::Metrics;
use crate::peers;
use crate::push_log::{PushArrival, PushLog};
use crate::snapshot::{Snapshot, Table};

/// Routes of a push that are taken in before lookups have their turn: about half a millisecond.
const ROUTES_AT_ONCE: usize = 200;

#[derive(Debug)]
pub(crate) struct MemdsService {
    metadata: Metadata,
    metrics: Metrics,
    /// It has tried to be filled by a peer: until then it may know the catalog and not the routes.
    filled: AtomicBool,
    lookups: LookupRate,
    /// Locked briefly: for a push, and to show it.
    pushes: Mutex<PushLog>,
    desk: Desk,
}

impl MemdsService {
    /// A service, and what its clerk is to do.
    pub(crate) fn new(now: Timestamp) -> (Self, mpsc::Receiver<Task>) {
        let (desk, tasks) = Desk::new();
        let service = Self {
            metadata: Metadata::default(),
            metrics: Metrics::new(),
            filled: AtomicBool::new(false),
            lookups: LookupRate::new(now),
            pushes: Mutex::default(),
            desk,
        };
        (service, tasks)
    }

    pub(crate) const fn lookups(&self) -> &LookupRate {
        &self.lookups
    }

    pub(crate) fn pushes(&self) -> MutexGuard<'_, PushLog> {
        self.pushes.lock()
    }

    /// To be called every second: brings up to date what only time changes.
    pub(crate) fn tick(&self, now: Timestamp) {
        self.lookups.sample(now);
        self.metrics.push_lags(&self.pushes.lock(), now);
    }

    /// Whether it has heard the whole catalog, and been filled by a peer if there is one.
    pub(crate) fn is_ready(&self) -> bool {
        self.is_filled() && self.metadata.read().catalog_is_whole()
    }

    /// Whether it has been filled by a peer, or there was none that could.
    pub(crate) fn is_filled(&self) -> bool {
        self.filled.load(Ordering::Relaxed)
    }

    /// A peer has given what it has, or there is none that could.
    pub(crate) fn filled(&self) {
        self.filled.store(true, Ordering::Relaxed);
    }

    pub(crate) const fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.metadata.read())
    }

    pub(crate) fn catalog_position(&self) -> PushPosition {
        self.metadata.catalog_position()
    }

    /// All routes, as of now.
    pub(crate) fn routes(&self) -> PartitionMap {
        self.metadata.read().routes().clone()
    }

    /// Takes in what a comparison found at a peer.
    pub(crate) async fn learn_from_peer(&self, routes: Vec<Route>) {
        if routes.is_empty() {
            return;
        }
        self.metrics.taken.increment(routes.len() as u64);
        let pushed = self.take_in(None, routes.into_iter().map(Ok::<_, Infallible>)).await;
        self.count("peer", pushed);
    }

    /// Takes routes in, a few at a time: lookups have their turn between.
    async fn take_in<E: Display>(
        &self,
        mut node: Option<NodeAddress>,
        mut routes: impl ExactSizeIterator<Item = Result<Route, E>>,
    ) -> Pushed {
        let mut pushed = Pushed::Known;
        while node.is_some() || routes.len() > 0 {
            let some = self.well_formed(routes.by_ref().take(ROUTES_AT_ONCE));
            if self.metadata.push_routes(node.take(), some) == Pushed::News {
                pushed = Pushed::News;
            }
            tokio::task::yield_now().await;
        }
        pushed
    }

    /// Takes in one page of a peer's catalog: the last table in it.
    pub(crate) fn take_catalog_page(
        &self,
        push: proto::PushTables,
        nodes: Vec<proto::Node>,
    ) -> Option<TableId> {
        let nodes = self.well_formed(nodes.into_iter().map(NodeAddress::try_from));
        let tables = self.well_formed(push.tables.into_iter().map(Table::read));
        let last = tables.last().map(|table| table.id);
        let position = PushPosition { term: push.term, sequence: push.sequence };
        self.metadata.fill(tables, nodes, push.complete.then_some(position));
        self.metrics.holds(&self.metadata.read());
        last
    }

    /// Answers a batch; its answers are written as they go out.
    fn look_up(&self, request: &Incoming, responder: Responder) {
        let Ok(batch) = request.decode::<LookUp>() else { return responder.fail(Failure::Malformed) };
        if batch.lookups.len() > MAX_LOOKUPS {
            return responder.fail(Failure::Malformed);
        }
        let (answers, tally) = lookups::answer(&self.metadata.read(), &batch);
        self.metrics.looked_up(&tally);
        self.lookups.served(tally.total());
        responder.answer_encoded(answers);
    }

    fn nodes(&self) -> proto::NodesResponse {
        proto::NodesResponse { nodes: self.metadata.read().nodes().iter().map(Into::into).collect() }
    }

    async fn push_routes(&self, push: proto::PushRoutes) {
        let node = self.well_formed(push.node.into_iter().map(NodeAddress::try_from)).pop();
        if let Some(node) = &node {
            let waited = (push.waited_us > 0).then(|| Duration::from_micros(push.waited_us));
            let arrival = PushArrival { complete: push.complete, waited, at: clock::now() };
            self.pushes.lock().note(node.node, arrival);
        }
        // A peer that offers routes speaks for no node.
        let from = if node.is_some() { "node" } else { "peer" };
        let pushed = self.take_in(node, push.routes.into_iter().map(Route::try_from)).await;
        self.count(from, pushed);
    }

    fn push_tables(&self, push: proto::PushTables) -> Result<(), Failure> {
        let sent = push.tables.len();
        let tables = self.well_formed(push.tables.into_iter().map(Table::read));
        // A catalog with holes must not count as whole.
        let complete = push.complete && tables.len() == sent;
        let position = PushPosition { term: push.term, sequence: push.sequence };
        let removed = push.removed.into_iter().map(TableId::new).collect();
        let pushed = self.metadata.push_catalog(CatalogPush { tables, removed, complete, position });
        if pushed != Pushed::Stale {
            self.pushes.lock().note_catalog(clock::now());
        }
        self.count("control", pushed);
        if complete == push.complete { Ok(()) } else { Err(Failure::Malformed) }
    }

    /// What could be read; the rest is counted and logged.
    fn well_formed<T, E: Display>(&self, read: impl Iterator<Item = Result<T, E>>) -> Vec<T> {
        read.filter_map(|entry| {
            entry
                .inspect_err(|error| {
                    self.metrics.malformed.increment(1);
                    warn!(%error, "a push carried something malformed");
                })
                .ok()
        })
        .collect()
    }

    fn count(&self, from: &'static str, pushed: Pushed) {
        let result = match pushed {
            Pushed::News => "news",
            Pushed::Known => "known",
            Pushed::Stale => "stale",
        };
        self.metrics.pushed(from, result);
        if pushed == Pushed::News {
            self.metrics.holds(&self.metadata.read());
        }
    }
}

impl MemdsService {
    /// What the clerk does: a little at a time.
    pub(crate) async fn work(&self, request: &Incoming, responder: Responder) {
        match request.method {
            PushRoutes::NUMBER => {
                let Ok(push) = request.decode::<PushRoutes>() else {
                    return responder.fail(Failure::Malformed);
                };
                self.push_routes(push).await;
                responder.answer::<PushRoutes>(&proto::Acknowledged {});
            }
            PushTables::NUMBER => respond::<PushTables>(request, responder, |push| {
                self.push_tables(push).map(|()| proto::Acknowledged {})
            }),
            Compare::NUMBER => {
                let Ok(question) = request.decode::<Compare>() else {
                    return responder.fail(Failure::Malformed);
                };
                match peers::answer(self, question).await {
                    Ok(answer) => responder.answer::<Compare>(&answer),
                    Err(failure) => responder.fail(failure),
                }
            }
            _ => {
                respond::<FetchCatalog>(request, responder, |request| Ok(peers::catalog_page(self, &request)))
            }
        }
    }
}

impl Service for MemdsService {
    fn call(&self, request: Incoming, responder: Responder) {
        match request.method {
            LookUp::NUMBER => self.look_up(&request, responder),
            Nodes::NUMBER => respond::<Nodes>(&request, responder, |_| Ok(self.nodes())),
            PushRoutes::NUMBER | PushTables::NUMBER | Compare::NUMBER | FetchCatalog::NUMBER => {
                self.desk.put(request, responder);
            }
            _ => responder.fail(Failure::UnknownMethod),
        }
    }
}

fn respond<M: Method>(
    request: &Incoming,
    responder: Responder,
    answer: impl FnOnce(M::Request) -> Result<M::Response, Failure>,
) {
    let Ok(request) = request.decode::<M>() else { return responder.fail(Failure::Malformed) };
    match answer(request) {
        Ok(response) => responder.answer::<M>(&response),
        Err(failure) => responder.fail(failure),
    }
}
