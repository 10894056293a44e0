//! Runs with a plot.

use std::time::Duration;

use replication::{HandOverRefused, MemberChange, Membership, SeededBug};
use units::{LogIndex, NodeId, PartitionId, Term};

use super::{Event, MILLI, Outcome, Plan, World};

impl World {
    /// Kills the leader of a busy group; returns how long writes were away.
    pub(crate) fn leader_death(seed: u64) -> Duration {
        let mut world = Self::new(Plan::quiet(seed, 3, 1));
        world.after(5 * MILLI, Event::Client);
        world.run_until(world.now + 5_000 * MILLI + seed * 37 * MILLI);
        let group = PartitionId::new(1);
        let leader = world.holder(group).expect("somebody leads after five seconds");
        world.crash(leader);
        world.until_writes(group)
    }

    /// Hands leadership over in a busy group; returns how long writes were away.
    pub(crate) fn planned_transfer(seed: u64) -> Duration {
        let mut world = Self::new(Plan::quiet(seed, 3, 1));
        world.after(5 * MILLI, Event::Client);
        world.run_until(world.now + 5_000 * MILLI);
        let group = PartitionId::new(1);
        let leader = world.holder(group).expect("somebody leads after five seconds");
        world.with_core(leader, |core, now| {
            assert_eq!((core.leading(), core.transferable()), (1, 1));
            core.transfer_all(now);
        });
        assert!(world.holder(group).is_none(), "the lease ends with the transfer's beginning");
        world.until_writes(group)
    }

    /// Hands over all groups of one node at the same moment, each to the others in any order of preference
    /// that the core has; returns how long the last of them was without a lease.
    pub(crate) fn mass_hand_over(seed: u64) -> Duration {
        let mut world = Self::new(Plan::quiet(seed, 3, 30));
        world.run_until(world.now + 5_000 * MILLI);
        let giver = NodeId::new(1);
        let given: Vec<_> =
            world.groups().into_iter().filter(|group| world.holder(*group) == Some(giver)).collect();
        assert!(given.len() >= 8, "a third of the groups, about: {given:?}");
        world.with_core(giver, |core, now| core.transfer_all(now));
        let start = world.now;
        let served = |world: &Self| given.iter().filter_map(|group| world.holder(*group)).count();
        while served(&world) < given.len() && world.now < start + 5_000 * MILLI {
            world.run_until(world.now + MILLI);
        }
        let took = Duration::from_nanos(world.now - start);
        for node in [2, 3].map(NodeId::new) {
            let taken = given.iter().filter(|group| world.holder(**group) == Some(node)).count();
            assert!(taken >= given.len() / 3, "{node} took {taken} of {}", given.len());
        }
        assert_eq!(world.checks.violation, None);
        took
    }

    /// Asks a leader to hand over to whom it should not, and looks that it still serves.
    pub(crate) fn unfit_successors(seed: u64) {
        let mut world = Self::new(Plan::quiet(seed, 3, 1));
        world.run_until(world.now + 5_000 * MILLI);
        let group = PartitionId::new(1);
        let leader = world.holder(group).expect("somebody leads after five seconds");
        let others: Vec<_> = world.node_ids().into_iter().filter(|node| *node != leader).collect();
        let (dead, alive) = (others[0], others[1]);
        world.crash(dead);
        // Long before its silence counts as death.
        world.run_until(world.now + 450 * MILLI);
        let stranger = NodeId::new(9);
        world.with_core(leader, |core, now| {
            let unknown = core.hand_over(PartitionId::new(77), &[alive], now);
            assert_eq!(unknown, Err(HandOverRefused::Unknown));
            for unfit in [[dead].as_slice(), &[leader, stranger], &[]] {
                assert_eq!(core.hand_over(group, unfit, now), Err(HandOverRefused::NoSuccessor), "{unfit:?}");
            }
            assert!(!core.is_handing_over(group));
        });
        assert_eq!(world.holder(group), Some(leader), "it serves as before");
        world.with_core(alive, |core, now| {
            assert_eq!(core.hand_over(group, &[leader], now), Err(HandOverRefused::NotLeader));
        });
        world.with_core(leader, |core, now| {
            assert_eq!(core.hand_over(group, &[dead, alive], now), Ok(alive));
            assert!(core.is_handing_over(group));
            assert_eq!(core.hand_over(group, &[alive], now), Err(HandOverRefused::Changing));
        });
        world.run_until(world.now + 500 * MILLI);
        assert_eq!(world.holder(group), Some(alive));
    }

