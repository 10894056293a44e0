//! How much body the process holds at once, and how many requests it works on.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use metrics::Gauge;

/// Body bytes of all the requests in the process.
pub(crate) struct BytesInFlight {
    held: AtomicUsize,
    limit: usize,
    gauge: Gauge,
}

/// One request's part; given back when dropped.
pub(crate) struct Held {
    of: Arc<BytesInFlight>,
    bytes: usize,
}

impl BytesInFlight {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        let gauge = metrics::gauge!(crate::metrics::BYTES_IN_FLIGHT);
        Arc::new(Self { held: AtomicUsize::new(0), limit, gauge })
    }

    pub(crate) fn hold(self: &Arc<Self>) -> Held {
        Held { of: Arc::clone(self), bytes: 0 }
    }
}

impl Held {
    /// Takes `bytes` more; false, and nothing taken, when that would pass the limit.
    pub(crate) fn grow(&mut self, bytes: usize) -> bool {
        let before = self.of.held.fetch_add(bytes, Ordering::Relaxed);
        // A request that is alone always fits, so that no limit can starve large ones.
        let fits = before.saturating_add(bytes) <= self.of.limit || before == self.bytes;
        if fits {
            self.bytes += bytes;
            self.of.gauge.increment(shown(bytes));
        } else {
            self.of.held.fetch_sub(bytes, Ordering::Relaxed);
        }
        fits
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.of.held.fetch_sub(self.bytes, Ordering::Relaxed);
        self.of.gauge.decrement(shown(self.bytes));
    }
}

#[expect(clippy::cast_precision_loss, reason = "only shown; bodies are far below 2^53 bytes")]
const fn shown(bytes: usize) -> f64 {
    bytes as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_bounded_and_comes_back() {
        let all = BytesInFlight::new(10);
        let (mut first, mut second) = (all.hold(), all.hold());
        assert!(first.grow(6));
        assert!(second.grow(4));
        assert!(!second.grow(1));
        assert_eq!(all.held.load(Ordering::Relaxed), 10);
        drop(first);
        assert!(second.grow(6));
        drop(second);
        assert_eq!(all.held.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_request_that_is_alone_fits_whatever_the_limit() {
        let all = BytesInFlight::new(10);
        let mut alone = all.hold();
        assert!(alone.grow(8) && alone.grow(8));
        assert!(!all.hold().grow(1));
    }
}
