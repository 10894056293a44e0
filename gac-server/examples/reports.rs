//! How many report entries a core answers per second: decode → allocator → pack → encode, as a GAC server
//! does between its socket's bytes.
//!
//! `cargo run --release -p gac-server --example reports -- [buckets] [proxies] [entries] [threads] [rounds]`

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use admission::{AllocatorConfig, BucketId, CapacityKind, GrantNumber, Quota, ReportEntry, ReportHeader};
use bytes::Bytes;
use gac_server::BucketOwner;
use prost::Message as _;
use units::{Epoch, MilliUnits, MilliUnitsPerSecond, ProxyId, TableId, Timestamp};
use wire::clock;
use wire::proto::gac;

/// What a run is made of.
#[derive(Clone, Copy, Debug)]
struct Shape {
    buckets: u64,
    proxies: u64,
    entries: u64,
    threads: u64,
    rounds: u64,
}

fn main() {
    let mut numbers =
        std::env::args().skip(1).map(|number| number.parse::<u64>().expect("a number per argument"));
    let mut next = |usual| numbers.next().unwrap_or(usual);
    let shape = Shape {
        buckets: next(100_000),
        proxies: next(10),
        entries: next(1_000),
        threads: next(1),
        rounds: next(5),
    };
    let config = AllocatorConfig {
        expected_proxies: u32::try_from(shape.proxies).expect("a fleet is small"),
        ..AllocatorConfig::default()
    };
    let started = clock::now();
    let owner = Arc::new(BucketOwner::new(Epoch::new(1), &config, started));
    let mut proxies: Vec<Proxy> = (0..shape.proxies).map(|number| Proxy::new(number, shape)).collect();
    println!("{shape:?}");
    // The first round makes the shares; it is not counted.
    for round in 0..=shape.rounds {
        // Each round is a second later: the owner's clock is the argument, not the machine's.
        let now = started + Duration::from_secs(round);
        let payloads: Vec<Vec<Vec<u8>>> = proxies.iter_mut().map(|proxy| proxy.reports(round)).collect();
        let answered = run(&owner, &payloads, shape.threads, now);
        for (proxy, answers) in proxies.iter_mut().zip(&answered.answers) {
            answers.iter().for_each(|answer| proxy.take(answer));
        }
        let total = (shape.buckets * shape.proxies) as f64;
        let label = if round == 0 { "first (makes shares)" } else { "steady" };
        println!(
            "round {round} {label}: {:.2} M entries/s per core, {:.2} M/s in all; \
             {:.0} ns of CPU per entry; wall: {:.0} decoding, {:.0} answering, {:.0} encoding",
            total / answered.cpu.as_secs_f64() / 1e6,
            total / answered.wall.as_secs_f64() / 1e6,
            answered.cpu.as_nanos() as f64 / total,
            answered.decoding.as_nanos() as f64 / total,
            answered.answering.as_nanos() as f64 / total,
            answered.encoding.as_nanos() as f64 / total,
        );
    }
    let (before, with_proxies) = (thread_nanos(), resident_megabytes());
    owner.look_through(started + Duration::from_secs(shape.rounds + 1));
    println!(
        "looking through all buckets, once a second: {:.1} ms of CPU; resident: {} MB, {} MB with the proxies",
        (thread_nanos() - before) as f64 / 1e6,
        {
            drop(proxies);
            resident_megabytes()
        },
        with_proxies,
    );
}

/// Memory in use by this process. Source: Linux, `proc_pid_statm(5)`: its second number counts pages.
fn resident_megabytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux tells");
    let pages = statm.split_whitespace().nth(1).expect("seven numbers");
    pages.parse::<u64>().expect("pages") * 4_096 / 1_000_000
}

struct Answered {
    wall: Duration,
    /// Of all threads: what others do on the machine does not count.
    cpu: Duration,
    /// By the wall clock, summed over the threads.
    decoding: Duration,
    answering: Duration,
    encoding: Duration,
    /// By proxy.
    answers: Vec<Vec<Bytes>>,
}

/// Answers everything, each thread the reports of its own proxies.
fn run(owner: &BucketOwner, payloads: &[Vec<Vec<u8>>], threads: u64, now: Timestamp) -> Answered {
    let nanos: [AtomicU64; 3] = Default::default();
    let cpu = AtomicU64::new(0);
    let began = clock::now();
    let mut answers: Vec<Vec<Bytes>> = payloads.iter().map(|_| Vec::new()).collect();
    let per_thread = payloads.len().div_ceil(usize::try_from(threads).expect("few"));
    std::thread::scope(|scope| {
        for (payloads, answers) in payloads.chunks(per_thread).zip(answers.chunks_mut(per_thread)) {
            let (nanos, cpu) = (&nanos, &cpu);
            scope.spawn(move || {
                // In turns, as proxies report: not one proxy's reports after another's.
                for turn in 0..payloads.first().map_or(0, Vec::len) {
                    for (payloads, answers) in payloads.iter().zip(&mut *answers) {
                        answers.push(answer(owner, &payloads[turn], now, nanos));
                    }
                }
                cpu.fetch_add(thread_nanos(), Ordering::Relaxed);
            });
        }
    });
    let (wall, cpu) = (clock::now().since(began), Duration::from_nanos(cpu.into_inner()));
    let [decoding, answering, encoding] =
        nanos.map(|nanos| Duration::from_nanos(nanos.load(Ordering::Relaxed)));
    Answered { wall, cpu, decoding, answering, encoding, answers }
}

