//! Admission at the proxy: every request takes its tokens from a local bucket, without a hop, a lock held
//! or an await; a task per GAC server keeps the buckets' leases in the background. Only a request that is
//! short of tokens while the pool still has some waits, a moment and in bounded numbers, for the grant
//! that its shortage asked for: a burst that was banked is there for the asking, not for the retrying.
//!
//! A bucket that is used for the first time may not wait for its first grant. Until then, for one lease
//! time at most, it refills at R divided by the expected number of proxies, from a depth of a quarter
//! of a second of that (or four units). While every expected proxy does so, they stay within R together;
//! if there are more proxies than expected, each further one adds its part until its first report, a
//! round trip later. The same part is what a bucket falls back to when no GAC server has ever answered.

mod local_bucket;
mod metrics;
mod reporter;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use ::admission::{
    BucketId, CapacityKind, LeaseKeeper, OutagePolicy, PoolColour, Quota, ReportHeader, Ring,
};
use dashmap::DashMap;
use dynamodb::table::{Outage, TableDescriptor};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use units::{Epoch, MilliUnits, MilliUnitsPerSecond, ProxyId, TableId, Timestamp};
use wire::clock;

use local_bucket::LocalBucket;
use metrics::AdmissionMetrics;
use reporter::Link;

/// How long a bucket's first allowance holds: as long as the leases that follow it.
const FIRST_TTL: Duration = Duration::from_secs(10);

/// How long a request waits at most for a grant from a pool that has tokens: the least gap between two
/// reports (100 ms) and a round trip.
const PATIENCE: Duration = Duration::from_millis(150);

/// What admission is told at its start.
#[derive(Clone, Debug)]
pub struct AdmissionConfig {
    /// This proxy's number in the fleet.
    pub proxy: ProxyId,
    /// `host:port` of the GAC servers.
    pub servers: Vec<String>,
    /// Proxies in the fleet: what is allowed before the first grant is this part of a quota.
    pub expected_proxies: u32,
}

/// Decides, locally, whether there is capacity.
#[derive(Clone, Debug)]
pub struct Admission {
    shared: Arc<Shared>,
    tasks: TaskTracker,
}

#[derive(Debug)]
struct Shared {
    config: AdmissionConfig,
    /// Counters are cumulative within it; the wall clock makes it grow with every start.
    session: u64,
    ring: Ring,
    /// One per server of the ring, in its order.
    links: Vec<Link>,
    buckets: DashMap<BucketId, Arc<LocalBucket>, foldhash::fast::RandomState>,
    metrics: AdmissionMetrics,
}

/// Tokens that a request took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "what was taken is to be settled when the cost is known"]
pub struct Permit {
    bucket: BucketId,
    taken: MilliUnits,
}

/// Why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The fleet has used the quota up.
    Quota,
    /// This proxy ran short while others, or the pool, may still have had tokens.
    Share,
}

/// A refusal: too few tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too few tokens for {bucket:?} ({cause:?}); back in {retry_after:?}")]
pub struct Refusal {
    /// Whose tokens.
    pub bucket: BucketId,
    /// Whether the quota or only this proxy's share of it was short.
    pub cause: Cause,
    /// When the local rate will have earned what is missing; `Duration::MAX`: not at this rate.
    pub retry_after: Duration,
}

impl Permit {
    /// Tokens that were taken earlier, for a caller that keeps only the amount.
    pub const fn taken_earlier(table: TableId, kind: CapacityKind, taken: MilliUnits) -> Self {
        Self { bucket: BucketId::new(table, kind), taken }
    }
}

impl Admission {
    /// Starts the tasks that keep the leases; they end with `shutdown`.
    #[must_use]
    pub fn start(config: AdmissionConfig, shutdown: &CancellationToken) -> Self {
        let ring = Ring::new(Epoch::new(1), config.servers.iter().cloned());
        let links = ring.servers().iter().map(|_| Link::default()).collect();
        let shared = Arc::new(Shared {
            config,
            session: clock::unix_now().get(),
            ring,
            links,
            buckets: DashMap::default(),
            metrics: AdmissionMetrics::new(),
        });
        let tasks = TaskTracker::new();
        for server in 0..shared.links.len() {
            let reporting = reporter::run(Arc::clone(&shared), server);
            tasks.spawn(shutdown.clone().run_until_cancelled_owned(reporting));
        }
        tasks.close();
        Self { shared, tasks }
    }

    /// Takes `cost` from the table's quota.
    ///
    /// # Errors
    /// [`Refusal`]: nothing was taken.
    pub fn admit(
        &self,
        table: &TableDescriptor,
        kind: CapacityKind,
        cost: MilliUnits,
        now: Timestamp,
    ) -> Result<Permit, Refusal> {
        let bucket = self.bucket(table, kind, now);
        self.take(&bucket, cost, now).inspect_err(|refusal| self.refused(cost, refusal))
    }

    /// The same, and waits for the next grant when the pool may have tokens, a moment at most.
    ///
    /// # Errors
    /// [`Refusal`]: nothing was taken.
    pub async fn admit_patiently(
        &self,
        table: &TableDescriptor,
        kind: CapacityKind,
        cost: MilliUnits,
        now: Timestamp,
    ) -> Result<Permit, Refusal> {
        let bucket = self.bucket(table, kind, now);
        let mut taken = self.take(&bucket, cost, now);
        if taken.is_err()
            && let Some(place) = bucket.place(self.shared.fair_part(table, kind), now)
        {
            let until = now + PATIENCE;
            while taken.is_err() && clock::now() < until {
                let left = until.since(clock::now());
                // Granted or not: what the local rate earned meanwhile may do.
                let _timely = tokio::time::timeout(left, place.granted()).await;
                taken = self.take(&bucket, cost, clock::now());
            }
        }
        taken.inspect_err(|refusal| self.refused(cost, refusal))
    }

