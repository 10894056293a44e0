//! What a node is told to host.

use std::collections::BTreeMap;

use routing::{KeyRange, Member};
use units::{NodeId, PartitionId, TableId};
use wire::proto::control as proto;

use crate::wire_form::{WireFormError, typed_members};

/// One replica that this node hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Assignment {
    pub(crate) table: TableId,
    pub(crate) partition: PartitionId,
    pub(crate) range: KeyRange,
    pub(crate) members: Vec<Member>,
    pub(crate) configuration: u64,
    /// The group has had a leader: a replica without data must be refilled before it votes.
    pub(crate) established: bool,
}

impl Assignment {
    /// The members' numbers.
    pub(crate) fn voters(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.members.iter().map(|member| member.node)
    }
}

/// Received assignments, typed, with where the members listen.
///
/// # Errors
/// `Malformed`.
pub(crate) fn typed(
    received: Vec<proto::ReplicaAssignment>,
) -> Result<(Vec<Assignment>, BTreeMap<NodeId, String>), WireFormError> {
    let mut addresses = BTreeMap::new();
    let mut assignments = Vec::with_capacity(received.len());
    for assignment in received {
        for node in assignment.nodes {
            addresses.insert(NodeId::new(node.id), node.address);
        }
        assignments.push(Assignment {
            table: TableId::new(assignment.table),
            partition: PartitionId::new(assignment.partition),
            range: KeyRange { start: assignment.start, end: assignment.end },
            members: typed_members(assignment.members)?,
            configuration: assignment.configuration,
            established: assignment.established,
        });
    }
    Ok((assignments, addresses))
}
