//! Nodes in one process over loopback TCP, killed, wiped and restarted.

mod fleet;
mod held;
mod leader_moves;
mod monotone_reads;
mod panics;
mod route_pushes;
mod throughput;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use dynamodb::item_builder::ItemBuilder;
use dynamodb::operation::{
    Bindings, Delete, EncodedItem, Get, Operation, Outcome, Page, Put, RangeRead, StorageKey, WriteOptions,
    Written,
};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use units::{NodeId, PartitionId};

use crate::{MemoryStore, PartitionStore, StorageLimits, StoreError};
use fleet::{Fleet, PATIENCE};

fn key(number: u64) -> StorageKey {
    StorageKey(Bytes::copy_from_slice(&number.to_be_bytes()))
}

fn item(number: u64, value: &str) -> EncodedItem {
    let mut builder = ItemBuilder::new();
    builder.name("k").unwrap();
    builder.string(&number.to_string());
    builder.name("v").unwrap();
    builder.string(value);
    builder.finish().unwrap()
}

fn put(number: u64, value: &str) -> Operation {
    let options = WriteOptions::default();
    Operation::Put(Put { key: key(number), item: item(number, value), options, return_old: false })
}

/// A put that takes place only if there is no such item.
fn create(number: u64, value: &str) -> Operation {
    let options =
        WriteOptions { condition: Some("attribute_not_exists(k)".into()), ..WriteOptions::default() };
    Operation::Put(Put { key: key(number), item: item(number, value), options, return_old: true })
}

fn delete(number: u64) -> Operation {
    Operation::Delete(Delete { key: key(number), options: WriteOptions::default(), return_old: true })
}

fn get(number: u64, consistent: bool) -> Operation {
    Operation::Get(Get { key: key(number), consistent })
}