    /// The only member of a group leads it, and has nobody to hand it to.
    pub(crate) fn lone_leader(seed: u64) {
        let mut world = Self::new(Plan::quiet(seed, 1, 1));
        world.run_until(world.now + 5_000 * MILLI);
        let leader = world.holder(PartitionId::new(1)).expect("the only member leads");
        world.with_core(leader, |core, _| assert_eq!((core.leading(), core.transferable()), (1, 0)));
    }

    /// Lets groups idle: all sleep, say nothing, keep their leases, and wake for a write.
    pub(crate) fn sleepers(seed: u64) {
        let mut world = Self::new(Plan::quiet(seed, 3, 20));
        world.run_until(world.now + 10_000 * MILLI);
        for _ in 0..50 {
            world.run_until(world.now + 100 * MILLI);
            for node in world.nodes.values() {
                assert_eq!(node.live.as_ref().unwrap().core.asleep(), 20);
            }
            for group in world.groups() {
                assert!(world.holder(group).is_some(), "{group} has no lease while asleep");
            }
        }
        let group = PartitionId::new(3);
        let leader = world.holder(group).unwrap();
        world.propose(leader, group);
        world.run_until(world.now + 200 * MILLI);
        assert_eq!(world.checks.acknowledged_count(), 1);
    }

    /// A fourth node takes the place of one of three, through a joint phase, under load.
    pub(crate) fn replacement(seed: u64) {
        let mut world = Self::new(Plan { voters: 3, ..Plan::quiet(seed, 4, 1) });
        world.after(5 * MILLI, Event::Client);
        world.run_for(4_000);
        let group = PartitionId::new(1);
        let leader = world.holder(group).expect("somebody leads after four seconds");
        let leaves = if seed.is_multiple_of(2) { leader } else { world.others(leader)[0] };
        let joins = NodeId::new(4);
        world.checkpoint(leader, group);
        world.with_core(leader, |core, now| {
            let change = [MemberChange::AddVoter(joins), MemberChange::Remove(leaves)];
            core.change_membership(group, &change, now).expect("the leader takes it");
        });
        world.run_for(6_000);
        world.crash(leaves);
        world.run_for(4_000);
        let seen = world.checks.observed(group);
        world.clients_idle = true;
        world.run_for(3_000);
        assert!(seen > LogIndex::new(100), "writes went on");
        let members: Vec<NodeId> = (1..=4).map(NodeId::new).filter(|node| *node != leaves).collect();
        for member in &members {
            let live = world.nodes[member].live.as_ref().unwrap();
            assert_eq!(
                live.core.membership(group),
                Some(&Membership::of_voters(members.clone())),
                "seed {seed}"
            );
            assert!(!live.core.is_refilling(group));
            assert!(live.states[&group].at.index >= seen);
            world.checks.survived(*member, group, &live.states[&group].values);
        }
        assert_eq!(world.checks.violation, None);
    }

    /// How long until a group of one serves.
    pub(crate) fn single(seed: u64) -> Duration {
        let mut world = Self::new(Plan::quiet(seed, 1, 1));
        let start = world.now;
        while world.holder(PartitionId::new(1)).is_none() {
            world.run_until(world.now + MILLI);
        }
        Duration::from_nanos(world.now - start)
    }

    /// A sleeping leader whose group's messages are lost, while its node's heartbeats are not, is
    /// succeeded: only revocations tell it.
    pub(crate) fn muffled_sleeper(seed: u64, bug: Option<SeededBug>) -> Outcome {
        let mut world = Self::new(Plan { bug, ..Plan::quiet(seed, 3, 1) });
        world.run_for(6_000);
        let leader = world.holder(PartitionId::new(1)).expect("somebody leads after six seconds");
        let others = world.others(leader);
        for other in &others {
            world.muffled.extend([(leader, *other), (*other, leader)]);
        }
        // The two lose sight of each other for a while, which wakes the group at both.
        world.cut.extend([(others[0], others[1]), (others[1], others[0])]);
        world.run_for(700);
        world.cut.clear();
        world.run_for(6_000);
        let now = world.holder(PartitionId::new(1));
        world.checks.alive(now.is_some_and(|holder| holder != leader), || format!("{now:?} serves"));
        world.outcome()
    }

