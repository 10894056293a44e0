//! All replication groups of one node.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use rand::SeedableRng;
use rand::rngs::StdRng;
use units::{LogIndex, NodeId, PartitionId, Term, Timestamp};

use crate::config::NodeConfig;
use crate::effects::{Effects, HandOverRefused, PersistBatch, PersistSequence, ReadToken, Refused};
use crate::group::Group;
use crate::lease::LeaseView;
use crate::membership_change::MemberChange;
use crate::message::{Envelope, GroupMessage, MessageKind, NodeHeartbeat, NodeHeartbeatAck};
use crate::recovered::{Membership, Position, Recovered, SnapshotPosition};
use crate::shared::Shared;

/// All replication groups of one node: a pure state machine. Call a method, then take the effects.
///
/// `now` must have been read after the input arrived, never before: leases count on it.
#[derive(Debug)]
pub struct NodeCore {
    groups: BTreeMap<PartitionId, Group>,
    shared: Shared,
    /// Groups that something happened to since the effects were taken.
    dirty: BTreeSet<PartitionId>,
    /// Groups that do not sleep.
    awake: BTreeSet<PartitionId>,
    /// Groups with records that are not durable yet.
    persisting: BTreeSet<PartitionId>,
    /// Groups that this node leads.
    led: BTreeSet<PartitionId>,
    /// Those among them whose followers do not know all that is committed.
    untold: BTreeSet<PartitionId>,
}

impl NodeCore {
    /// A node without groups. Election timeouts are drawn from a generator that starts with `seed`.
    ///
    /// # Panics
    /// When the configuration is not valid (see [`NodeConfig::validate`]).
    #[must_use]
    pub fn new(config: NodeConfig, seed: u64, now: Timestamp) -> Self {
        config.validate().expect("the configuration was validated where it was loaded");
        let shared = Shared {
            config,
            peers: BTreeMap::new(),
            outbox: BTreeMap::new(),
            effects: Effects::default(),
            records: Vec::new(),
            sequence: PersistSequence(1),
            rng: StdRng::seed_from_u64(seed),
            now,
            draining: false,
        };
        Self {
            groups: BTreeMap::new(),
            shared,
            dirty: BTreeSet::new(),
            awake: BTreeSet::new(),
            persisting: BTreeSet::new(),
            led: BTreeSet::new(),
            untold: BTreeSet::new(),
        }
    }

    /// Begins to host a group: new, as recovered, or to be refilled. Ignored when it is open already.
    ///
    /// The record that creates it is among the next effects, unless it came from the log.
    pub fn open_group(&mut self, group: PartitionId, recovered: Recovered, now: Timestamp) {
        self.advance(now);
        if self.groups.contains_key(&group) {
            return;
        }
        let opened = Group::open(group, recovered, &mut self.shared);
        self.groups.insert(group, opened);
        self.touched(group);
    }

    /// Ceases to host a group; its removal is among the next records.
    pub fn close_group(&mut self, group: PartitionId, now: Timestamp) {
        self.advance(now);
        if let Some(mut closed) = self.groups.remove(&group) {
            closed.close(&mut self.shared);
            self.dirty.remove(&group);
            self.awake.remove(&group);
            self.persisting.remove(&group);
            self.led.remove(&group);
            self.untold.remove(&group);
        }
    }

    /// Proposes a payload. It is committed when exactly this term and index come back in
    /// [`Effects::committed`]; a different term at that index means that it never will be, and the loss
    /// of leadership that it may or may not come later.
    ///
    /// # Errors
    /// Not proposed; see [`Refused`].
    pub fn propose(
        &mut self,
        group: PartitionId,
        payload: Bytes,
        now: Timestamp,
    ) -> Result<(Term, LogIndex), Refused> {
        self.with(group, now, |group, shared| group.propose(payload, shared)).unwrap_or(Err(Refused::Unknown))
    }

    /// Proposes a change of membership; several steps at once go through a joint phase that ends by
    /// itself. A new member's node opens the group with [`Recovered::wiped`] and the voters before the
    /// change, and is filled before it votes.
    ///
    /// # Errors
    /// Not proposed; see [`Refused`].
    pub fn change_membership(
        &mut self,
        group: PartitionId,
        changes: &[MemberChange],
        now: Timestamp,
    ) -> Result<(Term, LogIndex), Refused> {
        self.with(group, now, |group, shared| group.change_membership(changes, shared))
            .unwrap_or(Err(Refused::Unknown))
    }

