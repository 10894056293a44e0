//! Which answers of a member make a leader count on it.

use std::time::Duration;

use bytes::Bytes;
use replication::{Envelope, GroupMessage, MessageKind, NodeConfig, NodeCore, NodeHeartbeatAck, Recovered};
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
}

impl Leader {
    /// Node 1, elected in term 1 by node 2; its first entry was committed with node 3.
    fn elected() -> Self {
        let now = Timestamp::from_nanos(1_000_000_000);
        let core = NodeCore::new(NodeConfig::new(ME, INCARNATION), 7, now);
        let mut leader = Self { core, now, heartbeat: 0 };
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
