//! Where a new table's partitions go: how many, which ranges, on which nodes.

use std::collections::BTreeMap;

use bytes::Bytes;
use rand::Rng;
use units::{NodeId, Zone};

use crate::{KeyRange, Member, MemberKind};

/// What one node hosts already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeLoad {
    /// Which node.
    pub node: NodeId,
    /// The zone that it stands in.
    pub zone: Zone,
    /// Replicas placed on it.
    pub replicas: u64,
    /// Of these, the ones it is the preferred leader of.
    pub leaders: u64,
}

/// Where a table's partitions go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// One entry per partition, in key order.
    pub partitions: Vec<PlacedPartition>,
    /// Whether every partition got a replica in each of three zones.
    pub spread: Spread,
}

/// One partition: its range and members. The first member is the preferred leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedPartition {
    /// The part of the key space that it holds.
    pub range: KeyRange,
    /// Its replicas; the preferred leader stands first.
    pub members: Vec<Member>,
}

/// How well a placement survives the loss of a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    /// One replica in each of three zones.
    ThreeZones,
    /// Three replicas, but in fewer zones: losing one zone may lose the quorum.
    FewerZones,
    /// Fewer than three nodes: fewer than three replicas.
    FewerReplicas,
}

/// There is no node to place on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no storage node is known")]
pub struct NoNodes;

/// Replicas of a partition.
pub const REPLICAS: usize = 3;
/// Partitions that an on-demand table starts with. Source: DynamoDB Developer Guide, "On-demand capacity
/// mode": a new table sustains 4,000 writes and 12,000 reads, which is four partitions' worth.
pub const ON_DEMAND_PARTITIONS: u32 = 4;
/// Read units per second that one partition serves. Source: DynamoDB Developer Guide, "Partitions".
pub const READ_UNITS_PER_PARTITION: u64 = 3000;
/// Write units per second that one partition serves; same source.
pub const WRITE_UNITS_PER_PARTITION: u64 = 1000;

/// Partitions of a new table with this provisioned throughput, in capacity units per second.
#[must_use]
pub fn partitions_for(read_units: u64, write_units: u64) -> u32 {
    // read/3000 + write/1000, rounded up, over the common denominator.
    let scale = READ_UNITS_PER_PARTITION / WRITE_UNITS_PER_PARTITION;
    let weighted = u128::from(read_units) + u128::from(write_units) * u128::from(scale);
    let partitions = weighted.div_ceil(u128::from(READ_UNITS_PER_PARTITION)).max(1);
    u32::try_from(partitions).unwrap_or(u32::MAX)
}

/// Cuts the key space, whose keys begin with 16 bytes of hash, into `count` ranges of equal width.
///
/// # Panics
/// When `count` is 0.
#[must_use]
pub fn even_ranges(count: u32) -> Vec<KeyRange> {
    assert!(count > 0, "a table has at least one partition");
    let boundary = |at: u32| {
        // ⌊at · 2¹²⁸ / count⌋ in two halves, since 2¹²⁸ itself does not fit: at < count, so each
        // remainder shifted by 64 bits does.
        let (at, count) = (u128::from(at), u128::from(count));
        let (high, rest) = ((at << 64) / count, (at << 64) % count);
        let boundary = (high << 64) | ((rest << 64) / count);
        Bytes::copy_from_slice(&boundary.to_be_bytes())
    };
    (0..count)
        .map(|at| KeyRange {
            start: if at == 0 { Bytes::new() } else { boundary(at) },
            end: (at + 1 < count).then(|| boundary(at + 1)),
        })
        .collect()
}

/// Places `count` partitions: one replica in each of three zones, on the least loaded nodes; the member
/// that leads fewest others is the preferred leader. With fewer zones or nodes than three, as spread as
/// they allow.
///
/// # Errors
/// When `loads` is empty.
pub fn place(loads: &[NodeLoad], count: u32, rng: &mut impl Rng) -> Result<Placement, NoNodes> {
    let mut nodes: BTreeMap<NodeId, NodeLoad> = loads.iter().map(|load| (load.node, *load)).collect();
    if nodes.is_empty() {
        return Err(NoNodes);
    }
    let partitions: Vec<_> = even_ranges(count)
        .into_iter()
        .map(|range| PlacedPartition { range, members: choose(&mut nodes, rng) })
        .collect();
    let spread = partitions.first().map_or(Spread::ThreeZones, |placed| spread(&placed.members));
    Ok(Placement { partitions, spread })
}

