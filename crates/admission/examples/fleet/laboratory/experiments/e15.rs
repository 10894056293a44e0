//! E15: clients that retry as the AWS SDKs do, at 3 R.

use std::time::Duration;

use super::super::findings::{Findings, Must};
use super::super::simulation::{Client, Fleet, Pattern, Setup, random, samples};
use super::Options;

pub(crate) fn run(options: &Options) -> Findings {
    let mut findings = Findings::new("E15");
    let (proxies, rate, seconds) = options.pick((100, 20_000, 300), (50, 5_000, 60));
    let mut fleet = Fleet::new(Setup { client: Client::Sdk, ..Setup::new(options.seed, proxies, rate) });
    let weights = random::zipf(proxies, 1.0);
    fleet.demand(0, Pattern::Steady, |proxy| 3.0 * rate as f64 * weights[proxy]);
    fleet.run(Duration::from_secs(10));
    let mark = fleet.mark(0);
    fleet.run(Duration::from_secs(seconds));
    let meter = &fleet.tables[0].meter;
    let admitted: Vec<f64> =
        meter.per_second().iter().skip(mark.sample / samples(1.0)).map(|row| row[3]).collect();
    let mean = admitted.iter().sum::<f64>() / admitted.len() as f64;
    let variance = admitted.iter().map(|second| (second - mean).powi(2)).sum::<f64>() / admitted.len() as f64;
    findings.figure(
        "3 R, standard mode",
        "deviation of 1 s admitted, % of R",
        variance.sqrt() / rate as f64 * 100.0,
        Must::AtMost(2.0),
    );
    findings.figure(
        "3 R, standard mode",
        "% of R admitted",
        meter.percent_of_quota(mark.sample, meter.now()),
        Must::Nothing,
    );
    findings.figure("3 R, standard mode", "excess, units", meter.excess(), Must::AtMost(0.0));
    findings
}
