//! What a node knows of another: liveness, acknowledged heartbeats, and revocations owed to it.
//!
//! A node acknowledges each heartbeat at most once, and names in the acknowledgement every group in which
//! it has moved past the term in which it followed the receiver. It repeats them in all later
//! acknowledgements until the receiver says that it processed one that had them. So an acknowledgement
//! without a revocation was composed before the move, and with it the lease that stands on it ends before
//! any later leader serves.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use units::{Epoch, PartitionId, Term, Timestamp};

use crate::message::{NodeHeartbeat, NodeHeartbeatAck, Revocation};

/// Heartbeats whose sending times are kept: several seconds' worth, far more than a lease.
const MAX_UNACKNOWLEDGED: usize = 64;

#[derive(Debug)]
pub(crate) struct Peer {
    /// The newest incarnation heard of.
    pub(crate) incarnation: Epoch,
    /// The groups shared with it.
    pub(crate) groups: BTreeSet<PartitionId>,
    /// When anything last came from it.
    pub(crate) heard: Timestamp,
    /// Whether it was found silent and nothing came since.
    pub(crate) silent: bool,
    /// When a heartbeat of it was last acknowledged.
    pub(crate) answered_at: Timestamp,
    sent: VecDeque<(u64, Timestamp)>,
    sequence: u64,
    processed: u64,
    acknowledged: Option<Timestamp>,
    answered: u64,
    revocations: BTreeMap<PartitionId, Owed>,
}

#[derive(Clone, Copy, Debug)]
struct Owed {
    term: Term,
    /// The first acknowledgement that carried it.
    since: Option<u64>,
}

impl Peer {
    pub(crate) fn new(now: Timestamp) -> Self {
        Self {
            incarnation: Epoch::default(),
            groups: BTreeSet::new(),
            heard: now,
            silent: false,
            answered_at: now,
            sent: VecDeque::new(),
            sequence: 0,
            processed: 0,
            acknowledged: None,
            answered: 0,
            revocations: BTreeMap::new(),
        }
    }

    /// A new incarnation: nothing that the old one said or was owed holds.
    pub(crate) fn restarted(&mut self, incarnation: Epoch) {
        self.incarnation = incarnation;
        self.acknowledged = None;
        self.answered = 0;
        self.processed = 0;
        self.revocations.clear();
    }

    pub(crate) fn heartbeat(&mut self, now: Timestamp) -> NodeHeartbeat {
        self.sequence += 1;
        if self.sent.len() == MAX_UNACKNOWLEDGED {
            self.sent.pop_front();
        }
        self.sent.push_back((self.sequence, now));
        NodeHeartbeat { sequence: self.sequence, processed: self.processed }
    }

    /// Answers a heartbeat of the newest incarnation; `None` for one that was answered already.
    pub(crate) fn answer(&mut self, heartbeat: NodeHeartbeat, now: Timestamp) -> Option<NodeHeartbeatAck> {
        if heartbeat.sequence <= self.answered {
            return None;
        }
        self.answered = heartbeat.sequence;
        self.answered_at = now;
        self.revocations.retain(|_, owed| owed.since.is_none_or(|since| since > heartbeat.processed));
        let mut revoked = Vec::with_capacity(self.revocations.len());
        for (group, owed) in &mut self.revocations {
            owed.since.get_or_insert(heartbeat.sequence);
            revoked.push(Revocation { group: *group, term: owed.term });
        }
        Some(NodeHeartbeatAck { incarnation: self.incarnation, sequence: heartbeat.sequence, revoked })
    }

    /// Takes an acknowledgement; its revocations must have been applied before.
    pub(crate) fn acknowledge(&mut self, sequence: u64) {
        self.processed = self.processed.max(sequence);
        if let Some((_, sent)) = self.sent.iter().find(|(sent, _)| *sent == sequence) {
            self.acknowledged = self.acknowledged.max(Some(*sent));
        }
        self.sent.retain(|(sent, _)| *sent > sequence);
    }

    /// When the newest acknowledged heartbeat was sent.
    pub(crate) const fn acknowledged(&self) -> Option<Timestamp> {
        self.acknowledged
    }

    /// Owes it the news that this node moved past the term in which it followed it. Term 0: it no longer
    /// hosts the group.
    pub(crate) fn revoke(&mut self, group: PartitionId, term: Term) {
        self.revocations.insert(group, Owed { term, since: None });
    }
}
