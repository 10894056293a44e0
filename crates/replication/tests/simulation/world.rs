//! Nodes, network, clocks, clients and faults, in one event queue.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use replication::wal::{Log, LogOptions};
use replication::{
    Effects, Envelope, GroupMessage, LeaseView, MemberChange, Membership, NodeConfig, NodeCore,
    PersistSequence, Position, ReadToken, Recovered, SeededBug, SnapshotPosition,
};
use units::{Epoch, LogIndex, NodeId, PartitionId, Term, Timestamp};

use crate::checks::Checks;
use crate::disk::Disk;

const MILLI: u64 = 1_000_000;

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) nodes: u64,
    /// The first so many nodes are the groups' voters.
    pub(crate) voters: u64,
    pub(crate) groups: u64,
    /// How long faults go on.
    pub(crate) faults: Duration,
    /// How long everything may take to be well again.
    pub(crate) calm: Duration,
    pub(crate) bug: Option<SeededBug>,
    /// Longest time from fault to fault.
    pub(crate) fault_gap: Duration,
    /// Faults that are drawn every second time; any otherwise.
    pub(crate) focus: &'static [u32],
}

/// Numbers of faults to focus on; see `World::fault`.
pub(crate) mod focus {
    pub(crate) const CRASHES: &[u32] = &[7, 8, 8, 13, 13, 16];
    pub(crate) const WIPES: &[u32] = &[2, 3, 8, 9, 9];
    pub(crate) const TRANSFERS: &[u32] = &[2, 3, 14, 14, 16];
    pub(crate) const MUFFLES: &[u32] = &[3, 8, 15, 15, 15];
}

impl Plan {
    pub(crate) fn chaos(seed: u64) -> Self {
        let nodes = if seed % 5 == 4 { 5 } else { 3 };
        Self {
            seed,
            nodes,
            voters: nodes,
            groups: 2,
            faults: Duration::from_secs(20),
            calm: Duration::from_secs(12),
            bug: None,
            fault_gap: Duration::from_millis(1500),
            focus: &[],
        }
    }

    /// Many faults of a kind that bring this bug to light, and no time to recover: what is found must be
    /// a broken promise.
    pub(crate) fn hunt(bug: SeededBug, focus: &'static [u32], seed: u64) -> Self {
        let (fault_gap, calm) = (Duration::from_millis(600), Duration::ZERO);
        Self { nodes: 3, voters: 3, bug: Some(bug), fault_gap, focus, calm, ..Self::chaos(seed) }
    }

    fn quiet(seed: u64, nodes: u64, groups: u64) -> Self {
        Self { nodes, voters: nodes, groups, faults: Duration::ZERO, ..Self::chaos(seed) }
    }
}

#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) violation: Option<String>,
    pub(crate) acknowledged: usize,
    pub(crate) trace: u64,
    pub(crate) reached: Reached,
}

/// Rare branches that a run came through.
#[derive(Debug, Default)]
pub(crate) struct Reached {
    pub(crate) snapshots: u64,
    pub(crate) refills: u64,
    pub(crate) sleeps: u64,
    pub(crate) lease_reads: u64,
    pub(crate) index_reads: u64,
    pub(crate) transfers: u64,
    pub(crate) torn_tails: u64,
    pub(crate) segments_removed: u64,
    pub(crate) muffled: u64,
}

impl Reached {
    pub(crate) fn add(&mut self, other: &Self) {
        self.snapshots += other.snapshots;
        self.refills += other.refills;
        self.sleeps += other.sleeps;
        self.lease_reads += other.lease_reads;
        self.index_reads += other.index_reads;
        self.transfers += other.transfers;
        self.torn_tails += other.torn_tails;
        self.segments_removed += other.segments_removed;
        self.muffled += other.muffled;
    }

    pub(crate) fn all(&self) -> bool {
        [
            self.snapshots,
            self.refills,
            self.sleeps,
            self.lease_reads,
            self.index_reads,
            self.transfers,
            self.torn_tails,
            self.segments_removed,
            self.muffled,
        ]
        .iter()
        .all(|count| *count > 0)
    }
}

/// What a replica has applied. The whole history stands for the items.
#[derive(Clone, Default)]
struct State {
    at: Position,
    values: BTreeMap<LogIndex, Bytes>,
}

