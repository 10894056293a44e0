//! What one entry of a proxy's report costs a bucket's owner, decoding apart.
//!
//! `cargo bench -p admission --bench reports`

mod cpu_time;

use std::hint::black_box;
use std::time::Duration;

use admission::{
    Allocator, AllocatorConfig, BucketId, CapacityKind, Grant, GrantNumber, Level, Quota, ReportEntry,
    ReportHeader,
};
use cpu_time::CpuTime;
use criterion::{Criterion, criterion_group, criterion_main};
use units::{Epoch, MilliUnits, MilliUnitsPerSecond, ProxyId, TableId, Timestamp};

/// What all proxies of a bucket ask for together, in units per second: 1.5 times its quota.
const DEMAND: u64 = 15_000;
const QUOTA: Quota = Quota {
    rate: MilliUnitsPerSecond::from_units(10_000),
    burst: MilliUnits::from_units(10_000),
    version: 1,
    outage: admission::OutagePolicy::Strict,
    shadow: false,
};

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(CpuTime);
    targets = contended, account_shares
}
criterion_main!(benches);

/// Contended buckets, each used by every proxy, which report them one after the other, once a second.
fn contended(criterion: &mut Criterion<CpuTime>) {
    for (buckets, proxies) in [(1_000, 10), (10_000, 100), (10, 10_000)] {
        let mut fleet = Fleet::new(Level::Table, buckets, proxies);
        criterion.bench_function(&format!("report_entry/{buckets}_buckets_{proxies}_proxies"), |bencher| {
            bencher.iter(|| black_box(fleet.report_next()));
        });
    }
}

/// The same of account shares, whose quotas change ten times a second.
fn account_shares(criterion: &mut Criterion<CpuTime>) {
    for (tables, proxies) in [(50, 100), (1_000, 100)] {
        let mut fleet = Fleet::new(Level::AccountShare, tables, proxies);
        let rate = MilliUnitsPerSecond::from_units(10_000 * tables as u64);
        let quota = Quota { rate, burst: rate.earned_in(Duration::from_secs(1)), ..QUOTA };
        fleet.owner.set_account_quota(CapacityKind::Read, Some(quota), fleet.now);
        criterion.bench_function(
            &format!("report_entry/{tables}_account_shares_{proxies}_proxies"),
            |bencher| {
                bencher.iter(|| black_box(fleet.report_next()));
            },
        );
    }
}

struct Fleet {
    owner: Allocator,
    level: Level,
    buckets: usize,
    proxies: usize,
    /// What each proxy knows of each bucket.
    shares: Vec<Share>,
    next: usize,
    now: Timestamp,
}

#[derive(Clone, Copy, Default)]
struct Share {
    accepted: GrantNumber,
    rate: MilliUnitsPerSecond,
    cap: MilliUnits,
    admitted: MilliUnits,
    throttled: MilliUnits,
}

impl Fleet {
    fn new(level: Level, buckets: usize, proxies: usize) -> Self {
        let now = Timestamp::from_nanos(0);
        let expected_proxies = u32::try_from(proxies).expect("it is small");
        let config = AllocatorConfig { expected_proxies, ..AllocatorConfig::default() };
        let mut owner = Allocator::new(Epoch::new(1), config, now);
        for proxy in 0..proxies {
            owner.hear(&header(proxy), now);
        }
        if level == Level::Table {
            for bucket in 0..buckets {
                owner.set_quota(id(level, bucket), QUOTA, false, now);
            }
        }
        let shares = vec![Share::default(); buckets * proxies];
        let mut fleet = Self { owner, level, buckets, proxies, shares, next: 0, now };
        // Until everyone is known, and its demand too.
        for _ in 0..fleet.shares.len() * 3 {
            fleet.report_next();
        }
        fleet
    }

    /// The next entry: bucket after bucket, proxy after proxy; a second per round.
    fn report_next(&mut self) -> Option<Grant> {
        let place = self.next;
        self.next = (self.next + 1) % self.shares.len();
        let pause = Duration::from_secs(1) / u32::try_from(self.shares.len()).expect("it is small");
        self.now = self.now + pause;
        let (proxy, bucket) = (place / self.buckets, place % self.buckets);
        let share = &mut self.shares[place];
        let offered = MilliUnits::from_units(DEMAND / self.proxies as u64);
        let served = share.rate.earned_in(Duration::from_secs(1)).min(offered);
        share.admitted += served;
        share.throttled += offered.saturating_sub(served);
        let entry = ReportEntry {
            bucket: id(self.level, bucket),
            admitted: share.admitted,
            throttled: share.throttled,
            returned: MilliUnits::ZERO,
            held: MilliUnits::new(share.cap.get() / 4),
            need: offered.saturating_sub(served),
            acknowledged: share.accepted,
            rate_in_use: share.rate,
            quota: QUOTA,
        };
        let grant = self.owner.on_report(&header(proxy), &entry, self.now).grant()?;
        (share.accepted, share.rate, share.cap) = (grant.number, grant.rate, grant.cap);
        Some(grant)
    }
}

fn header(proxy: usize) -> ReportHeader {
    ReportHeader {
        proxy: ProxyId::new(proxy as u64 + 1),
        session: 1,
        fleet: 0,
        ring: Epoch::new(0),
        leaving: false,
        session_age: Duration::ZERO,
    }
}

fn id(level: Level, bucket: usize) -> BucketId {
    BucketId::at(level, TableId::new(bucket as u64 + 1).get(), CapacityKind::Read)
}