fn range(start: u64, end: Option<u64>, forward: bool, limit: Option<u32>) -> Operation {
    Operation::Range(RangeRead {
        start: key(start),
        end: end.map(key),
        forward,
        consistent: true,
        limit,
        max_bytes: 1 << 20,
        filter: None,
        projection: None,
        bindings: Bindings::default(),
        count_only: false,
        key_attributes: vec!["k".to_owned()],
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_execute_every_operation_and_all_of_them_serve_eventual_reads() {
    let fleet = Fleet::start(3, StorageLimits::default(), true).await;
    let written = fleet.execute(&create(1, "one")).await.unwrap();
    assert!(matches!(written, Outcome::Written(Written { old_size: 0, .. })), "{written:?}");
    assert!(matches!(fleet.execute(&create(1, "two")).await, Ok(Outcome::ConditionFailed { .. })));
    fleet.execute(&put(2, "two")).await.unwrap();
    assert_eq!(fleet.execute(&get(1, true)).await, Ok(Outcome::Item(Some(item(1, "one")))));
    let Ok(Outcome::Page(Page { items, count: 2, .. })) = fleet.execute(&range(0, None, false, None)).await
    else {
        panic!("a page of two")
    };
    assert_eq!(items, [item(2, "two"), item(1, "one")]);
    for node in fleet.running() {
        fleet.until_read_on(node, &get(2, false), &Outcome::Item(Some(item(2, "two")))).await;
    }
    let deleted = fleet.execute(&delete(1)).await.unwrap();
    assert!(matches!(deleted, Outcome::Written(Written { attributes: Some(_), new_size: 0, .. })));
    assert_eq!(fleet.execute(&get(1, true)).await, Ok(Outcome::Item(None)));
    fleet.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_outside_the_partition_or_on_another_table_is_redirected_nowhere() {
    let fleet = Fleet::start(1, StorageLimits::default(), false).await;
    fleet.execute(&put(1, "one")).await.unwrap();
    let mut route = fleet.route(fleet.leader().await);
    route.table = route.table.next();
    assert_eq!(fleet.client.execute(&route, &get(1, true), PATIENCE).await, Err(StoreError::Unknown));
    let mut route = fleet.route(fleet.leader().await);
    route.partition = route.partition.next();
    assert_eq!(fleet.client.execute(&route, &get(1, true), PATIENCE).await, Err(StoreError::Unknown));
    fleet.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_redirects_writes_and_strong_reads_to_the_leader() {
    let fleet = Fleet::start(3, StorageLimits::default(), true).await;
    fleet.execute(&put(1, "one")).await.unwrap();
    let leader = fleet.leader().await;
    let follower = fleet.running().into_iter().find(|node| *node != leader).unwrap();
    for operation in [put(1, "two"), get(1, true), range(0, None, true, None)] {
        let answer = fleet.client.execute(&fleet.route(follower), &operation, PATIENCE).await;
        let Err(StoreError::Redirect(route)) = answer else { panic!("{answer:?}") };
        assert_eq!(route.leader, Some(leader));
    }
    fleet.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_resume_after_the_leader_dies_and_it_catches_up_when_it_returns() {
    let mut fleet = Fleet::start(3, StorageLimits::default(), false).await;
    for number in 0..20 {
        fleet.execute(&put(number, "before")).await.unwrap();
    }
    let leader = fleet.leader().await;
    fleet.abort(leader).await;
    for number in 20..40 {
        fleet.execute(&put(number, "after")).await.unwrap();
    }
    for number in 0..40 {
        let value = if number < 20 { "before" } else { "after" };
        assert_eq!(fleet.execute(&get(number, true)).await, Ok(Outcome::Item(Some(item(number, value)))));
    }
    fleet.restart(leader).await;
    fleet.until_read_on(leader, &get(39, false), &Outcome::Item(Some(item(39, "after")))).await;
    fleet.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_nodes_killed_at_once_and_restarted_have_every_acknowledged_write() {
    let mut fleet = Fleet::start(3, StorageLimits::default(), false).await;
    for round in 0..3 {
        for number in 0..20 {
            fleet.execute(&put(round * 20 + number, "kept")).await.unwrap();
        }
        for node in fleet.running() {
            fleet.abort(node).await;
        }
        for node in fleet.stopped() {
            fleet.restart(node).await;
        }
    }
    for number in 0..60 {
        assert_eq!(fleet.execute(&get(number, true)).await, Ok(Outcome::Item(Some(item(number, "kept")))));
    }
    fleet.shutdown().await;
}

/// Limits under which a few hundred small writes bring checkpoints and a cut log.
fn small_limits() -> StorageLimits {
    StorageLimits { segment_bytes: 4 << 20, checkpoint_log_bytes: 16 << 10, ..StorageLimits::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_folder_was_deleted_is_refilled_and_serves_again() {
    let mut fleet = Fleet::start(3, small_limits(), false).await;
    let value = "x".repeat(200);
    for number in 0..300 {
        fleet.execute(&put(number, &value)).await.unwrap();
    }
    let leader = fleet.leader().await;
    let wiped = fleet.running().into_iter().find(|node| *node != leader).unwrap();
    fleet.abort(wiped).await;
    for number in 300..400 {
        fleet.execute(&put(number, &value)).await.unwrap();
    }
    fleet.wipe(wiped);
    fleet.restart(wiped).await;
    fleet.assign(wiped, true).await;
    for number in [0, 299, 399] {
        fleet.until_read_on(wiped, &get(number, false), &Outcome::Item(Some(item(number, &value)))).await;
    }
    // And what it got is on its own disk.
    fleet.abort(wiped).await;
    fleet.restart(wiped).await;
    fleet.until_read_on(wiped, &get(5, false), &Outcome::Item(Some(item(5, &value)))).await;
    fleet.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_files_were_damaged_at_rest_is_refilled_from_its_peers() {
    let mut fleet = Fleet::start(3, small_limits(), false).await;
    let value = "w".repeat(200);
    for number in 0..200 {
        fleet.execute(&put(number, &value)).await.unwrap();
    }
    let leader = fleet.leader().await;
    let damaged = fleet.running().into_iter().find(|node| *node != leader).unwrap();
    // Once its B-tree, once its log in the middle: in a record that was synced long ago.
    for part in ["replicas/7.redb", "log/00000000000000000001.log"] {
        fleet.abort(damaged).await;
        fleet.overwrite(damaged, part, 2_000);
        fleet.restart(damaged).await;
        for number in [0, 100, 199] {
            let expected = Outcome::Item(Some(item(number, &value)));
            fleet.until_read_on(damaged, &get(number, false), &expected).await;
        }
        fleet.execute(&put(500, "goes on")).await.unwrap();
        fleet.until_read_on(damaged, &get(500, false), &Outcome::Item(Some(item(500, "goes on")))).await;
    }
    fleet.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_groups_on_three_nodes_elect_and_serve() {
    let fleet = Fleet::start(3, small_limits(), false).await;
    let partitions: Vec<_> = (100..200).map(PartitionId::new).collect();
    for node in fleet.running() {
        fleet.assign_all(node, &partitions, false).await;
    }
    let value = "v".repeat(300);
    for round in 0..3 {
        for partition in &partitions {
            let written = fleet.execute_on(*partition, &put(round, &value)).await;
            assert!(matches!(written, Ok(Outcome::Written(_))), "{partition}: {written:?}");
        }
    }
    for partition in &partitions {
        let found = fleet.execute_on(*partition, &get(2, true)).await;
        assert_eq!(found, Ok(Outcome::Item(Some(item(2, &value)))));
    }
    fleet.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_cut_behind_checkpoints_also_when_an_idle_group_holds_it_back() {
    let fleet = Fleet::start(1, small_limits(), false).await;
    let node = NodeId::new(1);
    let idle = PartitionId::new(8);
    fleet.assign_all(node, &[idle], false).await;
    fleet.execute_on(idle, &put(1, "once")).await.unwrap();
    let value = "v".repeat(200 << 10);
    for number in 0..60 {
        fleet.execute(&put(number % 5, &value)).await.unwrap();
    }
    fleet.until_exists(node, "log/00000000000000000001.log", false).await;
    fleet.until_exists(node, "log/00000000000000000002.log", false).await;
    assert_eq!(fleet.execute_on(idle, &get(1, true)).await, Ok(Outcome::Item(Some(item(1, "once")))));
    fleet.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_replica_is_gone_from_disk_and_stays_gone() {
    let mut fleet = Fleet::start(1, small_limits(), false).await;
    let node = NodeId::new(1);
    for number in 0..200 {
        fleet.execute(&put(number, "some value that fills the log")).await.unwrap();
    }
    fleet.until_exists(node, "replicas/7.redb", true).await;
    fleet.drop_partition(node).await;
    fleet.until_exists(node, "replicas/7.redb", false).await;
    fleet.abort(node).await;
    fleet.restart(node).await;
    assert_eq!(fleet.ask(node, &get(1, true)).await, Err(StoreError::Unknown));
    fleet.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strong_read_never_misses_what_was_acknowledged_before_it_began() {
    let mut fleet = Fleet::start(3, StorageLimits::default(), true).await;
    fleet.execute(&put(1, "0")).await.unwrap();
    let acknowledged = Arc::new(AtomicU64::new(0));
    let (client, routes) = (Arc::clone(&fleet.client), fleet.routes());
    let reading = tokio::spawn({
        let acknowledged = Arc::clone(&acknowledged);
        async move {
            let mut reads = 0;
            // Asks every node, also those that do not lead: whoever answers must not be behind.
            for round in 0.. {
                let before = acknowledged.load(Ordering::SeqCst);
                if before == u64::MAX {
                    break;
                }
                let route = &routes[round % routes.len()];
                let answer = client.execute(route, &get(1, true), Duration::from_millis(200)).await;
                if let Ok(Outcome::Item(Some(found))) = answer {
                    let view = found.view();
                    let value: u64 = view.get("v").unwrap().as_str().unwrap().parse().unwrap();
                    assert!(value >= before, "read {value} after {before} was acknowledged");
                    reads += 1;
                }
            }
            reads
        }
    });
    for count in 1..=150 {
        fleet.execute(&put(1, &count.to_string())).await.unwrap();
        acknowledged.store(count, Ordering::SeqCst);
        if count == 75 {
            let leader = fleet.leader().await;
            fleet.abort(leader).await;
        }
    }
    acknowledged.store(u64::MAX, Ordering::SeqCst);
    assert!(reading.await.unwrap() > 50);
    fleet.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lone_node_killed_under_writes_and_checkpoints_has_all_that_was_acknowledged() {
    let mut fleet = Fleet::start(1, small_limits(), false).await;
    let node = NodeId::new(1);
    let value = "y".repeat(300);
    let acknowledged = Arc::new(AtomicU64::new(0));
    for round in 1..=4 {
        fleet.execute(&get(0, true)).await.unwrap();
        let writing = tokio::spawn({
            let (client, route) = (Arc::clone(&fleet.client), fleet.route(node));
            let (value, acknowledged) = (value.clone(), Arc::clone(&acknowledged));
            async move {
                // Until the node dies under it.
                for number in acknowledged.load(Ordering::SeqCst).. {
                    let written = client.execute(&route, &put(number, &value), PATIENCE).await;
                    if written.is_err() {
                        break;
                    }
                    acknowledged.store(number + 1, Ordering::SeqCst);
                }
            }
        });
        while acknowledged.load(Ordering::SeqCst) < round * 100 {
            tokio::task::yield_now().await;
        }
        fleet.abort(node).await;
        writing.await.unwrap();
        fleet.restart(node).await;
    }
    for number in 0..acknowledged.load(Ordering::SeqCst) {
        let found = fleet.execute(&get(number, true)).await;
        assert_eq!(found, Ok(Outcome::Item(Some(item(number, &value)))), "{number}");
    }
    fleet.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planned_stop_hands_leadership_over_without_an_election_timeout() {
    let mut fleet = Fleet::start(3, StorageLimits::default(), true).await;
    fleet.execute(&put(1, "one")).await.unwrap();
    let leader = fleet.leader().await;
    let began = wire::clock::now();
    fleet.stop(leader).await;
    fleet.execute(&put(1, "two")).await.unwrap();
    // Only to say that it was no election: that takes 1.4 s at least.
    assert!(wire::clock::now().since(began) < Duration::from_millis(1300));
    fleet.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_missed_more_than_the_log_keeps_gets_a_snapshot_over_its_old_file() {
    let mut fleet = Fleet::start(3, small_limits(), false).await;
    let value = "z".repeat(200);
    for number in 0..200 {
        fleet.execute(&put(number, &value)).await.unwrap();
    }
    let leader = fleet.leader().await;
    let lagging = fleet.running().into_iter().find(|node| *node != leader).unwrap();
    fleet.abort(lagging).await;
    for number in 0..400 {
        fleet.execute(&put(number, "newer")).await.unwrap();
    }
    fleet.execute(&delete(399)).await.unwrap();
    fleet.restart(lagging).await;
    fleet.until_read_on(lagging, &get(0, false), &Outcome::Item(Some(item(0, "newer")))).await;
    fleet.until_read_on(lagging, &get(399, false), &Outcome::Item(None)).await;
    fleet.abort(lagging).await;
    fleet.restart(lagging).await;
    fleet.until_read_on(lagging, &get(398, false), &Outcome::Item(Some(item(398, "newer")))).await;
    fleet.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_eventual_read_that_a_replica_cannot_serve_is_served_by_another() {
    let mut fleet = Fleet::start(3, StorageLimits::default(), true).await;
    fleet.execute(&put(1, "one")).await.unwrap();
    let leader = fleet.leader().await;
    let near = fleet.running().into_iter().find(|node| *node != leader).unwrap();
    // Restarted without data and not assigned: it hosts nothing.
    fleet.abort(near).await;
    fleet.restart(near).await;
    let client = fleet.client_near(near).await;
    let route = fleet.route(leader);
    for _ in 0..2 {
        let answer = client.execute(&route, &get(1, false), PATIENCE).await;
        assert_eq!(answer, Ok(Outcome::Item(Some(item(1, "one")))));
    }
    fleet.shutdown().await;
}

/// One random operation, by number so that the same goes to two stores.
fn some_operation() -> impl Strategy<Value = Operation> {
    let number = 0..12_u64;
    prop_oneof![
        (number.clone(), "[a-c]{1,3}").prop_map(|(number, value)| put(number, &value)),
        (number.clone(), "[a-c]{1,3}").prop_map(|(number, value)| create(number, &value)),
        number.clone().prop_map(delete),
        number.clone().prop_map(|number| get(number, true)),
        (number.clone(), prop::option::of(number), any::<bool>(), prop::option::of(1..5_u32))
            .prop_map(|(start, end, forward, limit)| range(start, end, forward, limit)),
    ]
}

#[test]
fn the_memory_store_and_three_replicas_give_the_same_outcomes() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let fleet = runtime.block_on(Fleet::start(3, StorageLimits::default(), true));
    let memory = MemoryStore::new();
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let sequence = prop::collection::vec(some_operation(), 1..40);
    for _ in 0..12 {
        let operations = sequence.new_tree(&mut runner).unwrap().current();
        for operation in operations {
            let route = fleet.route(NodeId::new(1));
            let expected = runtime.block_on(memory.execute(&route, &operation, PATIENCE));
            assert_eq!(runtime.block_on(fleet.execute(&operation)), expected, "{operation:?}");
        }
    }
    runtime.block_on(fleet.shutdown());
}
