//! What admission costs a request at the proxy: one to three levels, one clock reading passed in.
//!
//! `cargo bench -p admission --bench hot_call`

mod cpu_time;

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use admission::{AtomicTokenBucket, Chain, Lease};
use cpu_time::CpuTime;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use units::{MilliUnits, MilliUnitsPerSecond, Timestamp};

const COST: MilliUnits = MilliUnits::from_units(1);
/// What a simulated clock moves by per request: ten thousand requests a second on each bucket.
const STEP: u64 = 100_000;
/// In nanoseconds.
const MICROSECOND: u64 = 1_000;
/// Buckets that two threads use at random.
const BUCKETS: usize = 100_000;

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(CpuTime);
    targets = uncontended, refused, contended
}
criterion_main!(benches);

/// One thread: as much is taken as is earned; or every request refills a full bucket, which is the dearest
/// path.
fn uncontended(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("hot_call");
    for levels in 1..=3 {
        for (name, rate) in [("steady", 10_000), ("full", 1_000_000)] {
            let buckets: Vec<_> = (0..levels).map(|_| half_full(bucket(rate, 100_000))).collect();
            let chain = chain(&buckets);
            let (mut now, mut refused) = (0, 0_u64);
            group.bench_function(BenchmarkId::new(name, levels), |bencher| {
                bencher.iter(|| {
                    now += STEP;
                    let taken = black_box(&chain).take(black_box(COST), Timestamp::from_nanos(now));
                    refused += u64::from(taken.is_err());
                });
            });
            assert_eq!(refused, 0, "what is measured is admission");
        }
    }
    group.finish();
}

/// The last of three levels refuses.
fn refused(criterion: &mut Criterion<CpuTime>) {
    let covered = || half_full(bucket(0, 100_000));
    let buckets = [covered(), covered(), bucket(0, 1)];
    buckets[2].charge(COST);
    let chain = chain(&buckets);
    let mut now = 0;
    criterion.bench_function("hot_call/refused/3", |bencher| {
        bencher.iter(|| {
            now += STEP;
            black_box(&chain).take(black_box(COST), Timestamp::from_nanos(now)).is_err()
        });
    });
}

/// Two threads, a million requests a second each, over 100 k buckets at random, three levels each: a
/// table's (which is asked for less than half of its rate), its share's, and one of a thousand principals'.
fn contended(criterion: &mut Criterion<CpuTime>) {
    let tables: Arc<Vec<_>> = Arc::new((0..BUCKETS).map(|_| bucket(100, 25)).collect());
    let principals: Arc<Vec<_>> = Arc::new((0..1_000).map(|_| bucket(10_000, 2_500)).collect());
    let stop = Arc::new(AtomicBool::new(false));
    let other = {
        let (tables, principals, stop) = (Arc::clone(&tables), Arc::clone(&principals), Arc::clone(&stop));
        std::thread::spawn(move || {
            let mut random = Random(2);
            let mut now = 0;
            while !stop.load(Ordering::Relaxed) {
                now += MICROSECOND;
                black_box(take_one(&tables, &principals, &mut random, now));
            }
        })
    };
    let mut random = Random(1);
    let (mut now, mut refused) = (0, 0_u64);
    criterion.bench_function("hot_call/two_threads_100k_buckets/3", |bencher| {
        bencher.iter(|| {
            now += MICROSECOND;
            refused += u64::from(!take_one(&tables, &principals, &mut random, now));
        });
    });
    assert_eq!(refused, 0, "what is measured is admission");
    stop.store(true, Ordering::Relaxed);
    other.join().expect("it does not panic");
}

fn take_one(
    tables: &[AtomicTokenBucket],
    principals: &[AtomicTokenBucket],
    random: &mut Random,
    now: u64,
) -> bool {
    // Half of the buckets are tables', half their account shares'.
    let table = random.below(BUCKETS / 2);
    let chain = Chain::default()
        .then(&tables[table], false)
        .then(&tables[BUCKETS / 2 + table], false)
        .then(&principals[random.below(principals.len())], false);
    chain.take(COST, Timestamp::from_nanos(now)).is_ok()
}

fn chain(buckets: &[AtomicTokenBucket]) -> Chain<'_> {
    buckets.iter().fold(Chain::default(), |chain, bucket| chain.then(bucket, false))
}

fn bucket(rate: u64, depth: u64) -> AtomicTokenBucket {
    let rate = MilliUnitsPerSecond::from_units(rate);
    let expires = Timestamp::from_nanos(0) + Duration::from_secs(1_000_000);
    let cap = MilliUnits::from_units(depth);
    AtomicTokenBucket::full(Lease { rate, cap, expires, safe_rate: rate }, Timestamp::from_nanos(0))
}

fn half_full(bucket: AtomicTokenBucket) -> AtomicTokenBucket {
    bucket.charge(MilliUnits::new(bucket.level().get() / 2));
    bucket
}

/// Marsaglia's xorshift: cheap enough not to be what is measured.
struct Random(u64);

impl Random {
    #[expect(clippy::cast_possible_truncation, reason = "a remainder of a usize")]
    const fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}
