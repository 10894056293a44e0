//! The tables of a run's page.

use super::figure;
use super::table::Table;
use crate::outcome::Outcome;
use crate::result::{Latency, RunResult, Summary, Units};

/// Latency, service time and delay beside each other.
pub(super) fn latency(total: &Summary) -> Table {
    let mut table =
        Table::new("", &["", ">count", ">min", ">mean", ">p50", ">p90", ">p99", ">p99.9", ">max"]);
    for (name, latency) in [
        ("Latency, from the intended time", &total.latency),
        ("Service time, of each attempt", &total.service),
        ("Delay before the first send", &total.send_delay),
    ] {
        let mut cells = vec![name.to_owned(), figure::count(latency.count)];
        cells.extend(figures(latency));
        table.row(cells);
    }
    table
}

/// min, mean, p50, p90, p99, p99.9, max; dashes without a value.
fn figures(latency: &Latency) -> Vec<String> {
    if latency.count == 0 {
        return vec![figure::NONE.to_owned(); 7];
    }
    let mut cells = vec![figure::micros(latency.min_us), figure::time(latency.mean_us)];
    cells.extend(percentiles(latency));
    cells
}

/// p50, p90, p99, p99.9, max; dashes without a value.
pub(super) fn percentiles(latency: &Latency) -> Vec<String> {
    let values = [latency.p50_us, latency.p90_us, latency.p99_us, latency.p999_us, latency.max_us];
    let shown = |value| if latency.count == 0 { figure::NONE.to_owned() } else { figure::micros(value) };
    values.map(shown).to_vec()
}

/// Titles of what [`shares`] gives.
pub(super) const SHARES: [&str; 3] = [">Succeeded", ">Throttled", ">Errors"];
/// Titles of what [`percentiles`] gives.
pub(super) const PERCENTILES: [&str; 5] = [">p50", ">p90", ">p99", ">p99.9", ">max"];

/// What streams send, one per row.
pub(super) fn sent(result: &RunResult) -> Table {
    let mut table = Table::new(
        "What was sent",
        &["Stream", "Table", "Arrivals", "Operations", "Keys", "Item size (bytes)", "Signed as"],
    );
    for stream in &result.spec.streams {
        table.row([
            stream.name.clone(),
            stream.table.clone(),
            stream.arrivals.to_string(),
            stream.mix.to_string(),
            stream.keys.to_string(),
            stream.item_size.to_string(),
            stream.profile.clone().unwrap_or_else(|| "the environment's principal".to_owned()),
        ]);
    }
    table
}

/// How streams fared, one per row.
pub(super) fn streams(result: &RunResult) -> Table {
    let mut table = Table::new(
        "How it went, by stream",
        &[
            ["Stream", ">Offered"].as_slice(),
            &SHARES,
            &[">Successes/s"],
            &PERCENTILES,
            &[">Service p99", ">RCU/s", ">WCU/s"],
        ]
        .concat(),
    );
    for (index, stream) in result.streams.iter().enumerate() {
        let summary = &stream.summary;
        let seconds = result.seconds_offered(Some(index));
        let mut cells = vec![stream.name.clone(), figure::count(summary.offered)];
        cells.extend(shares(summary));
        cells.push(figure::number(result.successes_per_second(Some(index))));
        cells.extend(percentiles(&summary.latency));
        cells.push(service_p99(summary));
        cells.extend([per_second(summary.units.read(), seconds), per_second(summary.units.write(), seconds)]);
        table.row(cells);
    }
    table
}

/// Operations of each stream, one per row.
pub(super) fn operations(result: &RunResult) -> Table {
    let mut table = Table::new(
        "How it went, by operation",
        &[
            ["Operation", "Stream", ">Offered", ">Attempts"].as_slice(),
            &SHARES,
            &PERCENTILES,
            &[">Service p99", ">RCU each", ">WCU each"],
        ]
        .concat(),
    );
    for stream in &result.streams {
        for (operation, summary) in &stream.operations {
            let mut cells = vec![
                operation.clone(),
                stream.name.clone(),
                figure::count(summary.offered),
                figure::count(summary.attempts),
            ];
            cells.extend(shares(summary));
            cells.extend(percentiles(&summary.latency));
            cells.push(service_p99(summary));
            #[expect(clippy::cast_precision_loss, reason = "a mean")]
            let successes = summary.successes() as f64;
            let units = summary.units;
            cells.extend([units.read(), units.write()].map(|units| per_second(units, successes)));
            table.row(cells);
        }
    }
    table
}

