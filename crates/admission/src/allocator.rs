//! The owner's side: who may refill which bucket at what rate, and who is given what out of the pool.
//!
//! For each bucket the allocator knows, per proxy, `out`, the highest rate that the proxy may be using,
//! and `hold`, the most tokens it may be holding; and the pool `L`. Every report is answered in O(1) by
//! running sums. What it promises, whatever is lost, repeated or late:
//!
//! - I1: Σ`out` ≤ R.
//! - I2: L + Σ`hold` ≤ B, and `hold` is at least what is really held.
//! - I3: a proxy accepts only a newer grant (in `lease_keeper.rs`).
//! - I4: a raise comes only out of R − Σ`out`; `out` falls only on an acknowledgement or an expiry.
//! - I5: a silent proxy keeps its `out` until its lease has certainly ended, then counts as its safe rate
//!   until membership drops it.
//!
//! A quota that was lowered is the one exception to I1 and I2: what was leased under the old one still
//! counts, and only falls, until every proxy has acknowledged its part.

mod bucket;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use units::{Epoch, MilliUnits, MilliUnitsPerSecond, ProxyId, Timestamp};

use crate::lease::{BucketId, Grant, Quota, ReportEntry};
use bucket::Bucket;

/// How an allocator behaves. Per server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllocatorConfig {
    /// Proxies in the fleet: a new epoch waits for so many to have reported before it leases anything
    /// that a proxy did not show, and the safe rate is at most this part of the quota.
    pub expected_proxies: u32,
    /// How long a lease holds.
    pub ttl: Duration,
    /// When to report next, while demand is near the quota or tokens are scarce.
    pub contended_interval: Duration,
    /// When to report next otherwise.
    pub comfortable_interval: Duration,
    /// A proxy silent for this long is gone.
    pub membership: Duration,
}

impl Default for AllocatorConfig {
    /// One proxy; ttl 10 s; reports every 1 s and 5 s; membership 10 min.
    fn default() -> Self {
        Self {
            expected_proxies: 1,
            ttl: Duration::from_secs(10),
            contended_interval: Duration::from_secs(1),
            comfortable_interval: Duration::from_secs(5),
            membership: Duration::from_secs(600),
        }
    }
}

impl AllocatorConfig {
    /// After this long without a report a lease has certainly ended: the ttl by the slowest clock
    /// (a tenth of a percent, five times the clocks' rate error) and a margin for the grant's journey.
    pub(crate) fn lease_certainly_ended(&self) -> Duration {
        self.ttl + self.ttl / 1000 + Duration::from_millis(500)
    }
}

/// Buckets that one server keeps at most: about 200 bytes each and 150 per proxy that uses one.
const MAX_BUCKETS: usize = 2_000_000;

/// The largest rate and amount that count, in milli-units: a billion units. Far above every quota, and
/// low enough that sums over a fleet never overflow, whatever a report claims.
const MAX_AMOUNT: u64 = 1_000_000_000_000;

fn within_reason(quota: Quota) -> Quota {
    Quota {
        rate: quota.rate.min(MilliUnitsPerSecond::new(MAX_AMOUNT)),
        burst: quota.burst.min(MilliUnits::new(MAX_AMOUNT * Quota::BURST_SECONDS)),
        ..quota
    }
}

fn entry_within_reason(entry: &ReportEntry) -> ReportEntry {
    let most = MilliUnits::new(MAX_AMOUNT);
    ReportEntry {
        held: entry.held.min(most),
        need: entry.need.min(most),
        rate_in_use: entry.rate_in_use.min(MilliUnitsPerSecond::new(MAX_AMOUNT)),
        quota: within_reason(entry.quota),
        ..*entry
    }
}

/// All the buckets that one server owns, in one epoch.
#[derive(Debug)]
pub struct Allocator {
    epoch: Epoch,
    config: AllocatorConfig,
    /// Until then, or until every expected proxy has reported, nothing is leased that was not shown:
    /// what an earlier owner leased may still be in use.
    learning_until: Timestamp,
    introduced: BTreeSet<ProxyId>,
    buckets: BTreeMap<BucketId, Bucket>,
    quotas: BTreeMap<BucketId, Quota>,
}

