//! What operators see of a GAC server: the answer to `Inspect`, and `GET /gac/status`, as JSON.
//!
//! Amounts are milli-units, rates milli-units per second, durations milliseconds, unless a name says
//! otherwise.

use serde::{Deserialize, Serialize};

/// One server and some of its buckets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Inspection {
    /// The server.
    pub server: ServerStatus,
    /// Those that were asked for and are here; or those with the highest demand relative to their quota,
    /// highest first.
    pub buckets: Vec<BucketStatus>,
}

/// The server itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a field of the operators' JSON")]
pub struct ServerStatus {
    /// What it advertises.
    pub address: String,
    /// When it started: Unix time in milliseconds, part of the epoch of its grants.
    pub started: u64,
    /// The epoch of the ring that it knows; 0: none, and it owns whatever it is asked for.
    pub ring_epoch: u64,
    /// The ring's servers.
    pub ring: Vec<String>,
    /// Whether it is one of them.
    pub in_ring: bool,
    /// Leases only what proxies show, until all of them have reported or earlier leases have ended.
    pub learning: bool,
    /// Leases nothing: too few of the proxies that should report to it do.
    pub frozen: bool,
    /// Not in the ring, and everything that it owned was handed over or given up.
    pub drained: bool,
    /// Buckets that somebody uses.
    pub buckets: u64,
    /// Buckets that wait to be handed over to the ring's owners.
    pub handing_over: u64,
    /// Report entries answered per second, over the last second.
    pub entries_per_second: u64,
    /// Proxies heard within the last seconds.
    pub fleet: u32,
    /// The version of the set of quotas above tables; 0: not heard yet.
    pub levels_version: u64,
    /// How many buckets are in which mode.
    pub modes: ModeCounts,
    /// The account's quotas that this server divides among the tables' account shares.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accounts: Vec<AccountStatus>,
    /// Every proxy that is remembered, those silent for longest first; as many as were asked for.
    pub proxies: Vec<ProxyStatus>,
}

/// Buckets by mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModeCounts {
    /// Far below their quota.
    pub untracked: u64,
    /// Leased rates.
    pub leased: u64,
    /// Too small to split.
    pub direct: u64,
}

/// The account's quota of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountStatus {
    /// `read` or `write`.
    pub kind: String,
    /// The quota in force.
    pub quota: QuotaStatus,
    /// Tokens that no table was given.
    pub bank: u64,
    /// Σ over its tables of what counts as theirs: their rates, or what their proxies may still be using.
    pub assigned: u64,
    /// Tables that use it.
    pub tables: u64,
}

/// A member of the fleet, as this server hears it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxyStatus {
    /// Its number.
    pub proxy: u64,
    /// Since its last report.
    pub silent_ms: u64,
    /// The ring by which it chooses owners.
    pub ring_epoch: u64,
}

/// One bucket at its owner.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BucketStatus {
    /// Its number in messages.
    pub bucket: u64,
    /// `table`, `account`, `principal` or `index`.
    pub level: String,
    /// The table's or index's number; for a principal, its name's hash.
    pub number: u64,
    /// A principal's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `read` or `write`.
    pub kind: String,
    /// The quota in force.
    pub quota: QuotaStatus,
    /// `untracked`, `leased` or `direct`.
    pub mode: String,
    /// Tokens in the pool.
    pub pool: u64,
    /// `comfortable`, `scarce` or `dry`.
    pub colour: String,
    /// Σout: the highest rate that the proxies may be using together.
    pub out: u64,
    /// Σout/R. Above 1 only while a lowered quota is not yet acknowledged by everyone.
    pub out_ratio: f64,
    /// The most tokens that the proxies may be holding together.
    pub held: u64,
    /// Rate reserved for proxies that use their allowance without asking.
    pub reserve: u64,
    /// Tokens that those may hold.
    pub reserve_tokens: u64,
    /// Σ of the smoothed offered rates.
    pub demand: u64,
    /// What proxies admit, smoothed over a second.
    pub admitted: u64,
    /// What they refuse, smoothed over a second.
    pub throttled: u64,
    /// The most that was admitted beyond R·τ in any window since this server owns the bucket, as reported.
    pub over_admission: u64,
    /// What it must never exceed: B (and the debt of costs that were known late).
    pub over_admission_bound: u64,
    /// Jain's index of the proxies' admitted parts of their offered load: 1 is fair.
    pub jain_index: f64,
    /// Only what proxies show is leased.
    pub learning: bool,
    /// The epoch of its grants.
    pub epoch: u64,
    /// Proxies that have a share.
    pub proxies: u64,
    /// Their shares, when asked for, the largest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shares: Vec<ShareStatus>,
}

/// A quota.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaStatus {
    /// R.
    pub rate: u64,
    /// B.
    pub burst: u64,
    /// Grows with every change.
    pub version: u64,
    /// What proxies do when no owner answers: `strict`, `static` or `open`.
    pub outage: String,
    /// Refusals are counted, and nothing is refused.
    pub shadow: bool,
}

/// One proxy's part of a bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShareStatus {
    /// The proxy.
    pub proxy: u64,
    /// The highest rate that it may be using.
    pub out: u64,
    /// The most tokens that it may be holding.
    pub hold: u64,
    /// Its smoothed offered rate.
    pub demand: u64,
    /// What it admitted per second, by its last report.
    pub admitted: u64,
    /// What it refused per second, by its last report.
    pub throttled: u64,
    /// Since its last report of this bucket.
    pub silent_ms: u64,
    /// Its lease has ended, and it counts with its safe rate.
    pub silent: bool,
    /// Reports that showed more admitted than its leases can explain, and restarts.
    pub overdrafts: u64,
}
