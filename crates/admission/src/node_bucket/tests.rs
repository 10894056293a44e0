use proptest::prelude::*;

use units::NodeId;

use super::*;
use crate::member_capacity::MemberCapacity;
use crate::partition_bucket::{Demand, PartitionBucket, PartitionLimits};

const READ: CapacityKind = CapacityKind::Read;
const WRITE: CapacityKind = CapacityKind::Write;

fn at(millis: u64) -> Timestamp {
    Timestamp::from_nanos(millis * 1_000_000)
}

fn units(units: u64) -> MilliUnits {
    MilliUnits::from_units(units)
}

/// 1,000 units a second of each kind, a tenth of them set aside for background work.
fn bucket() -> NodeBucket {
    let rate = MilliUnitsPerSecond::from_units(1_000);
    NodeBucket::new(NodeLimits { read: rate, write: rate, background_percent: 10 }, at(0))
}

/// Takes as much as there is for `class`, a unit at a time.
fn drain(bucket: &mut NodeBucket, class: Class, now: Timestamp) -> u64 {
    let mut taken = 0;
    while bucket.take(WRITE, class, units(1), now).is_ok() {
        taken += 1;
    }
    taken
}

#[test]
fn each_class_leaves_its_floor_to_those_above_it() {
    let mut node = bucket();
    // Half of the bucket, and the tenth that is its own.
    assert_eq!(drain(&mut node, Class::Background, at(0)), 500 + 100);
    assert_eq!(drain(&mut node, Class::Burst, at(0)), 250);
    assert_eq!(drain(&mut node, Class::Allocated, at(0)), 250);
}

#[test]
fn reads_and_writes_are_counted_apart() {
    let mut node = bucket();
    drain(&mut node, Class::Allocated, at(0));
    assert!(node.take(READ, Class::Allocated, units(1_000), at(0)).is_ok());
}

#[test]
fn while_customers_take_everything_background_work_gets_its_part_and_no_more() {
    let mut node = bucket();
    drain(&mut node, Class::Background, at(0));
    drain(&mut node, Class::Allocated, at(0));
    let (mut customers, mut background) = (0, 0);
    for millis in (10..=10_000).step_by(10) {
        customers += drain(&mut node, Class::Allocated, at(millis));
        background += drain(&mut node, Class::Background, at(millis));
    }
    assert_eq!((customers, background), (9_000, 1_000));
}

#[test]
fn on_an_idle_node_background_work_gets_the_whole_rate() {
    let mut node = bucket();
    drain(&mut node, Class::Background, at(0));
    let mut background = 0;
    for millis in (10..=10_000).step_by(10) {
        background += drain(&mut node, Class::Background, at(millis));
    }
    assert_eq!(background, 10_000);
}

#[test]
fn what_background_work_does_not_use_of_its_part_is_the_customers() {
    let mut node = bucket();
    drain(&mut node, Class::Allocated, at(0));
    let mut customers = 0;
    for millis in (10..=10_000).step_by(10) {
        customers += drain(&mut node, Class::Allocated, at(millis));
    }
    assert_eq!(customers, 10_000);
}

#[test]
fn a_refusal_says_when_enough_will_be_there() {
    let mut node = bucket();
    drain(&mut node, Class::Background, at(0));
    drain(&mut node, Class::Allocated, at(0));
    for (class, cost, retry_after) in [
        // 900 units a second for all, 100 for background work alone.
        (Class::Allocated, 90, Duration::from_millis(100)),
        (Class::Background, 10, Duration::from_millis(100)),
    ] {
        let shortage = node.take(WRITE, class, units(cost), at(0)).unwrap_err();
        assert_eq!(shortage.retry_after, retry_after);
        let mut later = node.clone();
        assert!(later.take(WRITE, class, units(cost), at(99)).is_err());
        assert!(later.take(WRITE, class, units(cost), at(100)).is_ok());
    }
}

#[test]
fn background_work_larger_than_its_second_passes_and_then_waits_its_cost_out() {
    let mut node = bucket();
    drain(&mut node, Class::Allocated, at(0));
    assert!(node.take(WRITE, Class::Background, units(400), at(0)).is_ok());
    drain(&mut node, Class::Allocated, at(3_999));
    assert!(node.take(WRITE, Class::Background, units(400), at(3_999)).is_err());
    assert!(node.take(WRITE, Class::Background, units(400), at(4_000)).is_ok());
}

#[test]
fn a_customer_cost_above_the_depth_passes_when_the_bucket_is_full_and_leaves_a_bounded_debt() {
    let mut node = bucket();
    assert!(node.take(READ, Class::Allocated, units(9_000), at(0)).is_ok());
    // One second of debt is remembered, and background work leaves its part.
    assert!(node.take(READ, Class::Allocated, units(1), at(990)).is_err());
    assert!(node.take(READ, Class::Allocated, units(1), at(1_010)).is_ok());
}

