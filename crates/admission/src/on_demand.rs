//! The quota of a table on demand: up to twice its previous peak, at once.
//!
//! DynamoDB, "On-demand capacity mode": a table serves at once up to double its previous peak; traffic that
//! grows beyond that within 30 minutes may be throttled. A new table serves 12,000 read and 4,000 write
//! units a second; one that was provisioned starts with half of what was provisioned as its peak, if that
//! is more. Here:
//!
//! - A *peak* is the highest average over [`SUSTAINED`] ([`PeakMeter`], kept where traffic is seen): a
//!   spike that the burst covers is no peak.
//! - The first average above the previous peak opens a window of [`GROWTH_WINDOW`]; when it ends, the
//!   highest average in it becomes the previous peak ([`OnDemand`], kept where quotas are recorded). So a
//!   table's quota doubles at most once per window, and never shrinks.

use std::time::Duration;

use units::{MilliUnits, MilliUnitsPerSecond, Timestamp, UnixMillis};

use crate::lease::CapacityKind;

/// An average over so long counts as sustained.
pub const SUSTAINED: Duration = Duration::from_secs(30);
/// How long a table has to grow beyond twice its previous peak. Source: DynamoDB, "On-demand capacity mode".
pub const GROWTH_WINDOW: Duration = Duration::from_secs(30 * 60);
/// What a table serves at most unless an operator raises it. Source: DynamoDB, "Service quotas": 40,000
/// read and 40,000 write request units a second per table.
pub const TABLE_LIMIT: MilliUnitsPerSecond = MilliUnitsPerSecond::from_units(40_000);

/// What a new table on demand serves. Source: DynamoDB, "On-demand capacity mode".
#[must_use]
pub const fn initial_quota(kind: CapacityKind) -> MilliUnitsPerSecond {
    match kind {
        CapacityKind::Read => MilliUnitsPerSecond::from_units(12_000),
        CapacityKind::Write => MilliUnitsPerSecond::from_units(4_000),
    }
}

/// What bounds a table's quota on demand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OnDemandLimits {
    /// The table's own maximum throughput, when one is set.
    pub maximum: Option<MilliUnitsPerSecond>,
    /// The account's limit per table.
    pub table_limit: MilliUnitsPerSecond,
}

impl Default for OnDemandLimits {
    /// No maximum; [`TABLE_LIMIT`].
    fn default() -> Self {
        Self { maximum: None, table_limit: TABLE_LIMIT }
    }
}

/// A table's history on demand, of one kind of capacity. Small, and plain: records keep it.
///
/// Times are wall-clock times because the history outlives the process; a clock that is set back or
/// forward moves the end of one window by as much, and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OnDemand {
    /// Half of what is served.
    pub previous_peak: MilliUnitsPerSecond,
    /// Growth beyond the previous peak, while its window lasts.
    pub growth: Option<Growth>,
}

/// Growth beyond the previous peak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Growth {
    /// When the first higher average was seen.
    pub since: UnixMillis,
    /// The highest average since.
    pub peak: MilliUnitsPerSecond,
}

impl OnDemand {
    /// A new table's history: as if its peak had been half of what new tables serve.
    #[must_use]
    pub const fn new(kind: CapacityKind) -> Self {
        Self { previous_peak: half(initial_quota(kind)), growth: None }
    }

    /// The history of a table that was provisioned with up to `rate`, and now serves on demand.
    #[must_use]
    pub fn after_provisioned(kind: CapacityKind, rate: MilliUnitsPerSecond) -> Self {
        Self { previous_peak: half(rate.max(initial_quota(kind))), growth: None }
    }

    /// Notes that the table has sustained `average`. To be called with each report of peaks, and with a
    /// rate of zero when none came: windows also end in silence. Whether the quota grew.
    pub fn observe(&mut self, average: MilliUnitsPerSecond, now: UnixMillis) -> bool {
        let grown = self.end_window(now);
        if average > self.previous_peak {
            let growth = self.growth.get_or_insert(Growth { since: now, peak: average });
            growth.peak = growth.peak.max(average);
        }
        grown
    }

    /// What the table serves: twice its previous peak, within `limits`.
    #[must_use]
    pub fn quota(&self, limits: OnDemandLimits) -> MilliUnitsPerSecond {
        let doubled = MilliUnitsPerSecond::new(self.previous_peak.get().saturating_mul(2));
        let highest = limits.maximum.map_or(limits.table_limit, |maximum| maximum.min(limits.table_limit));
        doubled.min(highest)
    }

