//! The page of one run.

use std::time::Duration;

use askama::Template;

use super::page::page;
use super::verdict::Verdict;
use super::{figure, repeat, run_plots, run_tables};
use crate::objective::Finding;
use crate::result::RunResult;
use crate::spec::{Pacing, Protocol};

/// A figure that stands out.
struct Tile {
    label: &'static str,
    value: String,
    detail: String,
    tone: &'static str,
}

#[derive(Template)]
#[template(path = "run.html")]
struct RunTemplate<'a> {
    prefix: &'a str,
    verdict: String,
    tiles: Vec<Tile>,
    warnings: &'a [String],
    latency: String,
    latency_note: &'static str,
    plots: Vec<String>,
    operators: Vec<String>,
    operators_note: String,
    tables: Vec<String>,
    endings: Vec<String>,
    own: Vec<String>,
    repeat_note: &'static str,
    command: String,
    spec: String,
}

/// The page of one run, without thresholds.
#[must_use]
pub fn html(result: &RunResult) -> String {
    html_judged(result, &[])
}

/// The page of one run, with what was asked of it.
#[must_use]
pub fn html_judged(result: &RunResult, findings: &[Finding]) -> String {
    let streams: Vec<_> = result.streams.iter().map(|stream| stream.name.as_str()).collect();
    let heading = format!("Load run: {}", streams.join(", "));
    page(&heading, &facts(result), &section(result, findings, ""))
}

/// What a run is about, in a line.
pub(super) fn facts(result: &RunResult) -> Vec<(&'static str, String)> {
    let spec = &result.spec;
    let protocol = match spec.protocol {
        Protocol::Http1 => "HTTP/1.1",
        Protocol::Http2 => "HTTP/2",
    };
    let pacing = match spec.pacing {
        Pacing::Open => "open: sent at intended times",
        Pacing::Closed => "closed: as fast as answers come",
    };
    vec![
        ("began", figure::date(result.began_unix_ms)),
        ("lasted", figure::span(Duration::from_micros(result.lasted_us))),
        ("endpoints", spec.endpoints.join(", ")),
        ("loop", pacing.to_owned()),
        ("connections", format!("{} × {protocol} on {} threads", spec.connections, spec.threads)),
        ("retries", spec.retry.to_string()),
        ("seed", spec.seed.to_string()),
        ("weir", result.weir.clone()),
    ]
}

/// The sections of one run; `prefix` keeps ids apart where a page has several.
pub(super) fn section(result: &RunResult, findings: &[Finding], prefix: &str) -> String {
    let plots = run_plots::plots(result, prefix).iter().map(super::plot::Plot::html).collect();
    let (quotas, operators_note) = run_plots::quotas(result, prefix);
    let present = |tables: Vec<super::table::Table>| {
        tables.into_iter().filter(|table| !table.is_empty()).map(|table| table.html()).collect::<Vec<_>>()
    };
    let total = &result.total;
    let (command, wants_file) = repeat::command(&result.spec, findings);
    let template = RunTemplate {
        prefix,
        verdict: Verdict::of(result, findings).html(),
        tiles: tiles(result),
        warnings: &result.warnings,
        latency: run_tables::latency(total).html(),
        latency_note: match result.spec.pacing {
            Pacing::Open => {
                "Latency counts from the time at which a request was due, so a stall of the service also counts \
                 against those that had to wait because of it. Service time counts from the send."
            }
            Pacing::Closed => {
                "In a closed loop the next request waits for the answer before it: a stall is counted once, \
                 however many requests it would have hit. For latency that users see, run an open loop."
            }
        },
        plots,
        operators: quotas.iter().map(super::plot::Plot::html).collect(),
        operators_note,
        tables: present(vec![
            run_tables::sent(result),
            run_tables::streams(result),
            run_tables::operations(result),
        ]),
        endings: present(vec![
            run_tables::outcomes(total),
            run_tables::errors(total),
            run_tables::capacity(result),
        ]),
        own: present(vec![run_tables::validity(result), run_tables::processes(result)]),
        repeat_note: match wants_file {
            true => {
                "Save the spec below as run.toml. The same seed sends the same requests at the same times."
            }
            false => "The same seed sends the same requests at the same times.",
        },
        command,
        spec: toml::to_string_pretty(&result.spec)
            .unwrap_or_else(|error| format!("# this spec cannot be written as TOML: {error}")),
    };
    template.render().expect("writing to a string does not fail")
}

fn tiles(result: &RunResult) -> Vec<Tile> {
    let total = &result.total;
    let seconds = result.seconds_offered(None);
    let rate = |count: u64| {
        #[expect(clippy::cast_precision_loss, reason = "only shown")]
        let count = count as f64;
        if seconds > 0.0 { format!("{}/s", figure::number(count / seconds)) } else { String::new() }
    };
    let share = |count| total.share_of(count).map_or_else(|| figure::NONE.to_owned(), figure::percent);
    let tone = |count: u64, tone| if count == 0 { "" } else { tone };
    let (throttled, failed) = (total.throttled(), total.failures());
    let mut tiles = vec![
        tile("Offered", rate(total.offered), format!("{} requests", figure::count(total.offered)), ""),
        tile("Succeeded", share(total.successes()), rate(total.successes()), ""),
        tile(
            "Throttled",
            share(throttled),
            format!("{} requests", figure::count(throttled)),
            tone(throttled, "warn"),
        ),
        tile("Errors", share(failed), format!("{} requests", figure::count(failed)), tone(failed, "bad")),
    ];
    let service = |value: u64| match total.service.count {
        0 => String::new(),
        _ => format!("service {}", figure::micros(value)),
    };
    let shown = |value: u64| match total.latency.count {
        0 => figure::NONE.to_owned(),
        _ => figure::micros(value),
    };
    let (latency, of) = (&total.latency, &total.service);
    for (label, value, served) in [
        ("p50 latency", latency.p50_us, of.p50_us),
        ("p90 latency", latency.p90_us, of.p90_us),
        ("p99 latency", latency.p99_us, of.p99_us),
        ("p99.9 latency", latency.p999_us, of.p999_us),
        ("Longest", latency.max_us, of.max_us),
    ] {
        tiles.push(tile(label, shown(value), service(served), ""));
    }
    let amplification = total.amplification().map_or_else(|| figure::NONE.to_owned(), figure::ratio);
    let attempts = format!("{} attempts", figure::count(total.attempts));
    tiles.push(tile("Amplification", amplification, attempts, ""));
    for (label, units, name) in [("Reads", total.units.read(), "RCU"), ("Writes", total.units.write(), "WCU")]
    {
        if units > 0.0 && seconds > 0.0 {
            let value = format!("{} {name}/s", figure::number(units / seconds));
            tiles.push(tile(label, value, format!("{} {name} in all", figure::number(units)), ""));
        }
    }
    tiles
}

fn tile(label: &'static str, value: String, detail: String, tone: &'static str) -> Tile {
    Tile { label, value, detail, tone }
}
