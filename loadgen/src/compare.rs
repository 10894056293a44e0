//! Whether two sides differ, from runs of both.
//!
//! Runs come in pairs, one of each side, next to each other in time, so that what the machine does to one it does
//! to the other. Of two successive pairs one begins with A and the other with B, which is drawn: whatever the first
//! run of a pair does to the second falls on both sides alike. A ratio is that of a pair; its interval is Student's
//! t on the logarithms of the ratios, wide enough for all metrics' intervals to hold together.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::result::{RunResult, SCHEMA};
use crate::statistics::{Interval, each_of, independent_ratio, paired_ratio};

/// Ratios closer to 1 than this are never called a difference: histograms keep three significant digits.
pub const MARGIN: f64 = 0.001;

/// An interval whose ends differ by a larger factor, and that allows equality, says nothing: a side that is half as
/// fast again could hide in it.
pub const WIDEST: f64 = 2.0;

/// One of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The one that is compared with.
    A,
    /// The one that is looked at: ratios are `B ÷ A`.
    B,
}

impl Side {
    const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// In which order the runs of each pair follow one another.
pub fn order(pairs: usize, rng: &mut impl Rng) -> Vec<[Side; 2]> {
    let mut order = Vec::with_capacity(pairs);
    while order.len() < pairs {
        let first = if rng.random() { Side::A } else { Side::B };
        order.push([first, first.other()]);
        order.push([first.other(), first]);
    }
    order.truncate(pairs);
    order
}

/// What is compared. In JSON its name: `rate`, `latency_p50`, `latency_p99`, `cpu:NAME`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Metric {
    /// Successful requests per second.
    Rate,
    /// Latency of successful requests from the intended time, 50th percentile.
    LatencyP50,
    /// The same, 99th percentile.
    LatencyP99,
    /// CPU of a process on this machine, per attempt.
    Cpu(String),
}

impl Metric {
    /// In tables.
    #[must_use]
    pub fn title(&self) -> String {
        match self {
            Self::Rate => "successful requests/s".to_owned(),
            Self::LatencyP50 => "latency p50".to_owned(),
            Self::LatencyP99 => "latency p99".to_owned(),
            Self::Cpu(process) => format!("CPU per request, {process}"),
        }
    }

    /// A value as people read it.
    #[must_use]
    pub fn text(&self, value: f64) -> String {
        match self {
            Self::Rate => format!("{value:.1}/s"),
            Self::Cpu(_) => format!("{value:.2} µs"),
            Self::LatencyP50 | Self::LatencyP99 => format!("{:.3} ms", value / 1e3),
        }
    }
}

impl From<Metric> for String {
    fn from(metric: Metric) -> Self {
        match metric {
            Metric::Rate => "rate".to_owned(),
            Metric::LatencyP50 => "latency_p50".to_owned(),
            Metric::LatencyP99 => "latency_p99".to_owned(),
            Metric::Cpu(process) => format!("cpu:{process}"),
        }
    }
}

impl TryFrom<String> for Metric {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        match name.as_str() {
            "rate" => Ok(Self::Rate),
            "latency_p50" => Ok(Self::LatencyP50),
            "latency_p99" => Ok(Self::LatencyP99),
            name => match name.strip_prefix("cpu:") {
                Some(process) => Ok(Self::Cpu(process.to_owned())),
                None => Err(format!("`{name}` is no metric of a comparison")),
            },
        }
    }
}

/// One run's values; times in microseconds.
pub type Measured = BTreeMap<Metric, f64>;

/// What a run contributes.
#[must_use]
pub fn measured(result: &RunResult) -> Measured {
    let mut measured = Measured::from([
        (Metric::Rate, result.successes_per_second(None)),
        (Metric::LatencyP50, result.total.latency.p50_us as f64),
        (Metric::LatencyP99, result.total.latency.p99_us as f64),
    ]);
    for process in &result.processes {
        measured.insert(Metric::Cpu(process.name.clone()), process.cpu_us_per_attempt);
    }
    measured
}

/// What is known about one metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// The interval allows that both are equal.
    NoDifferenceDetectable,
    /// B's value is higher.
    Higher,
    /// B's value is lower.
    Lower,
    /// The interval is so wide that it says nothing: too few runs, or too noisy ones.
    TooNoisy,
    /// Too few runs, or none with a value.
    Unknown,
}

impl Row {
    /// The finding, as people read it.
    #[must_use]
    pub fn text(&self) -> String {
        match (self.finding, self.interval) {
            (Finding::NoDifferenceDetectable, _) => "no difference detectable".to_owned(),
            (Finding::Higher, _) => "B is higher".to_owned(),
            (Finding::Lower, _) => "B is lower".to_owned(),
            (Finding::TooNoisy, Some((low, high))) => {
                format!("too few or too noisy runs to say: interval {low:.3}…{high:.3}")
            }
            (Finding::TooNoisy | Finding::Unknown, _) => {
                "too few runs to say, or nothing measured".to_owned()
            }
        }
    }
}

