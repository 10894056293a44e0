//! Token buckets in integer milli-units, with a signed level: a negative one is debt.
//!
//! Two forms with the same arithmetic: [`TokenBucket`] has one owner; [`AtomicTokenBucket`] is shared by
//! a proxy's request tasks, takes no lock, and refills by a lease that runs out. Refilling moves the
//! bucket's time forward only as far as whole milli-units were earned, so no fraction is lost or made.
//!
//! A request is admitted when the level covers its cost, or, when it costs more than the bucket can ever
//! hold, when the bucket is full: it then leaves a debt that the rate repays.
//!
//! The shared form counts debt beside its level, and repays it over 2 s out of a part of what it earns,
//! so that one large read does not stop a table: what is admitted meanwhile is at most the debt too much,
//! once.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use units::{MilliUnits, MilliUnitsPerSecond, Timestamp};

/// Why a request was not admitted: too few tokens, here and now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too few tokens; {missing:?} are missing, earned in {retry_after:?}")]
pub struct Shortage {
    /// What was missing.
    pub missing: MilliUnits,
    /// When the rate will have earned it; `Duration::MAX`: never at this rate.
    pub retry_after: Duration,
}

/// The most tokens that any bucket counts with: far above every quota, far below what could overflow.
const MAX_LEVEL: i64 = i64::MAX / 4;

/// Seconds of rate that a local bucket may hold.
const DEPTH: Duration = Duration::from_millis(250);
/// What a local bucket may hold at least, however small its rate: four units.
const MIN_DEPTH: MilliUnits = MilliUnits::from_units(4);

/// How deep a proxy's local bucket is at `rate`: 0.25 s of it, at least four units.
#[must_use]
pub fn local_depth(rate: MilliUnitsPerSecond) -> MilliUnits {
    rate.earned_in(DEPTH).max(MIN_DEPTH)
}

pub(crate) fn signed(amount: MilliUnits) -> i64 {
    i64::try_from(amount.get()).unwrap_or(MAX_LEVEL).min(MAX_LEVEL)
}

pub(crate) fn unsigned(level: i64) -> MilliUnits {
    MilliUnits::new(u64::try_from(level).unwrap_or(0))
}

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// What `rate` earns from `from` to `until`, and the time up to which that is exact.
pub(crate) fn earn(rate: MilliUnitsPerSecond, from: Timestamp, until: Timestamp) -> (MilliUnits, Timestamp) {
    let elapsed = until.as_nanos().saturating_sub(from.as_nanos());
    if rate.get() == 0 || elapsed == 0 {
        return (MilliUnits::ZERO, until.max(from));
    }
    // The rest of a milli-unit is earned next time: time stops short of `until` by what it took.
    if let Some(product) = rate.get().checked_mul(elapsed) {
        let rest = product % NANOS_PER_SECOND;
        let up_to = Timestamp::from_nanos(until.as_nanos() - rest / rate.get());
        return (MilliUnits::new(product / NANOS_PER_SECOND), up_to);
    }
    // The same in 128 bits, whose division costs ten times as much.
    let earned = rate.earned_in(until.since(from));
    (earned, from + rate.time_to_earn(earned))
}

fn shortage(level: i64, wanted: i64, rate: MilliUnitsPerSecond) -> Shortage {
    let missing = unsigned(wanted.saturating_sub(level));
    Shortage { missing, retry_after: rate.time_to_earn(missing) }
}

/// A token bucket with one owner.
#[derive(Clone, Debug)]
pub struct TokenBucket {
    level: i64,
    rate: MilliUnitsPerSecond,
    cap: MilliUnits,
    refilled_at: Timestamp,
}

impl TokenBucket {
    /// A full bucket.
    #[must_use]
    pub fn full(rate: MilliUnitsPerSecond, cap: MilliUnits, now: Timestamp) -> Self {
        Self { level: signed(cap), rate, cap, refilled_at: now }
    }

    /// An empty bucket.
    #[must_use]
    pub const fn empty(rate: MilliUnitsPerSecond, cap: MilliUnits, now: Timestamp) -> Self {
        Self { level: 0, rate, cap, refilled_at: now }
    }

