//! Changes of membership as they stand in the log.
//!
//! The bytes are those that the consensus library writes (protobuf, `ConfChangeV2`); they are read here
//! by our own decoder, since entries come from the network.

use prost::Message as _;
use raft::eraftpb;
use units::NodeId;

/// One step of a change of membership; several at once go through a joint phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MemberChange {
    /// Becomes a voter.
    AddVoter(NodeId),
    /// Becomes a learner: receives, does not decide.
    AddLearner(NodeId),
    /// Leaves.
    Remove(NodeId),
}

#[derive(Clone, PartialEq, prost::Message)]
struct ChangeBytes {
    #[prost(int32, tag = "1")]
    transition: i32,
    #[prost(message, repeated, tag = "2")]
    changes: Vec<StepBytes>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StepBytes {
    #[prost(int32, tag = "1")]
    kind: i32,
    #[prost(uint64, tag = "2")]
    node: u64,
}

pub(crate) fn to_raft(changes: &[MemberChange]) -> eraftpb::ConfChangeV2 {
    let mut raft = eraftpb::ConfChangeV2::default();
    let steps: Vec<_> = changes
        .iter()
        .map(|change| {
            let (kind, node) = match change {
                MemberChange::AddVoter(node) => (eraftpb::ConfChangeType::AddNode, node),
                MemberChange::Remove(node) => (eraftpb::ConfChangeType::RemoveNode, node),
                MemberChange::AddLearner(node) => (eraftpb::ConfChangeType::AddLearnerNode, node),
            };
            single(kind, node.get())
        })
        .collect();
    raft.set_changes(steps.into());
    raft
}

/// Reads an entry's bytes; `None` when they are no change. Every replica decides alike.
pub(crate) fn decode(bytes: &[u8]) -> Option<eraftpb::ConfChangeV2> {
    let change = ChangeBytes::decode(bytes).ok()?;
    let mut raft = eraftpb::ConfChangeV2::default();
    raft.set_transition(match change.transition {
        0 => eraftpb::ConfChangeTransition::Auto,
        1 => eraftpb::ConfChangeTransition::Implicit,
        2 => eraftpb::ConfChangeTransition::Explicit,
        _ => return None,
    });
    let mut steps = Vec::with_capacity(change.changes.len());
    for step in change.changes {
        let kind = match step.kind {
            0 => eraftpb::ConfChangeType::AddNode,
            1 => eraftpb::ConfChangeType::RemoveNode,
            2 => eraftpb::ConfChangeType::AddLearnerNode,
            _ => return None,
        };
        steps.push(single(kind, step.node));
    }
    raft.set_changes(steps.into());
    Some(raft)
}

fn single(kind: eraftpb::ConfChangeType, node: u64) -> eraftpb::ConfChangeSingle {
    let mut single = eraftpb::ConfChangeSingle::default();
    single.set_change_type(kind);
    single.node_id = node;
    single
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_decoder_reads_protobuf() {
        // ConfChangeV2 { changes: [AddNode 4, AddLearnerNode 5, RemoveNode 1] }, field by field.
        let bytes = [0x12, 2, 0x10, 4, 0x12, 4, 0x08, 2, 0x10, 5, 0x12, 4, 0x08, 1, 0x10, 1];
        let change = to_raft(&[
            MemberChange::AddVoter(NodeId::new(4)),
            MemberChange::AddLearner(NodeId::new(5)),
            MemberChange::Remove(NodeId::new(1)),
        ]);
        assert_eq!(decode(&bytes), Some(change));
    }

    #[test]
    fn an_empty_change_ends_a_joint_phase_and_nonsense_is_none() {
        assert_eq!(decode(&[]), Some(eraftpb::ConfChangeV2::default()));
        assert_eq!(decode(&[0xff, 0xff]), None);
        assert_eq!(decode(&[0x12, 2, 0x08, 9]), None);
    }
}
