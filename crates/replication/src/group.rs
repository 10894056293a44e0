//! One replica of one group: the consensus library's state machine and our rules around it.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use raft::eraftpb::{self, MessageType};
use raft::{ReadOnlyOption, Ready, RawNode, StateRole};
use units::{LogIndex, NodeId, PartitionId, Term, Timestamp};

use crate::config::{NodeConfig, SeededBug};
use crate::effects::{
    Committed, InstallSnapshot, LeadershipChange, PersistSequence, ReadReady, ReadToken, Refused, SendSnapshot,
};
use crate::lease::LeaseView;
use crate::membership_change::{self, MemberChange};
use crate::memory_log::MemoryLog;
use crate::message::{EntryKind, GroupMessage, MessageKind};
use crate::raft_forms::{
    entry_from_raft, from_raft, hard_state_from_raft, membership_from_raft, node, snapshot_from_raft, to_raft,
};
use crate::recovered::{Membership, Origin, Position, Recovered, SnapshotPosition};
use crate::refill::Refill;
use crate::reign::Reign;
use crate::shared::Shared;
use crate::wal::Record;

/// Ticks between a leader's heartbeats to its group.
const HEARTBEAT_TICKS: usize = 2;
/// Ticks for which a replica that hears its leader refuses to vote for another, and within which a leader
/// must hear a quorum. Less than the least election timeout, so that the first to miss a dead leader
/// finds the others ready to vote.
const LEADER_HEARD_TICKS: usize = 6;
/// The library's own random election timeout is never reached: ours come from the node's generator.
const NEVER_TICKS: usize = usize::MAX / 4;
/// Read rounds under way at once; later reads gather for the next.
const MAX_READ_ROUNDS: usize = 8;
/// Committed bytes handed out at once.
const MAX_COMMITTED_BYTES: u64 = 8 << 20;
/// Ticks between the questions of a replica that lost its data.
const REFILL_TICKS: u32 = 5;

pub(crate) struct Group {
    id: PartitionId,
    raw: RawNode<MemoryLog>,
    lease: Arc<LeaseView>,
    membership: Membership,
    membership_at: LogIndex,
    /// Memberships that the shell has not applied up to yet: a snapshot taken now must not have them.
    memberships_to_apply: VecDeque<(LogIndex, Membership)>,
    refill: Option<Refill>,
    unpersisted: VecDeque<Unpersisted>,
    durable_term: u64,
    /// What was last seen of the library's state.
    term: Term,
    leader: Option<NodeId>,
    /// While this node leads.
    reign: Option<Reign>,
    /// The term for which the leader of the term before told this node to stand.
    handed_over: Option<Term>,
    /// Whom, in which term, this node told that it follows.
    followed: Option<(NodeId, Term)>,
    applied: LogIndex,
    election_due: Timestamp,
    /// Until then this replica, which led last or is to lead a new group first, stands again soon.
    eager_until: Timestamp,
    active: Timestamp,
    asleep: bool,
    transfer_wanted: Option<NodeId>,
    reads_waiting: Vec<ReadToken>,
    read_rounds: VecDeque<(u64, Vec<ReadToken>)>,
    next_round: u64,
}

impl std::fmt::Debug for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Group").field("id", &self.id).field("term", &self.term).finish_non_exhaustive()
    }
}

/// A step of the library whose records are not durable yet, and what waits for them.
struct Unpersisted {
    sequence: PersistSequence,
    number: u64,
    term: u64,
    /// The index of a snapshot among it, or 0.
    snapshot: u64,
    messages: Vec<eraftpb::Message>,
}