struct Node {
    id: NodeId,
    incarnation: u64,
    disk: Disk,
    /// Durable apart from the log, as the B-tree is: the checkpoint, and a snapshot that was received.
    checkpoints: BTreeMap<PartitionId, State>,
    staged: BTreeMap<PartitionId, State>,
    wiped: bool,
    live: Option<Live>,
    paused_until: u64,
    clock: Clock,
    slow_disk: bool,
}

struct Live {
    core: NodeCore,
    leases: BTreeMap<PartitionId, Arc<LeaseView>>,
    log: Log<Disk>,
    states: BTreeMap<PartitionId, State>,
    writing: Option<PersistSequence>,
    to_write: VecDeque<replication::PersistBatch>,
    pending: BTreeMap<(PartitionId, LogIndex), (Term, Bytes)>,
    unacknowledged: Vec<(PartitionId, LogIndex, Bytes)>,
    reads: BTreeMap<u64, (PartitionId, LogIndex)>,
    confirmed_reads: Vec<(u64, LogIndex)>,
}

/// A monotonic clock that runs a little too fast or too slow.
struct Clock {
    base_true: u64,
    base_local: u64,
    per_mille: u64,
}

impl Clock {
    fn read(&self, now: u64) -> Timestamp {
        Timestamp::from_nanos(self.base_local + (now - self.base_true) / 1000 * self.per_mille)
    }

    fn set_rate(&mut self, now: u64, per_mille: u64) {
        self.base_local = self.read(now).as_nanos();
        self.base_true = now;
        self.per_mille = per_mille;
    }
}

enum Event {
    Tick(NodeId, u64),
    Deliver {
        from: NodeId,
        to: NodeId,
        to_incarnation: u64,
        envelope: Envelope,
    },
    Synced(NodeId, u64),
    Snapshot {
        from: NodeId,
        from_incarnation: u64,
        to: NodeId,
        to_incarnation: u64,
        message: Box<GroupMessage>,
        state: State,
    },
    SnapshotDone {
        node: NodeId,
        incarnation: u64,
        group: PartitionId,
        to: NodeId,
        arrived: bool,
    },
    Client,
    Fault,
    Restart(NodeId),
}

pub(crate) struct World {
    plan: Plan,
    rng: ChaCha8Rng,
    now: u64,
    queue: BTreeMap<(u64, u64), Event>,
    next_event: u64,
    nodes: BTreeMap<NodeId, Node>,
    /// Links that lose everything, from → to.
    cut: BTreeSet<(NodeId, NodeId)>,
    /// Links that lose what groups say, and keep what nodes say.
    muffled: BTreeSet<(NodeId, NodeId)>,
    loss: f64,
    clients_idle: bool,
    next_value: u64,
    next_read: u64,
    checks: Checks,
    trace: DefaultHasher,
    reached: Reached,
}

impl World {
    fn new(plan: Plan) -> Self {
        let rng = ChaCha8Rng::seed_from_u64(plan.seed);
        let mut world = Self {
            rng,
            now: 1_000 * MILLI,
            queue: BTreeMap::new(),
            next_event: 0,
            nodes: BTreeMap::new(),
            cut: BTreeSet::new(),
            muffled: BTreeSet::new(),
            loss: 0.0,
            clients_idle: false,
            next_value: 1,
            next_read: 1,
            checks: Checks::default(),
            trace: DefaultHasher::new(),
            reached: Reached::default(),
            plan,
        };
        for id in 1..=world.plan.nodes {
            let clock = Clock {
                base_true: 0,
                base_local: world.rng.random_range(0..1_000_000) * MILLI,
                per_mille: world.rng.random_range(991..=1009),
            };
            let node = Node {
                id: NodeId::new(id),
                incarnation: 0,
                disk: Disk::default(),
                checkpoints: BTreeMap::new(),
                staged: BTreeMap::new(),
                wiped: false,
                live: None,
                paused_until: 0,
                clock,
                slow_disk: false,
            };
            world.nodes.insert(NodeId::new(id), node);
            world.start(NodeId::new(id), true);
        }
        world
    }

    pub(crate) fn run(plan: Plan) -> Outcome {
        let mut world = Self::new(plan);
        world.after(5 * MILLI, Event::Client);
        world.after(3_000 * MILLI, Event::Fault);
        let end = world.now + nanos(world.plan.faults);
        world.run_until(end);
        if world.plan.calm.is_zero() {
            return world.outcome();
        }
        world.heal();
        let end = world.now + nanos(world.plan.calm);
        world.run_until(end - nanos(world.plan.calm) / 3);
        world.clients_idle = true;
        world.run_until(end);
        world.all_is_well();
        world.outcome()
    }

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
        world.with_core(leader, |core, now| core.transfer_all(now));
        assert!(world.holder(group).is_none(), "the lease ends with the transfer's beginning");
        world.until_writes(group)
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

