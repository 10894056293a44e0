//! `table/NAME`: a table's descriptor and where its partitions were placed. One record, so that a table
//! appears, changes and goes in one conditional write.

use std::ops::Range;

use bytes::Bytes;
use dynamodb::table::TableDescriptor;
use routing::placement::PlacedPartition;
use routing::{KeyRange, Member, MemberKind};
use serde::{Deserialize, Serialize};
use units::{NodeId, PartitionId, Zone};

use super::Record;

/// A table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TableRecord {
    /// What proxies and `DescribeTable` show.
    pub descriptor: TableDescriptor,
    /// The first of its partitions' numbers; `descriptor.partitions` of them follow one another.
    pub first_partition: u64,
    /// Where its partitions were placed; empty until they were. From then on the storage nodes are the
    /// authority on each partition's members.
    #[serde(default)]
    pub partitions: Vec<PartitionRecord>,
}

/// One partition, as it was placed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PartitionRecord {
    /// Its number.
    pub id: u64,
    /// First key of its range.
    pub start: Vec<u8>,
    /// First key past its range; none: to the end.
    pub end: Option<Vec<u8>>,
    /// (node, zone) of its replicas; the preferred leader stands first.
    pub members: Vec<(u64, u8)>,
}

impl Record for TableRecord {
    const PREFIX: &'static str = "table/";

    fn name(&self) -> String {
        self.descriptor.name.clone()
    }
}

impl TableRecord {
    /// Whether its partitions have places.
    #[must_use]
    pub(crate) fn is_placed(&self) -> bool {
        !self.partitions.is_empty()
    }

    /// Its partitions' numbers, whether they have places yet or not.
    #[must_use]
    pub(crate) fn partition_numbers(&self) -> Range<u64> {
        self.first_partition..self.first_partition.saturating_add(u64::from(self.descriptor.partitions))
    }

    /// The storage nodes that were given replicas of it.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = NodeId> + '_ {
        let mut nodes: Vec<u64> =
            self.partitions.iter().flat_map(|partition| &partition.members).map(|m| m.0).collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes.into_iter().map(NodeId::new)
    }

    /// Its partitions that `node` was given a replica of.
    pub(crate) fn partitions_on(&self, node: NodeId) -> impl Iterator<Item = &PartitionRecord> {
        self.partitions
            .iter()
            .filter(move |partition| partition.members.iter().any(|(member, _)| *member == node.get()))
    }
}

impl PartitionRecord {
    /// The record of a partition that was just placed.
    #[must_use]
    pub(crate) fn new(id: PartitionId, placed: &PlacedPartition) -> Self {
        Self {
            id: id.get(),
            start: placed.range.start.to_vec(),
            end: placed.range.end.as_ref().map(|end| end.to_vec()),
            members: placed.members.iter().map(|member| (member.node.get(), member.zone.get())).collect(),
        }
    }

    /// Its range of keys.
    #[must_use]
    pub(crate) fn range(&self) -> KeyRange {
        KeyRange {
            start: Bytes::copy_from_slice(&self.start),
            end: self.end.as_deref().map(Bytes::copy_from_slice),
        }
    }

    /// Its replicas as they were placed; the preferred leader stands first.
    pub(crate) fn members(&self) -> impl Iterator<Item = Member> + '_ {
        self.members.iter().map(|(node, zone)| Member {
            node: NodeId::new(*node),
            zone: Zone::new(*zone),
            kind: MemberKind::Storage,
        })
    }
}
