//! The GAC tier's metrics.
//!
//! | metric | labels | what |
//! |---|---|---|
//! | `weir_gac_reports_total` | | reports answered |
//! | `weir_gac_entries_total` | `result` | their entries: `granted`, or `ignored` as older than one already seen |
//! | `weir_gac_granted_milliunits_total` | | tokens given out of pools |
//! | `weir_gac_malformed_total` | | requests that could not be read |
//! | `weir_gac_quotas_total` | `from` | quotas received from the control plane: `push`, `fetch` |
//! | `weir_gac_buckets` | | buckets that somebody uses |
//! | `weir_gac_learning` | | 1 while only what proxies show is leased |
//! | `weir_gac_leased_milliunits_per_second` | | Σ of the leased rates (I1 bounds it per bucket) |
//! | `weir_gac_held_milliunits` | | Σ of the tokens that proxies may hold (I2, with the pools) |
//! | `weir_gac_pool_milliunits` | | Σ of the pools |

use metrics::{Counter, Gauge, counter, gauge};

use units::Timestamp;

use crate::owner::BucketOwner;

/// Handles, made once: a report must not search the registry.
#[derive(Debug)]
pub(crate) struct Metrics {
    pub(crate) reports: Counter,
    pub(crate) granted: Counter,
    pub(crate) ignored: Counter,
    pub(crate) tokens: Counter,
    pub(crate) malformed: Counter,
    pub(crate) quotas_pushed: Counter,
    pub(crate) quotas_fetched: Counter,
    buckets: Gauge,
    learning: Gauge,
    leased: Gauge,
    held: Gauge,
    pool: Gauge,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        Self {
            reports: counter!("weir_gac_reports_total"),
            granted: counter!("weir_gac_entries_total", "result" => "granted"),
            ignored: counter!("weir_gac_entries_total", "result" => "ignored"),
            tokens: counter!("weir_gac_granted_milliunits_total"),
            malformed: counter!("weir_gac_malformed_total"),
            quotas_pushed: counter!("weir_gac_quotas_total", "from" => "push"),
            quotas_fetched: counter!("weir_gac_quotas_total", "from" => "fetch"),
            buckets: gauge!("weir_gac_buckets"),
            learning: gauge!("weir_gac_learning"),
            leased: gauge!("weir_gac_leased_milliunits_per_second"),
            held: gauge!("weir_gac_held_milliunits"),
            pool: gauge!("weir_gac_pool_milliunits"),
        }
    }

    /// Shows what the allocator holds.
    #[expect(clippy::cast_precision_loss, reason = "only shown")]
    pub(crate) fn show(&self, owner: &BucketOwner, now: Timestamp) {
        let (mut leased, mut held, mut pool, mut buckets) = (0.0, 0.0, 0.0, 0.0);
        for shard in owner.shards() {
            let shard = shard.lock();
            for (_, bucket) in shard.summaries() {
                leased += bucket.leased.get() as f64;
                held += bucket.held.get() as f64;
                pool += bucket.pool.get() as f64;
            }
            buckets += shard.bucket_count() as f64;
        }
        self.buckets.set(buckets);
        self.learning.set(f64::from(u8::from(owner.is_learning(now))));
        self.leased.set(leased);
        self.held.set(held);
        self.pool.set(pool);
    }
}
