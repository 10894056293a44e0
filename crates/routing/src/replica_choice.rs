//! Which replica an eventually consistent read asks first, and which one if that is slow.

/// One read in so many goes to a replica that would not be asked: to a gray one, so that it is found well
/// again, else to each in turn, so that there is something to compare with.
const PROBED: u64 = 64;

/// A turn in which no replica is probed.
pub const NO_PROBE: u64 = 1;

/// What is known of a replica's node; the lesser the better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReplicaHealth {
    /// Nothing is known against it.
    Well,
    /// Slow but alive.
    Gray,
    /// It has just refused or failed.
    Failing,
    /// There is no connection to it.
    Unconnected,
}

/// A replica that could serve a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replica {
    /// Its place among the partition's members.
    pub place: usize,
    /// Whether it is in the reader's zone.
    pub is_near: bool,
    /// How its node is.
    pub health: ReplicaHealth,
}

/// Whom to ask, by their places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplicaChoice {
    /// First.
    pub first: usize,
    /// When that one is slow or fails; none: nobody else could answer.
    pub second: Option<usize>,
    /// The first one would not be asked if it were not for its latency to be known.
    pub is_probe: bool,
}

/// Chooses among the replicas of a partition with so many members: the healthiest, among these the nearest,
/// among these each in turn. `turn` counts the reads. None: there is no replica.
#[must_use]
pub fn choose_replicas(
    replicas: impl IntoIterator<Item = Replica>,
    members: usize,
    turn: u64,
) -> Option<ReplicaChoice> {
    let members = members.max(1);
    let in_turn = |place: usize, turn: u64| (place + (turn % members as u64) as usize) % members;
    // The two least, and the one to be probed, each with its rank.
    let (mut best, mut next, mut probe) = (None, None, None);
    for replica in replicas {
        let rank = (replica.health, !replica.is_near, in_turn(replica.place, turn));
        let ranked = Some((rank, replica));
        if best.is_none_or(|(least, _)| rank < least) {
            (best, next) = (ranked, best);
        } else if next.is_none_or(|(least, _)| rank < least) {
            next = ranked;
        }
        let wish = (replica.health != ReplicaHealth::Gray, in_turn(replica.place, turn / PROBED));
        if replica.health <= ReplicaHealth::Gray && probe.is_none_or(|(least, _)| wish < least) {
            probe = Some((wish, replica));
        }
    }
    let (_, best) = best?;
    match probe.filter(|(_, probe)| turn.is_multiple_of(PROBED) && probe.place != best.place) {
        Some((_, probe)) => {
            Some(ReplicaChoice { first: probe.place, second: Some(best.place), is_probe: true })
        }
        None => {
            let second = next.filter(|(_, next)| next.health <= ReplicaHealth::Gray);
            let second = second.map(|(_, next)| next.place);
            Some(ReplicaChoice { first: best.place, second, is_probe: false })
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use ReplicaHealth::{Failing, Gray, Unconnected, Well};

    #[test]
    fn the_replica_in_the_own_zone_serves_nearly_all_reads() {
        let replicas = [far(0, Well), near(1, Well), far(2, Well)];
        let chosen = choices(&replicas, 64 * 3);
        assert_eq!(chosen.iter().filter(|choice| choice.first == 1).count(), 64 * 3 - 2);
        // And each of the others is asked now and then.
        assert!([0, 2].into_iter().all(|other| chosen.iter().any(|choice| choice.first == other)));
    }

    #[test]
    fn a_gray_replica_gets_one_probe_in_sixty_four_reads() {
        let replicas = [far(0, Well), near(1, Gray), far(2, Well)];
        let chosen = choices(&replicas, 640);
        let probes: Vec<_> = chosen.iter().filter(|choice| choice.first == 1).collect();
        assert_eq!(probes.len(), 10);
        assert!(probes.iter().all(|choice| choice.is_probe && choice.second.is_some_and(|other| other != 1)));
        // The others share the rest.
        let of_first = chosen.iter().filter(|choice| choice.first == 0).count();
        assert!((200..=430).contains(&of_first), "{of_first}");
    }

    #[test]
    fn what_fails_is_asked_last_and_never_second() {
        let replicas = [near(0, Failing), far(1, Gray), far(2, Unconnected)];
        let chosen = choices(&replicas, 200);
        assert!(chosen.iter().all(|choice| choice.first == 1 && choice.second.is_none()));
    }

    #[test]
    fn a_lone_replica_is_asked_however_it_is() {
        for health in [Well, Gray, Failing, Unconnected] {
            let chosen = choices(&[far(0, health)], 130);
            let alone = ReplicaChoice { first: 0, second: None, is_probe: false };
            assert!(chosen.iter().all(|choice| *choice == alone));
        }
        assert_eq!(choose_replicas([], 3, 5), None);
    }

    proptest! {
        #[test]
        fn without_a_probe_nobody_better_is_passed_over(replicas in replicas(), turn: u64) {
            let choice = choose_replicas(replicas.clone(), replicas.len(), turn);
            let Some(choice) = choice else { return Err(TestCaseError::reject("no replicas")) };
            let rank = |place: usize| (replicas[place].health, !replicas[place].is_near);
            if !choice.is_probe {
                prop_assert!((0..replicas.len()).all(|other| rank(choice.first) <= rank(other)));
            } else {
                prop_assert!(turn.is_multiple_of(64) && replicas[choice.first].health <= Gray);
            }
            if let Some(second) = choice.second {
                prop_assert_ne!(second, choice.first);
                let others = (0..replicas.len()).filter(|other| *other != choice.first);
                prop_assert!(others.clone().all(|other| rank(second) <= rank(other)));
                prop_assert!(choice.is_probe || replicas[second].health <= Gray);
            }
        }
    }

    fn replicas() -> impl Strategy<Value = Vec<Replica>> {
        let health = prop_oneof![Just(Well), Just(Gray), Just(Failing), Just(Unconnected)];
        proptest::collection::vec((any::<bool>(), health), 1..6).prop_map(|replicas| {
            let numbered = replicas.into_iter().enumerate();
            numbered.map(|(place, (is_near, health))| Replica { place, is_near, health }).collect()
        })
    }

    fn choices(replicas: &[Replica], reads: u64) -> Vec<ReplicaChoice> {
        let choose = |turn| choose_replicas(replicas.iter().copied(), replicas.len(), turn);
        (0..reads).map(|turn| choose(turn).expect("there are replicas")).collect()
    }

    const fn near(place: usize, health: ReplicaHealth) -> Replica {
        Replica { place, is_near: true, health }
    }

    const fn far(place: usize, health: ReplicaHealth) -> Replica {
        Replica { place, is_near: false, health }
    }
}
