//! A proxy's side of one bucket's lease: when to report, what to report, which grants to accept, and what
//! to use when nobody answers.

use std::time::Duration;

use units::{MilliUnits, MilliUnitsPerSecond, Timestamp};

use crate::allocator::certainly_ended;
use crate::allowance::Allowance;
use crate::lease::{BucketId, Grant, GrantNumber, Level, Mode, OutagePolicy, PoolColour, Quota, ReportEntry};
use crate::token_bucket::{AtomicTokenBucket, BucketCounters, Lease, local_depth};

/// No early report follows another within this.
const MIN_REPORT_GAP: Duration = Duration::from_millis(100);
/// While the owner leases less than it knows to be wanted, asking for more follows the last report only after
/// this: a third of the messages, and a quota that was raised is still used within a second.
const OVERBOOKED_GAP: Duration = Duration::from_millis(300);
/// Until a grant says otherwise.
const FIRST_INTERVAL: Duration = Duration::from_millis(200);
/// For how long a report's `need` asks: the time that an answer and the next report may take.
const NEED_HORIZON: Duration = Duration::from_secs(1);
/// An early report is worth it when the offered rate moved by more than this, in percent …
const MOVED_PERCENT: u64 = 35;
/// … and by more than this: small tables' rates jump all the time.
const MOVED_AT_LEAST: MilliUnitsPerSecond = MilliUnitsPerSecond::from_units(2);
/// How long a lease may hold that no grant has named yet: the usual one.
const USUAL_TTL: Duration = Duration::from_secs(10);
/// A lease that was not renewed for so long is given up, although the owner is there: before the owner
/// forgets it.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(60);
/// In direct mode a proxy that has nothing to ask reports only so often.
const DIRECT_INTERVAL: Duration = Duration::from_secs(30);
/// A report that was not answered within this was lost.
const ANSWERED_WITHIN: Duration = Duration::from_secs(1);
/// A report is read within this, or comes too late to be acted upon.
const REPORT_TRAVELS: Duration = Duration::from_secs(1);
/// A rate and a cap without end: the outage policy `open`.
const UNLIMITED: u64 = 1_000_000_000_000;

/// What a proxy knows of a bucket's owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contact {
    /// When the last message was sent that the owner answered, whatever it said; when the proxy began to
    /// ask it, if it never has.
    pub heard_at: Timestamp,
    /// Proxies in the fleet: the configured number, or what an owner last said, if that is more.
    pub fleet: u32,
}

/// Keeps one local bucket's lease.
#[derive(Clone, Debug)]
pub struct LeaseKeeper {
    bucket: BucketId,
    quota: Quota,
    accepted: GrantNumber,
    mode: Mode,
    pool: PoolColour,
    interval: Duration,
    ttl: Duration,
    reported_at: Option<Timestamp>,
    granted_at: Timestamp,
    reported: BucketCounters,
    offered_rate: MilliUnitsPerSecond,
    /// The last grant was for clearly less than what it knew to be wanted, and the pool had little.
    is_overbooked: bool,
    /// The owner waits for this: a decrease is in use, or a stream came up anew.
    awaited: bool,
    /// What the owner counts for this proxy once it is out of reach.
    safe_rate: MilliUnitsPerSecond,
    /// A report is under way: in direct mode one at a time.
    asking: bool,
    /// Nobody answers: it refills at its part of the quota.
    falls_back: bool,
    /// When it will do so, and at what rate, unless somebody answers.
    falls_back_at: Timestamp,
    fallback: MilliUnitsPerSecond,
    leaving: bool,
}

