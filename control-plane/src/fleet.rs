//! What the storage nodes report: soft state of the leader, relearned within a second by a new one. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use routing::{NodeAddress, NodeDirectory};
use units::{Bytes64, NodeId, PartitionId, TableId, Term, Timestamp};

/// A node that has been silent for so long counts as away: three of its reports are missing.
pub(crate) const SILENCE: Duration = Duration::from_millis(3_500);

/// One replica, as its node reported it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReplicaState {
    pub(crate) leads: bool,
    pub(crate) term: Term,
    pub(crate) items: u64,
    pub(crate) bytes: Bytes64,
}

/// The storage nodes, as this leader has heard from them.
#[derive(Debug, Default)]
pub(crate) struct Fleet {
    nodes: BTreeMap<NodeId, Seen>,
    directory: NodeDirectory,
    /// Partitions that a node said have a leader.
    led: BTreeSet<PartitionId>,
    /// Nodes that have dropped their replicas of a table.
    dropped: BTreeSet<(TableId, NodeId)>,
    /// When this leader began to listen.
    since: Timestamp,
}

#[derive(Debug)]
struct Seen {
    address: NodeAddress,
    last_report: Timestamp,
    replicas: BTreeMap<PartitionId, ReplicaState>,
}

impl Fleet {
    /// A fleet that nothing is known of yet.
    pub(crate) fn since(now: Timestamp) -> Self {
        Self { since: now, ..Self::default() }
    }

    /// A node that the catalog remembers: its address is known, but not whether it is there.
    pub(crate) fn remember(&mut self, node: NodeAddress) {
        self.directory.learn(node);
    }

    /// Takes in a report, unless a later start of the node has reported.
    pub(crate) fn report(
        &mut self,
        node: NodeAddress,
        replicas: BTreeMap<PartitionId, ReplicaState>,
        now: Timestamp,
    ) {
        if self.directory.get(node.node).is_some_and(|known| known.incarnation > node.incarnation) {
            return;
        }
        self.directory.learn(node.clone());
        self.led
            .extend(replicas.iter().filter(|(_, replica)| replica.leads).map(|(partition, _)| *partition));
        self.nodes.insert(node.node, Seen { address: node, last_report: now, replicas });
    }

    /// A node answered that these partitions have a leader; whether that is news.
    pub(crate) fn learn_led(&mut self, partitions: impl Iterator<Item = PartitionId>) -> bool {
        partitions.fold(false, |news, partition| self.led.insert(partition) | news)
    }

    /// A node answered that it has dropped its replicas of `table`; whether that is news.
    pub(crate) fn learn_dropped(&mut self, table: TableId, node: NodeId) -> bool {
        self.dropped.insert((table, node))
    }

    /// Forgets what was remembered of a table that is gone.
    pub(crate) fn forget(&mut self, table: TableId, partitions: impl Iterator<Item = PartitionId>) {
        self.dropped.retain(|(gone, _)| *gone != table);
        for partition in partitions {
            self.led.remove(&partition);
        }
    }

    pub(crate) fn has_leader(&self, partition: PartitionId) -> bool {
        self.led.contains(&partition)
    }

    pub(crate) fn has_dropped(&self, table: TableId, node: NodeId) -> bool {
        self.dropped.contains(&(table, node))
    }

    /// The nodes that have reported lately.
    pub(crate) fn live(&self, now: Timestamp) -> impl Iterator<Item = &NodeAddress> {
        self.nodes
            .values()
            .filter(move |seen| now.since(seen.last_report) <= SILENCE)
            .map(|seen| &seen.address)
    }

    /// Whether the node has been silent for long enough, while this leader listened, to count as away.
    pub(crate) fn is_away(&self, node: NodeId, now: Timestamp) -> bool {
        let heard = self.nodes.get(&node).map_or(self.since, |seen| seen.last_report);
        now.since(heard) > SILENCE
    }

    /// Where the nodes listen.
    pub(crate) fn directory(&self) -> &NodeDirectory {
        &self.directory
    }

    /// Items and bytes of these partitions, by the replicas with the highest term that lead them.
    pub(crate) fn size(&self, partitions: impl Iterator<Item = PartitionId>) -> (u64, Bytes64) {
        let sizes = partitions.filter_map(|partition| {
            self.nodes
                .values()
                .filter_map(|seen| seen.replicas.get(&partition))
                .max_by_key(|replica| (replica.leads, replica.term))
        });
        sizes.fold((0, Bytes64::default()), |(items, bytes), replica| {
            (replica.items.saturating_add(items), replica.bytes + bytes)
        })
    }
}

#[cfg(test)]
mod tests {
    use units::{Epoch, Zone};

    use super::*;

    #[test]
    fn a_silent_node_is_away_only_after_the_leader_listened_long_enough() {
        let mut fleet = Fleet::since(at(10));
        assert!(!fleet.is_away(NodeId::new(1), at(11)));
        assert!(fleet.is_away(NodeId::new(1), at(20)));
        fleet.report(node(1, 1), BTreeMap::new(), at(20));
        assert!(!fleet.is_away(NodeId::new(1), at(22)));
        assert_eq!(fleet.live(at(22)).count(), 1);
        assert_eq!(fleet.live(at(30)).count(), 0);
    }

    #[test]
    fn a_report_of_an_earlier_start_is_ignored() {
        let mut fleet = Fleet::since(at(0));
        fleet.report(node(1, 5), BTreeMap::new(), at(1));
        fleet.report(node(1, 4), BTreeMap::from([(PartitionId::new(3), leader(1, 7))]), at(2));
        assert!(!fleet.has_leader(PartitionId::new(3)));
    }

    #[test]
    fn a_tables_size_is_what_the_newest_leaders_report() {
        let mut fleet = Fleet::since(at(0));
        fleet.report(node(1, 1), BTreeMap::from([(PartitionId::new(3), leader(1, 7))]), at(1));
        fleet.report(node(2, 1), BTreeMap::from([(PartitionId::new(3), leader(2, 9))]), at(1));
        assert_eq!(fleet.size([PartitionId::new(3), PartitionId::new(4)].into_iter()), (9, Bytes64::new(90)));
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_nanos(seconds * 1_000_000_000)
    }

    fn leader(term: u64, items: u64) -> ReplicaState {
        ReplicaState { leads: true, term: Term::new(term), items, bytes: Bytes64::new(items * 10) }
    }

    fn node(id: u64, incarnation: u64) -> NodeAddress {
        NodeAddress {
            node: NodeId::new(id),
            zone: Zone::new(0),
            address: "127.0.0.1:1".into(),
            incarnation: Epoch::new(incarnation),
        }
    }
}
