//! E5: the fleet starts cold at 5 R, and the owner with it.

use std::time::Duration;

use super::super::findings::{Findings, Must};
use super::super::simulation::{Fleet, Pattern, Setup, random, samples};
use super::Options;

pub(crate) fn run(options: &Options) -> Findings {
    let mut findings = Findings::new("E5");
    for &(proxies, rate) in options.pick(&[(100, 20_000), (1_000, 100_000)][..], &[(100, 10_000)]) {
        let mut fleet = Fleet::new(Setup::new(options.seed, proxies, rate));
        let weights = random::zipf(proxies, 1.0);
        fleet.demand(0, Pattern::Steady, |proxy| 5.0 * rate as f64 * weights[proxy]);
        fleet.run(Duration::from_secs(30));
        let meter = &fleet.tables[0].meter;
        let variant = format!("{proxies} proxies");
        findings.figure(&variant, "excess, all windows, units", meter.excess(), Must::AtMost(0.0));
        let second = meter.percent_of_quota(samples(2.0), samples(3.0));
        findings.figure(&variant, "% of R in the third second", second, Must::AtLeast(95.0));
        let rest = meter.worst_dip(samples(2.0), meter.now(), samples(1.0));
        findings.figure(&variant, "worst second from then on, % of R", rest, Must::AtLeast(95.0));
        findings.series(
            format!("E5-{proxies}"),
            &["second", "offered", "ideal", "admitted", "quota"],
            meter.per_window(10),
        );
    }
    findings
}