impl Group {
    pub(crate) fn open(id: PartitionId, recovered: Recovered, shared: &mut Shared) -> Self {
        let me = shared.me();
        let wiped = recovered.origin == Origin::Wiped && !shared.has_bug(SeededBug::VoteWhileWiped);
        if !recovered.recorded {
            shared.records.push(Record::Created(id, recovered.membership.clone(), wiped));
        }
        let (membership, membership_at) = (recovered.membership.clone(), recovered.membership_at);
        let applied = recovered.checkpoint.index;
        let durable_term = recovered.hard_state.term.get();
        let eager = !wiped && is_first_choice(id, me, &recovered);
        let config = raft_config(&shared.config, me, applied);
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let raw = RawNode::new(&config, MemoryLog::new(recovered), &logger)
            .expect("the configuration is constant and the recovered log has no gap");
        let now = shared.now;
        shared.link(id, membership.all());
        let mut group = Self {
            id,
            raw,
            lease: Arc::default(),
            membership,
            membership_at,
            memberships_to_apply: VecDeque::new(),
            refill: wiped.then(|| Refill::asking(now)),
            unpersisted: VecDeque::new(),
            durable_term,
            term: Term::new(durable_term),
            leader: None,
            reign: None,
            handed_over: None,
            followed: None,
            applied,
            election_due: if eager { now } else { shared.draw_election(now) },
            eager_until: if eager { now + shared.config.election_timeout_min } else { now },
            active: now,
            asleep: false,
            transfer_wanted: None,
            reads_waiting: Vec::new(),
            read_rounds: VecDeque::new(),
            next_round: 1,
        };
        if group.is_alone(me) {
            // Nobody else can lead: no reason to wait for anyone.
            group.election_due = now;
            group.stand_if_due(shared);
        }
        group.publish(shared);
        group
    }

    /// The group is dropped: whoever counted on this replica must not any more.
    pub(crate) fn close(&mut self, shared: &mut Shared) {
        self.end_reign(shared);
        if let Some((leader, _)) = self.followed.take() {
            shared.revoke(leader, self.id, Term::default());
        }
        self.lease.set_leadership(self.term, None, false);
        for member in self.membership.all() {
            shared.unlink(self.id, member);
        }
        shared.records.push(Record::Removed(self.id));
    }

    // ---- what the shell asks for -------------------------------------------------------------------

    pub(crate) fn propose(&mut self, payload: Bytes, shared: &mut Shared) -> Result<(Term, LogIndex), Refused> {
        self.check_leads()?;
        self.wake(shared);
        self.active = shared.now;
        let mut entry = eraftpb::Entry::default();
        entry.data = payload;
        let mut proposal = eraftpb::Message::default();
        proposal.set_msg_type(MessageType::MsgPropose);
        proposal.from = shared.me().get();
        proposal.set_entries(vec![entry].into());
        self.raw.raft.step(proposal).map_err(|_| Refused::Busy)?;
        Ok((self.term, LogIndex::new(self.raw.raft.raft_log.last_index())))
    }

    pub(crate) fn change_membership(
        &mut self,
        changes: &[MemberChange],
        shared: &mut Shared,
    ) -> Result<(Term, LogIndex), Refused> {
        self.check_leads()?;
        if self.raw.raft.has_pending_conf() || !self.membership.outgoing.is_empty() {
            return Err(Refused::Busy);
        }
        self.wake(shared);
        self.active = shared.now;
        let change = membership_change::to_raft(changes);
        self.raw.propose_conf_change(Vec::new(), change).map_err(|_| Refused::Busy)?;
        Ok((self.term, LogIndex::new(self.raw.raft.raft_log.last_index())))
    }

    pub(crate) fn read_index(&mut self, token: ReadToken, shared: &mut Shared) -> Result<(), Refused> {
        self.check_leads()?;
        // Before an earlier lease is over, its holder may not yet see what this leader has committed.
        if !self.reign.as_ref().is_some_and(|reign| reign.serving) || !self.raw.raft.commit_to_current_term() {
            return Err(Refused::Busy);
        }
        self.wake(shared);
        self.active = shared.now;
        self.reads_waiting.push(token);
        Ok(())
    }

    pub(crate) fn applied(&mut self, up_to: LogIndex, shared: &mut Shared) {
        let handed_out = self.raw.raft.raft_log.applied;
        let index = up_to.get().min(handed_out);
        if index <= self.applied.get() {
            return;
        }
        self.applied = LogIndex::new(index);
        while self.memberships_to_apply.front().is_some_and(|(at, _)| *at <= self.applied) {
            let (_, membership) = self.memberships_to_apply.pop_front().expect("it has a front");
            self.raw.mut_store().set_snapshot_membership(membership);
        }
        if let Ok(term) = self.raw.raft.raft_log.term(index) {
            let at = Position { index: self.applied, term: Term::new(term) };
            self.raw.mut_store().set_applied(at);
        }
        self.refresh(shared);
    }

