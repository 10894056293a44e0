//! What a proxy and a bucket's owner tell each other.

use std::time::Duration;

use units::{Epoch, MilliUnits, MilliUnitsPerSecond, TableId};

/// Which of a table's two capacities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CapacityKind {
    /// Read capacity units.
    Read,
    /// Write capacity units.
    Write,
}

/// One quota's tokens: a table (or index) and a kind of capacity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BucketId(u64);

impl BucketId {
    /// The bucket of `table`'s `kind` of capacity.
    #[must_use]
    pub const fn new(table: TableId, kind: CapacityKind) -> Self {
        Self(table.get() << 1 | matches!(kind, CapacityKind::Write) as u64)
    }

    /// Reads the number that [`Self::get`] gave.
    #[must_use]
    pub const fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    /// Its number in messages: table × 2, plus 1 for writes.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The table.
    #[must_use]
    pub const fn table(self) -> TableId {
        TableId::new(self.0 >> 1)
    }

    /// The kind of capacity.
    #[must_use]
    pub const fn kind(self) -> CapacityKind {
        if self.0 & 1 == 1 { CapacityKind::Write } else { CapacityKind::Read }
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
}

impl Quota {
    /// Seconds of rate that are banked unless an operator says otherwise. Source: DynamoDB, "Burst
    /// capacity" (300 s of unused capacity).
    pub const BURST_SECONDS: u64 = 300;

    /// A quota with the usual burst.
    #[must_use]
    pub fn with_usual_burst(rate: MilliUnitsPerSecond, version: u64) -> Self {
        Self { rate, burst: rate.earned_in(Duration::from_secs(Self::BURST_SECONDS)), version }
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
        }
    }

    #[test]
    fn any_grant_of_a_later_epoch_is_newer() {
        let old = GrantNumber { epoch: Epoch::new(3), sequence: 900 };
        let new = GrantNumber { epoch: Epoch::new(4), sequence: 1 };
        assert!(new > old);
    }
}
