//! What a request pays to find its route at the proxy, and what the tiers' upkeep costs.
//!
//! `cargo bench -p routing --bench route_cache`

#[path = "../../admission/benches/cpu_time/mod.rs"]
mod cpu_time;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cpu_time::CpuTime;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use routing::{
    KeyRange, LatencyWindow, Learned, Member, MemberKind, PartitionMap, Route, RouteCache, RouteVersion, Tier,
};
use units::{NodeId, PartitionId, TableId, Term, Timestamp, Zone};

const TABLE: TableId = TableId::new(1);
/// Room for all that is warm here.
const WARM_BYTES: usize = 64 << 20;
/// Keys that are looked up in turn: more than a processor predicts.
const KEYS: usize = 1 << 14;

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(CpuTime);
    targets = hot, hot_tables, warm, miss, no_news, learned, windows
}
criterion_main!(benches);

/// One table's partitions, all hot, asked for at random.
fn hot(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("route_cache/hot_hit");
    group.throughput(Throughput::Elements(1));
    for routes in [100, 10_000, 65_000] {
        let cache = RouteCache::with_capacity(65_536, WARM_BYTES);
        partitions(routes).for_each(|route| assert_eq!(cache.learn(Arc::new(route)), Learned::News));
        let (keys, mut turn) = (keys(), 0);
        println!("{routes} hot routes: {} bytes each by its count", cache.memory() / routes);
        group.bench_function(BenchmarkId::from_parameter(routes), |bencher| {
            bencher.iter(|| {
                turn = (turn + 1) % KEYS;
                black_box(cache.find(TABLE, &keys[turn])).expect("every key has a partition")
            });
        });
    }
    group.finish();
}

/// The same number of routes, but of as many tables.
fn hot_tables(criterion: &mut Criterion<CpuTime>) {
    let cache = RouteCache::with_capacity(65_536, WARM_BYTES);
    learn_tables(&cache, 65_000);
    let (keys, mut turn) = (keys(), 0);
    criterion.bench_function("route_cache/hot_hit_of_65000_tables", |bencher| {
        bencher.iter(|| {
            turn = (turn + 1) % KEYS;
            let table = TableId::new((turn as u64 * 7919) % 65_000);
            black_box(cache.find(table, &keys[turn])).expect("every table is cached")
        });
    });
}

/// Every hit is warm: it becomes hot, and something hot becomes warm.
fn warm(criterion: &mut Criterion<CpuTime>) {
    const TABLES: u64 = 200_000;
    let cache = RouteCache::with_capacity(1024, WARM_BYTES);
    learn_tables(&cache, TABLES);
    let hot = cache.len();
    println!(
        "{} warm routes: {} bytes each by its count",
        cache.warm_len(),
        (cache.memory() - hot * 256) / cache.warm_len()
    );
    let mut table = 0;
    criterion.bench_function("route_cache/warm_hit", |bencher| {
        bencher.iter(|| {
            table = (table + 1) % (TABLES - 2048);
            let (route, tier) = cache.find(TableId::new(table), b"some key").expect("every table is cached");
            assert_eq!(tier, Tier::Warm);
            route
        });
    });
}

fn miss(criterion: &mut Criterion<CpuTime>) {
    let cache = RouteCache::with_capacity(1024, WARM_BYTES);
    learn_tables(&cache, 100_000);
    let mut table = 100_000;
    criterion.bench_function("route_cache/miss", |bencher| {
        bencher.iter(|| {
            table += 1;
            assert!(cache.find(TableId::new(table), b"some key").is_none());
        });
    });
}

/// What a background answer costs: the entry as MemDS sends it, and it is known.
fn no_news(criterion: &mut Criterion<CpuTime>) {
    let cache = RouteCache::with_capacity(65_536, WARM_BYTES);
    let mut map = PartitionMap::default();
    for route in partitions(10_000) {
        map.learn(&route);
        cache.learn(Arc::new(route));
    }
    let entries: Vec<(Vec<u8>, Vec<u8>)> = keys()
        .iter()
        .map(|key| {
            let mut found = Vec::new();
            let entry = map.holder_entry(TABLE, key, &mut found).expect("every key has a partition");
            (entry.start.to_vec(), entry.value.to_vec())
        })
        .collect();
    let mut turn = 0;
    criterion.bench_function("route_cache/entry_without_news", |bencher| {
        bencher.iter(|| {
            turn = (turn + 1) % KEYS;
            let (start, value) = &entries[turn];
            cache.learn_entry(TABLE, routing::RouteEntry { start, value }).expect("it is well formed")
        });
    });
}

/// Learning 65,000 partitions of one table, in no order.
fn learned(criterion: &mut Criterion<CpuTime>) {
    let mut routes: Vec<Arc<Route>> = partitions(65_000).map(Arc::new).collect();
    rand::seq::SliceRandom::shuffle(routes.as_mut_slice(), &mut ChaCha8Rng::seed_from_u64(7));
    let mut group = criterion.benchmark_group("route_cache/learn_65000_of_one_table");
    group.sample_size(10).throughput(Throughput::Elements(65_000));
    for (name, hot) in [("all_hot", 65_536), ("cooled", 4096)] {
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || RouteCache::with_capacity(hot, WARM_BYTES),
                |cache| {
                    for route in &routes {
                        assert_eq!(cache.learn(Arc::clone(route)), Learned::News);
                    }
                    cache
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

/// What recording a latency costs each call, and reading a quantile now and then.
fn windows(criterion: &mut Criterion<CpuTime>) {
    let window = LatencyWindow::new();
    let mut now = Timestamp::from_nanos(3_600_000_000_000);
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let latencies: Vec<Duration> =
        (0..KEYS).map(|_| Duration::from_micros(random.random_range(100..5000))).collect();
    let mut turn = 0;
    criterion.bench_function("latency_window/record", |bencher| {
        bencher.iter(|| {
            turn = (turn + 1) % KEYS;
            now = now + Duration::from_micros(10);
            window.record(latencies[turn], now);
        });
    });
    criterion.bench_function("latency_window/quantile", |bencher| {
        bencher.iter(|| window.quantile(black_box(0.95), now).expect("there are samples"));
    });
}

/// Tables of one partition, with these numbers.
fn learn_tables(cache: &RouteCache, tables: u64) {
    for table in 0..tables {
        assert_eq!(cache.learn(Arc::new(whole(TableId::new(table)))), Learned::News);
    }
}

/// So many even ranges of the whole key space, three members each.
fn partitions(count: usize) -> impl Iterator<Item = Route> {
    let width = u64::MAX / count as u64;
    let start = move |at: usize| Bytes::copy_from_slice(&(at as u64 * width).to_be_bytes());
    (0..count).map(move |at| Route {
        partition: PartitionId::new(at as u64 + 1),
        range: KeyRange {
            start: if at == 0 { Bytes::new() } else { start(at) },
            end: (at + 1 < count).then(|| start(at + 1)),
        },
        ..whole(TABLE)
    })
}

fn whole(table: TableId) -> Route {
    let member =
        |node| Member { node: NodeId::new(node), zone: Zone::new(node as u8), kind: MemberKind::Storage };
    Route {
        table,
        partition: PartitionId::new(table.get() + 1),
        range: KeyRange::default(),
        members: (1..=3).map(member).collect(),
        leader: Some(NodeId::new(1)),
        version: RouteVersion { configuration: 300, term: Term::new(70_000) },
    }
}

/// As storage keys are: a hash, then the rest.
fn keys() -> Vec<[u8; 24]> {
    let mut random = ChaCha8Rng::seed_from_u64(7);
    (0..KEYS).map(|_| random.random()).collect()
}
