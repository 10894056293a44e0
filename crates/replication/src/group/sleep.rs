//! Groups without traffic sleep: they do not tick, nor say anything.

use raft::StateRole;
use units::{LogIndex, NodeId};

use super::Group;
use crate::message::{GroupMessage, MessageKind};
use crate::shared::Shared;

impl Group {
    pub(super) fn told_to_sleep(&mut self, message: &GroupMessage) {
        let raft = &self.raw.raft;
        let log = &raft.raft_log;
        let even = log.committed == log.last_index() && log.last_index() == message.index.get();
        if raft.term == message.term.get()
            && raft.leader_id == message.from.get()
            && raft.state == StateRole::Follower
            && even
            && self.unpersisted.is_empty()
            && self.refill.is_none()
        {
            self.asleep = true;
        }
    }

    /// Puts the group to sleep when nothing happens in it and everyone has everything.
    pub(super) fn sleep_if_idle(&mut self, shared: &mut Shared) {
        let Some(reign) = &self.reign else { return };
        let idle = shared.now.since(self.active) >= shared.config.idle_before_sleep;
        let busy = shared.draining
            || self.transfer_wanted.is_some()
            || self.raw.raft.lead_transferee.is_some()
            || !self.unpersisted.is_empty()
            || self.raw.has_ready()
            || !self.read_rounds.is_empty()
            || !self.reads_waiting.is_empty();
        if !idle || busy || !reign.serving {
            return;
        }
        let log = &self.raw.raft.raft_log;
        let last = log.last_index();
        if log.committed != last || log.applied != last || self.applied.get() != last {
            return;
        }
        let me = shared.me();
        let others: Vec<NodeId> = self.membership.all().filter(|member| *member != me).collect();
        let even = others.iter().all(|member| {
            let progress = self.raw.raft.prs().get(member.get());
            let peer = shared.peers.get(member);
            progress.is_some_and(|progress| progress.matched == last && progress.committed_index == last)
                && peer.is_some_and(|peer| !peer.silent && reign.is_confirmed(*member, peer.incarnation))
        });
        if !even {
            return;
        }
        for member in others {
            let mut message = self.message(MessageKind::Sleep, member, shared.me());
            message.index = LogIndex::new(last);
            shared.send(message);
        }
        self.asleep = true;
    }

    /// Ends a sleep. Whoever has slept knows its leader's state by the node's heartbeats.
    pub(crate) fn wake(&mut self, shared: &mut Shared) {
        if !self.asleep {
            return;
        }
        self.asleep = false;
        self.active = shared.now;
        let leader = self.leader.filter(|leader| *leader != shared.me());
        if let Some(leader) = leader {
            self.raw.raft.election_elapsed = shared.ticks_since_heard(leader);
            let heard = shared.peers.get(&leader).map_or(shared.now, |peer| peer.heard);
            self.election_due = shared.draw_election(heard);
        } else if self.leads() {
            self.raw.raft.election_elapsed = 0;
            self.raw.ping();
        }
    }

    /// A member's node restarted: whoever leads must hear from its new incarnation; and if that member
    /// led, it leads no more, so that others need not be refused a vote for its sake.
    pub(crate) fn member_restarted(&mut self, member: NodeId, shared: &mut Shared) {
        self.wake(shared);
        if self.raw.raft.state == StateRole::Follower && self.raw.raft.leader_id == member.get() {
            self.raw.raft.leader_id = 0;
            self.note_transition(shared);
        }
        if self.leads() {
            self.raw.ping();
        }
        self.refresh(shared);
    }
}
