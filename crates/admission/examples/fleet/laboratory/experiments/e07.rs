//! E7: the ring changes every 10 s, with and without drain; and an old owner that is cut off but alive.

use std::time::Duration;

use super::super::findings::{Findings, Must};
use super::super::simulation::{Fleet, Pattern, Setup, random, samples};
use super::Options;

const TABLES: usize = 12;

/// How buckets come to their next owner.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Move {
    /// The old owner hands its sums over.
    Drained,
    /// It does not: the new one learns.
    Undrained,
    /// It neither hears of the new ring nor can be reached by others; half of the proxies reach it.
    CutOff,
}

pub(crate) fn run(options: &Options) -> Findings {
    let mut findings = Findings::new("E7");
    for (variant, how) in [
        ("with drain", Move::Drained),
        ("without drain", Move::Undrained),
        ("old owner cut off but alive", Move::CutOff),
    ] {
        changes(&mut findings, options, variant, how);
    }
    findings
}

fn changes(findings: &mut Findings, options: &Options, variant: &str, how: Move) {
    let (proxies, rate, rounds) = options.pick((50, 2_000, 60), (20, 1_000, 6));
    let mut fleet =
        Fleet::new(Setup { tables: TABLES, servers: 3, ..Setup::new(options.seed, proxies, rate) });
    fleet.hands_over = how == Move::Drained;
    let weights = random::zipf(proxies, 0.8);
    for table in 0..TABLES {
        fleet.demand(table, Pattern::Steady, |proxy| {
            1.5 * rate as f64 * weights[(proxy + 7 * table) % proxies]
        });
    }
    fleet.run(Duration::from_secs(20));
    let from = fleet.tables[0].meter.now();
    for round in 0..rounds {
        change(&mut fleet, how, round);
        fleet.run(Duration::from_secs(10));
    }
    let to = fleet.tables[0].meter.now();
    let (mut worst_second, mut longest, mut excess) = (100.0_f64, 0.0_f64, 0.0_f64);
    let dips = Dips::of(&fleet, from, to);
    worst_second = worst_second.min(dips.worst_second);
    longest = longest.max(dips.longest);
    for table in &fleet.tables {
        excess = excess.max(table.meter.excess());
    }
    findings.figure(variant, "worst second of all tables, % of ideal", worst_second, Must::AtLeast(97.0));
    findings.figure(variant, "longest below 97 % (over 0.2 s), seconds", longest, Must::AtMost(1.0));
    findings.figure(variant, "excess of the worst table, units", excess, Must::AtMost(0.0));
    findings.figure(
        variant,
        "grants of a lower epoch accepted",
        fleet.lower_epochs as f64,
        Must::AtMost(0.0),
    );
}

/// Three servers, and in every second round only two.
fn change(fleet: &mut Fleet, how: Move, round: usize) {
    let leaves = round / 2 % 3;
    if round.is_multiple_of(2) {
        if how == Move::CutOff {
            fleet.servers[leaves].cut_from_control = true;
            let half = fleet.proxies.len() / 2;
            fleet.proxies[..half].iter_mut().for_each(|proxy| proxy.cut_from = Some(leaves));
        }
        fleet.change_ring((0..3).filter(|server| *server != leaves));
    } else {
        fleet.servers.iter_mut().for_each(|server| server.cut_from_control = false);
        fleet.proxies.iter_mut().for_each(|proxy| proxy.cut_from = None);
        fleet.change_ring(0..3);
    }
}

struct Dips {
    worst_second: f64,
    longest: f64,
}

impl Dips {
    fn of(fleet: &Fleet, from: usize, to: usize) -> Self {
        let sum = |sample: usize| {
            fleet.tables.iter().fold((0, 0), |(admitted, ideal), table| {
                let sample = table.meter.samples[sample];
                (admitted + sample.admitted, ideal + sample.ideal)
            })
        };
        let sums: Vec<(u64, u64)> = (from..=to).map(sum).collect();
        let percent = |start: usize, window: usize| {
            let ((admitted, ideal), (admitted_to, ideal_to)) = (sums[start], sums[start + window]);
            (admitted_to - admitted) as f64 * 100.0 / (ideal_to - ideal).max(1) as f64
        };
        let second = samples(1.0);
        let worst_second = (0..sums.len() - second).map(|start| percent(start, second)).fold(100.0, f64::min);
        let short = samples(0.2);
        let (mut longest, mut run) = (0, 0);
        for start in 0..sums.len() - short {
            run = if percent(start, short) < 97.0 { run + 1 } else { 0 };
            longest = longest.max(run);
        }
        Self { worst_second, longest: longest as f64 / samples(1.0) as f64 }
    }
}
