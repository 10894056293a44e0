//! Due times, one after the other, by inverting the integral of the rate: where the integral reaches the next
//! whole number (even gaps), or the next point of a unit-rate Poisson process (random gaps), a request is due.
//!
//! Source of the method: Çinlar, "Introduction to Stochastic Processes", 1975, §4.7: T₁, T₂, … are a Poisson process of integral Λ
//! exactly if Λ(T₁), Λ(T₂), … are one of rate 1.

use std::f64::consts::TAU;
use std::sync::Arc;
use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::arrivals::{Arrivals, Spacing};

/// Most halvings or Newton steps to find a time in a wave; some 5 are usual, 60 halvings are exact.
const MOST_STEPS: u32 = 64;
/// How exactly the integral is met: a billionth of a request.
const EXACT_ENOUGH: f64 = 1e-9;

/// Due times from the run's begin, ascending.
#[derive(Debug, Clone)]
pub struct Schedule(Source);

#[derive(Debug, Clone)]
enum Source {
    Shaped(Box<Shaped>),
    Recorded { times: Arc<[Duration]>, position: usize },
}

/// The state of a schedule by a shape.
#[derive(Debug, Clone)]
struct Shaped {
    arrivals: Arrivals,
    from: Duration,
    /// How long the stream lasts, in seconds.
    whole: f64,
    rng: ChaCha8Rng,
    number: u64,
    segment: Segment,
    /// Where the integral within the segment has come to.
    reached: f64,
    /// The last time given: rounding must not turn the order.
    last: Duration,
    begun: bool,
}

/// A stretch of time, in seconds since the stream's begin, with a rate that has a formula.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Segment {
    pub(super) begin: f64,
    pub(super) end: f64,
    rate: SegmentRate,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum SegmentRate {
    /// Evenly from the one at the begin to the other at the end.
    Linear { from: f64, to: f64 },
    /// A wave that is at its mean at the begin.
    Sine { mean: f64, swing: f64, period: f64 },
}

impl Schedule {
    pub(super) fn new(arrivals: Arrivals, from: Duration, to: Duration, seed: u64) -> Self {
        let whole = to.saturating_sub(from).as_secs_f64();
        let segment = arrivals.shape.segment(0, 0.0, whole);
        let rng = ChaCha8Rng::seed_from_u64(seed);
        let (number, reached, last, begun) = (0, 0.0, from, false);
        Self(Source::Shaped(Box::new(Shaped {
            arrivals,
            from,
            whole,
            rng,
            number,
            segment,
            reached,
            last,
            begun,
        })))
    }

    /// Due times that were recorded, or reckoned elsewhere; they ascend.
    #[must_use]
    pub const fn recorded(times: Arc<[Duration]>) -> Self {
        Self(Source::Recorded { times, position: 0 })
    }
}

impl Iterator for Schedule {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        match &mut self.0 {
            Source::Shaped(shaped) => shaped.next(),
            Source::Recorded { times, position } => {
                let time = times.get(*position).copied();
                *position += 1;
                time
            }
        }
    }
}

impl Shaped {
    fn next(&mut self) -> Option<Duration> {
        let mut target = self.reached + self.gap();
        loop {
            let area = self.segment.area();
            if target < area {
                break;
            }
            if self.segment.end >= self.whole {
                return None;
            }
            target -= area;
            self.number += 1;
            self.segment = self.arrivals.shape.segment(self.number, self.segment.end, self.whole);
            self.reached = 0.0;
        }
        self.reached = target;
        let at = self.segment.time_of(target);
        self.last = self.last.max(self.from + Duration::from_secs_f64(at));
        (at < self.whole).then_some(self.last)
    }

    /// How much of the integral is between a request and the one before.
    fn gap(&mut self) -> f64 {
        let first = !std::mem::replace(&mut self.begun, true);
        match self.arrivals.spacing {
            // A draw from [0, 1) taken from 1 has a finite logarithm.
            Spacing::Poisson => -(1.0 - self.rng.random::<f64>()).ln(),
            // Not all streams of one rate at the same moments.
            Spacing::Constant if first => self.rng.random::<f64>(),
            Spacing::Constant => 1.0,
        }
    }
}

impl Segment {
    pub(super) const fn linear(begin: f64, end: f64, from: f64, to: f64) -> Self {
        Self { begin, end, rate: SegmentRate::Linear { from, to } }
    }

    pub(super) const fn sine(begin: f64, end: f64, mean: f64, swing: f64, period: f64) -> Self {
        Self { begin, end, rate: SegmentRate::Sine { mean, swing, period } }
    }

    /// The rate at a time within.
    pub(super) fn rate_at(&self, at: f64) -> f64 {
        let since = at - self.begin;
        match self.rate {
            SegmentRate::Linear { from, to } => from + (to - from) * since / (self.end - self.begin),
            SegmentRate::Sine { mean, swing, period } => mean + swing * (TAU * since / period).sin(),
        }
    }

    /// The integral of the rate: how many requests are expected.
    pub(super) fn area(&self) -> f64 {
        self.area_until(self.end - self.begin)
    }

    /// The highest rate within.
    pub(super) fn peak(&self) -> f64 {
        match self.rate {
            SegmentRate::Linear { from, to } => from.max(to),
            SegmentRate::Sine { mean, swing, period } => {
                let crest = (self.begin + period / 4.0).min(self.end);
                if crest < self.end { mean + swing } else { self.rate_at(self.end) }
            }
        }
    }

    fn area_until(&self, since: f64) -> f64 {
        match self.rate {
            SegmentRate::Linear { from, to } => {
                let slope = (to - from) / (self.end - self.begin);
                since * (from + slope * since / 2.0)
            }
            SegmentRate::Sine { mean, swing, period } => {
                mean * since + swing * period / TAU * (1.0 - (TAU * since / period).cos())
            }
        }
    }

    /// When the integral since the begin reaches `area`, which is less than the whole.
    fn time_of(&self, area: f64) -> f64 {
        let since = match self.rate {
            SegmentRate::Linear { from, to } => {
                let slope = (to - from) / (self.end - self.begin);
                // The root of area = from·t + slope·t²/2 in the form that does not cancel out.
                2.0 * area / (from + (from * from + 2.0 * slope * area).max(0.0).sqrt())
            }
            SegmentRate::Sine { mean, .. } => self.search(area, mean),
        };
        self.begin + since
    }

    /// Newton's steps, with halving where they leave the bracket.
    fn search(&self, area: f64, mean: f64) -> f64 {
        let (mut low, mut high) = (0.0, self.end - self.begin);
        let mut since = (area / mean).clamp(low, high);
        for _ in 0..MOST_STEPS {
            let missing = area - self.area_until(since);
            if missing.abs() < EXACT_ENOUGH {
                break;
            }
            if missing > 0.0 {
                low = since
            } else {
                high = since
            }
            let newton = since + missing / self.rate_at(self.begin + since);
            since = if newton > low && newton < high { newton } else { f64::midpoint(low, high) };
        }
        since
    }
}

#[cfg(test)]
mod tests;
