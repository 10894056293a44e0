//! How often waits may ask again. When MemDS comes back empty every request waits: lookups must stay nearly
//! constant then, or they would keep it from filling.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use routing::Budget;
use units::Timestamp;

/// Rounds of questions beyond a wait's first, for 1,000 operations.
const PER_MILLE: u32 = 100;
/// And so many at once.
const RESERVE: u32 = 100;
/// One round is free this often: when all clients wait, no operation pays in, and still somebody must ask.
const FREE_EVERY: Duration = Duration::from_millis(100);

/// What a proxy's waits share.
#[derive(Debug)]
pub(super) struct Repeats {
    budget: Budget,
    /// When the next free round is, nanoseconds.
    free_at: AtomicU64,
}

impl Repeats {
    pub(super) const fn new() -> Self {
        Self { budget: Budget::new(PER_MILLE, RESERVE), free_at: AtomicU64::new(0) }
    }

    /// An operation came: it pays in.
    pub(super) fn operation(&self) {
        self.budget.request();
    }

    /// Whether a wait may ask again now; it is paid for then.
    pub(super) fn spend(&self, now: Timestamp) -> bool {
        self.budget.spend() || self.take_free(now)
    }

    fn take_free(&self, now: Timestamp) -> bool {
        let next = (now + FREE_EVERY).as_nanos();
        let take = |at: u64| (now.as_nanos() >= at).then_some(next);
        self.free_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_nanos(1_000_000_000);

    fn spend_all(repeats: &Repeats, now: Timestamp) -> usize {
        std::iter::repeat_with(|| repeats.spend(now)).take_while(|spent| *spent).count()
    }

    #[test]
    fn operations_pay_for_a_tenth_and_one_round_is_free_every_100_ms() {
        let repeats = Repeats::new();
        assert_eq!(spend_all(&repeats, START), 100 + 1, "the reserve, and a free one");
        (0..1_000).for_each(|_| repeats.operation());
        assert_eq!(spend_all(&repeats, START + FREE_EVERY / 2), 100);
        assert_eq!(spend_all(&repeats, START + FREE_EVERY), 1);
        assert_eq!(spend_all(&repeats, START + FREE_EVERY * 20), 1, "free ones are not saved up");
    }
}
