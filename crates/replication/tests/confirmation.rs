//! Which answers of a member make a leader count on it.

use std::time::Duration;

use bytes::Bytes;
use replication::{
    EntryKind, Envelope, GroupMessage, LogEntry, MessageKind, NodeConfig, NodeCore, NodeHeartbeatAck,
    Recovered,
};
use units::{Epoch, LogIndex, NodeId, PartitionId, Term, Timestamp};

/// Its number picks the first of three members to lead first.
const GROUP: PartitionId = PartitionId::new(3);
const ME: NodeId = NodeId::new(1);
const INCARNATION: Epoch = Epoch::new(1);

struct Leader {
    core: NodeCore,
    now: Timestamp,
    /// The newest heartbeat sent to node 2.
    heartbeat: u64,
    /// Whom it told how far the log is committed, between ticks.
    told: Vec<(NodeId, LogIndex)>,
}

impl Leader {
    /// Node 1, elected in term 1 by node 2; its first entry was committed with node 3.
    fn elected() -> Self {
        let now = Timestamp::from_nanos(1_000_000_000);
        let core = NodeCore::new(NodeConfig::new(ME, INCARNATION), 7, now);
        let mut leader = Self { core, now, heartbeat: 0, told: Vec::new() };
        let voters = [1, 2, 3].map(NodeId::new);
        leader.core.open_group(GROUP, Recovered::new_group(voters), now);
        leader.tick();
        leader.hear(2, answer(MessageKind::PreVoteResponse, 2), false);
        leader.hear(2, answer(MessageKind::VoteResponse, 2), false);
        let first = GroupMessage { index: LogIndex::new(1), ..answer(MessageKind::AppendResponse, 3) };
        leader.hear(3, first, false);
        leader.tick();
        let lease = leader.core.lease(GROUP).expect("the group is open");
        assert!(lease.serving(), "it leads, and its first entry is committed");
        leader
    }

    fn tick(&mut self) {
        self.now = self.now + Duration::from_millis(100);
        self.core.tick(self.now);
        self.settle();
    }

    /// Takes a message of a member, with or without its acknowledgement of the newest heartbeat.
    fn hear(&mut self, from: u64, message: GroupMessage, acknowledges: bool) {
        let sequence = self.heartbeat;
        let ack = NodeHeartbeatAck { incarnation: INCARNATION, sequence, revoked: Vec::new() };
        let envelope = Envelope {
            from_incarnation: INCARNATION,
            messages: vec![message],
            heartbeat: None,
            heartbeat_ack: acknowledges.then_some(ack),
        };
        self.core.receive(NodeId::new(from), envelope, self.now);
        self.settle();
    }

    /// Everything is durable and applied at once.
    fn settle(&mut self) {
        loop {
            let effects = self.core.take_effects();
            if effects.is_empty() {
                return;
            }
            for (to, envelope) in effects.send {
                let committed = envelope.messages.iter().filter(|sent| sent.kind == MessageKind::Committed);
                self.told.extend(committed.map(|sent| (to, sent.commit)));
                if let (Some(heartbeat), 2) = (envelope.heartbeat, to.get()) {
                    self.heartbeat = heartbeat.sequence;
                }
            }
            for entry in effects.committed {
                self.core.applied(GROUP, entry.index, self.now);
            }
            if let Some(batch) = effects.persist {
                self.core.persisted(batch.sequence, self.now);
            }
        }
    }

    fn holds_lease(&self) -> bool {
        self.core.lease(GROUP).expect("the group is open").is_valid(self.now)
    }
}

fn answer(kind: MessageKind, from: u64) -> GroupMessage {
    let message = GroupMessage::empty(GROUP, kind, NodeId::new(from), ME);
    GroupMessage { term: Term::new(1), context: Bytes::new(), ..message }
}

