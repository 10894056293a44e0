//! Elections, transfers, and what leading means.

use raft::StateRole;
use raft::eraftpb::{self, MessageType};
use units::{LogIndex, NodeId, Term, Timestamp};

use super::Group;
use crate::config::SeededBug;
use crate::effects::{LeadershipChange, ReadReady};
use crate::message::{GroupMessage, MessageKind};
use crate::raft_forms::node;
use crate::reign::Reign;
use crate::shared::Shared;

impl Group {
    pub(crate) fn tick(&mut self, shared: &mut Shared) {
        self.raw.tick();
        self.announce_commit();
        self.note_transition(shared);
        self.ask_refill(shared);
        self.stand_if_due(shared);
        if self.transfer_wanted.is_some() {
            self.transfer_if_possible(shared);
        } else if shared.draining {
            self.transfer_to_best(shared);
        } else {
            self.begin_anew_after_failed_transfer(shared);
        }
        self.refresh(shared);
        self.sleep_if_idle(shared);
    }

    /// Tells the followers how far the log is committed, if the last tick's word is out of date. A message of its
    /// own for each commit would double what a write costs them; they need it only to show what is applied to
    /// eventually consistent reads. `tell_commits` is quicker, and not answered; by the answers to this the leader
    /// knows that they know.
    fn announce_commit(&mut self) {
        let committed = self.raw.raft.raft_log.committed;
        if self.leads() && committed > self.announced {
            self.announced = committed;
            self.raw.ping();
        }
    }

    /// Whether a follower holds committed entries of which it was not told that they are.
    pub(crate) fn owes_commits(&self, me: NodeId) -> bool {
        self.leads() && self.untold_commits(me).next().is_some()
    }

    /// Tells the followers, in a message that nobody answers. Ticks tell them again, should it be lost.
    pub(crate) fn tell_commits(&mut self, shared: &mut Shared) {
        if !self.leads() {
            return;
        }
        let untold: Vec<_> = self.untold_commits(shared.me()).collect();
        for (member, commit) in untold {
            self.commits_told.insert(member, commit);
            let mut message = self.message(MessageKind::Committed, member, shared.me());
            message.commit = LogIndex::new(commit);
            shared.send(message);
        }
    }

    /// Who holds how much that is committed and does not know it. What a member has not acknowledged in this term
    /// may be another's entries: it is not told of that.
    fn untold_commits(&self, me: NodeId) -> impl Iterator<Item = (NodeId, u64)> {
        let committed = self.raw.raft.raft_log.committed;
        self.membership.all().filter(move |member| *member != me).filter_map(move |member| {
            let progress = self.raw.raft.prs().get(member.get())?;
            let told = self.commits_told.get(&member).copied().unwrap_or(0).max(progress.committed_index);
            let commit = progress.matched.min(committed);
            (commit > told).then_some((member, commit))
        })
    }

    /// The leader's word, as far as a heartbeat's would be believed.
    pub(super) fn told_commit(&mut self, message: &GroupMessage) {
        let listens = self.refill.is_none() && !self.is_installing();
        let raft = &mut self.raw.raft;
        let follows = raft.state == StateRole::Follower
            && raft.term == message.term.get()
            && raft.leader_id == message.from.get();
        if listens && follows && message.commit.get() <= raft.raft_log.last_index() {
            raft.raft_log.commit_to(message.commit.get());
        }
    }

    pub(super) fn stand_if_due(&mut self, shared: &mut Shared) {
        let alone = self.is_alone(shared.me());
        if self.leads() || self.refill.is_some() || shared.now < self.election_due {
            return;
        }
        self.election_due = match shared.now < self.eager_until {
            // The others may not have opened the group yet; a pre-vote that is lost or refused costs nothing.
            true => shared.now + shared.config.tick,
            false => shared.draw_election(shared.now),
        };
        // Alone, a candidate leads at once: then its log must be durable already.
        let not_yet =
            if alone { !self.unpersisted.is_empty() } else { shared.draining || self.is_installing() };
        if not_yet || !self.raw.raft.promotable() {
            if alone {
                self.election_due = shared.now;
            }
            return;
        }
        let campaign = self.raw.campaign();
        debug_assert!(campaign.is_ok(), "asking for votes does not fail");
        self.note_transition(shared);
    }

    pub(super) fn transfer_if_possible(&mut self, shared: &mut Shared) {
        let (Some(to), Some(reign)) = (self.transfer_wanted, &mut self.reign) else { return };
        // Before an earlier lease is over the successor, who will not wait, must not be told to lead.
        if !reign.serving {
            return;
        }
        if !shared.has_bug(SeededBug::KeepLeaseInTransfer) {
            reign.lease_given_up = true;
        }
        self.transfer_wanted = None;
        self.refresh(shared);
        self.raw.transfer_leader(to.get());
    }

