//! The first thing a reader sees: whether a run is to be believed, and whether it did what it should.

use askama::Template;

use super::figure;
use crate::objective::Finding;
use crate::result::RunResult;

/// The verdict on a run.
#[derive(Template)]
#[template(path = "verdict.html")]
pub(super) struct Verdict {
    /// `good`, `warn` or `bad`.
    tone: &'static str,
    sign: &'static str,
    /// One line.
    pub headline: String,
    /// Why the run is invalid.
    pub reasons: Vec<String>,
    /// The thresholds.
    pub findings: Vec<Finding>,
}

impl Verdict {
    /// Of this run, with what was asked of it.
    pub(super) fn of(result: &RunResult, findings: &[Finding]) -> Self {
        let missed = findings.iter().filter(|finding| !finding.held).count();
        let (tone, sign, headline) = if !result.validity.valid {
            ("bad", "✗", "INVALID run: its figures say nothing about the service".to_owned())
        } else if missed > 0 {
            let are = if missed == 1 { "does" } else { "do" };
            (
                "bad",
                "✗",
                format!("{missed} of {} thresholds {are} not hold; the run is valid", findings.len()),
            )
        } else {
            let held = match findings.len() {
                0 => "Valid run".to_owned(),
                1 => "Valid run, and its threshold holds".to_owned(),
                many => format!("Valid run, and all {many} thresholds hold"),
            };
            let perfect = result.total.successes() == result.total.offered;
            let tone = if perfect || !findings.is_empty() { "good" } else { "warn" };
            let sign = if tone == "good" { "✓" } else { "!" };
            (tone, sign, format!("{held}: {}", essence(result)))
        };
        Self { tone, sign, headline, reasons: result.validity.reasons.clone(), findings: findings.to_vec() }
    }

    /// As HTML.
    pub(super) fn html(&self) -> String {
        self.render().expect("writing to a string does not fail")
    }
}

/// How it went, in a dozen words.
fn essence(result: &RunResult) -> String {
    let total = &result.total;
    let Some(success) = total.share_of(total.successes()) else {
        return "nothing was due in the measured time".to_owned();
    };
    let latency = match total.latency.count {
        0 => "no latency to report".to_owned(),
        _ => format!("p99 {}", figure::micros(total.latency.p99_us)),
    };
    format!(
        "{} of {} requests succeeded, {}/s, {latency}",
        figure::percent(success),
        figure::count(total.offered),
        figure::number(result.successes_per_second(None))
    )
}
