//! Who takes a leadership over when its holder gives it up on purpose.

use raft::{Progress, ProgressState};
use units::NodeId;

use super::Group;
use crate::effects::HandOverRefused;
use crate::shared::Shared;

/// Entries that a successor may still lack: under load the newest are always on their way to it. It must
/// have them before it stands, and until then the group takes no writes; these are one message or two.
const NEARLY_ALL: u64 = 256;

/// Ticks since a successor was heard: three lost heartbeats. One that has just stopped or hangs would keep
/// the group from writing until the transfer is given up.
const HEARD_TICKS: usize = 3;

impl Group {
    /// Begins to hand over to the first candidate that can take it without delay.
    pub(crate) fn hand_over(
        &mut self,
        candidates: &[NodeId],
        shared: &mut Shared,
    ) -> Result<NodeId, HandOverRefused> {
        let Some(reign) = &self.reign else { return Err(HandOverRefused::NotLeader) };
        if !reign.serving {
            return Err(HandOverRefused::NotServing);
        }
        let raft = &self.raw.raft;
        let changing = raft.has_pending_conf() || !self.membership.outgoing.is_empty();
        if raft.lead_transferee.is_some() || reign.lease_given_up || changing {
            return Err(HandOverRefused::Changing);
        }
        let fit = candidates.iter().copied().find(|candidate| self.is_fit(*candidate, shared));
        let to = fit.ok_or(HandOverRefused::NoSuccessor)?;
        self.transfer(to, shared);
        Ok(to)
    }

    /// Whether proposals are refused since another is to lead.
    pub(crate) fn is_handing_over(&self) -> bool {
        self.leads() && self.raw.raft.lead_transferee.is_some()
    }

    pub(crate) fn transfer(&mut self, to: NodeId, shared: &mut Shared) {
        if self.leads() && to != shared.me() && self.membership.voters.contains(&to) {
            self.wake(shared);
            self.transfer_wanted = Some(to);
            self.transfer_if_possible(shared);
        }
    }

    /// Hands over to a voter that is alive: one that has nearly all of the log, or else the one that has
    /// most. Among equals the groups take turns, so that a node's leaderships do not all go to one.
    pub(crate) fn transfer_to_best(&mut self, shared: &mut Shared) {
        if !self.leads() || self.raw.raft.lead_transferee.is_some() {
            return;
        }
        let me = shared.me();
        let others = || self.membership.voters.iter().copied().filter(|voter| *voter != me);
        let count = others().count().max(1);
        let turn = usize::try_from(self.id.get() % count as u64).expect("it is less than a count");
        let best =
            others().enumerate().filter(|(_, voter)| shared.is_alive(*voter)).max_by_key(|(place, voter)| {
                let fit = self.is_fit(*voter, shared);
                let matched = self.progress(*voter).map_or(0, |progress| progress.matched);
                (fit, if fit { 0 } else { matched }, (place + turn) % count)
            });
        if let Some((_, best)) = best {
            self.transfer(best, shared);
        }
    }

    /// Whether a member can lead without delay.
    fn is_fit(&self, member: NodeId, shared: &Shared) -> bool {
        let last = self.raw.raft.raft_log.last_index();
        let has_the_log = |progress: &Progress| {
            progress.state == ProgressState::Replicate && last.saturating_sub(progress.matched) <= NEARLY_ALL
        };
        member != shared.me()
            && self.membership.voters.contains(&member)
            && shared.is_alive(member)
            && shared.ticks_since_heard(member) <= HEARD_TICKS
            && self.progress(member).is_some_and(has_the_log)
    }

    fn progress(&self, member: NodeId) -> Option<&Progress> {
        self.raw.raft.prs().get(member.get())
    }
}
