//! The page of a comparison.

use askama::Template;

use super::page::page;
use super::table::Table;
use super::{figure, runs_page};
use crate::compare::{Comparison, Finding};
use crate::result::RunResult;

#[derive(Template)]
#[template(path = "comparison.html")]
struct ComparisonTemplate<'a> {
    tone: &'static str,
    headline: String,
    comparison: &'a Comparison,
    confidence: String,
    table: String,
    intervals: String,
}

/// The page of a comparison, with the runs it is made of (as far as they are there) below it.
#[must_use]
pub fn comparison_html(comparison: &Comparison, runs: &[(&str, &RunResult)]) -> String {
    let [a, b] = &comparison.sides;
    let differing =
        comparison.rows.iter().filter(|row| matches!(row.finding, Finding::Higher | Finding::Lower));
    let differing: Vec<_> = differing.map(|row| row.metric.title()).collect();
    let (tone, headline) = match differing.as_slice() {
        [] if comparison.rows.iter().all(|row| says_nothing(row.finding)) => {
            ("warn", "Too few or too noisy runs to say anything".to_owned())
        }
        [] if comparison.rows.iter().any(|row| says_nothing(row.finding)) => {
            ("warn", "No difference detectable where the runs say anything".to_owned())
        }
        [] => ("good", "No difference detectable".to_owned()),
        some => ("warn", format!("A and B differ in {}", some.join(", "))),
    };
    let lead = ComparisonTemplate {
        tone,
        headline,
        comparison,
        confidence: figure::percent(comparison.confidence * 100.0),
        table: table(comparison).html(),
        intervals: intervals(comparison),
    };
    let lead = lead.render().expect("writing to a string does not fail");
    let body = if runs.is_empty() { lead } else { runs_page::section(runs, &lead) };
    let pairs = if comparison.paired { "pairs, next to each other in time" } else { "independent" };
    let facts = [
        ("A", a.clone()),
        ("B", b.clone()),
        ("runs", format!("{} of A, {} of B, {pairs}", comparison.runs[0], comparison.runs[1])),
    ];
    page("Comparison of A and B", &facts, &body)
}

fn table(comparison: &Comparison) -> Table {
    let mut table = Table::new("", &["Figure", ">A", ">B", ">B ÷ A", ">Interval", "Finding"]);
    for row in &comparison.rows {
        let interval = row
            .interval
            .map_or_else(|| figure::NONE.to_owned(), |(low, high)| format!("{low:.3} to {high:.3}"));
        let ratio = if row.ratio.is_finite() { format!("{:.3}", row.ratio) } else { figure::NONE.to_owned() };
        table.row([
            row.metric.title(),
            finite(row.a, &row.metric),
            finite(row.b, &row.metric),
            ratio,
            interval,
            row.text(),
        ]);
    }
    table
}

fn finite(value: f64, metric: &crate::compare::Metric) -> String {
    if value.is_finite() { metric.text(value) } else { figure::NONE.to_owned() }
}

const fn says_nothing(finding: Finding) -> bool {
    matches!(finding, Finding::TooNoisy | Finding::Unknown)
}

/// The ratios with their intervals as a picture: equality is a line that an interval crosses or does not.
fn intervals(comparison: &Comparison) -> String {
    use std::fmt::Write as _;
    const ROW: f64 = 34.0;
    const LEFT: f64 = 190.0;
    const WIDTH: f64 = 640.0;
    /// The picture covers at least 20 % in both directions, so that little differences look little.
    const LEAST: f64 = 0.182;
    let rows: Vec<_> = comparison
        .rows
        .iter()
        .filter_map(|row| Some((row, row.interval?)))
        .filter(|(row, (low, high))| {
            [row.ratio, *low, *high].iter().all(|value| value.is_finite() && *value > 0.0)
        })
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    let widest = rows.iter().flat_map(|(_, (low, high))| [low.ln().abs(), high.ln().abs()]);
    let reach = widest.fold(LEAST, f64::max) * 1.08;
    let across = |ratio: f64| LEFT + (ratio.ln() / reach + 1.0) / 2.0 * (WIDTH - LEFT - 14.0);
    #[expect(clippy::cast_precision_loss, reason = "a few rows")]
    let height = rows.len() as f64 * ROW + 34.0;
    let bottom = height - 26.0;
    let mut svg = format!(
        r#"<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="Ratios B ÷ A with their intervals; the table above has the figures">"#
    );
    for ratio in [0.1, 0.25, 0.5, 0.8, 0.9, 1.0, 1.1, 1.25, 2.0, 4.0, 10.0] {
        if f64::ln(ratio).abs() > reach {
            continue;
        }
        let (x, class) = (across(ratio), if (ratio - 1.0f64).abs() < 1e-9 { "base" } else { "grid" });
        _ = write!(
            svg,
            r#"<line class="{class}" x1="{x:.1}" x2="{x:.1}" y1="4" y2="{bottom}"/><text class="tick" x="{x:.1}" y="{}" text-anchor="middle">{ratio} ×</text>"#,
            bottom + 18.0
        );
    }
    for (index, (row, (low, high))) in rows.iter().enumerate() {
        #[expect(clippy::cast_precision_loss, reason = "a few rows")]
        let y = index as f64 * ROW + ROW / 2.0 + 2.0;
        let tone = match row.finding {
            Finding::Higher | Finding::Lower => "throttled",
            Finding::NoDifferenceDetectable | Finding::TooNoisy | Finding::Unknown => "asked",
        };
        let title = super::plot::escaped(&row.metric.title());
        _ = write!(
            svg,
            r#"<text class="tick" x="{}" y="{:.1}" text-anchor="end">{title}</text><line class="interval {tone}" x1="{:.1}" x2="{:.1}" y1="{y:.1}" y2="{y:.1}"/><circle class="{tone}" cx="{:.1}" cy="{y:.1}" r="4.5"/>"#,
            LEFT - 12.0,
            y + 4.0,
            across(*low),
            across(*high),
            across(row.ratio)
        );
    }
    svg.push_str("</svg>");
    svg
}
