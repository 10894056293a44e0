//! The loop that owns the node's groups: it feeds the core with what arrived, and carries out what the core says.
//! One thread at a time has a turn ([`super::turns`]).
//!
//! Order matters. What others sent, what became durable and the passing of time go in first, and all
//! that follows from them is carried out; only then are requests evaluated: so a leader that has just
//! begun to serve has applied everything before it evaluates anything.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use replication::{NodeCore, ReadToken, Recovered};
use tokio::sync::oneshot;
use units::{NodeId, PartitionId, Timestamp};

use super::assignment::Assignment;
use super::checkpointer::Checkpointer;
use super::group::{Confirmed, Group};
use super::hosted::Hosted;
use super::inbox::{Input, Owed, ReceivedSnapshot, SnapshotData};
use super::request::Request;
use super::shared::Shared;
use crate::engine::Replica;
use crate::log::LogWriter;
use crate::metrics;

/// How often the metrics of all partitions' buckets are brought up to date.
const SHOW_INTERVAL: Duration = Duration::from_secs(1);

/// How long after a commit those followers are told of it that did not learn it with newer entries: one message per
/// group and follower for all that was committed meanwhile, in one envelope per node.
pub(super) const COMMITS_TOLD_AFTER: Duration = Duration::from_millis(10);

/// The loop's state.
#[derive(Debug)]
pub(super) struct NodeLoop {
    pub(super) shared: Arc<Shared>,
    pub(super) core: NodeCore,
    /// None: nothing is durable on this node, and everything counts as durable at once.
    pub(super) log: Option<LogWriter>,
    pub(super) groups: BTreeMap<PartitionId, Group>,
    /// Reads that wait for a quorum's word.
    pub(super) asked: BTreeMap<ReadToken, (PartitionId, Confirmed)>,
    pub(super) next_token: u64,
    /// Snapshots that were received and are not yet in place.
    pub(super) received: BTreeMap<PartitionId, SnapshotData>,
    pub(super) checkpoints: Checkpoints,
    tick: Duration,
    next_tick: Timestamp,
    /// When followers are told of commits; none: they know.
    commits_due: Option<Timestamp>,
    /// What a turn takes from the inbox: empty between turns.
    inputs: Vec<Input>,
    /// And the requests among it, which come last.
    requests: Vec<Request>,
    /// When what the buckets have left is shown next.
    next_show: Timestamp,
}

/// When the next round of checkpoints is due.
#[derive(Debug)]
pub(super) struct Checkpoints {
    thread: Checkpointer,
    running: bool,
    last: Timestamp,
    /// Bytes of log since the last round began.
    pub(super) log_bytes: u64,
}

impl Checkpoints {
    pub(super) fn new(thread: Checkpointer, now: Timestamp) -> Self {
        Self { thread, running: false, last: now, log_bytes: 0 }
    }
}

/// A replica that the loop begins with.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) assignment: Assignment,
    pub(super) replica: Arc<Replica>,
    pub(super) recovered: Recovered,
}

impl NodeLoop {
    pub(super) fn new(
        shared: Arc<Shared>,
        core: NodeCore,
        log: Option<LogWriter>,
        checkpoints: Checkpoints,
        tick: Duration,
    ) -> Self {
        Self {
            shared,
            core,
            log,
            groups: BTreeMap::new(),
            asked: BTreeMap::new(),
            next_token: 0,
            received: BTreeMap::new(),
            checkpoints,
            tick,
            next_tick: wire::clock::now(),
            commits_due: None,
            inputs: Vec::new(),
            requests: Vec::new(),
            next_show: wire::clock::now(),
        }
    }

    /// Takes all that arrived, and lets time pass. Returns how long nothing need happen.
    pub(super) fn turn(&mut self) -> Duration {
        let mut inputs = std::mem::take(&mut self.inputs);
        self.shared.inbox.take(&mut inputs);
        self.take_all(inputs);
        let next = self.commits_due.map_or(self.next_tick, |due| due.min(self.next_tick));
        next.since(wire::clock::now())
    }

    /// The same on any thread, unless something that arrived may block, or much did: then nothing. Whether it did.
    pub(super) fn quick_turn(&mut self) -> bool {
        let mut inputs = std::mem::take(&mut self.inputs);
        let may = self.shared.inbox.take_quick(&mut inputs);
        if may {
            let nothing_was_due = self.commits_due.is_none();
            self.take_all(inputs);
            if nothing_was_due && self.commits_due.is_some() {
                // Perhaps nothing else comes until then: the loop's thread must wait no longer.
                self.shared.inbox.rouse();
            }
        } else {
            self.inputs = inputs;
        }
        may
    }

