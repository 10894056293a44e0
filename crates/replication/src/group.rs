//! One replica of one group: the consensus library's state machine and our rules around it.

mod handover;
mod leadership;
mod messages;
mod ready;
mod refilling;
mod sleep;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use raft::eraftpb::{self, MessageType};
use raft::{RawNode, ReadOnlyOption, StateRole};
use units::{LogIndex, NodeId, PartitionId, Term, Timestamp};

use crate::config::{NodeConfig, SeededBug};
use crate::effects::{PersistSequence, ReadToken, Refused};
use crate::lease::LeaseView;
use crate::membership_change::{self, MemberChange};
use crate::memory_log::MemoryLog;
use crate::message::{GroupMessage, MessageKind};
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
    /// Any lease that an earlier leader holds by this replica stands on heartbeats sent before this.
    supported: Timestamp,
    /// While a candidate: the same of all who gave it their vote.
    voters_supported: Timestamp,
    applied: LogIndex,
    /// How far a leader has told its followers, at a tick, that the log is committed.
    announced: u64,
    /// How far it has told each of them between ticks, in this reign.
    commits_told: BTreeMap<NodeId, u64>,
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
            // An earlier life of this replica may have followed someone until it ended, which was before now.
            supported: now,
            voters_supported: now,
            applied,
            announced: 0,
            commits_told: BTreeMap::new(),
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

    pub(crate) fn propose(
        &mut self,
        payload: Bytes,
        shared: &mut Shared,
    ) -> Result<(Term, LogIndex), Refused> {
        self.check_leads()?;
        self.wake(shared);
        self.active = shared.now;
        let entry = eraftpb::Entry { data: payload, ..Default::default() };
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
        // While an earlier lease may last, every quorum must have one of this leader's voters.
        let serves = self.reign.as_ref().is_some_and(|reign| reign.serving);
        if !serves || self.raw.raft.has_pending_conf() || !self.membership.outgoing.is_empty() {
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
        if !self.reign.as_ref().is_some_and(|reign| reign.serving) || !self.raw.raft.commit_to_current_term()
        {
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

    pub(crate) fn compact(&mut self, up_to: LogIndex, retain: u64, shared: &mut Shared) -> Option<Position> {
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
            LogIndex::new(matched.min().unwrap_or(0))
        } else {
            up_to
        };
        self.raw.mut_store().compact(up_to, lacking, retain);
        Some(position)
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

    pub(crate) fn is_alone(&self, me: NodeId) -> bool {
        self.membership.outgoing.is_empty()
            && self.membership.voters.len() == 1
            && self.membership.voters.contains(&me)
    }

    fn message(&self, kind: MessageKind, to: NodeId, from: NodeId) -> GroupMessage {
        GroupMessage { term: Term::new(self.raw.raft.term), ..GroupMessage::empty(self.id, kind, from, to) }
    }

    fn check_leads(&self) -> Result<(), Refused> {
        if self.leads() { Ok(()) } else { Err(Refused::NotLeader { leader: self.leader }) }
    }
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
        // Followers learn of it with the next entries, or a little later: see `tell_commits`.
        skip_bcast_commit: true,
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

fn saturating_nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
