//! E14: a million on-demand tables, 10,000 proxies, 10 million requests a second, Zipf 1 over tables.
//!
//! A table's quota is as on-demand has it: the larger of 12,000 a second and twice its previous peak, and
//! 300 s of it as burst. One table's proxies, keepers and owner are simulated at a time, for a sample of
//! ranks; each sampled rank stands for those between it and the next (the mean of the two). Memory and
//! time are measured at one real allocator that holds every (table, proxy) pair that is tracked.

use std::time::Duration;

use admission::{
    Allocator, AllocatorConfig, BucketId, CapacityKind, GrantNumber, Quota, ReportEntry, ReportHeader,
};
use units::{Epoch, MilliUnits, MilliUnitsPerSecond, ProxyId, TableId, Timestamp};

use super::super::findings::{Findings, Must};
use super::super::simulation::{Fleet, Pattern, Setup};
use super::Options;

const REQUESTS: f64 = 1e7;
/// Σ 1/rank over a million tables.
const HARMONIC: f64 = 14.392_727;
const FIRST_QUOTA: f64 = 12_000.0;

/// What one table of some rank costs.
#[derive(Clone, Copy, Debug)]
struct Sampled {
    rank: f64,
    entries_per_second: f64,
    tracked: f64,
    bucket: bool,
}

pub(crate) fn run(options: &Options) -> Findings {
    let mut findings = Findings::new("E14");
    // The short form has a hundredth of the proxies, tables and requests.
    let scale = options.pick(1.0, 100.0);
    let proxies = (10_000.0 / scale) as usize;
    let ranks: &[f64] = options.pick(
        &[
            1.0, 10.0, 50.0, 110.0, 125.0, 200.0, 240.0, 500.0, 1_500.0, 5_000.0, 7_000.0, 20_000.0,
            60_000.0, 200_000.0, 1e6,
        ],
        &[1.0, 110.0, 240.0, 1_500.0, 7_000.0, 60_000.0, 1e6],
    );
    let sampled: Vec<Sampled> = ranks.iter().map(|rank| table(options, *rank, proxies, scale)).collect();
    let (mut entries, mut tracked, mut buckets) = (0.0, 0.0, 0.0);
    for pair in sampled.windows(2) {
        let tables = pair[1].rank - pair[0].rank;
        entries += tables * (pair[0].entries_per_second + pair[1].entries_per_second) / 2.0;
        tracked += tables * (pair[0].tracked + pair[1].tracked) / 2.0;
        buckets += tables * (f64::from(u8::from(pair[0].bucket)) + f64::from(u8::from(pair[1].bucket))) / 2.0;
    }
    let variant = if options.full { "10,000 proxies" } else { "100 proxies, scaled by 100" };
    // Entries and pairs grow with the proxies.
    findings.figure(variant, "report entries, millions a second", entries * scale / 1e6, Must::AtMost(4.0));
    findings.figure(variant, "tracked (table, proxy) pairs, millions", tracked * scale / 1e6, Must::Nothing);
    findings.figure(variant, "tables with a bucket, thousands", buckets / 1e3, Must::Nothing);
    let rows = sampled.iter().map(|one| vec![one.rank, one.entries_per_second, one.tracked]).collect();
    findings.series("E14-ranks", &["rank", "entries a second", "tracked proxies"], rows);
    let pairs = (tracked * scale / options.pick(1.0, 50.0)) as u64;
    allocator(&mut findings, options, pairs, buckets as u64, 10_000);
    findings
}

/// The quota and load of the table of some rank.
fn load(rank: f64) -> (f64, f64) {
    let load = REQUESTS / HARMONIC / rank;
    (FIRST_QUOTA.max(2.0 * load), load)
}