    /// Adds what was earned since the last time; what overflows is returned.
    pub fn refill(&mut self, now: Timestamp) -> MilliUnits {
        if now <= self.refilled_at {
            return MilliUnits::ZERO;
        }
        let (earned, up_to) = earn(self.rate, self.refilled_at, now);
        self.refilled_at = up_to;
        self.add(earned)
    }

    /// Takes `cost`, or takes nothing.
    ///
    /// # Errors
    /// [`Shortage`] says when to come back.
    pub fn take(&mut self, cost: MilliUnits, now: Timestamp) -> Result<(), Shortage> {
        self.refill(now);
        let wanted = signed(cost.min(self.cap));
        if self.level < wanted {
            return Err(shortage(self.level, wanted, self.rate));
        }
        self.level -= signed(cost);
        Ok(())
    }

    /// Takes what was already spent, into debt if need be.
    pub fn charge(&mut self, amount: MilliUnits) {
        self.level = self.level.saturating_sub(signed(amount)).max(-MAX_LEVEL);
    }

    /// Puts tokens in; what overflows is returned.
    pub fn add(&mut self, amount: MilliUnits) -> MilliUnits {
        self.level = self.level.saturating_add(signed(amount)).min(MAX_LEVEL);
        let overflow = unsigned(self.level.saturating_sub(signed(self.cap)));
        self.level -= signed(overflow);
        overflow
    }

    /// Changes rate and depth from `now` on; what no longer fits is returned.
    pub fn reconfigure(&mut self, rate: MilliUnitsPerSecond, cap: MilliUnits, now: Timestamp) -> MilliUnits {
        let overflow = self.refill(now);
        self.refilled_at = self.refilled_at.max(now);
        self.rate = rate;
        self.cap = cap;
        overflow + self.add(MilliUnits::ZERO)
    }

    /// Tokens that may be taken, as of the last refill.
    #[must_use]
    pub fn level(&self) -> MilliUnits {
        unsigned(self.level)
    }

    /// Tokens that were spent before they were earned.
    #[must_use]
    pub fn debt(&self) -> MilliUnits {
        unsigned(self.level.saturating_neg())
    }
}

/// By what a local bucket refills, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The leased rate.
    pub rate: MilliUnitsPerSecond,
    /// What the bucket may hold.
    pub cap: MilliUnits,
    /// When the lease runs out.
    pub expires: Timestamp,
    /// The rate from then on.
    pub safe_rate: MilliUnitsPerSecond,
}

/// What a bucket counted since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BucketCounters {
    /// Charged for admitted requests.
    pub admitted: MilliUnits,
    /// Asked for by refused requests.
    pub throttled: MilliUnits,
    /// Overflowed above the cap.
    pub returned: MilliUnits,
}

impl BucketCounters {
    /// Admitted plus throttled: what was wanted.
    #[must_use]
    pub fn offered(&self) -> MilliUnits {
        self.admitted + self.throttled
    }
}

/// A proxy's local bucket: shared by request tasks, lock-free, refilled by a [`Lease`].
///
/// Takers only move `level` by compare-and-swap. Whoever moves `refilled_at` forward owns the tokens of
/// that stretch of time and adds them, so each is earned once. One task alone changes the lease.
///
/// A taker refills only when it must: while the level covers its cost, while little was earned, and while
/// nothing of that would overflow, what was earned can as well be added later. No decision differs.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct AtomicTokenBucket {
    // What an admitted request touches fills one cache line, also when it refills.
    level: AtomicI64,
    refilled_at: AtomicU64,
    rate: AtomicU64,
    cap: AtomicU64,
    lease_expires: AtomicU64,
    admitted: AtomicU64,
    returned: AtomicU64,
    /// Spent before it was earned, and not repaid yet.
    debt: AtomicU64,
    throttled: AtomicU64,
    safe_rate: AtomicU64,
    largest_refused: AtomicU64,
    /// How fast it is repaid, in milli-units per second; and up to when it was.
    repayment: AtomicU64,
    repaid_at: AtomicU64,
    /// A request that costs more than the cap may leave a debt: only a leased rate can be trusted to
    /// repay it.
    may_owe: AtomicBool,
    /// What requests wait for together.
    awaited: AtomicU64,
    /// Refused at first, and admitted after a wait.
    admitted_late: AtomicU64,
    /// Direct mode: nothing will be there until then.
    dry_until: AtomicU64,
}

