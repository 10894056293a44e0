//! What the groups of a node share while one of them works: peers, outputs, time, randomness.

use std::collections::BTreeMap;

use rand::Rng;
use rand::rngs::StdRng;
use units::{NodeId, PartitionId, Term, Timestamp};

use crate::config::{NodeConfig, SeededBug};
use crate::effects::{Effects, PersistSequence};
use crate::message::{Envelope, GroupMessage};
use crate::peer::Peer;
use crate::wal::Record;

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: NodeConfig,
    pub(crate) peers: BTreeMap<NodeId, Peer>,
    pub(crate) outbox: BTreeMap<NodeId, Envelope>,
    pub(crate) effects: Effects,
    pub(crate) records: Vec<Record>,
    /// The batch that `records` will be.
    pub(crate) sequence: PersistSequence,
    pub(crate) rng: StdRng,
    /// The newest time that a caller gave.
    pub(crate) now: Timestamp,
    /// The node hands its leaderships over and wants none.
    pub(crate) draining: bool,
}

impl Shared {
    pub(crate) const fn me(&self) -> NodeId {
        self.config.node
    }

    pub(crate) fn send(&mut self, message: GroupMessage) {
        self.outbox.entry(message.to).or_default().messages.push(message);
    }

    pub(crate) fn has_bug(&self, bug: SeededBug) -> bool {
        self.config.seeded_bug == Some(bug)
    }

    /// When a follower that hears nothing from now on asks for votes.
    pub(crate) fn draw_election(&mut self, from: Timestamp) -> Timestamp {
        let range = self.config.election_timeout_min..self.config.election_timeout_max;
        from + self.rng.random_range(range)
    }

    /// Notes that `group` has `members`; other nodes among them are peers then.
    pub(crate) fn link(&mut self, group: PartitionId, members: impl Iterator<Item = NodeId>) {
        let (me, now) = (self.me(), self.now);
        for node in members.filter(|node| *node != me) {
            self.peers.entry(node).or_insert_with(|| Peer::new(now)).groups.insert(group);
        }
    }

    /// Notes that `group` is no longer shared with `node`.
    pub(crate) fn unlink(&mut self, group: PartitionId, node: NodeId) {
        if let Some(peer) = self.peers.get_mut(&node) {
            peer.groups.remove(&group);
        }
    }

    /// Owes `leader` the news that this node moved past the term in which it followed it.
    pub(crate) fn revoke(&mut self, leader: NodeId, group: PartitionId, term: Term) {
        if let Some(peer) = self.peers.get_mut(&leader) {
            peer.revoke(group, term);
        }
    }

    /// How long ago a peer was heard, in ticks.
    pub(crate) fn ticks_since_heard(&self, node: NodeId) -> usize {
        let heard = self.peers.get(&node).map_or(Timestamp::default(), |peer| peer.heard);
        let ticks = self.now.since(heard).as_nanos() / self.config.tick.as_nanos();
        usize::try_from(ticks.min(1000)).expect("at most 1000")
    }

    pub(crate) fn is_alive(&self, node: NodeId) -> bool {
        node == self.me() || self.peers.get(&node).is_some_and(|peer| !peer.silent)
    }
}
