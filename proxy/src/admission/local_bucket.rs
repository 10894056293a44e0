//! One bucket at this proxy: its tokens, the keeper of its lease, and who waits for its next grant.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use ::admission::{
    AtomicTokenBucket, BucketId, Contact, Grant, Lease, LeaseKeeper, Level, Mode, PoolColour, Quota,
    ReportEntry,
};
use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use tokio::sync::Notify;
use units::{MilliUnits, Timestamp};

use super::described::Described;
use super::explanation::Layer;
use super::meter::Meter;
use super::owners::Link;
use super::refusal_log::LevelRecord;

/// A bucket that nobody used for so long is reported no more: its lease runs out, and it keeps its safe
/// rate.
const REPORTED_FOR: Duration = Duration::from_secs(60);
/// Once it has not been reported for longer than any owner's memory of silent proxies (10 min at most), it
/// is forgotten: its counters start at 0 again when it comes back, which only a new share at the owner
/// takes.
const REMEMBERED_FOR: Duration = Duration::from_secs(60 + 11 * 60);
/// What a grant said about the pool holds for so long: the interval of reports while there is contention.
const COLOUR_HOLDS: Duration = Duration::from_secs(1);
/// Requests that may wait for one bucket's next grant.
const MAX_WAITING: usize = 64;
/// Requests that may wait for any: a quarter of what a proxy works on at a time by default, so that tables
/// that are short of tokens do not take the places of those that are not.
const MAX_WAITING_IN_ALL: usize = 256;

/// Used by request tasks without a lock; the keeper belongs to the reporting task, and is locked by
/// others only when a quota changed, and once a tenth of a second.
#[derive(Debug)]
pub(super) struct LocalBucket {
    pub(super) id: BucketId,
    pub(super) tokens: AtomicTokenBucket,
    /// A table's traffic, for `weir top`.
    pub(super) meter: Meter,
    /// Whose quota it is: the table's or the principal's name.
    subject: Arc<str>,
    /// The table as its refusals name it; none at other levels.
    described: ArcSwapOption<Described>,
    owner: ArcSwapOption<Link>,
    keeper: Mutex<LeaseKeeper>,
    /// The quota in force, as far as this proxy knows.
    quota: Mutex<Quota>,
    /// Of the table's description.
    version: AtomicU64,
    shadow: AtomicBool,
    pool: AtomicU8,
    mode: AtomicU8,
    /// It is in the urgent list of its owner's link.
    urgent: AtomicBool,
    /// A report of it is under way.
    in_flight: AtomicBool,
    used_at: AtomicU64,
    /// 0: never.
    granted_at: AtomicU64,
    /// Nobody answers: it refills at its part of the quota.
    falls_back: AtomicBool,
    /// As the keeper's: the owner knows what is wanted here, and leased less.
    is_overbooked: AtomicBool,
    granted: Notify,
    waiting: AtomicUsize,
}

/// What a bucket is made with.
#[derive(Debug)]
pub(super) struct NewBucket {
    pub(super) id: BucketId,
    pub(super) subject: Arc<str>,
    pub(super) described: Option<Arc<Described>>,
    pub(super) quota: Quota,
    pub(super) lease: Lease,
    pub(super) owner: Option<Arc<Link>>,
}

/// A request's place among those that wait for a bucket's next grant.
#[derive(Debug)]
pub(super) struct Place<'a> {
    bucket: &'a LocalBucket,
    needs: MilliUnits,
    admitted: AtomicBool,
    /// How many wait, whatever for.
    all: &'a AtomicUsize,
}

impl Place<'_> {
    /// The next grant, from when this was called.
    pub(super) fn granted(&self) -> tokio::sync::futures::Notified<'_> {
        self.bucket.granted.notified()
    }

    /// The wait was worth it: the first attempt was no refusal.
    pub(super) fn admitted(&self) {
        self.admitted.store(true, Ordering::Relaxed);
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if self.admitted.load(Ordering::Relaxed) {
            self.bucket.tokens.stop_waiting_admitted(self.needs);
        } else {
            self.bucket.tokens.stop_waiting(self.needs);
        }
        self.bucket.waiting.fetch_sub(1, Ordering::Relaxed);
        self.all.fetch_sub(1, Ordering::Relaxed);
    }
}