/// What operators see of one bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BucketSummary {
    /// The quota in force.
    pub quota: Quota,
    /// Tokens in the pool.
    pub pool: MilliUnits,
    /// Σ`out`.
    pub leased: MilliUnitsPerSecond,
    /// Σ`hold`.
    pub held: MilliUnits,
    /// Σ of the smoothed offered rates.
    pub demand: MilliUnitsPerSecond,
    /// Proxies that count.
    pub proxies: usize,
}

impl Allocator {
    /// An allocator that owns nothing yet and learns what earlier owners leased.
    #[must_use]
    pub fn new(epoch: Epoch, config: AllocatorConfig, now: Timestamp) -> Self {
        let learning_until = now + config.lease_certainly_ended();
        Self {
            epoch,
            config,
            learning_until,
            introduced: BTreeSet::new(),
            buckets: BTreeMap::new(),
            quotas: BTreeMap::new(),
        }
    }

    /// The epoch that its grants carry.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Notes that `proxy` has reported everything that it holds of this server's buckets.
    pub fn introduce(&mut self, proxy: ProxyId) {
        if self.introduced.len() < self.config.expected_proxies as usize {
            self.introduced.insert(proxy);
        }
    }

    /// Whether only what proxies show is leased.
    #[must_use]
    pub fn is_learning(&self, now: Timestamp) -> bool {
        now < self.learning_until && self.introduced.len() < self.config.expected_proxies as usize
    }

    /// Records a quota, unless a newer one is known.
    pub fn set_quota(&mut self, bucket: BucketId, quota: Quota, now: Timestamp) {
        let quota = within_reason(quota);
        let known = self.quotas.entry(bucket).or_insert(quota);
        if quota.version > known.version {
            *known = quota;
        }
        let newest = *known;
        if let Some(bucket) = self.buckets.get_mut(&bucket) {
            bucket.adopt(newest, now);
        }
    }

    /// Forgets the quotas that are not in `listed`: their tables are gone.
    pub fn retain_quotas(&mut self, listed: &BTreeSet<BucketId>) {
        self.quotas.retain(|bucket, _| listed.contains(bucket));
    }

    /// Answers one entry of `proxy`'s report. None: the report is older than one already seen, or there
    /// are too many buckets.
    pub fn on_report(
        &mut self,
        proxy: ProxyId,
        session: u64,
        entry: &ReportEntry,
        now: Timestamp,
    ) -> Option<Grant> {
        let entry = entry_within_reason(entry);
        let learning = self.is_learning(now);
        if !self.buckets.contains_key(&entry.bucket) && self.buckets.len() >= MAX_BUCKETS {
            return None;
        }
        // Quotas also come with reports, so that admission goes on while the control plane is away.
        let known = self.quotas.get(&entry.bucket).copied().unwrap_or(entry.quota);
        let quota = if entry.quota.version > known.version { entry.quota } else { known };
        let bucket = self.buckets.entry(entry.bucket).or_insert_with(|| Bucket::new(quota, now));
        bucket.adopt(quota, now);
        let terms = bucket.on_report(proxy, session, &entry, self.epoch, learning, &self.config, now);
        if cfg!(debug_assertions) {
            bucket.assert_invariants();
        }
        terms
    }

    /// Counts silent proxies as their safe rate once their lease has certainly ended, and drops those
    /// that are gone, and buckets that nobody uses. To be called about once a second.
    pub fn expire(&mut self, now: Timestamp) {
        for bucket in self.buckets.values_mut() {
            bucket.expire(&self.config, now);
            if cfg!(debug_assertions) {
                bucket.assert_invariants();
            }
        }
        self.buckets.retain(|_, bucket| !bucket.is_unused());
    }

    /// What operators see of `bucket`.
    #[must_use]
    pub fn summary(&self, bucket: BucketId) -> Option<BucketSummary> {
        self.buckets.get(&bucket).map(Bucket::summary)
    }

    /// Every bucket that somebody uses, in order.
    pub fn summaries(&self) -> impl Iterator<Item = (BucketId, BucketSummary)> + '_ {
        self.buckets.iter().map(|(id, bucket)| (*id, bucket.summary()))
    }

    /// How many buckets somebody uses.
    #[must_use]
    pub fn bucket_count(&self) -> usize {
        self.buckets.len()
    }

    /// Asserts I1, I2 and the running sums of every bucket.
    ///
    /// # Panics
    /// When one does not hold.
    pub fn assert_invariants(&self) {
        self.buckets.values().for_each(Bucket::assert_invariants);
    }
}

#[cfg(test)]
mod tests;
