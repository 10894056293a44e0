//! `weir load report`: results once more, as pages, tables or merged histograms.

use std::path::PathBuf;

use clap::Args;

use super::args::OutputArgs;
use super::failure::Failure;
use super::output::{print, put};
use crate::objective::Objective;
use crate::report;

/// Arguments of `weir load report`.
#[derive(Debug, Clone, Args)]
pub struct ReportArgs {
    /// Results of `weir load run --json`; HDR interval logs of any tool, beside them or alone.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Write the latencies of all files together as an HDR interval log.
    #[arg(long, value_name = "FILE")]
    hdr: Option<PathBuf>,
    /// What each run must hold, or the exit code is 99; repeatable.
    #[arg(long = "threshold", value_name = "OBJECTIVE")]
    thresholds: Vec<Objective>,
    #[command(flatten)]
    output: OutputArgs,
}

/// `weir load report`.
pub(super) fn run(args: &ReportArgs) -> Result<(), Failure> {
    let is_result = |file: &&PathBuf| file.extension().is_some_and(|extension| extension == "json");
    let results: Vec<_> = args
        .files
        .iter()
        .filter(is_result)
        .map(|file| Ok((file.display().to_string(), report::read_json(file)?)))
        .collect::<Result<_, report::UnreadableResult>>()
        .map_err(anyhow::Error::from)?;
    let judged: Vec<_> = results
        .iter()
        .map(|(name, result)| {
            let findings: Vec<_> = args.thresholds.iter().map(|objective| objective.holds(result)).collect();
            (name, result, findings)
        })
        .collect();
    if !args.output.quiet {
        for (name, result, findings) in &judged {
            let text = report::text_judged(result, findings);
            print(&if args.files.len() == 1 { text } else { format!("== {name}\n{text}\n") })?;
        }
    }
    let merged = args.files.len() > 1 || results.is_empty() || args.hdr.is_some();
    if merged {
        let merged = report::merge_hdr(&args.files).map_err(anyhow::Error::from)?;
        if let Some(path) = &args.hdr {
            merged.write(path).map_err(anyhow::Error::from)?;
        }
        if !args.output.quiet {
            let count = args.files.len();
            print(&format!(
                "== latency of {count} {} together\n{}",
                if count == 1 { "file" } else { "files" },
                merged.text()
            ))?;
        }
    }
    write(args, &judged)?;
    match judged.iter().flat_map(|(_, _, findings)| findings).find(|finding| !finding.held) {
        _ if judged.iter().any(|(_, result, _)| !result.validity.valid) => {
            Err(Failure::Invalid("a run was invalid: its figures say nothing about the service".into()))
        }
        Some(finding) => Err(Failure::Missed(finding.to_string())),
        None => Ok(()),
    }
}

type Judged<'a> = (&'a String, &'a crate::result::RunResult, Vec<crate::objective::Finding>);

fn write(args: &ReportArgs, judged: &[Judged<'_>]) -> Result<(), Failure> {
    if args.output.json.is_some() {
        return Err(Failure::Usage("a result is JSON already; --html and --hdr write other forms".into()));
    }
    let Some(path) = &args.output.html else { return Ok(()) };
    let page = match judged {
        [] => {
            return Err(Failure::Usage(
                "a page is made of results (.json); an HDR log has no more than latencies".into(),
            ));
        }
        [(_, result, findings)] => report::html_judged(result, findings),
        several => {
            let runs: Vec<_> = several.iter().map(|(name, result, _)| (name.as_str(), *result)).collect();
            report::html_many("Load runs", &runs)
        }
    };
    put(path, &page).map(|_| ())
}