impl LocalBucket {
    pub(super) fn new(new: NewBucket, now: Timestamp) -> Self {
        let NewBucket { id, subject, described, quota, lease, owner } = new;
        let bucket = Self {
            id,
            tokens: AtomicTokenBucket::full(lease, now),
            meter: Meter::default(),
            subject,
            version: AtomicU64::new(described.as_ref().map_or(0, |table| table.version)),
            described: ArcSwapOption::new(described),
            owner: ArcSwapOption::new(owner),
            keeper: Mutex::new(LeaseKeeper::new(id, quota)),
            quota: Mutex::new(quota),
            shadow: AtomicBool::new(quota.shadow),
            pool: AtomicU8::new(PoolColour::Unknown as u8),
            mode: AtomicU8::new(Mode::Untracked as u8),
            urgent: AtomicBool::new(false),
            in_flight: AtomicBool::new(false),
            used_at: AtomicU64::new(now.as_nanos()),
            granted_at: AtomicU64::new(0),
            falls_back: AtomicBool::new(false),
            is_overbooked: AtomicBool::new(false),
            granted: Notify::new(),
            waiting: AtomicUsize::new(0),
        };
        // From nothing: what is counted until the first second is over shows in it.
        bucket.meter.tick(now);
        bucket
    }

    pub(super) const fn layer(&self) -> Layer {
        match self.id.level() {
            Level::Table => Layer::Table,
            Level::AccountShare => Layer::Account,
            Level::Principal => Layer::Principal,
            Level::Index => Layer::Index,
        }
    }

    pub(super) fn subject(&self) -> &Arc<str> {
        &self.subject
    }

    pub(super) fn described(&self) -> Arc<Described> {
        self.described.load_full().expect("a request's first level is its table's")
    }

    pub(super) fn knows_older_than(&self, version: u64) -> bool {
        self.version.load(Ordering::Relaxed) < version
    }

    /// Takes in a newer description of the table.
    pub(super) fn learn(&self, described: Described, quota: Quota) {
        let version = described.version;
        self.described.store(Some(Arc::new(described)));
        self.keeper.lock().learn_quota(quota);
        self.enforce(quota);
        self.version.fetch_max(version, Ordering::Relaxed);
    }

    /// The quota in force.
    pub(super) fn quota(&self) -> Quota {
        *self.quota.lock()
    }

    fn enforce(&self, quota: Quota) {
        let mut known = self.quota.lock();
        if quota.version >= known.version {
            *known = quota;
            // A principal's quota that even its owner was not told yet, for it has restarted while the control
            // plane is away: until then it counts, and refuses nobody for what nobody knows.
            let unknown = self.id.level() == Level::Principal && quota.version == 0;
            self.shadow.store(quota.shadow || unknown, Ordering::Relaxed);
        }
    }

    pub(super) fn is_shadow(&self) -> bool {
        self.shadow.load(Ordering::Relaxed)
    }

    pub(super) fn owner(&self) -> Option<Arc<Link>> {
        self.owner.load_full()
    }

    pub(super) fn is_owned_by(&self, link: &Arc<Link>) -> bool {
        self.owner.load().as_ref().is_some_and(|owner| Arc::ptr_eq(owner, link))
    }

    /// Reports to `owner` from now on, and soon. False: it does so already.
    pub(super) fn move_to(&self, owner: Option<&Arc<Link>>) -> bool {
        let known = self.owner.load();
        let same = match (known.as_ref(), owner) {
            (Some(known), Some(owner)) => Arc::ptr_eq(known, owner),
            (None, None) => true,
            _ => false,
        };
        if !same {
            self.owner.store(owner.cloned());
            self.urgent.store(false, Ordering::Relaxed);
            // What is under way to the old owner is of no interest any more.
            self.in_flight.store(false, Ordering::Relaxed);
            self.report_anew();
        }
        !same
    }

