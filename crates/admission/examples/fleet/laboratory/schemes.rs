//! Models of other schemes, for comparison: simple, our own code from public documentation, asked the
//! very same arrivals as our fleet. They are models: what their products do besides is not in them.

mod doorman;
mod quota_assignments;
mod static_shares;
mod trickle_grants;

pub(crate) use doorman::Doorman;
pub(crate) use quota_assignments::QuotaAssignments;
pub(crate) use static_shares::StaticShares;
pub(crate) use trickle_grants::TrickleGrants;

use std::time::Duration;

use admission::{OutagePolicy, Quota};
use units::{MilliUnits, MilliUnitsPerSecond, Timestamp};

use super::simulation::random::{Dice, arrivals_dice};
use super::simulation::{Arrivals, Meter, Pattern};

/// How long a message takes, in seconds: as in our fleet.
const ONE_WAY: f64 = 0.005;

/// A way to share one rate among proxies. Requests cost one unit; time is in seconds.
pub(crate) trait Scheme {
    /// As it is called in tables.
    fn name(&self) -> &'static str;

    /// How many of `requests` the proxy admits at `now`.
    fn admit(&mut self, proxy: usize, requests: u32, now: f64) -> u32;

    /// What its protocol does by `now`; called once an instant.
    fn step(&mut self, now: f64);
}

/// A local bucket of plain numbers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LocalTokens {
    pub(crate) level: f64,
    pub(crate) rate: f64,
    pub(crate) depth: f64,
    refilled_at: f64,
}

impl LocalTokens {
    pub(crate) fn refill(&mut self, now: f64) {
        self.level = (self.level + self.rate * (now - self.refilled_at)).min(self.depth.max(1.0));
        self.refilled_at = now;
    }

    pub(crate) fn take(&mut self, requests: u32, now: f64) -> u32 {
        self.refill(now);
        let taken = requests.min(self.level.max(0.0) as u32);
        self.level -= f64::from(taken);
        taken
    }
}

/// A fleet under a scheme, measured as ours is.
pub(crate) struct Comparison {
    pub(crate) meter: Meter,
    /// Per proxy: admitted and offered.
    pub(crate) counted: Vec<(u64, u64)>,
    scheme: Box<dyn Scheme>,
    demand: Vec<Arrivals>,
    arrivals: Dice,
    now: Timestamp,
    step: Duration,
}

impl Comparison {
    pub(crate) fn new(scheme: Box<dyn Scheme>, seed: u64, proxies: usize, rate: u64, step: Duration) -> Self {
        let quota = Quota {
            rate: MilliUnitsPerSecond::from_units(rate),
            burst: MilliUnits::from_units(rate),
            version: 1,
            outage: OutagePolicy::Strict,
            shadow: false,
        };
        let now = Timestamp::from_nanos(0);
        Self {
            meter: Meter::new(quota, now),
            counted: vec![(0, 0); proxies],
            scheme,
            demand: vec![Arrivals::none(); proxies],
            arrivals: arrivals_dice(seed),
            now,
            step,
        }
    }

    pub(crate) fn demand(&mut self, rate: impl Fn(usize) -> f64) {
        let now = self.now.as_nanos() as f64 / 1e9;
        for (index, demand) in self.demand.iter_mut().enumerate() {
            demand.change(rate(index), Pattern::Steady, now, &mut self.arrivals);
        }
    }

    pub(crate) fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.now < end {
            self.now = self.now + self.step;
            let now = self.now.as_nanos() as f64 / 1e9;
            self.scheme.step(now);
            let mut all = 0;
            for proxy in 0..self.demand.len() {
                let requests = self.demand[proxy].until(now, &mut self.arrivals);
                let admitted = self.scheme.admit(proxy, requests, now);
                (0..requests).for_each(|_| {
                    self.meter.ask(MilliUnits::from_units(1), self.now);
                });
                self.counted[proxy].0 += u64::from(admitted);
                self.counted[proxy].1 += u64::from(requests);
                all += u64::from(admitted) * 1000;
            }
            self.meter.close(all, self.now);
        }
    }
}