/// A minute of one table, after another one.
fn table(options: &Options, rank: f64, proxies: usize, scale: f64) -> Sampled {
    let (quota, load) = load(rank);
    let setup = Setup {
        burst_seconds: 300.0,
        // Coarse, yet fine enough for acknowledgements to follow their grants at once.
        step: Duration::from_millis(40),
        ..Setup::new(options.seed, proxies, (quota / scale) as u64)
    };
    let mut fleet = Fleet::new(setup);
    fleet.demand(0, Pattern::Steady, |_| load / scale / proxies as f64);
    let warm = options.pick(90, 60);
    fleet.run(Duration::from_secs(warm));
    let before = fleet.entries;
    let measured = 60;
    fleet.run(Duration::from_secs(measured));
    let summary = fleet.summary(0);
    Sampled {
        rank,
        entries_per_second: (fleet.entries - before) as f64 / measured as f64,
        tracked: summary.map_or(0.0, |summary| summary.proxies as f64),
        bucket: summary.is_some(),
    }
}

/// One allocator with so many tracked pairs: what it holds in memory, and how fast it answers.
fn allocator(findings: &mut Findings, options: &Options, pairs: u64, buckets: u64, proxies: u64) {
    let at = |millis: u64| Timestamp::from_nanos(millis * 1_000_000);
    let config = AllocatorConfig { expected_proxies: proxies as u32, ..AllocatorConfig::default() };
    let before = resident_bytes();
    let mut allocator = Allocator::new(Epoch::new(1), config, at(0));
    let header = |proxy: u64| ReportHeader {
        proxy: ProxyId::new(proxy),
        session: 1,
        fleet: 0,
        ring: Epoch::new(0),
        leaving: false,
        session_age: Duration::ZERO,
    };
    (0..proxies).for_each(|proxy| allocator.hear(&header(proxy), at(0)));
    let entry =
        |table: u64, admitted: u64, acknowledged: GrantNumber, rate: MilliUnitsPerSecond| ReportEntry {
            bucket: BucketId::new(TableId::new(table), CapacityKind::Read),
            admitted: MilliUnits::from_units(admitted),
            throttled: MilliUnits::ZERO,
            returned: MilliUnits::ZERO,
            held: MilliUnits::from_units(1),
            need: MilliUnits::from_units(2),
            acknowledged,
            rate_in_use: rate,
            quota: Quota::with_usual_burst(MilliUnitsPerSecond::from_units(20_000), 1),
        };
    let tables = pairs / proxies + 1;
    let mut granted = Vec::with_capacity((tables * proxies) as usize);
    for table in 0..tables {
        for proxy in 0..proxies {
            let none = (GrantNumber::default(), MilliUnitsPerSecond::default());
            let answer =
                allocator.on_report(&header(proxy), &entry(table, 5, none.0, none.1), at(1_000)).grant();
            granted.push(answer.map_or(none, |grant| (grant.number, grant.rate)));
        }
    }
    for table in tables..buckets {
        let first = entry(table, 5, GrantNumber::default(), MilliUnitsPerSecond::default());
        let _ = allocator.on_report(&header(table % proxies), &first, at(1_000));
    }
    let bytes = resident_bytes().saturating_sub(before).saturating_sub(granted.len() * 24);
    let held: usize = allocator.summaries(at(1_000)).map(|(_, bucket)| bucket.proxies).sum();
    let started = now();
    let mut answered = 0_u64;
    for (proxy, chunk) in (0..proxies).map(|proxy| (proxy, proxy)) {
        for table in 0..tables {
            let (number, rate) = granted[(table * proxies + chunk) as usize];
            let report = entry(table, 10, number, rate);
            answered += u64::from(allocator.on_report(&header(proxy), &report, at(2_500)).grant().is_some());
        }
    }
    let rate = answered as f64 / started.elapsed().as_secs_f64();
    let variant = format!(
        "one allocator, {:.2} M pairs, {} k buckets",
        held as f64 / 1e6,
        allocator.bucket_count() / 1000
    );
    findings.figure(&variant, "GB in memory", bytes as f64 / 1e9, Must::AtMost(1.0));
    let must = if options.full { Must::AtLeast(1.0) } else { Must::Nothing };
    findings.figure(&variant, "million entries a second on one core, without decoding", rate / 1e6, must);
}

#[expect(clippy::disallowed_methods, reason = "this measures real time")]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}

/// As Linux counts it; nothing elsewhere.
fn resident_bytes() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text.split_whitespace().nth(1).and_then(|pages| pages.parse::<usize>().ok());
    pages.unwrap_or(0) * 4096
}
