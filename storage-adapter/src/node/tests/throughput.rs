//! A partition's and a node's buckets in front of real replicas.

use std::time::Duration;

use admission::{BurstState, CapacityKind, KeyHash, StorageLayer, StorageRefusal};
use dynamodb::operation::{Operation, Outcome};
use futures_util::future::join_all;
use units::{MilliUnits, MilliUnitsPerSecond, NodeId, PartitionId};

use super::fleet::{Fleet, PARTITION, PATIENCE};
use super::{get, item, put};
use crate::{StorageLimits, StoreError};

/// Another partition of the same table.
const OTHER: PartitionId = PartitionId::new(8);
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

fn units(units: u64) -> MilliUnits {
    MilliUnits::from_units(units)
}

/// Limits under which few requests use a partition up.
fn limits(write_units: u64, burst_seconds: u64) -> StorageLimits {
    StorageLimits {
        partition_read_units: 2,
        partition_write_units: write_units,
        partition_burst_seconds: burst_seconds,
        ..StorageLimits::default()
    }
}

/// How many of `count` operations at once were admitted, and what the others were told.
async fn at_once(
    fleet: &Fleet,
    leader: NodeId,
    operation: &Operation,
    count: usize,
) -> (u64, Vec<StorageRefusal>) {
    let (mut admitted, mut refusals) = (0, Vec::new());
    let answers = (0..count).map(|_| fleet.execute_once(leader, PARTITION, operation));
    for answer in join_all(answers).await {
        match answer {
            Ok(_) => admitted += 1,
            Err(StoreError::Throttled(refusal)) => refusals.push(*refusal),
            Err(error) => panic!("{error}"),
        }
    }
    (admitted, refusals)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hot_partition_is_refused_and_another_of_the_same_table_is_not() {
    let fleet = Fleet::start(3, limits(5, 0), true).await;
    for node in fleet.running() {
        fleet.assign_all(node, &[OTHER], false).await;
    }
    let leader = fleet.leader().await;
    let other_leader = fleet.leader_of(OTHER).await;
    let began = wire::clock::now();
    let (admitted, refusals) = at_once(&fleet, leader, &put(1, "hot"), 200).await;
    let elapsed = wire::clock::now().since(began);

    assert!(admitted <= 5 + 1 + MilliUnitsPerSecond::new(5).earned_in(elapsed).get(), "{admitted}");
    let refusal = refusals.last().unwrap();
    assert_eq!((refusal.layer, refusal.kind), (StorageLayer::Partition, CapacityKind::Write));
    assert_eq!((refusal.quota, refusal.burst), (MilliUnitsPerSecond::from_units(5), BurstState::Empty));
    assert!(refusal.level < units(1) && refusal.banked == MilliUnits::ZERO);
    assert!(refusal.retry_after <= Duration::from_millis(200), "{:?}", refusal.retry_after);
    // The key of these tests is its number: so is its hash.
    let hot = refusal.hot_key.unwrap();
    assert_eq!((hot.hash, hot.permille), (KeyHash::new(1), 1_000));
    for number in 0..3 {
        let written = fleet.execute_once(other_leader, OTHER, &put(number, "cool")).await;
        assert!(matches!(written, Ok(Outcome::Written(_))), "{written:?}");
    }
    assert!(matches!(fleet.execute_once(leader, PARTITION, &get(1, true)).await, Ok(Outcome::Item(_))));
    fleet.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_at_a_follower_are_counted_there() {
    let fleet = Fleet::start(3, limits(100, 0), true).await;
    fleet.execute(&put(1, "one")).await.unwrap();
    let leader = fleet.leader().await;
    let follower = fleet.running().into_iter().find(|node| *node != leader).unwrap();
    fleet.until_read_on(follower, &get(1, false), &Outcome::Item(Some(item(1, "one")))).await;

    let eventual = get(1, false);
    let answers = join_all((0..50).map(|_| fleet.ask(follower, &eventual))).await;

    let throttled = answers.iter().filter(|answer| matches!(answer, Err(StoreError::Throttled(_)))).count();
    assert!(throttled > 20, "{throttled} of 50 half units were refused at two units a second");
    assert!(matches!(fleet.ask(leader, &get(1, true)).await, Ok(Outcome::Item(Some(_)))));
    fleet.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_turns_out_large_is_settled_as_what_it_read() {
    let fleet =
        Fleet::start(1, StorageLimits { partition_read_units: 1_000, ..limits(1_000, 0) }, true).await;
    let node = NodeId::new(1);
    fleet.execute(&put(1, &"x".repeat(200 << 10))).await.unwrap();
    // 200 KB and a bit written: 201 units, not the least of one.
    let before = fleet.level(node, CapacityKind::Read).level;
    fleet.execute(&get(1, true)).await.unwrap();
    let after = fleet.level(node, CapacityKind::Read).level;
    assert!(after < before.saturating_sub(units(20)), "{before:?} {after:?}");
    // What was not executed costs nothing: it was sent elsewhere, or never came to the loop.
    let write = fleet.level(node, CapacityKind::Write);
    assert_eq!(write.debt, MilliUnits::ZERO);
    fleet.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_bursts_by_all_that_it_banked_and_then_keeps_to_its_allocation() {
    const RATE: u64 = 100;
    let fleet = Fleet::start(3, limits(RATE, 300), true).await;
    fleet.execute(&put(1, "one")).await.unwrap();
    let leader = fleet.leader().await;
    until(|| fleet.level(leader, CapacityKind::Write).banked >= units(50)).await;

    let began = wire::clock::now();
    let before = fleet.level(leader, CapacityKind::Write);
    let (admitted, refusal) = until_refused(&fleet, leader).await;
    let elapsed = wire::clock::now().since(began);

    assert_eq!((refusal.layer, refusal.burst), (StorageLayer::Partition, BurstState::Empty));
    assert!(refusal.banked < units(1), "{refusal:?}");
    let had = before.level + before.banked;
    let earned = MilliUnitsPerSecond::from_units(RATE).earned_in(elapsed);
    assert!(units(admitted + 1) >= had, "{admitted} of {had:?} were admitted");
    assert!(units(admitted) <= had + earned + units(1), "{admitted} of {had:?} and {earned:?}");

    let began = wire::clock::now();
    let mut later = 0;
    while wire::clock::now().since(began) < Duration::from_millis(500) {
        later += at_once(&fleet, leader, &put(1, "more"), 50).await.0;
    }
    let earned = MilliUnitsPerSecond::from_units(RATE).earned_in(wire::clock::now().since(began));
    assert!(units(later) <= earned + units(1), "{later} were admitted, {earned:?} were earned");
    fleet.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_burst_only_while_every_member_has_capacity_to_spare() {
    let mut fleet = Fleet::start(3, limits(20, 300), false).await;
    fleet.execute(&put(1, "one")).await.unwrap();
    let leader = fleet.leader().await;
    let follower = fleet.running().into_iter().find(|node| *node != leader).unwrap();
    fleet.abort(follower).await;
    // It applies what it is sent, and says that it has nothing to spare.
    fleet.restart_within(follower, StorageLimits { node_write_units: 1, ..limits(20, 300) }).await;
    let refusal = until_burst_is(&fleet, leader, BurstState::MembersBusy).await;
    assert_eq!((refusal.layer, refusal.kind), (StorageLayer::Partition, CapacityKind::Write));
    assert!(refusal.level + refusal.banked >= units(1) && refusal.level < units(1), "{refusal:?}");

    fleet.abort(follower).await;
    fleet.restart(follower).await;
    // It bursts again, until the bank is empty.
    let refusal = until_burst_is(&fleet, leader, BurstState::Empty).await;
    assert!(refusal.banked < units(1), "{refusal:?}");
    fleet.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refill_waits_behind_customers_and_goes_on_when_they_leave() {
    let open = StorageLimits { partition_write_units: 100_000, ..limits(1, 300) };
    // So that the log does not reach back, and a snapshot is needed.
    let cut = StorageLimits { checkpoint_log_bytes: 16 << 10, ..open.clone() };
    let mut fleet = Fleet::start(3, cut, false).await;
    // A chunk of a MiB, which passes by what is set aside, and one of two items, which must wait.
    let value = "v".repeat(30 << 10);
    for number in 0..37 {
        fleet.execute(&put(number, &value)).await.unwrap();
    }
    let leader = fleet.leader().await;
    let wiped = fleet.running().into_iter().find(|node| *node != leader).unwrap();
    fleet.abort(wiped).await;
    fleet.wipe(wiped);
    let small = StorageLimits { node_write_units: 200, node_background_percent: 1, ..open };
    fleet.restart_within(wiped, small).await;
    for node in fleet.running() {
        fleet.assign_all(node, &[OTHER], false).await;
    }
    let customers = put(1, &value);
    let load = join_all((0..3).map(|_| async {
        loop {
            // Seven writes a second are all that the small node can do.
            let _admitted_or_not = fleet.execute_on(OTHER, &customers).await;
        }
    }));
    let refill = async {
        until(|| fleet.spare(wiped).write == MilliUnits::ZERO).await;
        fleet.assign(wiped, true).await;
        fleet.until_exists(wiped, "replicas/7.building", true).await;
        let began = wire::clock::now();
        while wire::clock::now().since(began) < Duration::from_millis(1_500) {
            assert!(fleet.is_refilling(wiped), "the refill did not wait");
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
    };
    tokio::select! { _never = load => {}, () = refill => {} }
    let idle = wire::clock::now();
    until(|| !fleet.is_refilling(wiped)).await;
    // Long before its patience would have ended.
    assert!(wire::clock::now().since(idle) < Duration::from_secs(6));
    fleet.shutdown().await;
}

/// Writes until one write is refused: how many were admitted before.
async fn until_refused(fleet: &Fleet, leader: NodeId) -> (u64, StorageRefusal) {
    let mut admitted = 0;
    loop {
        let (more, refusals) = at_once(fleet, leader, &put(1, "burst"), 50).await;
        admitted += more;
        if let Some(refusal) = refusals.last() {
            return (admitted, *refusal);
        }
    }
}

/// Writes until a write is refused for this reason.
async fn until_burst_is(fleet: &Fleet, leader: NodeId, burst: BurstState) -> StorageRefusal {
    let until = wire::clock::now() + PATIENCE;
    while wire::clock::now() < until {
        let (_, refusals) = at_once(fleet, leader, &put(1, "burst"), 30).await;
        if let Some(refusal) = refusals.into_iter().find(|refusal| refusal.burst == burst) {
            return refusal;
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
    panic!("no write was refused because of {burst:?}");
}

async fn until(condition: impl Fn() -> bool) {
    let until = wire::clock::now() + PATIENCE;
    while !condition() {
        assert!(wire::clock::now() < until, "it did not happen");
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
}
