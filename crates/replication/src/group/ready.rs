//! What the library wants done: persisted, sent, applied, read.

use bytes::Bytes;
use raft::Ready;
use raft::eraftpb::{self, MessageType};
use units::LogIndex;

use super::{Group, MAX_READ_ROUNDS, Unpersisted, saturating_nanos};
use crate::config::SeededBug;
use crate::effects::{Committed, InstallSnapshot, PersistSequence, ReadReady, SendSnapshot};
use crate::membership_change;
use crate::message::{EntryKind, MessageKind};
use crate::raft_forms::{
    entry_from_raft, from_raft, hard_state_from_raft, membership_from_raft, snapshot_from_raft,
};
use crate::recovered::Membership;
use crate::shared::Shared;
use crate::wal::Record;

impl Group {
    /// Collects what has become ready since last time.
    pub(crate) fn pump(&mut self, shared: &mut Shared) {
        self.start_read_round();
        while self.raw.has_ready() {
            self.pump_once(shared);
            self.start_read_round();
        }
        // Before any follower can have heard of it.
        self.lease.set_last(self.raw.raft.raft_log.last_index());
        self.note_transition(shared);
        self.refilled_if_full(shared);
    }

    pub(super) fn pump_once(&mut self, shared: &mut Shared) {
        let mut ready = self.raw.ready();
        let number = ready.number();
        let waits = self.record(&ready, shared);
        for message in ready.take_messages() {
            self.send(message, shared);
        }
        let messages = ready.take_persisted_messages();
        for state in ready.take_read_states() {
            self.read_confirmed(&state.request_ctx, state.index, shared);
        }
        let committed = ready.take_committed_entries();
        let term = self.raw.raft.term;
        let snapshot = ready.snapshot().get_metadata().index;
        self.raw.advance_append_async(ready);
        let last = self.unpersisted.back().map(|last| last.sequence);
        let sequence = if waits { Some(shared.sequence) } else { last };
        match sequence {
            Some(sequence) if !shared.has_bug(SeededBug::AcknowledgeBeforePersist) => {
                let messages = self.send_what_need_not_wait(messages, shared);
                self.unpersisted.push_back(Unpersisted { sequence, number, term, snapshot, messages });
            }
            _ => {
                for message in messages {
                    self.send(message, shared);
                }
                self.raw.on_persist_ready(number);
                self.snapshot_durable(snapshot);
            }
        }
        self.hand_out(&committed, shared);
    }

    /// Puts what must be durable among the records, and into the log in memory. Says whether there is any.
    pub(super) fn record(&mut self, ready: &Ready, shared: &mut Shared) -> bool {
        if let Some(hard_state) = ready.hs() {
            self.raw.mut_store().set_hard_state(hard_state.clone());
        }
        if !ready.must_sync() {
            // Only the commit index moved, which a restarted replica learns anew.
            return false;
        }
        let mut hard_state = hard_state_from_raft(&self.raw.raft.hard_state());
        if shared.has_bug(SeededBug::ForgetVotes) {
            hard_state.vote = None;
        }
        shared.records.push(Record::HardState(self.id, hard_state));
        if !ready.snapshot().is_empty() {
            let position = snapshot_from_raft(ready.snapshot());
            self.raw.mut_store().restore(&position);
            self.take_membership(position.membership.clone(), position.at.index, shared);
            self.applied = position.at.index;
            self.memberships_to_apply.clear();
            shared.records.push(Record::Snapshot(self.id, position.clone()));
            shared.effects.install_snapshot.push(InstallSnapshot { group: self.id, position });
        }
        self.raw.mut_store().append(ready.entries());
        let id = self.id;
        shared.records.extend(ready.entries().iter().map(|entry| Record::Entry(id, entry_from_raft(entry))));
        true
    }

    /// An answer to a heartbeat promises nothing but the term: when that is durable it need not wait.
    pub(super) fn send_what_need_not_wait(
        &mut self,
        messages: Vec<eraftpb::Message>,
        shared: &mut Shared,
    ) -> Vec<eraftpb::Message> {
        let mut waiting = Vec::new();
        for message in messages {
            let promises_nothing = message.get_msg_type() == MessageType::MsgHeartbeatResponse;
            if promises_nothing && message.term == self.durable_term {
                self.send(message, shared);
            } else {
                waiting.push(message);
            }
        }
        waiting
    }

