//! How much may be added to what clients ask for: so little that it cannot keep an overloaded tier
//! overloaded.

use std::sync::atomic::{AtomicU64, Ordering};

/// What one extra costs; each request pays in its thousandths.
const COST: u64 = 1000;

/// A budget for retries or hedges, shared by all threads: a share of the requests, and a reserve for the
/// moment in which all need one. Over any time, extras are at most the reserve and the share of that
/// time's requests.
#[derive(Debug)]
pub struct Budget {
    saved: AtomicU64,
    /// What may be saved up.
    most: u64,
    per_request: u64,
}

impl Budget {
    /// A full budget: `per_mille` extras for 1,000 requests, and at most `reserve` saved up (none: no extra
    /// ever).
    #[must_use]
    pub const fn new(per_mille: u32, reserve: u32) -> Self {
        let most = reserve as u64 * COST;
        Self { saved: AtomicU64::new(most), most, per_request: per_mille as u64 }
    }

    /// A request came: it pays in.
    pub fn request(&self) {
        // A full budget is only read. Requests at the same moment may overfill it by what each pays in.
        if self.saved.load(Ordering::Relaxed) < self.most {
            self.saved.fetch_add(self.per_request, Ordering::Relaxed);
        }
    }

    /// Whether an extra may be made; it is paid for then.
    pub fn spend(&self) -> bool {
        let pay = |saved: u64| saved.checked_sub(COST);
        self.saved.fetch_update(Ordering::Relaxed, Ordering::Relaxed, pay).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn retries_are_a_tenth_of_the_requests_after_the_reserve() {
        let budget = Budget::new(100, 100);
        assert_eq!(spend_all(&budget), 100);
        let retries = (0..1000).map(|_| request_and_spend(&budget)).sum::<u64>();
        assert_eq!(retries, 100);
    }

    #[test]
    fn no_more_than_the_reserve_is_saved_up() {
        let budget = Budget::new(20, 10);
        (0..1_000_000).for_each(|_| budget.request());
        assert_eq!(spend_all(&budget), 10);
    }

    #[test]
    fn a_budget_without_a_reserve_allows_nothing() {
        let budget = Budget::new(100, 0);
        assert_eq!((0..1000).map(|_| request_and_spend(&budget)).sum::<u64>(), 0);
    }

    #[test]
    fn threads_together_stay_within_the_budget() {
        let budget = Budget::new(20, 5);
        let spent: u64 = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..10_000).map(|_| request_and_spend(&budget)).sum::<u64>()))
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("it does not panic")).sum()
        });
        assert!(spent <= 5 + 40_000 * 20 / 1000, "{spent}");
        assert!(spent > 700, "{spent}");
    }

    proptest! {
        #[test]
        fn extras_never_exceed_the_share_and_the_reserve(
            per_mille in 0_u32..1000,
            reserve in 0_u32..50,
            is_request in proptest::collection::vec(any::<bool>(), 0..2000),
        ) {
            let budget = Budget::new(per_mille, reserve);
            let (mut requests, mut extras) = (0_u64, 0_u64);
            for is_request in is_request {
                if is_request {
                    budget.request();
                    requests += 1;
                } else {
                    extras += u64::from(budget.spend());
                }
                prop_assert!(extras * 1000 <= requests * u64::from(per_mille) + u64::from(reserve) * 1000);
            }
        }
    }

    fn request_and_spend(budget: &Budget) -> u64 {
        budget.request();
        u64::from(budget.spend())
    }

    fn spend_all(budget: &Budget) -> u64 {
        std::iter::repeat_with(|| budget.spend()).take_while(|spent| *spent).count() as u64
    }
}
