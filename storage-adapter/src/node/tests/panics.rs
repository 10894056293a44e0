//! A turn of the loop that panics ends the node: nobody goes on with what it left behind.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use dynamodb::operation::{Operation, Outcome};
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;
use units::{NodeId, Zone};

use super::fleet::{PARTITION, PATIENCE};
use super::held::{caller, opened};
use super::{get, put};
use crate::StorageLimits;
use crate::node::group::Held;
use crate::node::inbox::Input;
use crate::node::shared::Shared;
use crate::node::{NodeOptions, ReplicatedNode, StaticGroup, StaticMember};

#[tokio::test]
async fn after_a_panic_in_a_quick_turn_no_other_turn_is_taken() {
    let (node, _) = opened();
    let shared = Arc::clone(&node.shared);
    shared.turns.begin(node);
    shared.inbox.push(Input::Panic { is_quick: true });
    shared.take_turns();
    assert!(shared.failed.is_cancelled());
    let (sender, mut answer) = oneshot::channel();
    shared.inbox.push(Input::Owed(sender));

    shared.take_turns();
    shared.run_loop();

    assert_eq!(answer.try_recv(), Err(TryRecvError::Closed), "not answered by another turn, but dropped");
    assert_nobody_has_it(shared);
}

#[tokio::test]
async fn a_panic_in_the_loops_own_turn_answers_who_waits_and_leaves_nothing() {
    let (mut node, now) = opened();
    let (reply, mut answer) = caller(now);
    node.groups.get_mut(&PARTITION).unwrap().held.push_back(Held::Turned(reply));
    let shared = Arc::clone(&node.shared);
    shared.turns.begin(node);
    shared.inbox.push(Input::Panic { is_quick: false });

    shared.run_loop();

    assert!(shared.failed.is_cancelled());
    assert_ne!(answer.try_recv(), Err(TryRecvError::Empty), "it would wait for its deadline");
    assert_nobody_has_it(shared);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_ends_all_threads_of_a_node_and_who_asks_it_then_is_answered() {
    for is_quick in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let me = NodeId::new(1);
        let member = StaticMember { node: me, zone: Zone::new(1), address: "127.0.0.1:1".to_owned() };
        let group = StaticGroup { partition: PARTITION, members: vec![member], established: false };
        let options = NodeOptions {
            node: me,
            zone: Zone::new(1),
            data_dir: Some(folder.path().to_owned()),
            limits: StorageLimits::default(),
        };
        let node = ReplicatedNode::start(options, vec![group]).await.unwrap();
        node.learn_nodes(&BTreeMap::new());
        node.execute(PARTITION, put(1, "kept"), PATIENCE).await.unwrap();

        node.shared().inbox.push(Input::Panic { is_quick });
        node.shared().take_turns();

        tokio::time::timeout(PATIENCE, node.failed().cancelled()).await.expect("the node stops");
        until_answered(&node, put(2, "refused")).await;
        // The log's thread, the checkpoints' and the loop's own each hold it as long as they run.
        let shared = Arc::downgrade(node.shared());
        drop(node);
        let until = wire::clock::now() + PATIENCE;
        while shared.strong_count() > 0 {
            assert!(wire::clock::now() < until, "a thread still runs, or the loop holds itself");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Answered at once, and not with an outcome.
async fn until_answered(node: &ReplicatedNode, operation: Operation) {
    for operation in [operation, get(1, true)] {
        let began = wire::clock::now();
        let answer: Result<Outcome, _> = node.execute(PARTITION, operation, PATIENCE).await;
        assert!(wire::clock::now().since(began) < PATIENCE, "it waited for its deadline");
        assert!(answer.is_err() || matches!(answer, Ok(Outcome::Item(_))), "{answer:?}");
    }
}

fn assert_nobody_has_it(shared: Arc<Shared>) {
    let weak = Arc::downgrade(&shared);
    drop(shared);
    assert_eq!(weak.strong_count(), 0);
}
