//! Buckets on their way from one owner to the next (`proto/gac.proto`) and the admission core's types.

use std::time::Duration;

use admission::{BucketId, BucketState, ShareState};
use units::{Epoch, MilliUnits, MilliUnitsPerSecond, ProxyId};

use crate::leases::{millis, quota, terms_to_wire};
use crate::proto::gac;

impl From<&BucketState> for gac::BucketState {
    fn from(state: &BucketState) -> Self {
        Self {
            bucket: state.bucket.get(),
            epoch: state.epoch.get(),
            pool: state.pool.get(),
            quota_version: state.quota.version,
            quota_rate: state.quota.rate.get(),
            quota_burst: state.quota.burst.get(),
            quota_terms: terms_to_wire(state.quota),
            shares: state.shares.iter().map(Into::into).collect(),
            wide_ms: millis(state.wide_for),
        }
    }
}

impl From<&gac::BucketState> for BucketState {
    fn from(state: &gac::BucketState) -> Self {
        Self {
            bucket: BucketId::from_raw(state.bucket),
            epoch: Epoch::new(state.epoch),
            pool: MilliUnits::new(state.pool),
            quota: quota((state.quota_rate, state.quota_burst), state.quota_version, state.quota_terms),
            wide_for: Duration::from_millis(u64::from(state.wide_ms)),
            shares: state.shares.iter().map(Into::into).collect(),
        }
    }
}

impl From<&ShareState> for gac::ShareState {
    fn from(share: &ShareState) -> Self {
        Self {
            proxy: share.proxy.get(),
            session: share.session,
            admitted: share.admitted.get(),
            throttled: share.throttled.get(),
            returned: share.returned.get(),
            out: share.out.get(),
            hold: share.hold.get(),
            safe_rate: share.safe_rate.get(),
            demand: share.demand.get(),
            need: share.need.get(),
        }
    }
}

impl From<&gac::ShareState> for ShareState {
    fn from(share: &gac::ShareState) -> Self {
        Self {
            proxy: ProxyId::new(share.proxy),
            session: share.session,
            admitted: MilliUnits::new(share.admitted),
            throttled: MilliUnits::new(share.throttled),
            returned: MilliUnits::new(share.returned),
            out: MilliUnitsPerSecond::new(share.out),
            hold: MilliUnits::new(share.hold),
            safe_rate: MilliUnitsPerSecond::new(share.safe_rate),
            demand: MilliUnitsPerSecond::new(share.demand),
            need: MilliUnits::new(share.need),
        }
    }
}

#[cfg(test)]
mod tests {
    use admission::{OutagePolicy, Quota};

    use super::*;

    #[test]
    fn a_bucket_survives_the_journey() {
        let share = |n: u64| ShareState {
            proxy: ProxyId::new(n),
            session: n + 1,
            admitted: MilliUnits::new(n + 2),
            throttled: MilliUnits::new(n + 3),
            returned: MilliUnits::new(n + 4),
            out: MilliUnitsPerSecond::new(n + 5),
            hold: MilliUnits::new(n + 6),
            safe_rate: MilliUnitsPerSecond::new(n + 7),
            demand: MilliUnitsPerSecond::new(n + 8),
            need: MilliUnits::new(n + 9),
        };
        let state = BucketState {
            bucket: BucketId::from_raw(41),
            epoch: Epoch::new(2),
            pool: MilliUnits::new(3),
            quota: Quota {
                outage: OutagePolicy::Static,
                shadow: true,
                ..Quota::with_usual_burst(MilliUnitsPerSecond::from_units(5), 6)
            },
            wide_for: Duration::from_millis(7),
            shares: vec![share(100), share(200)],
        };
        assert_eq!(BucketState::from(&gac::BucketState::from(&state)), state);
    }
}
