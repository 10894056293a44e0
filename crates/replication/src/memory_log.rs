//! A group's log as the consensus library reads it: in memory, from the checkpoint on.
//!
//! The node's write-ahead log is the durable form; it is read only at a start.

use std::collections::VecDeque;

use raft::eraftpb::{ConfState, Entry, HardState, Snapshot};
use raft::{GetEntriesContext, RaftState, Storage, StorageError};
use units::{LogIndex, Term};

use crate::raft_forms::{entry_to_raft, hard_state_to_raft, membership_to_raft, snapshot_to_raft};
use crate::recovered::{Membership, Position, Recovered, SnapshotPosition};

/// What an entry costs in a message besides its payload, about.
const ENTRY_OVERHEAD: u64 = 24;

#[derive(Debug)]
pub(crate) struct MemoryLog {
    hard_state: HardState,
    membership: ConfState,
    /// The log begins after this entry.
    start: Position,
    entries: VecDeque<Entry>,
    /// What a snapshot taken now would cover.
    snapshot: SnapshotPosition,
}

impl MemoryLog {
    pub(crate) fn new(recovered: Recovered) -> Self {
        let entries: VecDeque<Entry> = recovered.entries.into_iter().map(entry_to_raft).collect();
        let start = recovered.checkpoint;
        let last = entries.back().map_or(start.index.get(), |entry| entry.index);
        let mut hard_state = hard_state_to_raft(&recovered.hard_state);
        hard_state.commit = hard_state.commit.max(start.index.get()).min(last);
        let membership = membership_to_raft(&recovered.membership);
        let snapshot = SnapshotPosition { at: start, membership: recovered.membership };
        Self { hard_state, membership, start, entries, snapshot }
    }

    pub(crate) fn set_hard_state(&mut self, hard_state: HardState) {
        self.hard_state = hard_state;
    }

    pub(crate) fn set_membership(&mut self, membership: &Membership) {
        self.membership = membership_to_raft(membership);
    }

    /// Replaces what was there from the first of these entries on.
    pub(crate) fn append(&mut self, entries: &[Entry]) {
        let Some(first) = entries.first() else { return };
        let keep =
            first.index.checked_sub(self.first()).expect("nothing covered by the checkpoint is replaced");
        let keep = usize::try_from(keep).expect("fits in memory");
        assert!(keep <= self.entries.len(), "the log has no gap");
        self.entries.truncate(keep);
        self.entries.extend(entries.iter().cloned());
    }

    /// The replica's data were replaced.
    pub(crate) fn restore(&mut self, snapshot: &SnapshotPosition) {
        self.start = snapshot.at;
        self.entries.clear();
        self.membership = membership_to_raft(&snapshot.membership);
        self.snapshot = snapshot.clone();
    }

    /// The shell has applied up to here.
    pub(crate) const fn set_applied(&mut self, at: Position) {
        self.snapshot.at = at;
    }

    /// The shell has applied up to a change of membership.
    pub(crate) fn set_snapshot_membership(&mut self, membership: Membership) {
        self.snapshot.membership = membership;
    }

    pub(crate) const fn snapshot_position(&self) -> &SnapshotPosition {
        &self.snapshot
    }

    pub(crate) const fn start(&self) -> Position {
        self.start
    }

    /// Drops entries up to here, except the newest that someone lacks (those after `lacking`), as far as
    /// `retain` bytes go.
    pub(crate) fn compact(&mut self, up_to: LogIndex, lacking: LogIndex, retain: u64) {
        let covered =
            usize::try_from(up_to.get().saturating_sub(self.start.index.get())).unwrap_or(usize::MAX);
        let covered = covered.min(self.entries.len());
        let mut retained = 0;
        let mut keep_from = covered;
        while keep_from > 0 && self.entries[keep_from - 1].index > lacking.get() {
            retained += self.entries[keep_from - 1].data.len() as u64 + ENTRY_OVERHEAD;
            if retained > retain {
                break;
            }
            keep_from -= 1;
        }
        if let Some(last) = self.entries.drain(..keep_from).next_back() {
            self.start = Position { index: LogIndex::new(last.index), term: Term::new(last.term) };
        }
        // A burst's capacity is not kept by a group that has gone quiet.
        if self.entries.capacity() > 4 * self.entries.len().max(16) {
            self.entries.shrink_to_fit();
        }
    }

    fn first(&self) -> u64 {
        self.start.index.get() + 1
    }

    fn last(&self) -> u64 {
        self.start.index.get() + self.entries.len() as u64
    }
}

impl Storage for MemoryLog {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(RaftState::new(self.hard_state.clone(), self.membership.clone()))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low < self.first() {
            return Err(StorageError::Compacted.into());
        }
        if high > self.last() + 1 {
            return Err(StorageError::Unavailable.into());
        }
        let from = usize::try_from(low - self.first()).expect("fits in memory");
        let to = usize::try_from(high - self.first()).expect("fits in memory");
        let mut left = max_size.into().unwrap_or(u64::MAX);
        let mut taken = Vec::new();
        for entry in self.entries.range(from..to) {
            let size = entry.data.len() as u64 + ENTRY_OVERHEAD;
            if !taken.is_empty() && size > left {
                break;
            }
            left = left.saturating_sub(size);
            taken.push(entry.clone());
        }
        Ok(taken)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index == self.start.index.get() {
            return Ok(self.start.term.get());
        }
        if index < self.first() {
            return Err(StorageError::Compacted.into());
        }
        let position = usize::try_from(index - self.first()).expect("fits in memory");
        self.entries.get(position).map(|entry| entry.term).ok_or_else(|| StorageError::Unavailable.into())
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.first())
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last())
    }

    fn snapshot(&self, request_index: u64, _to: u64) -> raft::Result<Snapshot> {
        let index = self.snapshot.at.index.get();
        // Nothing applied, or less than the log has dropped: not yet.
        if index == 0 || index < request_index || index < self.start.index.get() {
            return Err(StorageError::SnapshotTemporarilyUnavailable.into());
        }
        Ok(snapshot_to_raft(&self.snapshot))
    }
}