    fn outcome(self) -> Outcome {
        Outcome {
            acknowledged: self.checks.acknowledged_count(),
            violation: self.checks.violation,
            trace: self.trace.finish(),
            reached: self.reached,
        }
    }

    fn groups(&self) -> Vec<PartitionId> {
        (1..=self.plan.groups).map(PartitionId::new).collect()
    }

    fn node_ids(&self) -> Vec<NodeId> {
        self.nodes.keys().copied().collect()
    }

    // ---- events ------------------------------------------------------------------------------------

    fn after(&mut self, nanos: u64, event: Event) {
        self.at(self.now + nanos, event);
    }

    fn at(&mut self, when: u64, event: Event) {
        self.next_event += 1;
        self.queue.insert((when, self.next_event), event);
    }

    fn run_until(&mut self, end: u64) {
        while let Some(entry) = self.queue.first_entry() {
            let (when, number) = *entry.key();
            if when > end || self.checks.violation.is_some() {
                break;
            }
            let event = entry.remove();
            self.now = when;
            (when, number).hash(&mut self.trace);
            self.happen(event);
        }
        self.now = self.now.max(end);
    }

    fn happen(&mut self, event: Event) {
        let whose = match &event {
            Event::Tick(node, _) | Event::Synced(node, _) => Some(*node),
            Event::Deliver { to, .. } | Event::Snapshot { to, .. } => Some(*to),
            Event::SnapshotDone { node, .. } => Some(*node),
            Event::Client | Event::Fault | Event::Restart(_) => None,
        };
        // A paused process does everything later.
        if let Some(until) = whose.map(|node| self.nodes[&node].paused_until)
            && until > self.now
        {
            self.at(until, event);
            return;
        }
        match event {
            Event::Tick(node, incarnation) => self.tick(node, incarnation),
            Event::Deliver { from, to, to_incarnation, envelope } => {
                envelope.hash(&mut self.trace);
                if self.incarnation(to) == Some(to_incarnation) {
                    self.with_core(to, |core, now| core.receive(from, envelope, now));
                }
            }
            Event::Synced(node, incarnation) => self.synced(node, incarnation),
            Event::Snapshot { from, from_incarnation, to, to_incarnation, message, state } => {
                let group = message.group;
                let arrived = self.incarnation(to) == Some(to_incarnation) && !self.cut.contains(&(from, to));
                if arrived {
                    self.nodes.get_mut(&to).unwrap().staged.insert(group, state);
                    self.with_core(to, |core, now| {
                        let _ = core.snapshot_received(*message, now);
                    });
                }
                let done =
                    Event::SnapshotDone { node: from, incarnation: from_incarnation, group, to, arrived };
                self.after(5 * MILLI, done);
            }
            Event::SnapshotDone { node, incarnation, group, to, arrived } => {
                if self.incarnation(node) == Some(incarnation) {
                    self.with_core(node, |core, now| {
                        if arrived {
                            core.snapshot_sent(group, to, now);
                        } else {
                            core.snapshot_failed(group, to, now);
                        }
                    });
                }
            }
            Event::Client => self.client(),
            Event::Fault => self.fault(),
            Event::Restart(node) => self.start(node, false),
        }
        self.check_leases();
    }

    fn incarnation(&self, node: NodeId) -> Option<u64> {
        let node = &self.nodes[&node];
        node.live.as_ref().map(|_| node.incarnation)
    }

    fn tick(&mut self, node: NodeId, incarnation: u64) {
        if self.incarnation(node) != Some(incarnation) {
            return;
        }
        self.with_core(node, |core, now| core.tick(now));
        self.after(100 * MILLI, Event::Tick(node, incarnation));
        let live = self.nodes[&node].live.as_ref().unwrap();
        self.reached.sleeps += live.core.asleep() as u64;
    }