    pub(crate) fn compact(&mut self, up_to: LogIndex, shared: &mut Shared) -> Option<Position> {
        let up_to = up_to.min(self.applied);
        if up_to <= self.raw.store().start().index {
            return None;
        }
        let term = self.raw.raft.raft_log.term(up_to.get()).ok()?;
        let position = Position { index: up_to, term: Term::new(term) };
        shared.records.push(Record::Checkpoint(self.id, position));
        // What a member still lacks stays in memory for a while: the log is cheaper than a snapshot.
        let lacking = if self.leads() {
            let matched = self.raw.raft.prs().iter().map(|(_, progress)| progress.matched);
            matched.min().unwrap_or(0)
        } else {
            up_to.get()
        };
        let least = up_to.get().saturating_sub(shared.config.retained_entries);
        self.raw.mut_store().compact(up_to.min(LogIndex::new(lacking.max(least))));
        Some(position)
    }

    pub(crate) fn transfer(&mut self, to: NodeId, shared: &mut Shared) {
        if self.leads() && to != shared.me() && self.membership.voters.contains(&to) {
            self.wake(shared);
            self.transfer_wanted = Some(to);
            self.transfer_if_possible(shared);
        }
    }

    /// Hands over to the voter that has most of the log and is alive.
    pub(crate) fn transfer_to_best(&mut self, shared: &mut Shared) {
        if !self.leads() || self.raw.raft.lead_transferee.is_some() {
            return;
        }
        let me = shared.me();
        let best = self
            .membership
            .voters
            .iter()
            .filter(|voter| **voter != me && shared.is_alive(**voter))
            .max_by_key(|voter| {
                let matched = self.raw.raft.prs().get(voter.get()).map_or(0, |progress| progress.matched);
                (matched, std::cmp::Reverse(**voter))
            });
        if let Some(best) = best.copied() {
            self.transfer(best, shared);
        }
    }

    pub(crate) fn snapshot_ended(&mut self, to: NodeId, arrived: bool) {
        let status = if arrived { raft::SnapshotStatus::Finish } else { raft::SnapshotStatus::Failure };
        self.raw.report_snapshot(to.get(), status);
    }

    /// Steps a snapshot whose data has arrived; says whether the replica takes it.
    pub(crate) fn snapshot_received(&mut self, message: GroupMessage, shared: &mut Shared) -> bool {
        let index = message.snapshot.as_ref().map_or(0, |snapshot| snapshot.at.index.get());
        self.receive(message, shared);
        self.raw.snap().is_some_and(|snapshot| snapshot.get_metadata().index == index)
    }

    // ---- views -------------------------------------------------------------------------------------

    pub(crate) const fn lease(&self) -> &Arc<LeaseView> {
        &self.lease
    }

    pub(crate) const fn membership(&self) -> &Membership {
        &self.membership
    }

    pub(crate) fn snapshot_position(&self) -> &SnapshotPosition {
        self.raw.store().snapshot_position()
    }

    pub(crate) fn leads(&self) -> bool {
        self.raw.raft.state == StateRole::Leader
    }

    pub(crate) const fn is_asleep(&self) -> bool {
        self.asleep
    }

    pub(crate) const fn is_refilling(&self) -> bool {
        self.refill.is_some()
    }

    fn is_alone(&self, me: NodeId) -> bool {
        self.membership.outgoing.is_empty()
            && self.membership.voters.len() == 1
            && self.membership.voters.contains(&me)
    }

    fn check_leads(&self) -> Result<(), Refused> {
        if self.leads() { Ok(()) } else { Err(Refused::NotLeader { leader: self.leader }) }
    }

    // ---- messages ----------------------------------------------------------------------------------

