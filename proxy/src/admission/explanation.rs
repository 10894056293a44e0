//! What `weir explain` says of one refusal.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a request was refused, with every level that was checked. Amounts are capacity units, rates
/// units per second.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// The request's id, which is also its explain token.
    pub request: String,
    /// The proxy's number in the fleet.
    pub proxy: u64,
    /// When it was refused, milliseconds since 1970.
    pub at_ms: u64,
    /// The table's name.
    pub table: String,
    /// What was asked for: `GetItem`, …
    pub operation: String,
    /// Who asked.
    pub principal: String,
    /// Which capacity.
    pub capacity: Capacity,
    /// What the request needed at least.
    pub cost: f64,
    /// Who refused.
    pub layer: Layer,
    /// Why.
    pub cause: Cause,
    /// The quotas that were checked, top down; the last one may have refused.
    pub levels: Vec<LevelCheck>,
    /// What the storage node said, when it refused.
    pub partition: Option<PartitionCheck>,
    /// When to come back, in milliseconds; none: not while the quota is what it is.
    pub retry_after_ms: Option<u64>,
    /// Whether a higher quota of the layer that refused would have admitted the request.
    pub higher_quota_helps: bool,
    /// All of this in a sentence or two.
    pub verdict: String,
}

/// One level's quota as the proxy knew it, and its local bucket, when the request was checked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LevelCheck {
    /// Which level.
    pub layer: Layer,
    /// Whose quota: the table's or the principal's name.
    pub subject: String,
    /// Whether this level refused.
    pub refused: bool,
    /// Whether the quota only counts.
    pub shadow: bool,
    /// R, for the whole fleet.
    pub quota_rate: f64,
    /// B, for the whole fleet.
    pub quota_burst: f64,
    /// The quota's version; 0: not told yet.
    pub quota_version: u64,
    /// What the local bucket held; negative: a debt.
    pub level: f64,
    /// What the local bucket may hold.
    pub cap: f64,
    /// The rate that it refilled at.
    pub leased_rate: f64,
    /// Since the last grant, in milliseconds; none: there was none yet.
    pub lease_age_ms: Option<u64>,
    /// Whether the lease had run out, so that the rate is the safe one.
    pub lease_expired: bool,
    /// `untracked`, `leased` or `direct`.
    pub mode: String,
    /// What the last grant said of the pool: `unknown`, `comfortable`, `scarce` or `dry`.
    pub pool: String,
}

/// A storage node's refusal: the limit that refused, and what was there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PartitionCheck {
    /// What the partition, or the node, may serve.
    pub rate: f64,
    /// What was left of it.
    pub level: f64,
    /// What the partition had banked for bursts.
    pub banked: f64,
    /// Why that did not help: `empty`, `node busy` or `members busy`.
    pub burst: String,
    /// The partition's hottest key, if one stands out.
    pub hot_key: Option<HotKeyCheck>,
}

/// A key that much of the traffic was for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HotKeyCheck {
    /// The first half of the hash of the partition key: 16 hexadecimal digits.
    pub hash: String,
    /// Its part of what was asked of the partition in the last seconds, at least.
    pub part: f64,
}

/// Which capacity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Capacity {
    /// Read capacity units.
    Read,
    /// Write capacity units.
    Write,
}

/// Who may refuse a request for want of capacity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layer {
    /// The table's quota.
    Table,
    /// The account's.
    Account,
    /// The signer's.
    Principal,
    /// A secondary index's.
    Index,
    /// One partition, at its storage node.
    Partition,
    /// A storage node.
    Node,
}

/// Why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    /// The fleet has used the quota up.
    Quota,
    /// This proxy ran short while others, or the pool, may still have had tokens.
    Share,
    /// The account's quota left the table no more.
    Account,
    /// A partition's limit.
    Partition,
    /// A storage node's limit.
    Node,
}

impl Cause {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Quota, Self::Share, Self::Account, Self::Partition, Self::Node];

    /// Its label in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Quota => "quota",
            Self::Share => "share",
            Self::Account => "account",
            Self::Partition => "partition",
            Self::Node => "node",
        }
    }
}

impl Layer {
    /// Its name in metrics and texts.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Account => "account",
            Self::Principal => "principal",
            Self::Index => "index",
            Self::Partition => "partition",
            Self::Node => "node",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
