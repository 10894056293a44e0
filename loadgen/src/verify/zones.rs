//! Times that exclude each other.

use super::history::Moment;

/// What the calls of something that took place in one piece say of when that was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Zone {
    /// Its first part took place at this time at the latest: when the first of its calls ended.
    pub first_by: Moment,
    /// Its last part took place at this time at the earliest: when the last of its calls began.
    pub last_from: Moment,
}

impl Zone {
    /// Whether it spans a time (a *forward* zone); else all of it may take place at one moment, any from
    /// `last_from` to `first_by`.
    #[must_use]
    pub const fn is_forward(&self) -> bool {
        self.first_by < self.last_from
    }

    /// Whether it took place before the other in every order: it began before the other could be over.
    #[must_use]
    pub const fn precedes(&self, other: &Self) -> bool {
        self.first_by < other.last_from
    }
}

/// Pairs of zones that must each precede the other, by their places: none, if and only if all can be put in an
/// order. Not every such pair is found, but one if there is any.
#[must_use]
pub fn contradictions(zones: &[Zone]) -> Vec<(usize, usize)> {
    let mut forward: Vec<usize> = (0..zones.len()).filter(|at| zones[*at].is_forward()).collect();
    forward.sort_unstable_by_key(|at| (zones[*at].first_by, zones[*at].last_from));
    let mut found = Vec::new();
    // Two forward zones that overlap. The one that reaches furthest of those before stands for all of them.
    let mut furthest: Option<usize> = None;
    for at in &forward {
        if let Some(before) = furthest
            && zones[*at].precedes(&zones[before])
        {
            found.push((before, *at));
        }
        if furthest.is_none_or(|before| zones[before].last_from < zones[*at].last_from) {
            furthest = Some(*at);
        }
    }
    if !found.is_empty() {
        return found;
    }
    // A backward zone inside a forward one: of zones that do not overlap, only the last that precedes it can
    // hold it.
    for (at, zone) in zones.iter().enumerate().filter(|(_, zone)| !zone.is_forward()) {
        let before = forward.partition_point(|other| zones[*other].precedes(zone));
        if let Some(before) = before.checked_sub(1)
            && zone.precedes(&zones[forward[before]])
        {
            found.push((forward[before], at));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn zones_that_touch_do_not_contradict_each_other() {
        assert_eq!(contradictions(&[zone(1, 5), zone(5, 9)]), []);
    }

    #[test]
    fn forward_zones_may_not_overlap() {
        assert_eq!(contradictions(&[zone(1, 5), zone(4, 9)]), [(0, 1)]);
    }

    #[test]
    fn a_backward_zone_may_not_lie_inside_a_forward_one() {
        assert_eq!(contradictions(&[zone(1, 9), zone(5, 4)]), [(0, 1)]);
        assert_eq!(contradictions(&[zone(1, 9), zone(9, 4)]), [], "it may take place at the end");
    }

    proptest! {
        #[test]
        fn a_contradiction_is_found_if_and_only_if_a_pair_contradicts_itself(
            zones in proptest::collection::vec((1_u64..30, 1_u64..30), 0..8),
        ) {
            let zones: Vec<_> = zones.into_iter().map(|(first, last)| zone(first, last)).collect();
            let pairs = (0..zones.len()).flat_map(|a| (0..a).map(move |b| (a, b)));
            let expected =
                pairs.into_iter().any(|(a, b)| zones[a].precedes(&zones[b]) && zones[b].precedes(&zones[a]));
            let found = contradictions(&zones);
            prop_assert_eq!(!found.is_empty(), expected);
            for (a, b) in found {
                prop_assert!(zones[a].precedes(&zones[b]) && zones[b].precedes(&zones[a]));
            }
        }
    }

    fn zone(first_by: Moment, last_from: Moment) -> Zone {
        Zone { first_by, last_from }
    }
}
