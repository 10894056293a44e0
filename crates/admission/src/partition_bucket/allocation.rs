//! One kind of a partition's capacity: allocated tokens, the bank of unused ones, and debt.

use std::time::Duration;

use units::{MilliUnits, MilliUnitsPerSecond, Timestamp};

use crate::refill_clock::RefillClock;
use crate::token_bucket::{signed, unsigned};

/// Seconds of allocation that may be used at once.
const DEPTH: Duration = Duration::from_secs(1);
/// A debt is repaid within so many seconds, as long as the rate suffices.
const REPAYMENT_SECONDS: u64 = 2;

/// Tokens of one kind. Every one that was earned is in `level`, in `banked`, has repaid debt, was spent,
/// or overflowed from a full bank.
#[derive(Clone, Debug)]
pub(super) struct Allocation {
    rate: MilliUnitsPerSecond,
    cap: i64,
    bank_cap: i64,
    /// Negative only by the fraction by which two clocks differ.
    level: i64,
    banked: i64,
    debt: i64,
    /// The part of the rate that repays debt.
    repayment: MilliUnitsPerSecond,
    clock: RefillClock,
    repayment_clock: RefillClock,
}

/// What would cover a cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cover {
    /// The allocated tokens.
    Allocated,
    /// These and some of the bank.
    WithBurst,
    /// Not even both.
    None,
}

impl Allocation {
    /// A second of allocation, and nothing in the bank.
    pub(super) fn new(rate: MilliUnitsPerSecond, burst: Duration, now: Timestamp) -> Self {
        let cap = signed(rate.earned_in(DEPTH));
        let clock = RefillClock::starting(now);
        Self {
            rate,
            cap,
            bank_cap: signed(rate.earned_in(burst)),
            level: cap,
            banked: 0,
            debt: 0,
            repayment: MilliUnitsPerSecond::default(),
            clock,
            repayment_clock: clock,
        }
    }

    /// Earns: first for what is owed, then for the allocation, and what that cannot hold is banked.
    pub(super) fn refill(&mut self, now: Timestamp) {
        let earned = signed(self.clock.earn(self.rate, now));
        let mut repaid = 0;
        if self.debt > 0 {
            repaid = signed(self.repayment_clock.earn(self.repayment, now)).min(self.debt);
            self.debt -= repaid;
        }
        self.add(earned - repaid);
    }

    /// What would cover `cost`. A cost that no second of allocation could cover passes when one is full.
    pub(super) fn cover(&self, cost: MilliUnits) -> Cover {
        let wanted = signed(cost).min(self.cap);
        if self.level >= wanted {
            return Cover::Allocated;
        }
        let missing = wanted - self.level.max(0);
        if self.banked >= missing { Cover::WithBurst } else { Cover::None }
    }

    /// Takes all of `cost`: from the allocation, then from the bank, and the rest is owed. What the bank
    /// gave.
    pub(super) fn spend(&mut self, cost: MilliUnits, now: Timestamp) -> MilliUnits {
        let cost = signed(cost);
        let allocated = cost.min(self.level.max(0));
        self.level -= allocated;
        let banked = (cost - allocated).min(self.banked);
        self.banked -= banked;
        let owed = cost - allocated - banked;
        if owed > 0 {
            self.owe(owed, now);
        }
        unsigned(banked)
    }

    /// Gives back what was not used: against debt, then to where it came from.
    pub(super) fn refund(&mut self, amount: MilliUnits, banked: MilliUnits) {
        let mut amount = signed(amount);
        let forgiven = amount.min(self.debt);
        self.debt -= forgiven;
        amount -= forgiven;
        let to_bank = amount.min(signed(banked));
        self.bank(to_bank);
        self.add(amount - to_bank);
    }

    /// How long until so many tokens more are in the allocation.
    fn time_to_earn(&self, missing: MilliUnits) -> Duration {
        let net = MilliUnitsPerSecond::new(self.rate.get() - self.repayment.get());
        if self.debt == 0 {
            return self.rate.time_to_earn(missing);
        }
        let repaid_in = self.repayment.time_to_earn(unsigned(self.debt));
        let meanwhile = net.earned_in(repaid_in);
        if missing <= meanwhile {
            return net.time_to_earn(missing);
        }
        repaid_in.saturating_add(self.rate.time_to_earn(missing.saturating_sub(meanwhile)))
    }

    /// When `cost` will be covered: by the allocation alone, or with what is banked now.
    pub(super) fn retry_after(&self, cost: MilliUnits, with_burst: bool) -> Duration {
        let wanted = signed(cost).min(self.cap);
        let banked = if with_burst { self.banked } else { 0 };
        self.time_to_earn(unsigned(wanted - self.level - banked))
    }

    /// Whether more is owed than can be repaid in time.
    pub(super) fn is_overdrawn(&self) -> bool {
        unsigned(self.debt) >= self.rate.earned_in(Duration::from_secs(REPAYMENT_SECONDS))
    }

    pub(super) const fn rate(&self) -> MilliUnitsPerSecond {
        self.rate
    }

    pub(super) fn level(&self) -> MilliUnits {
        unsigned(self.level)
    }

    pub(super) fn banked(&self) -> MilliUnits {
        unsigned(self.banked)
    }

    pub(super) fn debt(&self) -> MilliUnits {
        unsigned(self.debt)
    }

    fn owe(&mut self, amount: i64, now: Timestamp) {
        if self.debt == 0 {
            self.repayment = MilliUnitsPerSecond::default();
        }
        // The fraction that the old rate had earned ends here: at a higher rate it would be worth more.
        self.repayment_clock = RefillClock::starting(now);
        self.debt = self.debt.saturating_add(amount);
        let within = unsigned(self.debt).get().div_ceil(REPAYMENT_SECONDS);
        // A debt under way is not repaid more slowly because another joined it.
        self.repayment = MilliUnitsPerSecond::new(within.max(self.repayment.get()).min(self.rate.get()));
    }

    fn add(&mut self, amount: i64) {
        self.level += amount;
        let overflow = (self.level - self.cap).max(0);
        self.level -= overflow;
        self.bank(overflow);
    }

    fn bank(&mut self, amount: i64) {
        self.banked = self.banked.saturating_add(amount).min(self.bank_cap);
    }
}