    fn take_all(&mut self, mut inputs: Vec<Input>) {
        let mut requests = std::mem::take(&mut self.requests);
        // Read after everything arrived.
        let now = wire::clock::now();
        for input in inputs.drain(..) {
            match input {
                Input::Request(request) => requests.push(request),
                other => self.take(other, now),
            }
        }
        self.go_on(now);
        if !requests.is_empty() {
            for request in requests.drain(..) {
                self.execute(request, now);
            }
            self.carry_out(now);
        }
        self.inputs = inputs;
        self.requests = requests;
        if self.commits_due.is_none() && self.core.owes_commits() {
            self.commits_due = Some(now + COMMITS_TOLD_AFTER);
        }
    }

    /// Lets time pass, and carries out what follows from that and from what was taken.
    pub(super) fn go_on(&mut self, now: Timestamp) {
        let is_due = now >= self.next_tick;
        if is_due {
            self.pass_time(now);
        }
        if self.commits_due.is_some_and(|due| now >= due) {
            self.commits_due = None;
            self.core.tell_commits(now);
        }
        self.carry_out(now);
        if is_due {
            self.release_where_served(now);
            self.carry_out(now);
        }
    }

    /// Ends it: what is queued is dropped, what was given to the log becomes durable.
    pub(super) fn stop(mut self) {
        self.shared.inbox.close();
        if let Some(log) = &mut self.log {
            log.close();
        }
        for group in std::mem::take(&mut self.groups).into_values() {
            group.close();
        }
    }

    fn take(&mut self, input: Input, now: Timestamp) {
        match input {
            Input::Envelope(from, envelope) => self.core.receive(from, envelope, now),
            Input::Persisted(sequence, bytes) => {
                self.checkpoints.log_bytes += bytes;
                self.core.persisted(sequence, now);
            }
            Input::Reclaimed(pinned_by) => self.release(&pinned_by, now),
            Input::Open(assignments, done) => self.host(assignments, done, now),
            Input::Close(partitions, done) => self.unhost(&partitions, done, now),
            Input::Checkpointed(group, position) => drop(self.core.compact(group, position.index)),
            Input::CheckpointRoundDone => self.end_round(now),
            Input::SnapshotReceived(snapshot) => self.snapshot_received(*snapshot, now),
            Input::SnapshotSent { group, to, stored: true } => self.core.snapshot_sent(group, to, now),
            Input::SnapshotSent { group, to, stored: false } => self.core.snapshot_failed(group, to, now),
            Input::TransferAll => self.core.transfer_all(now),
            Input::HandOver(wanted, answer) => {
                let begin = |(group, to): (PartitionId, Vec<NodeId>)| self.core.hand_over(group, &to, now);
                let _gone = answer.send(wanted.into_iter().map(begin).collect());
            }
            Input::Owed(answer) => drop(answer.send(self.owed())),
            Input::Request(_) => unreachable!("taken apart by the caller"),
            #[cfg(test)]
            Input::Panic { .. } => panic!("seeded"),
        }
    }

    fn owed(&self) -> Owed {
        let groups = self.groups.values();
        Owed {
            leaderships: self.core.transferable(),
            answers: groups.clone().map(Group::unanswered).sum(),
            leaderless: groups.filter(|group| group.hosted.lease.leader().is_none()).count(),
        }
    }

    fn pass_time(&mut self, now: Timestamp) {
        self.next_tick = now + self.tick;
        self.core.tick(now);
        for group in self.groups.values_mut() {
            group.expire(now);
        }
        self.asked.retain(|_, (_, what)| match what {
            Confirmed::Read(Request { reply, .. }) | Confirmed::Answer(_, reply, _) => {
                !reply.is_abandoned(now)
            }
        });
        let behind = self.groups.values().filter(|group| group.hosted.is_behind()).count();
        metrics::hosting(self.shared.node, self.core.leading(), self.groups.len(), behind);
        if now >= self.next_show {
            self.next_show = now + SHOW_INTERVAL;
            let partitions = self.groups.values().map(|group| &group.hosted.throughput);
            self.shared.throughput.show(partitions, now);
        }
        self.begin_round_if_due(now);
    }

    // ── Replicas come and go ────────────────────────────────────────────────────────────────────

