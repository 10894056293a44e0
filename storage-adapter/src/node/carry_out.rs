//! What the core says must be done, in the order in which it must be done.

use std::sync::Arc;

use replication::wal::Record;
use replication::{Committed, InstallSnapshot, LeadershipChange, PersistBatch, ReadReady, SendSnapshot};
use units::{LogIndex, PartitionId, Timestamp};

use super::group::{Confirmed, Group};
use super::hosted::Leadership;
use super::inbox::SnapshotData;
use super::node_loop::NodeLoop;
use super::request::Request;
use super::shared::Shared;
use super::{reads, snapshot_sender};
use crate::engine::{Replica, sync_parent};
use crate::{StoreError, metrics};

impl NodeLoop {
    /// Carries out everything that the core has to say.
    pub(super) fn carry_out(&mut self, now: Timestamp) {
        loop {
            let effects = self.core.take_effects();
            if effects.is_empty() {
                return;
            }
            // A leader's entries leave before its own sync.
            for (to, envelope) in effects.send {
                // Heartbeats say what this node could still give to the receiver's bursts.
                let beats = envelope.heartbeat.is_some() || envelope.heartbeat_ack.is_some();
                let spare =
                    beats.then(|| self.shared.throughput.spare(now).shared_among(self.shared.peers.count()));
                self.shared.peers.send(to, envelope, spare);
            }
            let after = effects.persist.map(|batch| self.persist(batch)).unwrap_or_default();
            for snapshot in effects.install_snapshot {
                self.install(&snapshot);
            }
            self.apply(effects.committed, now);
            for change in effects.leadership {
                self.leadership(change, now);
            }
            for read in effects.reads {
                self.read_ready(read, now);
            }
            for snapshot in effects.send_snapshot {
                self.send_snapshot(snapshot);
            }
            for group in effects.removed {
                tracing::info!(%group, "the group no longer counts this node among its members");
            }
            after.finish(self, now);
        }
    }

    fn persist(&mut self, batch: PersistBatch) -> AfterPersist {
        let refilled = batch.records.iter().filter_map(|record| match record {
            Record::Refilled(group) => Some(*group),
            _ => None,
        });
        let mut after = AfterPersist { refilled: refilled.collect(), ..AfterPersist::default() };
        match &self.log {
            Some(log) => log.append(batch),
            None => {
                self.checkpoints.log_bytes += crate::log::weight(&batch.records);
                after.persisted = Some(batch.sequence);
            }
        }
        after
    }

    /// Puts a received snapshot in the replica's place. Its file moves to the replica's name once the
    /// record that says so is durable; a start in between finishes the move.
    fn install(&mut self, snapshot: &InstallSnapshot) {
        let partition = snapshot.group;
        let (Some(group), Some(data)) = (self.groups.get_mut(&partition), self.received.remove(&partition))
        else {
            return self.shared.fail("a snapshot without its data was taken");
        };
        let replaced = Arc::clone(&group.replica);
        let installed = match data {
            SnapshotData::Memory(entries, checkpoint) => {
                Ok((Replica::from_snapshot(entries, checkpoint), None))
            }
            SnapshotData::File(incoming) => {
                let files = self.shared.files.as_ref().expect("a node that receives files has a folder");
                let target = files.replica(partition);
                Replica::open_incoming(&incoming, target.clone(), self.shared.limits.tree_cache_bytes)
                    .map(|replica| (replica, Some((incoming, target))))
            }
        };
        match installed {
            Ok((replica, moved)) => {
                group.replace_replica(Arc::new(replica));
                metrics::snapshot("installed");
                tracing::info!(%partition, index = %snapshot.position.at.index, "a snapshot is in place");
                self.after_sync(move || {
                    replaced.retire();
                    if let Some((incoming, target)) = moved {
                        std::fs::rename(&incoming, &target)?;
                        sync_parent(&target)?;
                    }
                    Ok(())
                });
            }
            Err(error) => self.shared.fail(&format!("a received snapshot cannot be opened: {error}")),
        }
    }