    fn end_window(&mut self, now: UnixMillis) -> bool {
        let Some(growth) = self.growth else { return false };
        let open_for = Duration::from_millis(now.get().saturating_sub(growth.since.get()));
        if open_for < GROWTH_WINDOW {
            return false;
        }
        self.growth = None;
        self.previous_peak = self.previous_peak.max(growth.peak);
        true
    }
}

const fn half(rate: MilliUnitsPerSecond) -> MilliUnitsPerSecond {
    MilliUnitsPerSecond::new(rate.get() / 2)
}

/// The window of [`SUSTAINED`] is counted in so many slots: an average is at most one slot late.
const SLOTS: usize = 6;
/// 5 s.
const SLOT_NANOS: u64 = SUSTAINED.as_nanos() as u64 / SLOTS as u64;

/// Finds the highest sustained rate of one bucket. Fed with its rate whenever that is known, at least once
/// per slot while there is traffic.
#[derive(Clone, Debug)]
pub struct PeakMeter {
    /// What flowed in each slot, by its number modulo [`SLOTS`].
    slots: [u64; SLOTS],
    /// The number of the slot that `until` lies in.
    slot: u64,
    until: Timestamp,
    highest: MilliUnitsPerSecond,
}

impl PeakMeter {
    /// A meter that has seen nothing before `now`.
    #[must_use]
    pub const fn new(now: Timestamp) -> Self {
        Self {
            slots: [0; SLOTS],
            slot: now.as_nanos() / SLOT_NANOS,
            until: now,
            highest: MilliUnitsPerSecond::new(0),
        }
    }

    /// Notes that `amount` flowed since the last time.
    pub fn observe(&mut self, amount: MilliUnits, now: Timestamp) {
        let elapsed = now.since(self.until).as_nanos();
        let first = self.slot;
        let last = (now.as_nanos() / SLOT_NANOS).max(first);
        // Spread evenly over the time since then; of a long time, only the last slots matter.
        for slot in first.max(last.saturating_sub(SLOTS as u64))..=last {
            self.enter(slot);
            let (starts, ends) = (slot * SLOT_NANOS, (slot + 1) * SLOT_NANOS);
            let within = ends.min(now.as_nanos()).saturating_sub(starts.max(self.until.as_nanos()));
            let part = match elapsed {
                0 => amount.get(),
                _ => u64::try_from(u128::from(amount.get()) * u128::from(within) / elapsed)
                    .expect("a part of the amount"),
            };
            let counted = &mut self.slots[index(slot)];
            *counted = counted.saturating_add(part);
        }
        self.until = self.until.max(now);
    }

    /// The same, for a rate since the last time.
    pub fn observe_rate(&mut self, rate: MilliUnitsPerSecond, now: Timestamp) {
        self.observe(rate.earned_in(now.since(self.until)), now);
    }

    /// The highest average over [`SUSTAINED`] since this was last asked.
    pub fn take_highest(&mut self) -> MilliUnitsPerSecond {
        std::mem::take(&mut self.highest)
    }

    /// Starts `slot`, unless it is the present one: the window that ended with the slot before counts.
    fn enter(&mut self, slot: u64) {
        if slot == self.slot {
            return;
        }
        self.close_window();
        let missed = (slot - self.slot - 1).min(SLOTS as u64);
        for empty in 0..missed {
            self.slots[index(self.slot + 1 + empty)] = 0;
        }
        self.slots[index(slot)] = 0;
        self.slot = slot;
    }

