//! What waits for a leader at a node's loop, driven by hand.

use std::sync::Arc;
use std::time::Duration;

use replication::{NodeConfig, NodeCore, Recovered};
use routing::{KeyRange, Member, MemberKind};
use tokio::sync::oneshot;
use units::{Epoch, NodeId, TableId, Timestamp, Zone};

use super::fleet::PARTITION;
use crate::engine::Replica;
use crate::node::assignment::Assignment;
use crate::node::checkpointer::Checkpointer;
use crate::node::group::Held;
use crate::node::node_loop::{Checkpoints, NodeLoop, Opened};
use crate::node::reply::Reply;
use crate::node::shared::{Identity, Shared};
use crate::{StorageLimits, StoreError};

pub(super) type Answer = oneshot::Receiver<Result<dynamodb::operation::Outcome, StoreError>>;

const NODE: NodeId = NodeId::new(1);

#[tokio::test]
async fn who_is_turned_away_by_a_node_that_leads_again_is_told_at_once() {
    let (mut node, now) = serving_alone();
    let (reply, answer) = caller(now);

    // As when another leader's entry stood where this node had proposed, and it has led anew since.
    node.turn_away(PARTITION, reply);

    assert_sent_here(answer);
}

#[tokio::test]
async fn what_is_held_although_the_node_serves_is_released_as_time_passes() {
    let (mut node, now) = serving_alone();
    let (reply, answer) = caller(now);
    node.groups.get_mut(&PARTITION).unwrap().held.push_back(Held::Turned(reply));

    node.go_on(now + Duration::from_millis(200));

    assert_sent_here(answer);
    assert!(node.groups[&PARTITION].held.is_empty());
}

#[tokio::test]
async fn who_is_turned_away_before_the_node_serves_is_held_until_it_does() {
    let (mut node, now) = opened();
    let (reply, mut answer) = caller(now);

    node.turn_away(PARTITION, reply);

    assert!(answer.try_recv().is_err());
    until_it_serves(&mut node, now);
    assert_sent_here(answer);
}

/// A loop that serves the partition, whose only member it is, and its present.
pub(super) fn serving_alone() -> (NodeLoop, Timestamp) {
    let (mut node, now) = opened();
    let now = until_it_serves(&mut node, now);
    (node, now)
}

fn until_it_serves(node: &mut NodeLoop, mut now: Timestamp) -> Timestamp {
    for _ in 0..100 {
        now = now + Duration::from_millis(100);
        node.go_on(now);
        if node.groups[&PARTITION].serving.is_some() {
            return now;
        }
    }
    panic!("a lone member leads within ten seconds");
}

pub(super) fn opened() -> (NodeLoop, Timestamp) {
    let runtime = tokio::runtime::Handle::current();
    let identity = Identity { node: NODE, zone: Zone::new(1), incarnation: Epoch::default() };
    let shared = Arc::new(Shared::new(identity, StorageLimits::default(), None, runtime));
    let now = wire::clock::now();
    let config = NodeConfig::new(NODE, Epoch::default());
    let tick = config.tick;
    let core = NodeCore::new(config, 7, now);
    let checkpoints = Checkpoints::new(Checkpointer::start(Arc::clone(&shared)).unwrap(), now);
    let mut node = NodeLoop::new(shared, core, None, checkpoints, tick);
    let assignment = Assignment {
        table: TableId::new(3),
        partition: PARTITION,
        range: KeyRange::default(),
        members: vec![Member { node: NODE, zone: Zone::new(1), kind: MemberKind::Storage }],
        configuration: 0,
        established: false,
    };
    let replica = Arc::new(Replica::new(None, 1 << 20));
    node.open(Opened { assignment, replica, recovered: Recovered::new_group([NODE]) }, now);
    (node, now)
}

/// One that waits for long.
pub(super) fn caller(now: Timestamp) -> (Reply, Answer) {
    let (sender, answer) = oneshot::channel();
    (Reply::Local(sender, now + Duration::from_secs(3_600)), answer)
}

fn assert_sent_here(mut answer: Answer) {
    let answer = answer.try_recv().expect("it was answered");
    let Err(StoreError::Redirect(route)) = answer else { panic!("{answer:?}") };
    assert_eq!(route.leader, Some(NODE));
}
