//! A run over time: streams put together, and long runs thinned so that a page stays small.

use crate::result::Second;

use super::percentiles;

/// Points of a plot at most: about as many as a picture has pixels for.
pub(super) const MOST_POINTS: usize = 360;

/// Seconds that are looked at: eleven days. A file that claims more must not cost memory for it.
const MOST_SECONDS: usize = 1_000_000;

/// Figures over time.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Timeline {
    /// Seconds per point.
    pub step: u64,
    /// The points, in order, without gaps.
    pub points: Vec<Point>,
}

/// One point: the rates are means per second, the latencies those of the worst second in it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Point {
    /// Seconds since the begin.
    pub at: f64,
    /// Requests due per second.
    pub offered: f64,
    /// Attempts per second.
    pub attempts: f64,
    /// Successes per second.
    pub ok: f64,
    /// Requests throttled in the end per second.
    pub throttled: f64,
    /// Other failures per second.
    pub failed: f64,
    /// 50th, 99th, 99.9th percentile and maximum of latency in microseconds; none without a success.
    pub latency: Option<[f64; 4]>,
    /// 99th percentile of service time in microseconds.
    pub service_p99: Option<f64>,
    /// RCU and WCU of successful requests per second.
    pub units: [f64; 2],
    /// Share of a core that the busiest sending thread used.
    pub own_cpu: f64,
}

impl Timeline {
    /// All of these streams together.
    pub(super) fn of(streams: &[&[Second]]) -> Self {
        let seconds = streams.iter().filter_map(|seconds| Some(seconds.last()?.at + 1)).max().unwrap_or(0);
        let step = step(seconds);
        let mut rows: Vec<Vec<&Second>> = Vec::new();
        for second in streams.iter().copied().flatten() {
            let Some(at) = usize::try_from(second.at).ok().filter(|at| *at < MOST_SECONDS) else { continue };
            rows.resize(rows.len().max(at + 1), Vec::new());
            rows[at].push(second);
        }
        let size = usize::try_from(step).unwrap_or(usize::MAX);
        let points =
            rows.chunks(size).enumerate().map(|(index, rows)| Point::of(index * size, rows)).collect();
        Self { step, points }
    }

    /// Where the points stand.
    pub(super) fn at(&self) -> Vec<f64> {
        self.points.iter().map(|point| point.at).collect()
    }

    /// One figure of each point.
    pub(super) fn values(&self, of: impl Fn(&Point) -> Option<f64>) -> Vec<Option<f64>> {
        self.points.iter().map(of).collect()
    }

    /// How long it is, in seconds.
    #[expect(clippy::cast_precision_loss, reason = "seconds of a run")]
    pub(super) fn seconds(&self) -> f64 {
        self.points.last().map_or(0.0, |point| point.at + self.step as f64)
    }
}

/// Seconds per point, so that there are at most [`MOST_POINTS`]: a round number of them.
fn step(seconds: u64) -> u64 {
    const ROUND: [u64; 12] = [1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900];
    let needed = seconds.div_ceil(MOST_POINTS as u64).max(1);
    ROUND.into_iter().find(|step| *step >= needed).unwrap_or(needed)
}

impl Point {
    #[expect(clippy::cast_precision_loss, reason = "only drawn")]
    fn of(at: usize, rows: &[Vec<&Second>]) -> Self {
        let mut point = Self { at: at as f64, ..Self::default() };
        let mut medians: Vec<f64> = Vec::new();
        for row in rows {
            for second in row {
                point.add(second);
            }
            let Some(latency) = percentiles::of_streams(row) else { continue };
            medians.push(latency[0]);
            let worst = point.latency.get_or_insert(latency);
            *worst = std::array::from_fn(|at| worst[at].max(latency[at]));
        }
        // The worst median would be no median: the one in the middle.
        medians.sort_by(f64::total_cmp);
        if let (Some(latency), Some(median)) = (&mut point.latency, medians.get(medians.len() / 2)) {
            latency[0] = *median;
        }
        let per_second = 1.0 / rows.len().max(1) as f64;
        for rate in
            [&mut point.offered, &mut point.attempts, &mut point.ok, &mut point.throttled, &mut point.failed]
        {
            *rate *= per_second;
        }
        point.units = point.units.map(|units| units * per_second);
        point
    }

    #[expect(clippy::cast_precision_loss, reason = "only drawn")]
    fn add(&mut self, second: &Second) {
        use crate::outcome::Outcome;
        self.offered += second.offered as f64;
        self.attempts += second.attempts as f64;
        for (outcome, count) in &second.outcomes {
            let total = match outcome {
                outcome if outcome.is_success() => &mut self.ok,
                Outcome::Throttled => &mut self.throttled,
                _ => &mut self.failed,
            };
            *total += *count as f64;
        }
        if second.attempts > 0 && second.service_p99_us > 0 {
            let service = second.service_p99_us as f64;
            self.service_p99 = Some(self.service_p99.map_or(service, |most| most.max(service)));
        }
        self.units[0] += second.units.read();
        self.units[1] += second.units.write();
        self.own_cpu = self.own_cpu.max(second.own_cpu);
    }
}
