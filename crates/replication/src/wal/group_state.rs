//! One group's state without its entries, as every segment begins with it.

use units::LogIndex;

use super::Record;
use crate::recovered::{HardState, Membership, Position};

/// Everything about a group that recovery needs besides its entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupState {
    /// Who belongs to it.
    pub membership: Membership,
    /// The entry that made the membership what it is; 0: the group's creation.
    pub membership_at: LogIndex,
    /// Term, vote and commit index.
    pub hard_state: HardState,
    /// What the checkpoint covers; the log begins after it.
    pub checkpoint: Position,
    /// Its data were lost; it must be refilled before it votes.
    pub refilling: bool,
}

impl GroupState {
    /// Follows one of this group's records, other than its entries, creation and removal.
    pub(super) fn follow(&mut self, record: &Record) {
        match record {
            Record::HardState(_, hard_state) => self.hard_state = *hard_state,
            Record::Membership(_, at, membership) => {
                self.membership_at = *at;
                self.membership = membership.clone();
            }
            Record::Snapshot(_, snapshot) => {
                self.membership_at = snapshot.at.index;
                self.membership = snapshot.membership.clone();
                self.checkpoint = snapshot.at;
            }
            Record::Checkpoint(_, at) => self.checkpoint = self.checkpoint.max(*at),
            Record::Refilled(_) => self.refilling = false,
            Record::State(_, state) => *self = state.clone(),
            Record::Created(..) | Record::Removed(_) | Record::Entry(..) | Record::Truncated(..) => {}
        }
    }
}
