//! Leaderships that left this node lately. Whoever is sent to the leader of one is told of the others, too: so
//! when many move, a caller need not be sent on once for each.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::Mutex;
use units::{PartitionId, Timestamp};

/// How long a departure is told of: in this time a caller that uses the partition has found out itself, or
/// MemDS has told it.
const LATELY: Duration = Duration::from_secs(2);
/// Departures that are remembered: what a node loses within that time in a planned move, and more.
const REMEMBERED: usize = 1_024;
/// The newest that each redirect tells of: with leaderships moved at an even pace, those that a caller does
/// not know yet.
const NEWEST: usize = 32;
/// And so many of the rest in turn: of many that left together each caller hears in a few redirects. Both
/// make about 5 KB.
const IN_TURN: usize = 32;

/// What left lately, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Departures(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    left: VecDeque<(Timestamp, PartitionId)>,
    turn: usize,
}

impl Departures {
    /// This node ceased to lead `partition`.
    pub(crate) fn note(&self, partition: PartitionId, now: Timestamp) {
        let mut state = self.0.lock();
        if state.left.len() == REMEMBERED {
            state.left.pop_front();
        }
        state.left.push_back((now, partition));
    }

    /// Of which to tell one caller now.
    pub(crate) fn to_tell(&self, now: Timestamp) -> Vec<PartitionId> {
        let mut state = self.0.lock();
        while state.left.front().is_some_and(|(at, _)| now.since(*at) > LATELY) {
            state.left.pop_front();
        }
        let older = state.left.len().saturating_sub(NEWEST);
        let from = if older == 0 { 0 } else { state.turn % older };
        state.turn = from + IN_TURN;
        let newest = state.left.iter().rev().take(NEWEST);
        let in_turn = state.left.iter().take(older).cycle().skip(from).take(IN_TURN.min(older));
        newest.chain(in_turn).map(|(_, partition)| *partition).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_newest_are_told_each_time_and_the_others_in_turn() {
        let departures = Departures::default();
        for number in 0..200 {
            departures.note(PartitionId::new(number), at(number));
        }
        let mut told = BTreeSet::new();
        for _ in 0..6 {
            let now = departures.to_tell(at(200));
            assert_eq!(now.len(), NEWEST + IN_TURN);
            assert!((168..200).all(|number| now.contains(&PartitionId::new(number))));
            told.extend(now);
        }
        assert_eq!(told.len(), 200, "168 others are five and a quarter turns");
    }

    #[test]
    fn what_left_long_ago_is_not_told_any_more_and_what_is_remembered_is_bounded() {
        let departures = Departures::default();
        for number in 0..5_000 {
            departures.note(PartitionId::new(number), at(number));
        }
        assert_eq!(departures.0.lock().left.len(), REMEMBERED);
        assert_eq!(departures.to_tell(at(4_999 + 1_995)).len(), 6);
        assert_eq!(departures.to_tell(at(9_999)), []);
    }

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_nanos(ms * 1_000_000)
    }
}