/// CPU time of this thread so far. Source: Linux, `Documentation/scheduler/sched-stats.rst`.
fn thread_nanos() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux tells");
    let first = stat.split_whitespace().next().expect("three numbers");
    first.parse().expect("nanoseconds")
}

fn answer(owner: &BucketOwner, payload: &[u8], now: Timestamp, nanos: &[AtomicU64; 3]) -> Bytes {
    let before = clock::now();
    let report = gac::Report::decode(payload).expect("it was encoded");
    let decoded = clock::now();
    let grants = owner.answer(&report, now).expect("it was packed").grants;
    let answered = clock::now();
    let encoded = grants.encode_columns();
    drop((report, grants));
    let done = clock::now();
    for (nanos, (from, to)) in nanos.iter().zip([(before, decoded), (decoded, answered), (answered, done)]) {
        let elapsed = u64::try_from(to.since(from).as_nanos()).expect("a report takes milliseconds");
        nanos.fetch_add(elapsed, Ordering::Relaxed);
    }
    encoded
}

/// A proxy that uses every bucket, some above its quota.
struct Proxy {
    shape: Shape,
    header: ReportHeader,
    entries: Vec<ReportEntry>,
}

impl Proxy {
    fn new(number: u64, shape: Shape) -> Self {
        let header = ReportHeader {
            proxy: ProxyId::new(number),
            session: 1,
            fleet: 0,
            ring: Epoch::new(1),
            leaving: false,
            session_age: Duration::ZERO,
        };
        let quota = Quota::with_usual_burst(MilliUnitsPerSecond::from_units(1_000), 1);
        let entries = (0..shape.buckets).map(|bucket| ReportEntry {
            bucket: BucketId::new(TableId::new(scattered(bucket, shape.buckets)), CapacityKind::Read),
            admitted: MilliUnits::ZERO,
            throttled: MilliUnits::ZERO,
            returned: MilliUnits::ZERO,
            held: MilliUnits::from_units(4),
            need: MilliUnits::ZERO,
            acknowledged: GrantNumber::default(),
            rate_in_use: MilliUnitsPerSecond::from_units(100),
            quota,
        });
        Self { shape, header, entries: entries.collect() }
    }

    /// One second's reports, encoded: each bucket once.
    fn reports(&mut self, round: u64) -> Vec<Vec<u8>> {
        for (place, entry) in (0..).zip(&mut self.entries) {
            let offered = 50_000 + (place * 7_919 + self.header.proxy.get() * 104_729 + round) % 150_000;
            let admitted = offered.min(entry.rate_in_use.get());
            entry.admitted += MilliUnits::new(admitted);
            entry.throttled += MilliUnits::new(offered - admitted);
            entry.need = MilliUnits::new(offered - admitted);
        }
        let per_report = usize::try_from(self.shape.entries).expect("it fits");
        let reports = self.entries.chunks(per_report);
        reports.map(|entries| gac::Report::pack(self.header, entries).encode_to_vec()).collect()
    }

    /// Uses what was granted from now on.
    fn take(&mut self, answer: &[u8]) {
        let grants = gac::Grants::decode(answer).expect("it was encoded");
        for grant in grants.entries().expect("it was packed") {
            let place = gathered(grant.bucket.number(), self.shape.buckets);
            let entry = &mut self.entries[usize::try_from(place).expect("it fits")];
            entry.acknowledged = grant.number;
            entry.rate_in_use = grant.rate;
            entry.held = grant.cap.min(grant.tokens + entry.held);
        }
    }
}

/// Proxies report their buckets in no particular order.
const SCATTER: u64 = 1_000_003;

fn scattered(place: u64, buckets: u64) -> u64 {
    1 + place * SCATTER % buckets
}

fn gathered(number: u64, buckets: u64) -> u64 {
    let place = u128::from(number - 1) * u128::from(inverse(buckets)) % u128::from(buckets);
    u64::try_from(place).expect("below the number of buckets")
}

/// Of [`SCATTER`], modulo `buckets`: they have no common factor, since it is a prime.
fn inverse(buckets: u64) -> u64 {
    let (mut old, mut new) = ((i128::from(SCATTER), 1_i128), (i128::from(buckets), 0_i128));
    while new.0 != 0 {
        let quotient = old.0 / new.0;
        (old, new) = (new, (old.0 - quotient * new.0, old.1 - quotient * new.1));
    }
    u64::try_from(old.1.rem_euclid(i128::from(buckets))).expect("below the number of buckets")
}
