//! What a proxy may use without being tracked: a small part of a quota for every member of the fleet,
//! which the owner keeps reserved.

use std::time::Duration;

use units::{MilliUnits, MilliUnitsPerSecond};

use crate::lease::Quota;

/// The base allowances of the whole fleet are this part of a quota.
const BASE_PART: u64 = 100;
/// The wide allowances, which an owner gives while usage is far below the quota, are this part of it.
const WIDE_PART: u64 = 4;
/// How long a wide allowance holds, and about how much of its rate it may bank.
pub(crate) const WIDE_TTL: Duration = Duration::from_secs(30);
/// A shallower allowance could not admit a single request: it is not reserved, and not used.
const MIN_DEPTH: MilliUnits = MilliUnits::from_units(1);

/// A rate and a depth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowance {
    /// What flows in.
    pub rate: MilliUnitsPerSecond,
    /// What may be banked.
    pub depth: MilliUnits,
}

impl Allowance {
    /// What each of `proxies` may use without asking: 1/100 of rate and burst, divided among them.
    #[must_use]
    pub fn base(quota: Quota, proxies: u32) -> Self {
        let parts = BASE_PART * u64::from(proxies.max(1));
        Self::of(quota.rate.get() / parts, MilliUnits::new(quota.burst.get() / parts))
    }

    /// What each may use once the owner said so: 1/4 of the rate, divided, and 30 s of that in the bank.
    #[must_use]
    pub fn wide(quota: Quota, proxies: u32) -> Self {
        let parts = WIDE_PART * u64::from(proxies.max(1));
        let rate = quota.rate.get() / parts;
        let banked = MilliUnitsPerSecond::new(rate).earned_in(WIDE_TTL);
        Self::of(rate, banked.min(MilliUnits::new(quota.burst.get() / parts)))
    }

    /// Whether it is of any use.
    #[must_use]
    pub fn is_none(self) -> bool {
        self == Self::default()
    }

    fn of(rate: u64, depth: MilliUnits) -> Self {
        if depth < MIN_DEPTH || rate == 0 {
            return Self::default();
        }
        Self { rate: MilliUnitsPerSecond::new(rate), depth }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fleets_allowances_are_its_part_of_the_quota() {
        let quota = Quota::with_usual_burst(MilliUnitsPerSecond::from_units(10_000), 1);
        let (base, wide) = (Allowance::base(quota, 50), Allowance::wide(quota, 50));
        assert_eq!(base.rate.get() * 50, quota.rate.get() / 100);
        assert_eq!(base.depth.get() * 50, quota.burst.get() / 100);
        assert_eq!(wide.rate.get() * 50, quota.rate.get() / 4);
        assert!(wide.depth.get() * 50 <= quota.burst.get() / 4);
    }

    #[test]
    fn an_allowance_that_could_not_admit_a_request_is_none() {
        let quota = Quota::with_usual_burst(MilliUnitsPerSecond::from_units(10), 1);
        assert!(Allowance::base(quota, 100).is_none());
    }
}
