//! What must hold at every moment of every run.

use std::collections::BTreeMap;

use bytes::Bytes;
use replication::Committed;
use units::{LogIndex, NodeId, PartitionId, Term};

/// The truth as an outsider sees it.
#[derive(Default)]
pub(crate) struct Checks {
    /// What stands at each index, from whoever handed it out first.
    committed: BTreeMap<(PartitionId, LogIndex), (Term, Bytes)>,
    leaders: BTreeMap<(PartitionId, Term), NodeId>,
    /// The newest index that a client has seen, by an acknowledgement or a read.
    observed: BTreeMap<PartitionId, LogIndex>,
    acknowledged: BTreeMap<PartitionId, BTreeMap<LogIndex, Bytes>>,
    pub(crate) violation: Option<String>,
}

impl Checks {
    fn require(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds && self.violation.is_none() {
            self.violation = Some(what());
        }
    }

    /// Log matching and state machine safety: one entry per index, on all nodes, for good.
    pub(crate) fn committed(&mut self, node: NodeId, entry: &Committed) {
        let here = (entry.term, entry.payload.clone());
        let known = self.committed.entry((entry.group, entry.index)).or_insert_with(|| here.clone()).clone();
        self.require(known == here, || format!("{node} has another {} in {}", entry.index, entry.group));
    }

    /// Election safety: one leader per term.
    pub(crate) fn leads(&mut self, node: NodeId, group: PartitionId, term: Term) {
        let first = *self.leaders.entry((group, term)).or_insert(node);
        self.require(first == node, || format!("{first} and {node} lead {group} in {term}"));
    }

    /// Lease safety: one valid lease per group.
    pub(crate) fn lease_holders(&mut self, group: PartitionId, holders: &[NodeId]) {
        self.require(holders.len() <= 1, || format!("{holders:?} hold leases of {group}"));
    }

    pub(crate) fn acknowledged(&mut self, group: PartitionId, index: LogIndex, payload: Bytes) {
        self.acknowledged.entry(group).or_default().insert(index, payload);
        let observed = self.observed.entry(group).or_default();
        *observed = index.max(*observed);
    }

    pub(crate) fn observed(&self, group: PartitionId) -> LogIndex {
        self.observed.get(&group).copied().unwrap_or_default()
    }

    /// Linearizable reads: nothing that anyone saw before the read began is missing from it.
    pub(crate) fn read(
        &mut self,
        node: NodeId,
        group: PartitionId,
        index: LogIndex,
        seen_before: LogIndex,
        how: &str,
    ) {
        self.require(index >= seen_before, || {
            format!("{how} read of {group} at {node} is stale: {index} after {seen_before} was seen")
        });
        let observed = self.observed.entry(group).or_default();
        *observed = index.max(*observed);
    }

    /// Durability: every acknowledged entry is still what stands at its index, and was applied.
    pub(crate) fn survived(&mut self, node: NodeId, group: PartitionId, applied: &BTreeMap<LogIndex, Bytes>) {
        let lost: Vec<LogIndex> = self
            .acknowledged
            .get(&group)
            .into_iter()
            .flatten()
            .filter(|(index, payload)| applied.get(index) != Some(payload))
            .map(|(index, _)| *index)
            .collect();
        self.require(lost.is_empty(), || format!("{node} lost {lost:?} of {group}"));
    }

    pub(crate) fn acknowledged_count(&self) -> usize {
        self.acknowledged.values().map(BTreeMap::len).sum()
    }

    pub(crate) fn alive(&mut self, holds: bool, what: impl FnOnce() -> String) {
        self.require(holds, what);
    }
}
