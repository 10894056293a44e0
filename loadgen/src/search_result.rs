//! What a search for the highest rate found, and from which probes: the form of its JSON.

use serde::{Deserialize, Serialize};

use crate::objective::{Finding, Objective};
use crate::result::RunResult;
use crate::search::{Knee, Purpose, Verdict};
use crate::spec::RunSpec;
use crate::validity::only_fell_behind;

/// A search that has ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SearchResult {
    /// The form's name, as in results of runs.
    pub schema: String,
    /// What was sent; its rates are in proportion to those of the probes.
    pub spec: RunSpec,
    /// What had to hold.
    pub objectives: Vec<Objective>,
    /// What was found; none: the search was stopped.
    pub knee: Option<Knee>,
    /// The same in words.
    pub conclusion: String,
    /// In their order.
    pub probes: Vec<Probe>,
}

/// One short run at one rate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// Requests per second that were asked for.
    pub rate: f64,
    /// Why it was tried.
    pub purpose: Purpose,
    /// What it showed.
    pub verdict: Verdict,
    /// Successful requests per second.
    pub successes: f64,
    /// Latency from the intended time, in microseconds: the median.
    pub p50_us: u64,
    /// The 99th percentile.
    pub p99_us: u64,
    /// Requests that succeeded, in percent.
    pub success: f64,
    /// Requests that were refused for capacity, in percent.
    pub throttled: f64,
    /// What was measured of each objective.
    pub findings: Vec<Finding>,
    /// Why it was invalid.
    pub reasons: Vec<String>,
}

impl Probe {
    /// What a run shows about objectives.
    #[must_use]
    pub fn of(rate: f64, purpose: Purpose, result: &RunResult, objectives: &[Objective]) -> Self {
        let findings: Vec<_> = objectives.iter().map(|objective| objective.holds(result)).collect();
        let held = findings.iter().all(|finding| finding.held);
        let verdict = match (result.validity.valid, held) {
            (true, true) => Verdict::Held,
            (true, false) => Verdict::Missed,
            (false, false) if only_fell_behind(&result.validity) => Verdict::Missed,
            (false, _) => Verdict::Invalid,
        };
        let total = &result.total;
        let share = |count| total.share_of(count).unwrap_or(0.0);
        Self {
            rate,
            purpose,
            verdict,
            successes: result.successes_per_second(None),
            p50_us: total.latency.p50_us,
            p99_us: total.latency.p99_us,
            success: share(total.successes()),
            throttled: share(total.throttled()),
            findings,
            reasons: result.validity.reasons.clone(),
        }
    }
}