/// What a bucket looked like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    level: i64,
    refilled_at: u64,
    rate: u64,
    expires: Timestamp,
}

impl Look {
    /// Whether what was earned since the last refill is little, and would not overflow.
    fn refill_can_wait(&self, cap: MilliUnits, now: Timestamp) -> bool {
        let elapsed = now.as_nanos().saturating_sub(self.refilled_at);
        let Some(product) = self.rate.checked_mul(elapsed) else { return false };
        let earned = product / NANOS_PER_SECOND;
        now <= self.expires
            && earned <= cap.get() / UNADDED_PART
            && self.level.saturating_add(signed(MilliUnits::new(earned))) <= signed(cap)
    }
}

/// A debt is repaid within this, as far as the rate allows.
const REPAID_IN_SECONDS: u64 = 2;

/// Tokens that were earned but not added yet are at most this part of what the bucket may hold, so that
/// [`AtomicTokenBucket::level`] is never far off.
const UNADDED_PART: u64 = 16;

impl AtomicTokenBucket {
    /// A full bucket under `lease`.
    #[must_use]
    pub fn full(lease: Lease, now: Timestamp) -> Self {
        Self {
            level: AtomicI64::new(signed(lease.cap)),
            refilled_at: AtomicU64::new(now.as_nanos()),
            rate: AtomicU64::new(lease.rate.get()),
            cap: AtomicU64::new(lease.cap.get()),
            lease_expires: AtomicU64::new(lease.expires.as_nanos()),
            safe_rate: AtomicU64::new(lease.safe_rate.get()),
            admitted: AtomicU64::new(0),
            throttled: AtomicU64::new(0),
            returned: AtomicU64::new(0),
            largest_refused: AtomicU64::new(0),
            debt: AtomicU64::new(0),
            repayment: AtomicU64::new(0),
            repaid_at: AtomicU64::new(now.as_nanos()),
            may_owe: AtomicBool::new(lease.rate.get() > 0 && lease.expires > now),
            awaited: AtomicU64::new(0),
            admitted_late: AtomicU64::new(0),
            dry_until: AtomicU64::new(0),
        }
    }

    /// Takes `cost`, or takes nothing. The level that remains.
    ///
    /// # Errors
    /// [`Shortage`] says when to come back.
    pub fn take(&self, cost: MilliUnits, now: Timestamp) -> Result<MilliUnits, Shortage> {
        let taken = self.check(self.look(), cost, now).and_then(|()| self.draw(cost, now));
        match taken {
            Ok(_) => self.count_admitted(cost),
            Err(_) => self.count_refused(cost),
        }
        taken
    }

    /// Reads what a check needs. Who passes several buckets looks at all of them first, so that their cache
    /// lines come together.
    pub(crate) fn look(&self) -> Look {
        Look {
            level: self.level.load(Ordering::Relaxed),
            refilled_at: self.refilled_at.load(Ordering::Relaxed),
            rate: self.rate.load(Ordering::Relaxed),
            expires: self.lease_expires(),
        }
    }

    /// Whether the level covers `cost`. Takes and counts nothing.
    pub(crate) fn check(&self, look: Look, cost: MilliUnits, now: Timestamp) -> Result<(), Shortage> {
        let wanted = self.wanted(cost);
        if look.level >= wanted && look.refill_can_wait(self.cap(), now) {
            return Ok(());
        }
        self.refill(now);
        let level = self.level.load(Ordering::Relaxed);
        if level >= wanted { Ok(()) } else { Err(self.shortage(level, wanted, now)) }
    }

