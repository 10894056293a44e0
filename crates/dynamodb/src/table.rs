//! What a table is: its schema, billing, status. Kept in the catalog, cached by proxies through MemDS.

use serde::{Deserialize, Serialize};

/// A table as the catalog records it, and as every tier that needs its schema receives it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableDescriptor {
    /// The catalog's number for it; never reused.
    pub id: u64,
    /// `TableName`.
    pub name: String,
    /// `TableId` of `DescribeTable`: a UUID.
    pub uuid: String,
    /// `TableArn`.
    pub arn: String,
    /// Grows with every change; an older version never replaces a newer one.
    pub version: u64,
    /// `TableStatus`.
    pub status: TableStatus,
    /// The key attributes.
    pub keys: KeySchema,
    /// `AttributeDefinitions`, as given.
    pub attribute_definitions: Vec<AttributeDefinition>,
    /// Billing mode, with its throughput.
    pub billing: Billing,
    /// The quotas in force, once the control plane has recorded them; until then the billing gives them:
    /// see [`Self::read_quota`].
    #[serde(default)]
    pub quotas: Option<TableQuotas>,
    /// `CreationDateTime`, milliseconds since 1970.
    pub created_at_ms: u64,
    /// Seed of the table's keyed hash.
    pub hash_seed: u64,
    /// `DeletionProtectionEnabled`.
    #[serde(default)]
    pub deletion_protection: bool,
    /// `TableClass` (`STANDARD` or `STANDARD_INFREQUENT_ACCESS`); kept and shown, without effect.
    #[serde(default)]
    pub table_class: Option<String>,
    /// `Tags`, kept and shown, without effect.
    #[serde(default)]
    pub tags: Vec<(String, String)>,
    /// Number of partitions that it was created with.
    pub partitions: u32,
    /// `ItemCount` as last reported by the partitions' leaders: approximate.
    #[serde(default)]
    pub item_count: u64,
    /// `TableSizeBytes` as last reported: approximate.
    #[serde(default)]
    pub size_bytes: u64,
}

impl TableDescriptor {
    /// The read quota in force.
    #[must_use]
    pub fn read_quota(&self) -> TableQuota {
        self.quotas.map_or_else(|| TableQuota::usual(self.billing.read_units(), self.version), |it| it.read)
    }

    /// The write quota in force.
    #[must_use]
    pub fn write_quota(&self) -> TableQuota {
        self.quotas.map_or_else(|| TableQuota::usual(self.billing.write_units(), self.version), |it| it.write)
    }
}

/// A table's two quotas, as `UpdateTable`, operators, boosts and the doubling of on-demand tables set them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableQuotas {
    /// For reads.
    pub read: TableQuota,
    /// For writes.
    pub write: TableQuota,
}

/// What the whole fleet may use of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableQuota {
    /// Refill rate, milli-units per second.
    pub rate_milli: u64,
    /// What may be banked, milli-units.
    pub burst_milli: u64,
    /// Grows with every change; an older version never replaces a newer one.
    pub version: u64,
    /// What a proxy does when its lease has run out.
    #[serde(default)]
    pub outage: Outage,
    /// Counts what it would refuse, and refuses nothing.
    #[serde(default)]
    pub shadow: bool,
}

/// What a proxy does once its lease has run out and no GAC server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outage {
    /// Refills at its equal part of the quota: the whole fleet stays within it.
    #[default]
    Strict,
    /// Keeps the rate of its last lease.
    Static,
    /// Admits everything.
    Open,
}

impl TableQuota {
    /// Seconds of unused rate that are banked unless an operator says otherwise. Source: DynamoDB Developer
    /// Guide, "Burst capacity".
    pub const BURST_SECONDS: u64 = 300;

    /// A quota of `units` per second with the usual burst.
    #[must_use]
    pub fn usual(units: u64, version: u64) -> Self {
        let rate_milli = units.saturating_mul(1000);
        Self {
            rate_milli,
            burst_milli: rate_milli.saturating_mul(Self::BURST_SECONDS),
            version,
            outage: Outage::default(),
            shadow: false,
        }
    }
}

/// `TableStatus`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[expect(missing_docs, reason = "the names are DynamoDB's")]
pub enum TableStatus {
    Creating,
    Active,
    Updating,
    Deleting,
}

/// The key attributes of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeySchema {
    /// The `HASH` key.
    pub partition: KeyAttribute,
    /// The `RANGE` key.
    pub sort: Option<KeyAttribute>,
}

/// One key attribute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyAttribute {
    /// `AttributeName`.
    pub name: String,
    /// `AttributeType`.
    pub kind: KeyType,
}

/// `AttributeDefinition`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttributeDefinition {
    /// `AttributeName`.
    pub name: String,
    /// `AttributeType`.
    pub kind: KeyType,
}

/// The types that a key attribute may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are DynamoDB's")]
pub enum KeyType {
    S,
    N,
    B,
}

