//! How much room a bucket has had for tokens that were under way to it.
//!
//! What overflows at a proxy comes home with its next report, seconds later. Had it come at once, it would
//! have been lost whenever the bucket was full, and so it must be when it comes late: otherwise a bucket
//! that is full when a burst begins would be filled a second time out of what is still under way. So only
//! as much counts as there was room for ever since the proxy's report before.

use std::time::Duration;

use units::{MilliUnits, Timestamp};

/// Time is looked at in slots of this length …
const SLOT: Duration = Duration::from_secs(1);
/// … so many of them back: longer than the longest interval while tokens are scarce, and than the usual one
/// otherwise. What was under way for longer is lost.
const SLOTS: usize = 8;

/// The least room in each of the last slots.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Headroom {
    least: [u64; SLOTS],
    /// Counts slots since the clock's origin.
    newest: u64,
}

impl Headroom {
    /// Notes that there is room for `room` tokens now.
    pub(super) fn note(&mut self, room: u64, now: Timestamp) {
        let slot = number(now);
        if slot > self.newest {
            for passed in (self.newest + 1..=slot).rev().take(SLOTS) {
                self.least[place(passed)] = room;
            }
            self.newest = slot;
        }
        let current = &mut self.least[place(self.newest)];
        *current = room.min(*current);
    }

    /// Takes room for up to `amount`, as far as there was any ever since `since`; how much.
    pub(super) fn take(&mut self, amount: MilliUnits, since: Timestamp) -> MilliUnits {
        let oldest = number(since);
        if oldest + SLOTS as u64 <= self.newest {
            return MilliUnits::ZERO;
        }
        let slots = oldest.min(self.newest)..=self.newest;
        let least = slots.clone().map(|slot| self.least[place(slot)]).min().unwrap_or(0);
        let taken = amount.get().min(least);
        slots.for_each(|slot| self.least[place(slot)] -= taken);
        MilliUnits::new(taken)
    }

    /// Starts over, with no room in the past.
    pub(super) fn forget(&mut self) {
        self.least = [0; SLOTS];
    }
}

fn number(at: Timestamp) -> u64 {
    at.as_nanos() / u64::try_from(SLOT.as_nanos()).expect("a slot is short")
}

fn place(slot: u64) -> usize {
    usize::try_from(slot % SLOTS as u64).expect("there are few slots")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn only_as_much_comes_late_as_there_was_room_for_all_the_time() {
        let mut headroom = Headroom::default();
        headroom.note(100, at(20_000));
        headroom.note(30, at(21_500));
        headroom.note(80, at(22_500));
        let taken = headroom.take(MilliUnits::new(50), at(22_100));
        assert_eq!(taken, MilliUnits::new(50));
        let taken = headroom.take(MilliUnits::new(50), at(20_500));
        assert_eq!(taken, MilliUnits::new(30), "the slot that both share has 30 left, too");
        assert_eq!(headroom.take(MilliUnits::new(50), at(21_100)), MilliUnits::ZERO);
    }

    #[test]
    fn what_was_under_way_for_very_long_is_lost() {
        let mut headroom = Headroom::default();
        headroom.note(100, at(1_000));
        headroom.note(100, at(60_000));
        assert_eq!(headroom.take(MilliUnits::new(50), at(51_000)), MilliUnits::ZERO);
        assert_eq!(headroom.take(MilliUnits::new(50), at(54_000)), MilliUnits::new(50));
    }
}
