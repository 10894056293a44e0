//! Amounts: capacity in milli-units, rates, bytes.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign};
use std::time::Duration;

/// Capacity in thousandths of a capacity unit (RCU or WCU): half a unit is `MilliUnits::new(500)`.
///
/// Additions saturate: an amount past 2⁶⁴ milli-units is a bug elsewhere, not a reason to wrap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MilliUnits(u64);

impl MilliUnits {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// Wraps a number of milli-units.
    #[must_use]
    pub const fn new(milli: u64) -> Self {
        Self(milli)
    }

    /// A number of whole capacity units.
    #[must_use]
    pub const fn from_units(units: u64) -> Self {
        Self(units.saturating_mul(1000))
    }

    /// The number of milli-units.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// As DynamoDB prints it in `CapacityUnits`: units with a fraction.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "only shown; amounts are far below 2^53")]
    pub fn as_units(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    /// The difference, or zero when `other` is larger.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Add for MilliUnits {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for MilliUnits {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sum for MilliUnits {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Add::add)
    }
}

/// Nanoseconds of a second.
const NANOS: u64 = 1_000_000_000;

/// A refill rate: milli-units of capacity per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MilliUnitsPerSecond(u64);

impl MilliUnitsPerSecond {
    /// Wraps a rate in milli-units per second.
    #[must_use]
    pub const fn new(milli_per_second: u64) -> Self {
        Self(milli_per_second)
    }

    /// A rate of whole capacity units per second, as `ProvisionedThroughput` states it.
    #[must_use]
    pub const fn from_units(units_per_second: u64) -> Self {
        Self(units_per_second.saturating_mul(1000))
    }

    /// Milli-units per second.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// What flows in `elapsed`, rounded down.
    #[must_use]
    pub fn earned_in(self, elapsed: Duration) -> MilliUnits {
        let nanos = elapsed.as_nanos();
        // Nearly always: a division of 64 bits takes a fifth of one of 128.
        if let Ok(nanos) = u64::try_from(nanos)
            && let Some(product) = self.0.checked_mul(nanos)
        {
            return MilliUnits(product / NANOS);
        }
        let earned = u128::from(self.0).saturating_mul(nanos) / u128::from(NANOS);
        MilliUnits(u64::try_from(earned).unwrap_or(u64::MAX))
    }

    /// How long `amount` takes to flow, rounded up; `Duration::MAX` at a rate of zero.
    #[must_use]
    pub fn time_to_earn(self, amount: MilliUnits) -> Duration {
        if amount.0 == 0 {
            return Duration::ZERO;
        }
        if self.0 == 0 {
            return Duration::MAX;
        }
        if let Some(product) = amount.0.checked_mul(NANOS) {
            return Duration::from_nanos(product.div_ceil(self.0));
        }
        let nanos = (u128::from(amount.0) * u128::from(NANOS)).div_ceil(u128::from(self.0));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Bytes64(u64);

impl Bytes64 {
    /// Wraps a number of bytes.
    #[must_use]
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The number of bytes.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl Add for Bytes64 {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Bytes64 {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sum for Bytes64 {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self(0), Add::add)
    }
}

impl fmt::Display for Bytes64 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} B", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn earning_back_what_a_duration_earned_takes_no_longer_than_it() {
        let rate = MilliUnitsPerSecond::from_units(7);
        for millis in [1, 10, 333, 1_000, 86_400_000] {
            let elapsed = Duration::from_millis(millis);
            assert!(rate.time_to_earn(rate.earned_in(elapsed)) <= elapsed);
        }
    }

    #[test]
    fn amounts_past_64_bits_of_intermediate_result_are_exact_too() {
        let rate = MilliUnitsPerSecond::new(u64::MAX / 3);
        assert_eq!(rate.earned_in(Duration::from_secs(3)), MilliUnits::new(u64::MAX / 3 * 3));
        assert_eq!(rate.earned_in(Duration::MAX), MilliUnits::new(u64::MAX));
        let year = Duration::from_secs(31_536_000);
        let rate = MilliUnitsPerSecond::from_units(40_000);
        assert_eq!(rate.earned_in(year), MilliUnits::from_units(40_000 * 31_536_000));
        assert_eq!(rate.time_to_earn(rate.earned_in(year)), year);
    }

    #[test]
    fn nothing_is_ever_earned_at_rate_zero() {
        let rate = MilliUnitsPerSecond::new(0);
        assert_eq!(rate.earned_in(Duration::from_secs(9)), MilliUnits::ZERO);
        assert_eq!(rate.time_to_earn(MilliUnits::new(1)), Duration::MAX);
    }
}
