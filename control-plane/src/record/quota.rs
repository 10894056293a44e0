//! `quota/TABLE/DIRECTION`: the refill rate and burst of one bucket: what `UpdateTable` and operators set
//! and GAC enforces.

use admission::{BucketId, CapacityKind};
use dynamodb::table::Billing;
use serde::{Deserialize, Serialize};
use units::TableId;
use wire::proto::control::Quota;

use super::Record;

/// One bucket's quota.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct QuotaRecord {
    /// The table's number.
    pub table: u64,
    /// Reads or writes.
    pub direction: Direction,
    /// Refill rate, milli-units per second.
    pub rate_milli: u64,
    /// Burst capacity, milli-units.
    pub burst_milli: u64,
    /// The table descriptor's version that set it: orders this quota against the ones that proxies
    /// report from their descriptors.
    pub table_version: u64,
}

/// What a bucket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Direction {
    /// Read capacity units.
    Read,
    /// Write capacity units.
    Write,
}

/// Unused capacity is banked for so long. Source: DynamoDB Developer Guide, "Burst capacity".
const BURST_SECONDS: u64 = 300;

impl QuotaRecord {
    /// The quota that a table's billing gives one direction.
    #[must_use]
    pub(crate) fn of_billing(
        table: u64,
        table_version: u64,
        billing: &Billing,
        direction: Direction,
    ) -> Self {
        let units = match direction {
            Direction::Read => billing.read_units(),
            Direction::Write => billing.write_units(),
        };
        let rate_milli = units.saturating_mul(1000);
        let burst_milli = rate_milli.saturating_mul(BURST_SECONDS);
        Self { table, direction, rate_milli, burst_milli, table_version }
    }

    /// Its form on the wire.
    #[must_use]
    pub(crate) fn to_wire(&self) -> Quota {
        let kind = match self.direction {
            Direction::Read => CapacityKind::Read,
            Direction::Write => CapacityKind::Write,
        };
        Quota {
            bucket: BucketId::new(TableId::new(self.table), kind).get(),
            rate_milli: self.rate_milli,
            burst_milli: self.burst_milli,
            version: self.table_version,
            ..Quota::default()
        }
    }
}

impl Record for QuotaRecord {
    const PREFIX: &'static str = "quota/";

    fn name(&self) -> String {
        let direction = match self.direction {
            Direction::Read => "read",
            Direction::Write => "write",
        };
        format!("{}/{direction}", self.table)
    }
}
