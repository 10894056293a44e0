//! Replication groups on a simulated network, clock and disk, by seed.
//!
//! Every seed draws its own delays, losses, duplicates, partitions (also one-way), crashes, wiped disks,
//! pauses, clock drift and transfers, while clients write and read. `checks.rs` says what must hold.

#![expect(clippy::unwrap_used, reason = "clippy allows it in test functions, not in their helpers")]

mod checks;
mod disk;
mod world;

use replication::SeededBug;
use world::{Plan, World, focus};

/// Seeds per run, unless `SIMULATION_SEEDS` says `FROM..TO`. A failure names its seed.
const SEEDS: std::ops::Range<u64> = 0..30;

fn seeds() -> std::ops::Range<u64> {
    let chosen = std::env::var("SIMULATION_SEEDS").ok();
    let range = chosen.as_deref().and_then(|range| range.split_once(".."));
    range.map_or(SEEDS, |(from, to)| from.parse().unwrap()..to.parse().unwrap())
}

#[test]
fn no_seed_breaks_a_promise_and_every_group_recovers() {
    for seed in seeds() {
        let outcome = World::run(Plan::chaos(seed));
        assert!(outcome.violation.is_none(), "seed {seed}: {}", outcome.violation.unwrap());
        assert!(outcome.acknowledged > 0, "seed {seed} acknowledged nothing");
    }
}

#[test]
fn the_runs_reach_the_rare_branches() {
    let mut reached = world::Reached::default();
    for (seed, focus) in
        (100..).zip([focus::CRASHES, focus::WIPES, focus::TRANSFERS, focus::MUFFLES].repeat(3))
    {
        reached.add(&World::run(Plan { focus, ..Plan::chaos(seed) }).reached);
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
fn a_dead_leader_is_replaced_well_within_two_seconds() {
    for seed in 0..20 {
        let took = World::leader_death(seed);
        assert!(took.as_millis() <= 1500, "seed {seed}: writes were away for {took:?}");
    }
}

#[test]
fn a_member_is_replaced_while_clients_write() {
    for seed in 0..10 {
        World::replacement(seed);
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
fn groups_handed_over_together_go_to_all_other_nodes_and_are_soon_served() {
    for seed in 0..5 {
        let took = World::mass_hand_over(seed);
        assert!(took.as_millis() <= 300, "seed {seed}: a group was without a lease for {took:?}");
    }
}

#[test]
fn nothing_is_handed_to_a_member_that_could_not_lead_at_once() {
    World::unfit_successors(2);
}

#[test]
fn a_groups_only_member_has_nobody_to_hand_it_to() {
    World::lone_leader(1);
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

/// A scenario keeps its promises for every seed, and breaks one for some seed when the bug is there.
fn only_breaks_with(bug: SeededBug, scenario: fn(u64, Option<SeededBug>) -> world::Outcome) {
    for seed in 0..10 {
        assert_eq!(scenario(seed, None).violation, None, "seed {seed}");
    }
    let caught = (0..20).find_map(|seed| scenario(seed, Some(bug)).violation);
    assert!(caught.is_some(), "{bug:?} went unnoticed");
}

#[test]
fn a_vote_is_remembered_across_a_restart() {
    only_breaks_with(SeededBug::ForgetVotes, World::voter_restarts);
}

#[test]
fn a_leader_hears_of_its_successor_by_revocations_alone() {
    only_breaks_with(SeededBug::IgnoreRevocations, World::muffled_sleeper);
}

#[test]
fn a_new_leader_waits_for_the_old_lease() {
    only_breaks_with(SeededBug::SkipLeaseWait, World::muffled_sleeper);
}

#[test]
fn a_lease_ends_when_a_transfer_begins() {
    only_breaks_with(SeededBug::KeepLeaseInTransfer, World::transfer_and_cut);
}

#[test]
fn acknowledgements_of_restarted_followers_extend_no_lease() {
    only_breaks_with(SeededBug::CountUnconfirmed, World::forgetful_followers);
}

/// Hunts a bug over random runs that are hard in the way that brings it to light.
fn is_caught(bug: SeededBug, focus: &'static [u32]) {
    let caught = (0..100).find_map(|seed| World::run(Plan::hunt(bug, focus, seed)).violation);
    assert!(caught.is_some(), "{bug:?} went unnoticed");
}

#[test]
fn acknowledging_before_persisting_is_caught() {
    is_caught(SeededBug::AcknowledgeBeforePersist, focus::CRASHES);
}

#[test]
fn voting_without_ones_data_is_caught() {
    is_caught(SeededBug::VoteWhileWiped, focus::WIPES);
}
