//! Replication groups on a simulated network, clock and disk, by seed.
//!
//! Every seed draws its own delays, losses, duplicates, partitions (also one-way), crashes, wiped disks,
//! pauses, clock drift and transfers, while clients write and read. `checks.rs` says what must hold.

mod checks;
mod disk;
mod world;

use replication::SeededBug;
use world::{Plan, World, focus};

/// Seeds per run. A failure names its seed; run it alone with `World::run(Plan::chaos(SEED))`.
const SEEDS: u64 = 60;

#[test]
fn no_seed_breaks_a_promise_and_every_group_recovers() {
    for seed in 0..SEEDS {
        let outcome = World::run(Plan::chaos(seed));
        assert!(outcome.violation.is_none(), "seed {seed}: {}", outcome.violation.unwrap());
        assert!(outcome.acknowledged > 0, "seed {seed} acknowledged nothing");
    }
}

#[test]
fn the_runs_reach_the_rare_branches() {
    let mut reached = world::Reached::default();
    for seed in 100..120 {
        reached.add(&World::run(Plan::chaos(seed)).reached);
    }
    assert!(reached.all(), "{reached:?}");
}

#[test]
fn one_seed_twice_is_the_same_run() {
    let (first, second) = (World::run(Plan::chaos(7)), World::run(Plan::chaos(7)));
    assert_eq!(first.trace, second.trace);
    assert_ne!(first.trace, World::run(Plan::chaos(8)).trace);
}

#[test]
fn a_dead_leader_is_replaced_within_two_seconds() {
    for seed in 0..20 {
        let took = World::leader_death(seed);
        assert!(took.as_millis() <= 2000, "seed {seed}: writes were away for {took:?}");
    }
}

#[test]
fn a_planned_transfer_does_not_wait_for_a_lease() {
    for seed in 0..10 {
        let took = World::planned_transfer(seed);
        assert!(took.as_millis() <= 300, "seed {seed}: writes were away for {took:?}");
    }
}

#[test]
fn idle_groups_fall_asleep_and_keep_their_leases() {
    World::sleepers(3);
}

#[test]
fn a_group_of_one_serves_at_once() {
    let took = World::single(5);
    assert!(took.as_millis() <= 200, "{took:?}");
}

fn is_caught(bug: SeededBug, focus: &'static [u32]) {
    let caught = (0..200).find_map(|seed| {
        let plan = Plan { bug: Some(bug), focus, ..Plan::chaos(1000 + seed) };
        World::run(plan).violation.map(|violation| (seed, violation))
    });
    println!("{bug:?}: {caught:?}");
    assert!(caught.is_some(), "{bug:?} went unnoticed");
}

#[test]
fn probe() {
    let from: u64 = std::env::var("FROM").unwrap().parse().unwrap();
    let to: u64 = std::env::var("TO").unwrap().parse().unwrap();
    for seed in from..to {
        let outcome = World::run(Plan::chaos(seed));
        if let Some(violation) = outcome.violation {
            println!("seed {seed}: {violation}");
        }
    }
}

#[test]
fn acknowledging_before_persisting_is_caught() {
    is_caught(SeededBug::AcknowledgeBeforePersist, focus::CRASHES);
}

#[test]
fn skipping_the_wait_for_the_old_lease_is_caught() {
    is_caught(SeededBug::SkipLeaseWait, focus::CUTS);
}

#[test]
fn forgetting_votes_is_caught() {
    is_caught(SeededBug::ForgetVotes, focus::CRASHES);
}

#[test]
fn voting_without_ones_data_is_caught() {
    is_caught(SeededBug::VoteWhileWiped, focus::WIPES);
}

#[test]
fn keeping_the_lease_in_a_transfer_is_caught() {
    is_caught(SeededBug::KeepLeaseInTransfer, focus::TRANSFERS);
}

#[test]
fn ignoring_revocations_is_caught() {
    is_caught(SeededBug::IgnoreRevocations, focus::MUFFLES);
}

#[test]
fn counting_unconfirmed_members_is_caught() {
    is_caught(SeededBug::CountUnconfirmed, focus::MUFFLES);
}
