//! The plots of a run's page.

use std::collections::{BTreeMap, BTreeSet};

use super::axis::{Axis, Quantity};
use super::figure;
use super::percentiles;
use super::plot::{Plot, Series, Tone, vertical};
use super::timeline::{MOST_POINTS, Point, Timeline};
use crate::result::{QuotaSample, RunResult};

/// Tables whose quotas are drawn at most, read and write apart: a page of more is no page.
const MOST_QUOTA_PLOTS: usize = 12;
/// Streams that are told apart in one plot at most.
pub(super) const MOST_STREAMS: usize = 6;

/// The plots of a run, in reading order; those that have nothing to show are left out.
pub(super) fn plots(result: &RunResult, prefix: &str) -> Vec<Plot> {
    let all: Vec<_> = result.streams.iter().map(|stream| stream.seconds.as_slice()).collect();
    let timeline = Timeline::of(&all);
    let mut plots = vec![
        latency(&timeline, prefix, all.len()),
        throughput(&timeline, prefix),
        by_percentile(result, prefix),
    ];
    if result.streams.len() > 1 {
        plots.push(by_stream(result, prefix));
    }
    plots.push(units(&timeline, prefix));
    plots.push(own_cpu(&timeline, prefix));
    plots.retain(|plot| !plot.is_empty());
    plots
}

/// A plot over time whose vertical axis fits its series.
pub(super) fn over_time(
    id: String,
    title: &str,
    note: String,
    timeline: (Vec<f64>, f64),
    quantity: Quantity,
    series: Vec<Series>,
) -> Plot {
    let (at, seconds) = timeline;
    Plot {
        id,
        title: title.to_owned(),
        note,
        x: Axis::elapsed(seconds),
        y: vertical(quantity, &series, &[]),
        x_name: "Since the begin",
        at,
        series,
        limits: Vec::new(),
    }
}

fn latency(timeline: &Timeline, prefix: &str, streams: usize) -> Plot {
    let of = |index: usize| timeline.values(move |point| point.latency.map(|latency| latency[index]));
    let series = vec![
        Series::line("max", Tone::Most, of(3)),
        Series::line("p99.9", Tone::Tail, of(2)),
        Series::line("p99", Tone::Subject, of(1)),
        Series::line("p50", Tone::Median, of(0)),
    ];
    let together = if streams > 1 { ", of all streams" } else { "" };
    let note = format!("By second of the intended send{together}; logarithmic.{}", thinned(timeline, true));
    over_time(
        format!("{prefix}latency"),
        "Latency over time",
        note,
        (timeline.at(), timeline.seconds()),
        Quantity::Time,
        series,
    )
}

/// What a reader must know of a run that has more seconds than a plot has points.
fn thinned(timeline: &Timeline, worst: bool) -> String {
    match (timeline.step, worst) {
        (1, _) => String::new(),
        (step, true) => format!(" Each point is the worst of {step} seconds (p50: the middle one)."),
        (step, false) => format!(" Each point is the mean of {step} seconds."),
    }
}

fn throughput(timeline: &Timeline, prefix: &str) -> Plot {
    let of = |of: fn(&Point) -> f64| timeline.values(move |point| Some(of(point)));
    let mut series = vec![Series::stacked("succeeded", Tone::Good, of(|point| point.ok))];
    if timeline.points.iter().any(|point| point.throttled > 0.0) {
        series.push(Series::stacked("throttled", Tone::Throttled, of(|point| point.throttled)));
    }
    if timeline.points.iter().any(|point| point.failed > 0.0) {
        series.push(Series::stacked("errors", Tone::Bad, of(|point| point.failed)));
    }
    series.push(Series::line("offered", Tone::Subject, of(|point| point.offered)));
    if timeline.points.iter().any(|point| point.attempts > point.offered * 1.001) {
        series.push(Series::line("attempts", Tone::Asked, of(|point| point.attempts)));
    }
    over_time(
        format!("{prefix}throughput"),
        "Requests per second",
        format!("By second of the intended send, and how they ended.{}", thinned(timeline, false)),
        (timeline.at(), timeline.seconds()),
        Quantity::PerSecond,
        series,
    )
}

