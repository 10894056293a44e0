//! The plots of `docs/admission/`: our fleet beside the models.

use std::path::Path;
use std::{fs, io};

use crate::laboratory::findings::{Findings, Series};
use crate::plot::{Line, Plot};

/// Draws what can be drawn of an experiment's findings.
pub(crate) fn write(directory: &Path, findings: &Findings) -> io::Result<()> {
    if findings.experiment != "models" {
        return Ok(());
    }
    fs::create_dir_all(directory)?;
    for series in &findings.series {
        fs::write(directory.join("convergence.svg"), convergence(series))?;
    }
    let peak = bars(findings, "most admitted in 10 s, % of R");
    let over = Plot {
        title: "Most admitted in any 10 s, % of R·τ (the bound with B = 1 s of R: 110)".to_owned(),
        x: "by scheme".to_owned(),
        y: "%".to_owned(),
        x_range: (0.0, 1.0),
        y_range: (0.0, 150.0),
    };
    fs::write(directory.join("over-admission.svg"), over.bars(&peak))?;
    let fairness = Plot {
        title: "Jain's index of the proxies' admit ratios at 1.5 R, Zipf 1 (1: all alike)".to_owned(),
        x: "by scheme".to_owned(),
        y: "index".to_owned(),
        y_range: (0.8, 1.02),
        ..over
    };
    fs::write(
        directory.join("fairness.svg"),
        fairness.bars(&bars(findings, "Jain index of admit ratios before it")),
    )
}

/// The columns are: second, quota, then one per scheme.
fn convergence(series: &Series) -> String {
    let plot = Plot {
        title: "Admitted per second, % of R; the proxies' ranks are inverted at second 60".to_owned(),
        x: "seconds".to_owned(),
        y: "% of R".to_owned(),
        x_range: (50.0, 110.0),
        y_range: (0.0, 140.0),
    };
    let lines: Vec<Line> = (2..series.columns.len())
        .map(|column| {
            let points = series.rows.iter().map(|row| (row[0], row[column] / row[1] * 100.0));
            (series.columns[column].clone(), points.collect())
        })
        .collect();
    plot.lines(&lines)
}

fn bars(findings: &Findings, what: &str) -> Vec<(String, f64)> {
    let figures = findings.figures.iter().filter(|figure| figure.what == what);
    figures.map(|figure| (figure.variant.replace(" (model)", ""), figure.measured)).collect()
}