#[test]
fn only_a_member_that_follows_extends_the_lease() {
    let mut leader = Leader::elected();
    // What a member says that voted in this term and then got an append of an earlier one: it follows
    // nobody yet, and would owe nobody a revocation when it votes again.
    leader.hear(2, answer(MessageKind::AppendResponse, 2), true);
    assert!(!leader.holds_lease());
    leader.tick();
    leader.hear(2, answer(MessageKind::HeartbeatResponse, 2), true);
    assert!(leader.holds_lease());
}

#[test]
fn a_leader_that_has_applied_less_than_its_log_does_not_lead_without_the_rest() {
    let mut leader = Leader::elected();
    leader.tick();
    leader.hear(2, answer(MessageKind::HeartbeatResponse, 2), true);
    let lease = leader.core.lease(GROUP).expect("the group is open");
    let proposed = leader.core.propose(GROUP, Bytes::from_static(b"2"), leader.now);
    let (_, second) = proposed.expect("it leads");
    // Sent, but neither durable here nor applied.
    let _sent = leader.core.take_effects();
    assert!(leader.holds_lease());
    assert!(!lease.leads_without(second, leader.now), "a follower may have applied it");
    assert!(lease.leads_without(second.next(), leader.now), "nobody has that");
    let later = leader.now + Duration::from_secs(1);
    assert!(!lease.leads_without(second.next(), later), "another may lead by then");
}

#[test]
fn followers_are_told_once_each_of_what_is_committed_and_they_hold() {
    let mut leader = Leader::elected();
    leader.core.tell_commits(leader.now);
    leader.settle();
    leader.told.clear();
    let proposed = leader.core.propose(GROUP, Bytes::from_static(b"2"), leader.now);
    let (_, second) = proposed.expect("it leads");
    leader.settle();
    assert!(!leader.core.owes_commits(), "nothing more is committed");

    for follower in [2, 3] {
        let holds = GroupMessage { index: second, ..answer(MessageKind::AppendResponse, follower) };
        leader.hear(follower, holds, false);
        assert!(leader.core.owes_commits());
        leader.core.tell_commits(leader.now);
        leader.settle();
        assert_eq!(std::mem::take(&mut leader.told), [(NodeId::new(follower), second)]);
        assert!(!leader.core.owes_commits());
    }
}

#[test]
fn a_follower_believes_its_leader_and_nobody_else_how_far_its_log_is_committed() {
    let now = Timestamp::from_nanos(1_000_000_000);
    let me = NodeId::new(2);
    let mut core = NodeCore::new(NodeConfig::new(me, INCARNATION), 7, now);
    core.open_group(GROUP, Recovered::new_group([1, 2, 3].map(NodeId::new)), now);
    let from = |kind, node: u64| GroupMessage {
        term: Term::new(1),
        ..GroupMessage::empty(GROUP, kind, NodeId::new(node), me)
    };
    let mut committed_after = |message: GroupMessage| {
        let node = message.from;
        let envelope =
            Envelope { from_incarnation: INCARNATION, messages: vec![message], ..Envelope::default() };
        core.receive(node, envelope, now);
        let mut committed = Vec::new();
        loop {
            let effects = core.take_effects();
            if effects.is_empty() {
                return committed;
            }
            committed.extend(effects.committed.into_iter().map(|entry| entry.index.get()));
            if let Some(batch) = effects.persist {
                core.persisted(batch.sequence, now);
            }
        }
    };
    let entry = |index| LogEntry {
        kind: EntryKind::Normal,
        term: Term::new(1),
        index: LogIndex::new(index),
        payload: Bytes::new(),
    };
    let append = GroupMessage { entries: vec![entry(1), entry(2)], ..from(MessageKind::Append, 1) };
    assert_eq!(committed_after(append), [0_u64; 0]);
    let told =
        |node, commit| GroupMessage { commit: LogIndex::new(commit), ..from(MessageKind::Committed, node) };
    assert_eq!(committed_after(told(3, 1)), [0_u64; 0], "it does not lead");
    assert_eq!(committed_after(told(1, 3)), [0_u64; 0], "so much is not there");
    assert_eq!(committed_after(told(1, 1)), [1]);
    assert_eq!(committed_after(told(1, 2)), [2]);
}
