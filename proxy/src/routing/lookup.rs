//! Asking MemDS: in the background on every hit, and with a wait on a miss.

use std::sync::Arc;
use std::time::Duration;

use dynamodb::table::TableDescriptor;
use routing::{Learned, Route};
use tokio::sync::mpsc;
use tracing::warn;
use units::TableId;
use wire::clock;
use wire::method::Lookup;
use wire::proto::routing::{LookupRequest, LookupResponse};
use wire::transport::CallError;

use super::{Inner, RoutingError, metrics};

/// How long one round of questions waits for the slower server before the faster one is asked again.
const ROUND: Duration = Duration::from_millis(250);
/// The first pause between two rounds; doubled up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);
/// How long a background lookup may take: past this its answer is of no use.
const BACKGROUND_DEADLINE: Duration = Duration::from_secs(1);

/// What a round of questions showed when it did not show what was wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Round {
    /// Servers that have the whole catalog say that there is no such table, and none knows it.
    NoTable,
    /// The table exists, but the partition's route is not known; or nobody answered.
    Nothing,
}

impl Inner {
    /// Sends the lookup to every server, and waits for none.
    pub(super) fn ask_in_background(self: &Arc<Self>, request: &Arc<LookupRequest>) {
        self.send(request, BACKGROUND_DEADLINE, || |_exists| {});
    }

    /// Sends the lookup to every server. Each answer is taken into the caches; then what `on_answer` made
    /// for it is told whether the table exists.
    fn send<F: FnOnce(bool) + Send + 'static>(
        self: &Arc<Self>,
        request: &Arc<LookupRequest>,
        deadline: Duration,
        on_answer: impl Fn() -> F,
    ) {
        for server in &self.servers {
            let (inner, asked, tell) = (Arc::clone(self), Arc::clone(request), on_answer());
            let sent = server.call_detached::<Lookup>(request, deadline, move |answer| {
                // No answer is not news: the connection reconnects, and the other server answers.
                if let Ok(answer) = answer {
                    let exists = answer.table_exists;
                    inner.absorb(&asked, answer);
                    tell(exists);
                }
            });
            if sent == Err(CallError::QueueFull) {
                metrics::lookup_dropped();
            }
        }
    }

    /// Asks every server, in rounds, until `found` sees in the caches what is wanted; each answer is
    /// taken into the caches first.
    pub(super) async fn ask_until<T>(
        self: &Arc<Self>,
        request: &Arc<LookupRequest>,
        deadline: Duration,
        found: impl Fn() -> Option<T>,
    ) -> Result<T, RoutingError> {
        let give_up = clock::now() + deadline;
        let mut pause = FIRST_PAUSE;
        loop {
            let left = give_up.since(clock::now());
            match self.ask_round(request, left.min(ROUND), &found).await {
                Ok(wanted) => return Ok(wanted),
                Err(Round::NoTable) => return Err(RoutingError::NotFound),
                Err(Round::Nothing) if give_up.since(clock::now()) <= pause => {
                    return Err(RoutingError::Unavailable);
                }
                Err(Round::Nothing) => tokio::time::sleep(pause).await,
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Asks every server once; the first answer after which `found` is satisfied wins. The others are
    /// not called back: their servers do the same work as for a hit.
    pub(super) async fn ask_round<T>(
        self: &Arc<Self>,
        request: &Arc<LookupRequest>,
        deadline: Duration,
        found: impl Fn() -> Option<T>,
    ) -> Result<T, Round> {
        // Never full: each server answers once. It ends when every call has, or has failed.
        let (sender, mut answers) = mpsc::channel(self.servers.len().max(1));
        self.send(request, deadline, || {
            let sender = sender.clone();
            move |exists| {
                let _nobody_waits = sender.try_send(exists);
            }
        });
        drop(sender);
        let (mut known, mut denied) = (false, false);
        while let Some(exists) = answers.recv().await {
            known |= exists;
            denied |= !exists;
            if let Some(wanted) = found() {
                return Ok(wanted);
            }
        }
        // A server that has not heard of the table yet is outdone by one that has.
        Err(if denied && !known { Round::NoTable } else { Round::Nothing })
    }

    /// Takes an answer into the caches.
    fn absorb(&self, asked: &LookupRequest, answer: LookupResponse) {
        if !answer.table_exists {
            // Only a question by number shows which table is gone.
            if asked.table != 0 {
                self.tables.forget(&asked.table_name, TableId::new(asked.table));
                self.routes.forget_table(TableId::new(asked.table));
            }
            return;
        }
        if let Some(table) = answer.table {
            match serde_json::from_slice::<TableDescriptor>(&table) {
                Ok(table) => self.tables.learn(table),
                Err(error) => warn!(%error, "MemDS sent a malformed table descriptor"),
            }
        }
        if let Some(route) = answer.route {
            match Route::try_from(route) {
                Ok(route) => self.learn(route, "memds"),
                Err(error) => warn!(%error, "MemDS sent a malformed route"),
            }
        }
    }

    /// Takes a route into the cache if it is news, and asks for the addresses of nodes that it names and
    /// that are not known.
    pub(super) fn learn(&self, route: Route, source: &'static str) {
        let route = Arc::new(route);
        if self.routes.learn(Arc::clone(&route)) == Learned::Known {
            return;
        }
        metrics::learned(source);
        let nodes = self.nodes.borrow();
        if route.members.iter().any(|member| nodes.get(member.node).is_none()) {
            self.node_unknown.notify_one();
        }
    }
}