    /// Calls the core and carries its effects out.
    fn with_core(&mut self, id: NodeId, work: impl FnOnce(&mut NodeCore, Timestamp)) {
        let now = self.nodes[&id].clock.read(self.now);
        let Some(live) = &mut self.nodes.get_mut(&id).unwrap().live else { return };
        work(&mut live.core, now);
        loop {
            let Some(live) = &mut self.nodes.get_mut(&id).unwrap().live else { return };
            let effects = live.core.take_effects();
            if effects.is_empty() {
                break;
            }
            self.carry_out(id, effects, now);
        }
        self.acknowledge(id);
    }

    fn carry_out(&mut self, id: NodeId, effects: Effects, now: Timestamp) {
        for (to, envelope) in effects.send {
            self.transmit(id, to, &envelope);
        }
        let node = self.nodes.get_mut(&id).unwrap();
        let live = node.live.as_mut().unwrap();
        for install in effects.install_snapshot {
            let staged = node.staged.get(&install.group).expect("the data came before the switch").clone();
            assert_eq!(staged.at, install.position.at, "the switch is to what was received");
            live.states.insert(install.group, staged);
            self.reached.snapshots += 1;
        }
        for entry in &effects.committed {
            self.checks.committed(id, entry);
            let state = live.states.entry(entry.group).or_default();
            assert_eq!(entry.index, state.at.index.next(), "committed entries come without gaps");
            state.at = Position { index: entry.index, term: entry.term };
            if !entry.payload.is_empty() {
                state.values.insert(entry.index, entry.payload.clone());
            }
            if let Some((term, payload)) = live.pending.remove(&(entry.group, entry.index))
                && term == entry.term
            {
                live.unacknowledged.push((entry.group, entry.index, payload));
            }
            live.core.applied(entry.group, entry.index, now);
        }
        for change in effects.leadership {
            if change.leader == Some(id) {
                self.checks.leads(id, change.group, change.term);
            }
        }
        for read in effects.reads {
            if let (Some(index), true) = (read.index, live.reads.contains_key(&read.token.0)) {
                live.confirmed_reads.push((read.token.0, index));
            } else {
                live.reads.remove(&read.token.0);
            }
        }
        let snapshots = effects.send_snapshot;
        if let Some(batch) = effects.persist {
            live.to_write.push_back(batch);
            self.write(id);
        }
        for snapshot in snapshots {
            self.send_snapshot(id, snapshot);
        }
    }

    fn send_snapshot(&mut self, from: NodeId, snapshot: replication::SendSnapshot) {
        let node = &self.nodes[&from];
        let live = node.live.as_ref().unwrap();
        let state = live.states[&snapshot.group].clone();
        let position = live.core.snapshot_position(snapshot.group).unwrap();
        assert_eq!(position.at, state.at, "the core knows what was applied");
        let mut message = snapshot.message;
        message.snapshot = Some(SnapshotPosition { at: state.at, membership: position.membership });
        let event = Event::Snapshot {
            from,
            from_incarnation: node.incarnation,
            to: snapshot.to,
            to_incarnation: self.nodes[&snapshot.to].incarnation,
            message: Box::new(message),
            state,
        };
        let delay = self.rng.random_range(10..200) * MILLI;
        self.after(delay, event);
    }

    /// Acknowledges what is committed, once the node serves; answers confirmed reads.
    fn acknowledge(&mut self, id: NodeId) {
        let live = self.nodes.get_mut(&id).unwrap().live.as_mut().unwrap();
        let unacknowledged = std::mem::take(&mut live.unacknowledged);
        for (group, index, payload) in unacknowledged {
            if live.leases[&group].serving() {
                self.checks.acknowledged(group, index, payload);
            } else {
                live.unacknowledged.push((group, index, payload));
            }
        }
        for (token, index) in std::mem::take(&mut live.confirmed_reads) {
            let Some((group, seen)) = live.reads.get(&token).copied() else { continue };
            let applied = live.states[&group].at.index;
            if applied >= index {
                live.reads.remove(&token);
                self.reached.index_reads += 1;
                self.checks.read(id, group, applied, seen, "index");
            } else {
                live.confirmed_reads.push((token, index));
            }
        }
    }

    // ---- disk --------------------------------------------------------------------------------------

