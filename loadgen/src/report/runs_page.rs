//! A page of several runs beside each other.

use askama::Template;

use super::axis::Quantity;
use super::plot::{Plot, Series, Tone};
use super::run_plots::{MOST_STREAMS, over_time, percentile_plot};
use super::table::Table;
use super::timeline::Timeline;
use super::verdict::Verdict;
use super::{figure, page, percentiles, run_page, run_tables};
use crate::result::RunResult;

/// Runs whose whole section is on the page: each is some 300 kB.
const MOST_SECTIONS: usize = 8;
/// Runs that are told apart in one plot: as many as there are colours.
const MOST_LINES: usize = MOST_STREAMS;

#[derive(Template)]
#[template(path = "runs.html")]
struct RunsTemplate<'a> {
    lead: &'a str,
    verdicts: Vec<(String, String)>,
    table: String,
    plots: Vec<String>,
    sections: Vec<(&'a str, String)>,
    left_out: usize,
}

/// A page of runs with their names, overlaid in plots, with the figures of each in a table and each run's own
/// page folded below.
#[must_use]
pub fn html_many(heading: &str, runs: &[(&str, &RunResult)]) -> String {
    page::page(heading, &[], &section(runs, ""))
}

/// The same without a frame; `lead` is HTML that stands first.
pub(super) fn section(runs: &[(&str, &RunResult)], lead: &str) -> String {
    let of_run = |(index, (name, result)): (usize, &(&'_ str, &RunResult))| {
        let section = run_page::section(result, &[], &format!("run{index}-"));
        (name.to_string(), section)
    };
    let sections: Vec<_> = runs.iter().enumerate().take(MOST_SECTIONS).map(of_run).collect();
    let invalid = runs.iter().filter(|(_, result)| !result.validity.valid);
    let template = RunsTemplate {
        lead,
        verdicts: invalid.map(|(name, result)| (name.to_string(), Verdict::of(result, &[]).html())).collect(),
        table: table(runs).html(),
        plots: plots(runs).iter().filter(|plot| !plot.is_empty()).map(Plot::html).collect(),
        sections: sections.iter().map(|(name, section)| (name.as_str(), section.clone())).collect(),
        left_out: runs.len().saturating_sub(MOST_SECTIONS),
    };
    template.render().expect("writing to a string does not fail")
}

fn table(runs: &[(&str, &RunResult)]) -> Table {
    let mut table = Table::new(
        "Key figures",
        &[
            ["Run", "Valid", ">Offered/s", ">Successes/s"].as_slice(),
            &run_tables::SHARES,
            &run_tables::PERCENTILES,
            &[">Amplification"],
        ]
        .concat(),
    );
    for (name, result) in runs {
        let total = &result.total;
        let seconds = result.seconds_offered(None);
        #[expect(clippy::cast_precision_loss, reason = "only shown")]
        let offered = if seconds > 0.0 { total.offered as f64 / seconds } else { 0.0 };
        let share = |count| total.share_of(count).map_or_else(|| figure::NONE.to_owned(), figure::percent);
        let mut cells = vec![
            name.to_string(),
            if result.validity.valid { "yes" } else { "NO" }.to_owned(),
            figure::number(offered),
            figure::number(result.successes_per_second(None)),
        ];
        cells.extend([total.successes(), total.throttled(), total.failures()].map(share));
        cells.extend(run_tables::percentiles(&total.latency));
        cells.push(total.amplification().map_or_else(|| figure::NONE.to_owned(), figure::ratio));
        table.row(cells);
    }
    table
}

fn plots(runs: &[(&str, &RunResult)]) -> Vec<Plot> {
    let shown = || runs.iter().take(MOST_LINES).enumerate();
    let note = match runs.len().checked_sub(MOST_LINES) {
        Some(1..) => format!("The first {MOST_LINES} of {} runs; logarithmic.", runs.len()),
        _ => "Logarithmic.".to_owned(),
    };
    let count = shown().map(|(_, (_, result))| result.total.latency.count).max().unwrap_or(0);
    let places = percentiles::places(count);
    let curves = shown().filter_map(|(index, (name, result))| {
        let histogram = percentiles::histogram(&result.total.latency)?;
        Some(Series::line(*name, Tone::Nth(index), percentiles::values(&histogram, &places)))
    });
    let mut by_percentile = percentile_plot("percentiles".to_owned(), places.clone(), curves.collect());
    by_percentile.note = "From the intended time; each step to the right is one more nine.".to_owned();

    let timelines: Vec<_> = shown()
        .map(|(index, (name, result))| {
            let streams: Vec<_> = result.streams.iter().map(|stream| stream.seconds.as_slice()).collect();
            (index, *name, Timeline::of(&streams))
        })
        .collect();
    let longest =
        timelines.iter().map(|(_, _, timeline)| timeline).max_by_key(|timeline| timeline.points.len());
    let (at, seconds) = longest.map_or((Vec::new(), 0.0), |longest| (longest.at(), longest.seconds()));
    let series = |of: &dyn Fn(&super::timeline::Point) -> Option<f64>| {
        let line = |(index, name, timeline): &(usize, &str, Timeline)| {
            let mut values = timeline.values(of);
            values.resize(at.len(), None);
            Series::line(*name, Tone::Nth(*index), values)
        };
        timelines.iter().map(line).collect::<Vec<_>>()
    };
    let over = |id: &str, title, note: &str, quantity, series| {
        over_time(id.to_owned(), title, note.to_owned(), (at.clone(), seconds), quantity, series)
    };
    vec![
        by_percentile,
        over("p99", "p99 latency over time", &note, Quantity::Time, series(&|point| Some(point.latency?[1]))),
        over(
            "successes",
            "Successful requests per second",
            "By second of the intended send.",
            Quantity::PerSecond,
            series(&|point| Some(point.ok)),
        ),
    ]
}