    pub(super) fn used(&self, now: Timestamp) {
        // Most requests find it stored already: two processors then share the line unwritten.
        let coarse = now.as_nanos() & !0x3FF_FFFF;
        if self.used_at.load(Ordering::Relaxed) < coarse {
            self.used_at.store(now.as_nanos(), Ordering::Relaxed);
        }
    }

    pub(super) fn pool(&self) -> PoolColour {
        match self.pool.load(Ordering::Relaxed) {
            1 => PoolColour::Comfortable,
            2 => PoolColour::Scarce,
            3 => PoolColour::Dry,
            _ => PoolColour::Unknown,
        }
    }

    pub(super) fn mode(&self) -> Mode {
        match self.mode.load(Ordering::Relaxed) {
            mode if mode == Mode::Untracked as u8 => Mode::Untracked,
            mode if mode == Mode::Direct as u8 => Mode::Direct,
            _ => Mode::Leased,
        }
    }

    /// How long the owner has said that nothing will be there.
    pub(super) fn dry_for(&self, now: Timestamp) -> Duration {
        self.tokens.dry_until().since(now)
    }

    /// A place to wait in for the next grant, unless that will bring nothing or too many wait: nobody can
    /// be asked, or the pool is known to be dry, and the lease is about the equal part of one of `proxies`
    /// already. `all`: how many wait, whatever for.
    pub(super) fn place<'a>(
        &'a self,
        needs: MilliUnits,
        proxies: u32,
        all: &'a AtomicUsize,
        now: Timestamp,
    ) -> Option<Place<'a>> {
        if self.is_hopeless(proxies, now) || !self.tokens.wait_for(needs, now) {
            return None;
        }
        // Given back also when it was one too many.
        let place = Place { bucket: self, needs, admitted: AtomicBool::new(false), all };
        let here = self.waiting.fetch_add(1, Ordering::Relaxed);
        let everywhere = all.fetch_add(1, Ordering::Relaxed);
        (here < MAX_WAITING && everywhere < MAX_WAITING_IN_ALL).then_some(place)
    }

    fn is_hopeless(&self, proxies: u32, now: Timestamp) -> bool {
        let can_ask = self.owner.load().as_ref().is_some_and(|owner| owner.can_be_asked(now));
        if !can_ask || self.falls_back.load(Ordering::Relaxed) {
            return true;
        }
        if self.mode() == Mode::Direct {
            return false;
        }
        let is_fresh = now.since(self.granted_at()) <= COLOUR_HOLDS;
        if is_fresh && self.is_overbooked.load(Ordering::Relaxed) {
            return true;
        }
        match self.pool() {
            PoolColour::Unknown | PoolColour::Comfortable | PoolColour::Scarce => false,
            PoolColour::Dry => {
                let part = self.quota().rate.get() / u64::from(proxies.max(1));
                let has_its_part = self.tokens.rate_at(now).get() >= part / 10 * 9;
                has_its_part && is_fresh
            }
        }
    }

    /// Whether another attempt is worth its while: a failed one counts as refused.
    pub(super) fn may_cover(&self, cost: MilliUnits, now: Timestamp) -> bool {
        self.tokens.refill(now);
        self.is_shadow() || self.tokens.level() >= cost.min(self.tokens.cap()).max(MilliUnits::new(1))
    }

    /// True once, until the next report.
    pub(super) fn becomes_urgent(&self) -> bool {
        !self.urgent.load(Ordering::Relaxed) && !self.urgent.swap(true, Ordering::Relaxed)
    }

    pub(super) fn is_urgent(&self) -> bool {
        self.urgent.load(Ordering::Relaxed)
    }

    pub(super) fn is_no_longer_urgent(&self) {
        self.urgent.store(false, Ordering::Relaxed);
    }

    /// Whether to report it now. One report of it is under way at a time.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        !self.in_flight.load(Ordering::Relaxed)
            && self.is_in_use(now)
            && self.keeper.lock().is_due(&self.tokens, now)
    }

    /// Looks after a lease that has run out. Whether to report it now.
    pub(super) fn tend(&self, fleet: u32, now: Timestamp) -> bool {
        let heard_at = self.owner.load().as_ref().map_or(Timestamp::default(), |owner| owner.heard_at());
        let mut keeper = self.keeper.lock();
        keeper.tend(&self.tokens, Contact { heard_at, fleet }, now);
        self.falls_back.store(keeper.falls_back(), Ordering::Relaxed);
        !self.in_flight.load(Ordering::Relaxed) && self.is_in_use(now) && keeper.is_due(&self.tokens, now)
    }

    /// Whether little is left of what it may hold.
    pub(super) fn runs_low(&self) -> bool {
        self.tokens.level().get() < self.tokens.cap().get() / 4
    }

    /// What to report, if it is time.
    pub(super) fn report_if_due(&self, now: Timestamp) -> Option<ReportEntry> {
        if !self.is_due(now) || self.in_flight.swap(true, Ordering::Relaxed) {
            return None;
        }
        Some(self.report(now))
    }

    fn report(&self, now: Timestamp) -> ReportEntry {
        // Before the levels are read: what runs low after this is urgent again.
        self.urgent.store(false, Ordering::Relaxed);
        self.keeper.lock().report(&self.tokens, now)
    }

    /// The last report: everything that it holds goes home, and nothing is admitted any more.
    pub(super) fn leave(&self, now: Timestamp) -> ReportEntry {
        self.keeper.lock().leave(&self.tokens, now)
    }

    /// The report was answered, or lost.
    pub(super) fn landed(&self) {
        self.in_flight.store(false, Ordering::Relaxed);
    }

    /// The last report was lost, or the owner may have changed.
    pub(super) fn report_anew(&self) {
        self.keeper.lock().report_anew();
    }

    pub(super) fn apply(&self, grant: &Grant, asked_at: Timestamp, now: Timestamp) -> bool {
        let mut keeper = self.keeper.lock();
        let accepted = keeper.apply(grant, &self.tokens, asked_at, now);
        let is_overbooked = keeper.is_overbooked();
        drop(keeper);
        if accepted {
            self.is_overbooked.store(is_overbooked, Ordering::Relaxed);
            self.pool.store(grant.pool as u8, Ordering::Relaxed);
            self.mode.store(grant.mode as u8, Ordering::Relaxed);
            self.falls_back.store(false, Ordering::Relaxed);
            self.granted_at.store(now.as_nanos(), Ordering::Relaxed);
            self.enforce(grant.quota);
            self.granted.notify_waiters();
        }
        accepted
    }

    /// Whether any owner has granted anything yet.
    pub(super) fn was_granted(&self) -> bool {
        self.granted_at.load(Ordering::Relaxed) > 0
    }

    pub(super) fn is_forgotten(&self, now: Timestamp) -> bool {
        now.since(self.last_used()) > REMEMBERED_FOR
    }

    /// Whether it was used lately: an idle bucket's lease is nobody's concern.
    pub(super) fn is_in_use(&self, now: Timestamp) -> bool {
        now.since(self.last_used()) <= REPORTED_FOR
    }

    /// Since its last grant; none: there was none yet.
    pub(super) fn lease_age(&self, now: Timestamp) -> Option<Duration> {
        self.was_granted().then(|| now.since(self.granted_at()))
    }

    /// As a refused request found it.
    pub(super) fn record(&self, refused: bool, now: Timestamp) -> LevelRecord {
        LevelRecord {
            layer: self.layer(),
            subject: Arc::clone(&self.subject),
            refused,
            quota: self.quota(),
            level: self.tokens.level(),
            debt: self.tokens.debt(),
            cap: self.tokens.cap(),
            rate: self.tokens.rate_at(now),
            lease_age: self.lease_age(now),
            lease_expired: self.falls_back.load(Ordering::Relaxed)
                || (self.was_granted() && now > self.tokens.lease_expires()),
            mode: self.mode(),
            pool: self.pool(),
        }
    }

    fn granted_at(&self) -> Timestamp {
        Timestamp::from_nanos(self.granted_at.load(Ordering::Relaxed))
    }

    fn last_used(&self) -> Timestamp {
        Timestamp::from_nanos(self.used_at.load(Ordering::Relaxed))
    }
}