    fn write(&mut self, id: NodeId) {
        let node = self.nodes.get_mut(&id).unwrap();
        let live = node.live.as_mut().unwrap();
        if live.writing.is_some() {
            return;
        }
        // Group commit: whatever has gathered goes together.
        while let Some(batch) = live.to_write.pop_front() {
            live.log.append(&batch.records).unwrap();
            live.writing = Some(batch.sequence);
        }
        if live.writing.is_none() {
            return;
        }
        let delay = if node.slow_disk { 20 * MILLI..300 * MILLI } else { MILLI / 2..8 * MILLI };
        let incarnation = node.incarnation;
        let delay = self.rng.random_range(delay);
        self.after(delay, Event::Synced(id, incarnation));
    }

    fn synced(&mut self, id: NodeId, incarnation: u64) {
        if self.incarnation(id) != Some(incarnation) {
            return;
        }
        let live = self.nodes.get_mut(&id).unwrap().live.as_mut().unwrap();
        live.log.sync().unwrap();
        let sequence = live.writing.take().expect("a sync ends what was written");
        self.with_core(id, |core, now| core.persisted(sequence, now));
        self.write(id);
    }

    fn checkpoint(&mut self, id: NodeId, group: PartitionId) {
        let node = self.nodes.get_mut(&id).unwrap();
        let Some(live) = &mut node.live else { return };
        let Some(state) = live.states.get(&group).cloned() else { return };
        if state.at.index.get() == 0 {
            return;
        }
        let at = state.at;
        node.checkpoints.insert(group, state);
        self.with_core(id, |core, _| {
            if let Some(position) = core.compact(group, at.index) {
                assert_eq!(position, at);
            }
        });
        let live = self.nodes.get_mut(&id).unwrap().live.as_mut().unwrap();
        if live.writing.is_none() {
            self.reached.segments_removed += live.log.reclaim().unwrap() as u64;
        }
    }

    fn crash(&mut self, id: NodeId) {
        let mut rng = self.rng.clone();
        let node = self.nodes.get_mut(&id).unwrap();
        if node.live.take().is_some() {
            node.disk.crash(&mut rng);
        }
        self.rng = rng;
    }

    fn start(&mut self, id: NodeId, first: bool) {
        let voters: Vec<NodeId> = (1..=self.plan.voters).map(NodeId::new).collect();
        let new = first && voters.contains(&id);
        let groups = self.groups();
        let node = self.nodes.get_mut(&id).unwrap();
        if node.live.is_some() {
            return;
        }
        node.incarnation += 1;
        node.paused_until = 0;
        let now = node.clock.read(self.now);
        let config = NodeConfig {
            seeded_bug: self.plan.bug,
            retained_entries: 20,
            ..NodeConfig::new(id, Epoch::new(node.incarnation))
        };
        let seed = self.rng.random();
        let mut core = NodeCore::new(config, seed, now);
        let options = LogOptions { segment_bytes: 16 << 10, salt: seed };
        let (log, mut recovered) = Log::open(node.disk.clone(), options).unwrap();
        assert_eq!(recovered.damage, Vec::new(), "no crash looks like damage");
        self.reached.torn_tails += u64::from(recovered.torn.is_some());
        let mut states = BTreeMap::new();
        for group in groups {
            let fresh =
                || if new { Recovered::new_group(voters.clone()) } else { Recovered::wiped(voters.clone()) };
            let mut found = recovered.groups.remove(&group).unwrap_or_else(fresh);
            let mut state = State::default();
            if let Some(staged) = node.staged.get(&group).filter(|staged| staged.at == found.checkpoint) {
                state = staged.clone();
            }
            if let Some(checkpoint) =
                node.checkpoints.get(&group).filter(|c| c.at.index >= found.checkpoint.index)
            {
                state = checkpoint.clone();
                found.advance_checkpoint(state.at);
            }
            assert_eq!(state.at, found.checkpoint, "the data are at the checkpoint");
            states.insert(group, state);
            core.open_group(group, found, now);
        }
        node.wiped = false;
        let leases = states.keys().map(|group| (*group, core.lease(*group).unwrap())).collect();
        node.live = Some(Live {
            core,
            leases,
            log,
            states,
            writing: None,
            to_write: VecDeque::new(),
            pending: BTreeMap::new(),
            unacknowledged: Vec::new(),
            reads: BTreeMap::new(),
            confirmed_reads: Vec::new(),
        });
        let incarnation = node.incarnation;
        self.with_core(id, |_, _| {});
        let phase = self.rng.random_range(0..100) * MILLI;
        self.after(phase, Event::Tick(id, incarnation));
    }

    // ---- network -----------------------------------------------------------------------------------