    /// Takes `cost` out of the level as it is, or takes nothing. Counts nothing: only whoever has been
    /// admitted by all its levels is counted, because counters never fall.
    pub(crate) fn draw(&self, cost: MilliUnits, now: Timestamp) -> Result<MilliUnits, Shortage> {
        let wanted = self.wanted(cost);
        let mut level = self.level.load(Ordering::Relaxed);
        loop {
            if level < wanted {
                return Err(self.shortage(level, wanted, now));
            }
            let left = level - signed(cost).min(level);
            match self.level.compare_exchange_weak(level, left, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => {
                    if signed(cost) > level {
                        self.owe(cost.saturating_sub(unsigned(level)));
                    }
                    return Ok(unsigned(left));
                }
                Err(current) => level = current,
            }
        }
    }

    /// Puts back what was drawn and not counted: what it left as a debt is owed no more.
    pub(crate) fn put_back(&self, cost: MilliUnits) {
        self.add(cost.saturating_sub(self.repay(cost)));
    }

    pub(crate) fn count_admitted(&self, cost: MilliUnits) {
        self.admitted.fetch_add(cost.get(), Ordering::Relaxed);
    }

    pub(crate) fn count_refused(&self, cost: MilliUnits) {
        self.throttled.fetch_add(cost.get(), Ordering::Relaxed);
        self.largest_refused.fetch_max(cost.get(), Ordering::Relaxed);
    }

    /// Takes what an admitted request cost beyond its charge, into debt if need be.
    ///
    /// Half of what the bucket holds stays for other requests.
    pub fn charge(&self, amount: MilliUnits) {
        self.admitted.fetch_add(amount.get(), Ordering::Relaxed);
        let stays = signed(self.cap()) / 2;
        let mut level = self.level.load(Ordering::Relaxed);
        loop {
            let paid = level.saturating_sub(stays).clamp(0, signed(amount));
            if paid == 0 {
                return self.owe(amount);
            }
            let left = level - paid;
            match self.level.compare_exchange_weak(level, left, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return self.owe(amount.saturating_sub(unsigned(paid))),
                Err(current) => level = current,
            }
        }
    }

    /// Gives back what an admitted request was charged too much. What it was charged stays in the
    /// cumulative counter, which only grows: demand looks that much higher for one interval.
    pub fn refund(&self, amount: MilliUnits) {
        self.add(amount);
    }

    /// Refills by a new lease from `now` on, and adds `tokens`.
    pub fn renew(&self, lease: Lease, tokens: MilliUnits, now: Timestamp) {
        self.renew_as(lease, tokens, lease.rate.get() > 0 && lease.expires > now, now);
    }

    /// The same; `may_owe`: a request that costs more than the cap may leave a debt.
    pub(crate) fn renew_as(&self, lease: Lease, tokens: MilliUnits, may_owe: bool, now: Timestamp) {
        self.may_owe.store(may_owe, Ordering::Relaxed);
        self.refill(now);
        // What the old rate earned ends here, also the fraction of a milli-unit.
        self.refilled_at.fetch_max(now.as_nanos(), Ordering::Relaxed);
        self.rate.store(lease.rate.get(), Ordering::Relaxed);
        self.safe_rate.store(lease.safe_rate.get(), Ordering::Relaxed);
        self.lease_expires.store(lease.expires.as_nanos(), Ordering::Relaxed);
        self.cap.store(lease.cap.get(), Ordering::Relaxed);
        // Without a rate nothing else repays: what was spent too much would be given away.
        let repaid = if lease.rate.get() == 0 { self.repay(tokens) } else { MilliUnits::ZERO };
        self.add(tokens.saturating_sub(repaid));
    }

    /// Adds what was earned since the last time.
    pub fn refill(&self, now: Timestamp) {
        let from = self.refilled_at.load(Ordering::Relaxed);
        if now.as_nanos() <= from {
            return;
        }
        let (earned, up_to) = self.earned(Timestamp::from_nanos(from), now);
        if up_to.as_nanos() == from {
            return;
        }
        let owned =
            self.refilled_at.compare_exchange(from, up_to.as_nanos(), Ordering::Relaxed, Ordering::Relaxed);
        if owned.is_ok() {
            self.add(earned.saturating_sub(self.repay_part(earned, now)));
        }
    }

