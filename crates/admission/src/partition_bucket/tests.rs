use proptest::prelude::*;

use super::*;
use crate::node_bucket::NodeLimits;

const READ: CapacityKind = CapacityKind::Read;
const WRITE: CapacityKind = CapacityKind::Write;

fn at(millis: u64) -> Timestamp {
    Timestamp::from_nanos(millis * 1_000_000)
}

fn units(units: u64) -> MilliUnits {
    MilliUnits::from_units(units)
}

fn demand(kind: CapacityKind, cost: u64) -> Demand {
    Demand { kind, cost: units(cost), key: Some(KeyHash::new(7)) }
}

/// A partition with DynamoDB's limits on a node that is never short.
struct Replica {
    bucket: PartitionBucket,
    node: NodeBucket,
    others: bool,
}

impl Replica {
    fn new() -> Self {
        Self {
            bucket: PartitionBucket::new(PartitionLimits::default(), at(0)),
            node: NodeBucket::new(NodeLimits::default(), at(0)),
            others: true,
        }
    }

    fn take(&mut self, kind: CapacityKind, cost: u64, now: Timestamp) -> Result<Charge, StorageRefusal> {
        let others = self.others;
        self.bucket.take(demand(kind, cost), &mut self.node, |_| others, now)
    }

    fn settle(&mut self, charge: Charge, cost: u64, now: Timestamp) {
        self.bucket.settle(charge, units(cost), &mut self.node, now);
    }

    /// Takes as much as it can, a unit at a time.
    fn drain(&mut self, kind: CapacityKind, now: Timestamp) -> u64 {
        let mut taken = 0;
        while self.take(kind, 1, now).is_ok() {
            taken += 1;
        }
        taken
    }
}

#[test]
fn a_new_partition_serves_a_second_of_its_allocation_at_once_and_has_no_burst() {
    let mut replica = Replica::new();
    assert_eq!(replica.drain(READ, at(0)), 3_000);
    assert_eq!(replica.drain(WRITE, at(0)), 1_000);
    assert_eq!(replica.drain(WRITE, at(500)), 500);
}

#[test]
fn unused_allocation_is_banked_for_300_seconds_and_no_longer() {
    let mut replica = Replica::new();
    let banked =
        |replica: &mut Replica, seconds: u64| replica.bucket.level(WRITE, at(seconds * 1_000)).banked;
    assert_eq!(banked(&mut replica, 10), units(10_000));
    assert_eq!(banked(&mut replica, 300), units(300_000));
    assert_eq!(banked(&mut replica, 9_000), units(300_000));
    // Asked for a second at a time, so that the node is not the limit.
    assert!(replica.take(WRITE, 1_500, at(9_000_000)).is_ok());
    assert_eq!(replica.bucket.level(WRITE, at(9_000_000)).banked, units(299_500));
}

#[test]
fn after_the_burst_the_allocated_rate_remains() {
    let mut replica = Replica::new();
    assert_eq!(replica.drain(WRITE, at(5_000)), 1_000 + 5_000);
    let later: u64 = (1..=100).map(|step| replica.drain(WRITE, at(5_000 + step * 50))).sum();
    assert_eq!(later, 5_000);
}

#[test]
fn a_refusal_names_the_partition_its_level_and_the_hot_key_and_when_to_come_back() {
    let mut replica = Replica::new();
    replica.drain(WRITE, at(0));
    let refusal = replica.take(WRITE, 50, at(0)).unwrap_err();
    assert_eq!(
        refusal,
        StorageRefusal {
            layer: StorageLayer::Partition,
            kind: WRITE,
            retry_after: Duration::from_millis(50),
            quota: MilliUnitsPerSecond::from_units(1_000),
            level: MilliUnits::ZERO,
            banked: MilliUnits::ZERO,
            burst: BurstState::Empty,
            hot_key: Some(HotKey { hash: KeyHash::new(7), permille: 1_000 }),
        }
    );
    assert!(replica.take(WRITE, 50, at(49)).is_err());
    assert!(replica.take(WRITE, 50, at(50)).is_ok());
}

#[test]
fn a_burst_needs_the_nodes_spare_tokens_and_the_allocation_does_not() {
    let mut replica = Replica::new();
    replica.bucket.level(READ, at(10_000));
    replica.node = NodeBucket::new(
        NodeLimits {
            read: MilliUnitsPerSecond::from_units(4_000),
            write: MilliUnitsPerSecond::from_units(4_000),
            background_percent: 1,
        },
        at(10_000),
    );
    // The node keeps a quarter of its tokens for allocated traffic.
    assert_eq!(replica.drain(READ, at(10_000)), 3_000);
    let refusal = replica.take(READ, 1, at(10_000)).unwrap_err();
    assert_eq!((refusal.layer, refusal.burst), (StorageLayer::Partition, BurstState::NodeBusy));
    assert_eq!(refusal.banked, units(30_000));
    let mut another = PartitionBucket::new(PartitionLimits::default(), at(10_000));
    let charged = another.take(demand(READ, 1_000), &mut replica.node, |_| true, at(10_000)).unwrap();
    assert!(!charged.is_burst());
    let refusal = another.take(demand(READ, 1), &mut replica.node, |_| true, at(10_000)).unwrap_err();
    assert_eq!(refusal.layer, StorageLayer::Node);
    assert_eq!(refusal.quota, MilliUnitsPerSecond::from_units(3_960));
}

