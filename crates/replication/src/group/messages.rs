//! What members say to a group.

use std::time::Duration;

use bytes::Bytes;
use raft::StateRole;
use raft::eraftpb::{self, MessageType};
use units::{LogIndex, NodeId, Term, Timestamp};

use super::{Group, saturating_nanos};
use crate::config::SeededBug;
use crate::message::{GroupMessage, MessageKind};
use crate::raft_forms::to_raft;
use crate::refill::Refill;
use crate::shared::Shared;

impl Group {
    /// Takes a message of a member, of its newest incarnation.
    pub(crate) fn receive(&mut self, message: GroupMessage, shared: &mut Shared) {
        match message.kind {
            MessageKind::Sleep => self.told_to_sleep(&message),
            MessageKind::RefillQuery => self.answer_refill(&message, shared),
            MessageKind::RefillAnswer => self.refill_answered(&message, shared),
            MessageKind::Committed => self.told_commit(&message),
            _ => self.step(message, shared),
        }
    }

    pub(super) fn step(&mut self, mut message: GroupMessage, shared: &mut Shared) {
        if !self.may_step(&message) {
            return;
        }
        // Answers that were still under way when the group fell asleep change nothing.
        if message.kind != MessageKind::HeartbeatResponse {
            self.wake(shared);
        }
        if !message.entries.is_empty() || message.kind == MessageKind::Vote {
            self.active = shared.now;
        }
        if message.kind == MessageKind::Heartbeat
            && message.commit.get() > self.raw.raft.raft_log.last_index()
        {
            // Sent before the leader learnt that this replica had lost its data.
            message.commit = LogIndex::default();
        }
        let (kind, from, term) = (message.kind, message.from, message.term);
        // A member that was only told by a leader of an earlier term answers with nothing but its own term.
        let follows = kind == MessageKind::HeartbeatResponse || message.reject || message.index.get() > 0;
        let followed_before = self.raw.raft.state;
        if kind == MessageKind::VoteResponse && !message.reject && term == self.term {
            self.note_voter(&message.context, shared);
        }
        let Some(raft_message) = to_raft(message) else { return };
        if self.raw.step(raft_message).is_err() {
            return;
        }
        self.note_transition(shared);
        let (raft_term, raft_leader, vote) =
            (self.raw.raft.term, self.raw.raft.leader_id, self.raw.raft.vote);
        match kind {
            MessageKind::Append | MessageKind::Heartbeat | MessageKind::Snapshot
                if term.get() == raft_term && raft_leader == from.get() =>
            {
                self.followed = Some((from, term));
                self.election_due = shared.draw_election(shared.now);
            }
            MessageKind::Vote if term.get() == raft_term && vote == from.get() => {
                self.election_due = shared.draw_election(shared.now);
            }
            MessageKind::AppendResponse | MessageKind::HeartbeatResponse
                if term.get() == raft_term && follows =>
            {
                self.confirm(from, shared);
            }
            MessageKind::TimeoutNow
                if followed_before == StateRole::Follower && raft_term == term.get() + 1 =>
            {
                // The old leader gave its lease up before it sent this.
                self.handed_over = Some(Term::new(raft_term));
                self.note_transition(shared);
            }
            _ => {}
        }
    }

    /// Whether a message is sane and this replica, perhaps without its data, may listen to it.
    pub(super) fn may_step(&self, message: &GroupMessage) -> bool {
        let sane = match message.kind {
            MessageKind::Append => {
                let mut expected = message.index;
                let mut term = message.log_term;
                message.entries.iter().all(|entry| {
                    expected = expected.next();
                    let fits = entry.index == expected && entry.term >= term && entry.term <= message.term;
                    term = entry.term;
                    fits
                })
            }
            MessageKind::Snapshot => message.snapshot.as_ref().is_some_and(|s| s.at.index.get() > 0),
            _ => message.entries.is_empty(),
        };
        let listens = match &self.refill {
            None => message.kind != MessageKind::TimeoutNow || !self.is_installing(),
            Some(Refill::Asking { .. }) => false,
            Some(Refill::Filling { .. }) => {
                matches!(message.kind, MessageKind::Append | MessageKind::Heartbeat | MessageKind::Snapshot)
            }
        };
        sane && listens && message.term.get() > 0
    }

    /// A vote says how long ago the voter last acknowledged a heartbeat on which an earlier lease may
    /// stand. A vote that does not say so counts as just now.
    pub(super) fn note_voter(&mut self, context: &Bytes, shared: &Shared) {
        let nanos = <[u8; 8]>::try_from(context.as_ref()).map_or(0, u64::from_be_bytes);
        let ago = shared.config.at_least(Duration::from_nanos(nanos));
        let supported = Timestamp::from_nanos(shared.now.as_nanos().saturating_sub(saturating_nanos(ago)));
        self.voters_supported = self.voters_supported.max(supported);
    }

    /// A member follows this leader in this term, with its present incarnation.
    pub(super) fn confirm(&mut self, member: NodeId, shared: &mut Shared) {
        let Some(reign) = &mut self.reign else { return };
        let Some(peer) = shared.peers.get(&member) else { return };
        if reign.confirm(member, peer.incarnation) {
            self.refresh(shared);
        }
    }

    /// A member says in an acknowledgement that it does not follow any more.
    pub(crate) fn revoked(&mut self, member: NodeId, term: Term, shared: &mut Shared) {
        if shared.has_bug(SeededBug::IgnoreRevocations) {
            return;
        }
        // Of an earlier reign: since then it has followed into this term or not, and will say so.
        if term.get() > 0 && term.get() <= self.raw.raft.term {
            return;
        }
        if let (Some(reign), Some(peer)) = (&mut self.reign, shared.peers.get(&member)) {
            reign.bar(member, peer.incarnation);
        }
        if term.get() > self.raw.raft.term {
            // As any message of a later term: whoever leads must stand down.
            let mut message = eraftpb::Message::default();
            message.set_msg_type(MessageType::MsgHeartbeatResponse);
            message.from = member.get();
            message.to = shared.me().get();
            message.term = term.get();
            self.wake(shared);
            // An unknown member's message errs after the term was taken over, which is all that is wanted.
            let _ = self.raw.raft.step(message);
            self.note_transition(shared);
        }
        self.refresh(shared);
    }
}
