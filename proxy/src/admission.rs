//! Admission at the proxy: every request takes its tokens from local buckets, without a hop, a lock held
//! or an await, at every level that has a quota: its table's, its table's share of the account, its
//! signer's. A task per GAC server keeps the buckets' leases in the background.
//!
//! What a proxy may use of a bucket before it has asked anybody is a hundredth of its equal part: the
//! owner keeps that much reserved for every member of the fleet. Where it does not suffice, because the
//! table is small or busy, the bucket is reported at once, and the request waits for the answer: a moment,
//! and in bounded numbers. So does a request that is short of tokens while the pool still has some: a burst
//! that was banked is there for the asking, not for the retrying. What is refused is refused at once.
//!
//! If the owner has not answered for longer than any lease of its may hold, a bucket without a lease
//! refills at its equal part of the quota: all proxies together then still stay within it.

mod described;
mod explanation;
mod known_levels;
mod local_bucket;
mod meter;
mod metrics;
mod owners;
mod permit;
mod principals;
mod refusal_log;
mod reporter;
mod shared;
#[cfg(test)]
mod tests;
mod tick;
mod top;
mod verdict;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use ::admission::{BucketId, CapacityKind, ChainRefusal, Level, PoolColour, StorageRefusal, Taken};
use dynamodb::api::ApiOperation;
use tokio_util::sync::CancellationToken;
use units::{MilliUnits, ProxyId, TableId, Timestamp};
use wire::clock;

pub(crate) use described::Described;
pub use explanation::{Capacity, Cause, Explanation, HotKeyCheck, Layer, LevelCheck, PartitionCheck};
pub(crate) use permit::{Ask, Permit, Refusal};
pub use top::{Amount, Flow, Top, TopRow};

use crate::http::RequestId;
use local_bucket::LocalBucket;
use permit::Levels;
use refusal_log::Record;
use shared::{Shared, UNKNOWN_QUOTA};

/// How long a request waits at most for a grant from a pool that may have tokens: the least gap between
/// two reports (100 ms) and a round trip.
const PATIENCE: Duration = Duration::from_millis(150);

/// What admission is told at its start.
#[derive(Clone, Debug)]
pub(crate) struct AdmissionConfig {
    /// This proxy's number in the fleet.
    pub(crate) proxy: ProxyId,
    /// `host:port` of the GAC servers.
    pub(crate) servers: Vec<String>,
    /// Proxies in the fleet, before a GAC server has said how many there are.
    pub(crate) expected_proxies: u32,
}

/// Decides, locally, whether there is capacity.
#[derive(Clone, Debug)]
pub(crate) struct Admission {
    shared: Arc<Shared>,
}

impl Admission {
    /// Starts the tasks that keep the leases; they end with `shutdown`.
    #[must_use]
    pub(crate) fn start(config: AdmissionConfig, shutdown: &CancellationToken) -> Self {
        let shared = Arc::new(Shared::new(config, shutdown));
        for link in &shared.owners.load().links {
            shared.report_to(link);
        }
        let ticking = tick::run(Arc::clone(&shared));
        shared.tasks.spawn(shutdown.clone().run_until_cancelled_owned(ticking));
        shared.tasks.close();
        Self { shared }
    }

    /// Takes what is asked for at every level, and waits for the next grant where the pool may have tokens,
    /// a moment at most.
    ///
    /// # Errors
    /// [`Refusal`]: nothing was taken.
    pub(crate) async fn admit_patiently(&self, ask: &Ask<'_>) -> Result<Permit, Refusal> {
        let levels = self.levels(ask);
        let refusal = match self.take(ask, &levels, ask.now) {
            Ok(taken) => return Ok(self.admitted(ask, levels, taken)),
            Err(refusal) => refusal,
        };
        match self.wait(ask, &levels, refusal).await {
            Ok(taken) => Ok(self.admitted(ask, levels, taken)),
            Err(refusal) => Err(self.refused(ask, &levels, refusal)),
        }
    }

    /// Takes what is asked for at every level, without a wait.
    ///
    /// # Errors
    /// [`Refusal`]: nothing was taken.
    #[cfg(test)]
    pub(crate) fn admit(&self, ask: &Ask<'_>) -> Result<Permit, Refusal> {
        let levels = self.levels(ask);
        match self.take(ask, &levels, ask.now) {
            Ok(taken) => Ok(self.admitted(ask, levels, taken)),
            Err(refusal) => Err(self.refused(ask, &levels, refusal)),
        }
    }

