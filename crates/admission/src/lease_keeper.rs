//! A proxy's side of one bucket's lease: when to report, what to report, which grants to accept.

use std::time::Duration;

use units::{MilliUnits, MilliUnitsPerSecond, Timestamp};

use crate::lease::{BucketId, Grant, GrantNumber, PoolColour, Quota, ReportEntry};
use crate::token_bucket::{AtomicTokenBucket, BucketCounters, Lease};

/// No early report follows another within this.
const MIN_REPORT_GAP: Duration = Duration::from_millis(100);
/// Until a grant says otherwise.
const FIRST_INTERVAL: Duration = Duration::from_millis(200);
/// For how long a report's `need` asks: the time that an answer and the next report may take.
const NEED_HORIZON: Duration = Duration::from_secs(1);
/// An early report is worth it when the offered rate moved by more than this, in percent …
const MOVED_PERCENT: u64 = 35;
/// … and by more than this: small tables' rates jump all the time.
const MOVED_AT_LEAST: MilliUnitsPerSecond = MilliUnitsPerSecond::from_units(2);

/// Keeps one local bucket's lease.
#[derive(Clone, Debug)]
pub struct LeaseKeeper {
    bucket: BucketId,
    quota: Quota,
    accepted: GrantNumber,
    pool: PoolColour,
    interval: Duration,
    reported_at: Option<Timestamp>,
    reported: BucketCounters,
    offered_rate: MilliUnitsPerSecond,
    /// The owner waits for this: a decrease is in use, or a stream came up anew.
    awaited: bool,
}

impl LeaseKeeper {
    /// A keeper that has reported and accepted nothing yet.
    #[must_use]
    pub fn new(bucket: BucketId, quota: Quota) -> Self {
        Self {
            bucket,
            quota,
            accepted: GrantNumber::default(),
            pool: PoolColour::Unknown,
            interval: FIRST_INTERVAL,
            reported_at: None,
            reported: BucketCounters::default(),
            offered_rate: MilliUnitsPerSecond::default(),
            awaited: false,
        }
    }

    /// What a proxy may use before its first grant, when `proxies` share the quota: an equal part of the
    /// rate for `ttl`, which is also what it falls back to. All proxies together stay within the rate, and
    /// their first tokens within a quarter of a second of it (or four units each).
    #[must_use]
    pub fn first_lease(quota: Quota, proxies: u64, ttl: Duration, now: Timestamp) -> Lease {
        let part = MilliUnitsPerSecond::new(quota.rate.get() / proxies.max(1));
        let cap = crate::token_bucket::local_depth(part);
        Lease { rate: part, cap, expires: now + ttl, safe_rate: part }
    }

    /// The quota as the proxy knows it; an older version than the known one is ignored.
    pub fn learn_quota(&mut self, quota: Quota) {
        if quota.version > self.quota.version {
            self.quota = quota;
        }
    }

    /// The quota as the proxy knows it.
    #[must_use]
    pub const fn quota(&self) -> Quota {
        self.quota
    }

    /// What the last grant said about the pool.
    #[must_use]
    pub const fn pool(&self) -> PoolColour {
        self.pool
    }

    /// Whether any owner has granted anything yet.
    #[must_use]
    pub fn has_lease(&self) -> bool {
        self.accepted > GrantNumber::default()
    }

    /// Whether to report now: the interval is over, a decrease waits for its acknowledgement, or, a while
    /// after the last report, demand moved or tokens run low while the pool has some.
    #[must_use]
    pub fn is_due(&self, bucket: &AtomicTokenBucket, now: Timestamp) -> bool {
        let Some(reported_at) = self.reported_at else { return true };
        let elapsed = now.since(reported_at);
        if self.awaited || elapsed >= self.interval {
            return true;
        }
        if elapsed < MIN_REPORT_GAP {
            return false;
        }
        let counters = bucket.counters();
        let runs_low =
            bucket.level().get() < bucket.cap().get() / 4 || counters.throttled > self.reported.throttled;
        let wanted = counters.offered() > self.reported.offered();
        (self.pool != PoolColour::Dry && wanted && runs_low) || self.has_moved(counters, elapsed)
    }

