//! What a node core is told about its node and its timing.

use std::time::Duration;

use units::{Epoch, NodeId};

/// Identity and timing of one node. Timing must be the same on all nodes of a fleet: a lease is safe
/// because every node waits out what any other may still hold.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeConfig {
    /// This node.
    pub node: NodeId,
    /// Grows with every start of this node; what an earlier one promised does not bind it.
    pub incarnation: Epoch,
    /// How often the shell calls [`crate::NodeCore::tick`]; also the interval of node heartbeats.
    pub tick: Duration,
    /// How long a lease lasts from the sending of the heartbeats that a quorum acknowledged.
    pub lease: Duration,
    /// How much faster one node's clock may run than another's, in parts per thousand.
    pub drift_per_mille: u32,
    /// Shortest time without a leader after which a follower asks for votes.
    pub election_timeout_min: Duration,
    /// Longest such time; each is drawn anew between the two.
    pub election_timeout_max: Duration,
    /// How long a group must be without traffic before it sleeps.
    pub idle_before_sleep: Duration,
    /// Largest append message in bytes of entries (one larger entry still goes alone).
    pub max_append_bytes: u64,
    /// Append messages in flight to one follower.
    pub max_inflight_appends: usize,
    /// Bytes proposed and not yet committed per group, before proposals are refused.
    pub max_uncommitted_bytes: u64,
    /// Bytes of entries that leaders keep in memory behind their checkpoints for members that lack them,
    /// all groups of the node together.
    pub retained_bytes: u64,
    /// A deliberate mistake, by which the tests show that they would notice it. Always `None` elsewhere.
    #[doc(hidden)]
    pub seeded_bug: Option<SeededBug>,
}

/// Mistakes that the simulation must catch.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeededBug {
    /// Acknowledge and count what is not durable yet.
    AcknowledgeBeforePersist,
    /// Do not persist term and vote.
    ForgetVotes,
    /// Serve at once after an election.
    SkipLeaseWait,
    /// Extend leases by acknowledgements of those who follow another.
    IgnoreRevocations,
    /// Count acknowledgements of members that did not confirm the term.
    CountUnconfirmed,
    /// Keep the lease after telling another to lead.
    KeepLeaseInTransfer,
    /// Let a replica without its data vote and acknowledge.
    VoteWhileWiped,
}

impl NodeConfig {
    /// The defaults of `storage.md`: writes are back within 2 s of a leader's death.
    ///
    /// Worst case: 1.2 s until the election starts, two rounds of messages, then the old lease of 0.6 s
    /// and its drift.
    #[must_use]
    pub fn new(node: NodeId, incarnation: Epoch) -> Self {
        Self {
            node,
            incarnation,
            tick: Duration::from_millis(100),
            lease: Duration::from_millis(600),
            drift_per_mille: 20,
            election_timeout_min: Duration::from_millis(800),
            election_timeout_max: Duration::from_millis(1200),
            idle_before_sleep: Duration::from_secs(1),
            max_append_bytes: 1 << 20,
            max_inflight_appends: 128,
            max_uncommitted_bytes: 64 << 20,
            retained_bytes: 64 << 20,
            seeded_bug: None,
        }
    }

    /// Checks that the timing can work.
    ///
    /// # Errors
    /// Says which relation does not hold.
    pub fn validate(&self) -> Result<(), NodeConfigError> {
        if self.node.get() == 0 {
            return Err(NodeConfigError("node must not be 0"));
        }
        if self.tick.is_zero() || self.lease < self.tick * 3 {
            return Err(NodeConfigError("lease must be at least three ticks"));
        }
        if self.election_timeout_min < self.lease + self.tick {
            return Err(NodeConfigError("election_timeout_min must exceed lease by a tick"));
        }
        if self.election_timeout_max <= self.election_timeout_min {
            return Err(NodeConfigError("election_timeout_max must exceed election_timeout_min"));
        }
        if self.drift_per_mille > 200 {
            return Err(NodeConfigError("drift_per_mille must be at most 200"));
        }
        if self.max_inflight_appends == 0 || self.max_uncommitted_bytes < self.max_append_bytes {
            return Err(NodeConfigError("append limits do not fit each other"));
        }
        Ok(())
    }

    /// How long a holder trusts its lease, on its own clock.
    pub(crate) fn held_lease(&self) -> Duration {
        self.lease - self.drift(self.lease)
    }

    /// How long a new leader waits for an earlier lease to end, on its own clock.
    pub(crate) fn foreign_lease(&self) -> Duration {
        self.lease + self.drift(self.lease)
    }

    /// The least that passed on this clock while another node's measured `elapsed`.
    pub(crate) fn at_least(&self, elapsed: Duration) -> Duration {
        elapsed.saturating_sub(elapsed / 1000 * self.drift_per_mille)
    }

    fn drift(&self, of: Duration) -> Duration {
        of * self.drift_per_mille / 1000
    }
}

/// A timing that cannot work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid node configuration: {0}")]
pub struct NodeConfigError(&'static str);
