//! What reads and writes cost, in milli-units of capacity.
//!
//! Source: DynamoDB Developer Guide, "Read and write operations": one read unit per started 4 KB read
//! strongly consistently, half as much when eventually consistent; one write unit per started 1 KB
//! written, by the larger of the sizes before and after. Nothing is free: an absent item costs the least.

use units::MilliUnits;

/// Bytes that one read unit reads.
pub const READ_UNIT_BYTES: u64 = 4096;
/// Bytes that one write unit writes.
pub const WRITE_UNIT_BYTES: u64 = 1024;

/// Milli-units of one unit.
const WHOLE: u64 = 1000;

/// The cost of a read that evaluated `bytes` by DynamoDB's size rules.
#[must_use]
pub fn read_cost(bytes: u64, consistent: bool) -> MilliUnits {
    let units = bytes.div_ceil(READ_UNIT_BYTES).max(1);
    MilliUnits::new(units.saturating_mul(if consistent { WHOLE } else { WHOLE / 2 }))
}

/// The cost of a write whose larger item, before or after, has `bytes`.
#[must_use]
pub fn write_cost(bytes: u64) -> MilliUnits {
    MilliUnits::from_units(bytes.div_ceil(WRITE_UNIT_BYTES).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_costs_a_unit_per_started_4_kb_and_half_of_it_when_eventually_consistent() {
        for (bytes, units) in [(0, 1), (1, 1), (4096, 1), (4097, 2), (409_600, 100)] {
            assert_eq!(read_cost(bytes, true), MilliUnits::from_units(units));
            assert_eq!(read_cost(bytes, false), MilliUnits::new(units * 500));
        }
    }

    #[test]
    fn a_write_costs_a_unit_per_started_kb() {
        for (bytes, units) in [(0, 1), (1, 1), (1024, 1), (1025, 2), (409_600, 400)] {
            assert_eq!(write_cost(bytes), MilliUnits::from_units(units));
        }
    }
}
