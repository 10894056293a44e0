//! What a run is to be, and what came of it.

use std::time::Duration;

use replication::SeededBug;

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) nodes: u64,
    /// The first so many nodes are the groups' voters.
    pub(crate) voters: u64,
    pub(crate) groups: u64,
    /// How long faults go on.
    pub(crate) faults: Duration,
    /// How long everything may take to be well again.
    pub(crate) calm: Duration,
    pub(crate) bug: Option<SeededBug>,
    /// Longest time from fault to fault.
    pub(crate) fault_gap: Duration,
    /// Faults that are drawn every second time; any otherwise.
    pub(crate) focus: &'static [u32],
}

/// Numbers of faults to focus on; see `World::fault`.
pub(crate) mod focus {
    pub(crate) const CRASHES: &[u32] = &[7, 8, 8, 13, 13, 16];
    pub(crate) const WIPES: &[u32] = &[2, 3, 8, 9, 9];
    pub(crate) const TRANSFERS: &[u32] = &[2, 3, 14, 14, 16];
    pub(crate) const MUFFLES: &[u32] = &[3, 8, 15, 15, 15];
}

impl Plan {
    pub(crate) fn chaos(seed: u64) -> Self {
        let nodes = if seed % 5 == 4 { 5 } else { 3 };
        Self {
            seed,
            nodes,
            voters: nodes,
            groups: 2,
            faults: Duration::from_secs(20),
            calm: Duration::from_secs(12),
            bug: None,
            fault_gap: Duration::from_millis(1500),
            focus: &[],
        }
    }

    /// Many faults of a kind that bring this bug to light, and no time to recover: what is found must be
    /// a broken promise.
    pub(crate) fn hunt(bug: SeededBug, focus: &'static [u32], seed: u64) -> Self {
        let (fault_gap, calm) = (Duration::from_millis(600), Duration::ZERO);
        Self { nodes: 3, voters: 3, bug: Some(bug), fault_gap, focus, calm, ..Self::chaos(seed) }
    }

    pub(crate) fn quiet(seed: u64, nodes: u64, groups: u64) -> Self {
        Self { nodes, voters: nodes, groups, faults: Duration::ZERO, ..Self::chaos(seed) }
    }
}

#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) violation: Option<String>,
    pub(crate) acknowledged: usize,
    pub(crate) trace: u64,
    pub(crate) reached: Reached,
}

/// Rare branches that a run came through.
#[derive(Debug, Default)]
pub(crate) struct Reached {
    pub(crate) snapshots: u64,
    pub(crate) refills: u64,
    pub(crate) sleeps: u64,
    pub(crate) lease_reads: u64,
    pub(crate) index_reads: u64,
    pub(crate) transfers: u64,
    pub(crate) torn_tails: u64,
    pub(crate) segments_removed: u64,
    pub(crate) muffled: u64,
}

impl Reached {
    pub(crate) fn add(&mut self, other: &Self) {
        self.snapshots += other.snapshots;
        self.refills += other.refills;
        self.sleeps += other.sleeps;
        self.lease_reads += other.lease_reads;
        self.index_reads += other.index_reads;
        self.transfers += other.transfers;
        self.torn_tails += other.torn_tails;
        self.segments_removed += other.segments_removed;
        self.muffled += other.muffled;
    }

    pub(crate) fn all(&self) -> bool {
        [
            self.snapshots,
            self.refills,
            self.sleeps,
            self.lease_reads,
            self.index_reads,
            self.transfers,
            self.torn_tails,
            self.segments_removed,
            self.muffled,
        ]
        .iter()
        .all(|count| *count > 0)
    }
}