fn by_percentile(result: &RunResult, prefix: &str) -> Plot {
    let histograms = [&result.total.latency, &result.total.service].map(percentiles::histogram);
    let count = histograms.iter().flatten().map(|histogram| histogram.len()).max().unwrap_or(0);
    let places = percentiles::places(count);
    let named =
        [("latency from the intended time", Tone::Subject), ("service time of attempts", Tone::Nth(1))];
    let curves = named.into_iter().zip(&histograms).filter_map(|((name, tone), histogram)| {
        Some(Series::line(name, tone, percentiles::values(histogram.as_ref()?, &places)))
    });
    let series = curves.collect();
    percentile_plot(format!("{prefix}percentiles"), places, series)
}

/// Times over percentiles.
pub(super) fn percentile_plot(id: String, places: Vec<f64>, series: Vec<Series>) -> Plot {
    Plot {
        id,
        title: "Latency by percentile".to_owned(),
        note: "Each step to the right is one more nine. Where the two part, requests waited before they were sent."
            .to_owned(),
        x: Axis::percentiles(places.last().copied().unwrap_or(1.0)),
        y: vertical(Quantity::Time, &series, &[]),
        x_name: "Percentile",
        at: places,
        series,
        limits: Vec::new(),
    }
}

fn by_stream(result: &RunResult, prefix: &str) -> Plot {
    let timelines: Vec<_> = result
        .streams
        .iter()
        .take(MOST_STREAMS)
        .map(|stream| (stream, Timeline::of(&[&stream.seconds])))
        .collect();
    let longest = timelines.iter().map(|(_, timeline)| timeline).max_by_key(|timeline| timeline.points.len());
    let (at, seconds) = longest.map_or((Vec::new(), 0.0), |longest| (longest.at(), longest.seconds()));
    let series = timelines.iter().enumerate().map(|(index, (stream, timeline))| {
        let mut values = timeline.values(|point| point.latency.map(|latency| latency[1]));
        values.resize(at.len(), None);
        Series::line(stream.name.clone(), Tone::Nth(index), values)
    });
    let series = series.collect();
    let note = match result.streams.len() {
        many if many > MOST_STREAMS => format!("The first {MOST_STREAMS} of {many} streams; logarithmic."),
        _ => "Logarithmic.".to_owned(),
    };
    over_time(
        format!("{prefix}streams"),
        "p99 latency by stream",
        note,
        (at, seconds),
        Quantity::Time,
        series,
    )
}

fn units(timeline: &Timeline, prefix: &str) -> Plot {
    let mut series = Vec::new();
    for (index, name) in [(0, "read (RCU/s)"), (1, "write (WCU/s)")] {
        if timeline.points.iter().any(|point| point.units[index] > 0.0) {
            let values = timeline.values(|point| Some(point.units[index]));
            series.push(Series::line(name, Tone::Nth(index), values));
        }
    }
    over_time(
        format!("{prefix}units"),
        "Capacity units per second",
        format!("Of successful requests, computed by DynamoDB's rules.{}", thinned(timeline, false)),
        (timeline.at(), timeline.seconds()),
        Quantity::PerSecond,
        series,
    )
}

fn own_cpu(timeline: &Timeline, prefix: &str) -> Plot {
    let values = timeline.values(|point| Some(point.own_cpu * 100.0));
    let series = vec![Series::line("busiest sending thread", Tone::Asked, values)];
    let mut plot = over_time(
        format!("{prefix}cpu"),
        "The load generator's own CPU",
        "Percent of the core that a sending thread can use. Near 100 % the load generator is what is measured."
            .to_owned(),
        (timeline.at(), timeline.seconds()),
        Quantity::Percent,
        series,
    );
    plot.y = Axis::linear(Quantity::Percent, 100.0);
    plot
}