    fn transmit(&mut self, from: NodeId, to: NodeId, envelope: &Envelope) {
        let copies = if self.rng.random_bool(0.02) { 2 } else { 1 };
        for _ in 0..copies {
            let lost = self.cut.contains(&(from, to)) || self.rng.random_bool(self.loss);
            // A connection ends with its process: what was under way to a dead one is gone.
            let Some(to_incarnation) = self.incarnation(to).filter(|_| !lost) else { continue };
            let mut envelope = envelope.clone();
            if self.muffled.contains(&(from, to)) {
                self.reached.muffled += envelope.messages.len() as u64;
                envelope.messages.clear();
            }
            let delay = if self.loss > 0.0 && self.rng.random_bool(0.05) {
                self.rng.random_range(MILLI..400 * MILLI)
            } else {
                self.rng.random_range(MILLI / 5..3 * MILLI)
            };
            self.after(delay, Event::Deliver { from, to, to_incarnation, envelope });
        }
    }

    // ---- clients -----------------------------------------------------------------------------------

    fn client(&mut self) {
        let pause = self.rng.random_range(2..30) * MILLI;
        self.after(pause, Event::Client);
        let (nodes, groups) = (self.node_ids(), self.groups());
        let node = nodes[self.rng.random_range(0..nodes.len())];
        let group = groups[self.rng.random_range(0..groups.len())];
        if self.nodes[&node].paused_until > self.now || self.nodes[&node].live.is_none() {
            return;
        }
        self.read(node, group);
        if !self.clients_idle {
            for node in nodes {
                if self.nodes[&node].paused_until <= self.now {
                    self.propose(node, group);
                }
            }
        }
    }

    fn propose(&mut self, node: NodeId, group: PartitionId) {
        let value = self.next_value;
        self.next_value += 1;
        let size = self.rng.random_range(8..200);
        let mut payload = value.to_be_bytes().to_vec();
        payload.resize(size, 7);
        let payload = Bytes::from(payload);
        let mut proposed = None;
        self.with_core(node, |core, now| proposed = core.propose(group, payload.clone(), now).ok());
        let (Some((term, index)), Some(live)) = (proposed, &mut self.nodes.get_mut(&node).unwrap().live)
        else {
            return;
        };
        // Alone, an entry may be committed at once only after its persistence, so this is never too late.
        live.pending.insert((group, index), (term, payload));
    }

    fn read(&mut self, id: NodeId, group: PartitionId) {
        let seen = self.checks.observed(group);
        let node = self.nodes.get_mut(&id).unwrap();
        let now = node.clock.read(self.now);
        let live = node.live.as_mut().unwrap();
        if live.leases[&group].is_valid(now) {
            self.reached.lease_reads += 1;
            self.checks.read(id, group, live.states[&group].at.index, seen, "lease");
        }
        if self.clients_idle {
            return;
        }
        let token = self.next_read;
        self.next_read += 1;
        live.reads.insert(token, (group, seen));
        let mut asked = false;
        self.with_core(id, |core, now| asked = core.read_index(group, ReadToken(token), now).is_ok());
        if !asked && let Some(live) = &mut self.nodes.get_mut(&id).unwrap().live {
            live.reads.remove(&token);
        }
    }

    // ---- faults ------------------------------------------------------------------------------------

    fn fault(&mut self) {
        let pause = self.rng.random_range(50 * MILLI..nanos(self.plan.fault_gap));
        self.after(pause, Event::Fault);
        let nodes = self.node_ids();
        let one = nodes[self.rng.random_range(0..nodes.len())];
        let other = nodes[self.rng.random_range(0..nodes.len())];
        let group = self.groups()[self.rng.random_range(0..self.groups().len())];
        let leader = self.holder(group).unwrap_or(one);
        let mut fault = self.rng.random_range(0..17);
        if !self.plan.focus.is_empty() && self.rng.random_bool(0.5) {
            fault = self.plan.focus[self.rng.random_range(0..self.plan.focus.len())];
        }
        match fault {
            0 => {
                self.cut.insert((one, other));
            }
            1 => {
                self.cut.insert((one, other));
                self.cut.insert((other, one));
            }
            2 => {
                for node in &nodes {
                    self.cut.insert((leader, *node));
                    self.cut.insert((*node, leader));
                }
            }
            3 | 4 => {
                self.cut.clear();
                self.muffled.clear();
            }
            5 => self.loss = self.rng.random_range(0.0..0.3),
            6 => self.loss = 0.0,
            7 => self.crash_for(one),
            8 => self.crash_for(leader),
            9 => self.wipe(one),
            10 => self.pause(leader),
            11 => self.pause(one),
            12 => {
                let rate = self.rng.random_range(991..=1009);
                let now = self.now;
                self.nodes.get_mut(&one).unwrap().clock.set_rate(now, rate);
            }
            13 => {
                let node = self.nodes.get_mut(&one).unwrap();
                node.slow_disk = !node.slow_disk;
            }
            14 => {
                self.reached.transfers += 1;
                self.with_core(leader, |core, now| core.transfer_leadership(group, other, now));
            }
            15 => {
                self.muffled.insert((leader, other));
                self.muffled.insert((other, leader));
            }
            _ => {
                self.clients_idle = !self.clients_idle;
                let groups = self.groups();
                for (node, group) in nodes.iter().flat_map(|node| groups.iter().map(|group| (*node, *group)))
                {
                    self.checkpoint(node, group);
                }
            }
        }
    }