/// One metric's comparison.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Which.
    pub metric: Metric,
    /// A's geometric mean.
    pub a: f64,
    /// B's.
    pub b: f64,
    /// `B ÷ A`.
    pub ratio: f64,
    /// Where the ratio is, with the comparison's confidence for all rows together; none with too few runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<(f64, f64)>,
    /// What that says.
    pub finding: Finding,
}

/// A comparison.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The form's name, as in results.
    pub schema: String,
    /// What the sides are, in words.
    pub sides: [String; 2],
    /// Whether runs came in pairs.
    pub paired: bool,
    /// Runs of A and of B.
    pub runs: [usize; 2],
    /// With which all intervals together hold.
    pub confidence: f64,
    /// By metric.
    pub rows: Vec<Row>,
    /// What the runs measured, in order.
    pub measured: [Vec<Measured>; 2],
}

impl Comparison {
    /// Compares runs that came in pairs (`paired`: the first of `a` with the first of `b`, and so on), or not.
    #[must_use]
    pub fn of(sides: [String; 2], a: Vec<Measured>, b: Vec<Measured>, paired: bool, confidence: f64) -> Self {
        let paired = paired && a.len() == b.len();
        let in_every_run = |metric: &Metric| a.iter().chain(&b).all(|run| run.contains_key(metric));
        let metrics: Vec<_> = a
            .first()
            .into_iter()
            .flat_map(BTreeMap::keys)
            .filter(|metric| in_every_run(metric))
            .cloned()
            .collect();
        let each = each_of(metrics.len(), confidence);
        let rows = metrics.into_iter().map(|metric| row(metric, (&a, &b), paired, each)).collect();
        Self {
            schema: SCHEMA.to_owned(),
            sides,
            paired,
            runs: [a.len(), b.len()],
            confidence,
            rows,
            measured: [a, b],
        }
    }

    /// Whether any metric differs.
    #[must_use]
    pub fn differs(&self) -> bool {
        self.rows.iter().any(|row| matches!(row.finding, Finding::Higher | Finding::Lower))
    }
}

fn row(metric: Metric, (a, b): (&[Measured], &[Measured]), paired: bool, confidence: f64) -> Row {
    let of = |runs: &[Measured]| runs.iter().map(|run| run[&metric]).collect::<Vec<_>>();
    let (a, b) = (of(a), of(b));
    let interval = match paired {
        true => paired_ratio(&a.iter().copied().zip(b.iter().copied()).collect::<Vec<_>>(), confidence),
        false => independent_ratio(&a, &b, confidence),
    };
    let (a, b) = (geometric_mean(&a), geometric_mean(&b));
    Row {
        metric,
        a,
        b,
        ratio: b / a,
        interval: interval.map(|interval| (interval.low, interval.high)),
        finding: interval.map_or(Finding::Unknown, finding),
    }
}

fn finding(interval: Interval) -> Finding {
    match interval {
        wide if wide.allows_equality(MARGIN)
            && (wide.high / wide.low).partial_cmp(&WIDEST).is_none_or(Ordering::is_gt) =>
        {
            Finding::TooNoisy
        }
        equal if equal.allows_equality(MARGIN) => Finding::NoDifferenceDetectable,
        higher if higher.middle > 1.0 => Finding::Higher,
        _ => Finding::Lower,
    }
}

