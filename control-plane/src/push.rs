//! Tells every MemDS server of the tables and every GAC server of the quotas: on change, on reconnect, and
//! everything every five seconds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::debug;
use units::{Term, Timestamp};
use wire::clock;
use wire::method::{Method, PushQuotas, PushTables};
use wire::proto::control::{Quota, Quotas};
use wire::proto::routing::PushTables as TablesPush;
use wire::transport::{Connection, ConnectionConfig};

use crate::catalog::{Catalog, json};
use crate::metrics;
use crate::quota::{QuotaKind, QuotaMode};
use crate::record::{QuotaOwner, QuotaRecord, RingRecord, bucket_of, to_wire};

/// Everything is pushed anew so often.
const EVERYTHING_EVERY: Duration = Duration::from_secs(5);
/// A table's first push calls its quotas fresh for so long after it was created. It is not used before it
/// is active, which takes longer than the push; a server that hears of it later must assume that it was.
pub(crate) const FRESH_FOR: Duration = Duration::from_secs(2);
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
    /// The account's, unless it is unlimited: for reads, for writes.
    account: [Option<Quota>; 2],
    /// Buckets of tables that were just created, and when.
    fresh: BTreeMap<u64, Timestamp>,
    ring: Arc<RingRecord>,
    /// When it came to be.
    at: Timestamp,
}

impl Published {
    /// What `catalog` says, with the descriptors of `before` where they have not changed.
    pub(crate) fn of(
        catalog: &Catalog,
        term: Term,
        before: Option<&Self>,
        fresh: &BTreeMap<u64, Timestamp>,
        at: Timestamp,
    ) -> Self {
        let tables = catalog.tables.values().map(|table| {
            let descriptor = &table.descriptor;
            let known = before.and_then(|before| before.tables.get(&descriptor.id));
            let entry = match known {
                Some((version, json)) if *version == descriptor.version => (*version, json.clone()),
                _ => (descriptor.version, json(descriptor)),
            };
            (descriptor.id, entry)
        });
        let fresh = fresh.iter().flat_map(|(table, created_at)| {
            let owner = QuotaOwner::Table(*table);
            QuotaKind::ALL.into_iter().filter_map(move |kind| Some((bucket_of(&owner, kind)?, *created_at)))
        });
        let ring = match before {
            Some(before) if catalog.ring() == Some(before.ring.as_ref()) => Arc::clone(&before.ring),
            _ => Arc::new(catalog.ring().cloned().unwrap_or_default()),
        };
        Self {
            term,
            revision: catalog.revision,
            tables: tables.collect(),
            quotas: quotas(catalog).map(|quota| (quota.bucket, quota)).collect(),
            account: QuotaKind::ALL.map(|kind| account_quota(catalog, kind)),
            fresh: fresh.collect(),
            ring,
            at,
        }
    }

    /// The term of the leader that wants it known.
    pub(crate) const fn term(&self) -> Term {
        self.term
    }

    /// Which GAC servers own the buckets.
    pub(crate) fn ring(&self) -> &RingRecord {
        &self.ring
    }
}

/// Everything that a GAC server is to enforce, as it asks for it.
pub(crate) fn all_quotas(catalog: &Catalog) -> Quotas {
    let [account_read, account_write] = QuotaKind::ALL.map(|kind| account_quota(catalog, kind));
    Quotas { quotas: quotas(catalog).collect(), complete: true, account_read, account_write }
}

/// The tables' and the principals' quotas in force.
fn quotas(catalog: &Catalog) -> impl Iterator<Item = Quota> + '_ {
    let tables = catalog.tables.values().flat_map(|table| {
        let owner = QuotaOwner::Table(table.descriptor.id);
        QuotaKind::ALL.map(|kind| to_wire(&owner, kind, table.quota(kind)))
    });
    let principals = catalog.quotas.values().filter(|record| {
        matches!(record.owner, QuotaOwner::Principal(_)) && record.newest().terms.mode != QuotaMode::Unlimited
    });
    tables.chain(principals.map(|record| to_wire(&record.owner, record.kind, record.newest())))
}

fn account_quota(catalog: &Catalog, kind: QuotaKind) -> Option<Quota> {
    let record = catalog.quotas.get(&QuotaRecord::name_of(&QuotaOwner::Account, kind))?;
    let version = record.value.newest();
    (version.terms.mode != QuotaMode::Unlimited).then(|| to_wire(&QuotaOwner::Account, kind, version))
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
        told: &mut Told,
    ) -> Option<<Self::Method as Method>::Request>;
}

/// What one server was told so far.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Counts the pushes.
    sequence: u64,
    /// Buckets that it was told, or may have been told, while they were fresh.
    fresh: BTreeSet<u64>,
}

/// MemDS servers are told of tables.
pub(crate) enum Memds {}

/// GAC servers are told of quotas.
pub(crate) enum Gac {}

impl Audience for Memds {
    type Method = PushTables;
    const TIER: &'static str = "memds";

    fn push(known: Option<&Published>, now: &Published, told: &mut Told) -> Option<TablesPush> {
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
            sequence: told.sequence,
        })
    }
}

impl Audience for Gac {
    type Method = PushQuotas;
    const TIER: &'static str = "gac";

    fn push(known: Option<&Published>, now: &Published, told: &mut Told) -> Option<Quotas> {
        let none = BTreeMap::new();
        let before = known.map_or(&none, |known| &known.quotas);
        // Only a complete push takes a quota away.
        let complete = known.is_none() || before.keys().any(|bucket| !now.quotas.contains_key(bucket));
        let news = now.quotas.values().filter(|it| complete || before.get(&it.bucket) != Some(*it));
        let mut quotas: Vec<Quota> = news.cloned().collect();
        let same_account = known.is_some_and(|known| known.account == now.account);
        if quotas.is_empty() && !complete && same_account {
            return None;
        }
        told.fresh.retain(|bucket| now.fresh.contains_key(bucket));
        for quota in &mut quotas {
            let created_at = now.fresh.get(&quota.bucket);
            let is_fresh = created_at.is_some_and(|at| clock::now().since(*at) < FRESH_FOR);
            quota.fresh = is_fresh && told.fresh.insert(quota.bucket);
        }
        let [account_read, account_write] = now.account.clone();
        Some(Quotas { quotas, complete, account_read, account_write })
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
    let mut so_far = Told::default();
    let mut known: Option<Arc<Published>> = None;
    // While it leads, everything goes out on this beat, whatever changes in between.
    let mut beat = tokio::time::interval(EVERYTHING_EVERY);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let now = published.borrow_and_update().clone();
        let mut failed = false;
        if let Some(now) = &now {
            so_far.sequence += 1;
            let told = tell::<A>(&connection, known.as_deref(), now, &mut so_far).await;
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
    so_far: &mut Told,
) -> bool {
    let Some(request) = A::push(known, now, so_far) else { return true };
    let answer = connection.call::<A::Method>(&request, DEADLINE).await;
    metrics::pushed(A::TIER, answer.is_ok());
    if known.is_some() && answer.is_ok() {
        metrics::push_latency(A::TIER, clock::now().since(now.at));
    }
    if let Err(error) = &answer {
        debug!(server = connection.address(), %error, "a push failed");
    }
    answer.is_ok()
}
