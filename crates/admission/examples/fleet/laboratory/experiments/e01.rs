//! E1: 100 and 1,000 proxies, Zipf 0.8 to 1.2 over proxies, offered 1.5 R, 10 min.

use std::time::Duration;

use super::super::findings::{Findings, Must};
use super::super::simulation::{Fleet, Pattern, Setup, jain, random};
use super::Options;

pub(crate) fn run(options: &Options) -> Findings {
    let mut findings = Findings::new("E1");
    let fleets: &[(usize, u64, u64)] =
        options.pick(&[(100, 20_000, 600), (1_000, 100_000, 600)], &[(100, 10_000, 60), (1_000, 40_000, 30)]);
    let exponents: &[f64] = options.pick(&[0.8, 1.0, 1.2], &[0.8, 1.2]);
    for &(proxies, rate, seconds) in fleets {
        for &exponent in exponents {
            skewed(&mut findings, options, proxies, rate, seconds, exponent);
        }
    }
    findings
}

fn skewed(
    findings: &mut Findings,
    options: &Options,
    proxies: usize,
    rate: u64,
    seconds: u64,
    exponent: f64,
) {
    let variant = format!("{proxies} proxies, Zipf {exponent}");
    let mut fleet = Fleet::new(Setup::new(options.seed, proxies, rate));
    let weights = random::zipf(proxies, exponent);
    fleet.demand(0, Pattern::Steady, |proxy| 1.5 * rate as f64 * weights[proxy]);
    fleet.run(Duration::from_secs(5));
    let mark = fleet.mark(0);
    fleet.run(Duration::from_secs(seconds));
    let meter = &fleet.tables[0].meter;
    findings.figure(
        &variant,
        "% of ideal",
        meter.percent_of_ideal(mark.sample, meter.now()),
        Must::AtLeast(98.5),
    );
    findings.figure(&variant, "excess, all windows, units", meter.excess(), Must::AtMost(0.0));
    for window in [1, 10, 60] {
        let excess = (meter.fill(Duration::from_secs(window)) - 1.0).max(0.0);
        findings.figure(format!("{variant}, {window} s"), "excess, of B", excess, Must::AtMost(0.0));
    }
    let fairness = jain(&fleet.admit_ratios(0, &mark));
    findings.figure(&variant, "Jain index of admit ratios", fairness, Must::AtLeast(0.999));
    findings.figure(
        &variant,
        "report entries per proxy and second",
        entries_per_second(&fleet, proxies),
        Must::Nothing,
    );
    findings.series(
        format!("E1-{proxies}-zipf-{exponent}"),
        &["second", "offered", "ideal", "admitted", "quota"],
        meter.per_second(),
    );
}

fn entries_per_second(fleet: &Fleet, proxies: usize) -> f64 {
    fleet.entries as f64 / (fleet.now.as_nanos() as f64 / 1e9) / proxies as f64
}
