//! The summary for a terminal: what one looks at after each run, in at most 25 lines.

use std::fmt::Write as _;
use std::time::Duration;

use super::figure;
use super::verdict::Verdict;
use crate::objective::Finding;
use crate::result::{Latency, RunResult};
use crate::spec::Pacing;

/// Lines in all.
const MOST_LINES: usize = 25;
/// Streams that get a line of their own, if there is room.
const MOST_STREAMS: usize = 5;
/// Reasons, findings, errors and warnings that get a line, each, if there is room.
const MOST_REMARKS: usize = 4;

/// The summary of a run, without thresholds.
#[must_use]
pub fn text(result: &RunResult) -> String {
    text_judged(result, &[])
}

/// The summary of a run, with what was asked of it. Ends with a line break.
#[must_use]
pub fn text_judged(result: &RunResult, findings: &[Finding]) -> String {
    let verdict = Verdict::of(result, findings);
    let (figures, latencies) = (figures(result), latencies(result));
    // Two blank lines between the three parts that are always there.
    let mut room = MOST_LINES - figures.len() - latencies.len() - 2 - 1;
    let mut lines = vec![verdict.headline.clone()];
    if !result.validity.valid {
        room -= 1;
        lines.extend(remarks("  because  ", &verdict.reasons, &mut room));
        lines.push(format!("  so       {}", next_step(result)));
    }
    // What did not hold first.
    let (held, missed): (Vec<_>, Vec<_>) = findings.iter().partition(|finding| finding.held);
    let told: Vec<_> = missed.into_iter().chain(held).map(ToString::to_string).collect();
    lines.extend(remarks("  ", &told, &mut room));
    lines.push(String::new());
    lines.extend(figures);
    lines.push(String::new());
    lines.extend(latencies);
    lines.extend(streams(result, &mut room));
    lines.extend(remarks("failed     ", &errors(result), &mut room));
    lines.extend(remarks("note       ", &result.warnings, &mut room));
    let mut text = String::new();
    for line in lines {
        _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

/// What to do about an invalid run.
fn next_step(result: &RunResult) -> &'static str {
    let validity = &result.validity;
    // Of several causes, the one that brings about the others.
    if validity.busiest_thread > BUSY {
        "give it more --threads, or a machine of its own, or a lower rate; then run again"
    } else if validity.not_sent > 0 {
        "give it more --connections (or --http2), or a lower rate; then run again"
    } else {
        "lower the rate, or free this machine of other work; then run again"
    }
}

/// Share of a core from which on a sending thread is what is short.
const BUSY: f64 = 0.8;

/// As many as fit into the room that is left, and how many more there are.
fn remarks(prefix: &str, remarks: &[String], room: &mut usize) -> Vec<String> {
    let most = MOST_REMARKS.min(*room);
    // The line that counts the rest needs room, too.
    let shown = if remarks.len() > most { most.saturating_sub(1) } else { remarks.len() };
    let mut lines: Vec<_> = remarks.iter().take(shown).map(|remark| format!("{prefix}{remark}")).collect();
    if remarks.len() > shown && most > 0 {
        lines.push(format!("{prefix}and {} more", remarks.len() - shown));
    }
    *room -= lines.len();
    lines
}

fn figures(result: &RunResult) -> Vec<String> {
    let total = &result.total;
    let seconds = result.seconds_offered(None);
    #[expect(clippy::cast_precision_loss, reason = "only shown")]
    let rate = |count: u64| {
        let rate = if seconds > 0.0 { count as f64 / seconds } else { 0.0 };
        format!("{}/s", figure::number(rate))
    };
    let line = |name: &str, count: u64, more: String| {
        let count = figure::count(count);
        format!("{name:<10} {count:>13}  {:>11}  {more}", "")
    };
    let row = |name: &str, count: u64, more: String| {
        format!("{name:<10} {:>13}  {:>11}  {more}", figure::count(count), rate(count))
    };
    let share = |count| total.share_of(count).map_or_else(String::new, figure::percent);
    let mut lines = vec![
        row(
            "offered",
            total.offered,
            format!("in {}", figure::span(Duration::from_micros(result.lasted_us))),
        ),
        row("succeeded", total.successes(), share(total.successes())),
        row("throttled", total.throttled(), share(total.throttled())),
        row("errors", total.failures(), share(total.failures())),
        line("attempts", total.attempts, amplification(result)),
    ];
    let units = total.units;
    if !units.is_zero() {
        let per_second = |units: f64| figure::number(if seconds > 0.0 { units / seconds } else { 0.0 });
        let mut line = format!(
            "capacity   {:>13}  {:>11}  RCU and WCU per second",
            per_second(units.read()),
            per_second(units.write())
        );
        if result.spec.return_capacity {
            let agrees = result.total.reported_units == units;
            line.push_str(if agrees {
                ", as the service reports"
            } else {
                "; the service reports otherwise"
            });
        }
        lines.push(line);
    }
    lines
}

fn amplification(result: &RunResult) -> String {
    match result.total.amplification() {
        Some(ratio) => format!("{} per request", figure::ratio(ratio)),
        None => String::new(),
    }
}

/// Columns of times.
fn times(name: &str, width: usize, latency: &Latency) -> String {
    let values = [latency.p50_us, latency.p90_us, latency.p99_us, latency.p999_us, latency.max_us];
    let mut line = format!("{name:<width$}");
    for value in values {
        let shown = if latency.count == 0 { figure::NONE.to_owned() } else { figure::micros(value) };
        _ = write!(line, " {shown:>9}");
    }
    line
}

const HEAD: &str = "       p50       p90       p99     p99.9       max";

fn latencies(result: &RunResult) -> Vec<String> {
    const WIDTH: usize = 10;
    let total = &result.total;
    let mut lines = vec![format!("{:<WIDTH$}{HEAD}", "")];
    lines.push(times("latency", WIDTH, &total.latency));
    lines.push(times("service", WIDTH, &total.service));
    if result.spec.pacing == Pacing::Open {
        lines.push(times("delay", WIDTH, &total.send_delay));
    }
    lines
}

/// A blank line and a line for each, if there are several and there is room for two at least.
fn streams(result: &RunResult, room: &mut usize) -> Vec<String> {
    const NARROWEST: usize = 10;
    const WIDEST: usize = 24;
    if result.streams.len() < 2 || *room < 3 {
        return Vec::new();
    }
    let most = MOST_STREAMS.min(*room - 1);
    let count = if result.streams.len() > most { most - 1 } else { result.streams.len() };
    let shown = || result.streams.iter().take(count);
    let widest = shown().map(|stream| stream.name.chars().count()).max().unwrap_or(0);
    let width = widest.clamp(NARROWEST, WIDEST);
    let mut lines = vec![String::new()];
    for (index, stream) in shown().enumerate() {
        let name: String = stream.name.chars().take(width).collect();
        let rate = format!("{}/s", figure::number(result.successes_per_second(Some(index))));
        lines.push(format!("{}  {rate:>10}", times(&name, width, &stream.summary.latency)));
    }
    if result.streams.len() > count {
        lines.push(format!("and {} more streams", result.streams.len() - count));
    }
    *room -= lines.len();
    lines
}

/// The most frequent errors with their counts.
fn errors(result: &RunResult) -> Vec<String> {
    let mut errors: Vec<_> = result.total.errors.iter().collect();
    errors.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
    errors.into_iter().map(|(error, count)| format!("{:>13}  {error}", figure::count(*count))).collect()
}
