//! What request tasks, reporting tasks and the tick share: the buckets, and what is known of the fleet.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use ::admission::{BucketId, CapacityKind, LeaseKeeper, Level, OutagePolicy, Quota, ReportHeader, Ring};
use arc_swap::ArcSwap;
use dashmap::DashMap;
use dynamodb::table::{Outage, TableDescriptor};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use units::{Epoch, MilliUnits, MilliUnitsPerSecond, TableId, Timestamp};
use wire::clock;
use wire::proto::gac;
use wire::transport::CallError;

use super::AdmissionConfig;
use super::described::Described;
use super::known_levels::KnownLevels;
use super::local_bucket::{LocalBucket, NewBucket};
use super::metrics::AdmissionMetrics;
use super::owners::{Link, MAX_SERVERS, Owners};
use super::principals::Principals;
use super::refusal_log::RefusalLog;
use super::reporter;

/// How long a server's word of the fleet's size holds against lower ones: a lease's time and a margin.
const FLEET_HOLDS: Duration = Duration::from_secs(12);

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: AdmissionConfig,
    /// Counters are cumulative within it; the wall clock makes it grow with every start.
    session: u64,
    pub(super) owners: ArcSwap<Owners>,
    /// Rings are taken in one after the other.
    moving: Mutex<()>,
    /// Live proxies: the most that a server said lately.
    pub(super) fleet: AtomicU32,
    /// When that was said last.
    fleet_said_at: AtomicU64,
    /// Requests that wait for grants, of all buckets.
    pub(super) waiting: AtomicUsize,
    pub(super) levels: ArcSwap<KnownLevels>,
    /// Levels are being fetched.
    fetching: AtomicBool,
    pub(super) buckets: DashMap<BucketId, Arc<LocalBucket>, foldhash::fast::RandomState>,
    pub(super) principals: Principals,
    pub(super) refusals: RefusalLog,
    pub(super) metrics: AdmissionMetrics,
    pub(super) tasks: TaskTracker,
    pub(super) shutdown: CancellationToken,
}

impl Shared {
    pub(super) fn new(config: AdmissionConfig, shutdown: &CancellationToken) -> Self {
        let now = clock::now();
        Self {
            owners: ArcSwap::from_pointee(Owners::configured(&config.servers, now)),
            config,
            session: clock::unix_now().get(),
            moving: Mutex::default(),
            fleet: AtomicU32::new(0),
            fleet_said_at: AtomicU64::new(0),
            waiting: AtomicUsize::new(0),
            levels: ArcSwap::default(),
            fetching: AtomicBool::new(false),
            buckets: DashMap::default(),
            principals: Principals::new(now),
            refusals: RefusalLog::default(),
            metrics: AdmissionMetrics::new(),
            tasks: TaskTracker::new(),
            shutdown: shutdown.clone(),
        }
    }

    /// What stands above every report's entries.
    pub(super) fn report_header(&self) -> ReportHeader {
        ReportHeader {
            proxy: self.config.proxy,
            session: self.session,
            fleet: self.fleet.load(Ordering::Relaxed),
            ring: self.owners.load().ring.epoch(),
            leaving: false,
            // The clock's origin is the process's start, or earlier: only differences count.
            session_age: clock::now().since(Timestamp::default()),
        }
    }

    /// Proxies in the fleet, as far as this one knows; at least one.
    pub(super) fn proxies(&self) -> u32 {
        self.fleet.load(Ordering::Relaxed).max(self.config.expected_proxies).max(1)
    }

    pub(super) fn table_bucket(
        &self,
        table: &TableDescriptor,
        kind: CapacityKind,
        now: Timestamp,
    ) -> Arc<LocalBucket> {
        let id = BucketId::new(TableId::new(table.id), kind);
        let bucket = self.bucket(id, now, || {
            let described = Described::of(table, kind);
            (Arc::clone(&described.name), Some(Arc::new(described)), quota_of(table, kind))
        });
        if bucket.knows_older_than(table.version) {
            bucket.learn(Described::of(table, kind), quota_of(table, kind));
            self.urge(&bucket);
        }
        bucket
    }

    /// The table's share of the account. Its quota is its owner's to divide; until that has spoken, the
    /// table's own is the most that the share can be worth.
    pub(super) fn account_share(
        &self,
        table: &TableDescriptor,
        kind: CapacityKind,
        now: Timestamp,
    ) -> Arc<LocalBucket> {
        let id = BucketId::at(Level::AccountShare, table.id, kind);
        self.bucket(id, now, || {
            // Nothing of it may be used without asking: nobody keeps that reserved.
            let burst = MilliUnits::ZERO;
            let quota = Quota { burst, version: 0, shadow: false, ..quota_of(table, kind) };
            (table.name.as_str().into(), None, quota)
        })
    }

