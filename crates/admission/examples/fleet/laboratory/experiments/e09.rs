//! E9: 5 and 20 % of the messages lost, some come twice, overtake each other, or are a second late.

use std::time::Duration;

use super::super::findings::{Findings, Must};
use super::super::simulation::{Fleet, Network, Pattern, Setup, random};
use super::Options;

pub(crate) fn run(options: &Options) -> Findings {
    let mut findings = Findings::new("E9");
    let (proxies, rate, seconds) = options.pick((100, 20_000, 300), (50, 5_000, 60));
    for (loss, floor) in [(0.05, 98.0), (0.2, 95.0)] {
        let variant = format!("{} % lost and twice, 10 % up to 1 s late", loss * 100.0);
        let network = Network {
            loss,
            duplicates: loss,
            delayed: 0.1,
            delay: Duration::from_secs(1),
            ..Network::good(Duration::from_millis(10))
        };
        let mut fleet = Fleet::new(Setup { network, ..Setup::new(options.seed, proxies, rate) });
        let weights = random::zipf(proxies, 1.0);
        fleet.demand(0, Pattern::Steady, |proxy| 1.5 * rate as f64 * weights[proxy]);
        fleet.run(Duration::from_secs(10));
        let mark = fleet.mark(0);
        fleet.run(Duration::from_secs(seconds));
        let meter = &fleet.tables[0].meter;
        let percent = meter.percent_of_ideal(mark.sample, meter.now());
        findings.figure(&variant, "% of ideal", percent, Must::AtLeast(floor));
        findings.figure(&variant, "excess, units", meter.excess(), Must::AtMost(0.0));
    }
    findings
}
