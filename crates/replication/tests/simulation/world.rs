//! Nodes, network, clocks, clients and faults, in one event queue.

mod clients;
mod faults;
mod plan;
mod scenarios;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use replication::wal::{Log, LogOptions};
use replication::{
    Effects, Envelope, GroupMessage, LeaseView, NodeConfig, NodeCore, PersistSequence, Position, Recovered,
    SnapshotPosition,
};
use units::{Epoch, LogIndex, NodeId, PartitionId, Term, Timestamp};

pub(crate) use self::plan::{Outcome, Plan, Reached, focus};
use crate::checks::Checks;
use crate::disk::Disk;

const MILLI: u64 = 1_000_000;

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
        self.with_core(node, |core, now| {
            core.tell_commits(now);
            core.tick(now);
        });
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
            retained_bytes: 4 << 10,
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
