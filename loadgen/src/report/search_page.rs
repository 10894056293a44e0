//! The page of a search for the highest rate.

use askama::Template;

use super::axis::{Axis, Quantity};
use super::page::page;
use super::plot::{Plot, Series, Tone, vertical};
use super::table::Table;
use super::{figure, run_page};
use crate::objective::Objective;
use crate::result::RunResult;
use crate::search::{Knee, Verdict};
use crate::search_result::{Probe, SearchResult};

#[derive(Template)]
#[template(path = "search.html")]
struct SearchTemplate<'a> {
    tone: &'static str,
    conclusion: &'a str,
    plots: Vec<String>,
    table: String,
    held: String,
}

/// The page of a search; `held` is the last run that held, which is shown whole.
#[must_use]
pub fn search_html(search: &SearchResult, held: Option<&RunResult>) -> String {
    let tone = match search.knee {
        Some(Knee::Knee { .. }) => "good",
        Some(Knee::GeneratorLimit { .. } | Knee::AtLeast { .. }) | None => "warn",
        Some(Knee::Nothing { .. } | Knee::Unsteady { .. }) => "bad",
    };
    let template = SearchTemplate {
        tone,
        conclusion: &search.conclusion,
        plots: plots(search).iter().filter(|plot| !plot.is_empty()).map(Plot::html).collect(),
        table: table(search).html(),
        held: held.map(|result| run_page::section(result, &[], "held-")).unwrap_or_default(),
    };
    let objectives: Vec<_> = search.objectives.iter().map(Objective::to_string).collect();
    let facts = [
        ("objectives", objectives.join(", ")),
        ("probes", search.probes.len().to_string()),
        ("endpoints", search.spec.endpoints.join(", ")),
    ];
    let body = template.render().expect("writing to a string does not fail");
    page("Search for the highest rate", &facts, &body)
}

fn table(search: &SearchResult) -> Table {
    let mut table = Table::new(
        "Probes, in their order",
        &[">Rate", "Step", "Verdict", ">Successes/s", ">p50", ">p99", ">Succeeded", ">Throttled", "Because"],
    );
    for probe in &search.probes {
        table.row([
            format!("{}/s", figure::number(probe.rate)),
            probe.purpose.name().to_owned(),
            probe.verdict.name().to_owned(),
            figure::number(probe.successes),
            figure::micros(probe.p50_us),
            figure::micros(probe.p99_us),
            figure::percent(probe.success),
            figure::percent(probe.throttled),
            because(probe),
        ]);
    }
    table
}

/// Why a probe did not hold.
fn because(probe: &Probe) -> String {
    let missed = probe.findings.iter().filter(|finding| !finding.held);
    let missed = missed.map(|finding| format!("{} ({})", finding.objective, finding.measured_text()));
    match probe.verdict {
        Verdict::Invalid => format!("the generator was the limit: {}", probe.reasons.join("; ")),
        Verdict::Held | Verdict::Missed => missed.collect::<Vec<_>>().join(", "),
    }
}

/// Latency and success over the rate, of probes that say something about the service.
fn plots(search: &SearchResult) -> Vec<Plot> {
    let mut probes: Vec<_> = search.probes.iter().filter(|probe| probe.verdict != Verdict::Invalid).collect();
    probes.sort_by(|a, b| a.rate.total_cmp(&b.rate));
    let at: Vec<_> = probes.iter().map(|probe| probe.rate).collect();
    let most = at.last().copied().unwrap_or(1.0);
    let line = |name, tone, of: &dyn Fn(&Probe) -> f64| {
        let values = probes.iter().map(|probe| Some(of(probe)).filter(|value| *value > 0.0)).collect();
        Series::line(name, tone, values)
    };
    #[expect(clippy::cast_precision_loss, reason = "drawn")]
    let micros = |value: u64| value as f64;
    let over_rate = |id: &str, title: &str, note: &str, quantity, series: Vec<Series>| Plot {
        id: id.to_owned(),
        title: title.to_owned(),
        note: note.to_owned(),
        x: Axis::linear(Quantity::PerSecond, most),
        y: vertical(quantity, &series, &[]),
        x_name: "Requests/s",
        at: at.clone(),
        series,
        limits: Vec::new(),
    };
    vec![
        over_rate(
            "latency",
            "Latency over rate",
            "Of each probe, from the intended time; logarithmic.",
            Quantity::Time,
            vec![
                line("p99", Tone::Subject, &|probe| micros(probe.p99_us)),
                line("p50", Tone::Median, &|probe| micros(probe.p50_us)),
            ],
        ),
        over_rate(
            "success",
            "Successes per second over rate",
            "Where it leaves the diagonal, more is asked for than is done.",
            Quantity::PerSecond,
            vec![
                line("asked for", Tone::Asked, &|probe| probe.rate),
                line("succeeded", Tone::Good, &|probe| probe.successes),
            ],
        ),
    ]
}
