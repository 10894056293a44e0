//! The design's experiments, one file each.

mod e01;
mod e02;
mod e03;
mod e04;
mod e05;
mod e06;
mod e07;
mod e08;
mod e09;
mod e10;
mod e11;
mod e12;
mod e13;
mod e14;
mod e15;
mod e16;
mod e17;
mod models;

use super::findings::Findings;

/// How an experiment is run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    pub(crate) seed: u64,
    /// As the design has it; otherwise a short form of it.
    pub(crate) full: bool,
    /// The seed was asked for: E17 runs that one schedule.
    pub(crate) replay: bool,
}

impl Options {
    fn pick<T>(&self, full: T, short: T) -> T {
        if self.full { full } else { short }
    }
}

/// One of the design's experiments.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Experiment {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) run: fn(&Options) -> Findings,
}

/// All of them, in order.
pub(crate) const ALL: &[Experiment] = &[
    Experiment { name: "E1", about: "skewed fleets at 1.5 R", run: e01::run },
    Experiment { name: "E2", about: "refusals below the quota", run: e02::run },
    Experiment { name: "E3", about: "changes of demand and fleet", run: e03::run },
    Experiment { name: "E4", about: "proxies that are on and off", run: e04::run },
    Experiment { name: "E5", about: "a cold start at 5 R", run: e05::run },
    Experiment { name: "E6", about: "GAC killed and restarted empty", run: e06::run },
    Experiment { name: "E7", about: "ring changes", run: e07::run },
    Experiment { name: "E8", about: "proxies cut off", run: e08::run },
    Experiment { name: "E9", about: "loss, duplication, delay, reordering", run: e09::run },
    Experiment { name: "E10", about: "quotas too small to split", run: e10::run },
    Experiment { name: "E11", about: "costs known late", run: e11::run },
    Experiment { name: "E12", about: "tables of one account", run: e12::run },
    Experiment { name: "E13", about: "quota changes under load", run: e13::run },
    Experiment { name: "E14", about: "a million tables, ten thousand proxies", run: e14::run },
    Experiment { name: "E15", about: "SDK retries at 3 R", run: e15::run },
    Experiment { name: "E16", about: "restarting, lying, replaying proxies", run: e16::run },
    Experiment { name: "E17", about: "random schedules against the invariants", run: e17::run },
    Experiment { name: "models", about: "beside models of other schemes", run: models::run },
];
