//! What one table's clients experienced, beside *Ideal*: one central bucket that is asked the same.

use std::time::Duration;

use admission::{Quota, TokenBucket};
use units::{MilliUnits, Timestamp};

/// How often the cumulative counters are noted.
pub(crate) const SAMPLE: Duration = Duration::from_millis(10);

/// Cumulative milli-units at one sample.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sample {
    /// What the fleet admitted, late charges included.
    pub(crate) admitted: u64,
    /// What Ideal admitted.
    pub(crate) ideal: u64,
    /// What was asked for.
    pub(crate) offered: u64,
    /// What was refused although Ideal admitted it.
    pub(crate) share_refused: u64,
    /// What the quota's rate earned.
    pub(crate) allowed: u64,
}

/// Counters, samples, and the worst window so far.
#[derive(Debug)]
pub(crate) struct Meter {
    ideal: TokenBucket,
    quota: Quota,
    /// The largest burst that was ever in force.
    burst: u64,
    pub(crate) total: Sample,
    pub(crate) samples: Vec<Sample>,
    allowed_nanos: u128,
    counted_to: Timestamp,
    /// The lowest that (admitted − allowed) has been just before an instant's admissions, and the highest
    /// rise above it: the worst window over all windows.
    lowest: i128,
    worst_rise: i128,
}

/// A moment from which is measured.
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    pub(crate) sample: usize,
    /// Admitted and offered, per proxy.
    pub(crate) proxies: Vec<(u64, u64)>,
}

impl Meter {
    pub(crate) fn new(quota: Quota, now: Timestamp) -> Self {
        Self {
            ideal: TokenBucket::full(quota.rate, quota.burst, now),
            quota,
            burst: quota.burst.get(),
            total: Sample::default(),
            samples: vec![Sample::default()],
            allowed_nanos: 0,
            counted_to: now,
            lowest: 0,
            worst_rise: 0,
        }
    }

    /// The quota changes at this moment.
    pub(crate) fn change_quota(&mut self, quota: Quota, now: Timestamp) {
        self.advance(now);
        self.ideal.reconfigure(quota.rate, quota.burst, now);
        self.burst = self.burst.max(quota.burst.get());
        self.quota = quota;
    }

    /// A client asks; true: Ideal would admit.
    pub(crate) fn ask(&mut self, cost: MilliUnits, now: Timestamp) -> bool {
        self.total.offered += cost.get();
        let admitted = self.ideal.take(cost, now).is_ok();
        if admitted {
            self.total.ideal += cost.get();
        }
        admitted
    }

    /// What a request that Ideal admitted cost besides.
    pub(crate) fn charge_ideal(&mut self, amount: MilliUnits) {
        self.ideal.charge(amount);
        self.total.ideal += amount.get();
    }

    pub(crate) fn refuse(&mut self, cost: MilliUnits, ideal_admitted: bool) {
        if ideal_admitted {
            self.total.share_refused += cost.get();
        }
    }

    /// Closes an instant, in which `admitted` was admitted.
    pub(crate) fn close(&mut self, admitted: u64, now: Timestamp) {
        self.advance(now);
        let allowed = i128::try_from(self.allowed_nanos / 1_000_000_000).expect("rates × times are small");
        let before = i128::from(self.total.admitted) - allowed;
        self.lowest = self.lowest.min(before);
        self.total.admitted += admitted;
        self.worst_rise = self.worst_rise.max(before + i128::from(admitted) - self.lowest);
        if now.as_nanos() >= self.samples.len() as u64 * SAMPLE.as_nanos() as u64 {
            self.samples.push(self.total);
        }
    }

    fn advance(&mut self, now: Timestamp) {
        self.allowed_nanos += u128::from(self.quota.rate.get()) * now.since(self.counted_to).as_nanos();
        self.counted_to = now;
        self.total.allowed = u64::try_from(self.allowed_nanos / 1_000_000_000).unwrap_or(u64::MAX);
    }

    /// The worst window of (admitted − R·τ − B), over all windows, in units; zero when none is above.
    pub(crate) fn excess(&self) -> f64 {
        units(self.worst_rise - i128::from(self.burst)).max(0.0)
    }

