//! Anti-entropy: finding what two servers' partition maps hold differently, for a small part of a full copy.
//!
//! The asker sends, for a region, a short digest of each of its parts; the other says which parts differ, with
//! its entries where they are few, so that only differing parts are asked about further. A region in which the
//! asker has nothing is answered with everything, a page at a time: that is also how a server that starts fills
//! itself. Both directions come of one walk: what the asker has and the other lacks is offered to it.

use std::collections::{BTreeMap, VecDeque};

use crate::perkle::{PerkleTree, Region, RegionDigest};
use crate::{PartitionMap, Route, route_entry};

/// Entries of one part that are sent at once when the asker holds something there.
const FEW: u64 = 4;
/// Entries that are sent at once when it holds nothing there: some 100 KB.
const PAGE: u64 = 2_000;

/// What one server asks another about a region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The region.
    pub region: Region,
    /// Its parts' digests at the asker, in order; empty: the asker has nothing there.
    pub parts: Vec<u64>,
}

/// What the other answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Bit *i*: part *i* differs and is worth asking about.
    pub descend: u32,
    /// Bit *i*: part *i* differs, and `entries` has all that the other holds there.
    pub settled: u32,
    /// Entries of settled parts, in order.
    pub entries: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Eight bytes of a digest: enough to tell two states of a region apart, in half the bytes.
fn short(digest: RegionDigest) -> u64 {
    let sum = digest.sum.number();
    (sum >> 64) as u64 ^ sum as u64
}

impl PartitionMap {
    /// Answers another server's question.
    #[must_use]
    pub fn answer(&self, question: &Question) -> Answer {
        let tree = self.tree();
        let mut answer = Answer::default();
        if question.parts.is_empty() && tree.digest(&question.region).entries <= PAGE {
            answer.settled = u32::MAX;
            answer.entries = entries(tree, &question.region);
            return answer;
        }
        for (at, part) in question.region.parts().enumerate() {
            let held = tree.digest(&part);
            let asked = question.parts.get(at).copied().unwrap_or_default();
            if short(held) == asked {
                continue;
            }
            if held.entries <= FEW {
                answer.settled |= 1 << at;
                answer.entries.extend(entries(tree, &part));
            } else {
                answer.descend |= 1 << at;
            }
        }
        answer
    }
}

fn entries(tree: &PerkleTree, region: &Region) -> Vec<(Vec<u8>, Vec<u8>)> {
    tree.entries_in(region).map(|(key, value)| (key, value.to_vec())).collect()
}

/// What the asker found out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Routes that the other has otherwise, or alone.
    pub theirs: Vec<Route>,
    /// Routes that this server has otherwise, or alone.
    pub ours: Vec<Route>,
    /// Entries that could not be read.
    pub malformed: u64,
}

/// One walk over the differences between this server's map, as it was at the beginning, and another's.
#[derive(Debug)]
pub struct Comparison {
    map: PartitionMap,
    regions: VecDeque<Region>,
}

impl Comparison {
    /// A walk over everything.
    #[must_use]
    pub fn new(map: PartitionMap) -> Self {
        Self { map, regions: VecDeque::from([Region::everything()]) }
    }

    /// The next questions, at most so many; empty: the walk is over.
    pub fn questions(&mut self, at_most: usize) -> Vec<Question> {
        let tree = self.map.tree();
        let regions = self.regions.drain(..at_most.min(self.regions.len()));
        regions
            .map(|region| {
                let holds_nothing = tree.digest(&region).entries == 0;
                let parts = if holds_nothing {
                    Vec::new()
                } else {
                    region.parts().map(|part| short(tree.digest(&part))).collect()
                };
                Question { region, parts }
            })
            .collect()
    }

    /// Takes the answer to one of them.
    pub fn take(&mut self, question: &Question, answer: Answer) -> Findings {
        let mut findings = Findings::default();
        let mut theirs: BTreeMap<Vec<u8>, Vec<u8>> = answer.entries.into_iter().collect();
        let tree = self.map.tree();
        for (at, part) in question.region.parts().enumerate() {
            if answer.descend >> at & 1 == 1 {
                self.regions.push_back(part);
            } else if answer.settled >> at & 1 == 1 && !question.parts.is_empty() {
                for (key, value) in tree.entries_in(&part) {
                    let their = theirs.get(&key).map(Vec::as_slice);
                    let worth = worth(&key, value, their);
                    if matches!(worth, Worth::Nothing | Worth::Offering) {
                        theirs.remove(&key);
                    }
                    if matches!(worth, Worth::Offering | Worth::Both) {
                        findings.ours.extend(route_entry::route(&key, value));
                    }
                }
            }
        }
        for (key, value) in theirs {
            match route_entry::route(&key, &value).filter(Route::is_valid) {
                Some(route) => findings.theirs.push(route),
                None => findings.malformed += 1,
            }
        }
        findings
    }
}

/// What is to be done about an entry of this server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Worth {
    /// The other has the same.
    Nothing,
    /// The other has none under its key, or an older one.
    Offering,
    /// The other's is newer.
    Taking,
    /// They cannot be told apart by age: each server decides.
    Both,
}