    /// Asks a quorum whether this node still leads: a strong read without a lease. Answered by
    /// [`Effects::reads`], unless refused here; while no quorum answers, when leadership ends. Reads of
    /// one moment share one round.
    ///
    /// # Errors
    /// Nothing was asked; see [`Refused`].
    pub fn read_index(
        &mut self,
        group: PartitionId,
        token: ReadToken,
        now: Timestamp,
    ) -> Result<(), Refused> {
        self.with(group, now, |group, shared| group.read_index(token, shared))
            .unwrap_or(Err(Refused::Unknown))
    }

    /// Takes what another node sent. `from` is the node as the transport authenticated it.
    pub fn receive(&mut self, from: NodeId, envelope: Envelope, now: Timestamp) {
        self.advance(now);
        if !self.heard_from(from, &envelope) {
            return;
        }
        if let Some(ack) = envelope.heartbeat_ack {
            self.heartbeat_acknowledged(from, ack);
        }
        let me = self.shared.me();
        for message in envelope.messages {
            // A snapshot comes with its data, by `snapshot_received`.
            let proper = message.from == from && message.to == me && message.kind != MessageKind::Snapshot;
            if proper {
                self.with(message.group, now, |group, shared| group.receive(message, shared));
            }
        }
        if let Some(heartbeat) = envelope.heartbeat {
            self.answer_heartbeat(from, heartbeat);
        }
    }

    /// Lets time pass; to be called every [`NodeConfig::tick`].
    pub fn tick(&mut self, now: Timestamp) {
        self.advance(now);
        self.tick_peers();
        for group in self.awake.clone() {
            self.with(group, now, |group, shared| group.tick(shared));
        }
    }

    /// Whether followers hold committed entries and do not know that they are: then call
    /// [`tell_commits`](Self::tell_commits) soon.
    #[must_use]
    pub fn owes_commits(&self) -> bool {
        !self.untold.is_empty()
    }

    /// Tells followers how far their logs are committed, as far as they do not know. They learn it with the next
    /// entries, too, and at ticks.
    pub fn tell_commits(&mut self, now: Timestamp) {
        self.advance(now);
        for group in std::mem::take(&mut self.untold) {
            self.with(group, now, |group, shared| group.tell_commits(shared));
        }
    }

    /// The log is durable up to and including this batch.
    pub fn persisted(&mut self, up_to: PersistSequence, now: Timestamp) {
        self.advance(now);
        for group in std::mem::take(&mut self.persisting) {
            self.with(group, now, |group, shared| group.persisted(up_to, shared));
        }
    }

    /// The shell has applied everything up to here.
    pub fn applied(&mut self, group: PartitionId, up_to: LogIndex, now: Timestamp) {
        self.with(group, now, |group, shared| group.applied(up_to, shared));
    }

    /// The shell's checkpoint covers everything up to here: drops older entries from memory, and records
    /// the mark. Returns its position; `None` when it is nothing new.
    pub fn compact(&mut self, group: PartitionId, up_to: LogIndex) -> Option<Position> {
        let now = self.shared.now;
        let retain = self.shared.config.retained_bytes / self.led.len().max(1) as u64;
        self.with(group, now, |group, shared| group.compact(up_to, retain, shared)).flatten()
    }

    /// Hands leadership of one group over. The lease is gone at once, for good in this term.
    pub fn transfer_leadership(&mut self, group: PartitionId, to: NodeId, now: Timestamp) {
        self.with(group, now, |group, shared| group.transfer(to, shared));
    }

    /// Begins to hand one leadership over, to the first of `candidates` that can take it without delay: it
    /// votes, is alive, and has nearly all of the log. Returns which; whether it has succeeded, the changes
    /// of leadership tell. Until then writes are refused, see [`is_handing_over`](Self::is_handing_over).
    ///
    /// # Errors
    /// Nothing was begun; see [`HandOverRefused`].
    pub fn hand_over(
        &mut self,
        group: PartitionId,
        candidates: &[NodeId],
        now: Timestamp,
    ) -> Result<NodeId, HandOverRefused> {
        self.with(group, now, |group, shared| group.hand_over(candidates, shared))
            .unwrap_or(Err(HandOverRefused::Unknown))
    }