#[test]
fn a_burst_of_writes_needs_the_other_members_and_one_of_reads_does_not() {
    let mut replica = Replica::new();
    replica.others = false;
    assert_eq!(replica.drain(WRITE, at(10_000)), 1_000);
    let refusal = replica.take(WRITE, 1, at(10_000)).unwrap_err();
    assert_eq!((refusal.layer, refusal.burst), (StorageLayer::Partition, BurstState::MembersBusy));
    // When the allocation has earned it, not when the bank has.
    assert_eq!(refusal.retry_after, Duration::from_millis(1));
    assert_eq!(replica.drain(READ, at(10_000)), 33_000);
    replica.others = true;
    let charge = replica.take(WRITE, 10, at(10_000)).unwrap();
    assert!(charge.is_burst());
    replica.settle(charge, 10, at(10_000));
}

#[test]
fn a_refused_burst_takes_nothing_from_the_node() {
    let mut replica = Replica::new();
    replica.others = false;
    replica.drain(WRITE, at(10_000));
    let before = replica.node.spare(at(10_000));
    assert!(replica.take(WRITE, 5, at(10_000)).is_err());
    assert_eq!(replica.node.spare(at(10_000)), before);
}

#[test]
fn what_was_charged_too_much_goes_back_where_it_came_from() {
    let mut replica = Replica::new();
    let spare = replica.node.spare(at(10_000));
    let charge = replica.take(WRITE, 1_400, at(10_000)).unwrap();
    replica.settle(charge, 0, at(10_000));
    let level = replica.bucket.level(WRITE, at(10_000));
    assert_eq!((level.level, level.banked), (units(1_000), units(10_000)));
    assert_eq!(replica.node.spare(at(10_000)), spare);
}

#[test]
fn a_cost_known_late_is_owed_and_repaid_within_two_seconds_while_the_rest_serves() {
    let mut replica = Replica::new();
    replica.drain(READ, at(0));
    let charge = replica.take(READ, 1, at(1)).unwrap();
    replica.settle(charge, 1_201, at(1));
    // Of 3,000 a second, 600 less a bit repay: the next read waits hardly longer than without the debt.
    let refusal = replica.take(READ, 24, at(1)).unwrap_err();
    assert!(refusal.retry_after <= Duration::from_millis(11), "{:?}", refusal.retry_after);
    let admitted: u64 = (1..=200).map(|step| replica.drain(READ, at(1 + step * 10))).sum();
    assert_eq!(replica.bucket.level(READ, at(2_001)).debt, MilliUnits::ZERO);
    assert!((4_790..=4_810).contains(&admitted), "{admitted}");
}

#[test]
fn a_debt_beyond_two_seconds_of_the_rate_stops_the_partition_until_it_is_repaid() {
    let mut replica = Replica::new();
    replica.drain(WRITE, at(0));
    let charge = replica.take(WRITE, 1, at(1)).unwrap();
    replica.settle(charge, 3_001, at(1));
    let refusal = replica.take(WRITE, 1, at(1)).unwrap_err();
    assert_eq!(refusal.retry_after, Duration::from_millis(3_001));
    assert!(replica.take(WRITE, 1, at(3_000)).is_err());
    assert!(replica.take(WRITE, 1, at(3_003)).is_ok());
}

#[test]
fn of_many_large_reads_that_were_admitted_no_more_are_executed_than_can_be_repaid_in_time() {
    let mut replica = Replica::new();
    let waiting: Vec<_> = (0..1_000).map(|_| replica.take(READ, 1, at(0)).unwrap()).collect();
    let mut executed = 0;
    for charge in waiting {
        match replica.bucket.recheck(&charge, at(1)) {
            Ok(()) => {
                replica.settle(charge, 256, at(1));
                executed += 1;
            }
            Err(refusal) => {
                assert_eq!(refusal.layer, StorageLayer::Partition);
                assert!(refusal.retry_after > Duration::from_secs(1), "{refusal:?}");
                replica.settle(charge, 0, at(1));
            }
        }
    }
    // The second's tokens that were not charged at first, and two seconds of debt.
    assert!((30..=36).contains(&executed), "{executed}");
    assert!(replica.bucket.level(READ, at(1)).debt <= units(6_000 + 255));
    assert_eq!(replica.bucket.level(READ, at(2_087)).debt, MilliUnits::ZERO);
}

