//! The task that looks at all buckets: for leases that ran out and reports that are due, ten times a second; for what `weir top` and
//! the metrics show, once a second.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ::admission::CapacityKind;
use units::{MilliUnits, Timestamp};
use wire::clock;

use super::local_bucket::LocalBucket;
use super::metrics::MODES;
use super::shared::Shared;

/// How often all buckets are looked at for reports that are due.
const LOOK: Duration = Duration::from_millis(100);
/// How often they are counted.
const SECOND: Duration = Duration::from_secs(1);

/// Runs for ever.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut counted_at = clock::now();
    loop {
        tokio::time::sleep(LOOK).await;
        let now = clock::now();
        let fleet = shared.proxies();
        for bucket in &shared.buckets {
            if bucket.is_in_use(now) && bucket.tend(fleet, now) {
                shared.urge(bucket.value());
            }
        }
        if now.since(counted_at) >= SECOND {
            counted_at = now;
            count(&shared, now);
        }
    }
}

/// What the gauges show.
#[derive(Default)]
struct Sums {
    modes: [u32; MODES.len()],
    debts: [MilliUnits; 2],
}

fn count(shared: &Shared, now: Timestamp) {
    let mut sums = Sums::default();
    let mut forgotten = Vec::new();
    for bucket in &shared.buckets {
        bucket.meter.tick(now);
        if !bucket.is_in_use(now) {
            // Nothing to report; but what the owner is about to forget is given up here first.
            bucket.tend(shared.proxies(), now);
        }
        sums.add(&bucket, now);
        if bucket.is_forgotten(now) {
            forgotten.push(bucket.id);
        }
    }
    for id in forgotten {
        shared.buckets.remove_if(&id, |_, bucket| bucket.is_forgotten(now));
    }
    shared.principals.tick(now);
    sums.show(shared);
}

impl Sums {
    fn add(&mut self, bucket: &LocalBucket, now: Timestamp) {
        let kind = usize::from(bucket.id.kind() == CapacityKind::Write);
        self.debts[kind] += bucket.tokens.debt();
        if bucket.is_in_use(now) {
            let mode = MODES.iter().position(|mode| *mode == bucket.mode());
            self.modes[mode.expect("all modes are listed")] += 1;
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "only shown")]
    fn show(&self, shared: &Shared) {
        let metrics = &shared.metrics;
        metrics.buckets.set(shared.buckets.len() as f64);
        metrics.waiting.set(shared.waiting.load(Ordering::Relaxed) as f64);
        metrics.modes.iter().zip(self.modes).for_each(|(gauge, count)| gauge.set(f64::from(count)));
        for (kind, debt) in [CapacityKind::Read, CapacityKind::Write].into_iter().zip(self.debts) {
            metrics.of(kind).debt.set(debt.get() as f64);
        }
    }
}