    fn apply(&mut self, committed: Vec<Committed>, now: Timestamp) {
        if committed.is_empty() {
            return;
        }
        metrics::applied(committed.len() as u64);
        let mut reached: Vec<(PartitionId, LogIndex)> = Vec::new();
        for entry in committed {
            let (partition, index) = (entry.group, entry.index);
            let Some(group) = self.groups.get_mut(&partition) else { continue };
            match group.apply(entry, now) {
                Ok(turned) => turned.into_iter().for_each(|reply| self.turn_away(partition, reply)),
                Err(error) => {
                    return self.shared.fail(&format!("an entry of {partition} cannot be applied: {error}"));
                }
            }
            match reached.last_mut() {
                Some(last) if last.0 == partition => last.1 = index,
                _ => reached.push((partition, index)),
            }
        }
        for (partition, index) in reached {
            self.core.applied(partition, index, now);
            if let Some(group) = self.groups.get_mut(&partition) {
                for read in group.due_reads() {
                    finish_read(&self.shared, read);
                }
            }
        }
    }

    fn leadership(&mut self, change: LeadershipChange, now: Timestamp) {
        let Some(group) = self.groups.get_mut(&change.group) else { return };
        let serving = change.serving.then_some(change.term);
        if group.serving.is_some() && group.serving != serving {
            metrics::leadership_lost();
            self.shared.departures.note(change.group, now);
            group.leadership_lost();
        }
        group.serving = serving;
        let leadership = Leadership { term: change.term, leader: change.leader, serving: change.serving };
        group.hosted.set_leadership(leadership);
        self.shared.route_changes.note(&group.hosted, now);
        tracing::debug!(group = %change.group, term = %change.term, leader = ?change.leader,
            serving = change.serving, "leadership changed");
        let elsewhere = change.leader.is_some_and(|leader| leader != self.shared.node);
        if change.serving || elsewhere {
            self.release_held(change.group, now);
        }
    }

    fn read_ready(&mut self, ready: ReadReady, now: Timestamp) {
        let Some((partition, what)) = self.asked.remove(&ready.token) else { return };
        let Some(index) = ready.index else { return self.unconfirmed(partition, what, now) };
        let Some(group) = self.groups.get_mut(&partition) else {
            let (Confirmed::Read(Request { reply, .. }) | Confirmed::Answer(_, reply, _)) = what;
            return reply.refuse(StoreError::Unknown);
        };
        match what {
            // Confirmed in the term in which the proposal was made: that entry, and no other, stands there.
            Confirmed::Answer(outcome, reply, Some(on))
                if on.index > group.replica.applied().position.index =>
            {
                group.depends(on, outcome, reply);
            }
            what if group.replica.applied().position.index >= index => finish_read(&self.shared, what),
            what => group.confirmed(index, what),
        }
    }

    /// Leadership ended before a quorum confirmed it: the next leader answers.
    fn unconfirmed(&mut self, partition: PartitionId, what: Confirmed, now: Timestamp) {
        match what {
            Confirmed::Read(request) => self.execute(request, now),
            Confirmed::Answer(_, reply, _) => self.turn_away(partition, reply),
        }
    }

    fn send_snapshot(&mut self, mut snapshot: SendSnapshot) {
        let Some(group) = self.groups.get(&snapshot.group) else { return };
        // What is applied now is a later cut, and as good.
        if let Some(position) = self.core.snapshot_position(snapshot.group) {
            snapshot.message.snapshot = Some(position.clone());
            snapshot.position = position;
        }
        let view = group.replica.view();
        let shared = Arc::clone(&self.shared);
        drop(self.shared.runtime.spawn(snapshot_sender::send(shared, view, snapshot)));
    }
}

/// What follows when a batch was given out to be persisted.
#[derive(Default)]
struct AfterPersist {
    persisted: Option<replication::PersistSequence>,
    refilled: Vec<PartitionId>,
}

impl AfterPersist {
    fn finish(self, node: &mut NodeLoop, now: Timestamp) {
        for partition in self.refilled {
            if let Some(group) = node.groups.get(&partition) {
                tracing::info!(%partition, "the replica is whole again");
                group.hosted.refilled();
            }
        }
        // Without a log everything counts as durable at once, after all of this round was carried out.
        if let Some(sequence) = self.persisted {
            node.core.persisted(sequence, now);
        }
    }
}

impl Group {
    pub(super) fn to_checkpoint(&self) -> (PartitionId, Arc<Replica>) {
        (self.hosted.partition(), Arc::clone(&self.replica))
    }

    fn replace_replica(&mut self, replica: Arc<Replica>) {
        self.hosted.replace_replica(Arc::clone(&replica));
        self.replica = replica;
    }
}

fn finish_read(shared: &Arc<Shared>, what: Confirmed) {
    match what {
        Confirmed::Read(request) => reads::read(shared, request),
        Confirmed::Answer(outcome, reply, _) => reply.outcome(outcome),
    }
}
