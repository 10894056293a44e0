//! E11: costs lognormal from 1 to 4,000 units, known only with the response; and what one 1 MB read does
//! to small requests.

use std::time::Duration;

use units::MilliUnits;

use super::super::findings::{Findings, Must};
use super::super::simulation::{Client, Cost, Fleet, Pattern, Setup, random};
use super::Options;

/// 1 MB, strongly consistent: 4 KB a unit.
const LARGE_READ: MilliUnits = MilliUnits::from_units(256);

pub(crate) fn run(options: &Options) -> Findings {
    let mut findings = Findings::new("E11");
    late(&mut findings, options);
    large(&mut findings, options);
    findings
}

fn late(findings: &mut Findings, options: &Options) {
    let (proxies, rate, seconds) = options.pick((50, 100_000, 300), (20, 20_000, 40));
    let cost = Cost::Late { median: 20.0, sigma: 1.5, most: 4000.0, after: Duration::from_millis(20) };
    let mut fleet = Fleet::new(Setup { cost, ..Setup::new(options.seed, proxies, rate) });
    let weights = random::zipf(proxies, 1.0);
    // A lognormal cost's mean is median · exp(σ²/2): 61 units, a little less as it is cut off.
    fleet.demand(0, Pattern::Steady, |proxy| 1.5 * rate as f64 / 60.0 * weights[proxy]);
    fleet.run(Duration::from_secs(10));
    let mark = fleet.mark(0);
    fleet.run(Duration::from_secs(seconds));
    let meter = &fleet.tables[0].meter;
    let excess = meter.excess();
    let debt = fleet.most_debt as f64 / 1000.0;
    findings.figure("lognormal costs", "excess beyond D, units", (excess - debt).max(0.0), Must::AtMost(0.0));
    findings.figure("lognormal costs", "excess, units", excess, Must::Nothing);
    findings.figure("lognormal costs", "D: largest debt of the fleet, units", debt, Must::Nothing);
    let percent = meter.percent_of_quota(mark.sample, meter.now());
    findings.figure("lognormal costs", "% of R admitted", percent, Must::Nothing);
}

/// Small requests at 0.5 R wait until they are admitted; once a second, one of the proxies serves a read
/// that turns out to be 1 MB.
fn large(findings: &mut Findings, options: &Options) {
    let p99 = |large: bool| {
        let mut fleet = Fleet::new(Setup { client: Client::Waits, ..Setup::new(options.seed, 4, 2_000) });
        fleet.demand(0, Pattern::Steady, |_| 0.5 * 2_000.0 / 4.0);
        fleet.run(Duration::from_secs(10));
        fleet.tables[0].keeps_waits = true;
        for second in 0..options.pick(300, 60) {
            fleet.run(Duration::from_secs(1));
            if large {
                fleet.charge(second % 4, 0, LARGE_READ);
            }
        }
        let mut waits = std::mem::take(&mut fleet.tables[0].waits);
        waits.sort_by(f64::total_cmp);
        waits[waits.len() * 99 / 100]
    };
    // What a small request takes besides, so that a wait of nothing can be compared: one round trip.
    const SERVED_MS: f64 = 10.0;
    let (without, with) = (p99(false) + SERVED_MS, p99(true) + SERVED_MS);
    findings.figure(
        "1 MB read a second",
        "small requests' p99, rise in %",
        (with / without - 1.0) * 100.0,
        Must::AtMost(20.0),
    );
    findings.figure("1 MB read a second", "p99 without, ms", without, Must::Nothing);
    findings.figure("1 MB read a second", "p99 with, ms", with, Must::Nothing);
}
