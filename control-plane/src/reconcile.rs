//! What remains to be done, from what is: the catalog against the fleet. Pure and level-triggered: it
//! returns the same steps until they have taken effect, so that a new leader resumes what the last one
//! left, and a lost message costs one round.

use std::collections::{BTreeMap, BTreeSet};

use dynamodb::table::TableStatus;
use routing::placement::{NodeLoad, Placement, REPLICAS};
use units::{NodeId, PartitionId, TableId, Timestamp, Zone};
use wire::proto::control::ReplicaAssignment;

use crate::catalog::Catalog;
use crate::fleet::Fleet;
use crate::quota_command::histories_to_write;
use crate::record::{NodeRecord, PartitionRecord, QuotaRecord, Record, TableRecord};

/// One thing to do.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    /// Remember a node's latest start.
    RecordNode(NodeRecord),
    /// Write a quota's history that lacks the version in force.
    RecordQuota(QuotaRecord),
    /// Place the partitions of the table of this name.
    Place(String),
    /// Tell a node to host replicas, and ask which of them have a leader.
    Assign(NodeId, Vec<ReplicaAssignment>),
    /// Tell a node to drop its replicas of a table.
    Drop(NodeId, TableId, Vec<u64>),
    /// All is in place: the table of this name is `ACTIVE`.
    Activate(String),
    /// Nothing is left of a table but its records: delete them, the table's own last.
    Erase(String),
}

/// What remains to be done now.
pub(crate) fn steps(catalog: &Catalog, fleet: &Fleet, minimum_nodes: usize, now: Timestamp) -> Vec<Step> {
    let mut steps: Vec<Step> = fleet
        .live(now)
        .map(NodeRecord::from)
        .filter(|node| catalog.nodes.get(&node.name()).is_none_or(|known| known.value != *node))
        .map(Step::RecordNode)
        .collect();
    let enough_nodes =
        catalog.nodes.len() >= minimum_nodes && fleet.live(now).count() >= minimum_nodes.min(MAJORITY);
    for table in catalog.tables.values() {
        match table.descriptor.status {
            TableStatus::Active => {
                record_quotas(table, catalog, &mut steps);
            }
            TableStatus::Creating if !table.is_placed() => {
                record_quotas(table, catalog, &mut steps);
                if enough_nodes {
                    steps.push(Step::Place(table.descriptor.name.clone()));
                }
            }
            TableStatus::Creating => create(table, catalog, fleet, now, &mut steps),
            TableStatus::Updating => {
                if record_quotas(table, catalog, &mut steps) == 0 {
                    steps.push(Step::Activate(table.descriptor.name.clone()));
                }
            }
            TableStatus::Deleting => delete(table, fleet, now, &mut steps),
        }
    }
    steps
}

fn create(table: &TableRecord, catalog: &Catalog, fleet: &Fleet, now: Timestamp, steps: &mut Vec<Step>) {
    let quotas = record_quotas(table, catalog, steps);
    let led = table.partitions.iter().all(|partition| fleet.has_leader(PartitionId::new(partition.id)));
    if led && quotas == 0 {
        steps.push(Step::Activate(table.descriptor.name.clone()));
    }
    if !led {
        let present = table.nodes().filter(|node| !fleet.is_away(*node, now));
        steps.extend(present.map(|node| Step::Assign(node, assignments(table, fleet, node).collect())));
    }
}

fn delete(table: &TableRecord, fleet: &Fleet, now: Timestamp, steps: &mut Vec<Step>) {
    let id = TableId::new(table.descriptor.id);
    // A node that is away is told when it is back: what it reports and the catalog lacks, it is told to drop.
    let waiting: Vec<NodeId> =
        table.nodes().filter(|node| !fleet.has_dropped(id, *node) && !fleet.is_away(*node, now)).collect();
    if waiting.is_empty() {
        steps.push(Step::Erase(table.descriptor.name.clone()));
    }
    for node in waiting {
        let partitions = table.partitions_on(node).map(|partition| partition.id).collect();
        steps.push(Step::Drop(node, id, partitions));
    }
}

/// Has the histories written that lack the table's quotas in force; how many do.
fn record_quotas(table: &TableRecord, catalog: &Catalog, steps: &mut Vec<Step>) -> usize {
    let histories = histories_to_write(table, catalog);
    let count = histories.len();
    steps.extend(histories.into_iter().map(Step::RecordQuota));
    count
}

/// What `node` should host of `table`, with the addresses of all concerned.
pub(crate) fn assignments<'a>(
    table: &'a TableRecord,
    fleet: &'a Fleet,
    node: NodeId,
) -> impl Iterator<Item = ReplicaAssignment> + 'a {
    table.partitions_on(node).map(move |partition| assignment(table, partition, fleet))
}

fn assignment(table: &TableRecord, partition: &PartitionRecord, fleet: &Fleet) -> ReplicaAssignment {
    let range = partition.range();
    ReplicaAssignment {
        table: table.descriptor.id,
        partition: partition.id,
        start: range.start,
        end: range.end,
        members: partition.members().map(|member| (&member).into()).collect(),
        nodes: partition
            .members()
            .filter_map(|member| fleet.directory().get(member.node))
            .map(Into::into)
            .collect(),
        configuration: FIRST_CONFIGURATION,
        established: table.descriptor.status != TableStatus::Creating
            || fleet.has_leader(PartitionId::new(partition.id)),
    }
}

/// A partition's configuration as it was placed; every change of its members or range counts up from it.
const FIRST_CONFIGURATION: u64 = 1;

/// Replicas of a partition that must be there for it to work.
const MAJORITY: usize = REPLICAS / 2 + 1;

/// What the nodes that may be given replicas host by the catalog: what placement balances. Where a zone
/// has no live node, its other nodes may: each partition works without them, and they are told when they
/// are back.
pub(crate) fn loads(catalog: &Catalog, fleet: &Fleet, now: Timestamp) -> Vec<NodeLoad> {
    let live: BTreeMap<NodeId, Zone> = fleet.live(now).map(|node| (node.node, node.zone)).collect();
    let zones: BTreeSet<Zone> = live.values().copied().collect();
    let away = fleet.directory().iter().filter(|node| !zones.contains(&node.zone));
    let mut loads: Vec<NodeLoad> = live
        .into_iter()
        .chain(away.map(|node| (node.node, node.zone)))
        .map(|(node, zone)| NodeLoad { node, zone, replicas: 0, leaders: 0 })
        .collect();
    for partition in catalog.tables.values().flat_map(|table| &table.partitions) {
        for (at, (member, _)) in partition.members.iter().enumerate() {
            if let Some(load) = loads.iter_mut().find(|load| load.node.get() == *member) {
                load.replicas += 1;
                load.leaders += u64::from(at == 0);
            }
        }
    }
    loads
}

/// The table, once its partitions are placed.
pub(crate) fn placed(table: &TableRecord, placement: &Placement) -> TableRecord {
    let partitions = (table.first_partition..)
        .zip(&placement.partitions)
        .map(|(id, partition)| PartitionRecord::new(PartitionId::new(id), partition))
        .collect();
    TableRecord { partitions, ..table.clone() }
}

/// The table, once it is `ACTIVE`.
pub(crate) fn activated(table: &TableRecord) -> TableRecord {
    let mut table = table.clone();
    table.descriptor.status = TableStatus::Active;
    table.descriptor.version += 1;
    table
}

#[cfg(test)]
mod tests;
