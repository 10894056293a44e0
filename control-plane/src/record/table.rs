//! `table/NAME`: a table's descriptor and where its partitions were placed. One record, so that a table
//! appears, changes and goes in one conditional write.

use std::ops::Range;

use admission::{CapacityKind, Growth, OnDemand, OnDemandLimits};
use bytes::Bytes;
use dynamodb::table::{Billing, TableDescriptor, TableQuota, TableQuotas};
use routing::placement::PlacedPartition;
use routing::{KeyRange, Member, MemberKind};
use serde::{Deserialize, Serialize};
use units::{MilliUnitsPerSecond, NodeId, PartitionId, UnixMillis, Zone};

use super::Record;
use crate::quota::{QuotaCause, QuotaKind, QuotaMode, QuotaTerms, QuotaVersion};

/// A table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TableRecord {
    /// What proxies and `DescribeTable` show.
    pub descriptor: TableDescriptor,
    /// The first of its partitions' numbers; `descriptor.partitions` of them follow one another.
    pub first_partition: u64,
    /// Where its partitions were placed; empty until they were. From then on the storage nodes are the
    /// authority on each partition's members.
    #[serde(default)]
    pub partitions: Vec<PartitionRecord>,
    /// Its quotas in force. None only in records of before there were versions, until they are read.
    #[serde(default)]
    pub quotas: Option<CurrentQuotas>,
    /// Its peaks, since it has been on demand.
    #[serde(default)]
    pub on_demand: Option<OnDemandHistories>,
}

/// A table's quotas in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CurrentQuotas {
    /// For reads.
    pub read: QuotaVersion,
    /// For writes.
    pub write: QuotaVersion,
}

/// The peaks of a table on demand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OnDemandHistories {
    /// Of its reads.
    pub read: OnDemandHistory,
    /// Of its writes.
    pub write: OnDemandHistory,
}

/// [`OnDemand`], as it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OnDemandHistory {
    /// Milli-units per second.
    pub previous_peak: u64,
    /// When growth beyond it began (milliseconds since 1970), and its peak since.
    #[serde(default)]
    pub growth: Option<(u64, u64)>,
}

/// One partition, as it was placed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PartitionRecord {
    /// Its number.
    pub id: u64,
    /// First key of its range.
    pub start: Vec<u8>,
    /// First key past its range; none: to the end.
    pub end: Option<Vec<u8>>,
    /// (node, zone) of its replicas; the preferred leader stands first.
    pub members: Vec<(u64, u8)>,
}

impl Record for TableRecord {
    const PREFIX: &'static str = "table/";

    fn name(&self) -> String {
        self.descriptor.name.clone()
    }

    /// Before quotas had versions, a table's were what its billing gave, at its descriptor's version.
    fn upgraded(mut self) -> Self {
        if self.quotas.is_none() {
            let version = |kind| QuotaVersion {
                version: self.descriptor.version,
                terms: self.own_terms(kind),
                boost: None,
                cause: QuotaCause::CreateTable,
                author: "control-plane".to_owned(),
                reason: "the table is older than its quotas' history".to_owned(),
                at_ms: self.descriptor.created_at_ms,
            };
            let (read, write) = (version(QuotaKind::Read), version(QuotaKind::Write));
            self.set_quotas(CurrentQuotas { read, write });
        }
        self
    }
}

impl TableRecord {
    /// Its quotas in force.
    #[must_use]
    pub(crate) fn quotas(&self) -> &CurrentQuotas {
        self.quotas.as_ref().expect("a table has quotas from its creation on, or from when it was read")
    }

    /// Its quota in force of this kind.
    #[must_use]
    pub(crate) fn quota(&self, kind: QuotaKind) -> &QuotaVersion {
        match kind {
            QuotaKind::Read => &self.quotas().read,
            QuotaKind::Write => &self.quotas().write,
        }
    }

    /// Puts quotas in force: proxies learn them from the descriptor, whose version the caller raises.
    pub(crate) fn set_quotas(&mut self, quotas: CurrentQuotas) {
        self.descriptor.quotas =
            Some(TableQuotas { read: in_force(&quotas.read), write: in_force(&quotas.write) });
        self.quotas = Some(quotas);
    }

    /// The same for one kind.
    pub(crate) fn set_quota(&mut self, kind: QuotaKind, version: QuotaVersion) {
        let mut quotas = self.quotas().clone();
        match kind {
            QuotaKind::Read => quotas.read = version,
            QuotaKind::Write => quotas.write = version,
        }
        self.set_quotas(quotas);
    }

    /// The terms that the table's billing and peaks alone give it.
    #[must_use]
    pub(crate) fn own_terms(&self, kind: QuotaKind) -> QuotaTerms {
        let mode = match self.descriptor.billing {
            Billing::Provisioned(_) => QuotaMode::Provisioned,
            Billing::OnDemand { .. } => QuotaMode::OnDemand,
        };
        QuotaTerms::of(mode, self.own_units(kind))
    }

