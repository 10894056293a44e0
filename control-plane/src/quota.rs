//! Quotas as operators see and change them: what the operators' API carries as JSON.
//!
//! Rates are in capacity units per second, bursts in capacity units, times in milliseconds since 1970.
//! A quota is named by its subject and kind; each change of it is a new version, and the last
//! [`HISTORY_VERSIONS`] are kept. What a table's quota is in force is part of the table's record; see
//! `quota_command.rs` for who may change it how.

mod apply;
mod diff;
mod subject;

pub use dynamodb::table::Outage;
use serde::{Deserialize, Serialize};

pub(crate) use apply::{Basis, apply, boosted, check_signed, check_terms};
pub(crate) use diff::changes;
pub use diff::{FieldChange, QuotaDiff};
pub use subject::{MalformedSubject, QuotaSubject};

/// Versions of one quota that its history keeps. Each takes about 400 bytes: a history stays far below the
/// size of an item.
pub const HISTORY_VERSIONS: usize = 100;

/// Which of a subject's two capacities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QuotaKind {
    /// Read capacity units.
    Read,
    /// Write capacity units.
    Write,
}

impl QuotaKind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Read, Self::Write];

    /// As JSON and keys spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

impl std::fmt::Display for QuotaKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where a quota's rate comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QuotaMode {
    /// The table's provisioned throughput: setting the rate sets it, and `DescribeTable` shows it.
    Provisioned,
    /// The on-demand table's own: twice its previous peak, within its ceiling.
    OnDemand,
    /// An operator's rate, whatever the table's billing says, until `UpdateTable` changes that.
    Operator,
    /// None: not limited. Only for the account and principals.
    Unlimited,
}

/// Units per second that an account or a principal may have: a billion, past which GAC counts no further.
pub(crate) const MAX_UNITS: u64 = 1_000_000_000;
/// Units that may be banked: 300 s of the most that a rate may be.
pub(crate) const MAX_BURST_UNITS: u64 = 300 * MAX_UNITS;

/// What a quota says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaTerms {
    /// Where the rate comes from.
    pub mode: QuotaMode,
    /// R: capacity units per second for the whole fleet. 0 when unlimited.
    pub rate: u64,
    /// B: capacity units that the whole fleet may bank; none: 300 s of the rate. Another rate stretches it.
    #[serde(default)]
    pub burst: Option<u64>,
    /// What proxies do when their lease has run out and no GAC server answers.
    #[serde(default)]
    pub outage: Outage,
    /// Counts what it would refuse, and refuses nothing.
    #[serde(default)]
    pub shadow: bool,
    /// The table's weight among the tables of its priority, when the account's quota is short.
    #[serde(default = "one")]
    pub weight: u32,
    /// Units per second of the account's quota that the table gets before anything is divided by weight.
    #[serde(default)]
    pub floor: u64,
    /// Units per second of the account's quota that the table gets at most.
    #[serde(default)]
    pub cap: Option<u64>,
    /// Tables of a higher priority are served first from the account's quota.
    #[serde(default)]
    pub priority: u8,
}

const fn one() -> u32 {
    1
}

impl QuotaTerms {
    /// A rate with every default.
    #[must_use]
    pub const fn of(mode: QuotaMode, rate: u64) -> Self {
        Self {
            mode,
            rate,
            burst: None,
            outage: Outage::Strict,
            shadow: false,
            weight: 1,
            floor: 0,
            cap: None,
            priority: 0,
        }
    }

    /// The same at another rate. A burst stays as many seconds of the rate as it was: left as it is, it
    /// would soon be less than the fleet admits between two reports, and what is not banked is lost.
    #[must_use]
    pub(crate) fn at_rate(self, rate: u64) -> Self {
        let burst = if self.rate > 0 && rate > 0 {
            let stretched = |burst| u128::from(burst) * u128::from(rate);
            self.burst.map(|burst| {
                u64::try_from(stretched(burst).div_ceil(u128::from(self.rate)))
                    .unwrap_or(u64::MAX)
                    .min(MAX_BURST_UNITS)
            })
        } else {
            self.burst
        };
        Self { rate, burst, ..self }
    }
}

/// One version of a quota.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaVersion {
    /// Counts this quota's changes.
    pub version: u64,
    /// What it says from then on.
    pub terms: QuotaTerms,
    /// It is a boost, for some time.
    #[serde(default)]
    pub boost: Option<Boost>,
    /// What changed it.
    pub cause: QuotaCause,
    /// Who changed it: an operator's name; the signing principal of `CreateTable` and `UpdateTable`;
    /// `on-demand`; `expiry`.
    pub author: String,
    /// Why.
    pub reason: String,
    /// When.
    pub at_ms: u64,
}

