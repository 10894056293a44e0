//! `quotas/OWNER/KIND`: the versions of one quota. A table's version in force is part of the table's own
//! record, so that it changes with the descriptor in one write; this record follows. The account's and the
//! principals' versions in force are the last ones here.

use admission::{BucketId, Level};
use serde::{Deserialize, Serialize};
use units::TableId;
use wire::proto::control::Quota;

use super::{Record, capacity_kind};
use crate::quota::{HISTORY_VERSIONS, Outage, QuotaKind, QuotaVersion};

/// One quota's versions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct QuotaRecord {
    /// Whose.
    pub owner: QuotaOwner,
    /// Of which capacity.
    pub kind: QuotaKind,
    /// The oldest first; never empty.
    pub versions: Vec<QuotaVersion>,
}

/// Whose quota, by what never changes and is never reused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum QuotaOwner {
    /// All tables.
    Account,
    /// The table with this number.
    Table(u64),
    /// Whoever signs under this name.
    Principal(String),
}

impl QuotaRecord {
    /// What its record is called.
    #[must_use]
    pub(crate) fn name_of(owner: &QuotaOwner, kind: QuotaKind) -> String {
        match owner {
            QuotaOwner::Account => format!("account/{kind}"),
            QuotaOwner::Table(id) => format!("table/{id}/{kind}"),
            QuotaOwner::Principal(name) => format!("principal/{kind}/{name}"),
        }
    }

    /// The newest version.
    #[must_use]
    pub(crate) fn newest(&self) -> &QuotaVersion {
        self.versions.last().expect("a history has at least the version that began it")
    }

    /// With one more version; the oldest ones go.
    #[must_use]
    pub(crate) fn with(mut self, version: QuotaVersion) -> Self {
        self.versions.push(version);
        let surplus = self.versions.len().saturating_sub(HISTORY_VERSIONS);
        self.versions.drain(..surplus);
        self
    }
}

impl Record for QuotaRecord {
    const PREFIX: &'static str = "quotas/";

    fn name(&self) -> String {
        Self::name_of(&self.owner, self.kind)
    }
}

/// The bucket at the GAC servers; the account has none, since its quota is divided among its tables' shares.
#[must_use]
pub(crate) fn bucket_of(owner: &QuotaOwner, kind: QuotaKind) -> Option<u64> {
    let kind = capacity_kind(kind);
    match owner {
        QuotaOwner::Account => None,
        QuotaOwner::Table(id) => Some(BucketId::new(TableId::new(*id), kind).get()),
        QuotaOwner::Principal(name) => Some(BucketId::principal(name, kind).get()),
    }
}

/// A quota in force, as the GAC servers are told of it.
#[must_use]
pub(crate) fn to_wire(owner: &QuotaOwner, kind: QuotaKind, version: &QuotaVersion) -> Quota {
    let account = BucketId::at(Level::AccountShare, 0, capacity_kind(kind));
    let terms = &version.terms;
    let milli = |units: u64| units.saturating_mul(1000);
    let outage = match terms.outage {
        Outage::Strict => admission::OutagePolicy::Strict,
        Outage::Static => admission::OutagePolicy::Static,
        Outage::Open => admission::OutagePolicy::Open,
    };
    let burst_units = terms.burst.unwrap_or_else(|| terms.rate.saturating_mul(BURST_SECONDS));
    let quota = admission::Quota {
        rate: units::MilliUnitsPerSecond::new(milli(terms.rate)),
        burst: units::MilliUnits::new(milli(burst_units)),
        version: version.version,
        outage,
        shadow: terms.shadow,
    };
    Quota {
        weight: terms.weight,
        floor_milli: milli(terms.floor),
        cap_milli: terms.cap.map(milli),
        priority: terms.priority.into(),
        name: match owner {
            QuotaOwner::Principal(name) => name.clone(),
            QuotaOwner::Account | QuotaOwner::Table(_) => String::new(),
        },
        ..Quota::of(bucket_of(owner, kind).map_or(account, BucketId::from_raw), quota)
    }
}

/// Seconds of rate that are banked unless an operator says otherwise.
const BURST_SECONDS: u64 = dynamodb::table::TableQuota::BURST_SECONDS;