    /// Reports at the next opportunity: the owner may have changed.
    pub const fn report_anew(&mut self) {
        self.awaited = true;
    }

    /// What to report; notes that it was reported.
    pub fn report(&mut self, bucket: &AtomicTokenBucket, now: Timestamp) -> ReportEntry {
        bucket.refill(now);
        let counters = bucket.counters();
        let elapsed = self.reported_at.map_or(FIRST_INTERVAL, |at| now.since(at).max(MIN_REPORT_GAP));
        self.offered_rate = rate_of(counters.offered().saturating_sub(self.reported.offered()), elapsed);
        let rate = bucket.rate_at(now);
        let entry = ReportEntry {
            bucket: self.bucket,
            admitted: counters.admitted,
            throttled: counters.throttled,
            returned: counters.returned,
            held: bucket.level(),
            need: self.need(bucket, rate),
            acknowledged: self.accepted,
            rate_in_use: rate,
            quota: self.quota,
        };
        self.reported = counters;
        self.reported_at = Some(now);
        self.awaited = false;
        entry
    }

    /// Accepts a grant if it is newer than all before it, and refills by it from `now` on. Its ttl runs
    /// from `asked_at`, when the report was sent that it answers: so it ends here before it ends at the
    /// owner, however long the answer took.
    pub fn apply(
        &mut self,
        grant: &Grant,
        bucket: &AtomicTokenBucket,
        asked_at: Timestamp,
        now: Timestamp,
    ) -> bool {
        if grant.bucket != self.bucket || !accepts_only_newer(self.accepted, grant.number) {
            return false;
        }
        self.awaited = grant.rate < bucket.rate_at(now);
        let lease = Lease {
            rate: grant.rate,
            cap: grant.cap,
            expires: asked_at + grant.ttl,
            safe_rate: grant.safe_rate,
        };
        bucket.renew(lease, grant.tokens, now);
        self.accepted = grant.number;
        self.pool = grant.pool;
        self.interval = grant.next_report;
        true
    }

    fn need(&self, bucket: &AtomicTokenBucket, rate: MilliUnitsPerSecond) -> MilliUnits {
        let wanted = self.offered_rate.earned_in(NEED_HORIZON) + bucket.debt();
        let covered = rate.earned_in(NEED_HORIZON) + bucket.level();
        // A request larger than all that the bucket could earn soon must be able to pass, too.
        let largest = bucket.take_largest_refused().saturating_sub(bucket.level());
        wanted.saturating_sub(covered).max(largest)
    }

    fn has_moved(&self, counters: BucketCounters, elapsed: Duration) -> bool {
        let offered = rate_of(counters.offered().saturating_sub(self.reported.offered()), elapsed).get();
        let before = self.offered_rate.get();
        let difference = offered.abs_diff(before);
        difference > MOVED_AT_LEAST.get()
            && difference.saturating_mul(100) > before.saturating_mul(MOVED_PERCENT)
    }
}

/// I3: a proxy accepts only a newer (epoch, sequence).
fn accepts_only_newer(accepted: GrantNumber, offered: GrantNumber) -> bool {
    offered > accepted
}