/// One plot per table and capacity: admitted and refused by cause, against the quota. And what was left out.
pub(super) fn quotas(result: &RunResult, prefix: &str) -> (Vec<Plot>, String) {
    let mut by_table: BTreeMap<(&str, bool), Vec<&QuotaSample>> = BTreeMap::new();
    for sample in result.operators.iter().flat_map(|operators| &operators.samples) {
        by_table.entry((&sample.table, sample.write)).or_default().push(sample);
    }
    by_table.retain(|_, samples| {
        samples.iter().any(|sample| sample.admitted_milli > 0 || !sample.refused_milli.is_empty())
    });
    let left_out = by_table.len().saturating_sub(MOST_QUOTA_PLOTS);
    let plots =
        by_table.into_iter().take(MOST_QUOTA_PLOTS).enumerate().map(|(index, ((table, write), samples))| {
            quota(format!("{prefix}quota{index}"), table, write, &samples)
        });
    let note = match left_out {
        0 => String::new(),
        more => format!("{more} more tables and capacities are in the JSON result."),
    };
    (plots.collect(), note)
}

fn quota(id: String, table: &str, write: bool, samples: &[&QuotaSample]) -> Plot {
    let every = samples.len().div_ceil(MOST_POINTS).max(1);
    // The mean of what is thinned, so that the areas stay what was admitted and refused.
    let chunks: Vec<_> = samples.chunks(every).collect();
    #[expect(clippy::cast_precision_loss, reason = "only drawn")]
    let mean = |of: &dyn Fn(&QuotaSample) -> u64| -> Vec<Option<f64>> {
        let mean = |chunk: &&[&QuotaSample]| {
            let sum: f64 = chunk.iter().map(|sample| of(sample) as f64 / 1000.0).sum();
            Some(sum / chunk.len() as f64)
        };
        chunks.iter().map(mean).collect()
    };
    #[expect(clippy::cast_precision_loss, reason = "only drawn")]
    let at: Vec<f64> = chunks.iter().map(|chunk| chunk[0].at_us as f64 / 1e6).collect();
    let mut series = vec![Series::stacked("admitted", Tone::Good, mean(&|sample| sample.admitted_milli))];
    let causes: BTreeSet<_> = samples.iter().flat_map(|sample| sample.refused_milli.keys()).collect();
    for (index, cause) in causes.into_iter().enumerate() {
        let values = mean(&|sample| sample.refused_milli.get(cause).copied().unwrap_or(0));
        series.push(Series::stacked(format!("refused: {cause}"), refusal_tone(index), values));
    }
    #[expect(clippy::cast_precision_loss, reason = "only drawn")]
    let quotas: Vec<Option<f64>> =
        chunks.iter().map(|chunk| chunk[0].quota_milli.map(|quota| quota as f64 / 1000.0)).collect();
    let last = quotas.iter().rev().flatten().next().copied();
    if last.is_some() {
        series.push(Series::line("quota", Tone::Most, quotas));
    }
    let (kind, unit) = if write { ("writes", "WCU/s") } else { ("reads", "RCU/s") };
    let note = match last {
        Some(quota) => format!("{unit}; quota {} {unit}.", figure::number(quota)),
        None => format!("{unit}; no quota is known: unlimited, or no control plane was asked."),
    };
    let seconds = at.last().copied().unwrap_or(0.0).max(1.0);
    let title = format!("{table}: {kind} against the quota");
    over_time(id, &title, note, (at, seconds), Quantity::PerSecond, series)
}

/// The causes are told apart by colours that are not those of success.
const fn refusal_tone(index: usize) -> Tone {
    match index {
        0 => Tone::Throttled,
        1 => Tone::Bad,
        2 => Tone::Nth(3),
        more => Tone::Nth(more + 1),
    }
}