    /// Whether this node leads the group and has begun to hand it over: it takes no proposals, and a change
    /// of leadership follows in any case, within about the shortest election timeout.
    #[must_use]
    pub fn is_handing_over(&self, group: PartitionId) -> bool {
        self.groups.get(&group).is_some_and(Group::is_handing_over)
    }

    /// Hands every leadership over, each to a member that is alive and has the log, in turn, and
    /// stands for none from then on; before shutdown.
    pub fn transfer_all(&mut self, now: Timestamp) {
        self.advance(now);
        self.shared.draining = true;
        let groups: Vec<PartitionId> = self.groups.keys().copied().collect();
        for group in groups {
            self.with(group, now, |group, shared| group.transfer_to_best(shared));
        }
    }

    /// How many groups this node leads.
    #[must_use]
    pub fn leading(&self) -> usize {
        self.led.len()
    }

    /// How many groups this node leads that another member could lead: a group whose only voter is this
    /// node cannot be handed over.
    #[must_use]
    pub fn transferable(&self) -> usize {
        let me = self.shared.me();
        let others = |id: &&PartitionId| self.groups.get(*id).is_some_and(|group| !group.is_alone(me));
        self.led.iter().filter(others).count()
    }

    /// How many groups are asleep.
    #[must_use]
    pub fn asleep(&self) -> usize {
        self.groups.len() - self.awake.len()
    }

    /// Whether the replica has lost its data and is not whole again yet: it must serve no reads.
    #[must_use]
    pub fn is_refilling(&self, group: PartitionId) -> bool {
        self.groups.get(&group).is_some_and(Group::is_refilling)
    }

    /// All of a snapshot was sent and stored by the receiver.
    pub fn snapshot_sent(&mut self, group: PartitionId, to: NodeId, now: Timestamp) {
        self.with(group, now, |group, _| group.snapshot_ended(to, true));
    }

    /// A snapshot could not be sent; it will be asked for again.
    pub fn snapshot_failed(&mut self, group: PartitionId, to: NodeId, now: Timestamp) {
        self.with(group, now, |group, _| group.snapshot_ended(to, false));
    }

    /// A snapshot's data has arrived and is durable. Returns whether it is taken: then
    /// [`Effects::install_snapshot`] says so too; otherwise drop the data.
    #[must_use]
    pub fn snapshot_received(&mut self, message: GroupMessage, now: Timestamp) -> bool {
        let proper = message.kind == MessageKind::Snapshot && message.to == self.shared.me();
        proper
            && self
                .with(message.group, now, |group, shared| group.snapshot_received(message, shared))
                .unwrap_or(false)
    }

    /// Where a snapshot of what the shell has applied stands now.
    #[must_use]
    pub fn snapshot_position(&self, group: PartitionId) -> Option<SnapshotPosition> {
        self.groups.get(&group).map(|group| group.snapshot_position().clone())
    }

    /// Who belongs to the group.
    #[must_use]
    pub fn membership(&self, group: PartitionId) -> Option<&Membership> {
        self.groups.get(&group).map(Group::membership)
    }

    /// The view of a group's lease for other threads. It is the same object while the group is open.
    #[must_use]
    pub fn lease(&self, group: PartitionId) -> Option<Arc<LeaseView>> {
        self.groups.get(&group).map(|group| Arc::clone(group.lease()))
    }

    /// What must be done now.
    #[must_use]
    pub fn take_effects(&mut self) -> Effects {
        while let Some(group) = self.dirty.pop_first() {
            if let Some(pumped) = self.groups.get_mut(&group) {
                pumped.pump(&mut self.shared);
                self.sort_in(group);
            }
        }
        let shared = &mut self.shared;
        let records = std::mem::take(&mut shared.records);
        if !records.is_empty() {
            shared.effects.persist = Some(PersistBatch { sequence: shared.sequence, records });
            shared.sequence.0 += 1;
        }
        let incarnation = shared.config.incarnation;
        let outbox = std::mem::take(&mut shared.outbox);
        shared.effects.send = outbox
            .into_iter()
            .map(|(to, envelope)| (to, Envelope { from_incarnation: incarnation, ..envelope }))
            .collect();
        std::mem::take(&mut shared.effects)
    }

