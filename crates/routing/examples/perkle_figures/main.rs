//! Prints what the partition map costs, beside what it must reach: memory, lookups, updates, anti-entropy.
//!
//! `cargo run --profile measured -p routing --example perkle_figures [PARTITIONS [TABLES]]`
//!
//! On glibc, `GLIBC_TUNABLES=glibc.malloc.hugetlb=1` takes memory in huge pages; what that changes is the part of a
//! lookup that is spent on finding pages.
//!
//! Times are the thread's CPU time; each is the least and the median of several rounds.

#[path = "../../benches/partitions/mod.rs"]
mod partitions;
mod reconciliation;

use std::alloc::System;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::process::Command;
use std::time::Duration;

use partitions::{elected_again, routes};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use reconciliation::reconcile;
use routing::{Learned, PartitionMap, Route};
use rustix::time::{ClockId, clock_gettime};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use units::TableId;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Partitions, unless the first argument says otherwise.
const PARTITIONS: u64 = 1_000_000;
/// The deployments: how many tables the partitions are spread over.
const TABLES: [u64; 2] = [1_000, 1];
/// Lookups of a round.
const ROUND: usize = 200_000;
/// Updates of a round.
const UPDATES: usize = 20_000;
const ROUNDS: usize = 9;
/// Routes that one of two servers has missed.
const DIFFERENCES: usize = 1_000;

fn main() {
    let argument = |at| std::env::args().nth(at).map(|count| count.parse().expect("a number"));
    let partitions = argument(1).unwrap_or(PARTITIONS);
    match argument(2) {
        Some(tables) => figures(partitions, tables),
        // Each in a process of its own, so that memory that one gave back is not taken for the other's.
        None => TABLES.into_iter().for_each(|tables| {
            let program = std::env::current_exe().expect("it runs");
            let arguments = [partitions, tables].map(|number| number.to_string());
            let ended = Command::new(program).args(arguments).status().expect("it runs again");
            assert!(ended.success());
        }),
    }
}

fn figures(partitions: u64, tables: u64) {
    println!("\n{partitions} partitions in {tables} tables");
    let map = memory(tables, partitions / tables);
    lookups(&map, tables);
    let routes = routes(tables, partitions / tables);
    updates(&map, &routes);
    anti_entropy(&map, &routes);
}

/// A line: what was measured, and what it must reach.
fn line(measure: &str, value: &str, must_reach: &str) {
    println!("  {measure:<58} {value:>24}   {must_reach}");
}

fn memory(tables: u64, partitions: u64) -> PartitionMap {
    let entries = (tables * partitions) as f64;
    let all = routes(tables, partitions);
    let region = Region::new(ALLOCATOR);
    let mut map = PartitionMap::default();
    for route in &all {
        assert_eq!(map.learn(route), Learned::News);
    }
    let tree = held(&region) / entries;
    let says = map.bytes() as f64 / entries;
    // These routes move into the map, so they are made after its beginning.
    drop(all);
    let region = Region::new(ALLOCATOR);
    let all = routes(tables, partitions);
    let btree: BTreeMap<Vec<u8>, Route> = all.into_iter().map(|route| (key(&route), route)).collect();
    let btree_bytes = held(&region) / entries;
    assert_eq!(btree.len(), map.len());
    line("memory per entry, all that is allocated", &format!("{tree:.1} B"), "≤ 120 B");
    line("  as the map says itself", &format!("{says:.1} B"), "");
    line("  BTreeMap<Vec<u8>, Route>", &format!("{btree_bytes:.1} B"), "");
    line("  of that", &format!("{:.1} %", tree / btree_bytes * 100.0), "< 33.3 %");
    map
}

fn lookups(map: &PartitionMap, tables: u64) {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let queries: Vec<(TableId, [u8; 16])> =
        (0..ROUND).map(|_| (TableId::new(rng.random_range(1..=tables)), rng.random())).collect();
    let keys: Vec<Vec<u8>> =
        queries.iter().map(|(table, key)| [&table.get().to_be_bytes()[..], key].concat()).collect();
    let mut found = Vec::new();
    let tree = rounds(ROUND, || {
        for key in &keys {
            black_box(map.tree().floor(key, &mut found).expect("the key space is covered"));
        }
    });
    let entry = rounds(ROUND, || {
        for (table, key) in &queries {
            black_box(map.holder_entry(*table, key, &mut found).expect("the key space is covered"));
        }
    });
    let route = rounds(ROUND, || {
        for (table, key) in &queries {
            black_box(map.holder(*table, key).expect("the key space is covered"));
        }
    });
    println!("  times: least, median of {ROUNDS} rounds");
    line("lookup: floor in the tree", &tree, "≤ 400 ns");
    line("  the holder's entry, as MemDS sends it", &entry, "≤ 400 ns");
    line("  the holder's route, decoded", &route, "");
}

