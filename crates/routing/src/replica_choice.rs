//! Which replica an eventually consistent read asks first, and which one if that is slow.

/// Beside one read in so many another replica is asked, too: a gray one, so that it is found well again, else
/// each in turn, so that there is something to compare with.
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
    /// Whom to ask besides, only for its latency to be known: its answer is not the reader's.
    pub probe: Option<usize>,
}

/// Chooses among the replicas of a partition with so many members: the healthiest, among these the nearest,
/// among these always the same, another one for another `spread` (the partition's number, say). `turn` counts
/// the reads. None: there is no replica.
///
/// Replicas are at different points of the same history, so a reader that alternates between them sees it go
/// back and forth. With this choice it does not while nothing happens to the replica that it reads. After that
/// one was slow (another was asked, too, and was quicker), failed or became gray, and again when it is back,
/// another one is asked, which may be at an older point: who minds tells it how new a state it wants.
#[must_use]
pub fn choose_replicas(
    replicas: impl IntoIterator<Item = Replica>,
    members: usize,
    spread: u64,
    turn: u64,
) -> Option<ReplicaChoice> {
    let members = members.max(1);
    let rotated = |place: usize, by: u64| (place + (by % members as u64) as usize) % members;
    let spread = scattered(spread);
    // The two least, and the one to be probed, each with its rank.
    let (mut best, mut next, mut probe) = (None, None, None);
    for replica in replicas {
        let rank = (replica.health, !replica.is_near, rotated(replica.place, spread));
        let ranked = Some((rank, replica));
        if best.is_none_or(|(least, _)| rank < least) {
            (best, next) = (ranked, best);
        } else if next.is_none_or(|(least, _)| rank < least) {
            next = ranked;
        }
        let wish = (replica.health != ReplicaHealth::Gray, rotated(replica.place, turn / PROBED));
        if replica.health <= ReplicaHealth::Gray && probe.is_none_or(|(least, _)| wish < least) {
            probe = Some((wish, replica));
        }
    }
    let (_, best) = best?;
    let second = next.filter(|(_, next)| next.health <= ReplicaHealth::Gray);
    // The one that is read anyway needs no probe.
    let probe = probe.filter(|(_, probe)| turn.is_multiple_of(PROBED) && probe.place != best.place);
    Some(ReplicaChoice {
        first: best.place,
        second: second.map(|(_, next)| next.place),
        probe: probe.map(|(_, probe)| probe.place),
    })
}

/// Numbers that are multiples of each other must not all come to the same remainder.
const fn scattered(number: u64) -> u64 {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use ReplicaHealth::{Failing, Gray, Unconnected, Well};

    #[test]
    fn the_replica_in_the_own_zone_serves_all_reads_and_the_others_are_probed() {
        let replicas = [far(0, Well), near(1, Well), far(2, Well)];
        let chosen = choices(&replicas, 64 * 3);
        assert!(chosen.iter().all(|choice| choice.first == 1));
        let probed: Vec<_> = chosen.iter().filter_map(|choice| choice.probe).collect();
        assert_eq!(probed, [0, 2], "the third turn is that of the replica that is read anyway");
    }

    #[test]
    fn a_gray_replica_gets_one_probe_in_sixty_four_reads_and_no_reader_its_answer() {
        let replicas = [far(0, Well), near(1, Gray), far(2, Well)];
        let chosen = choices(&replicas, 640);
        assert_eq!(chosen.iter().filter(|choice| choice.probe == Some(1)).count(), 10);
        assert!(chosen.iter().all(|choice| choice.first != 1 && choice.second != Some(1)));
    }

    #[test]
    fn equals_share_the_partitions_not_a_partitions_reads() {
        let replicas = [near(0, Well), near(1, Well), near(2, Well)];
        for step in [1, 2, 3, 64] {
            let mut partitions = [0; 3];
            for partition in 0..300 {
                let spread = partition * step;
                let choose = |turn| choose_replicas(replicas, 3, spread, turn).expect("there are replicas");
                let first = choose(0).first;
                assert!((0..200).all(|turn| choose(turn).first == first), "partition {spread}");
                partitions[first] += 1;
            }
            assert!(partitions.iter().all(|count| (60..=140).contains(count)), "{step}: {partitions:?}");
        }
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
            let alone = ReplicaChoice { first: 0, second: None, probe: None };
            assert!(chosen.iter().all(|choice| *choice == alone));
        }
        assert_eq!(choose_replicas([], 3, 7, 5), None);
    }

    proptest! {
        #[test]
        fn nobody_better_is_passed_over(replicas in replicas(), spread: u64, turn: u64) {
            let choice = choose_replicas(replicas.clone(), replicas.len(), spread, turn);
            let Some(choice) = choice else { return Err(TestCaseError::reject("no replicas")) };
            let rank = |place: usize| (replicas[place].health, !replicas[place].is_near);
            prop_assert!((0..replicas.len()).all(|other| rank(choice.first) <= rank(other)));
            if let Some(probe) = choice.probe {
                prop_assert!(turn.is_multiple_of(64) && replicas[probe].health <= Gray);
                prop_assert_ne!(probe, choice.first);
            }
            if let Some(second) = choice.second {
                prop_assert_ne!(second, choice.first);
                let others = (0..replicas.len()).filter(|other| *other != choice.first);
                prop_assert!(others.clone().all(|other| rank(second) <= rank(other)));
                prop_assert!(replicas[second].health <= Gray);
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
        let choose = |turn| choose_replicas(replicas.iter().copied(), replicas.len(), 7, turn);
        (0..reads).map(|turn| choose(turn).expect("there are replicas")).collect()
    }

    const fn near(place: usize, health: ReplicaHealth) -> Replica {
        Replica { place, is_near: true, health }
    }

    const fn far(place: usize, health: ReplicaHealth) -> Replica {
        Replica { place, is_near: false, health }
    }
}
