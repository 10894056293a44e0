//! What a proxy and a bucket's owner tell each other.

use std::time::Duration;

use twox_hash::XxHash3_64;
use units::{Epoch, MilliUnits, MilliUnitsPerSecond, ProxyId, TableId};

/// Which of a table's two capacities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CapacityKind {
    /// Read capacity units.
    Read,
    /// Write capacity units.
    Write,
}

impl CapacityKind {
    /// What operators and metrics call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

/// Whose quota a bucket is for: the levels that a request passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// A table.
    Table,
    /// A table's part of its account's quota: one bucket per table, all with the account's owner, which
    /// divides the account's rate among them by weighted max-min.
    AccountShare,
    /// Whoever signs.
    Principal,
    /// A secondary index.
    Index,
}

impl Level {
    /// What operators call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::AccountShare => "account",
            Self::Principal => "principal",
            Self::Index => "index",
        }
    }
}

/// One quota's tokens: a level, a number at that level, and a kind of capacity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BucketId(u64);

impl BucketId {
    /// The bucket of `table`'s `kind` of capacity.
    #[must_use]
    pub const fn new(table: TableId, kind: CapacityKind) -> Self {
        Self::at(Level::Table, table.get(), kind)
    }

    /// The bucket with `number` (a table's or an index's; for a principal, a hash of its name) at `level`.
    /// Only the lower 61 bits of the number count.
    #[must_use]
    pub const fn at(level: Level, number: u64, kind: CapacityKind) -> Self {
        Self(number << 3 | (level as u64) << 1 | matches!(kind, CapacityKind::Write) as u64)
    }

    /// The bucket of a principal's `kind` of capacity: its number is a hash of `name`.
    #[must_use]
    pub fn principal(name: &str, kind: CapacityKind) -> Self {
        Self::at(Level::Principal, XxHash3_64::oneshot(name.as_bytes()), kind)
    }

    /// Reads the number that [`Self::get`] gave.
    #[must_use]
    pub const fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    /// Its number in messages: number × 8 + level × 2, plus 1 for writes.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The level.
    #[must_use]
    pub const fn level(self) -> Level {
        match self.0 >> 1 & 3 {
            0 => Level::Table,
            1 => Level::AccountShare,
            2 => Level::Principal,
            _ => Level::Index,
        }
    }

    /// The number at its level.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0 >> 3
    }

    /// The table, for the levels of tables and account shares.
    #[must_use]
    pub const fn table(self) -> TableId {
        TableId::new(self.number())
    }

    /// The kind of capacity.
    #[must_use]
    pub const fn kind(self) -> CapacityKind {
        if self.0 & 1 == 1 { CapacityKind::Write } else { CapacityKind::Read }
    }
}

/// What a proxy does once its lease has run out and no owner answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OutagePolicy {
    /// Refills at its equal part of the quota: the whole fleet stays within it.
    #[default]
    Strict,
    /// Keeps the rate of its last lease.
    Static,
    /// Admits everything.
    Open,
}

/// A table's claim on its account's quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Its weight among tables of its priority; at least 1.
    pub weight: u32,
    /// What it gets before anything is divided by weight.
    pub floor: MilliUnitsPerSecond,
    /// What it gets at most.
    pub cap: Option<MilliUnitsPerSecond>,
    /// Higher ones are served first.
    pub priority: u8,
    /// Grows with every change; an older version never replaces a newer one.
    pub version: u64,
}

impl Default for Claim {
    /// Weight 1, no floor, no cap, priority 0.
    fn default() -> Self {
        Self { weight: 1, floor: MilliUnitsPerSecond::default(), cap: None, priority: 0, version: 0 }
    }
}

/// A refill rate and a burst capacity, as an operator or `UpdateTable` set them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// R: what flows in for the whole fleet.
    pub rate: MilliUnitsPerSecond,
    /// B: what the whole fleet may bank.
    pub burst: MilliUnits,
    /// Grows with every change; an older version never replaces a newer one.
    pub version: u64,
    /// What to do when no owner answers.
    pub outage: OutagePolicy,
    /// Counts what it would refuse, and refuses nothing.
    pub shadow: bool,
}

impl Quota {
    /// Seconds of rate that are banked unless an operator says otherwise. Source: DynamoDB, "Burst
    /// capacity" (300 s of unused capacity).
    pub const BURST_SECONDS: u64 = 300;

    /// A quota with the usual burst.
    #[must_use]
    pub fn with_usual_burst(rate: MilliUnitsPerSecond, version: u64) -> Self {
        Self {
            rate,
            burst: rate.earned_in(Duration::from_secs(Self::BURST_SECONDS)),
            version,
            outage: OutagePolicy::default(),
            shadow: false,
        }
    }
}

/// Orders the grants that a proxy receives for a bucket: a grant is accepted only if it is newer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct GrantNumber {
    /// The owner's epoch: a new owner, or one that restarted, has a higher one.
    pub epoch: Epoch,
    /// Counts an owner's grants to one proxy.
    pub sequence: u64,
}

