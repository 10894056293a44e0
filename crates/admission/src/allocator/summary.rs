//! What operators see of a bucket and of its shares, and what owners hand to each other.

use std::time::Duration;

use units::{Epoch, MilliUnits, MilliUnitsPerSecond, ProxyId};

use crate::lease::{BucketId, Mode, PoolColour, Quota};

/// One bucket at its owner.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BucketSummary {
    /// The quota in force.
    pub quota: Quota,
    /// Tokens in the pool.
    pub pool: MilliUnits,
    /// Σ`out`.
    pub leased: MilliUnitsPerSecond,
    /// Σ`hold`.
    pub held: MilliUnits,
    /// Rate kept for proxies that are not tracked.
    pub reserved: MilliUnitsPerSecond,
    /// Tokens that those may hold.
    pub reserved_tokens: MilliUnits,
    /// Σ of the smoothed offered rates.
    pub demand: MilliUnitsPerSecond,
    /// Σ of what proxies admitted, as each last showed.
    pub admitted: MilliUnitsPerSecond,
    /// Σ of what they refused.
    pub throttled: MilliUnitsPerSecond,
    /// Proxies that are tracked.
    pub proxies: usize,
    /// How tokens reach proxies.
    pub mode: Mode,
    /// How much the pool has.
    pub colour: PoolColour,
    /// The epoch of its grants.
    pub epoch: Epoch,
    /// Only what proxies show is leased.
    pub learning: bool,
    /// The worst window of (admitted − R·τ) that the reports have shown: above `quota.burst` it is
    /// over-admission. Reports come in steps of an interval, and so does this.
    pub worst_window: MilliUnits,
    /// Jain's index of the proxies' admitted parts of what they were offered: 1 when all are alike.
    pub fairness: f64,
    /// The proxy with the most overdrafts (see [`ShareSummary::overdrafts`]), and how many, if there are any.
    pub overdrawn: Option<(ProxyId, u16)>,
}

impl BucketSummary {
    /// How far the worst window was above the bound.
    #[must_use]
    pub fn over_admission(&self) -> MilliUnits {
        self.worst_window.saturating_sub(self.quota.burst)
    }
}

/// One proxy's share of a bucket.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ShareSummary {
    /// Whose.
    pub proxy: ProxyId,
    /// The highest rate that it may be using.
    pub out: MilliUnitsPerSecond,
    /// The most tokens that it may be holding.
    pub hold: MilliUnits,
    /// Its smoothed offered rate.
    pub demand: MilliUnitsPerSecond,
    /// What it admitted, as it last showed.
    pub admitted: MilliUnitsPerSecond,
    /// What it refused.
    pub throttled: MilliUnitsPerSecond,
    /// Since its last report.
    pub age: Duration,
    /// Reports that showed more admitted than its leases can explain, and restarts.
    pub overdrafts: u16,
    /// Its lease has ended, and it counts as its safe rate.
    pub silent: bool,
}

/// A bucket's sums, as one owner hands them to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketState {
    /// Which bucket.
    pub bucket: BucketId,
    /// Under which the old owner granted.
    pub epoch: Epoch,
    /// Tokens in the pool.
    pub pool: MilliUnits,
    /// The quota in force.
    pub quota: Quota,
    /// For so long, proxies that are not tracked may still use wide allowances.
    pub wide_for: Duration,
    /// The proxies that are tracked.
    pub shares: Vec<ShareState>,
}

/// One proxy's share, as one owner hands it to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShareState {
    /// Whose.
    pub proxy: ProxyId,
    /// The proxy's incarnation.
    pub session: u64,
    /// Admitted, as last reported.
    pub admitted: MilliUnits,
    /// Refused, as last reported.
    pub throttled: MilliUnits,
    /// Given back, as last reported.
    pub returned: MilliUnits,
    /// The highest rate that it may be using.
    pub out: MilliUnitsPerSecond,
    /// The most tokens that it may be holding.
    pub hold: MilliUnits,
    /// Its rate once its lease has run out.
    pub safe_rate: MilliUnitsPerSecond,
    /// Its smoothed offered rate.
    pub demand: MilliUnitsPerSecond,
    /// Its expected shortfall.
    pub need: MilliUnits,
}

/// How often an invariant was seen broken. All zeros, always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Violations {
    /// I1: Σ`out` ≤ R.
    pub leased_rates: u64,
    /// I2: L + Σ`hold` ≤ B.
    pub tokens: u64,
    /// I4: a raise comes only out of what is free.
    pub raises: u64,
    /// I5: a silent proxy counts until its lease has certainly ended.
    pub silences: u64,
    /// The running sums are those of the shares.
    pub sums: u64,
}

impl Violations {
    /// Whether there were none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Adds another allocator's.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            leased_rates: self.leased_rates + other.leased_rates,
            tokens: self.tokens + other.tokens,
            raises: self.raises + other.raises,
            silences: self.silences + other.silences,
            sums: self.sums + other.sums,
        }
    }
}
