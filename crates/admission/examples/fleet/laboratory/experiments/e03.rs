//! E3: ranks inverted; one proxy spikes tenfold; the fleet doubles, or halves.

use std::time::Duration;

use super::super::findings::{Findings, Must};
use super::super::simulation::{Fleet, Pattern, Setup, random, samples};
use super::Options;

/// What is judged: windows of half a second …
const WINDOW_SECONDS: f64 = 0.5;
/// … of which every one must reach this part of Ideal, in percent.
const FLOOR: f64 = 97.0;

struct Stage {
    fleet: Fleet,
    proxies: usize,
    rate: f64,
    weights: Vec<f64>,
}

impl Stage {
    /// A skewed fleet at 1.5 R that has settled.
    fn settled(options: &Options, proxies: usize, rate: u64) -> Self {
        let mut fleet = Fleet::new(Setup::new(options.seed, proxies, rate));
        let weights = random::zipf(proxies, 1.0);
        let rate = rate as f64;
        fleet.demand(0, Pattern::Steady, |proxy| 1.5 * rate * weights[proxy]);
        fleet.run(Duration::from_secs(20));
        Self { fleet, proxies, rate, weights }
    }

    fn judge(mut self, findings: &mut Findings, variant: &str) {
        let changed = self.fleet.tables[0].meter.now();
        self.fleet.run(Duration::from_secs(20));
        let meter = &self.fleet.tables[0].meter;
        let seconds = meter.convergence(changed, samples(WINDOW_SECONDS), FLOOR, samples(18.0));
        let variant = format!("{} proxies: {variant}", self.proxies);
        findings.figure(&variant, "seconds to 97 % of ideal", seconds, Must::AtMost(1.0));
        let dip = meter.worst_dip(changed, changed + samples(5.0), samples(1.0));
        findings.figure(&variant, "worst second, % of ideal", dip, Must::Nothing);
        findings.figure(&variant, "excess, units", meter.excess(), Must::AtMost(0.0));
        let name = format!("E3-{}", variant.replace([' ', ':', ','], "-"));
        findings.series(name, &["second", "offered", "ideal", "admitted", "quota"], meter.per_window(10));
    }
}

pub(crate) fn run(options: &Options) -> Findings {
    let mut findings = Findings::new("E3");
    for &(proxies, rate) in options.pick(&[(100, 20_000), (1_000, 100_000)][..], &[(100, 10_000)]) {
        inverted(&mut findings, Stage::settled(options, proxies, rate));
        spiking(&mut findings, Stage::settled(options, proxies, rate));
        doubled(&mut findings, Stage::settled(options, proxies, rate));
        halved(&mut findings, Stage::settled(options, proxies, rate));
    }
    findings
}

fn inverted(findings: &mut Findings, mut stage: Stage) {
    let Stage { proxies, rate, ref weights, .. } = stage;
    stage.fleet.demand(0, Pattern::Steady, |proxy| 1.5 * rate * weights[proxies - 1 - proxy]);
    stage.judge(findings, "ranks inverted");
}

fn spiking(findings: &mut Findings, mut stage: Stage) {
    let Stage { rate, ref weights, proxies, .. } = stage;
    let spiking = proxies / 10;
    stage.fleet.demand(0, Pattern::Steady, |proxy| {
        1.5 * rate * weights[proxy] * if proxy == spiking { 10.0 } else { 1.0 }
    });
    stage.judge(findings, "one spikes tenfold");
}

/// As many again start, and the load is spread over all of them.
fn doubled(findings: &mut Findings, mut stage: Stage) {
    let Stage { proxies, rate, .. } = stage;
    let weights = random::zipf(2 * proxies, 1.0);
    stage.fleet.join(proxies);
    stage.fleet.demand(0, Pattern::Steady, |proxy| 1.5 * rate * weights[proxy]);
    stage.judge(findings, "the fleet doubles");
}

/// Every second one leaves, and the others take its load.
fn halved(findings: &mut Findings, mut stage: Stage) {
    let Stage { proxies, rate, ref weights, .. } = stage;
    let stay: f64 = weights.iter().step_by(2).sum();
    (1..proxies).step_by(2).for_each(|proxy| stage.fleet.leave(proxy));
    stage.fleet.demand(0, Pattern::Steady, |proxy| {
        if proxy.is_multiple_of(2) { 1.5 * rate * weights[proxy] / stay } else { 0.0 }
    });
    stage.judge(findings, "the fleet halves, leaving in order");
}