    fn crash_for(&mut self, node: NodeId) {
        if self.nodes[&node].live.is_some() {
            self.crash(node);
            let down = self.rng.random_range(50..2500) * MILLI;
            self.after(down, Event::Restart(node));
        }
    }

    /// Deletes a disk, unless another replica is without its data: two of three lost are lost.
    fn wipe(&mut self, id: NodeId) {
        let groups = self.groups();
        let whole = self.nodes.values().all(|node| {
            let refilling = |live: &Live| groups.iter().any(|group| live.core.is_refilling(*group));
            !node.wiped && node.live.as_ref().is_some_and(|live| !refilling(live))
        });
        if !whole {
            return;
        }
        self.reached.refills += 1;
        self.crash_for(id);
        let node = self.nodes.get_mut(&id).unwrap();
        node.disk.wipe();
        node.checkpoints.clear();
        node.staged.clear();
        node.wiped = true;
    }

    fn pause(&mut self, node: NodeId) {
        let pause = self.rng.random_range(100..3000) * MILLI;
        self.nodes.get_mut(&node).unwrap().paused_until = self.now + pause;
    }

    fn heal(&mut self) {
        self.cut.clear();
        self.muffled.clear();
        self.loss = 0.0;
        self.clients_idle = false;
        self.queue.retain(|_, event| !matches!(event, Event::Fault));
        for node in self.node_ids() {
            let healed = self.nodes.get_mut(&node).unwrap();
            healed.slow_disk = false;
            healed.paused_until = healed.paused_until.min(self.now);
        }
    }

    // ---- checks ------------------------------------------------------------------------------------

    fn holder(&self, group: PartitionId) -> Option<NodeId> {
        self.holders(group).first().copied()
    }

    fn holders(&self, group: PartitionId) -> Vec<NodeId> {
        let valid = |node: &&Node| {
            let lease = node.live.as_ref().map(|live| &live.leases[&group]);
            lease.is_some_and(|lease| lease.is_valid(node.clock.read(self.now)))
        };
        self.nodes.values().filter(valid).map(|node| node.id).collect()
    }

    fn check_leases(&mut self) {
        for group in self.groups() {
            let holders = self.holders(group);
            self.checks.lease_holders(group, &holders);
        }
    }

    /// Long after the last fault: all agree, all is there, all rest.
    fn all_is_well(&mut self) {
        for group in self.groups() {
            let newest = self.checks.observed(group);
            let holder = self.holder(group);
            self.checks.alive(holder.is_some(), || format!("nobody serves {group}"));
            for node in self.nodes.values() {
                let id = node.id;
                let Some(live) = &node.live else {
                    self.checks.alive(false, || format!("{id} did not restart"));
                    continue;
                };
                let at = live.states[&group].at.index;
                let refilling = live.core.is_refilling(group);
                self.checks.alive(!refilling, || format!("{id} still refills {group}"));
                self.checks.alive(at >= newest, || format!("{id} is at {at} of {newest} in {group}"));
                self.checks.survived(id, group, &live.states[&group].values);
            }
        }
        for node in self.nodes.values() {
            let asleep = node.live.as_ref().map_or(0, |live| live.core.asleep() as u64);
            let (id, groups) = (node.id, self.plan.groups);
            self.checks.alive(asleep == groups, || format!("{id} has {asleep} of {groups} groups asleep"));
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap()
}