/// Zero with a value that is not positive.
fn geometric_mean(values: &[f64]) -> f64 {
    (values.iter().map(|value| value.ln()).sum::<f64>() / values.len().max(1) as f64).exp()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    const CONFIDENCE: f64 = 0.99;

    /// A machine as noisy as ours: its speed wanders (and what it does to one run it mostly does to the next), the
    /// second run of a pair is slower, neighbours hit single runs hard, and the tail suffers most.
    struct Machine {
        rng: ChaCha8Rng,
        speed: f64,
    }

    impl Machine {
        /// Measures one side, which is slower than the other by `factor`.
        fn run(&mut self, factor: f64, second: bool) -> Measured {
            self.speed = 0.9 * self.speed + 0.06 * self.normal();
            let position = if second { 0.03 } else { 0.0 };
            let hit = if self.rng.random_bool(0.1) { self.rng.random_range(0.0..0.8) } else { 0.0 };
            let slow = self.speed + position + factor.ln();
            let noise = |machine: &mut Self, width: f64| width * machine.normal();
            Measured::from([
                (Metric::Rate, (6.0 - 0.01 * (slow + hit) + noise(self, 0.001)).exp()),
                (Metric::LatencyP50, (7.0 + slow + 0.2 * hit + noise(self, 0.05)).exp()),
                (Metric::LatencyP99, (9.0 + slow + hit + noise(self, 0.2)).exp()),
                (Metric::Cpu("proxy".into()), (3.0 + 0.3 * slow + 0.1 * hit + noise(self, 0.02)).exp()),
            ])
        }

        /// Twelve draws of a uniform variable are normal enough here.
        fn normal(&mut self) -> f64 {
            (0..12).map(|_| self.rng.random::<f64>()).sum::<f64>() - 6.0
        }

        fn compare(&mut self, pairs: usize, factor: f64) -> Comparison {
            let (mut a, mut b) = (Vec::new(), Vec::new());
            for order in order(pairs, &mut self.rng) {
                for (second, side) in [false, true].into_iter().zip(order) {
                    match side {
                        Side::A => a.push(self.run(1.0, second)),
                        Side::B => b.push(self.run(factor, second)),
                    }
                }
            }
            Comparison::of(["a".into(), "b".into()], a, b, true, CONFIDENCE)
        }
    }

    fn machine(seed: u64) -> Machine {
        Machine { rng: ChaCha8Rng::seed_from_u64(seed), speed: 0.0 }
    }

    #[test]
    fn of_a_thousand_comparisons_of_a_side_with_itself_at_most_one_in_fifty_finds_a_difference() {
        for pairs in [4, 10] {
            let mut machine = machine(1);
            let found = (0..1000).filter(|_| machine.compare(pairs, 1.0).differs()).count();
            assert!(found <= 20, "{found} of 1000 with {pairs} pairs");
        }
    }

    #[test]
    fn a_side_that_is_half_slower_is_found_nearly_always() {
        let mut machine = machine(2);
        let found = (0..200)
            .filter(|_| {
                let comparison = machine.compare(10, 1.5);
                let p50 = comparison.rows.iter().find(|row| row.metric == Metric::LatencyP50).unwrap();
                p50.finding == Finding::Higher
            })
            .count();
        assert!(found >= 180, "{found} of 200");
    }

    #[test]
    fn each_side_begins_half_of_the_pairs() {
        let order = order(11, &mut ChaCha8Rng::seed_from_u64(3));
        assert_eq!(order.len(), 11);
        assert!(order.iter().all(|[first, second]| first != second));
        let begun_by_a = order.iter().filter(|[first, _]| *first == Side::A).count();
        assert!((5..=6).contains(&begun_by_a), "{begun_by_a}");
    }

    #[test]
    fn the_ratio_is_b_over_a_and_lies_in_its_interval() {
        let comparison = machine(4).compare(10, 1.5);
        let p50 = comparison.rows.iter().find(|row| row.metric == Metric::LatencyP50).unwrap();
        let (low, high) = p50.interval.unwrap();
        assert!(low < p50.ratio && p50.ratio < high && low > 1.0 && high < 2.0, "{p50:?}");
    }

    #[test]
    fn what_only_some_runs_measured_is_not_compared_and_one_run_each_has_no_interval() {
        let mut machine = machine(5);
        let (a, mut b) = (machine.run(1.0, false), machine.run(1.0, true));
        b.remove(&Metric::Cpu("proxy".into()));
        let comparison = Comparison::of(["a".into(), "b".into()], vec![a], vec![b], true, CONFIDENCE);
        assert_eq!(comparison.rows.len(), 3);
        assert!(comparison.rows.iter().all(|row| row.finding == Finding::Unknown && row.interval.is_none()));
        assert!(!comparison.differs());
    }

    #[test]
    fn an_interval_as_wide_as_a_factor_of_two_finds_nothing() {
        let run = |value: f64| Measured::from([(Metric::LatencyP50, value)]);
        let a = [100.0, 100.0, 100.0, 100.0].map(run).to_vec();
        let b = [80.0, 130.0, 70.0, 150.0].map(run).to_vec();
        let comparison = Comparison::of(["a".into(), "b".into()], a, b, true, CONFIDENCE);
        assert_eq!(comparison.rows[0].finding, Finding::TooNoisy);
        assert!(comparison.rows[0].text().starts_with("too few or too noisy runs to say: interval 0."));
        assert!(!comparison.differs());
    }

    #[test]
    fn a_difference_below_the_histograms_resolution_is_none() {
        let run = |value: f64| Measured::from([(Metric::LatencyP50, value)]);
        let comparison = Comparison::of(
            ["a".into(), "b".into()],
            vec![run(1000.0); 4],
            vec![run(1000.5); 4],
            true,
            CONFIDENCE,
        );
        assert_eq!(comparison.rows[0].finding, Finding::NoDifferenceDetectable);
        let comparison = Comparison::of(
            ["a".into(), "b".into()],
            vec![run(1000.0); 4],
            vec![run(1010.0); 4],
            true,
            CONFIDENCE,
        );
        assert_eq!(comparison.rows[0].finding, Finding::Higher);
    }
}
