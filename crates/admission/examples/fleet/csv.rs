//! Series as CSV files.

use std::fmt::Write as _;
use std::path::Path;
use std::{fs, io};

use crate::laboratory::findings::Series;

/// Writes one file per series.
pub(crate) fn write(directory: &Path, series: &[Series]) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    for one in series {
        fs::write(directory.join(format!("{}.csv", one.name)), text(one))?;
    }
    Ok(())
}

fn text(series: &Series) -> String {
    let mut text = series.columns.join(",") + "\n";
    for row in &series.rows {
        let cells: Vec<String> = row.iter().map(|value| format!("{value:.3}")).collect();
        writeln!(text, "{}", cells.join(",")).expect("a string takes everything");
    }
    text
}