/// A rate for some time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Boost {
    /// When it ends.
    pub until_ms: u64,
    /// What the quota says then.
    pub returns_to: QuotaTerms,
}

/// What changed a quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QuotaCause {
    /// `CreateTable`.
    CreateTable,
    /// `UpdateTable`.
    UpdateTable,
    /// An operator set it.
    Set,
    /// An operator boosted it.
    Boost,
    /// An operator ended its boost early.
    BoostEnded,
    /// Its boost's time was over.
    BoostExpired,
    /// An operator returned to the values of this earlier version.
    Rollback(u64),
    /// The table's own peak doubled it.
    OnDemand,
}

impl QuotaCause {
    /// Who stands behind it, as metrics call it.
    #[must_use]
    pub const fn author_kind(self) -> &'static str {
        match self {
            Self::CreateTable | Self::UpdateTable => "api",
            Self::Set | Self::Boost | Self::BoostEnded | Self::Rollback(_) => "operator",
            Self::BoostExpired => "expiry",
            Self::OnDemand => "on_demand",
        }
    }
}

impl QuotaVersion {
    /// What it says without its boost.
    #[must_use]
    pub fn lasting_terms(&self) -> &QuotaTerms {
        self.boost.as_ref().map_or(&self.terms, |boost| &boost.returns_to)
    }
}

/// A quota in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaState {
    /// Whose.
    pub subject: QuotaSubject,
    /// Of which capacity.
    pub kind: QuotaKind,
    /// Its bucket's number at the GAC servers; for the account, whose quota is divided among its tables'
    /// shares, none.
    pub bucket: Option<u64>,
    /// The version in force.
    pub current: QuotaVersion,
}

/// A quota's versions, the oldest that is kept first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaHistory {
    /// Whose.
    pub subject: QuotaSubject,
    /// Of which capacity.
    pub kind: QuotaKind,
    /// The last [`HISTORY_VERSIONS`]; the one in force stands last.
    pub versions: Vec<QuotaVersion>,
}

/// What an operator wants changed: only what is given.
///
/// Setting the rate of a provisioned table sets its provisioned throughput; of an on-demand table, it
/// overrides the table's own rate (`mode` becomes `operator`) until `mode` is set back to `on_demand` or
/// `UpdateTable` changes the billing. `mode: operator` on a provisioned table limits it otherwise than
/// `DescribeTable` shows. A change of mode, rate or burst ends a boost; any other leaves it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuotaChange {
    /// Whose quota.
    pub subject: QuotaSubject,
    /// Of which capacity.
    pub kind: QuotaKind,
    /// Where the rate comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<QuotaMode>,
    /// Capacity units per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<u64>,
    /// Capacity units; null: 300 s of the rate.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub burst: Option<Option<u64>>,
    /// See [`QuotaTerms::outage`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outage: Option<Outage>,
    /// See [`QuotaTerms::shadow`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<bool>,
    /// See [`QuotaTerms::weight`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// See [`QuotaTerms::floor`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floor: Option<u64>,
    /// See [`QuotaTerms::cap`]; null: none.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub cap: Option<Option<u64>>,
    /// See [`QuotaTerms::priority`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<u8>,
    /// Who, why, and on which version.
    pub signed: Signed,
}

impl QuotaChange {
    /// A change of nothing yet.
    #[must_use]
    pub const fn of(subject: QuotaSubject, kind: QuotaKind, signed: Signed) -> Self {
        Self {
            subject,
            kind,
            mode: None,
            rate: None,
            burst: None,
            outage: None,
            shadow: None,
            weight: None,
            floor: None,
            cap: None,
            priority: None,
            signed,
        }
    }
}

/// Takes a field that is there, if only as null, for given.
fn given<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Option<u64>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// Who wants a change, why, and on which version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signed {
    /// The operator's name: 1 to 256 characters.
    pub author: String,
    /// Why: up to 1,024 characters.
    #[serde(default)]
    pub reason: String,
    /// Refuse the change unless the quota is at this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_version: Option<u64>,
}

/// Back to an earlier version's values, as a new version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RollbackRequest {
    /// Whose quota.
    pub subject: QuotaSubject,
    /// Of which capacity.
    pub kind: QuotaKind,
    /// The version whose values shall be in force; a boost's lasting ones.
    pub version: u64,
    /// Who, why, and on which version.
    pub signed: Signed,
}

