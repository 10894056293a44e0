//! E10: 1 to 50 units a second over 10 to 1,000 proxies; and modes that change both ways.

use std::time::Duration;

use admission::Mode;

use super::super::findings::{Findings, Must};
use super::super::simulation::{Fleet, Pattern, Setup, samples};
use super::Options;

pub(crate) fn run(options: &Options) -> Findings {
    let mut findings = Findings::new("E10");
    let cases: &[(u64, usize)] = options.pick(
        &[(1, 10), (1, 100), (1, 1_000), (10, 10), (10, 100), (10, 1_000), (50, 10), (50, 100), (50, 1_000)],
        &[(1, 10), (10, 100), (50, 10), (50, 200)],
    );
    for &(rate, proxies) in cases {
        small(&mut findings, options, rate, proxies);
    }
    switches(&mut findings, options);
    findings
}

fn small(findings: &mut Findings, options: &Options, rate: u64, proxies: usize) {
    for load in [0.8, 1.5] {
        let variant = format!("{rate}/s over {proxies} proxies, {load} R");
        // A burst of ten seconds, at least ten requests: with one of a second a Poisson process could not
        // be served by anybody.
        let setup = Setup { burst_seconds: 10.0, ..Setup::new(options.seed, proxies, rate) };
        let mut fleet = Fleet::new(setup);
        fleet.demand(0, Pattern::Steady, |_| load * rate as f64 / proxies as f64);
        fleet.run(Duration::from_secs(20));
        let mark = fleet.mark(0);
        fleet.run(Duration::from_secs(options.pick(600, 120)));
        let meter = &fleet.tables[0].meter;
        let percent = meter.percent_of_ideal(mark.sample, meter.now());
        findings.figure(&variant, "% of ideal", percent, Must::AtLeast(99.0));
        findings.figure(&variant, "excess, units", meter.excess(), Must::AtMost(0.0));
    }
}

/// The quota of 20 proxies grows from too small to split to ample, and back.
fn switches(findings: &mut Findings, options: &Options) {
    let mut fleet = Fleet::new(Setup::new(options.seed, 20, 40));
    fleet.demand(0, Pattern::Steady, |_| 1_500.0 / 20.0);
    fleet.run(Duration::from_secs(20));
    let before = fleet.mode(0);
    fleet.set_quota(0, 1_000.0);
    let up = fleet.tables[0].meter.now();
    fleet.run(Duration::from_secs(20));
    let between = fleet.mode(0);
    fleet.set_quota(0, 40.0);
    let down = fleet.tables[0].meter.now();
    let mut after = Vec::new();
    for _ in 0..20 {
        fleet.run(Duration::from_secs(1));
        after.extend(fleet.mode(0));
    }
    let back_in_direct = after.iter().filter(|mode| **mode == Mode::Direct).count();
    let meter = &fleet.tables[0].meter;
    let variant = "40/s, 1,000/s, 40/s over 20 proxies";
    let there = meter.percent_of_quota(up + samples(2.0), down);
    findings.figure(variant, "% of R from 2 s after the raise", there, Must::AtLeast(97.0));
    let back = meter.percent_of_quota(down + samples(2.0), meter.now());
    findings.figure(variant, "% of R from 2 s after the cut", back, Must::AtLeast(97.0));
    findings.figure(variant, "excess, units", meter.excess(), Must::AtMost(0.0));
    let changes = u8::from(before == Some(Mode::Direct) && between == Some(Mode::Leased))
        + u8::from(between == Some(Mode::Leased) && back_in_direct > 0);
    findings.figure(variant, "mode switches, of two", f64::from(changes), Must::AtLeast(2.0));
    findings.figure(variant, "seconds in direct mode, of the last 20", back_in_direct as f64, Must::Nothing);
    findings.series("E10-switch", &["second", "offered", "ideal", "admitted", "quota"], meter.per_window(50));
}
