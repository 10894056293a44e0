//! When which stream's next request is due, for one of the threads that send.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::spec::RunSpec;
use crate::workload::{Arrivals, Rate, Schedule, Shape};

/// Keeps the warm-up's random gaps apart from the measured part's.
const OF_WARM_UP: u64 = 0x5741_524d;
/// Keeps streams of one seed apart: 2⁶⁴ divided by the golden ratio spreads their numbers evenly.
const PER_STREAM: u64 = 0x9e37_79b9_7f4a_7c15;

/// Due times that take the place of the streams' arrivals: a replay's.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// Of each stream in the spec's order, ascending, from the measured part's begin.
    pub streams: Vec<Arc<[Duration]>>,
}

/// Due times of all streams, ascending, since the run's start (the warm-up's begin). Of all requests of a stream, a
/// part takes each `of`-th, so that together the parts send exactly the schedule.
pub(super) struct DueTimes {
    streams: Vec<Box<dyn Iterator<Item = Duration>>>,
    next: BinaryHeap<Reverse<(Duration, usize)>>,
}

impl DueTimes {
    pub(super) fn new(spec: &RunSpec, recorded: Option<&Recorded>, part: usize, of: usize) -> Self {
        let times = (0..spec.streams.len()).map(|stream| {
            let all = of_stream(spec, recorded, stream);
            Box::new(all.skip(part).step_by(of)) as Box<dyn Iterator<Item = Duration>>
        });
        let mut streams: Vec<_> = times.collect();
        let next =
            (0..).zip(&mut streams).filter_map(|(stream, times)| Some(Reverse((times.next()?, stream))));
        let next = next.collect();
        Self { streams, next }
    }

    /// Nothing is ever due: a closed loop's.
    pub(super) fn none() -> Self {
        Self { streams: Vec::new(), next: BinaryHeap::new() }
    }

    /// When the next request is due.
    pub(super) fn peek(&self) -> Option<Duration> {
        self.next.peek().map(|Reverse((at, _))| *at)
    }

    /// The next request's time and stream, if it is due by `now`.
    pub(super) fn pop_until(&mut self, now: Duration) -> Option<(Duration, usize)> {
        let Reverse((at, stream)) = *self.next.peek()?;
        if at > now {
            return None;
        }
        self.next.pop();
        if let Some(next) = self.streams[stream].next() {
            self.next.push(Reverse((next, stream)));
        }
        Some((at, stream))
    }

    /// From now on nothing is due.
    pub(super) fn stop(&mut self) {
        self.next.clear();
    }
}

fn of_stream(
    spec: &RunSpec,
    recorded: Option<&Recorded>,
    number: usize,
) -> impl Iterator<Item = Duration> + use<> {
    let stream = &spec.streams[number];
    let warm_up = spec.warm_up;
    let end = stream.to.unwrap_or(spec.duration).min(spec.duration);
    let seed = spec.seed.wrapping_add((number as u64).wrapping_mul(PER_STREAM));
    let main = match recorded.and_then(|recorded| recorded.streams.get(number)) {
        Some(times) => Schedule::recorded(Arc::clone(times)),
        None => stream.arrivals.schedule(stream.from, end, seed),
    };
    // Warmed up with what comes first; a stream that begins later finds a warm service.
    let rate = match recorded {
        Some(recorded) => first_rate(recorded.streams.get(number), spec.duration),
        None => stream.arrivals.rate_at(Duration::ZERO, end.saturating_sub(stream.from)),
    };
    let warming = stream.from.is_zero() && rate > 0.0;
    let before =
        Arrivals { shape: Shape::Constant(Rate::per_second(rate)), spacing: stream.arrivals.spacing };
    let before = warming.then(|| before.schedule(Duration::ZERO, warm_up, seed ^ OF_WARM_UP));
    let duration = spec.duration;
    before.into_iter().flatten().chain(main.take_while(move |at| *at < duration).map(move |at| warm_up + at))
}

/// The mean rate of recorded times.
#[expect(clippy::cast_precision_loss, reason = "a rate")]
fn first_rate(times: Option<&Arc<[Duration]>>, over: Duration) -> f64 {
    times.map_or(0.0, |times| times.len() as f64 / over.as_secs_f64().max(1.0))
}

impl fmt::Debug for DueTimes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DueTimes").field("next", &self.next).finish_non_exhaustive()
    }
}