    /// Replaces what was taken by the `actual` cost: a refund, or a debt. None: it was not executed.
    pub(crate) fn settle(&self, permit: Permit, actual: Option<MilliUnits>) {
        let (taken, actual) = (permit.cost, actual.unwrap_or_default());
        if actual == taken {
            return;
        }
        let (table, chain) = (&permit.levels.table, permit.levels.chain());
        let kind = table.id.kind();
        table.meter.settled(taken, actual);
        permit.principal.meter(kind).settled(taken, actual);
        if actual > taken {
            let more = actual.saturating_sub(taken);
            chain.charge(permit.taken, more);
            self.shared.metrics.of(kind).charged_later(more);
        } else {
            let less = taken.saturating_sub(actual);
            chain.refund(permit.taken, less);
            self.shared.metrics.of(kind).refunded(less);
        }
    }

    /// A storage node refused what was admitted here: everything goes back, and why is kept.
    pub(crate) fn refused_by_node(
        &self,
        request: &RequestId,
        operation: ApiOperation,
        permit: Permit,
        node: &StorageRefusal,
    ) -> Refusal {
        let (now, cost) = (clock::now(), permit.cost);
        let (levels, principal) = (permit.levels.clone(), Arc::clone(&permit.principal));
        self.settle(permit, None);
        let refusal = Refusal::by_node(node, levels.table.described());
        let (kind, cause) = (levels.table.id.kind(), refusal.cause);
        levels.table.meter.refused_later(cost, cause);
        principal.meter(kind).refused_later(cost, cause);
        self.shared.metrics.of(kind).refused_later(cost, cause);
        let record = Record {
            request: *request,
            at: now,
            table: Arc::clone(&refusal.table.name),
            operation,
            principal: Arc::clone(&principal.name),
            kind,
            cost,
            layer: refusal.layer,
            cause,
            retry_after: refusal.retry_after,
            levels: level_records(&levels, None, now),
            node: Some(*node),
        };
        self.shared.refusals.keep(levels.table.id.table(), record);
        refusal
    }

    /// Drops a deleted table's buckets.
    pub(crate) fn forget(&self, table: TableId) {
        for kind in [CapacityKind::Read, CapacityKind::Write] {
            for level in [Level::Table, Level::AccountShare] {
                self.shared.buckets.remove(&BucketId::at(level, table.get(), kind));
            }
        }
    }

    /// Why the request was refused; none: it was not, or too many were since.
    pub(crate) fn explain(&self, request: &str) -> Option<Explanation> {
        let record = self.shared.refusals.find(&RequestId::parse(request)?)?;
        Some(record.explain(self.shared.config.proxy.get(), clock::now(), clock::unix_now()))
    }

    /// Who asks for how much now.
    pub(crate) fn top(&self) -> Top {
        let tables = self.shared.buckets.iter().filter(|bucket| bucket.id.level() == Level::Table);
        let rows = tables.filter_map(|bucket| {
            let (last_second, last_ten_seconds) = bucket.meter.flows()?;
            let (name, capacity) =
                (bucket.subject().as_ref().to_owned(), verdict::capacity(bucket.id.kind()));
            Some(TopRow { name, capacity, last_second, last_ten_seconds })
        });
        Top {
            proxy: self.shared.config.proxy.get(),
            at_ms: clock::unix_now().get(),
            tables: TopRow::busiest(rows.collect()),
            principals: self.shared.principals.rows(),
        }
    }

    /// Waits until the tasks have ended, after the shutdown given to [`Self::start`].
    pub(crate) async fn closed(&self) {
        self.shared.tasks.wait().await;
    }

    /// The buckets that hold for the request.
    fn levels(&self, ask: &Ask<'_>) -> Levels {
        let Ask { table, kind, now, .. } = *ask;
        let known = self.shared.levels.load();
        Levels {
            table: self.shared.table_bucket(table, kind, now),
            account: known.limits_account(kind).then(|| self.shared.account_share(table, kind, now)),
            principal: known
                .principal(ask.principal, kind)
                .map(|id| self.shared.bucket(id, now, || (Arc::clone(ask.principal), None, UNKNOWN_QUOTA))),
        }
    }

    fn take(&self, ask: &Ask<'_>, levels: &Levels, now: Timestamp) -> Result<Taken, ChainRefusal> {
        levels.iter().for_each(|bucket| bucket.used(now));
        let taken = levels.chain().take(ask.cost, now);
        match &taken {
            // Before it is too late for the next ones.
            Ok(_) => levels.iter().filter(|it| it.runs_low()).for_each(|it| self.shared.urge(it)),
            Err(refusal) => self.shared.urge(levels.at(refusal.level)),
        }
        taken
    }

