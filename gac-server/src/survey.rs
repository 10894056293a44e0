//! What was found when all buckets were looked through: sums, and the worst of them.

use std::collections::BTreeMap;

use admission::{Allocator, BucketSummary, Mode, Ring, Violations};
use units::{ProxyId, Timestamp};

use crate::inspection::ModeCounts;

/// Proxies that are suspected at most; a fleet in which more lie has other troubles.
const MAX_SUSPECTS: usize = 1_000;

/// Sums and extremes over a server's buckets.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Survey {
    pub(crate) buckets: u64,
    pub(crate) handing_over: u64,
    pub(crate) modes: ModeCounts,
    pub(crate) fleet: u32,
    pub(crate) learning: bool,
    pub(crate) frozen: bool,
    pub(crate) ring_epoch: u64,
    /// Σ of Σout.
    pub(crate) out: u64,
    pub(crate) held: u64,
    pub(crate) pool: u64,
    pub(crate) worst_out_ratio: f64,
    /// Of the bucket nearest to its bound: what was admitted too much, and the bound.
    pub(crate) worst_over_admission: (u64, u64),
    pub(crate) worst_jain_index: f64,
    /// Of the proxies that showed more admitted than their leases explain, or keep starting anew: how often,
    /// summed over the buckets in which each is the worst.
    pub(crate) suspects: BTreeMap<ProxyId, u64>,
    /// Sums of all buckets', and of those that are gone.
    pub(crate) violations: Violations,
}

impl Default for Survey {
    /// Of no buckets.
    fn default() -> Self {
        Self {
            buckets: 0,
            handing_over: 0,
            modes: ModeCounts::default(),
            fleet: 0,
            learning: false,
            frozen: false,
            ring_epoch: 0,
            out: 0,
            held: 0,
            pool: 0,
            worst_out_ratio: 0.0,
            worst_over_admission: (0, 0),
            worst_jain_index: 1.0,
            suspects: BTreeMap::new(),
            violations: Violations::default(),
        }
    }
}

impl Survey {
    /// What is known of the server before its buckets are looked at.
    pub(crate) fn of(allocator: &Allocator, now: Timestamp) -> Self {
        Self {
            handing_over: allocator.handing_over() as u64,
            fleet: allocator.fleet(),
            learning: allocator.is_learning(now),
            frozen: allocator.is_frozen(now) && !allocator.is_drained(),
            ring_epoch: allocator.ring().map_or(0, |ring: &Ring| ring.epoch().get()),
            violations: allocator.violations(),
            ..Self::default()
        }
    }

    /// Adds a bucket.
    pub(crate) fn add(&mut self, bucket: &BucketSummary) {
        self.buckets += 1;
        match bucket.mode {
            Mode::Untracked => self.modes.untracked += 1,
            Mode::Leased => self.modes.leased += 1,
            Mode::Direct => self.modes.direct += 1,
        }
        self.out = self.out.saturating_add(bucket.leased.get());
        self.held = self.held.saturating_add(bucket.held.get());
        self.pool = self.pool.saturating_add(bucket.pool.get());
        let out_ratio = ratio(bucket.leased.get(), bucket.quota.rate.get());
        self.worst_out_ratio = self.worst_out_ratio.max(out_ratio);
        let of_this = (bucket.worst_window.get(), bucket.quota.burst.get());
        self.worst_over_admission = worse(self.worst_over_admission, of_this);
        self.worst_jain_index = self.worst_jain_index.min(bucket.fairness);
        if let Some((proxy, overdrafts)) = bucket.overdrawn {
            self.suspect(proxy, u64::from(overdrafts));
        }
    }

    fn suspect(&mut self, proxy: ProxyId, overdrafts: u64) {
        if self.suspects.len() < MAX_SUSPECTS || self.suspects.contains_key(&proxy) {
            *self.suspects.entry(proxy).or_default() += overdrafts;
        }
    }

    /// Of two shards of a server.
    pub(crate) fn plus(mut self, other: Self) -> Self {
        for (proxy, overdrafts) in other.suspects {
            self.suspect(proxy, overdrafts);
        }
        Self {
            suspects: self.suspects,
            buckets: self.buckets + other.buckets,
            handing_over: self.handing_over + other.handing_over,
            modes: ModeCounts {
                untracked: self.modes.untracked + other.modes.untracked,
                leased: self.modes.leased + other.modes.leased,
                direct: self.modes.direct + other.modes.direct,
            },
            fleet: self.fleet.max(other.fleet),
            learning: self.learning || other.learning,
            frozen: self.frozen || other.frozen,
            ring_epoch: self.ring_epoch.max(other.ring_epoch),
            out: self.out.saturating_add(other.out),
            held: self.held.saturating_add(other.held),
            pool: self.pool.saturating_add(other.pool),
            worst_out_ratio: self.worst_out_ratio.max(other.worst_out_ratio),
            worst_over_admission: worse(self.worst_over_admission, other.worst_over_admission),
            worst_jain_index: self.worst_jain_index.min(other.worst_jain_index),
            violations: self.violations.plus(other.violations),
        }
    }
}

/// The one that is nearer to its bound, or further above it.
fn worse(one: (u64, u64), other: (u64, u64)) -> (u64, u64) {
    // one/bound < other/bound, without dividing.
    let cross = |(over, _): (u64, u64), (_, bound): (u64, u64)| u128::from(over) * u128::from(bound.max(1));
    if cross(one, other) < cross(other, one) { other } else { one }
}

/// `part` of `whole`; of nothing, everything is infinitely much, and nothing is nothing.
#[expect(clippy::cast_precision_loss, reason = "only shown")]
pub(crate) fn ratio(part: u64, whole: u64) -> f64 {
    match (part, whole) {
        (0, _) => 0.0,
        (_, 0) => f64::MAX,
        (part, whole) => part as f64 / whole as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suspects_of_all_shards_are_named_with_their_overdrafts() {
        let of = |suspects: &[(u64, u64)]| {
            let mut survey = Survey::default();
            suspects.iter().for_each(|(proxy, count)| survey.suspect(ProxyId::new(*proxy), *count));
            survey
        };
        let both = of(&[(1, 3), (2, 1), (1, 2)]).plus(of(&[(2, 4), (9, 9)]));
        assert_eq!(both, of(&[(1, 5), (2, 5), (9, 9)]));
    }

    #[test]
    fn the_worst_bucket_is_the_one_nearest_to_its_bound() {
        assert_eq!(worse((5, 100), (2, 10)), (2, 10));
        assert_eq!(worse((5, 10), (40, 100)), (5, 10));
        assert_eq!(worse((0, 0), (1, 100)), (1, 100));
        assert_eq!(worse((1, 0), (50, 100)), (1, 0), "all of it is too much");
    }
}
