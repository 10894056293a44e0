//! What the owner sees happen to its buckets, sampled about once a second: smoothed rates, and the peaks
//! that the control plane is told of.

use std::collections::BTreeMap;
use std::time::Duration;

use admission::{BucketId, BucketSummary, Level, Quota};
use units::{MilliUnitsPerSecond, Timestamp};
use wire::proto::control::Peak;

/// Rates follow what is reported with this half-life.
const HALF_LIFE: Duration = Duration::from_secs(1);

/// What happens to one bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Activity {
    /// Admitted, smoothed.
    pub(crate) admitted: MilliUnitsPerSecond,
    /// Refused, smoothed.
    pub(crate) throttled: MilliUnitsPerSecond,
    /// The highest smoothed rate since peaks were last taken.
    peak: MilliUnitsPerSecond,
    sampled_at: Timestamp,
}

impl Activity {
    /// What happens to a bucket to which nothing happened before.
    const fn begin(admitted: MilliUnitsPerSecond, throttled: MilliUnitsPerSecond, now: Timestamp) -> Self {
        Self { admitted, throttled, peak: admitted, sampled_at: now }
    }

    /// The proxies admit and refuse at these rates, by their last reports.
    fn sample(&mut self, admitted: MilliUnitsPerSecond, throttled: MilliUnitsPerSecond, now: Timestamp) {
        let elapsed = now.since(self.sampled_at);
        self.sampled_at = now;
        self.admitted = smoothed(self.admitted, admitted, elapsed);
        self.throttled = smoothed(self.throttled, throttled, elapsed);
        self.peak = self.peak.max(self.admitted);
    }

    fn is_over(&self) -> bool {
        self.admitted.get() == 0 && self.throttled.get() == 0
    }
}

/// The buckets that something happens to.
#[derive(Debug, Default)]
pub(crate) struct Activities {
    by_bucket: BTreeMap<BucketId, Activity>,
}

impl Activities {
    /// Looks at every bucket; forgets those that nothing happens to any more. As many are kept as there are
    /// buckets, 50 bytes each.
    pub(crate) fn sample(
        &mut self,
        buckets: impl Iterator<Item = (BucketId, BucketSummary)>,
        now: Timestamp,
    ) {
        for (id, BucketSummary { admitted, throttled, .. }) in buckets {
            if admitted.get() > 0 || throttled.get() > 0 {
                let began = Activity::begin(admitted, throttled, now);
                self.by_bucket.entry(id).or_insert(began).sample(admitted, throttled, now);
            }
        }
        self.by_bucket.retain(|_, activity| {
            if activity.sampled_at < now {
                let nothing = MilliUnitsPerSecond::default();
                activity.sample(nothing, nothing, now);
            }
            !activity.is_over()
        });
    }

    /// What happens to `bucket`, if anything.
    pub(crate) fn of(&self, bucket: BucketId) -> Option<&Activity> {
        self.by_bucket.get(&bucket)
    }

    /// The highest rates since this was last asked, of tables' buckets that used more than half of their
    /// quota: a lower peak can raise nobody's on-demand capacity.
    pub(crate) fn take_peaks(&mut self, quota_of: impl Fn(BucketId) -> Option<Quota>) -> Vec<Peak> {
        let tables = self.by_bucket.iter_mut().filter(|(id, _)| id.level() == Level::Table);
        tables
            .filter_map(|(id, activity)| {
                let peak = std::mem::replace(&mut activity.peak, activity.admitted);
                let quota = quota_of(*id)?;
                (peak.get() > quota.rate.get() / 2).then(|| Peak { bucket: id.get(), rate_milli: peak.get() })
            })
            .collect()
    }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a shown rate, far below 2^53 and never negative"
)]
fn smoothed(
    before: MilliUnitsPerSecond,
    sample: MilliUnitsPerSecond,
    elapsed: Duration,
) -> MilliUnitsPerSecond {
    let kept = (-elapsed.as_secs_f64() / HALF_LIFE.as_secs_f64()).exp2();
    let (before, sample) = (before.get() as f64, sample.get() as f64);
    MilliUnitsPerSecond::new((sample + (before - sample) * kept) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_nanos(seconds * 1_000_000_000)
    }

    fn rate(units: u64) -> MilliUnitsPerSecond {
        MilliUnitsPerSecond::from_units(units)
    }

    /// Samples `admitted[i]` units per second over the `i`-th second.
    fn after(admitted: &[u64]) -> Activity {
        let mut activity = Activity::begin(rate(0), rate(0), at(0));
        for (second, units) in (1..).zip(admitted) {
            activity.sample(rate(*units), rate(0), at(second));
        }
        activity
    }

    #[test]
    fn rates_follow_what_is_reported_within_seconds() {
        let activity = after(&[80; 8]);
        assert!((79_000..=80_000).contains(&activity.admitted.get()), "{activity:?}");
        let falling = after(&[80, 80, 80, 80, 80, 80, 0, 0, 0, 0]);
        assert!(falling.admitted.get() < 6_000, "{falling:?}");
        assert!(after(&[0; 3]).is_over());
    }
}