#[test]
fn spare_is_what_bursts_may_take() {
    let mut node = bucket();
    assert_eq!(node.spare(at(0)), Spare { read: units(750), write: units(750) });
    node.charge(WRITE, units(600), at(0));
    assert_eq!(node.spare(at(0)).write, units(150));
    node.charge(WRITE, units(600), at(0));
    assert_eq!(node.spare(at(0)).write, MilliUnits::ZERO);
    assert_eq!(drain(&mut node, Class::Burst, at(0)), 0);
}

#[test]
fn other_nodes_share_what_is_spare_and_each_may_make_one_large_write() {
    let spare = Spare { read: units(100), write: units(9_000) };
    assert_eq!(spare.shared_among(0), spare);
    assert_eq!(spare.shared_among(3), Spare { read: units(100), write: units(3_000) });
    assert_eq!(spare.shared_among(90), Spare { read: units(100), write: units(400) });
}

/// Three nodes, each the leader of one group that all three store; every leader writes as fast as it may,
/// out of a full bank. What the three bursts put on each machine stays about what the machine can do.
#[test]
fn the_bursts_of_several_leaders_overdraw_no_member_beyond_one_heartbeat() {
    const HEARTBEAT: u64 = 100;
    let limits =
        PartitionLimits { write: MilliUnitsPerSecond::from_units(200), ..PartitionLimits::default() };
    let node_ids = [NodeId::new(1), NodeId::new(2), NodeId::new(3)];
    let mut nodes = [bucket(), bucket(), bucket()];
    let mut members = [(); 3].map(|()| MemberCapacity::default());
    let mut groups = [(); 3].map(|()| PartitionBucket::new(limits, at(0)));
    let start = 400_000;
    for (node, group) in nodes.iter_mut().zip(&mut groups) {
        node.spare(at(start));
        group.level(WRITE, at(start));
    }
    let mut done = 0;
    for millis in start..start + 20_000 {
        if millis % HEARTBEAT == 0 {
            for from in 0..3 {
                let spare = nodes[from].spare(at(millis)).shared_among(2);
                for to in (0..3).filter(|to| *to != from) {
                    members[to].hear(node_ids[from], spare.write, at(millis));
                }
            }
        }
        for leader in 0..3 {
            for _ in 0..4 {
                let others = |cost| {
                    let others = node_ids.into_iter().filter(|node| *node != node_ids[leader]);
                    members[leader].spend(others, cost, at(millis))
                };
                let demand = Demand { kind: WRITE, cost: units(1), key: None };
                if let Ok(charge) = groups[leader].take(demand, &mut nodes[leader], others, at(millis)) {
                    groups[leader].settle(charge, units(1), &mut nodes[leader], at(millis));
                    for follower in (0..3).filter(|follower| *follower != leader) {
                        nodes[follower].charge(WRITE, units(1), at(millis));
                    }
                    done += 1;
                }
            }
        }
        for node in &mut nodes {
            // What is allocated, 600 of 900 a second, is never in the way of the bursts' floor for long.
            node.spare(at(millis));
            assert!(node.write.level >= 0, "{} at {millis}", node.write.level);
        }
    }
    // All of the machine is used: the depth, and 20 s of the rate (a tenth of it when nothing is refilled).
    assert!((18_000..=21_000).contains(&done), "{done}");
}

fn some_class() -> impl Strategy<Value = Class> {
    prop_oneof![Just(Class::Allocated), Just(Class::Burst), Just(Class::Background)]
}

proptest! {
    /// Whatever the order: no more is taken than was there and was earned; customers find the bucket
    /// no lower than background work may leave it; what is refused is really not there.
    #[test]
    fn no_more_is_taken_than_earned_and_background_work_spares_customers(
        steps in prop::collection::vec((0_u64..200, some_class(), 1_u64..600), 1..300),
    ) {
        let mut node = bucket();
        let (mut taken, mut clock) = (0, 0);
        for (wait, class, cost) in steps {
            clock += wait;
            node.write.refill(at(clock));
            let before = node.write.level;
            let admitted = node.take(WRITE, class, units(cost), at(clock)).is_ok();
            taken += if admitted { cost } else { 0 };
            let after = node.write.level;
            match class {
                Class::Background => prop_assert!(after == before || after >= node.write.cap / 2),
                class => {
                    let enough = before - signed(units(cost)) >= node.write.floor(class);
                    let full = before == node.write.cap;
                    prop_assert_eq!(admitted, enough || full);
                }
            }
            // The depth, the part set aside, the rate; and one background step may be owed.
            prop_assert!(taken <= 1_000 + 100 + clock + 600, "{taken} units by {clock} ms");
        }
    }
}
