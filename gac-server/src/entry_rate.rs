//! How many report entries are answered per second.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use units::Timestamp;

/// Counts entries, and knows their rate over the last second or so.
#[derive(Debug)]
pub(crate) struct EntryRate {
    total: AtomicU64,
    rate: AtomicU64,
    ticked: Mutex<(u64, Timestamp)>,
}

impl EntryRate {
    pub(crate) fn new(now: Timestamp) -> Self {
        Self { total: AtomicU64::new(0), rate: AtomicU64::new(0), ticked: Mutex::new((0, now)) }
    }

    pub(crate) fn count(&self, entries: u64) {
        self.total.fetch_add(entries, Ordering::Relaxed);
    }

    /// Per second, between the last two ticks.
    pub(crate) fn per_second(&self) -> u64 {
        self.rate.load(Ordering::Relaxed)
    }

    /// To be called about once a second.
    pub(crate) fn tick(&self, now: Timestamp) {
        let total = self.total.load(Ordering::Relaxed);
        let mut ticked = self.ticked.lock();
        let (before, at) = std::mem::replace(&mut *ticked, (total, now));
        let millis = u64::try_from(now.since(at).as_millis()).unwrap_or(u64::MAX).max(1);
        self.rate.store((total - before).saturating_mul(1_000) / millis, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_between_the_last_two_ticks() {
        let at = |seconds: u64| Timestamp::from_nanos(seconds * 1_000_000_000);
        let rate = EntryRate::new(at(0));
        rate.count(100);
        rate.tick(at(1));
        assert_eq!(rate.per_second(), 100);
        rate.count(50);
        rate.tick(at(3));
        assert_eq!(rate.per_second(), 25);
    }
}