    /// Hosts a replica.
    pub(super) fn open(&mut self, opened: Opened, now: Timestamp) {
        let Opened { assignment, replica, recovered } = opened;
        let partition = assignment.partition;
        let refilling = recovered.origin == replication::Origin::Wiped;
        self.core.open_group(partition, recovered, now);
        let lease = self.core.lease(partition).expect("the group was opened just above");
        let throughput = self.shared.throughput.partition(partition, now);
        let hosted = Arc::new(Hosted::new(assignment, replica, lease, throughput, refilling));
        self.shared.directory.insert(Arc::clone(&hosted));
        self.shared.route_changes.note(&hosted, now);
        self.groups.insert(partition, Group::new(hosted));
    }

    /// Removes a group from the log whose replica was dropped before.
    pub(super) fn forget(&mut self, partition: PartitionId, recovered: Recovered, now: Timestamp) {
        self.core.open_group(partition, recovered, now);
        self.core.close_group(partition, now);
    }

    fn host(&mut self, assignments: Vec<Assignment>, done: oneshot::Sender<()>, now: Timestamp) {
        for assignment in assignments {
            if let Some(group) = self.groups.get(&assignment.partition) {
                group.hosted.reassign(assignment);
                self.shared.route_changes.note(&group.hosted, now);
                continue;
            }
            let path = self.shared.files.as_ref().map(|files| files.replica(assignment.partition));
            let replica = Arc::new(Replica::new(path, self.shared.limits.tree_cache_bytes));
            let voters: Vec<_> = assignment.voters().collect();
            let recovered =
                if assignment.established { Recovered::wiped(voters) } else { Recovered::new_group(voters) };
            self.open(Opened { assignment, replica, recovered }, now);
        }
        let _gone = done.send(());
    }

    fn unhost(&mut self, partitions: &BTreeSet<PartitionId>, done: oneshot::Sender<()>, now: Timestamp) {
        for partition in partitions {
            let Some(group) = self.groups.remove(partition) else { continue };
            self.shared.directory.remove(*partition);
            self.core.close_group(*partition, now);
            self.carry_out(now);
            let replica = Arc::clone(&group.replica);
            self.after_sync(move || replica.discard());
            group.close();
        }
        let _gone = done.send(());
    }

    /// Does what must follow the durability of everything given out so far.
    pub(super) fn after_sync(&self, action: impl FnOnce() -> std::io::Result<()> + Send + 'static) {
        match &self.log {
            Some(log) => log.after_sync(Box::new(action)),
            None => {
                if let Err(error) = action() {
                    self.shared.fail(&error.to_string());
                }
            }
        }
    }

    fn snapshot_received(&mut self, snapshot: ReceivedSnapshot, now: Timestamp) {
        let group = snapshot.message.group;
        self.received.insert(group, snapshot.data);
        let taken = self.groups.contains_key(&group) && self.core.snapshot_received(snapshot.message, now);
        // Puts it in place, if it was taken.
        self.carry_out(now);
        if let Some(SnapshotData::File(path)) = self.received.remove(&group)
            && let Err(error) = crate::engine::remove_file(&path)
        {
            self.shared.fail(&error.to_string());
        }
        let _gone = snapshot.taken.send(taken);
    }

    // ── Checkpoints ─────────────────────────────────────────────────────────────────────────────

    fn begin_round_if_due(&mut self, now: Timestamp) {
        let limits = &self.shared.limits;
        let full = self.checkpoints.log_bytes >= limits.checkpoint_log_bytes;
        let old = now.since(self.checkpoints.last) >= limits.checkpoint_age();
        if self.checkpoints.running || !(full || old) {
            return;
        }
        let dirty = |group: &&Group| group.replica.weight() > 0;
        let round = self.groups.values().filter(dirty).map(Group::to_checkpoint).collect();
        self.checkpoints.log_bytes = 0;
        self.begin_round(round, now);
    }

    fn begin_round(&mut self, round: Vec<(PartitionId, Arc<Replica>)>, now: Timestamp) {
        self.checkpoints.last = now;
        if !round.is_empty() {
            self.checkpoints.running = true;
            self.checkpoints.thread.begin(round);
        }
    }

    /// The round's marks go to the log; what they cover goes from it.
    fn end_round(&mut self, now: Timestamp) {
        self.checkpoints.running = false;
        self.carry_out(now);
        if let Some(log) = &self.log {
            log.reclaim();
        }
    }

    /// Checkpoints the groups that keep an old segment alive although little was written to them.
    fn release(&mut self, pinned_by: &[PartitionId], now: Timestamp) {
        if self.checkpoints.running {
            return;
        }
        let groups = pinned_by.iter().filter_map(|group| self.groups.get(group));
        let behind = |group: &&Group| group.replica.applied().position > group.replica.checkpointed();
        let round = groups.filter(behind).map(Group::to_checkpoint).collect();
        self.begin_round(round, now);
    }
}
