//! The fleet simulator: the design's experiments over the real admission code.

mod command_line;
mod csv;
mod laboratory;
mod plot;
mod plots;
mod table;

use std::process::ExitCode;

use command_line::Request;
use laboratory::experiments::Options;

/// What runs start from unless told otherwise.
const DEFAULT_SEED: u64 = 1;

fn main() -> ExitCode {
    let request = match Request::from_arguments(std::env::args().skip(1)) {
        Ok(request) => request,
        Err(told) => {
            println!("{told}");
            return ExitCode::from(u8::from(!told.is_help()) * 2);
        }
    };
    let options = Options {
        seed: request.seed.unwrap_or(DEFAULT_SEED),
        full: !request.short,
        replay: request.seed.is_some(),
    };
    let mut figures = Vec::new();
    let mut missed = false;
    for experiment in &request.experiments {
        eprintln!("{}: {} …", experiment.name, experiment.about);
        let findings = (experiment.run)(&options);
        if let Some(directory) = &request.out
            && let Err(error) = csv::write(directory, &findings.series)
        {
            eprintln!("cannot write to {}: {error}", directory.display());
            return ExitCode::from(2);
        }
        if let Some(directory) = &request.plot
            && let Err(error) = plots::write(directory, &findings)
        {
            eprintln!("cannot write to {}: {error}", directory.display());
            return ExitCode::from(2);
        }
        missed |= !findings.missed().is_empty();
        figures.extend(findings.figures);
    }
    print!("{}", table::render(&figures));
    ExitCode::from(u8::from(missed))
}
