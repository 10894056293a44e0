//! Lookups per second, as status shows them.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use units::Timestamp;

/// One sample a second: the rate is that of the last ten.
const SAMPLES: usize = 11;

/// Counts lookups; sampled every second.
#[derive(Debug)]
pub(crate) struct LookupRate {
    total: AtomicU64,
    /// (when, the total then), the oldest first.
    samples: Mutex<VecDeque<(Timestamp, u64)>>,
}

impl LookupRate {
    pub(crate) fn new(now: Timestamp) -> Self {
        Self { total: AtomicU64::new(0), samples: Mutex::new(VecDeque::from([(now, 0)])) }
    }

    /// So many lookups were served.
    pub(crate) fn served(&self, lookups: u64) {
        self.total.fetch_add(lookups, Ordering::Relaxed);
    }

    /// Lookups served since the start.
    pub(crate) fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// To be called every second.
    pub(crate) fn sample(&self, now: Timestamp) {
        let total = self.total();
        let mut samples = self.samples.lock();
        if samples.len() == SAMPLES {
            samples.pop_front();
        }
        samples.push_back((now, total));
    }

    /// Lookups per second over the last ten seconds, or since the start.
    #[expect(clippy::cast_precision_loss, reason = "only shown; counts are far below 2^53")]
    pub(crate) fn per_second(&self, now: Timestamp) -> f64 {
        let samples = self.samples.lock();
        let (since, before) = *samples.front().expect("there is always a sample");
        let seconds = now.since(since).as_secs_f64();
        if seconds > 0.0 { self.total().saturating_sub(before) as f64 / seconds } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn the_rate_is_of_the_last_ten_seconds() {
        let rate = LookupRate::new(at(100));
        rate.served(500);
        assert_eq!(rate.per_second(at(105)), 100.0, "since the start, while that is less");
        for second in 101..=200 {
            rate.served(20);
            rate.sample(at(second));
        }
        assert_eq!(rate.per_second(at(200)), 20.0);
        assert_eq!(rate.total(), 500 + 2_000);
    }
}