    /// Waits for what the bucket that refused will be granted, and tries again: a moment at most.
    async fn wait(
        &self,
        ask: &Ask<'_>,
        levels: &Levels,
        mut refusal: ChainRefusal,
    ) -> Result<Taken, ChainRefusal> {
        let until = ask.now + PATIENCE;
        let mut now = ask.now;
        while now < until {
            let bucket = levels.at(refusal.level);
            let (proxies, all) = (self.shared.proxies(), &self.shared.waiting);
            let Some(place) = bucket.place(ask.cost, proxies, all, now) else { return Err(refusal) };
            let mut granted = pin!(place.granted());
            // From here on no grant is missed.
            granted.as_mut().enable();
            self.shared.urge(bucket);
            // Granted or not: what the local rate earned meanwhile may do.
            let _timely = tokio::time::timeout(until.since(clock::now()), granted).await;
            now = clock::now();
            if bucket.may_cover(ask.cost, now) {
                match self.take(ask, levels, now) {
                    Ok(taken) => {
                        place.admitted();
                        return Ok(taken);
                    }
                    Err(again) => refusal = again,
                }
            }
        }
        Err(refusal)
    }

    fn admitted(&self, ask: &Ask<'_>, levels: Levels, taken: Taken) -> Permit {
        let Ask { kind, cost, .. } = *ask;
        let principal = self.shared.principals.of(ask.principal, ask.now);
        let metrics = self.shared.metrics.of(kind);
        metrics.admitted(cost);
        levels.table.meter.admitted(cost);
        principal.meter(kind).admitted(cost);
        if taken.first_shadow_refusal().is_some() {
            for (level, bucket) in levels.iter().enumerate() {
                if taken.would_have_been_refused_at(level) {
                    metrics.shadowed(cost, bucket.layer());
                }
            }
            levels.table.meter.shadowed(cost);
            principal.meter(kind).shadowed(cost);
        }
        Permit { levels, taken, cost, principal }
    }

    fn refused(&self, ask: &Ask<'_>, levels: &Levels, refused: ChainRefusal) -> Refusal {
        let (Ask { kind, cost, .. }, now) = (*ask, clock::now());
        let bucket = levels.at(refused.level);
        let cause = cause(bucket, now);
        let (layer, retry_after) = (bucket.layer(), retry_after(bucket, refused, cost, now));
        let principal = self.shared.principals.of(ask.principal, now);
        levels.table.meter.refused(cost, cause);
        principal.meter(kind).refused(cost, cause);
        self.shared.metrics.of(kind).refused(cost, cause);
        let refusal = Refusal { layer, cause, retry_after, table: levels.table.described() };
        let record = Record {
            request: *ask.request,
            at: now,
            table: Arc::clone(&refusal.table.name),
            operation: ask.operation,
            principal: Arc::clone(&principal.name),
            kind,
            cost,
            layer,
            cause,
            retry_after,
            levels: level_records(levels, Some(refused.level), now),
            node: None,
        };
        self.shared.refusals.keep(levels.table.id.table(), record);
        refusal
    }
}

/// Why the bucket refused.
fn cause(bucket: &LocalBucket, now: Timestamp) -> Cause {
    let leased = now <= bucket.tokens.lease_expires();
    match bucket.layer() {
        Layer::Account => Cause::Account,
        _ if !bucket.dry_for(now).is_zero() || (leased && bucket.pool() == PoolColour::Dry) => Cause::Quota,
        _ if bucket.quota().rate.get() == 0 && bucket.quota().version > 0 => Cause::Quota,
        _ => Cause::Share,
    }
}

/// When to come back: when the local rate will have earned what is missing, or else when the quota will.
fn retry_after(bucket: &LocalBucket, refused: ChainRefusal, cost: MilliUnits, now: Timestamp) -> Duration {
    let local = refused.shortage.retry_after;
    // Without a rate of its own it lives on what the owner gives, which repays debts first.
    let missing = cost + bucket.tokens.debt();
    let earned = if local < Duration::MAX { local } else { bucket.quota().rate.time_to_earn(missing) };
    earned.max(bucket.dry_for(now))
}

fn level_records(
    levels: &Levels,
    refused: Option<usize>,
    now: Timestamp,
) -> [Option<refusal_log::LevelRecord>; ::admission::MAX_LEVELS] {
    let mut records = levels.iter().enumerate().map(|(level, it)| it.record(refused == Some(level), now));
    std::array::from_fn(|_| records.next())
}