impl LeaseKeeper {
    /// A keeper that has reported and accepted nothing yet.
    #[must_use]
    pub const fn new(bucket: BucketId, quota: Quota) -> Self {
        Self {
            bucket,
            quota,
            accepted: GrantNumber { epoch: units::Epoch::new(0), sequence: 0 },
            mode: Mode::Untracked,
            pool: PoolColour::Unknown,
            interval: FIRST_INTERVAL,
            ttl: USUAL_TTL,
            reported_at: None,
            granted_at: Timestamp::from_nanos(0),
            reported: BucketCounters {
                admitted: MilliUnits::ZERO,
                throttled: MilliUnits::ZERO,
                returned: MilliUnits::ZERO,
            },
            offered_rate: MilliUnitsPerSecond::new(0),
            is_overbooked: false,
            awaited: false,
            safe_rate: MilliUnitsPerSecond::new(0),
            asking: false,
            falls_back: false,
            falls_back_at: Timestamp::from_nanos(u64::MAX),
            fallback: MilliUnitsPerSecond::new(0),
            leaving: false,
        }
    }

    /// What a member of a fleet of `proxies` may use before its first grant: the allowance that the owner
    /// reserves for everybody.
    #[must_use]
    pub fn first_lease(quota: Quota, proxies: u32, now: Timestamp) -> Lease {
        let Allowance { rate, depth } = Allowance::base(quota, proxies);
        Lease { rate, cap: depth, expires: now, safe_rate: rate }
    }

