//! What the log holds.

use units::{LogIndex, PartitionId};

use crate::message::LogEntry;
use crate::recovered::{HardState, Membership, Position, SnapshotPosition};

/// One record of the node's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// An entry; it replaces what the group's log had at its index and after.
    Entry(PartitionId, LogEntry),
    /// Term, vote, commit index.
    HardState(PartitionId, HardState),
    /// Who belongs to the group from this index on.
    Membership(PartitionId, LogIndex, Membership),
    /// The replica's data were replaced by a snapshot; the log begins after it.
    Snapshot(PartitionId, SnapshotPosition),
    /// The checkpoint covers the log up to here.
    Checkpoint(PartitionId, Position),
    /// Entries from this index on are void.
    Truncated(PartitionId, LogIndex),
    /// The replica exists; `true`: its data were lost, it must be refilled before it votes.
    Created(PartitionId, Membership, bool),
    /// The replica holds again all that it may have promised.
    Refilled(PartitionId),
    /// The replica is gone.
    Removed(PartitionId),
}