    /// The rate in force at `now`: the lease's, or the safe one once it has run out.
    #[must_use]
    pub fn rate_at(&self, now: Timestamp) -> MilliUnitsPerSecond {
        let leased = now.as_nanos() < self.lease_expires.load(Ordering::Relaxed);
        let rate = if leased { &self.rate } else { &self.safe_rate };
        MilliUnitsPerSecond::new(rate.load(Ordering::Relaxed))
    }

    /// When the lease runs out.
    #[must_use]
    pub fn lease_expires(&self) -> Timestamp {
        Timestamp::from_nanos(self.lease_expires.load(Ordering::Relaxed))
    }

    /// Tokens that may be taken, as of the last refill.
    #[must_use]
    pub fn level(&self) -> MilliUnits {
        unsigned(self.level.load(Ordering::Relaxed))
    }

    /// Tokens that were spent before they were earned.
    #[must_use]
    pub fn debt(&self) -> MilliUnits {
        MilliUnits::new(self.debt.load(Ordering::Relaxed))
    }

    /// What the bucket may hold.
    #[must_use]
    pub fn cap(&self) -> MilliUnits {
        MilliUnits::new(self.cap.load(Ordering::Relaxed))
    }

    /// What it counted since it was made.
    #[must_use]
    pub fn counters(&self) -> BucketCounters {
        BucketCounters {
            admitted: MilliUnits::new(self.admitted.load(Ordering::Relaxed)),
            throttled: self.refused_for_good(),
            returned: MilliUnits::new(self.returned.load(Ordering::Relaxed)),
        }
    }

    /// Notes that a request waits for `cost` tokens: the next report asks for them. False: the owner has
    /// said that nothing will be there, so that waiting is in vain, and nothing was noted.
    pub fn wait_for(&self, cost: MilliUnits, now: Timestamp) -> bool {
        if now < self.dry_until() {
            return false;
        }
        self.awaited.fetch_add(cost.get(), Ordering::Relaxed);
        true
    }

    /// A request for which [`Self::wait_for`] was true waits no more.
    pub fn stop_waiting(&self, cost: MilliUnits) {
        self.awaited.fetch_sub(cost.get(), Ordering::Relaxed);
    }

    /// The same, of one that was admitted after all: its refusal counts no more.
    pub fn stop_waiting_admitted(&self, cost: MilliUnits) {
        self.admitted_late.fetch_add(cost.get(), Ordering::Relaxed);
        self.stop_waiting(cost);
    }

    /// Without what still waits, or was admitted after a wait: that is no demand beside what is admitted.
    fn refused_for_good(&self) -> MilliUnits {
        let undecided = self.awaited() + MilliUnits::new(self.admitted_late.load(Ordering::Relaxed));
        MilliUnits::new(self.throttled.load(Ordering::Relaxed)).saturating_sub(undecided)
    }

    /// What requests wait for together.
    #[must_use]
    pub fn awaited(&self) -> MilliUnits {
        MilliUnits::new(self.awaited.load(Ordering::Relaxed))
    }

    /// Direct mode: the owner has nothing to give until then.
    #[must_use]
    pub fn dry_until(&self) -> Timestamp {
        Timestamp::from_nanos(self.dry_until.load(Ordering::Relaxed))
    }

    pub(crate) fn set_dry_until(&self, until: Timestamp) {
        self.dry_until.store(until.as_nanos(), Ordering::Relaxed);
    }

    /// The costliest request refused since this was last asked.
    pub(crate) fn take_largest_refused(&self) -> MilliUnits {
        MilliUnits::new(self.largest_refused.swap(0, Ordering::Relaxed))
    }

    fn earned(&self, from: Timestamp, now: Timestamp) -> (MilliUnits, Timestamp) {
        let expires = self.lease_expires();
        let rate = MilliUnitsPerSecond::new(self.rate.load(Ordering::Relaxed));
        let safe_rate = MilliUnitsPerSecond::new(self.safe_rate.load(Ordering::Relaxed));
        if now <= expires {
            return earn(rate, from, now);
        }
        if from >= expires {
            return earn(safe_rate, from, now);
        }
        let (leased, _) = earn(rate, from, expires);
        let (safe, up_to) = earn(safe_rate, expires, now);
        (leased + safe, up_to)
    }

