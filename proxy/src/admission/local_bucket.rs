//! One bucket at this proxy: its tokens, and the keeper of its lease.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use ::admission::{AtomicTokenBucket, BucketId, Grant, Lease, LeaseKeeper, PoolColour, Quota, ReportEntry};
use parking_lot::Mutex;
use tokio::sync::Notify;
use units::{MilliUnitsPerSecond, Timestamp};

/// A bucket that nobody used for so long is reported no more: its lease runs out, and it keeps its safe
/// rate.
const REPORTED_FOR: Duration = Duration::from_secs(60);
/// Once it has not been reported for longer than the owner's memory of silent proxies (10 min), it is
/// forgotten: its counters start at 0 again when it comes back, which only a new share at the owner takes.
const REMEMBERED_FOR: Duration = Duration::from_secs(60 + 11 * 60);
/// What a grant said about the pool holds for so long: the interval of reports while there is contention.
const COLOUR_HOLDS: Duration = Duration::from_secs(1);
/// Requests that may wait for one bucket's next grant.
const MAX_WAITING: usize = 64;

/// Used by request tasks without a lock; the keeper belongs to the reporting task, and is locked by
/// others only when a table's description changed.
#[derive(Debug)]
pub(super) struct LocalBucket {
    pub(super) id: BucketId,
    pub(super) tokens: AtomicTokenBucket,
    /// Index of the owner among the ring's servers.
    pub(super) server: Option<usize>,
    keeper: Mutex<LeaseKeeper>,
    quota_version: AtomicU64,
    pool: AtomicU8,
    urgent: AtomicBool,
    used_at: AtomicU64,
    granted_at: AtomicU64,
    granted: Notify,
    waiting: AtomicUsize,
}

/// A request's place among those that wait for a bucket's next grant.
#[derive(Debug)]
pub(super) struct Place<'a>(&'a LocalBucket);

impl Place<'_> {
    pub(super) async fn granted(&self) {
        self.0.granted.notified().await;
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl LocalBucket {
    pub(super) fn new(
        id: BucketId,
        quota: Quota,
        lease: Lease,
        server: Option<usize>,
        now: Timestamp,
    ) -> Self {
        Self {
            id,
            tokens: AtomicTokenBucket::full(lease, now),
            server,
            keeper: Mutex::new(LeaseKeeper::new(id, quota)),
            quota_version: AtomicU64::new(quota.version),
            pool: AtomicU8::new(PoolColour::Unknown as u8),
            urgent: AtomicBool::new(false),
            used_at: AtomicU64::new(now.as_nanos()),
            granted_at: AtomicU64::new(now.as_nanos()),
            granted: Notify::new(),
            waiting: AtomicUsize::new(0),
        }
    }

    pub(super) fn knows_older_than(&self, version: u64) -> bool {
        self.quota_version.load(Ordering::Relaxed) < version
    }

    pub(super) fn learn(&self, quota: Quota) {
        let mut keeper = self.keeper.lock();
        keeper.learn_quota(quota);
        keeper.report_anew();
        drop(keeper);
        self.quota_version.fetch_max(quota.version, Ordering::Relaxed);
    }

    pub(super) fn used(&self, now: Timestamp) {
        self.used_at.store(now.as_nanos(), Ordering::Relaxed);
    }

    pub(super) fn pool(&self) -> PoolColour {
        match self.pool.load(Ordering::Relaxed) {
            1 => PoolColour::Comfortable,
            2 => PoolColour::Scarce,
            3 => PoolColour::Dry,
            _ => PoolColour::Unknown,
        }
    }

    /// A place to wait in for the next grant, unless that will bring nothing or too many wait: the pool
    /// is known to be dry, and the lease is about the `fair` part of the quota already.
    pub(super) fn place(&self, fair: MilliUnitsPerSecond, now: Timestamp) -> Option<Place<'_>> {
        let granted_at = Timestamp::from_nanos(self.granted_at.load(Ordering::Relaxed));
        let hopeless = match self.pool() {
            PoolColour::Comfortable | PoolColour::Scarce => false,
            PoolColour::Dry => {
                let has_its_part = self.tokens.rate_at(now).get() >= fair.get() / 10 * 9;
                has_its_part && now.since(granted_at) <= COLOUR_HOLDS
            }
            // The first grant comes from an empty pool.
            PoolColour::Unknown => true,
        };
        if hopeless {
            return None;
        }
        // Given back also when it was one too many.
        let place = Place(self);
        (self.waiting.fetch_add(1, Ordering::Relaxed) < MAX_WAITING).then_some(place)
    }

    /// True once, until the next report.
    pub(super) fn becomes_urgent(&self) -> bool {
        !self.urgent.load(Ordering::Relaxed) && !self.urgent.swap(true, Ordering::Relaxed)
    }

    /// What to report, if it is time.
    pub(super) fn report_if_due(&self, now: Timestamp) -> Option<ReportEntry> {
        if now.since(self.last_used()) > REPORTED_FOR {
            return None;
        }
        let mut keeper = self.keeper.lock();
        if !keeper.is_due(&self.tokens, now) {
            return None;
        }
        // Before the levels are read: what runs low after this is urgent again.
        self.urgent.store(false, Ordering::Relaxed);
        Some(keeper.report(&self.tokens, now))
    }

    /// The last report was lost, or the owner may have changed.
    pub(super) fn report_anew(&self) {
        self.keeper.lock().report_anew();
    }

    pub(super) fn apply(&self, grant: &Grant, asked_at: Timestamp, now: Timestamp) -> bool {
        let accepted = self.keeper.lock().apply(grant, &self.tokens, asked_at, now);
        if accepted {
            self.pool.store(grant.pool as u8, Ordering::Relaxed);
            self.granted_at.store(now.as_nanos(), Ordering::Relaxed);
            self.granted.notify_waiters();
        }
        accepted
    }

    pub(super) fn is_forgotten(&self, now: Timestamp) -> bool {
        now.since(self.last_used()) > REMEMBERED_FOR
    }

    /// How old the lease of a bucket in use is; an idle one's does not count.
    pub(super) fn lease_age(&self, now: Timestamp) -> Duration {
        if now.since(self.last_used()) > REPORTED_FOR {
            return Duration::ZERO;
        }
        now.since(Timestamp::from_nanos(self.granted_at.load(Ordering::Relaxed)))
    }

    fn last_used(&self) -> Timestamp {
        Timestamp::from_nanos(self.used_at.load(Ordering::Relaxed))
    }
}
