//! All replication groups of one node.

use std::sync::Arc;

use bytes::Bytes;
use units::{LogIndex, NodeId, PartitionId, Term, Timestamp};

use crate::config::NodeConfig;
use crate::effects::{Effects, PersistSequence, ReadToken, Refused};
use crate::lease::LeaseView;
use crate::message::{Envelope, GroupMessage};
use crate::recovered::{Membership, Position, Recovered, SnapshotPosition};

/// All replication groups of one node: a pure state machine. Call a method, then take the effects.
#[derive(Debug)]
pub struct NodeCore {
    config: NodeConfig,
    effects: Effects,
}

impl NodeCore {
    /// A node without groups. Election timeouts are drawn from a generator that starts with `seed`.
    ///
    /// # Panics
    /// When the configuration is not valid (see [`NodeConfig::validate`]).
    #[must_use]
    pub fn new(config: NodeConfig, seed: u64, now: Timestamp) -> Self {
        config.validate().expect("the configuration was validated where it was loaded");
        let _ = (seed, now);
        Self { config, effects: Effects::default() }
    }

    /// Begins to host a group: new, as recovered, or to be refilled. Ignored when it is open already.
    ///
    /// The records that create it on disk are among the next effects, unless it was recovered intact.
    pub fn open_group(&mut self, group: PartitionId, recovered: Recovered, now: Timestamp) {
        let _ = (group, recovered, now);
    }

    /// Ceases to host a group; its removal is among the next records.
    pub fn close_group(&mut self, group: PartitionId, now: Timestamp) {
        let _ = (group, now);
    }

    /// Proposes a payload. It is committed when exactly this term and index come back in
    /// [`Effects::committed`]; a different term at that index, or the loss of leadership, means that it
    /// may or may not come later.
    ///
    /// # Errors
    /// Not proposed; see [`Refused`].
    pub fn propose(
        &mut self,
        group: PartitionId,
        payload: Bytes,
        now: Timestamp,
    ) -> Result<(Term, LogIndex), Refused> {
        let _ = (group, payload, now, &self.config);
        Err(Refused::Unknown)
    }

    /// Asks a quorum whether this node still leads: a strong read without a lease. Answered by
    /// [`Effects::reads`], always, unless refused here. Reads of one moment share one round.
    ///
    /// # Errors
    /// Nothing was asked; see [`Refused`].
    pub fn read_index(&mut self, group: PartitionId, token: ReadToken, now: Timestamp) -> Result<(), Refused> {
        let _ = (group, token, now);
        Err(Refused::Unknown)
    }

    /// Takes what another node sent. `from` is the node as the transport authenticated it.
    pub fn receive(&mut self, from: NodeId, envelope: Envelope, now: Timestamp) {
        let _ = (from, envelope, now);
    }

    /// Lets time pass; to be called every [`NodeConfig::tick`].
    pub fn tick(&mut self, now: Timestamp) {
        let _ = now;
    }

    /// The log is durable up to and including this batch.
    pub fn persisted(&mut self, up_to: PersistSequence, now: Timestamp) {
        let _ = (up_to, now);
    }

    /// The shell has applied everything up to here.
    pub fn applied(&mut self, group: PartitionId, up_to: LogIndex, now: Timestamp) {
        let _ = (group, up_to, now);
    }

    /// The shell's checkpoint covers everything up to here: drops older entries from memory, and records
    /// the mark. Returns its position; `None` when it is nothing new or was never applied.
    pub fn compact(&mut self, group: PartitionId, up_to: LogIndex) -> Option<Position> {
        let _ = (group, up_to);
        None
    }

    /// Hands leadership of one group over. The lease is gone at once, for good in this term.
    pub fn transfer_leadership(&mut self, group: PartitionId, to: NodeId, now: Timestamp) {
        let _ = (group, to, now);
    }

    /// Hands every leadership over, each to the member that is furthest and alive; before shutdown.
    pub fn transfer_all(&mut self, now: Timestamp) {
        let _ = now;
    }

    /// How many groups this node leads.
    #[must_use]
    pub fn leading(&self) -> usize {
        0
    }

    /// All of a snapshot was sent and stored by the receiver.
    pub fn snapshot_sent(&mut self, group: PartitionId, to: NodeId, now: Timestamp) {
        let _ = (group, to, now);
    }

    /// A snapshot could not be sent; it will be asked for again.
    pub fn snapshot_failed(&mut self, group: PartitionId, to: NodeId, now: Timestamp) {
        let _ = (group, to, now);
    }

    /// A snapshot's data has arrived and is durable. Returns whether it is taken: then
    /// [`Effects::install_snapshot`] says so too; otherwise drop the data.
    #[must_use]
    pub fn snapshot_received(&mut self, message: GroupMessage, now: Timestamp) -> bool {
        let _ = (message, now);
        false
    }

    /// Where a snapshot of what the shell has applied stands now.
    #[must_use]
    pub fn snapshot_position(&self, group: PartitionId) -> Option<SnapshotPosition> {
        let _ = group;
        None
    }

    /// Who belongs to the group.
    #[must_use]
    pub fn membership(&self, group: PartitionId) -> Option<&Membership> {
        let _ = group;
        None
    }

    /// The view of a group's lease for other threads. It is the same object while the group is open.
    #[must_use]
    pub fn lease(&self, group: PartitionId) -> Option<Arc<LeaseView>> {
        let _ = group;
        None
    }

    /// What must be done now.
    #[must_use]
    pub fn take_effects(&mut self) -> Effects {
        std::mem::take(&mut self.effects)
    }
}