fn rate_of(amount: MilliUnits, elapsed: Duration) -> MilliUnitsPerSecond {
    let nanos = elapsed.as_nanos().max(1);
    let rate = u128::from(amount.get()) * 1_000_000_000 / nanos;
    MilliUnitsPerSecond::new(u64::try_from(rate).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use units::{Epoch, TableId};

    use super::*;
    use crate::lease::{CapacityKind, Mode};

    const TTL: Duration = Duration::from_secs(10);

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_nanos(millis * 1_000_000)
    }

    fn keeper() -> (LeaseKeeper, AtomicTokenBucket) {
        let quota = Quota::with_usual_burst(MilliUnitsPerSecond::from_units(100), 1);
        let id = BucketId::new(TableId::new(1), CapacityKind::Read);
        let bucket = AtomicTokenBucket::full(LeaseKeeper::first_lease(quota, 4, TTL, at(0)), at(0));
        (LeaseKeeper::new(id, quota), bucket)
    }

    fn grant(epoch: u64, sequence: u64, rate: u64) -> Grant {
        Grant {
            bucket: BucketId::new(TableId::new(1), CapacityKind::Read),
            number: GrantNumber { epoch: Epoch::new(epoch), sequence },
            rate: MilliUnitsPerSecond::from_units(rate),
            tokens: MilliUnits::ZERO,
            cap: MilliUnits::from_units(20),
            next_report: Duration::from_secs(1),
            ttl: TTL,
            safe_rate: MilliUnitsPerSecond::from_units(25),
            pool: PoolColour::Comfortable,
            mode: Mode::Leased,
            dry_for: Duration::ZERO,
            quota: Quota::with_usual_burst(MilliUnitsPerSecond::from_units(100), 1),
        }
    }

    #[test]
    fn a_duplicate_or_an_older_grant_changes_nothing() {
        let (mut keeper, bucket) = keeper();
        assert!(keeper.apply(&grant(1, 2, 50), &bucket, at(1), at(1)));
        assert!(!keeper.apply(&grant(1, 2, 90), &bucket, at(2), at(2)));
        assert!(!keeper.apply(&grant(1, 1, 90), &bucket, at(3), at(3)));
        assert_eq!(bucket.rate_at(at(4)), MilliUnitsPerSecond::from_units(50));
        assert!(keeper.apply(&grant(2, 1, 60), &bucket, at(5), at(5)));
    }

    #[test]
    fn a_decrease_is_acknowledged_at_once() {
        let (mut keeper, bucket) = keeper();
        keeper.report(&bucket, at(0));
        keeper.apply(&grant(1, 1, 50), &bucket, at(1), at(1));
        assert!(!keeper.is_due(&bucket, at(2)));
        keeper.apply(&grant(1, 2, 40), &bucket, at(3), at(3));
        assert!(keeper.is_due(&bucket, at(3)));
        let entry = keeper.report(&bucket, at(3));
        assert_eq!(entry.acknowledged, GrantNumber { epoch: Epoch::new(1), sequence: 2 });
        assert!(!keeper.is_due(&bucket, at(4)));
    }

    #[test]
    fn an_idle_bucket_reports_once_per_interval() {
        let (mut keeper, bucket) = keeper();
        keeper.report(&bucket, at(0));
        keeper.apply(&grant(1, 1, 50), &bucket, at(1), at(1));
        assert!(!keeper.is_due(&bucket, at(999)));
        assert!(keeper.is_due(&bucket, at(1000)));
    }

    #[test]
    fn a_refusal_brings_the_next_report_forward_unless_the_pool_is_dry() {
        let (mut keeper, bucket) = keeper();
        keeper.report(&bucket, at(0));
        keeper.apply(&grant(1, 1, 25), &bucket, at(1), at(1));
        let one = MilliUnits::from_units(1);
        let refused = (0..7).filter(|_| bucket.take(one, at(1)).is_err()).count();
        assert_eq!(refused, 1);
        assert!(!keeper.is_due(&bucket, at(99)));
        assert!(keeper.is_due(&bucket, at(100)));
        let entry = keeper.report(&bucket, at(100));
        assert!(entry.need > MilliUnits::ZERO && entry.throttled > MilliUnits::ZERO);
        keeper.apply(&Grant { pool: PoolColour::Dry, ..grant(1, 2, 25) }, &bucket, at(101), at(101));
        let refused = (0..7).filter(|_| bucket.take(one, at(150)).is_err()).count();
        assert!(refused > 0);
        assert!(!keeper.is_due(&bucket, at(205)), "the same demand, and a dry pool");
    }

    #[test]
    fn after_the_lease_the_safe_rate_is_what_is_reported() {
        let (mut keeper, bucket) = keeper();
        keeper.apply(&grant(1, 1, 80), &bucket, at(0), at(0));
        let entry = keeper.report(&bucket, at(20_000));
        assert_eq!(entry.rate_in_use, MilliUnitsPerSecond::from_units(25));
    }
}