    /// The units per second that the table's billing and peaks alone give it.
    #[must_use]
    pub(crate) fn own_units(&self, kind: QuotaKind) -> u64 {
        match &self.descriptor.billing {
            Billing::Provisioned(throughput) => match kind {
                QuotaKind::Read => throughput.read,
                QuotaKind::Write => throughput.write,
            },
            Billing::OnDemand { .. } => {
                let maximum = self.ceiling(kind).map(MilliUnitsPerSecond::from_units);
                let limits = OnDemandLimits { maximum, ..OnDemandLimits::default() };
                self.on_demand(kind).quota(limits).get() / 1000
            }
        }
    }

    /// The on-demand table's maximum throughput, if one is set, units per second.
    #[must_use]
    pub(crate) fn ceiling(&self, kind: QuotaKind) -> Option<u64> {
        match (&self.descriptor.billing, kind) {
            (Billing::OnDemand { max_read, .. }, QuotaKind::Read) => *max_read,
            (Billing::OnDemand { max_write, .. }, QuotaKind::Write) => *max_write,
            (Billing::Provisioned(_), _) => None,
        }
    }

    /// Its peaks: a new table's, if none are recorded.
    #[must_use]
    pub(crate) fn on_demand(&self, kind: QuotaKind) -> OnDemand {
        let history = self.on_demand.map(|histories| match kind {
            QuotaKind::Read => histories.read,
            QuotaKind::Write => histories.write,
        });
        history.map_or_else(|| OnDemand::new(capacity_kind(kind)), OnDemand::from)
    }

    /// Whether its partitions have places.
    #[must_use]
    pub(crate) fn is_placed(&self) -> bool {
        !self.partitions.is_empty()
    }

    /// Its partitions' numbers, whether they have places yet or not.
    #[must_use]
    pub(crate) fn partition_numbers(&self) -> Range<u64> {
        self.first_partition..self.first_partition.saturating_add(u64::from(self.descriptor.partitions))
    }

    /// The storage nodes that were given replicas of it.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = NodeId> + '_ {
        let mut nodes: Vec<u64> =
            self.partitions.iter().flat_map(|partition| &partition.members).map(|m| m.0).collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes.into_iter().map(NodeId::new)
    }

    /// Its partitions that `node` was given a replica of.
    pub(crate) fn partitions_on(&self, node: NodeId) -> impl Iterator<Item = &PartitionRecord> {
        self.partitions
            .iter()
            .filter(move |partition| partition.members.iter().any(|(member, _)| *member == node.get()))
    }
}

impl PartitionRecord {
    /// The record of a partition that was just placed.
    #[must_use]
    pub(crate) fn new(id: PartitionId, placed: &PlacedPartition) -> Self {
        Self {
            id: id.get(),
            start: placed.range.start.to_vec(),
            end: placed.range.end.as_ref().map(|end| end.to_vec()),
            members: placed.members.iter().map(|member| (member.node.get(), member.zone.get())).collect(),
        }
    }

    /// Its range of keys.
    #[must_use]
    pub(crate) fn range(&self) -> KeyRange {
        KeyRange {
            start: Bytes::copy_from_slice(&self.start),
            end: self.end.as_deref().map(Bytes::copy_from_slice),
        }
    }

    /// Its replicas as they were placed; the preferred leader stands first.
    pub(crate) fn members(&self) -> impl Iterator<Item = Member> + '_ {
        self.members.iter().map(|(node, zone)| Member {
            node: NodeId::new(*node),
            zone: Zone::new(*zone),
            kind: MemberKind::Storage,
        })
    }
}

/// A quota as proxies know it.
fn in_force(version: &QuotaVersion) -> TableQuota {
    let usual = TableQuota::usual(version.terms.rate, version.version);
    TableQuota {
        burst_milli: version.terms.burst.map_or(usual.burst_milli, |units| units.saturating_mul(1000)),
        outage: version.terms.outage,
        shadow: version.terms.shadow,
        ..usual
    }
}

/// The admission core's name for a kind.
#[must_use]
pub(crate) const fn capacity_kind(kind: QuotaKind) -> CapacityKind {
    match kind {
        QuotaKind::Read => CapacityKind::Read,
        QuotaKind::Write => CapacityKind::Write,
    }
}

impl From<OnDemandHistory> for OnDemand {
    fn from(kept: OnDemandHistory) -> Self {
        let growth = kept.growth.map(|(since, peak)| Growth {
            since: UnixMillis::new(since),
            peak: MilliUnitsPerSecond::new(peak),
        });
        Self { previous_peak: MilliUnitsPerSecond::new(kept.previous_peak), growth }
    }
}

impl From<OnDemand> for OnDemandHistory {
    fn from(history: OnDemand) -> Self {
        Self {
            previous_peak: history.previous_peak.get(),
            growth: history.growth.map(|growth| (growth.since.get(), growth.peak.get())),
        }
    }
}
