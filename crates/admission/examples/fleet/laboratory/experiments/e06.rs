//! E6: GAC killed for 1, 5 and 60 s and restarted empty; demand static, or inverted meanwhile.

use std::time::Duration;

use admission::OutagePolicy;

use super::super::findings::{Findings, Must};
use super::super::simulation::{Fleet, Pattern, Setup, random, samples};
use super::Options;

pub(crate) fn run(options: &Options) -> Findings {
    let mut findings = Findings::new("E6");
    let (proxies, rate) = options.pick((100, 20_000), (50, 5_000));
    for outage in [1, 5, 60] {
        for policy in [OutagePolicy::Strict, OutagePolicy::Static] {
            for inverted in [false, true] {
                kill(
                    &mut findings,
                    &Setup { outage: policy, ..Setup::new(options.seed, proxies, rate) },
                    outage,
                    inverted,
                );
            }
        }
    }
    findings
}

fn kill(findings: &mut Findings, setup: &Setup, outage: u64, inverted: bool) {
    let (proxies, rate) = (setup.proxies, setup.rate as f64);
    let weights = random::zipf(proxies, 1.0);
    let mut fleet = Fleet::new(setup.clone());
    fleet.demand(0, Pattern::Steady, |proxy| 1.5 * rate * weights[proxy]);
    fleet.run(Duration::from_secs(20));
    fleet.crash_server(0);
    let killed = fleet.tables[0].meter.now();
    if inverted {
        fleet.demand(0, Pattern::Steady, |proxy| 1.5 * rate * weights[proxies - 1 - proxy]);
    }
    fleet.run(Duration::from_secs(outage));
    fleet.restart_server(0);
    let back = fleet.tables[0].meter.now();
    fleet.run(Duration::from_secs(20));
    let meter = &fleet.tables[0].meter;
    let demand = if inverted { "inverted" } else { "static" };
    let policy = format!("{:?}", setup.outage).to_lowercase();
    let variant = format!("{outage} s, demand {demand}, policy {policy}");
    if inverted {
        let percent = meter.percent_of_ideal(back + samples(2.0), back + samples(12.0));
        findings.figure(&variant, "% of ideal from 2 s after the return", percent, Must::AtLeast(95.0));
    } else {
        let worst = meter.worst_dip(killed, meter.now(), samples(1.0));
        // A skewed fleet outlives its leases by its safe rates: by definition R/N each with `strict`.
        let must = if outage > 10 && setup.outage == OutagePolicy::Strict {
            Must::Nothing
        } else {
            Must::AtLeast(97.0)
        };
        findings.figure(&variant, "worst second, % of ideal", worst, must);
    }
    findings.figure(&variant, "excess, units", meter.excess(), Must::AtMost(0.0));
    findings.series(
        format!("E6-{outage}s-{demand}-{policy}"),
        &["second", "offered", "ideal", "admitted", "quota"],
        meter.per_window(10),
    );
}