/// Chooses one partition's members and counts them into the loads.
fn choose(nodes: &mut BTreeMap<NodeId, NodeLoad>, rng: &mut impl Rng) -> Vec<Member> {
    let mut chosen: Vec<Member> = Vec::with_capacity(REPLICAS);
    while chosen.len() < REPLICAS.min(nodes.len()) {
        let in_zone = |zone| chosen.iter().filter(|member| member.zone == zone).count();
        let next = nodes
            .values()
            .filter(|load| chosen.iter().all(|member| member.node != load.node))
            // A zone without a replica first, then the least loaded node; chance among equals, so that
            // tables created by different leaders of the control plane do not pile up on low numbers.
            .min_by_key(|load| (in_zone(load.zone), load.replicas, rng.random::<u32>(), load.node))
            .map(|load| Member { node: load.node, zone: load.zone, kind: MemberKind::Storage })
            .expect("fewer members were chosen than there are nodes");
        chosen.push(next);
    }
    let leader = chosen
        .iter()
        .enumerate()
        .min_by_key(|(_, member)| (nodes[&member.node].leaders, rng.random::<u32>()))
        .map_or(0, |(at, _)| at);
    chosen.swap(0, leader);
    for (at, member) in chosen.iter().enumerate() {
        let load = nodes.get_mut(&member.node).expect("members were chosen among the nodes");
        load.replicas += 1;
        load.leaders += u64::from(at == 0);
    }
    chosen
}

fn spread(members: &[Member]) -> Spread {
    let mut zones: Vec<Zone> = members.iter().map(|member| member.zone).collect();
    zones.sort_unstable();
    zones.dedup();
    if members.len() < REPLICAS {
        Spread::FewerReplicas
    } else if zones.len() < REPLICAS {
        Spread::FewerZones
    } else {
        Spread::ThreeZones
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn throughput_decides_the_number_of_partitions() {
        assert_eq!(partitions_for(5, 5), 1);
        assert_eq!(partitions_for(3000, 0), 1);
        assert_eq!(partitions_for(3001, 0), 2);
        assert_eq!(partitions_for(3000, 1000), 2);
        assert_eq!(partitions_for(0, 40_000), 40);
        assert_eq!(partitions_for(u64::MAX, u64::MAX), u32::MAX);
    }

    #[test]
    fn few_nodes_are_used_as_far_as_possible_and_it_says_so() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        assert_eq!(place(&[], 1, &mut rng), Err(NoNodes));
        let one = place(&fleet(&[0]), 2, &mut rng).unwrap();
        assert_eq!((one.partitions[0].members.len(), one.spread), (1, Spread::FewerReplicas));
        let same_zone = place(&fleet(&[0, 0, 0]), 2, &mut rng).unwrap();
        assert_eq!((same_zone.partitions[0].members.len(), same_zone.spread), (3, Spread::FewerZones));
        let two_zones = place(&fleet(&[0, 0, 0, 1]), 1, &mut rng).unwrap();
        assert!(two_zones.partitions[0].members.iter().any(|member| member.zone == Zone::new(1)));
    }

    proptest! {
        #[test]
        fn even_ranges_cover_the_key_space_without_gap_or_overlap(count in 1u32..5000) {
            let ranges = even_ranges(count);
            prop_assert_eq!(ranges.len(), count as usize);
            prop_assert!(ranges[0].start.is_empty() && ranges[ranges.len() - 1].end.is_none());
            for pair in ranges.windows(2) {
                prop_assert_eq!(pair[0].end.as_ref(), Some(&pair[1].start));
                prop_assert!(pair[0].start < pair[1].start);
            }
        }

        #[test]
        fn three_zones_get_one_replica_each_and_loads_stay_balanced(
            per_zone in 1usize..5, count in 1u32..60, seed: u64,
        ) {
            let zones: Vec<u8> = (0..per_zone).flat_map(|_| [0, 1, 2]).collect();
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let placement = place(&fleet(&zones), count, &mut rng).unwrap();

            prop_assert_eq!(placement.spread, Spread::ThreeZones);
            let mut replicas = BTreeMap::<NodeId, u32>::new();
            let mut leaders = BTreeMap::<NodeId, u32>::new();
            for placed in &placement.partitions {
                prop_assert_eq!(spread(&placed.members), Spread::ThreeZones);
                for member in &placed.members {
                    *replicas.entry(member.node).or_default() += 1;
                }
                *leaders.entry(placed.members[0].node).or_default() += 1;
            }
            let most = replicas.values().max().unwrap();
            let least = if replicas.len() < zones.len() { &0 } else { replicas.values().min().unwrap() };
            prop_assert!(most - least <= 1, "{replicas:?}");
            // Leaders can only be balanced among the nodes that were drawn together.
            let fair = count.div_ceil(u32::try_from(zones.len()).unwrap());
            prop_assert!(*leaders.values().max().unwrap() <= fair + 2, "{leaders:?}");
        }
    }

    fn fleet(zones: &[u8]) -> Vec<NodeLoad> {
        (1..)
            .zip(zones)
            .map(|(id, zone)| NodeLoad {
                node: NodeId::new(id),
                zone: Zone::new(*zone),
                replicas: 0,
                leaders: 0,
            })
            .collect()
    }
}
