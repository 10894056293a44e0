//! What the shell must do after it called the core.

use bytes::Bytes;
use units::{LogIndex, NodeId, PartitionId, Term};

use crate::message::{Envelope, GroupMessage};
use crate::recovered::SnapshotPosition;
use crate::wal::Record;

/// Everything that came out of the core since it was last asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Effects {
    /// To append to the node's log and sync, then report by `persisted`.
    pub persist: Option<PersistBatch>,
    /// To send now, at most one envelope per node; nothing here waits for `persist`.
    pub send: Vec<(NodeId, Envelope)>,
    /// To apply, in this order.
    pub committed: Vec<Committed>,
    /// Leaders that came and went.
    pub leadership: Vec<LeadershipChange>,
    /// Reads that may be answered once their index is applied.
    pub reads: Vec<ReadReady>,
    /// Replicas that need a snapshot of this node's data.
    pub send_snapshot: Vec<SendSnapshot>,
    /// Received snapshots that are now the replica's state: put them in place.
    pub install_snapshot: Vec<InstallSnapshot>,
    /// Groups that this node no longer belongs to, by their own log.
    pub removed: Vec<PartitionId>,
}

impl Effects {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Counts the batches given out to be persisted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PersistSequence(pub u64);

/// Records of all groups that go to the log together, atomically per group.
#[derive(Clone, Debug, PartialEq)]
pub struct PersistBatch {
    /// To be given to `persisted` when the records are durable.
    pub sequence: PersistSequence,
    /// In order.
    pub records: Vec<Record>,
}

/// A committed entry with a payload of the shell.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Committed {
    /// The group.
    pub group: PartitionId,
    /// Its position. Indexes grow, but not all are seen: a leader's first entry and changes of
    /// membership come with an empty payload.
    pub index: LogIndex,
    /// The term in which it was proposed: with `index`, what `propose` returned.
    pub term: Term,
    /// What was proposed; empty when there is nothing to apply but the position.
    pub payload: Bytes,
}

/// A group's leader or term is another one, or this node began or ceased to serve it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LeadershipChange {
    /// The group.
    pub group: PartitionId,
    /// The term.
    pub term: Term,
    /// Who leads, if known.
    pub leader: Option<NodeId>,
    /// Whether this node leads and may answer: every earlier lease is over.
    pub serving: bool,
}

/// What the shell names a read by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReadToken(pub u64);

/// The end of a `read_index`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReadReady {
    /// The group.
    pub group: PartitionId,
    /// The read.
    pub token: ReadToken,
    /// Answer from state that has at least this applied; `None`: no longer the leader, do not answer.
    pub index: Option<LogIndex>,
}

/// A follower needs this replica's data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendSnapshot {
    /// The group.
    pub group: PartitionId,
    /// To whom.
    pub to: NodeId,
    /// The least that the data must cover. A later cut is as good: then put its position into
    /// `message.snapshot` (see [`crate::NodeCore::snapshot_position`]).
    pub position: SnapshotPosition,
    /// Goes with the last of the data, for the receiver's `snapshot_received`.
    pub message: GroupMessage,
}

/// The received snapshot of this group replaces the replica's data. It was durable before
/// `snapshot_received` was called; the switch must survive a crash together with the batch's record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstallSnapshot {
    /// The group.
    pub group: PartitionId,
    /// What it covers.
    pub position: SnapshotPosition,
}

/// A proposal or a read was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The node does not host the group.
    #[error("the group is not hosted here")]
    Unknown,
    /// Another node leads, or none.
    #[error("this node does not lead the group")]
    NotLeader {
        /// Who does, if known.
        leader: Option<NodeId>,
    },
    /// This node leads, but cannot take it now: it hands its leadership over, its first entry is not
    /// committed yet, or too much is in flight.
    #[error("the leader cannot take it now")]
    Busy,
}

/// A leadership was not handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandOverRefused {
    /// The node does not host the group.
    #[error("the group is not hosted here")]
    Unknown,
    /// Another node leads, or none.
    #[error("this node does not lead the group")]
    NotLeader,
    /// This node leads, and an earlier leader's lease may not be over yet.
    #[error("this node does not serve the group yet")]
    NotServing,
    /// A hand-over or a change of membership is under way.
    #[error("the group is changing its leader or its members just now")]
    Changing,
    /// None of those who may take it votes in the group, is alive, and has nearly all of its log.
    #[error("no other member is alive and has the log")]
    NoSuccessor,
}
