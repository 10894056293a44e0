//! Where results go: the terminal, and files.

use std::path::Path;

use anyhow::Context;

use super::args::OutputArgs;
use super::failure::Failure;
use crate::objective::Finding;
use crate::report;
use crate::result::RunResult;

/// Prints the summary, and writes the files that were asked for.
pub(super) fn write(
    result: &RunResult,
    findings: &[Finding],
    output: &OutputArgs,
    hdr: Option<&Path>,
) -> Result<(), Failure> {
    if let Some(path) = hdr {
        report::write_hdr(result, path).map_err(anyhow::Error::from)?;
    }
    let page = || report::html_judged(result, findings);
    show(output, result, page, || report::text_judged(result, findings))
}

/// Writes a result as JSON and as a page where that was asked for, and prints its text unless it was printed as JSON.
pub(super) fn show(
    output: &OutputArgs,
    result: &impl serde::Serialize,
    page: impl FnOnce() -> String,
    text: impl FnOnce() -> String,
) -> Result<(), Failure> {
    let mut printed = output.quiet;
    if let Some(path) = &output.json {
        let json = serde_json::to_string_pretty(result).map_err(anyhow::Error::from)?;
        printed |= put(path, &format!("{json}\n"))?;
    }
    if let Some(path) = &output.html {
        put(path, &page())?;
    }
    if !printed {
        print(&text())?;
    }
    Ok(())
}

/// Writes a file, or prints it if it is called `-`; says whether it was printed.
pub(super) fn put(path: &Path, text: &str) -> Result<bool, Failure> {
    if path == Path::new("-") {
        print(text)?;
        return Ok(true);
    }
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(false)
}

/// To stdout; a reader that has seen enough is no failure.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
