//! Counts what was admitted and refused of one kind of capacity, and keeps the last ten seconds of it.
//!
//! Requests only add to cumulative counters. A reading of them once a second makes the windows: so a
//! request pays two additions, and an idle meter keeps no history.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use units::{MilliUnits, Timestamp};

use super::explanation::Cause;
use super::top::{Amount, Flow};

/// Readings that are kept: the ends of ten windows of a second.
const READINGS: usize = 11;

/// What was admitted and refused.
#[derive(Debug, Default)]
pub(super) struct Meter {
    admitted: Tally,
    refused: [Tally; Cause::ALL.len()],
    shadow: Tally,
    history: Mutex<VecDeque<Reading>>,
}

/// Milli-units and requests, cumulative.
#[derive(Debug, Default)]
struct Tally {
    milli: AtomicU64,
    requests: AtomicU64,
}

/// A meter's counters at some time: milli-units and requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reading {
    at: Timestamp,
    admitted: (u64, u64),
    refused: [(u64, u64); Cause::ALL.len()],
    shadow: (u64, u64),
}

impl Tally {
    fn add(&self, amount: MilliUnits) {
        self.milli.fetch_add(amount.get(), Ordering::Relaxed);
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    fn read(&self) -> (u64, u64) {
        (self.milli.load(Ordering::Relaxed), self.requests.load(Ordering::Relaxed))
    }
}

impl Meter {
    pub(super) fn admitted(&self, cost: MilliUnits) {
        self.admitted.add(cost);
    }

    /// Replaces an admitted request's charge by what it cost in the end.
    pub(super) fn settled(&self, taken: MilliUnits, actual: MilliUnits) {
        // Wrapping: the sum of both is what counts.
        self.admitted.milli.fetch_add(actual.get().wrapping_sub(taken.get()), Ordering::Relaxed);
    }

    pub(super) fn refused(&self, cost: MilliUnits, cause: Cause) {
        self.refused[cause as usize].add(cost);
    }

    /// A storage node refused what had been admitted here; its charge is settled apart.
    pub(super) fn refused_later(&self, cost: MilliUnits, cause: Cause) {
        self.admitted.requests.fetch_sub(1, Ordering::Relaxed);
        self.refused(cost, cause);
    }

    pub(super) fn shadowed(&self, cost: MilliUnits) {
        self.shadow.add(cost);
    }

    /// Reads the counters, once a second. False: nothing happened for ten seconds.
    pub(super) fn tick(&self, at: Timestamp) -> bool {
        let reading = self.read(at);
        let mut history = self.history.lock();
        let moved = history.front().is_none_or(|oldest| Reading { at, ..*oldest } != reading);
        if history.len() == READINGS {
            history.pop_front();
        }
        if moved {
            history.push_back(reading);
        } else {
            // As a meter begins: what is added next must show as added.
            *history = VecDeque::from([reading]);
        }
        moved
    }

    /// The flows over the last second and the last ten; none: nothing flowed.
    pub(super) fn flows(&self) -> Option<(Flow, Flow)> {
        let history = self.history.lock();
        let (newest, oldest) = (history.back()?, history.front()?);
        let before = history.get(history.len().checked_sub(2)?)?;
        let ten_seconds = newest.since(oldest);
        (ten_seconds != Flow::default()).then(|| (newest.since(before), ten_seconds))
    }

    fn read(&self, at: Timestamp) -> Reading {
        Reading {
            at,
            admitted: self.admitted.read(),
            refused: std::array::from_fn(|cause| self.refused[cause].read()),
            shadow: self.shadow.read(),
        }
    }
}

impl Reading {
    fn since(&self, earlier: &Self) -> Flow {
        let seconds = self.at.since(earlier.at).as_secs_f64().max(0.001);
        let amount = |now: (u64, u64), then: (u64, u64)| Amount {
            units: signed(now.0.wrapping_sub(then.0)) / 1000.0 / seconds,
            requests: signed(now.1.wrapping_sub(then.1)) / seconds,
        };
        let throttled = Cause::ALL
            .into_iter()
            .map(|cause| (cause, amount(self.refused[cause as usize], earlier.refused[cause as usize])));
        let admitted = amount(self.admitted, earlier.admitted);
        let mut flow = Flow {
            offered: admitted,
            admitted,
            shadow: amount(self.shadow, earlier.shadow),
            ..Flow::default()
        };
        for (cause, refused) in throttled.filter(|(_, refused)| *refused != Amount::default()) {
            flow.offered.units += refused.units;
            flow.offered.requests += refused.requests;
            flow.throttled.insert(cause, refused);
        }
        flow
    }
}

/// A difference of counters that may have been corrected downwards; only shown, and never below nothing.
#[expect(clippy::cast_precision_loss, reason = "only shown")]
fn signed(difference: u64) -> f64 {
    (difference.cast_signed().max(0)) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_nanos(seconds * 1_000_000_000)
    }

    fn units(units: u64) -> MilliUnits {
        MilliUnits::from_units(units)
    }

    #[test]
    fn the_last_second_is_told_from_the_last_ten() {
        let meter = Meter::default();
        meter.tick(at(0));
        for second in 1..=10 {
            let each = if second == 10 { 30 } else { 10 };
            (0..each).for_each(|_| meter.admitted(units(2)));
            meter.refused(units(5), Cause::Quota);
            assert!(meter.tick(at(second)));
        }
        let (second, ten) = meter.flows().expect("something flowed");
        assert_eq!(second.admitted, Amount { units: 60.0, requests: 30.0 });
        assert_eq!(ten.admitted, Amount { units: 24.0, requests: 12.0 });
        assert_eq!(ten.throttled, [(Cause::Quota, Amount { units: 5.0, requests: 1.0 })].into());
        assert_eq!(ten.offered, Amount { units: 29.0, requests: 13.0 });
    }

    #[test]
    fn a_meter_shows_nothing_once_it_was_idle_for_ten_seconds_and_starts_again() {
        let meter = Meter::default();
        meter.tick(at(0));
        meter.admitted(units(1));
        for second in 1..=11 {
            meter.tick(at(second));
        }
        assert_eq!(meter.flows(), None);
        meter.admitted(units(1));
        meter.tick(at(12));
        assert!(meter.flows().is_some());
    }

    #[test]
    fn what_a_storage_node_refused_was_not_admitted() {
        let meter = Meter::default();
        meter.tick(at(0));
        meter.admitted(units(1));
        meter.settled(units(1), MilliUnits::ZERO);
        meter.refused_later(units(1), Cause::Partition);
        meter.tick(at(1));
        let (second, _) = meter.flows().expect("something flowed");
        assert_eq!(second.admitted, Amount::default());
        assert_eq!(second.throttled, [(Cause::Partition, Amount { units: 1.0, requests: 1.0 })].into());
    }
}
