//! Turns the passing of time into tokens, without making any, and losing less than a
//! nanosecond's worth at a time.

use units::{MilliUnits, MilliUnitsPerSecond, Timestamp};

use crate::token_bucket::earn;

/// Up to when a rate's tokens have been handed out. It moves forward only as far as whole milli-units
/// were earned; the rest of one is earned next time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RefillClock(Timestamp);

impl RefillClock {
    /// A clock that earns from `now` on.
    pub(crate) const fn starting(now: Timestamp) -> Self {
        Self(now)
    }

    /// What `rate` has earned since the last time.
    pub(crate) fn earn(&mut self, rate: MilliUnitsPerSecond, now: Timestamp) -> MilliUnits {
        let (earned, up_to) = earn(rate, self.0, now);
        self.0 = up_to;
        earned
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_read_often_earns_never_more_than_the_rate_and_hardly_less() {
        let rate = MilliUnitsPerSecond::new(333);
        let mut often = RefillClock::starting(Timestamp::default());
        let mut earned = MilliUnits::ZERO;
        for at in (0..=10_000_000_000).step_by(7_654_321) {
            earned += often.earn(rate, Timestamp::from_nanos(at));
        }
        earned += often.earn(rate, Timestamp::from_nanos(10_000_000_000));
        // Each reading may lose part of a nanosecond.
        assert!((3_329..=3_330).contains(&earned.get()), "{earned:?}");
    }
}