/// Billing mode, with its throughput.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Billing {
    /// `PROVISIONED`.
    Provisioned(ProvisionedThroughput),
    /// `PAY_PER_REQUEST`, with its optional ceilings in units per second.
    OnDemand {
        /// `MaxReadRequestUnits`.
        max_read: Option<u64>,
        /// `MaxWriteRequestUnits`.
        max_write: Option<u64>,
        /// When the mode was last set, milliseconds since 1970.
        since_ms: u64,
    },
}

/// What a new on-demand table serves at once, in units per second. Source: DynamoDB Developer Guide,
/// "On-demand capacity mode", "Initial throughput".
pub const ON_DEMAND_READ_UNITS: u64 = 12_000;
/// See [`ON_DEMAND_READ_UNITS`].
pub const ON_DEMAND_WRITE_UNITS: u64 = 4_000;
/// Units per second that one table may have, of either kind. Source: DynamoDB Developer Guide, "Service
/// quotas".
pub const TABLE_MAX_UNITS: u64 = 40_000;

impl Billing {
    /// The read units per second that the table may use before operators and its own peaks say otherwise.
    #[must_use]
    pub fn read_units(&self) -> u64 {
        match self {
            Self::Provisioned(throughput) => throughput.read,
            Self::OnDemand { max_read, .. } => max_read.unwrap_or(u64::MAX).min(ON_DEMAND_READ_UNITS),
        }
    }

    /// The write units per second that the table may use before operators and its own peaks say otherwise.
    #[must_use]
    pub fn write_units(&self) -> u64 {
        match self {
            Self::Provisioned(throughput) => throughput.write,
            Self::OnDemand { max_write, .. } => max_write.unwrap_or(u64::MAX).min(ON_DEMAND_WRITE_UNITS),
        }
    }
}

/// `ProvisionedThroughput`, in capacity units per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProvisionedThroughput {
    /// `ReadCapacityUnits`.
    pub read: u64,
    /// `WriteCapacityUnits`.
    pub write: u64,
    /// `LastIncreaseDateTime`, milliseconds since 1970.
    #[serde(default)]
    pub last_increase_ms: Option<u64>,
    /// `LastDecreaseDateTime`, milliseconds since 1970.
    #[serde(default)]
    pub last_decrease_ms: Option<u64>,
    /// `NumberOfDecreasesToday`: decreases on the UTC day of the last one.
    #[serde(default)]
    pub decreases_today: u64,
}

/// What `CreateTable` asks for, validated: what the proxy sends to the control plane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewTable {
    /// `TableName`.
    pub name: String,
    /// The key attributes.
    pub keys: KeySchema,
    /// `AttributeDefinitions`, as given.
    pub attribute_definitions: Vec<AttributeDefinition>,
    /// `BillingMode` (default `PROVISIONED`) with its throughput; the control plane sets the times.
    pub billing: Billing,
    /// `DeletionProtectionEnabled`.
    #[serde(default)]
    pub deletion_protection: bool,
    /// `TableClass`.
    #[serde(default)]
    pub table_class: Option<String>,
    /// `Tags`.
    #[serde(default)]
    pub tags: Vec<(String, String)>,
}

/// What `UpdateTable` asks for, validated as far as the request alone allows; none: unchanged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableChange {
    /// `TableName`.
    pub name: String,
    /// `BillingMode`.
    #[serde(default)]
    pub billing_mode: Option<BillingMode>,
    /// `ProvisionedThroughput`; its times are ignored.
    #[serde(default)]
    pub provisioned: Option<ProvisionedThroughput>,
    /// `OnDemandThroughput`: `MaxReadRequestUnits`, `MaxWriteRequestUnits`.
    #[serde(default)]
    pub on_demand: Option<(Option<u64>, Option<u64>)>,
    /// `DeletionProtectionEnabled`.
    #[serde(default)]
    pub deletion_protection: Option<bool>,
    /// `TableClass`.
    #[serde(default)]
    pub table_class: Option<String>,
}

/// `BillingMode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[expect(missing_docs, reason = "the names are DynamoDB's")]
pub enum BillingMode {
    Provisioned,
    PayPerRequest,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ceiling_lowers_what_an_on_demand_table_serves_and_never_raises_it() {
        let serves = |max_read, max_write| {
            let billing = Billing::OnDemand { max_read, max_write, since_ms: 0 };
            (billing.read_units(), billing.write_units())
        };
        assert_eq!(serves(None, None), (12_000, 4_000));
        assert_eq!(serves(Some(500), Some(30_000)), (500, 4_000));
    }

    #[test]
    fn a_quota_banks_five_minutes_unless_said_otherwise() {
        let quota = TableQuota::usual(10, 3);
        assert_eq!((quota.rate_milli, quota.burst_milli, quota.version), (10_000, 3_000_000, 3));
        let json = r#"{"rate_milli":1,"burst_milli":2,"version":3}"#;
        let kept: TableQuota = serde_json::from_str(json).unwrap();
        assert_eq!((kept.outage, kept.shadow), (Outage::Strict, false));
    }
}