/// How much the pool still has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum PoolColour {
    /// The proxy has not heard yet.
    #[default]
    Unknown,
    /// Needs are met.
    Comfortable,
    /// Needs are met in part.
    Scarce,
    /// Nothing is left: a refusal is a true quota hit.
    Dry,
}

impl PoolColour {
    /// What operators call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Comfortable => "comfortable",
            Self::Scarce => "scarce",
            Self::Dry => "dry",
        }
    }
}

/// How a bucket's tokens reach the proxies; chosen by the owner, per bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Mode {
    /// Usage is far below the quota: the proxy has an allowance that the owner reserves for every member
    /// of the fleet, and stays silent.
    Untracked,
    /// A leased rate and tokens out of the pool, renewed by reports.
    #[default]
    Leased,
    /// Too small to split: the proxy asks for each request's tokens, and remembers "dry until".
    Direct,
}

impl Mode {
    /// What operators and metrics call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Untracked => "untracked",
            Self::Leased => "leased",
            Self::Direct => "direct",
        }
    }
}

/// What stands above all entries of a proxy's report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportHeader {
    /// Who reports.
    pub proxy: ProxyId,
    /// Its incarnation: the counters start at 0 with it.
    pub session: u64,
    /// Live proxies in the fleet, as an owner last said; 0: not heard yet. So a new owner knows for whom
    /// to wait.
    pub fleet: u32,
    /// The ring by which the proxy chose this owner.
    pub ring: Epoch,
    /// The proxy leaves: it uses nothing from now on.
    pub leaving: bool,
    /// For how long the session has run, by the proxy's clock: what it counted was counted between two of
    /// these, however long the reports travelled. Zero: not told.
    pub session_age: Duration,
}

/// What a proxy reports about one bucket. The counters are cumulative since its session began, so a
/// lost report loses nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportEntry {
    /// Which bucket.
    pub bucket: BucketId,
    /// Admitted, cumulative.
    pub admitted: MilliUnits,
    /// Refused, cumulative.
    pub throttled: MilliUnits,
    /// Overflowed above the local cap and given back, cumulative.
    pub returned: MilliUnits,
    /// In the local bucket now.
    pub held: MilliUnits,
    /// Expected shortfall until the next report.
    pub need: MilliUnits,
    /// The grant in use: acknowledges it.
    pub acknowledged: GrantNumber,
    /// The rate in use.
    pub rate_in_use: MilliUnitsPerSecond,
    /// The quota as the proxy knows it from the table's descriptor.
    pub quota: Quota,
}

/// What the owner grants in answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Which bucket.
    pub bucket: BucketId,
    /// Its place in the order of grants.
    pub number: GrantNumber,
    /// The leased rate.
    pub rate: MilliUnitsPerSecond,
    /// Given out of the pool, once.
    pub tokens: MilliUnits,
    /// What the local bucket may hold.
    pub cap: MilliUnits,
    /// When to report again, from receipt.
    pub next_report: Duration,
    /// How long the lease holds, from when the report was sent that this answers.
    pub ttl: Duration,
    /// The rate once the lease has run out.
    pub safe_rate: MilliUnitsPerSecond,
    /// How much the pool still has.
    pub pool: PoolColour,
    /// How tokens reach this proxy from now on.
    pub mode: Mode,
    /// In direct mode: nothing will be there for so long, from receipt. Zero: ask.
    pub dry_for: Duration,
    /// The quota in force at the owner: for the proxy's explanations, and for `shadow`.
    pub quota: Quota,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_names_its_table_and_kind() {
        for kind in [CapacityKind::Read, CapacityKind::Write] {
            let bucket = BucketId::new(TableId::new(77), kind);
            assert_eq!(BucketId::from_raw(bucket.get()), bucket);
            assert_eq!((bucket.table(), bucket.kind()), (TableId::new(77), kind));
            for level in [Level::Table, Level::AccountShare, Level::Principal, Level::Index] {
                let bucket = BucketId::at(level, 77, kind);
                assert_eq!((bucket.level(), bucket.number(), bucket.kind()), (level, 77, kind));
            }
        }
    }

    #[test]
    fn principals_have_buckets_of_their_own() {
        let alice = BucketId::principal("alice", CapacityKind::Read);
        assert_eq!((alice.level(), alice.kind()), (Level::Principal, CapacityKind::Read));
        assert_eq!(BucketId::at(Level::Principal, alice.number(), CapacityKind::Read), alice);
        assert_ne!(alice, BucketId::principal("bob", CapacityKind::Read));
    }

    #[test]
    fn any_grant_of_a_later_epoch_is_newer() {
        let old = GrantNumber { epoch: Epoch::new(3), sequence: 900 };
        let new = GrantNumber { epoch: Epoch::new(4), sequence: 1 };
        assert!(new > old);
    }
}