    /// What a request of `cost` needs: never more than the bucket can hold, if it may owe the rest. One
    /// such debt at a time, and only of a bucket of some depth: a shallow one is full again long before it
    /// has repaid, and would admit many times its rate.
    fn wanted(&self, cost: MilliUnits) -> i64 {
        let cap = self.cap();
        let may_owe = cost > cap
            && self.may_owe.load(Ordering::Relaxed)
            && cap >= MIN_DEPTH
            && self.debt() == MilliUnits::ZERO;
        signed(if may_owe { cap } else { cost })
    }

    fn shortage(&self, level: i64, wanted: i64, now: Timestamp) -> Shortage {
        let rate = self.rate_at(now).get();
        let left = rate.saturating_sub(self.repayment.load(Ordering::Relaxed));
        if left > 0 || rate == 0 {
            return shortage(level, wanted, MilliUnitsPerSecond::new(left));
        }
        // The whole rate repays: nothing can be taken before the debt is gone.
        let missing = unsigned(wanted.saturating_sub(level));
        let retry_after = MilliUnitsPerSecond::new(rate).time_to_earn(missing + self.debt());
        Shortage { missing, retry_after }
    }

    fn owe(&self, amount: MilliUnits) {
        if amount == MilliUnits::ZERO {
            return;
        }
        let before = self.debt.fetch_add(amount.get(), Ordering::Relaxed);
        if before == 0 {
            self.repaid_at.store(self.refilled_at.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        let debt = before.saturating_add(amount.get());
        self.repayment.fetch_max((debt / REPAID_IN_SECONDS).max(1), Ordering::Relaxed);
    }

    /// What of `earned` repays debt, and is repaid.
    fn repay_part(&self, earned: MilliUnits, now: Timestamp) -> MilliUnits {
        if self.debt.load(Ordering::Relaxed) == 0 {
            return MilliUnits::ZERO;
        }
        let repayment = MilliUnitsPerSecond::new(self.repayment.load(Ordering::Relaxed));
        let from = Timestamp::from_nanos(self.repaid_at.load(Ordering::Relaxed));
        let (due, up_to) = earn(repayment, from, now);
        if due <= earned {
            // What is due beyond what was earned stays due.
            self.repaid_at.store(up_to.as_nanos(), Ordering::Relaxed);
        }
        self.repay(due.min(earned))
    }

    /// Repays debt with up to `amount`; what it took.
    fn repay(&self, amount: MilliUnits) -> MilliUnits {
        let mut debt = self.debt.load(Ordering::Relaxed);
        loop {
            let part = debt.min(amount.get());
            if part == 0 {
                return MilliUnits::ZERO;
            }
            match self.debt.compare_exchange_weak(debt, debt - part, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => {
                    if debt == part {
                        self.repayment.store(0, Ordering::Relaxed);
                    }
                    return MilliUnits::new(part);
                }
                Err(current) => debt = current,
            }
        }
    }

    /// Before tokens go home they repay.
    fn send_home(&self, amount: MilliUnits) {
        let home = amount.saturating_sub(self.repay(amount));
        self.returned.fetch_add(home.get(), Ordering::Relaxed);
    }

    fn add(&self, amount: MilliUnits) {
        let (amount, cap) = (signed(amount), signed(self.cap()));
        let before = self.level.load(Ordering::Relaxed);
        // What certainly overflows goes home by the shorter way.
        let fits = cap.saturating_sub(before).clamp(0, amount);
        let level = match fits {
            0 => before,
            fits => self.level.fetch_add(fits, Ordering::Relaxed).saturating_add(fits),
        };
        if amount > fits {
            self.send_home(unsigned(amount - fits));
        }
        if level > cap {
            self.trim();
        }
    }

    /// What overflows goes home with the next report.
    fn trim(&self) {
        let cap = signed(self.cap());
        let mut level = self.level.load(Ordering::Relaxed);
        while level > cap {
            match self.level.compare_exchange_weak(level, cap, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => {
                    self.send_home(unsigned(level - cap));
                    return;
                }
                Err(current) => level = current,
            }
        }
    }
}

#[cfg(test)]
mod tests;