    pub(crate) fn persisted(&mut self, up_to: PersistSequence, shared: &mut Shared) {
        let mut newest = None;
        let mut snapshot = 0;
        while self.unpersisted.front().is_some_and(|first| first.sequence <= up_to) {
            let done = self.unpersisted.pop_front().expect("it has a front");
            self.durable_term = self.durable_term.max(done.term);
            newest = Some(done.number);
            snapshot = snapshot.max(done.snapshot);
            for message in done.messages {
                self.send(message, shared);
            }
        }
        if let Some(number) = newest {
            self.raw.on_persist_ready(number);
            self.snapshot_durable(snapshot);
            self.note_transition(shared);
        }
        if self.is_alone(shared.me()) {
            self.stand_if_due(shared);
        }
    }

    /// A snapshot counts as applied from when it is durable.
    pub(super) fn snapshot_durable(&mut self, index: u64) {
        if index > self.raw.raft.raft_log.applied {
            self.raw.advance_apply_to(index);
        }
    }

    /// Between a snapshot's arrival and its durability the log has no beginning to campaign with.
    pub(super) fn is_installing(&self) -> bool {
        self.raw.snap().is_some() || self.unpersisted.iter().any(|step| step.snapshot > 0)
    }

    pub(crate) fn has_unpersisted(&self) -> bool {
        !self.unpersisted.is_empty()
    }

    pub(super) fn send(&mut self, message: eraftpb::Message, shared: &mut Shared) {
        let Some(mut message) = from_raft(self.id, message) else { return };
        if message.kind == MessageKind::VoteResponse && !message.reject {
            let ago = saturating_nanos(shared.now.since(self.supported));
            message.context = Bytes::copy_from_slice(&ago.to_be_bytes());
        }
        if message.kind != MessageKind::Snapshot {
            shared.send(message);
            return;
        }
        let Some(position) = message.snapshot.clone() else { return };
        let to = message.to;
        shared.effects.send_snapshot.push(SendSnapshot { group: self.id, to, position, message });
    }

    pub(super) fn hand_out(&mut self, entries: &[eraftpb::Entry], shared: &mut Shared) {
        let Some(last) = entries.last().map(|entry| entry.index) else { return };
        for entry in entries {
            let entry = entry_from_raft(entry);
            let mut payload = entry.payload;
            if entry.kind == EntryKind::Membership {
                self.apply_membership(&payload, entry.index, shared);
                payload = Bytes::new();
            }
            let (index, term) = (entry.index, entry.term);
            shared.effects.committed.push(Committed { group: self.id, index, term, payload });
        }
        self.raw.advance_apply_to(last);
    }

    pub(super) fn apply_membership(&mut self, bytes: &[u8], at: LogIndex, shared: &mut Shared) {
        if at <= self.membership_at {
            return;
        }
        let Some(change) = membership_change::decode(bytes) else { return };
        let Ok(conf_state) = self.raw.apply_conf_change(&change) else { return };
        self.take_membership(membership_from_raft(&conf_state), at, shared);
        let membership = self.membership.clone();
        self.memberships_to_apply.push_back((at, membership.clone()));
        self.raw.mut_store().set_membership(&membership);
        shared.records.push(Record::Membership(self.id, at, membership));
        if self.membership.all().all(|member| member != shared.me()) {
            shared.effects.removed.push(self.id);
            // The library leaves it to us to end the rule of a leader that is no member any more.
            if self.leads() {
                let term = self.raw.raft.term;
                self.raw.raft.become_follower(term, 0);
                self.note_transition(shared);
            }
        }
        self.refresh(shared);
    }

    pub(super) fn take_membership(&mut self, membership: Membership, at: LogIndex, shared: &mut Shared) {
        for member in self.membership.all() {
            shared.unlink(self.id, member);
        }
        shared.link(self.id, membership.all());
        self.membership = membership;
        self.membership_at = at;
    }

    pub(super) fn start_read_round(&mut self) {
        if self.reads_waiting.is_empty() || self.read_rounds.len() >= MAX_READ_ROUNDS {
            return;
        }
        let round = self.next_round;
        self.next_round += 1;
        self.read_rounds.push_back((round, std::mem::take(&mut self.reads_waiting)));
        self.raw.read_index(round.to_be_bytes().to_vec());
    }

    pub(super) fn read_confirmed(&mut self, context: &[u8], index: u64, shared: &mut Shared) {
        let Ok(round) = <[u8; 8]>::try_from(context).map(u64::from_be_bytes) else { return };
        // The library confirms rounds in order, and with one all before it.
        while self.read_rounds.front().is_some_and(|(first, _)| *first <= round) {
            let (_, tokens) = self.read_rounds.pop_front().expect("it has a front");
            let index = Some(LogIndex::new(index));
            let group = self.id;
            shared.effects.reads.extend(tokens.into_iter().map(|token| ReadReady { group, token, index }));
        }
    }
}