fn worth(key: &[u8], ours: &[u8], their: Option<&[u8]>) -> Worth {
    let Some(their) = their else { return Worth::Offering };
    if their == ours {
        return Worth::Nothing;
    }
    let rank = |value| route_entry::route(key, value).map(|route| route.rank());
    match rank(ours).cmp(&rank(their)) {
        std::cmp::Ordering::Less => Worth::Taking,
        std::cmp::Ordering::Equal => Worth::Both,
        std::cmp::Ordering::Greater => Worth::Offering,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use rand::seq::SliceRandom;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;
    use units::{NodeId, PartitionId, TableId, Term, Zone};

    use super::*;
    use crate::{KeyRange, Learned, Member, MemberKind, RouteVersion};

    fn route(table: u64, partition: u64, of: u64, term: u64) -> Route {
        let start = |number: u64| {
            let start = (u128::from(number) * (u128::MAX / u128::from(of))).to_be_bytes();
            if number == 0 { Bytes::new() } else { Bytes::copy_from_slice(&start[..3]) }
        };
        let members = (0..3).map(|zone| Member {
            node: NodeId::new(1 + (partition + u64::from(zone)) % 30),
            zone: Zone::new(zone),
            kind: MemberKind::Storage,
        });
        let members: Vec<_> = members.collect();
        Route {
            table: TableId::new(table),
            partition: PartitionId::new(table * 1_000_000 + partition),
            range: KeyRange {
                start: start(partition),
                end: (partition + 1 < of).then(|| start(partition + 1)),
            },
            leader: Some(members[0].node),
            members,
            version: RouteVersion { configuration: 1, term: Term::new(term) },
        }
    }

    /// Compares until nothing is left to ask; how many bytes went both ways, about.
    fn reconcile(one: &mut PartitionMap, other: &mut PartitionMap) -> usize {
        let mut walk = Comparison::new(one.clone());
        let mut bytes = 0;
        loop {
            let questions = walk.questions(64);
            if questions.is_empty() {
                return bytes;
            }
            for question in questions {
                bytes += question.region.to_parts().0.len() + 8 + question.parts.len() * 8;
                let answer = other.answer(&question);
                bytes +=
                    12 + answer.entries.iter().map(|(key, value)| key.len() + value.len() + 4).sum::<usize>();
                let findings = walk.take(&question, answer);
                assert_eq!(findings.malformed, 0);
                for route in findings.theirs {
                    one.learn(&route);
                }
                for route in findings.ours {
                    bytes += 40;
                    other.learn(&route);
                }
            }
        }
    }

    #[test]
    fn two_maps_agree_after_one_walk_whatever_each_has_missed() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        for of in [1, 7, 300] {
            let mut maps = [PartitionMap::default(), PartitionMap::default()];
            for map in &mut maps {
                for table in 1..20 {
                    for partition in 0..of {
                        if rng.random_bool(0.8) {
                            map.learn(&route(table, partition, of, rng.random_range(1..4)));
                        }
                    }
                }
            }
            let [mut one, mut other] = maps;
            reconcile(&mut one, &mut other);
            assert_eq!(one.tree().sum(), other.tree().sum());
            assert_eq!(one.tree().difference(other.tree()), Vec::<Vec<u8>>::new());
        }
    }

    #[test]
    fn only_the_newer_of_two_routes_travels() {
        let (newer, older) = (route(1, 0, 1, 2), route(1, 0, 1, 1));
        for (mine, theirs) in [(&newer, &older), (&older, &newer)] {
            let mut maps = [PartitionMap::default(), PartitionMap::default()];
            for (map, route) in maps.iter_mut().zip([mine, theirs]) {
                map.learn(route);
            }
            let mut walk = Comparison::new(maps[0].clone());
            let question = walk.questions(1).remove(0);
            let findings = walk.take(&question, maps[1].answer(&question));
            let expected =
                if mine == &newer { (vec![mine.clone()], vec![]) } else { (vec![], vec![theirs.clone()]) };
            assert_eq!((findings.ours, findings.theirs), expected);
        }
    }

    #[test]
    fn an_empty_map_is_filled_by_one_that_is_not() {
        let mut full = PartitionMap::default();
        for table in 1..100 {
            for partition in 0..100 {
                assert_eq!(full.learn(&route(table, partition, 100, 1)), Learned::News);
            }
        }
        let mut empty = PartitionMap::default();
        reconcile(&mut empty, &mut full);
        assert_eq!((empty.len(), empty.tree().sum()), (9_900, full.tree().sum()));
    }

    #[test]
    fn a_hundred_missed_pushes_of_a_hundred_thousand_cost_a_hundredth_of_a_copy() {
        let (of, missed) = (1_000, 100);
        let mut one = PartitionMap::default();
        for table in 1..=100 {
            for partition in 0..of {
                one.learn(&route(table, partition, of, 1));
            }
        }
        let mut other = one.clone();
        let copy: usize = one.tree().entries().map(|(key, value)| key.len() + value.len() + 4).sum();
        let mut all: Vec<_> = (1..=100).flat_map(|table| (0..of).map(move |part| (table, part))).collect();
        all.shuffle(&mut ChaCha8Rng::seed_from_u64(9));
        for (table, partition) in all.into_iter().take(missed) {
            one.learn(&route(table, partition, of, 2));
        }
        let bytes = reconcile(&mut one, &mut other);
        assert_eq!(one.tree().sum(), other.tree().sum());
        assert!(bytes * 100 <= copy * 2, "{bytes} of {copy}");
    }
}
