//! Tells every MemDS server of the tables and every GAC server of the quotas: on change, on reconnect, and
//! everything every five seconds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::debug;
use units::Term;
use wire::method::{Method, PushQuotas, PushTables};
use wire::proto::control::{Quota, Quotas};
use wire::proto::routing::PushTables as TablesPush;
use wire::transport::{Connection, ConnectionConfig};

use crate::catalog::{Catalog, json};
use crate::metrics;

/// Everything is pushed anew so often.
const EVERYTHING_EVERY: Duration = Duration::from_secs(5);
/// How long one push may take.
const DEADLINE: Duration = Duration::from_secs(1);
/// The pause after a push that failed.
const RETRY: Duration = Duration::from_millis(100);

/// What the leader wants the other tiers to know.
#[derive(Debug, Default)]
pub(crate) struct Published {
    term: Term,
    revision: u64,
    /// Descriptors by table number: version and JSON.
    tables: BTreeMap<u64, (u64, Bytes)>,
    quotas: BTreeMap<u64, Quota>,
}

impl Published {
    /// What `catalog` says, with the descriptors of `before` where they have not changed.
    pub(crate) fn of(catalog: &Catalog, term: Term, before: Option<&Self>) -> Self {
        let tables = catalog.tables.values().map(|table| {
            let descriptor = &table.descriptor;
            let known = before.and_then(|before| before.tables.get(&descriptor.id));
            let entry = match known {
                Some((version, json)) if *version == descriptor.version => (*version, json.clone()),
                _ => (descriptor.version, json(descriptor)),
            };
            (descriptor.id, entry)
        });
        let quotas = catalog.quotas.values().map(|quota| quota.to_wire()).map(|quota| (quota.bucket, quota));
        Self { term, revision: catalog.revision, tables: tables.collect(), quotas: quotas.collect() }
    }
}

/// What the servers have acknowledged, as far as they answer.
#[derive(Debug, Default)]
pub(crate) struct PushBoard {
    /// By server: the newest push that it acknowledged; none while it does not answer.
    acknowledged: Mutex<BTreeMap<String, Option<(Term, u64)>>>,
}

impl PushBoard {
    /// Whether every MemDS server that answers has acknowledged this revision.
    pub(crate) fn reached(&self, term: Term, revision: u64) -> bool {
        self.acknowledged.lock().values().flatten().all(|acknowledged| *acknowledged >= (term, revision))
    }

    fn record(&self, server: &str, acknowledged: Option<(Term, u64)>) {
        self.acknowledged.lock().insert(server.to_owned(), acknowledged);
    }
}

/// What one tier is told.
pub(crate) trait Audience: Send + 'static {
    /// By which method.
    type Method: Method<Request: Send + Sync, Response: Send>;
    /// The tier's name in metrics.
    const TIER: &'static str;

    /// The push that brings a server from `known` (nothing: everything is sent) to `now`, if any is needed.
    fn push(
        known: Option<&Published>,
        now: &Published,
        sequence: u64,
    ) -> Option<<Self::Method as Method>::Request>;
}

/// MemDS servers are told of tables.
pub(crate) enum Memds {}

/// GAC servers are told of quotas.
pub(crate) enum Gac {}

impl Audience for Memds {
    type Method = PushTables;
    const TIER: &'static str = "memds";

    fn push(known: Option<&Published>, now: &Published, sequence: u64) -> Option<TablesPush> {
        let none = BTreeMap::new();
        let before = known.map_or(&none, |known| &known.tables);
        let changed = now.tables.iter().filter(|(id, (version, _))| {
            before.get(id).is_none_or(|(known_version, _)| known_version != version)
        });
        let tables: Vec<Bytes> = changed.map(|(_, (_, json))| json.clone()).collect();
        let removed: Vec<u64> = before.keys().filter(|id| !now.tables.contains_key(id)).copied().collect();
        let complete = known.is_none();
        (complete || !tables.is_empty() || !removed.is_empty()).then_some(TablesPush {
            tables,
            removed,
            complete,
            term: now.term.get(),
            sequence,
        })
    }
}

impl Audience for Gac {
    type Method = PushQuotas;
    const TIER: &'static str = "gac";

    fn push(known: Option<&Published>, now: &Published, _sequence: u64) -> Option<Quotas> {
        let all = |complete| {
            Some(Quotas { quotas: now.quotas.values().cloned().collect(), complete, ..Quotas::default() })
        };
        let Some(known) = known else { return all(true) };
        if known.quotas.keys().any(|bucket| !now.quotas.contains_key(bucket)) {
            return all(true);
        }
        let changed = now.quotas.iter().filter(|(bucket, quota)| known.quotas.get(bucket) != Some(quota));
        let quotas: Vec<Quota> = changed.map(|(_, quota)| quota.clone()).collect();
        (!quotas.is_empty()).then_some(Quotas { quotas, ..Quotas::default() })
    }
}

/// Keeps one server told, until `shutdown`. What is published while this member does not lead is nothing.
pub(crate) async fn keep_told<A: Audience>(
    address: String,
    mut published: watch::Receiver<Option<Arc<Published>>>,
    board: Arc<PushBoard>,
    shutdown: CancellationToken,
) {
    let mut connection = Connection::open(&address, ConnectionConfig::named("control-plane"));
    let mut sequence = 0_u64;
    let mut known: Option<Arc<Published>> = None;
    // While it leads, everything goes out on this beat, whatever changes in between.
    let mut beat = tokio::time::interval(EVERYTHING_EVERY);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let now = published.borrow_and_update().clone();
        let mut failed = false;
        if let Some(now) = &now {
            sequence += 1;
            let told = tell::<A>(&connection, known.as_deref(), now, sequence).await;
            board.record(&address, told.then_some((now.term, now.revision)));
            failed = !told;
            known = told.then(|| Arc::clone(now));
        } else {
            known = None;
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            changed = published.changed() => if changed.is_err() { return },
            () = connection.reconnected() => known = None,
            _ = beat.tick() => known = None,
            () = tokio::time::sleep(RETRY), if failed => {}
        }
    }
}

/// Pushes what `now` has beyond `known`; whether the server knows it all.
async fn tell<A: Audience>(
    connection: &Connection,
    known: Option<&Published>,
    now: &Published,
    sequence: u64,
) -> bool {
    let Some(request) = A::push(known, now, sequence) else { return true };
    let answer = connection.call::<A::Method>(&request, DEADLINE).await;
    metrics::pushed(A::TIER, answer.is_ok());
    if let Err(error) = &answer {
        debug!(server = connection.address(), %error, "a push failed");
    }
    answer.is_ok()
}