/// A higher rate for some time, from now. A boost of a boosted quota replaces its boost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BoostRequest {
    /// Whose quota.
    pub subject: QuotaSubject,
    /// Of which capacity.
    pub kind: QuotaKind,
    /// To what.
    pub to: BoostRate,
    /// For so many milliseconds: 1 s to 30 days.
    pub for_ms: u64,
    /// Who, why, and on which version.
    pub signed: Signed,
}

/// What a boost raises a rate to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BoostRate {
    /// So many times the rate that it returns to, and of its burst.
    Factor(f64),
    /// So many units per second; the burst grows in proportion.
    Rate(u64),
}

/// The end of a boost before its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndBoostRequest {
    /// Whose quota.
    pub subject: QuotaSubject,
    /// Of which capacity.
    pub kind: QuotaKind,
    /// Who, why, and on which version.
    pub signed: Signed,
}

/// What has changed since a revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchAnswer {
    /// Ask for what follows this one.
    pub revision: u64,
    /// What happened since the asked revision is not known any more, or none was asked for: `changes` is
    /// every quota in force.
    pub reset: bool,
    /// In the order of the changes.
    pub changes: Vec<QuotaEvent>,
}

/// One change that a watcher hears of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "nearly all are changes, and a watcher holds few at once")]
pub enum QuotaEvent {
    /// A new version is in force.
    Changed(QuotaState),
    /// The table is gone, and its quotas with it.
    Removed(QuotaSubject),
}

/// Why a quota was not shown or changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(tag = "error", rename_all = "snake_case")]
pub enum QuotaError {
    /// Another member leads the control plane, or none does.
    #[error("this member does not lead the control plane{}", leader_hint(.leader.as_deref()))]
    NotLeader {
        /// `host:port` of the leader's transport, if it is known.
        leader: Option<String>,
    },
    /// It may or may not have taken place: look before trying again.
    #[error("the catalog cannot be written now; the change may or may not have taken place")]
    Unavailable,
    /// Too many changes wait; this one did not take place.
    #[error("too many changes wait for the control plane")]
    Overloaded,
    /// No table has this name.
    #[error("there is no table {table}")]
    UnknownTable {
        /// The name.
        table: String,
    },
    /// The table is being deleted.
    #[error("the table {table} is being deleted")]
    TableDeleting {
        /// The name.
        table: String,
    },
    /// There are no secondary indexes yet.
    #[error("quotas of secondary indexes are not supported yet: {subject}")]
    IndexesUnsupported {
        /// The index.
        subject: QuotaSubject,
    },
    /// The subject has no quota of this kind.
    #[error("{subject} has no {kind} quota")]
    NoQuota {
        /// Whose.
        subject: QuotaSubject,
        /// Of which capacity.
        kind: QuotaKind,
    },
    /// A value is not possible.
    #[error("{field}: {message}")]
    Invalid {
        /// Which.
        field: String,
        /// Why.
        message: String,
    },
    /// A rate is above what a subject of this kind may have.
    #[error("{asked} units per second are above the limit of {limit}")]
    LimitExceeded {
        /// What was asked for, units per second.
        asked: u64,
        /// The limit, units per second.
        limit: u64,
    },
    /// The floors of all tables together must fit into the account's quota.
    #[error("the tables' floors ({floors} units per second) do not fit into the account's quota ({rate})")]
    FloorsExceedAccount {
        /// Their sum, units per second.
        floors: u64,
        /// The account's rate, units per second.
        rate: u64,
    },
    /// The quota has changed since.
    #[error("the quota is at version {present}, not {expected}")]
    VersionMismatch {
        /// The version that the change was meant for.
        expected: u64,
        /// The version in force; 0: there is none.
        present: u64,
    },
    /// The history does not have that version.
    #[error("version {version} is not in the history, which goes from {oldest} to {newest}")]
    UnknownVersion {
        /// The version asked for.
        version: u64,
        /// The oldest that is kept.
        oldest: u64,
        /// The version in force.
        newest: u64,
    },
    /// There is no boost to end.
    #[error("{subject}'s {kind} quota is not boosted")]
    NotBoosted {
        /// Whose.
        subject: QuotaSubject,
        /// Of which capacity.
        kind: QuotaKind,
    },
    /// More principals than this cannot have quotas.
    #[error("{limit} principals have quotas already")]
    TooManyPrincipals {
        /// How many may.
        limit: usize,
    },
}

fn leader_hint(leader: Option<&str>) -> String {
    leader.map_or_else(String::new, |leader| format!("; {leader} does"))
}

impl QuotaError {
    /// A value that is not possible.
    pub(crate) fn invalid(field: &str, message: impl Into<String>) -> Self {
        Self::Invalid { field: field.to_owned(), message: message.into() }
    }
}