    /// The same over windows of one length, in parts of B: 1 is the whole bound.
    pub(crate) fn fill(&self, window: Duration) -> f64 {
        let steps = usize::try_from(window.as_nanos() / SAMPLE.as_nanos()).expect("windows are short");
        let above = |(from, to): (&Sample, &Sample)| {
            let admitted = i128::from(to.admitted - from.admitted);
            admitted - i128::from(to.allowed - from.allowed)
        };
        let worst = self.samples.iter().zip(self.samples.iter().skip(steps)).map(above).max();
        units(worst.unwrap_or(0)) / units(i128::from(self.burst))
    }

    /// The most that was admitted in any window of one length, in percent of what the quota earned in it.
    pub(crate) fn peak(&self, window: Duration) -> f64 {
        let steps = usize::try_from(window.as_nanos() / SAMPLE.as_nanos()).expect("windows are short");
        let last = self.samples.len().saturating_sub(steps + 1);
        (0..last).map(|from| self.percent_of_quota(from, from + steps)).fold(0.0, f64::max)
    }

    /// Which part of Ideal's admissions the fleet admitted between two samples, in percent.
    pub(crate) fn percent_of_ideal(&self, from: usize, to: usize) -> f64 {
        let (from, to) = (self.at(from), self.at(to));
        percent(to.admitted - from.admitted, to.ideal - from.ideal)
    }

    /// Which part of what the quota earned the fleet admitted, in percent.
    pub(crate) fn percent_of_quota(&self, from: usize, to: usize) -> f64 {
        let (from, to) = (self.at(from), self.at(to));
        percent(to.admitted - from.admitted, to.allowed - from.allowed)
    }

    /// Which part of what was offered was refused although Ideal admitted it, in percent.
    pub(crate) fn percent_share_refused(&self, from: usize, to: usize) -> f64 {
        let (from, to) = (self.at(from), self.at(to));
        percent(to.share_refused - from.share_refused, to.offered - from.offered)
    }

    /// Seconds from `from` until every window of `window` samples in the following `horizon` has at least
    /// `floor` percent of Ideal. The horizon's length: never.
    pub(crate) fn convergence(&self, from: usize, window: usize, floor: f64, horizon: usize) -> f64 {
        let last = (from + horizon).min(self.samples.len().saturating_sub(window + 1));
        let bad = (from..last).rev().find(|start| self.percent_of_ideal(*start, start + window) < floor);
        bad.map_or(0.0, |start| (start + 1 - from) as f64 * SAMPLE.as_secs_f64())
    }

    /// The worst window's percent of Ideal.
    pub(crate) fn worst_dip(&self, from: usize, to: usize, window: usize) -> f64 {
        (from..to.saturating_sub(window))
            .map(|start| self.percent_of_ideal(start, start + window))
            .fold(100.0, f64::min)
    }

    /// Per second: second, offered, ideal, admitted, quota, in units per second.
    pub(crate) fn per_second(&self) -> Vec<Vec<f64>> {
        self.per_window(100)
    }

    /// The same per window of so many samples.
    pub(crate) fn per_window(&self, samples: usize) -> Vec<Vec<f64>> {
        let seconds = samples as f64 * SAMPLE.as_secs_f64();
        let rate = |from: u64, to: u64| (to - from) as f64 / 1000.0 / seconds;
        let ends = self.samples.iter().step_by(samples);
        ends.clone()
            .zip(ends.skip(1))
            .enumerate()
            .map(|(index, (from, to))| {
                vec![
                    (index + 1) as f64 * seconds,
                    rate(from.offered, to.offered),
                    rate(from.ideal, to.ideal),
                    rate(from.admitted, to.admitted),
                    rate(from.allowed, to.allowed),
                ]
            })
            .collect()
    }

    /// The index of the newest sample.
    pub(crate) fn now(&self) -> usize {
        self.samples.len() - 1
    }

    fn at(&self, sample: usize) -> Sample {
        self.samples[sample.min(self.samples.len() - 1)]
    }
}

/// Jain's index of fairness: 1 when all are equal.
pub(crate) fn jain(values: &[f64]) -> f64 {
    let sum: f64 = values.iter().sum();
    let squares: f64 = values.iter().map(|value| value * value).sum();
    if squares == 0.0 { 1.0 } else { sum * sum / (values.len() as f64 * squares) }
}

fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 100.0 } else { part as f64 * 100.0 / whole as f64 }
}

fn units(milli: i128) -> f64 {
    milli as f64 / 1000.0
}