fn updates(map: &PartitionMap, routes: &[Route]) {
    let mut newer = News { routes, latest: BTreeMap::new(), rng: ChaCha8Rng::seed_from_u64(8) };
    let (mut lone, mut published) = (map.clone(), map.clone());
    let each: Vec<_> = (0..ROUNDS)
        .map(|_| {
            let round = newer.round();
            timed(|| {
                for route in &round {
                    assert_eq!(lone.learn(route), Learned::News);
                    published = lone.clone();
                }
            })
        })
        .collect();
    assert_eq!(published.tree().sum(), lone.tree().sum());
    let together: Vec<_> = (0..ROUNDS)
        .map(|_| {
            let round = newer.round();
            timed(|| {
                for route in &round {
                    assert_eq!(lone.learn(route), Learned::News);
                }
                published = lone.clone();
            })
        })
        .collect();
    line("update: learning a newer route, a snapshot after each", &per_call(UPDATES, each), "≤ 5 µs");
    line("  a snapshot after 20,000", &per_call(UPDATES, together), "");
}

/// Routes that were not pushed yet.
struct News<'a> {
    routes: &'a [Route],
    /// Those that are not as in `routes` any more.
    latest: BTreeMap<usize, Route>,
    rng: ChaCha8Rng,
}

impl News<'_> {
    fn round(&mut self) -> Vec<Route> {
        let next = |news: &mut Self| {
            let at = news.rng.random_range(0..news.routes.len());
            let route = elected_again(news.latest.get(&at).unwrap_or(&news.routes[at]), &mut news.rng);
            news.latest.insert(at, route.clone());
            route
        };
        (0..UPDATES).map(|_| next(self)).collect()
    }
}

/// Half of the differences are news here, half there.
fn anti_entropy(map: &PartitionMap, routes: &[Route]) {
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    let (mut one, mut other) = (map.clone(), map.clone());
    let step = routes.len() / DIFFERENCES;
    for (at, route) in routes.iter().step_by(step).take(DIFFERENCES).enumerate() {
        let newer = elected_again(route, &mut rng);
        let server = if at % 2 == 0 { &mut one } else { &mut other };
        assert_eq!(server.learn(&newer), Learned::News);
    }
    let copy = reconciliation::copy(map);
    let sent = reconcile(&mut one, &mut other);
    assert_eq!(one.tree().sum(), other.tree().sum());
    let share = sent.bytes as f64 / copy as f64 * 100.0;
    line(
        &format!("anti-entropy after {DIFFERENCES} differences, of a full copy"),
        &format!("{share:.2} %"),
        "≤ 2 %",
    );
    line(
        "  bytes both ways, messages, questions",
        &format!("{} {} {}", sent.bytes, sent.messages, sent.questions),
        "",
    );
}

fn rounds(calls: usize, mut round: impl FnMut()) -> String {
    per_call(calls, (0..ROUNDS).map(|_| timed(&mut round)).collect())
}

/// The least and the median of the rounds.
fn per_call(calls: usize, mut rounds: Vec<Duration>) -> String {
    rounds.sort_unstable();
    let nanoseconds = |round: Duration| round.as_nanos() / calls as u128;
    format!("{} ns, {} ns", nanoseconds(rounds[0]), nanoseconds(rounds[rounds.len() / 2]))
}

fn timed(round: impl FnOnce()) -> Duration {
    let start = cpu_time();
    round();
    cpu_time() - start
}

/// The thread's: what other processes do beside disturbs that least.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).expect("CPU time is not negative");
    Duration::new(seconds, u32::try_from(time.tv_nsec).expect("below a second"))
}

/// Bytes that were asked for since and not given back.
fn held(region: &Region<'_, System>) -> f64 {
    let change = region.change();
    change.bytes_allocated as f64 - change.bytes_deallocated as f64
}

/// The key of the partition map.
fn key(route: &Route) -> Vec<u8> {
    [&route.table.get().to_be_bytes()[..], &route.range.start].concat()
}