    /// A leader is paused, its followers restart and forget whom they followed; it resumes, hears their
    /// nodes and not their groups.
    pub(crate) fn forgetful_followers(seed: u64, bug: Option<SeededBug>) -> Outcome {
        let mut world = Self::new(Plan { bug, ..Plan::quiet(seed, 3, 1) });
        world.after(5 * MILLI, Event::Client);
        world.run_for(5_000);
        let leader = world.holder(PartitionId::new(1)).expect("somebody leads after five seconds");
        world.nodes.get_mut(&leader).unwrap().paused_until = world.now + 4_000 * MILLI;
        for other in world.others(leader) {
            world.muffled.extend([(leader, other), (other, leader)]);
            world.crash(other);
            world.after(10 * MILLI, Event::Restart(other));
        }
        world.run_for(8_000);
        world.outcome()
    }

    /// A leader hands over and is then cut off from all news.
    pub(crate) fn transfer_and_cut(seed: u64, bug: Option<SeededBug>) -> Outcome {
        let mut world = Self::new(Plan { bug, ..Plan::quiet(seed, 3, 1) });
        world.run_for(5_000);
        let group = PartitionId::new(1);
        let leader = world.holder(group).expect("somebody leads after five seconds");
        let to = world.others(leader)[0];
        world.with_core(leader, |core, now| core.transfer_leadership(group, to, now));
        for other in world.others(leader) {
            world.cut.insert((other, leader));
        }
        world.run_for(2_000);
        let now = world.holder(group);
        world.checks.alive(now == Some(to), || format!("{now:?} serves"));
        world.outcome()
    }

    /// A voter restarts between two candidates of one term.
    pub(crate) fn voter_restarts(seed: u64, bug: Option<SeededBug>) -> Outcome {
        let mut world = Self::new(Plan { bug, ..Plan::quiet(seed, 3, 1) });
        world.after(5 * MILLI, Event::Client);
        world.run_for(4_000);
        let first = world.holder(PartitionId::new(1)).expect("somebody leads after four seconds");
        world.isolate(first);
        let term = world.term(world.others(first)[0]);
        let mut second = None;
        for _ in 0..3_000 {
            world.run_for(1);
            let leads =
                |node: &NodeId| world.nodes[node].live.as_ref().is_some_and(|live| live.core.leading() > 0);
            second = world.others(first).into_iter().find(leads);
            if second.is_some() {
                break;
            }
        }
        let second = second.expect("the others elect one of them");
        assert_eq!(world.term(second), term.next());
        let voter = world.others(first).into_iter().find(|node| *node != second).unwrap();
        world.crash(voter);
        world.start(voter, false);
        world.cut.clear();
        world.isolate(second);
        world.run_for(4_000);
        world.outcome()
    }

    fn run_for(&mut self, millis: u64) {
        self.run_until(self.now + millis * MILLI);
    }

    fn others(&self, than: NodeId) -> Vec<NodeId> {
        self.nodes.keys().copied().filter(|node| *node != than).collect()
    }

    fn term(&self, node: NodeId) -> Term {
        self.nodes[&node].live.as_ref().unwrap().leases[&PartitionId::new(1)].term()
    }

    fn isolate(&mut self, node: NodeId) {
        for other in self.others(node) {
            self.cut.extend([(node, other), (other, node)]);
        }
    }

    fn until_writes(&mut self, group: PartitionId) -> Duration {
        let start = self.now;
        let before = self.checks.observed(group);
        while self.checks.observed(group) == before && self.now < start + 20_000 * MILLI {
            self.run_until(self.now + MILLI);
        }
        assert_eq!(self.checks.violation, None);
        Duration::from_nanos(self.now - start)
    }
}
