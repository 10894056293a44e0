//! How much body the process holds at once, and how many requests it works on.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Body bytes of all the requests in the process.
#[derive(Debug)]
pub(crate) struct BytesInFlight {
    held: AtomicUsize,
    limit: usize,
}

/// One request's part; given back when dropped.
#[derive(Debug)]
pub(crate) struct Held {
    of: Arc<BytesInFlight>,
    bytes: usize,
}

impl BytesInFlight {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { held: AtomicUsize::new(0), limit })
    }

    pub(crate) fn now(&self) -> usize {
        self.held.load(Ordering::Relaxed)
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
        } else {
            self.of.held.fetch_sub(bytes, Ordering::Relaxed);
        }
        fits
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.of.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
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
        assert_eq!(all.now(), 10);
        drop(first);
        assert!(second.grow(6));
        drop(second);
        assert_eq!(all.now(), 0);
    }

    #[test]
    fn a_request_that_is_alone_fits_whatever_the_limit() {
        let all = BytesInFlight::new(10);
        let mut alone = all.hold();
        assert!(alone.grow(8) && alone.grow(8));
        assert!(!all.hold().grow(1));
    }
}