    /// A transfer that came to nothing leaves a leader that may not use a lease in its term: it stands for
    /// the next one, without a pre-vote, as the chosen successor would have done. No other lease can be
    /// in the way, since its own was the last.
    pub(super) fn begin_anew_after_failed_transfer(&mut self, shared: &mut Shared) {
        let given_up = self.reign.as_ref().is_some_and(|reign| reign.lease_given_up);
        if !given_up || self.raw.raft.lead_transferee.is_some() || self.raw.raft.has_pending_conf() {
            return;
        }
        let me = shared.me().get();
        let term = self.raw.raft.term;
        self.raw.raft.become_follower(term, 0);
        let mut stand = eraftpb::Message::default();
        stand.set_msg_type(MessageType::MsgTimeoutNow);
        (stand.from, stand.to, stand.term) = (me, me, term);
        if self.raw.raft.step(stand).is_ok() && self.raw.raft.term == term + 1 {
            self.handed_over = Some(Term::new(term + 1));
        }
        self.note_transition(shared);
    }

    /// Compares the library's state with what was last seen of it. To be called after every step: a
    /// revocation must be owed before the next acknowledgement is composed.
    pub(crate) fn note_transition(&mut self, shared: &mut Shared) {
        let raft = &self.raw.raft;
        let (term, leader) = (Term::new(raft.term), node(raft.leader_id));
        let leads = raft.state == StateRole::Leader;
        let last = LogIndex::new(raft.raft_log.last_index());
        let mut changed = leader != self.leader;
        if term != self.term {
            if let Some((followed, _)) = self.followed.take() {
                shared.revoke(followed, self.id, term);
                let answered = shared.peers.get(&followed).map_or(shared.now, |peer| peer.answered_at);
                self.supported = self.supported.max(answered);
            }
            self.voters_supported = self.supported;
            self.term = term;
            self.end_reign(shared);
            self.election_due = shared.draw_election(shared.now);
            changed = true;
        }
        if leads && self.reign.is_none() {
            self.begin_reign(last, shared);
            changed = true;
        } else if !leads && self.reign.is_some() {
            self.end_reign(shared);
            changed = true;
        }
        self.leader = leader;
        if changed {
            self.publish(shared);
            self.refresh(shared);
        }
    }

    pub(super) fn begin_reign(&mut self, first: LogIndex, shared: &mut Shared) {
        // Nobody else ever led a group whose only member this has always been, and nobody led before term 1.
        let always_alone = self.is_alone(shared.me()) && self.membership_at == LogIndex::default();
        let no_other_lease = always_alone || self.term == Term::new(1) || self.handed_over == Some(self.term);
        let serves_from = if no_other_lease || shared.has_bug(SeededBug::SkipLeaseWait) {
            shared.now
        } else {
            // A lease stands on heartbeats that a quorum acknowledged, and every quorum has one of the
            // voters: it ends a lease after the last that any of them acknowledged.
            self.voters_supported + shared.config.foreign_lease()
        };
        self.commits_told.clear();
        self.asleep = false;
        self.active = shared.now;
        self.reign = Some(Reign::new(first, serves_from));
    }

    pub(super) fn end_reign(&mut self, shared: &mut Shared) {
        self.lease.set_valid_until(Timestamp::default());
        self.transfer_wanted = None;
        if self.reign.take().is_none() {
            return;
        }
        let waiting = std::mem::take(&mut self.reads_waiting);
        let rounds = std::mem::take(&mut self.read_rounds).into_iter().flat_map(|(_, tokens)| tokens);
        let group = self.id;
        let ended = rounds.chain(waiting).map(|token| ReadReady { group, token, index: None });
        shared.effects.reads.extend(ended);
    }

    /// Brings the lease's view up to date.
    pub(crate) fn refresh(&mut self, shared: &mut Shared) {
        let Some(reign) = &mut self.reign else { return };
        let was_serving = reign.serving;
        reign.serving |= shared.now >= reign.may_serve_from && self.applied >= reign.first;
        let until = if reign.serving { reign.lease_end(&self.membership, shared) } else { None };
        self.lease.set_valid_until(until.unwrap_or_default());
        if reign.serving != was_serving {
            self.publish(shared);
        }
    }

    pub(super) fn publish(&self, shared: &mut Shared) {
        let serving = self.reign.as_ref().is_some_and(|reign| reign.serving);
        self.lease.set_leadership(self.term, self.leader, serving);
        let change = LeadershipChange { group: self.id, term: self.term, leader: self.leader, serving };
        shared.effects.leadership.push(change);
    }
}
