//! E16: a proxy that restarts every second, one that lies, one that replays its reports.

use std::time::Duration;

use super::super::findings::{Findings, Must};
use super::super::simulation::{Fleet, Lie, Pattern, Setup, random};
use super::Options;

pub(crate) fn run(options: &Options) -> Findings {
    let mut findings = Findings::new("E16");
    let (proxies, rate, seconds) = options.pick((50, 10_000, 300), (20, 2_000, 60));
    for (variant, lie, restarts) in [
        ("restarts every second", Lie::Honest, true),
        ("inflates all it says", Lie::Inflates, false),
        ("replays each report", Lie::Replays, false),
    ] {
        let mut fleet = Fleet::new(Setup::new(options.seed, proxies, rate));
        let weights = random::zipf(proxies, 1.0);
        fleet.demand(0, Pattern::Steady, |proxy| 1.5 * rate as f64 * weights[proxy]);
        fleet.run(Duration::from_secs(10));
        fleet.proxies[1].lie = lie;
        for _ in 0..seconds {
            fleet.run(Duration::from_secs(1));
            if restarts {
                fleet.proxies[1].restart();
            }
        }
        let safe_rate = rate as f64 / proxies as f64;
        let excess = fleet.tables[0].meter.excess();
        findings.figure(variant, "excess, of its safe rate", excess / safe_rate, Must::AtMost(1.0));
    }
    findings
}
