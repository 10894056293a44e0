//! The measured figures as a table that is also Markdown.

use crate::laboratory::findings::Figure;

/// One line per figure.
pub(crate) fn render(figures: &[Figure]) -> String {
    let mut rows = vec![["", "variant", "what", "measured", "must reach", ""].map(str::to_owned)];
    rows.extend(figures.iter().map(|figure| {
        [
            figure.experiment.to_owned(),
            figure.variant.clone(),
            figure.what.to_owned(),
            number(figure.measured),
            figure.must_text(),
            figure.verdict().to_owned(),
        ]
    }));
    let widths: Vec<usize> =
        (0..6).map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)).collect();
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text += &format!("| {} |\n", cells.join(" | "));
        if index == 0 {
            let rules: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
            text += &format!("|-{}-|\n", rules.join("-|-"));
        }
    }
    text
}

fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        large if large >= 1000.0 => format!("{value:.0}"),
        small if small < 1.0 => format!("{value:.4}"),
        _ => format!("{value:.2}"),
    }
}