#[test]
fn a_cost_above_a_second_of_allocation_passes_when_that_is_full() {
    let mut replica = Replica::new();
    let charge = replica.take(WRITE, 3_000, at(0)).unwrap();
    assert!(!charge.is_burst());
    assert!(replica.take(WRITE, 1, at(1)).is_err());
    assert_eq!(replica.bucket.level(WRITE, at(1)).debt, units(1_999));
}

#[test]
fn a_follower_that_catches_up_owes_nothing() {
    let mut replica = Replica::new();
    for _ in 0..100 {
        replica.bucket.charge(WRITE, units(400), &mut replica.node, at(2_000));
    }
    let level = replica.bucket.level(WRITE, at(2_000));
    assert_eq!((level.level, level.banked, level.debt), (units(0), units(0), units(0)));
}

#[derive(Clone, Debug)]
enum Step {
    Take(u64),
    /// Takes the first, and settles with the second after so many other steps at most.
    Late(u64, u64),
    Follow(u64),
}

fn some_step() -> impl Strategy<Value = (u64, Step)> {
    let step = prop_oneof![
        4 => (1_u64..40).prop_map(Step::Take),
        2 => (1_u64..5, 0_u64..300).prop_map(|(least, real)| Step::Late(least, real)),
        1 => (1_u64..100).prop_map(Step::Follow),
    ];
    (prop_oneof![5 => 0_u64..30, 1 => 0_u64..4_000], step)
}

proptest! {
    /// In every window: spent ≤ a second of allocation + what was banked + rate · τ + what is owed; and every
    /// token that was earned is in one place at most.
    #[test]
    fn what_is_admitted_stays_within_allocation_bank_rate_and_debt(
        steps in prop::collection::vec(some_step(), 1..200),
        spare_node in any::<bool>(),
        others in any::<bool>(),
    ) {
        const RATE: u64 = 100;
        let rate = MilliUnitsPerSecond::from_units(RATE);
        let limits = PartitionLimits { read: rate, write: rate, burst: Duration::from_secs(4) };
        let mut bucket = PartitionBucket::new(limits, at(0));
        let node_rate = MilliUnitsPerSecond::from_units(if spare_node { 100_000 } else { 150 });
        let node_limits = NodeLimits { read: node_rate, write: node_rate, background_percent: 1 };
        let mut node = NodeBucket::new(node_limits, at(0));
        let mut clock = 0;
        let mut spent = 0_u64;
        let mut marks: Vec<(u64, u64, u64, u64)> = Vec::new();
        for (wait, step) in steps {
            clock += wait;
            let before = bucket.level(WRITE, at(clock));
            let node_before = node.spare(at(clock)).write;
            marks.push((clock, spent, before.banked.get(), before.level.get()));
            match step {
                Step::Take(cost) => {
                    match bucket.take(demand(WRITE, cost), &mut node, |_| others, at(clock)) {
                        Ok(charge) => {
                            prop_assert!(!charge.is_burst() || others);
                            prop_assert!(!charge.is_burst() || node_before >= units(cost));
                            spent += units(cost).get();
                        }
                        Err(refusal) if refusal.layer == StorageLayer::Partition => {
                            prop_assert!(before.level < units(cost));
                            prop_assert!(refusal.retry_after > Duration::ZERO);
                        }
                        Err(_) => prop_assert!(!spare_node),
                    }
                }
                Step::Late(least, real) => {
                    let taken = bucket.take(demand(WRITE, least), &mut node, |_| others, at(clock));
                    if let Ok(charge) = taken {
                        bucket.settle(charge, units(real), &mut node, at(clock));
                        spent += units(real).get();
                    }
                }
                Step::Follow(cost) => {
                    let had = before.level + before.banked;
                    bucket.charge(WRITE, units(cost), &mut node, at(clock));
                    spent += units(cost).min(had).get();
                }
            }
            let after = bucket.level(WRITE, at(clock));
            // Conservation, since the beginning: one milli-unit for the clocks' fractions.
            let kept = after.level.get() + after.banked.get() + spent;
            prop_assert!(kept <= units(RATE).get() + RATE * clock + after.debt.get() + 1);
            prop_assert!(after.level <= units(RATE) && after.banked <= units(4 * RATE));
            for (from, spent_then, banked_then, level_then) in &marks {
                let window = spent - spent_then;
                let bound = level_then + banked_then + RATE * (clock - from) + after.debt.get() + 2;
                prop_assert!(window <= bound, "{window} > {bound} since {from}");
            }
        }
    }
}
