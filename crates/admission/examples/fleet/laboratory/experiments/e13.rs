//! E13: the quota halved, doubled, boosted with an expiry, under load.

use std::time::Duration;

use super::super::findings::{Findings, Must};
use super::super::simulation::{Fleet, Pattern, Setup, random, samples};
use super::Options;

/// Within this of the new rate, in percent, a change is in force.
const CLOSE: f64 = 3.0;

pub(crate) fn run(options: &Options) -> Findings {
    let mut findings = Findings::new("E13");
    let (proxies, rate) = options.pick((100, 20_000), (50, 5_000));
    let weights = random::zipf(proxies, 1.0);
    let mut fleet = Fleet::new(Setup::new(options.seed, proxies, rate));
    let rate = rate as f64;
    fleet.demand(0, Pattern::Steady, |proxy| 4.0 * rate * weights[proxy]);
    fleet.run(Duration::from_secs(20));
    for (variant, factor) in
        [("halved", 0.5), ("doubled", 1.0), ("boosted threefold", 3.0), ("boost expired", 1.0)]
    {
        let changed = fleet.tables[0].meter.now();
        fleet.set_quota(0, factor * rate);
        fleet.run(Duration::from_secs(20));
        let meter = &fleet.tables[0].meter;
        let in_force = settled_after(meter.per_window(10), changed, factor * rate);
        findings.figure(variant, "seconds until in force", in_force, Must::AtMost(1.0));
    }
    let meter = &fleet.tables[0].meter;
    findings.figure("all changes", "excess, units", meter.excess(), Must::AtMost(0.0));
    findings.series("E13", &["second", "offered", "ideal", "admitted", "quota"], meter.per_window(10));
    findings
}

/// Seconds until the mean of the admitted rate over the following five seconds, and of each half second
/// in them, is close to `rate`.
fn settled_after(tenths: Vec<Vec<f64>>, changed: usize, rate: f64) -> f64 {
    let from = changed / samples(0.1);
    let mean = |start: usize| tenths[start..start + 5].iter().map(|row| row[3]).sum::<f64>() / 5.0;
    let last = tenths.len() - 6;
    let bad =
        (from..last.min(from + 150)).rev().find(|start| (mean(*start) / rate - 1.0).abs() * 100.0 > CLOSE);
    bad.map_or(0.0, |start| (start + 1 - from) as f64 / 10.0)
}
