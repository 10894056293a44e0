//! What the example is asked to do.

use std::fmt;
use std::path::PathBuf;

use crate::laboratory::experiments::{ALL, Experiment};

/// What to run, and where to leave the numbers.
pub(crate) struct Request {
    pub(crate) experiments: Vec<Experiment>,
    pub(crate) seed: Option<u64>,
    pub(crate) short: bool,
    pub(crate) out: Option<PathBuf>,
    pub(crate) plot: Option<PathBuf>,
}

/// What is printed instead of running anything.
pub(crate) enum Told {
    Help,
    Wrong(String),
}

impl Told {
    pub(crate) const fn is_help(&self) -> bool {
        matches!(self, Self::Help)
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::Wrong(what) = self {
            return write!(f, "{what}\nTry --help.");
        }
        writeln!(f, "Runs the admission design's experiments in a simulated fleet.\n")?;
        writeln!(f, "  fleet [--short] [--seed N] [--out DIR] [--plot DIR] EXPERIMENT … | all\n")?;
        for experiment in ALL {
            writeln!(f, "  {:<5} {}", experiment.name, experiment.about)?;
        }
        writeln!(f, "\n  --short    a short form of each, as the tests run it")?;
        writeln!(f, "  --seed N   another run; the same N gives the same run (default 1).")?;
        writeln!(f, "             With E17: only the one schedule of that seed, to replay a failure")?;
        writeln!(f, "  --out DIR  writes each series as CSV")?;
        writeln!(f, "  --plot DIR draws the comparison with other schemes as SVG (with `models`)")?;
        write!(f, "\nPrints what was measured and what must be reached; exits with 1 on a miss.")
    }
}

impl Request {
    pub(crate) fn from_arguments(arguments: impl Iterator<Item = String>) -> Result<Self, Told> {
        let mut request = Self { experiments: Vec::new(), seed: None, short: false, out: None, plot: None };
        let mut arguments = arguments;
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--help" | "-h" => return Err(Told::Help),
                "--short" => request.short = true,
                "--seed" => {
                    let seed = arguments.next().and_then(|text| text.parse().ok());
                    let missing = || Told::Wrong("--seed needs a number".to_owned());
                    request.seed = Some(seed.ok_or_else(missing)?);
                }
                "--plot" => request.plot = Some(path(arguments.next())?),
                "--out" => request.out = Some(path(arguments.next())?),
                "all" => request.experiments = ALL.to_vec(),
                name => {
                    let known = ALL.iter().find(|experiment| experiment.name.eq_ignore_ascii_case(name));
                    let unknown = || Told::Wrong(format!("there is no experiment {name}"));
                    request.experiments.push(*known.ok_or_else(unknown)?);
                }
            }
        }
        if request.experiments.is_empty() { Err(Told::Help) } else { Ok(request) }
    }
}

fn path(argument: Option<String>) -> Result<PathBuf, Told> {
    argument.map(PathBuf::from).ok_or_else(|| Told::Wrong("this option needs a directory".to_owned()))
}