    /// The bucket; it is made when it is used for the first time.
    pub(super) fn bucket(
        &self,
        id: BucketId,
        now: Timestamp,
        new: impl FnOnce() -> (Arc<str>, Option<Arc<Described>>, Quota),
    ) -> Arc<LocalBucket> {
        if let Some(bucket) = self.buckets.get(&id) {
            return Arc::clone(&bucket);
        }
        let (subject, described, quota) = new();
        // No owner can reserve anything of a share whose quota no proxy can know.
        let known = if id.level() == Level::AccountShare { UNKNOWN_QUOTA } else { quota };
        let lease = LeaseKeeper::first_lease(known, self.proxies(), now);
        let owner = self.owners.load().of(id).cloned();
        let new = NewBucket { id, subject, described, quota, lease, owner };
        let bucket =
            Arc::clone(&self.buckets.entry(id).or_insert_with(|| Arc::new(LocalBucket::new(new, now))));
        // The ring may have moved since the owner was looked up.
        bucket.move_to(self.owners.load().of(id));
        if bucket.tend(self.proxies(), now) {
            self.urge(&bucket);
        }
        bucket
    }

    /// Asks for an early report.
    pub(super) fn urge(&self, bucket: &Arc<LocalBucket>) {
        if bucket.becomes_urgent() {
            match bucket.owner() {
                Some(owner) => owner.urge(Arc::clone(bucket)),
                None => bucket.is_no_longer_urgent(),
            }
        }
    }

    pub(super) fn owned_by(&self, link: &Arc<Link>) -> Vec<Arc<LocalBucket>> {
        let mine = self.buckets.iter().filter(|bucket| bucket.is_owned_by(link));
        mine.map(|bucket| Arc::clone(&bucket)).collect()
    }

    pub(super) fn report_to(self: &Arc<Self>, link: &Arc<Link>) {
        self.tasks.spawn(reporter::run(Arc::clone(self), Arc::clone(link), self.shutdown.clone()));
    }

    /// A server that has just restarted has heard of few proxies yet: a lower number is believed once
    /// nobody has said a higher one for as long as leases hold.
    pub(super) fn learn_fleet(&self, fleet: u32, now: Timestamp) {
        let said_at = Timestamp::from_nanos(self.fleet_said_at.load(Ordering::Relaxed));
        let known = self.fleet.load(Ordering::Relaxed);
        if fleet > 0 && (fleet >= known || now.since(said_at) > FLEET_HOLDS) {
            self.fleet.store(fleet, Ordering::Relaxed);
            self.fleet_said_at.store(now.as_nanos(), Ordering::Relaxed);
            self.metrics.fleet.set(f64::from(fleet));
        }
    }

    /// Takes in a ring, if it is newer: connects to its new servers, leaves those that are not in it, and
    /// reports moved buckets to their new owners. Whether it was newer.
    pub(super) fn learn_ring(self: &Arc<Self>, epoch: u64, servers: &[String]) -> bool {
        let epoch = Epoch::new(epoch);
        let believable = !servers.is_empty() && servers.len() <= MAX_SERVERS;
        if !believable || epoch <= self.owners.load().ring.epoch() {
            return false;
        }
        let _one_at_a_time = self.moving.lock();
        let before = self.owners.load_full();
        if epoch <= before.ring.epoch() {
            return false;
        }
        let after = Arc::new(before.moved_to(Ring::new(epoch, servers.iter().cloned()), clock::now()));
        self.owners.store(Arc::clone(&after));
        let is_in = |links: &[Arc<Link>], link: &Arc<Link>| links.iter().any(|it| Arc::ptr_eq(it, link));
        after.links.iter().filter(|link| !is_in(&before.links, link)).for_each(|link| self.report_to(link));
        for bucket in &self.buckets {
            if bucket.move_to(after.of(bucket.id)) {
                self.urge(&bucket);
            }
        }
        before.links.iter().filter(|link| !is_in(&after.links, link)).for_each(|link| link.gone.cancel());
        tracing::info!(%epoch, servers = after.links.len(), "the ring of GAC servers has moved");
        #[expect(clippy::cast_precision_loss, reason = "only shown")]
        self.metrics.ring_epoch.set(epoch.get() as f64);
        true
    }

    /// Whether to fetch the levels: somebody knows newer ones, and nobody is fetching.
    pub(super) fn wants_levels(&self, version: u64) -> bool {
        version > self.levels.load().version && !self.fetching.swap(true, Ordering::Relaxed)
    }

    pub(super) fn learn_levels(&self, levels: Result<gac::Levels, CallError>) {
        self.fetching.store(false, Ordering::Relaxed);
        match levels {
            Ok(levels) if levels.version > self.levels.load().version => {
                tracing::info!(
                    version = levels.version,
                    principals = levels.principals.len(),
                    "levels learned"
                );
                self.levels.store(Arc::new(KnownLevels::read(levels)));
            }
            Ok(_) => {}
            // The next answer names the version again.
            Err(error) => tracing::debug!(%error, "levels not learned"),
        }
    }
}

/// The quota of a level that is only known to have one: until its owner tells it, nothing is admitted
/// without asking, and while nobody can be asked, the table's quota is what limits.
pub(super) const UNKNOWN_QUOTA: Quota = Quota {
    rate: MilliUnitsPerSecond::new(0),
    burst: MilliUnits::ZERO,
    version: 0,
    outage: OutagePolicy::Open,
    shadow: false,
};

/// The table's quota in force, as its descriptor says.
pub(super) fn quota_of(table: &TableDescriptor, kind: CapacityKind) -> Quota {
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
