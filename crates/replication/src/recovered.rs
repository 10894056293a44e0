//! What a group begins with: found on disk, new, or known to be lost.

use std::collections::BTreeSet;

use units::{LogIndex, NodeId, Term};

use crate::message::LogEntry;

/// Where a group's state comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The group has just been created: no replica of it has ever voted or acknowledged.
    New,
    /// All that this replica ever promised is in its recovered state.
    Intact,
    /// The group exists, and what this replica promised is lost (an empty disk, damage in the middle of
    /// the log, a late joiner). It neither votes nor acknowledges until it has learnt from a quorum of
    /// the others how far the group was, and holds that much again.
    Wiped,
}

/// The durable state of one replica, as the log (or the absence of one) gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// Where it comes from.
    pub origin: Origin,
    /// Who belongs to the group, as of the last applied entry.
    pub membership: Membership,
    /// The entry that made it so; changes up to here are not applied again.
    pub membership_at: LogIndex,
    /// Term, vote and commit index.
    pub hard_state: HardState,
    /// What the shell's checkpoint covers: entries up to here are not handed out again.
    pub checkpoint: Position,
    /// The log after the checkpoint, without gaps.
    pub entries: Vec<LogEntry>,
    /// The node's log knows this replica already; otherwise opening it records its creation.
    pub recorded: bool,
}

impl Recovered {
    /// A replica of a group that has just been created with these voters.
    #[must_use]
    pub fn new_group(voters: impl IntoIterator<Item = NodeId>) -> Self {
        Self::empty(Origin::New, voters)
    }

    /// A replica without data of a group that already exists.
    #[must_use]
    pub fn wiped(voters: impl IntoIterator<Item = NodeId>) -> Self {
        Self::empty(Origin::Wiped, voters)
    }

    fn empty(origin: Origin, voters: impl IntoIterator<Item = NodeId>) -> Self {
        Self {
            origin,
            membership: Membership::of_voters(voters),
            membership_at: LogIndex::default(),
            hard_state: HardState::default(),
            checkpoint: Position::default(),
            entries: Vec::new(),
            recorded: false,
        }
    }

    /// Takes the shell's own word for what its checkpoint covers, and drops the entries up to there.
    pub fn advance_checkpoint(&mut self, checkpoint: Position) {
        if checkpoint.index <= self.checkpoint.index {
            return;
        }
        self.entries.retain(|entry| entry.index > checkpoint.index);
        if self.entries.first().is_some_and(|entry| entry.index != checkpoint.index.next()) {
            self.entries.clear();
        }
        self.checkpoint = checkpoint;
    }
}

/// What a replica must never forget about elections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct HardState {
    /// The newest term that it took part in.
    pub term: Term,
    /// Whom it voted for in that term.
    pub vote: Option<NodeId>,
    /// How far it knows the log to be committed; may lag behind the truth.
    pub commit: LogIndex,
}

/// A position in a group's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position {
    /// Index of the entry.
    pub index: LogIndex,
    /// Its term.
    pub term: Term,
}

/// Who belongs to a group. In the joint phase of a change a quorum of both sets of voters decides.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Membership {
    /// Those who decide.
    pub voters: BTreeSet<NodeId>,
    /// Those who only receive.
    pub learners: BTreeSet<NodeId>,
    /// During a change: the voters that are being replaced.
    pub outgoing: BTreeSet<NodeId>,
    /// During a change: outgoing voters that will be learners after it.
    pub learners_next: BTreeSet<NodeId>,
    /// The change ends by itself.
    pub auto_leave: bool,
}

impl Membership {
    /// A membership of voters only.
    #[must_use]
    pub fn of_voters(voters: impl IntoIterator<Item = NodeId>) -> Self {
        Self { voters: voters.into_iter().collect(), ..Self::default() }
    }

    /// Everyone, in order.
    pub fn all(&self) -> impl Iterator<Item = NodeId> {
        let all: BTreeSet<NodeId> = [&self.voters, &self.learners, &self.outgoing, &self.learners_next]
            .into_iter()
            .flatten()
            .copied()
            .collect();
        all.into_iter()
    }
}

/// A consistent cut through a replica: everything up to `at`, and who belonged to the group then.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct SnapshotPosition {
    /// The last entry that is in it.
    pub at: Position,
    /// The membership as of that entry.
    pub membership: Membership,
}
