//! E8: 1, 20 and 50 % of the proxies cut off from GAC for 60 s, the hottest or the coldest.

use std::time::Duration;

use admission::OutagePolicy;

use super::super::findings::{Findings, Must};
use super::super::simulation::{Fleet, Pattern, Setup, random, samples};
use super::Options;

pub(crate) fn run(options: &Options) -> Findings {
    let mut findings = Findings::new("E8");
    let (proxies, rate) = options.pick((100, 20_000), (100, 5_000));
    for percent in [1, 20, 50] {
        for hottest in [true, false] {
            for policy in [OutagePolicy::Strict, OutagePolicy::Static] {
                let setup = Setup { outage: policy, ..Setup::new(options.seed, proxies, rate) };
                cut(&mut findings, &setup, percent, hottest);
            }
        }
    }
    findings
}

fn cut(findings: &mut Findings, setup: &Setup, percent: usize, hottest: bool) {
    let (proxies, rate) = (setup.proxies, setup.rate as f64);
    let weights = random::zipf(proxies, 1.0);
    let mut fleet = Fleet::new(setup.clone());
    fleet.demand(0, Pattern::Steady, |proxy| 1.5 * rate * weights[proxy]);
    fleet.run(Duration::from_secs(20));
    let count = proxies * percent / 100;
    let cut = if hottest { 0..count } else { proxies - count..proxies };
    let from = fleet.tables[0].meter.now();
    fleet.proxies[cut.clone()].iter_mut().for_each(|proxy| proxy.cut = true);
    fleet.run(Duration::from_secs(60));
    let to = fleet.tables[0].meter.now();
    fleet.proxies[cut].iter_mut().for_each(|proxy| proxy.cut = false);
    fleet.run(Duration::from_secs(20));
    let meter = &fleet.tables[0].meter;
    let which = if hottest { "hottest" } else { "coldest" };
    let policy = format!("{:?}", setup.outage).to_lowercase();
    let variant = format!("{percent} %, the {which}, policy {policy}");
    // With `strict`, a hot proxy that outlives its lease falls to R/N, by definition.
    let must = if percent == 20 && (setup.outage == OutagePolicy::Static || !hottest) {
        Must::AtLeast(97.0)
    } else {
        Must::Nothing
    };
    findings.figure(&variant, "% of ideal while cut off", meter.percent_of_ideal(from, to), must);
    let after = meter.percent_of_ideal(to + samples(2.0), meter.now());
    findings.figure(&variant, "% of ideal from 2 s after", after, Must::AtLeast(97.0));
    findings.figure(&variant, "excess, units", meter.excess(), Must::AtMost(0.0));
}