    /// The quota as the proxy knows it; an older version than the known one is ignored.
    pub fn learn_quota(&mut self, quota: Quota) {
        if quota.version > self.quota.version {
            self.quota = quota;
            self.awaited = true;
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

    /// How tokens reach the bucket.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// The newest grant.
    #[must_use]
    pub const fn accepted(&self) -> GrantNumber {
        self.accepted
    }

    /// Whether any owner has granted anything yet.
    #[must_use]
    pub fn has_lease(&self) -> bool {
        self.accepted > GrantNumber::default()
    }

    /// Whether the owner, knowing what is wanted here, leased clearly less and had no tokens to spare: asking
    /// again soon brings nothing, so a request that is short of tokens need not wait for the answer.
    #[must_use]
    pub const fn is_overbooked(&self) -> bool {
        self.is_overbooked
    }

    /// Whether nobody answers, so that it refills at its part of the quota.
    #[must_use]
    pub const fn falls_back(&self) -> bool {
        self.falls_back
    }

    /// Looks after a lease that has run out; to be called every tenth of a second or so, and before
    /// [`Self::is_due`]. While the owner answers somebody, the bucket waits for its grant with what is
    /// certainly its own; when the owner has been silent for longer than any lease, the quota's outage
    /// policy says what it refills at.
    pub fn tend(&mut self, bucket: &AtomicTokenBucket, contact: Contact, now: Timestamp) {
        if self.leaving {
            return;
        }
        let patience = certainly_ended(self.ttl.min(USUAL_TTL));
        self.falls_back_at = contact.heard_at + patience;
        self.fallback = self.fallback_rate(bucket, contact.fleet, now);
        let silent = now.since(contact.heard_at) > patience;
        let expired = now >= bucket.lease_expires();
        if silent && (expired || self.mode != Mode::Leased) {
            self.fall_back(bucket, contact.fleet, now);
        } else if !silent && self.falls_back {
            // The owner is back: what it counts for this proxy goes on until the next grant.
            self.awaited = true;
            self.falls_back = false;
        } else if !silent && self.gave_up(bucket, now) {
            let base = self.allowance(contact.fleet);
            let rate = base.rate.min(bucket.rate_at(now));
            let cap = base.depth.min(bucket.cap());
            let lease = Lease { rate, cap, expires: now, safe_rate: rate };
            if bucket.rate_at(now) != rate || bucket.cap() != cap {
                bucket.renew_as(lease, MilliUnits::ZERO, false, now);
            }
        }
    }

    /// Whether to report now: the interval is over, a decrease waits for its acknowledgement, or, a while
    /// after the last report, demand moved or tokens run low while the pool has some.
    #[must_use]
    pub fn is_due(&self, bucket: &AtomicTokenBucket, now: Timestamp) -> bool {
        let Some(reported_at) = self.reported_at else {
            // An allowance that suffices needs no owner.
            return self.awaited || !self.suffices(bucket);
        };
        let elapsed = now.since(reported_at);
        if self.awaited {
            return true;
        }
        match self.mode {
            Mode::Untracked => self.is_due_untracked(bucket, elapsed),
            Mode::Direct => self.is_due_direct(bucket, elapsed, now),
            Mode::Leased => elapsed >= self.interval || self.is_due_early(bucket, elapsed, now),
        }
    }

    /// Reports at the next opportunity: the owner may have changed, or the last report was lost.
    pub const fn report_anew(&mut self) {
        self.asking = false;
        if self.reported_at.is_some() || self.accepted.sequence > 0 {
            self.awaited = true;
        }
    }

    /// What to report; notes that it was reported.
    pub fn report(&mut self, bucket: &AtomicTokenBucket, now: Timestamp) -> ReportEntry {
        bucket.refill(now);
        if self.mode == Mode::Direct && self.is_idle(bucket, now) {
            // What nobody wants goes home.
            self.hold_nothing(bucket, now);
        }
        let mut counters = bucket.counters();
        // A request that begins to wait was counted as refused for a moment; what was reported only grows.
        counters.throttled = counters.throttled.max(self.reported.throttled);
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
            rate_in_use: self.rate_to_report(rate, now),
            quota: self.quota,
        };
        self.reported = counters;
        self.reported_at = Some(now);
        self.awaited = false;
        self.asking = true;
        entry
    }

    /// The last report: everything that the bucket holds goes home, and it admits nothing any more.
    pub fn leave(&mut self, bucket: &AtomicTokenBucket, now: Timestamp) -> ReportEntry {
        self.leaving = true;
        let nothing = MilliUnitsPerSecond::new(0);
        let lease = Lease { rate: nothing, cap: MilliUnits::ZERO, expires: now, safe_rate: nothing };
        bucket.renew_as(lease, MilliUnits::ZERO, false, now);
        ReportEntry { need: MilliUnits::ZERO, ..self.report(bucket, now) }
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
        if self.leaving || grant.bucket != self.bucket || !accepts_only_newer(self.accepted, grant.number) {
            return false;
        }
        let becomes_untracked = grant.mode == Mode::Untracked && self.mode == Mode::Leased;
        self.awaited = grant.rate < bucket.rate_at(now) || becomes_untracked;
        let lease = Lease {
            rate: grant.rate,
            cap: grant.cap,
            expires: asked_at + grant.ttl,
            // More than it was leased it uses only while nobody answers: see `fall_back`.
            safe_rate: grant.safe_rate.min(grant.rate),
        };
        let tokens = grant.tokens;
        bucket.renew_as(lease, tokens, grant.mode == Mode::Leased && grant.rate.get() > 0, now);
        bucket.set_dry_until(now + grant.dry_for);
        self.accepted = grant.number;
        self.mode = grant.mode;
        self.pool = grant.pool;
        self.interval = grant.next_report;
        self.ttl = grant.ttl;
        self.granted_at = now;
        self.is_overbooked = grant.mode == Mode::Leased
            && grant.pool != PoolColour::Comfortable
            && grant.rate.get() < self.offered_rate.get() / 10 * 9;
        self.safe_rate = grant.safe_rate;
        self.asking = false;
        self.falls_back = false;
        if grant.quota.version > self.quota.version {
            self.quota = grant.quota;
        }
        true
    }

    /// Untracked: nothing is said while the allowance suffices.
    fn is_due_untracked(&self, bucket: &AtomicTokenBucket, elapsed: Duration) -> bool {
        elapsed >= MIN_REPORT_GAP && !self.suffices(bucket)
    }

    fn suffices(&self, bucket: &AtomicTokenBucket) -> bool {
        bucket.awaited() == MilliUnits::ZERO
            && bucket.counters().throttled == self.reported.throttled
            && bucket.level().get() >= bucket.cap().get() / 4
            && bucket.cap() > MilliUnits::ZERO
    }

    /// Direct: somebody waits, tokens were used (which frees their place at the owner), or nobody uses
    /// those that are there.
    fn is_due_direct(&self, bucket: &AtomicTokenBucket, elapsed: Duration, now: Timestamp) -> bool {
        if self.asking && elapsed < ANSWERED_WITHIN {
            return false;
        }
        let counters = bucket.counters();
        if bucket.awaited() > bucket.level() {
            return now >= bucket.dry_until();
        }
        let used_up = bucket.level() == MilliUnits::ZERO || self.pool != PoolColour::Comfortable;
        if used_up && counters.admitted > self.reported.admitted {
            return true;
        }
        let refused = counters.throttled > self.reported.throttled;
        elapsed >= DIRECT_INTERVAL
            || self.is_idle(bucket, now)
            || refused && elapsed >= MIN_REPORT_GAP && now >= bucket.dry_until()
    }

    /// Whether tokens lie here that nobody has wanted for an interval.
    fn is_idle(&self, bucket: &AtomicTokenBucket, now: Timestamp) -> bool {
        bucket.level() > MilliUnits::ZERO
            && bucket.awaited() == MilliUnits::ZERO
            && now.since(self.granted_at) >= self.interval
    }

    fn is_due_early(&self, bucket: &AtomicTokenBucket, elapsed: Duration, now: Timestamp) -> bool {
        if elapsed < MIN_REPORT_GAP {
            return false;
        }
        let counters = bucket.counters();
        let runs_low = bucket.level().get() < bucket.cap().get() / 4
            || counters.throttled > self.reported.throttled
            || bucket.awaited() > MilliUnits::ZERO;
        let wanted = counters.offered() > self.reported.offered() || bucket.awaited() > MilliUnits::ZERO;
        // Under overload running low is the normal state, and the owner knows: it may only have more to give
        // by now.
        let asks_again = !self.is_overbooked || elapsed >= OVERBOOKED_GAP;
        let may_help = self.pool != PoolColour::Dry && asks_again && now >= bucket.dry_until();
        (may_help && wanted && runs_low) || self.has_moved(counters, elapsed)
    }

    fn need(&self, bucket: &AtomicTokenBucket, rate: MilliUnitsPerSecond) -> MilliUnits {
        // A request larger than all that the bucket could earn soon must be able to pass, too.
        let largest = bucket.take_largest_refused().max(bucket.awaited()).saturating_sub(bucket.level());
        if self.mode == Mode::Direct {
            return largest;
        }
        let wanted = self.offered_rate.earned_in(NEED_HORIZON) + bucket.debt();
        let covered = rate.earned_in(NEED_HORIZON) + bucket.level();
        wanted.saturating_sub(covered).max(largest)
    }

    fn has_moved(&self, counters: BucketCounters, elapsed: Duration) -> bool {
        let offered = rate_of(counters.offered().saturating_sub(self.reported.offered()), elapsed).get();
        let before = self.offered_rate.get();
        let difference = offered.abs_diff(before);
        difference > MOVED_AT_LEAST.get()
            && difference.saturating_mul(100) > before.saturating_mul(MOVED_PERCENT)
            && difference > noise(offered.max(before), elapsed)
    }

    fn hold_nothing(&self, bucket: &AtomicTokenBucket, now: Timestamp) {
        let lease = Lease {
            rate: bucket.rate_at(now),
            cap: MilliUnits::ZERO,
            expires: bucket.lease_expires(),
            safe_rate: bucket.rate_at(now),
        };
        bucket.renew_as(lease, MilliUnits::ZERO, false, now);
    }

    /// A tracked proxy that nothing renewed for long: the owner is about to forget it.
    fn gave_up(&self, bucket: &AtomicTokenBucket, now: Timestamp) -> bool {
        match self.mode {
            Mode::Leased => now.since(bucket.lease_expires()) >= GIVEN_UP_AFTER && self.has_lease(),
            Mode::Untracked => self.has_lease() && now >= bucket.lease_expires(),
            // It has no rate that could be forgotten.
            Mode::Direct => false,
        }
    }

    /// What it may use without a lease. Of an account's share its owner reserves nothing for anybody.
    fn allowance(&self, fleet: u32) -> Allowance {
        match self.bucket.level() {
            Level::AccountShare => Allowance::default(),
            Level::Table | Level::Principal | Level::Index => Allowance::base(self.quota, fleet),
        }
    }

    /// What it refills at when nobody answers.
    fn fallback_rate(&self, bucket: &AtomicTokenBucket, fleet: u32, now: Timestamp) -> MilliUnitsPerSecond {
        let part = MilliUnitsPerSecond::new(self.quota.rate.get() / u64::from(fleet.max(1)));
        match (self.quota.outage, self.mode) {
            (OutagePolicy::Open, _) => MilliUnitsPerSecond::new(UNLIMITED),
            // What the owner counts for it; and never more than its part of a quota that has fallen since.
            (OutagePolicy::Strict, Mode::Leased) if self.has_lease() => bucket.rate_at(now).min(part),
            (OutagePolicy::Static, Mode::Leased) if self.has_lease() => bucket.rate_at(now),
            (_, Mode::Direct) => self.safe_rate.min(part),
            _ => part,
        }
    }

    /// The rate to report: what it may be using when the report is read. A proxy that is about to fall back
    /// does so whether the report arrives or not.
    fn rate_to_report(&self, rate: MilliUnitsPerSecond, now: Timestamp) -> MilliUnitsPerSecond {
        if now + REPORT_TRAVELS < self.falls_back_at || self.leaving {
            return rate;
        }
        rate.max(self.fallback.min(MilliUnitsPerSecond::new(self.quota.rate.get())))
    }

    /// Nobody answers.
    fn fall_back(&mut self, bucket: &AtomicTokenBucket, fleet: u32, now: Timestamp) {
        if self.falls_back && self.fallback_rate(bucket, fleet, now) >= bucket.rate_at(now) {
            return;
        }
        let leased = self.has_lease() && self.mode == Mode::Leased;
        let rate = self.fallback_rate(bucket, fleet, now);
        // What it may hold stays what was granted; a rate without a grant has a local depth.
        let keeps = leased && self.quota.outage != OutagePolicy::Open;
        let cap = if keeps { bucket.cap() } else { local_depth(rate).max(bucket.cap()) };
        let lease = Lease { rate, cap, expires: now, safe_rate: rate };
        bucket.renew_as(lease, MilliUnits::ZERO, true, now);
        bucket.set_dry_until(now);
        self.falls_back = true;
    }
}

/// I3: a proxy accepts only a newer (epoch, sequence).
fn accepts_only_newer(accepted: GrantNumber, offered: GrantNumber) -> bool {
    offered > accepted
}

/// By how much a rate that is counted over `elapsed` is off by chance alone, at most: three deviations of
/// requests that arrive independently, of a unit each.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an estimate; rates are far below 2^53 and never negative"
)]
fn noise(rate: u64, elapsed: Duration) -> u64 {
    let seconds = elapsed.as_secs_f64().max(1e-3);
    let units = rate as f64 / 1000.0 * seconds;
    (3.0 * units.sqrt() / seconds * 1000.0) as u64
}

fn rate_of(amount: MilliUnits, elapsed: Duration) -> MilliUnitsPerSecond {
    let nanos = elapsed.as_nanos().max(1);
    let rate = u128::from(amount.get()) * 1_000_000_000 / nanos;
    MilliUnitsPerSecond::new(u64::try_from(rate).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