    /// Takes a message of a member, of its newest incarnation.
    pub(crate) fn receive(&mut self, message: GroupMessage, shared: &mut Shared) {
        match message.kind {
            MessageKind::Sleep => self.told_to_sleep(&message),
            MessageKind::RefillQuery => self.answer_refill(&message, shared),
            MessageKind::RefillAnswer => self.refill_answered(&message, shared),
            _ => self.step(message, shared),
        }
    }

    fn step(&mut self, mut message: GroupMessage, shared: &mut Shared) {
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
        if message.kind == MessageKind::Heartbeat && message.commit.get() > self.raw.raft.raft_log.last_index() {
            // Sent before the leader learnt that this replica had lost its data.
            message.commit = LogIndex::default();
        }
        let (kind, from, term) = (message.kind, message.from, message.term);
        let followed_before = self.raw.raft.state;
        let Some(raft_message) = to_raft(message) else { return };
        if self.raw.step(raft_message).is_err() {
            return;
        }
        self.note_transition(shared);
        let (raft_term, raft_leader, vote) = (self.raw.raft.term, self.raw.raft.leader_id, self.raw.raft.vote);
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
            MessageKind::AppendResponse | MessageKind::HeartbeatResponse if term.get() == raft_term => {
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
    fn may_step(&self, message: &GroupMessage) -> bool {
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
            Some(Refill::Filling { .. }) => matches!(
                message.kind,
                MessageKind::Append | MessageKind::Heartbeat | MessageKind::Snapshot
            ),
        };
        sane && listens && message.term.get() > 0
    }

    /// A member follows this leader in this term, with its present incarnation.
    fn confirm(&mut self, member: NodeId, shared: &mut Shared) {
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

    // ---- sleep -------------------------------------------------------------------------------------

    fn told_to_sleep(&mut self, message: &GroupMessage) {
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
    fn sleep_if_idle(&mut self, shared: &mut Shared) {
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

    /// A member's node restarted: whoever leads must hear from its new incarnation.
    pub(crate) fn member_restarted(&mut self, shared: &mut Shared) {
        self.wake(shared);
        if self.leads() {
            self.raw.ping();
        }
        self.refresh(shared);
    }

    // ---- time --------------------------------------------------------------------------------------

    pub(crate) fn tick(&mut self, shared: &mut Shared) {
        self.raw.tick();
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

    fn stand_if_due(&mut self, shared: &mut Shared) {
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
        let not_yet = if alone { !self.unpersisted.is_empty() } else { shared.draining || self.is_installing() };
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

    fn transfer_if_possible(&mut self, shared: &mut Shared) {
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
    fn begin_anew_after_failed_transfer(&mut self, shared: &mut Shared) {
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

    // ---- refill ------------------------------------------------------------------------------------

    fn ask_refill(&mut self, shared: &mut Shared) {
        let Some(Refill::Asking { next, answers }) = &mut self.refill else { return };
        if shared.now < *next {
            return;
        }
        *next = shared.now + shared.config.tick * REFILL_TICKS;
        let me = shared.me();
        let ask: Vec<NodeId> =
            self.membership.all().filter(|member| *member != me && !answers.contains_key(member)).collect();
        for member in ask {
            let mut query = self.message(MessageKind::RefillQuery, member, me);
            query.context = incarnation_bytes(shared);
            shared.send(query);
        }
    }

    fn answer_refill(&mut self, query: &GroupMessage, shared: &mut Shared) {
        self.wake(shared);
        self.active = shared.now;
        let from = query.from;
        if self.leads() && let Some(progress) = self.raw.raft.mut_prs().get_mut(from.get()) {
            // What it once held is gone, and must not count for a commit any more.
            progress.matched = 0;
            progress.committed_index = 0;
            progress.pending_snapshot = 0;
            progress.pending_request_snapshot = 0;
            progress.become_probe();
        }
        let mut answer = self.message(MessageKind::RefillAnswer, from, shared.me());
        answer.commit = LogIndex::new(self.raw.raft.raft_log.committed);
        answer.reject = self.refill.is_some();
        answer.context = query.context.clone();
        shared.send(answer);
    }

    fn refill_answered(&mut self, answer: &GroupMessage, shared: &mut Shared) {
        // Another without data knows nothing; an answer to an earlier life was true then, not now.
        if answer.reject || answer.context != incarnation_bytes(shared) {
            return;
        }
        let me = shared.me();
        let Some(refill) = &mut self.refill else { return };
        let learnt = refill.answered(me, &self.membership, answer.from, answer.term, answer.commit);
        let Some((term, _)) = learnt else { return };
        let raft = &mut self.raw.raft;
        if raft.term < term.get() {
            raft.become_follower(term.get(), 0);
        }
        // It may have voted in this very term: let that vote be its own, so that it is given to nobody.
        if raft.leader_id == 0 && raft.term > 0 {
            raft.vote = me.get();
        }
        self.note_transition(shared);
        self.refilled_if_full(shared);
    }

    fn refilled_if_full(&mut self, shared: &mut Shared) {
        let Some(Refill::Filling { until }) = self.refill else { return };
        let log = &self.raw.raft.raft_log;
        if log.committed >= until.get() && log.persisted >= until.get() && self.unpersisted.is_empty() {
            self.refill = None;
            self.election_due = shared.draw_election(shared.now);
            shared.records.push(Record::Refilled(self.id));
        }
    }

    // ---- what the library wants done ---------------------------------------------------------------

    /// Collects what has become ready since last time.
    pub(crate) fn pump(&mut self, shared: &mut Shared) {
        self.start_read_round();
        while self.raw.has_ready() {
            self.pump_once(shared);
            self.start_read_round();
        }
        self.note_transition(shared);
        self.refilled_if_full(shared);
    }

    fn pump_once(&mut self, shared: &mut Shared) {
        let mut ready = self.raw.ready();
        let number = ready.number();
        let waits = self.record(&ready, shared);
        for message in ready.take_messages() {
            self.send(message, shared);
        }
        let messages = ready.take_persisted_messages();
        for state in ready.take_read_states() {
            self.read_confirmed(&state.request_ctx, state.index, shared);
        }
        let committed = ready.take_committed_entries();
        let term = self.raw.raft.term;
        let snapshot = ready.snapshot().get_metadata().index;
        self.raw.advance_append_async(ready);
        let last = self.unpersisted.back().map(|last| last.sequence);
        let sequence = if waits { Some(shared.sequence) } else { last };
        match sequence {
            Some(sequence) if !shared.has_bug(SeededBug::AcknowledgeBeforePersist) => {
                let messages = self.send_what_need_not_wait(messages, shared);
                self.unpersisted.push_back(Unpersisted { sequence, number, term, snapshot, messages });
            }
            _ => {
                for message in messages {
                    self.send(message, shared);
                }
                self.raw.on_persist_ready(number);
                self.snapshot_durable(snapshot);
            }
        }
        self.hand_out(&committed, shared);
    }

    /// Puts what must be durable among the records, and into the log in memory. Says whether there is any.
    fn record(&mut self, ready: &Ready, shared: &mut Shared) -> bool {
        if let Some(hard_state) = ready.hs() {
            self.raw.mut_store().set_hard_state(hard_state.clone());
        }
        if !ready.must_sync() {
            // Only the commit index moved, which a restarted replica learns anew.
            return false;
        }
        let mut hard_state = hard_state_from_raft(&self.raw.raft.hard_state());
        if shared.has_bug(SeededBug::ForgetVotes) {
            hard_state.vote = None;
        }
        shared.records.push(Record::HardState(self.id, hard_state));
        if !ready.snapshot().is_empty() {
            let position = snapshot_from_raft(ready.snapshot());
            self.raw.mut_store().restore(&position);
            self.take_membership(position.membership.clone(), position.at.index, shared);
            self.applied = position.at.index;
            self.memberships_to_apply.clear();
            shared.records.push(Record::Snapshot(self.id, position.clone()));
            shared.effects.install_snapshot.push(InstallSnapshot { group: self.id, position });
        }
        self.raw.mut_store().append(ready.entries());
        let id = self.id;
        shared.records.extend(ready.entries().iter().map(|entry| Record::Entry(id, entry_from_raft(entry))));
        true
    }

    /// An answer to a heartbeat promises nothing but the term: when that is durable it need not wait.
    fn send_what_need_not_wait(
        &mut self,
        messages: Vec<eraftpb::Message>,
        shared: &mut Shared,
    ) -> Vec<eraftpb::Message> {
        let mut waiting = Vec::new();
        for message in messages {
            let promises_nothing = message.get_msg_type() == MessageType::MsgHeartbeatResponse;
            if promises_nothing && message.term == self.durable_term {
                self.send(message, shared);
            } else {
                waiting.push(message);
            }
        }
        waiting
    }

    pub(crate) fn persisted(&mut self, up_to: PersistSequence, shared: &mut Shared) {
        let mut newest = None;
        let mut snapshot = 0;
        while self.unpersisted.front().is_some_and(|first| first.sequence <= up_to) {
            let done = self.unpersisted.pop_front().expect("it has a front");
            self.durable_term = self.durable_term.max(done.term);
            newest = Some(done.number);
            snapshot = snapshot.max(done.snapshot);
            for message in done.messages {
                self.send(message, shared);
            }
        }
        if let Some(number) = newest {
            self.raw.on_persist_ready(number);
            self.snapshot_durable(snapshot);
            self.note_transition(shared);
        }
        if self.is_alone(shared.me()) {
            self.stand_if_due(shared);
        }
    }

    /// A snapshot counts as applied from when it is durable.
    fn snapshot_durable(&mut self, index: u64) {
        if index > self.raw.raft.raft_log.applied {
            self.raw.advance_apply_to(index);
        }
    }

    /// Between a snapshot's arrival and its durability the log has no beginning to campaign with.
    fn is_installing(&self) -> bool {
        self.raw.snap().is_some() || self.unpersisted.iter().any(|step| step.snapshot > 0)
    }

    pub(crate) fn has_unpersisted(&self) -> bool {
        !self.unpersisted.is_empty()
    }

    fn send(&mut self, message: eraftpb::Message, shared: &mut Shared) {
        let Some(message) = from_raft(self.id, message) else { return };
        if message.kind != MessageKind::Snapshot {
            shared.send(message);
            return;
        }
        let Some(position) = message.snapshot.clone() else { return };
        let to = message.to;
        shared.effects.send_snapshot.push(SendSnapshot { group: self.id, to, position, message });
    }

    fn hand_out(&mut self, entries: &[eraftpb::Entry], shared: &mut Shared) {
        let Some(last) = entries.last().map(|entry| entry.index) else { return };
        for entry in entries {
            let entry = entry_from_raft(entry);
            let mut payload = entry.payload;
            if entry.kind == EntryKind::Membership {
                self.apply_membership(&payload, entry.index, shared);
                payload = Bytes::new();
            }
            let (index, term) = (entry.index, entry.term);
            shared.effects.committed.push(Committed { group: self.id, index, term, payload });
        }
        self.raw.advance_apply_to(last);
    }

    fn apply_membership(&mut self, bytes: &[u8], at: LogIndex, shared: &mut Shared) {
        if at <= self.membership_at {
            return;
        }
        let Some(change) = membership_change::decode(bytes) else { return };
        let Ok(conf_state) = self.raw.apply_conf_change(&change) else { return };
        self.take_membership(membership_from_raft(&conf_state), at, shared);
        let membership = self.membership.clone();
        self.memberships_to_apply.push_back((at, membership.clone()));
        self.raw.mut_store().set_membership(&membership);
        shared.records.push(Record::Membership(self.id, at, membership));
        if self.membership.all().all(|member| member != shared.me()) {
            shared.effects.removed.push(self.id);
        }
        self.refresh(shared);
    }

    fn take_membership(&mut self, membership: Membership, at: LogIndex, shared: &mut Shared) {
        for member in self.membership.all() {
            shared.unlink(self.id, member);
        }
        shared.link(self.id, membership.all());
        self.membership = membership;
        self.membership_at = at;
    }

    // ---- reads -------------------------------------------------------------------------------------

    fn start_read_round(&mut self) {
        if self.reads_waiting.is_empty() || self.read_rounds.len() >= MAX_READ_ROUNDS {
            return;
        }
        let round = self.next_round;
        self.next_round += 1;
        self.read_rounds.push_back((round, std::mem::take(&mut self.reads_waiting)));
        self.raw.read_index(round.to_be_bytes().to_vec());
    }

    fn read_confirmed(&mut self, context: &[u8], index: u64, shared: &mut Shared) {
        let Ok(round) = <[u8; 8]>::try_from(context).map(u64::from_be_bytes) else { return };
        // The library confirms rounds in order, and with one all before it.
        while self.read_rounds.front().is_some_and(|(first, _)| *first <= round) {
            let (_, tokens) = self.read_rounds.pop_front().expect("it has a front");
            let index = Some(LogIndex::new(index));
            let group = self.id;
            shared.effects.reads.extend(tokens.into_iter().map(|token| ReadReady { group, token, index }));
        }
    }

    // ---- leadership --------------------------------------------------------------------------------

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
            }
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

    fn begin_reign(&mut self, first: LogIndex, shared: &mut Shared) {
        // Nobody else ever led a group whose only member this has always been, and nobody led before term 1.
        let always_alone = self.is_alone(shared.me()) && self.membership_at == LogIndex::default();
        let no_other_lease = always_alone || self.term == Term::new(1) || self.handed_over == Some(self.term);
        let wait = if no_other_lease || shared.has_bug(SeededBug::SkipLeaseWait) {
            std::time::Duration::ZERO
        } else {
            shared.config.foreign_lease()
        };
        self.asleep = false;
        self.active = shared.now;
        self.reign = Some(Reign::new(first, shared.now + wait));
    }

    fn end_reign(&mut self, shared: &mut Shared) {
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

    fn publish(&self, shared: &mut Shared) {
        let serving = self.reign.as_ref().is_some_and(|reign| reign.serving);
        self.lease.set_leadership(self.term, self.leader, serving);
        let change = LeadershipChange { group: self.id, term: self.term, leader: self.leader, serving };
        shared.effects.leadership.push(change);
    }

    fn message(&self, kind: MessageKind, to: NodeId, from: NodeId) -> GroupMessage {
        GroupMessage { term: Term::new(self.raw.raft.term), ..GroupMessage::empty(self.id, kind, from, to) }
    }
}

fn incarnation_bytes(shared: &Shared) -> Bytes {
    Bytes::copy_from_slice(&shared.config.incarnation.get().to_be_bytes())
}

fn raft_config(config: &NodeConfig, me: NodeId, applied: LogIndex) -> raft::Config {
    raft::Config {
        id: me.get(),
        election_tick: LEADER_HEARD_TICKS,
        heartbeat_tick: HEARTBEAT_TICKS,
        min_election_tick: NEVER_TICKS,
        max_election_tick: NEVER_TICKS + 1,
        applied: applied.get(),
        max_size_per_msg: config.max_append_bytes,
        max_inflight_msgs: config.max_inflight_appends,
        check_quorum: true,
        pre_vote: true,
        // The other option checks no clock.
        read_only_option: ReadOnlyOption::Safe,
        skip_bcast_commit: false,
        batch_append: true,
        max_uncommitted_size: config.max_uncommitted_bytes,
        max_committed_size_per_ready: MAX_COMMITTED_BYTES,
        ..raft::Config::default()
    }
}

/// Whether this replica should ask for votes without waiting for anybody: it voted for itself last, so it
/// probably led; or the group is new, and its number picks this one of the members.
fn is_first_choice(group: PartitionId, me: NodeId, recovered: &Recovered) -> bool {
    let voters = &recovered.membership.voters;
    match recovered.hard_state.vote {
        Some(vote) => vote == me,
        None => {
            let turn = group.get() % u64::try_from(voters.len().max(1)).expect("a count fits");
            recovered.origin == Origin::New
                && usize::try_from(turn).is_ok_and(|turn| voters.iter().nth(turn) == Some(&me))
        }
    }
}
