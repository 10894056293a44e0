//! Tells every GAC server of the ring and of the quotas: servers come and go with the ring, and one that
//! drains is told until it has nothing left.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;
use units::Timestamp;
use wire::clock;
use wire::method::PushRing;
use wire::proto::gac;
use wire::transport::{Connection, ConnectionConfig};

use crate::metrics;
use crate::push::{self, Gac, Published};
use crate::ring::RingServerAnswer;

/// The ring is told anew so often, whether it changed or not.
const RING_EVERY: Duration = Duration::from_secs(1);
/// How long a server may take to answer.
const DEADLINE: Duration = Duration::from_secs(1);
/// The pause after a call that failed.
const RETRY: Duration = Duration::from_millis(100);
/// A draining server that has been silent for so long is gone: whatever it leased has long expired.
const GONE_AFTER: Duration = Duration::from_secs(60);

/// What the servers last answered.
#[derive(Debug, Default)]
pub(crate) struct RingBoard {
    servers: Mutex<BTreeMap<String, Told>>,
}

#[derive(Clone, Debug)]
struct Told {
    /// When it was first told, or last answered.
    heard: Timestamp,
    answer: Option<gac::RingAnswer>,
}

impl RingBoard {
    /// Whether the server has nothing left to hand over in the ring of `epoch`, or is gone.
    pub(crate) fn is_drained(&self, server: &str, epoch: u64) -> bool {
        let now = clock::now();
        self.servers.lock().get(server).is_some_and(|told| {
            let says_so = told.answer.is_some_and(|answer| answer.drained && answer.epoch >= epoch);
            says_so || now.since(told.heard) > GONE_AFTER
        })
    }

    /// What the server last answered.
    pub(crate) fn answer(&self, server: &str) -> Option<RingServerAnswer> {
        let now = clock::now();
        let servers = self.servers.lock();
        let told = servers.get(server)?;
        let answer = told.answer?;
        let age_ms = u64::try_from(now.since(told.heard).as_millis()).unwrap_or(u64::MAX);
        let gac::RingAnswer { epoch, buckets, drained } = answer;
        Some(RingServerAnswer { epoch, buckets, drained, age_ms })
    }

    /// Forgets what was heard while this member did not tell the servers anything.
    fn begin_term(&self) {
        for told in self.servers.lock().values_mut() {
            *told = Told { heard: clock::now(), answer: None };
        }
    }

    fn begin(&self, server: &str) {
        self.servers.lock().insert(server.to_owned(), Told { heard: clock::now(), answer: None });
    }

    fn record(&self, server: &str, answer: gac::RingAnswer) {
        self.servers.lock().insert(server.to_owned(), Told { heard: clock::now(), answer: Some(answer) });
    }

    fn end(&self, server: &str) {
        self.servers.lock().remove(server);
    }
}

/// Keeps every server of the published ring told, until `shutdown`.
pub(crate) async fn keep_told(
    mut published: watch::Receiver<Option<Arc<Published>>>,
    board: Arc<RingBoard>,
    wake: Arc<Notify>,
    shutdown: CancellationToken,
) {
    let tasks = TaskTracker::new();
    let mut told: BTreeMap<String, CancellationToken> = BTreeMap::new();
    let mut term = None;
    loop {
        // While another member leads, it tells them, and the tasks here have nothing to tell.
        let now = published.borrow_and_update().clone();
        if let Some(now) = now {
            if term.replace(now.term()) != Some(now.term()) {
                board.begin_term();
            }
            let servers: Vec<String> = now.ring().all_servers().map(str::to_owned).collect();
            for (server, stop) in told.extract_if(.., |server, _| !servers.contains(server)) {
                stop.cancel();
                board.end(&server);
            }
            for server in servers {
                told.entry(server.clone()).or_insert_with(|| {
                    let stop = shutdown.child_token();
                    board.begin(&server);
                    // What GAC has acknowledged holds nobody up: a server without a quota takes the
                    // proxies' word.
                    let (told, acknowledged) = (published.clone(), Arc::default());
                    tasks.spawn(push::keep_told::<Gac>(server.clone(), told, acknowledged, stop.clone()));
                    let (board, wake) = (Arc::clone(&board), Arc::clone(&wake));
                    tasks.spawn(keep_ring_told(server, published.clone(), board, wake, stop.clone()));
                    stop
                });
            }
        }
        tokio::select! {
            () = shutdown.cancelled() => break,
            changed = published.changed() => if changed.is_err() { break },
        }
    }
    for stop in told.into_values() {
        stop.cancel();
    }
    tasks.close();
    tasks.wait().await;
}

/// Whether a server that is to be added is there, and takes the ring.
pub(crate) async fn answers(server: &str, ring: &gac::Ring) -> bool {
    let connection = Connection::open(server, ConnectionConfig::named("control-plane"));
    let answer = connection.call::<PushRing>(ring, DEADLINE).await;
    if let Err(error) = &answer {
        debug!(%server, %error, "a server to be added does not answer");
    }
    answer.is_ok()
}

async fn keep_ring_told(
    server: String,
    mut published: watch::Receiver<Option<Arc<Published>>>,
    board: Arc<RingBoard>,
    wake: Arc<Notify>,
    stop: CancellationToken,
) {
    let connection = Connection::open(&server, ConnectionConfig::named("control-plane"));
    loop {
        let now = published.borrow_and_update().clone();
        let ring = now.map(|now| now.ring().to_wire());
        let epoch = ring.as_ref().map(|ring| ring.epoch);
        let mut pause = RING_EVERY;
        if let Some(ring) = ring {
            let answer = connection.call::<PushRing>(&ring, DEADLINE).await;
            metrics::pushed("gac_ring", answer.is_ok());
            match answer {
                Ok(answer) => {
                    let drained = answer.drained;
                    board.record(&server, answer);
                    if drained {
                        wake.notify_one();
                    }
                }
                Err(error) => {
                    debug!(%server, %error, "a server was not told of the ring");
                    pause = RETRY;
                }
            }
        }
        let is_other =
            |now: &Option<Arc<Published>>| now.as_ref().map(|published| published.ring().epoch) != epoch;
        tokio::select! {
            () = stop.cancelled() => return,
            changed = published.wait_for(is_other) => if changed.is_err() { return },
            () = tokio::time::sleep(pause) => {}
        }
    }
}
