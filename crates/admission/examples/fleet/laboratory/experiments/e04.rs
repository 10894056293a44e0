//! E4: each proxy on and off with periods of 0.2, 1, 5 and 20 s at 0.8 R.

use std::time::Duration;

use super::super::findings::{Findings, Must};
use super::super::simulation::{Fleet, Network, Pattern, Setup};
use super::Options;

pub(crate) fn run(options: &Options) -> Findings {
    let mut findings = Findings::new("E4");
    let (proxies, rate, seconds) = options.pick((100, 20_000, 300), (50, 5_000, 40));
    for (round_trip, floor) in [(10, 95.0), (100, 90.0)] {
        for period in [0.2, 1.0, 5.0, 20.0] {
            let network = Network::good(Duration::from_millis(round_trip));
            let mut fleet = Fleet::new(Setup { network, ..Setup::new(options.seed, proxies, rate) });
            let each = 0.8 * rate as f64 / proxies as f64;
            fleet.demand(0, Pattern::OnOff { period }, |_| each);
            fleet.run(Duration::from_secs(20));
            let mark = fleet.mark(0);
            fleet.run(Duration::from_secs(seconds));
            let meter = &fleet.tables[0].meter;
            let variant = format!("period {period} s, round trip {round_trip} ms");
            let percent = meter.percent_of_ideal(mark.sample, meter.now());
            findings.figure(&variant, "% of ideal", percent, Must::AtLeast(floor));
            findings.figure(&variant, "excess, units", meter.excess(), Must::AtMost(0.0));
        }
    }
    findings
}
