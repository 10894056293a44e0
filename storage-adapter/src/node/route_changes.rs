//! Which of the node's routes changed, and when: so that each pusher knows what it has not pushed, and how
//! long that has waited.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use units::Timestamp;

use super::hosted::Hosted;

/// Changes closer together than this count as of one time, the earlier one.
const RESOLUTION: Duration = Duration::from_millis(1);
/// Times that are kept: at least four seconds' worth, longer than a push may take. What changed before is
/// taken to have changed with the oldest of them.
const TIMES: usize = 4_096;

/// Counts the changes of a node's routes. One thread notes them.
#[derive(Debug)]
pub(crate) struct RouteChanges {
    times: Mutex<Times>,
    newest: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Times {
    count: u64,
    /// (first change of that time, the time), both growing.
    began: VecDeque<(u64, Timestamp)>,
}

impl Default for RouteChanges {
    fn default() -> Self {
        Self { times: Mutex::default(), newest: watch::Sender::new(0) }
    }
}

impl RouteChanges {
    /// A hosted replica's route changed.
    pub(crate) fn note(&self, hosted: &Hosted, now: Timestamp) {
        let change = self.times.lock().note(now);
        // In this order: whoever is told of a change finds the replica marked.
        hosted.note_change(change);
        self.newest.send_replace(change);
    }

    /// Tells of changes, by their count.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    /// How long the first change after `since` has waited; zero when there is none.
    pub(crate) fn waited(&self, since: u64, now: Timestamp) -> Duration {
        self.times.lock().first_after(since).map_or(Duration::ZERO, |at| now.since(at))
    }
}

impl Times {
    fn note(&mut self, now: Timestamp) -> u64 {
        self.count += 1;
        if self.began.back().is_none_or(|(_, at)| now.since(*at) >= RESOLUTION) {
            if self.began.len() == TIMES {
                self.began.pop_front();
            }
            self.began.push_back((self.count, now));
        }
        self.count
    }

    fn first_after(&self, since: u64) -> Option<Timestamp> {
        if since >= self.count {
            return None;
        }
        let later = self.began.partition_point(|(first, _)| *first <= since + 1);
        self.began.get(later.saturating_sub(1)).map(|(_, at)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(us: u64) -> Timestamp {
        Timestamp::from_nanos(us * 1_000)
    }

    #[test]
    fn the_first_change_that_was_not_pushed_says_how_long_it_waits() {
        let mut times = Times::default();
        for us in [1_000, 1_400, 5_000, 5_900, 9_000] {
            times.note(at(us));
        }
        let first_after = [0, 1, 2, 3, 4, 5].map(|since| times.first_after(since));
        // The second and the fourth are within the resolution of those before.
        let expected = [1_000, 1_000, 5_000, 5_000, 9_000].map(|us| Some(at(us)));
        assert_eq!(first_after[..5], expected);
        assert_eq!(first_after[5], None);
    }

    #[test]
    fn times_are_bounded_and_the_oldest_kept_stands_for_those_before() {
        let mut times = Times::default();
        for number in 0..10_000 {
            times.note(at(number * 1_000));
        }
        assert_eq!(times.began.len(), TIMES);
        assert_eq!(times.first_after(3), Some(at((10_000 - 4_096) * 1_000)));
        assert_eq!(times.first_after(9_999), Some(at(9_999_000)));
    }
}
