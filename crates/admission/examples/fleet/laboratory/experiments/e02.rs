//! E2: the same fleets at 0.5, 0.8 and 0.95 R: next to nothing is refused that Ideal would admit.

use std::time::Duration;

use super::super::findings::{Findings, Must};
use super::super::simulation::{Fleet, Pattern, Setup, random};
use super::Options;

pub(crate) fn run(options: &Options) -> Findings {
    let mut findings = Findings::new("E2");
    let fleets: &[(usize, u64, u64)] =
        options.pick(&[(100, 20_000, 600), (1_000, 100_000, 600)], &[(100, 10_000, 60)]);
    let exponents: &[f64] = options.pick(&[0.8, 1.0, 1.2], &[1.0]);
    for &(proxies, rate, seconds) in fleets {
        for &exponent in exponents {
            for (load, most) in [(0.5, 0.05), (0.8, 0.1), (0.95, 0.1)] {
                let variant = format!("{proxies} proxies, Zipf {exponent}, {load} R");
                let mut fleet = Fleet::new(Setup::new(options.seed, proxies, rate));
                let weights = random::zipf(proxies, exponent);
                fleet.demand(0, Pattern::Steady, |proxy| load * rate as f64 * weights[proxy]);
                fleet.run(Duration::from_secs(10));
                let mark = fleet.mark(0);
                fleet.run(Duration::from_secs(seconds));
                let meter = &fleet.tables[0].meter;
                let refused = meter.percent_share_refused(mark.sample, meter.now());
                findings.figure(&variant, "% refused as `share`", refused, Must::AtMost(most));
                findings.figure(&variant, "excess, units", meter.excess(), Must::AtMost(0.0));
            }
        }
    }
    findings
}
