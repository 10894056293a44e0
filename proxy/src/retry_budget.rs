//! How many retries the proxy may add to what its clients ask for: so few that they cannot keep an
//! overloaded tier overloaded.

use std::sync::atomic::{AtomicU64, Ordering};

/// A retry costs what ten requests bring in: retries add at most 10 % to the load.
const COST: u64 = 10;

/// What may be saved up: 100 retries, for the moment after a leader's failure when all its requests need
/// one.
const RESERVE: u64 = 100 * COST;

/// The process's budget.
#[derive(Debug)]
pub(crate) struct RetryBudget(AtomicU64);

impl RetryBudget {
    pub(crate) const fn new() -> Self {
        Self(AtomicU64::new(RESERVE))
    }

    /// A request came: it pays in. Lost updates between threads only make the budget smaller.
    pub(crate) fn request(&self) {
        let saved = self.0.load(Ordering::Relaxed);
        if saved < RESERVE {
            self.0.store(saved + 1, Ordering::Relaxed);
        }
    }

    /// Whether a retry may be made; it is paid for then.
    pub(crate) fn retry(&self) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |saved| saved.checked_sub(COST)).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_are_a_tenth_of_the_requests_plus_the_reserve() {
        let budget = RetryBudget::new();
        let reserve = (0..1000).filter(|_| budget.retry()).count();
        assert_eq!(reserve, 100);
        let mut retries = 0;
        for _ in 0..1000 {
            budget.request();
            retries += usize::from(budget.retry());
        }
        assert_eq!(retries, 100);
    }
}