    fn close_window(&mut self) {
        let flowed = self.slots.iter().fold(0_u64, |sum, slot| sum.saturating_add(*slot));
        let average = MilliUnitsPerSecond::new(flowed / SUSTAINED.as_secs());
        self.highest = self.highest.max(average);
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a remainder below SLOTS")]
const fn index(slot: u64) -> usize {
    (slot % SLOTS as u64) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINUTE: u64 = 60_000;

    #[test]
    fn a_new_table_serves_what_dynamodb_serves() {
        let quota = |kind| OnDemand::new(kind).quota(OnDemandLimits::default());
        assert_eq!(quota(CapacityKind::Read), per_second(12_000));
        assert_eq!(quota(CapacityKind::Write), per_second(4_000));
    }

    #[test]
    fn a_table_that_was_provisioned_serves_no_less_than_before() {
        let table = OnDemand::after_provisioned(CapacityKind::Write, per_second(9_000));
        assert_eq!(table.quota(OnDemandLimits::default()), per_second(9_000));
        let small = OnDemand::after_provisioned(CapacityKind::Write, per_second(5));
        assert_eq!(small, OnDemand::new(CapacityKind::Write));
    }

    #[test]
    fn half_an_hour_after_a_new_peak_twice_of_it_is_served() {
        let mut table = OnDemand::new(CapacityKind::Write);
        assert!(!table.observe(per_second(3_000), unix(0)));
        assert!(!table.observe(per_second(3_500), unix(10 * MINUTE)));
        assert!(!table.observe(per_second(1_000), unix(30 * MINUTE - 1)));
        assert_eq!(table.quota(OnDemandLimits::default()), per_second(4_000));
        assert!(table.observe(per_second(0), unix(30 * MINUTE)));
        assert_eq!(table.quota(OnDemandLimits::default()), per_second(7_000));
    }

    #[test]
    fn a_quota_does_not_shrink_when_traffic_goes_away() {
        let mut table = OnDemand::new(CapacityKind::Write);
        table.observe(per_second(4_000), unix(0));
        table.observe(per_second(0), unix(30 * MINUTE));
        for day in 1..100 {
            table.observe(per_second(1), unix(day * 24 * 60 * MINUTE));
        }
        assert_eq!(table.quota(OnDemandLimits::default()), per_second(8_000));
    }

    #[test]
    fn a_maximum_and_the_tables_limit_bound_what_is_served() {
        let table = OnDemand { previous_peak: per_second(30_000), growth: None };
        assert_eq!(table.quota(OnDemandLimits::default()), per_second(40_000));
        let capped = OnDemandLimits { maximum: Some(per_second(500)), ..OnDemandLimits::default() };
        assert_eq!(table.quota(capped), per_second(500));
        let raised = OnDemandLimits { maximum: None, table_limit: per_second(100_000) };
        assert_eq!(table.quota(raised), per_second(60_000));
    }

    #[test]
    fn half_a_minute_at_a_rate_makes_it_a_peak() {
        let mut meter = PeakMeter::new(at(0));
        (1..=35).for_each(|second| meter.observe_rate(per_second(600), at(second * 1000)));
        assert_eq!(meter.take_highest(), per_second(600));
    }

    #[test]
    fn a_spike_counts_only_as_its_part_of_the_average() {
        let mut meter = PeakMeter::new(at(0));
        for second in 1..=70 {
            meter.observe_rate(per_second(if second == 33 { 3_000 } else { 0 }), at(second * 1000));
        }
        assert_eq!(meter.take_highest(), per_second(100));
        assert_eq!(meter.take_highest(), per_second(0));
    }

    proptest! {
        #[test]
        fn however_fast_traffic_grows_a_window_doubles_the_quota_at_most_once(
            steps in prop::collection::vec((0..20_000_u64, 1..20_u64), 1..60),
        ) {
            let limits = OnDemandLimits { maximum: None, table_limit: MilliUnitsPerSecond::new(u64::MAX) };
            let mut table = OnDemand::new(CapacityKind::Write);
            let mut now = 0;
            let mut doubled_at: Option<u64> = None;
            for (permille, minutes) in steps {
                now += minutes * MINUTE;
                let before = table.quota(limits).get();
                // A table cannot sustain more than it is served.
                let average = MilliUnitsPerSecond::new(before / 1000 * permille.min(1000));
                let grew = table.observe(average, unix(now));
                let after = table.quota(limits).get();
                prop_assert!(after >= before && after <= before * 2);
                prop_assert_eq!(grew, after > before);
                if grew {
                    prop_assert!(doubled_at.is_none_or(|last| now - last >= 30 * MINUTE));
                    doubled_at = Some(now);
                }
            }
        }

        #[test]
        fn a_peak_is_no_higher_than_any_rate_and_no_lower_than_the_lowest(
            rates in prop::collection::vec((1..5_000_u64, 1..9_000_u64), 1..100),
        ) {
            let mut meter = PeakMeter::new(at(0));
            let mut now = 0;
            for (rate, wait) in &rates {
                now += wait;
                meter.observe_rate(per_second(*rate), at(now));
            }
            let peak = meter.take_highest();
            let highest = rates.iter().map(|(rate, _)| *rate).max().unwrap_or(0);
            prop_assert!(peak <= per_second(highest));
            if now >= 40_000 {
                let lowest = rates.iter().map(|(rate, _)| *rate).min().unwrap_or(0);
                // Each part is rounded down by less than a milli-unit.
                prop_assert!(peak.get() + 100 >= per_second(lowest).get());
            }
        }
    }

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_nanos(millis * 1_000_000)
    }

    const fn unix(millis: u64) -> UnixMillis {
        UnixMillis::new(millis)
    }

    const fn per_second(units: u64) -> MilliUnitsPerSecond {
        MilliUnitsPerSecond::from_units(units)
    }
}