    /// Replaces what was taken by the `actual` cost: a refund, or a debt. None: it was not executed.
    pub fn settle(&self, permit: Permit, actual: Option<MilliUnits>) {
        let actual = actual.unwrap_or_default();
        if actual == permit.taken {
            return;
        }
        // Absent: the table was deleted meanwhile.
        let Some(bucket) = self.shared.buckets.get(&permit.bucket) else { return };
        if actual > permit.taken {
            let more = actual.saturating_sub(permit.taken);
            bucket.tokens.charge(more);
            self.shared.metrics.of(permit.bucket.kind()).charged_later(more);
        } else {
            let less = permit.taken.saturating_sub(actual);
            bucket.tokens.refund(less);
            self.shared.metrics.of(permit.bucket.kind()).refunded(less);
        }
    }

    /// Drops a deleted table's buckets.
    pub fn forget(&self, table: TableId) {
        for kind in [CapacityKind::Read, CapacityKind::Write] {
            self.shared.buckets.remove(&BucketId::new(table, kind));
        }
    }

    /// What the bucket may refill at now, and the colour of its pool; none: it was not used yet.
    #[must_use]
    pub fn lease(
        &self,
        table: TableId,
        kind: CapacityKind,
        now: Timestamp,
    ) -> Option<(MilliUnitsPerSecond, PoolColour)> {
        let bucket = self.shared.buckets.get(&BucketId::new(table, kind))?;
        Some((bucket.tokens.rate_at(now), bucket.pool()))
    }

    /// Waits until the tasks have ended, after the shutdown given to [`Self::start`].
    pub async fn closed(&self) {
        self.tasks.wait().await;
    }

    fn bucket(&self, table: &TableDescriptor, kind: CapacityKind, now: Timestamp) -> Arc<LocalBucket> {
        let id = BucketId::new(TableId::new(table.id), kind);
        let Some(bucket) = self.shared.buckets.get(&id).map(|bucket| Arc::clone(&bucket)) else {
            return self.shared.begin(id, table, now);
        };
        if bucket.knows_older_than(table.version) {
            bucket.learn(quota_of(table, kind));
            self.shared.urge(&bucket);
        }
        bucket
    }

    fn take(&self, bucket: &Arc<LocalBucket>, cost: MilliUnits, now: Timestamp) -> Result<Permit, Refusal> {
        bucket.used(now);
        match bucket.tokens.take(cost, now) {
            Ok(left) => {
                self.shared.metrics.of(bucket.id.kind()).admitted(cost);
                if left.get() < bucket.tokens.cap().get() / 4 {
                    self.shared.urge(bucket);
                }
                Ok(Permit { bucket: bucket.id, taken: cost })
            }
            Err(shortage) => {
                let cause = if bucket.pool() == PoolColour::Dry { Cause::Quota } else { Cause::Share };
                self.shared.urge(bucket);
                Err(Refusal { bucket: bucket.id, cause, retry_after: shortage.retry_after })
            }
        }
    }

    fn refused(&self, cost: MilliUnits, refusal: &Refusal) {
        self.shared.metrics.of(refusal.bucket.kind()).refused(cost, refusal.cause);
    }
}

impl Shared {
    /// What stands above every report's entries.
    fn report_header(&self) -> ReportHeader {
        ReportHeader {
            proxy: self.config.proxy,
            session: self.session,
            fleet: 0,
            ring: self.ring.epoch(),
            leaving: false,
        }
    }

    /// What every proxy could have if all asked for the same.
    fn fair_part(&self, table: &TableDescriptor, kind: CapacityKind) -> MilliUnitsPerSecond {
        let proxies = u64::from(self.config.expected_proxies).max(1);
        MilliUnitsPerSecond::new(quota_of(table, kind).rate.get() / proxies)
    }

    /// The bucket of a table that is used for the first time.
    fn begin(&self, id: BucketId, table: &TableDescriptor, now: Timestamp) -> Arc<LocalBucket> {
        let quota = quota_of(table, id.kind());
        let bucket = self.buckets.entry(id).or_insert_with(|| {
            let proxies = u64::from(self.config.expected_proxies);
            let lease = LeaseKeeper::first_lease(quota, proxies, FIRST_TTL, now);
            let server = self.ring.owner(id);
            Arc::new(LocalBucket::new(id, quota, lease, server, now))
        });
        let bucket = Arc::clone(&bucket);
        self.urge(&bucket);
        bucket
    }

    /// Asks for an early report.
    fn urge(&self, bucket: &Arc<LocalBucket>) {
        if let Some(server) = bucket.server
            && bucket.becomes_urgent()
        {
            self.links[server].urge(Arc::clone(bucket));
        }
    }
}

/// The table's quota in force, as its descriptor says.
fn quota_of(table: &TableDescriptor, kind: CapacityKind) -> Quota {
    let quota = match kind {
        CapacityKind::Read => table.read_quota(),
        CapacityKind::Write => table.write_quota(),
    };
    Quota {
        rate: MilliUnitsPerSecond::new(quota.rate_milli),
        burst: MilliUnits::new(quota.burst_milli),
        version: quota.version,
        outage: match quota.outage {
            Outage::Strict => OutagePolicy::Strict,
            Outage::Static => OutagePolicy::Static,
            Outage::Open => OutagePolicy::Open,
        },
        shadow: quota.shadow,
    }
}
