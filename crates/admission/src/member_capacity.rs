//! What the other members of a leader's groups can still take: a snapshot per node, piggybacked on the
//! heartbeats between nodes, so that no write ever asks.
//!
//! A node tells each other one its part of what it can take. What this node lets burst since a snapshot is
//! taken off it: one snapshot's tokens are used once. A snapshot that is too old counts as none.

use std::collections::BTreeMap;
use std::time::Duration;

use units::{MilliUnits, NodeId, Timestamp};

/// How old a snapshot may be: thirty heartbeats.
pub const STALE_AFTER: Duration = Duration::from_secs(3);

/// The newest snapshot of every other node.
#[derive(Clone, Debug, Default)]
pub struct MemberCapacity {
    nodes: BTreeMap<NodeId, Snapshot>,
}

#[derive(Clone, Copy, Debug)]
struct Snapshot {
    write: MilliUnits,
    heard: Timestamp,
}

impl MemberCapacity {
    /// A node said what it can still take of writes.
    pub fn hear(&mut self, node: NodeId, write: MilliUnits, now: Timestamp) {
        self.nodes.insert(node, Snapshot { write, heard: now });
    }

    /// Takes `cost` off every member's snapshot, or off none: one of them is busy, or was not heard of
    /// lately.
    pub fn spend(
        &mut self,
        members: impl Iterator<Item = NodeId> + Clone,
        cost: MilliUnits,
        now: Timestamp,
    ) -> bool {
        let fits = |node| {
            self.nodes
                .get(&node)
                .is_some_and(|snapshot| snapshot.write >= cost && now.since(snapshot.heard) <= STALE_AFTER)
        };
        if !members.clone().all(fits) {
            return false;
        }
        for node in members {
            if let Some(snapshot) = self.nodes.get_mut(&node) {
                snapshot.write = snapshot.write.saturating_sub(cost);
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: NodeId = NodeId::new(1);
    const B: NodeId = NodeId::new(2);

    fn units(units: u64) -> MilliUnits {
        MilliUnits::from_units(units)
    }

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn a_snapshot_is_spent_once_and_renewed_by_the_next() {
        let mut members = MemberCapacity::default();
        members.hear(A, units(10), at(0));
        members.hear(B, units(5), at(0));
        assert!(members.spend([A, B].into_iter(), units(5), at(1)));
        assert!(!members.spend([A, B].into_iter(), units(1), at(2)));
        members.hear(B, units(5), at(100));
        assert!(members.spend([A, B].into_iter(), units(5), at(101)));
        assert!(!members.spend([A].into_iter(), units(1), at(101)));
    }

    #[test]
    fn nothing_is_taken_off_one_member_when_another_is_busy() {
        let mut members = MemberCapacity::default();
        members.hear(A, units(10), at(0));
        members.hear(B, units(0), at(0));
        assert!(!members.spend([A, B].into_iter(), units(10), at(1)));
        assert!(members.spend([A].into_iter(), units(10), at(1)));
    }

    #[test]
    fn an_old_snapshot_and_an_unheard_member_count_as_none() {
        let mut members = MemberCapacity::default();
        members.hear(A, units(10), at(0));
        assert!(!members.spend([A, B].into_iter(), units(1), at(1)));
        assert!(members.spend([A].into_iter(), units(1), at(3_000)));
        assert!(!members.spend([A].into_iter(), units(1), at(3_001)));
    }

    #[test]
    fn a_group_of_one_has_nobody_to_mind() {
        assert!(MemberCapacity::default().spend(std::iter::empty(), units(1), at(0)));
    }
}