/// Succeeded, throttled, errors, in percent.
fn shares(summary: &Summary) -> Vec<String> {
    let counts = [summary.successes(), summary.throttled(), summary.failures()];
    let shown = |count| summary.share_of(count).map_or_else(|| figure::NONE.to_owned(), figure::percent);
    counts.map(shown).to_vec()
}

fn service_p99(summary: &Summary) -> String {
    match summary.service.count {
        0 => figure::NONE.to_owned(),
        _ => figure::micros(summary.service.p99_us),
    }
}

fn per_second(units: f64, seconds: f64) -> String {
    if seconds > 0.0 { figure::number(units / seconds) } else { figure::NONE.to_owned() }
}

/// How requests ended.
pub(super) fn outcomes(total: &Summary) -> Table {
    let mut table = Table::new("Requests by how they ended", &["Outcome", ">Requests", ">Share"]);
    for outcome in Outcome::ALL {
        let count = total.outcomes.get(&outcome).copied().unwrap_or(0);
        if count == 0 && outcome != Outcome::Ok {
            continue;
        }
        let share = total.share_of(count).map_or_else(|| figure::NONE.to_owned(), figure::percent);
        table.row([named(outcome).to_owned(), figure::count(count), share]);
    }
    table
}

/// An outcome in words.
pub(super) const fn named(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Ok => "Done (200)",
        Outcome::ConditionFailed => "Condition not met (an answer, not an error)",
        Outcome::Throttled => "Throttled",
        Outcome::ClientError => "Refused for another reason (4xx)",
        Outcome::ServerError => "Server error (5xx)",
        Outcome::TimedOut => "No answer in time",
        Outcome::Broken => "Connection failed or broke",
        Outcome::NotSent => "Never sent: no connection was free",
    }
}

/// Failed attempts by type, the most frequent first.
pub(super) fn errors(total: &Summary) -> Table {
    let mut table = Table::new("Failed attempts by error", &["Error", ">Attempts"]);
    let mut errors: Vec<_> = total.errors.iter().collect();
    errors.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
    for (error, count) in errors {
        table.row([error.clone(), figure::count(*count)]);
    }
    table
}

/// What it cost: computed, and as the service reported.
pub(super) fn capacity(result: &RunResult) -> Table {
    let mut table = Table::new(
        "Capacity units of successful requests: computed, and reported by the service",
        &["Capacity", ">Computed", ">Per second", ">Reported", ">Reported ÷ computed"],
    );
    let (computed, reported) = (result.total.units, result.total.reported_units);
    let seconds = result.seconds_offered(None);
    for (name, of) in [("Read (RCU)", Units::read as fn(Units) -> f64), ("Write (WCU)", Units::write)] {
        let (computed, reported) = (of(computed), of(reported));
        let (said, ratio) = match (result.spec.return_capacity, computed > 0.0) {
            (false, _) => ("not asked for".to_owned(), figure::NONE.to_owned()),
            (true, false) => (figure::number(reported), figure::NONE.to_owned()),
            (true, true) => (figure::number(reported), figure::ratio(reported / computed)),
        };
        table.row([name.to_owned(), figure::number(computed), per_second(computed, seconds), said, ratio]);
    }
    table
}

/// Whether the load generator kept up.
pub(super) fn validity(result: &RunResult) -> Table {
    let mut table = Table::new("Whether it kept up", &["Figure", ">Value"]);
    let validity = &result.validity;
    let late = result
        .total
        .share_of(validity.late_sends)
        .map_or_else(String::new, |share| format!(" ({} of requests)", figure::percent(share)));
    let late_sends =
        format!("Sent over {} late though a connection was free", figure::span(result.spec.late_after));
    for (name, value) in [
        (late_sends.as_str(), format!("{}{late}", figure::count(validity.late_sends))),
        (
            "Busiest sending thread, in its busiest second",
            format!("{} of a core", figure::percent(validity.busiest_thread * 100.0)),
        ),
        ("Own CPU per attempt", figure::time(validity.own_cpu_us_per_attempt)),
        ("Requests due and never sent", figure::count(validity.not_sent)),
        ("Bodies sent", figure::bytes(result.total.bytes_sent)),
        ("Bodies received", figure::bytes(result.total.bytes_received)),
    ] {
        table.row([name.to_owned(), value]);
    }
    table
}

/// CPU of other processes on the machine.
pub(super) fn processes(result: &RunResult) -> Table {
    let mut table = Table::new(
        "Processes on this machine",
        &["Process", ">PID", ">CPU", ">CPU per attempt", ">Memory at the end"],
    );
    for process in &result.processes {
        table.row([
            process.name.clone(),
            process.pid.to_string(),
            figure::micros(process.cpu_us),
            figure::time(process.cpu_us_per_attempt),
            figure::bytes(process.rss_bytes),
        ]);
    }
    table
}