    fn advance(&mut self, now: Timestamp) {
        self.shared.now = self.shared.now.max(now);
    }

    /// Works on one group, which is then looked at when the effects are taken.
    fn with<T>(
        &mut self,
        group: PartitionId,
        now: Timestamp,
        work: impl FnOnce(&mut Group, &mut Shared) -> T,
    ) -> Option<T> {
        self.advance(now);
        let out = work(self.groups.get_mut(&group)?, &mut self.shared);
        self.touched(group);
        Some(out)
    }

    fn touched(&mut self, group: PartitionId) {
        self.dirty.insert(group);
        self.sort_in(group);
    }

    fn sort_in(&mut self, id: PartitionId) {
        let Some(group) = self.groups.get(&id) else { return };
        if group.is_asleep() {
            self.awake.remove(&id);
        } else {
            self.awake.insert(id);
        }
        if group.leads() {
            self.led.insert(id);
        } else {
            self.led.remove(&id);
        }
        if group.owes_commits(self.shared.me()) {
            self.untold.insert(id);
        } else {
            self.untold.remove(&id);
        }
        if group.has_unpersisted() {
            self.persisting.insert(id);
        } else {
            self.persisting.remove(&id);
        }
    }

    // ---- nodes -------------------------------------------------------------------------------------

    /// Notes a sign of life. Says whether to listen: not to strangers, nor to an earlier incarnation.
    fn heard_from(&mut self, from: NodeId, envelope: &Envelope) -> bool {
        let now = self.shared.now;
        let Some(peer) = self.shared.peers.get_mut(&from) else { return false };
        if envelope.from_incarnation < peer.incarnation {
            return false;
        }
        peer.heard = now;
        peer.silent = false;
        if envelope.from_incarnation > peer.incarnation {
            peer.restarted(envelope.from_incarnation);
            for group in peer.groups.clone() {
                self.with(group, now, |group, shared| group.member_restarted(from, shared));
            }
        }
        true
    }

    /// Applies the revocations of an acknowledgement, and only then extends leases by it.
    fn heartbeat_acknowledged(&mut self, from: NodeId, ack: NodeHeartbeatAck) {
        if ack.incarnation != self.shared.config.incarnation {
            return;
        }
        let now = self.shared.now;
        for revocation in ack.revoked {
            let term = revocation.term;
            self.with(revocation.group, now, |group, shared| group.revoked(from, term, shared));
        }
        let Some(peer) = self.shared.peers.get_mut(&from) else { return };
        peer.acknowledge(ack.sequence);
        for group in &self.led {
            if let Some(group) = self.groups.get_mut(group) {
                group.refresh(&mut self.shared);
            }
        }
    }

    fn answer_heartbeat(&mut self, from: NodeId, heartbeat: NodeHeartbeat) {
        let now = self.shared.now;
        let Some(peer) = self.shared.peers.get_mut(&from) else { return };
        if let Some(ack) = peer.answer(heartbeat, now) {
            self.shared.outbox.entry(from).or_default().heartbeat_ack = Some(ack);
        }
    }

    /// Sends heartbeats; wakes the groups of nodes that have fallen silent.
    fn tick_peers(&mut self) {
        let (now, lease) = (self.shared.now, self.shared.config.lease);
        let mut fallen_silent = BTreeSet::new();
        for (node, peer) in &mut self.shared.peers {
            if peer.groups.is_empty() {
                continue;
            }
            let heartbeat = peer.heartbeat(now);
            self.shared.outbox.entry(*node).or_default().heartbeat = Some(heartbeat);
            if !peer.silent && now.since(peer.heard) > lease {
                peer.silent = true;
                fallen_silent.extend(peer.groups.iter().copied());
            }
        }
        for group in fallen_silent {
            self.with(group, now, |group, shared| group.wake(shared));
        }
    }
}
