//! A small simulated fleet over the real allocator, keeper and local bucket: lost, repeated, late and
//! reordered messages, changing demand, a restarted owner. The allocator asserts I1 and I2 after every
//! report (debug builds); here the fleet's admissions are held against the bound.

use std::collections::BTreeMap;
use std::time::Duration;

use admission::{
    Allocator, AllocatorConfig, AtomicTokenBucket, BucketId, CapacityKind, Grant, LeaseKeeper, Quota,
    ReportEntry,
};
use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use units::{Epoch, MilliUnits, MilliUnitsPerSecond, ProxyId, TableId, Timestamp};

const TTL: Duration = Duration::from_secs(10);

fn at(millis: u64) -> Timestamp {
    Timestamp::from_nanos(millis * 1_000_000)
}

fn header(proxy: u64) -> ReportHeader {
    ReportHeader { proxy: ProxyId::new(proxy), session: 1, fleet: 0, ring: Epoch::new(1), leaving: false }
}

struct Proxy {
    keeper: LeaseKeeper,
    bucket: AtomicTokenBucket,
    /// Milli-units per second that its clients ask for.
    demand: u64,
    /// Not yet asked for, in thousandths of milli-units.
    backlog: u64,
}

enum Message {
    Report { proxy: usize, entry: ReportEntry, sent_at: Timestamp },
    Grant { proxy: usize, grant: Grant, asked_at: Timestamp },
}

#[derive(Clone, Copy, Debug)]
struct Network {
    loss: f64,
    duplicates: f64,
    max_delay_ms: u64,
}

struct Fleet {
    rng: ChaCha8Rng,
    network: Network,
    quota: Quota,
    proxies: Vec<Proxy>,
    owner: Allocator,
    config: AllocatorConfig,
    under_way: BTreeMap<(u64, u64), Message>,
    sent: u64,
    now_ms: u64,
    admitted: u64,
    /// The lowest that (admitted − R·t) has been, and the highest rise above it: the worst window.
    lowest: i128,
    worst_window: i128,
}

impl Fleet {
    fn new(seed: u64, proxies: u32, rate: u64, burst: u64, network: Network) -> Self {
        let quota = Quota {
            rate: MilliUnitsPerSecond::from_units(rate),
            burst: MilliUnits::from_units(burst),
            version: 1,
            outage: admission::OutagePolicy::Strict,
            shadow: false,
        };
        let id = BucketId::new(TableId::new(1), CapacityKind::Read);
        let config = AllocatorConfig { expected_proxies: proxies, ..AllocatorConfig::default() };
        let mut owner = Allocator::new(Epoch::new(1), config.clone(), at(0));
        let proxies = (0..proxies)
            .map(|number| {
                owner.hear(&header(u64::from(number)), at(0));
                let lease = LeaseKeeper::first_lease(quota, u64::from(proxies), TTL, at(0));
                Proxy {
                    keeper: LeaseKeeper::new(id, quota),
                    bucket: AtomicTokenBucket::full(lease, at(0)),
                    demand: 0,
                    backlog: 0,
                }
            })
            .collect();
        Self {
            rng: ChaCha8Rng::seed_from_u64(seed),
            network,
            quota,
            proxies,
            owner,
            config,
            under_way: BTreeMap::new(),
            sent: 0,
            now_ms: 0,
            admitted: 0,
            lowest: 0,
            worst_window: 0,
        }
    }

    /// Splits `offered` (in percent of R) over the proxies at random.
    fn change_demand(&mut self, offered_percent: u64) {
        let weights: Vec<u64> = self.proxies.iter().map(|_| self.rng.random_range(0..100)).collect();
        let all = weights.iter().sum::<u64>().max(1);
        for (proxy, weight) in self.proxies.iter_mut().zip(weights) {
            proxy.demand = self.quota.rate.get() * offered_percent / 100 * weight / all;
        }
    }

    fn restart_owner(&mut self) {
        let epoch = self.owner.epoch().next();
        self.owner = Allocator::new(epoch, self.config.clone(), at(self.now_ms));
    }

    fn run(&mut self, millis: u64) {
        for _ in 0..millis {
            self.now_ms += 1;
            self.deliver();
            for proxy in 0..self.proxies.len() {
                self.arrivals(proxy);
                self.report(proxy);
            }
            if self.now_ms.is_multiple_of(1000) {
                self.owner.expire(at(self.now_ms));
            }
            let earned = i128::from(self.quota.rate.get() * self.now_ms / 1000);
            let above = i128::from(self.admitted) - earned;
            self.worst_window = self.worst_window.max(above - self.lowest);
            self.lowest = self.lowest.min(above);
        }
    }

    fn arrivals(&mut self, index: usize) {
        let now = at(self.now_ms);
        let proxy = &mut self.proxies[index];
        proxy.backlog += proxy.demand;
        while proxy.backlog >= 1_000_000 {
            proxy.backlog -= 1_000_000;
            if proxy.bucket.take(MilliUnits::from_units(1), now).is_ok() {
                self.admitted += 1000;
            }
        }
    }

    fn report(&mut self, index: usize) {
        let now = at(self.now_ms);
        let proxy = &mut self.proxies[index];
        if proxy.keeper.is_due(&proxy.bucket, now) {
            let entry = proxy.keeper.report(&proxy.bucket, now);
            self.send(|| Message::Report { proxy: index, entry, sent_at: now });
        }
    }

    fn send(&mut self, message: impl Fn() -> Message) {
        let copies = 1 + u32::from(self.rng.random_bool(self.network.duplicates));
        for _ in 0..copies {
            if !self.rng.random_bool(self.network.loss) {
                let delay = self.rng.random_range(1..=self.network.max_delay_ms);
                self.sent += 1;
                self.under_way.insert((self.now_ms + delay, self.sent), message());
            }
        }
    }

    fn deliver(&mut self) {
        let now = at(self.now_ms);
        while let Some(next) = self.under_way.first_entry() {
            if next.key().0 > self.now_ms {
                break;
            }
            match next.remove() {
                Message::Report { proxy, entry, sent_at } => {
                    let header = header(proxy as u64);
                    let grant = self.owner.on_report(&header, &entry, now).grant();
                    self.owner.hear(&header, now);
                    if let Some(grant) = grant {
                        self.send(|| Message::Grant { proxy, grant, asked_at: sent_at });
                    }
                }
                Message::Grant { proxy, grant, asked_at } => {
                    let proxy = &mut self.proxies[proxy];
                    proxy.keeper.apply(&grant, &proxy.bucket, asked_at, now);
                }
            }
        }
        self.owner.assert_invariants();
    }
}

const GOOD: Network = Network { loss: 0.0, duplicates: 0.0, max_delay_ms: 10 };

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn no_window_admits_more_than_burst_plus_rate_times_time(
        seed in any::<u64>(),
        proxies in 1..12_u32,
        loss in 0..30_u32,
        duplicates in 0..30_u32,
        max_delay_ms in 1..800_u64,
        offered in prop::collection::vec(0..500_u64, 1..8),
    ) {
        let network = Network {
            loss: f64::from(loss) / 100.0,
            duplicates: f64::from(duplicates) / 100.0,
            max_delay_ms,
        };
        let rate = 2_000;
        let mut fleet = Fleet::new(seed, proxies, rate, rate, network);
        for percent in offered {
            fleet.change_demand(percent);
            fleet.run(3_000);
        }
        let burst = i128::from(fleet.quota.burst.get());
        prop_assert!(fleet.worst_window <= burst, "{} above R·τ, of {burst}", fleet.worst_window);
    }
}

#[test]
fn a_skewed_fleet_is_served_its_whole_quota() {
    let mut fleet = Fleet::new(7, 10, 5_000, 5_000, GOOD);
    fleet.change_demand(150);
    fleet.run(5_000);
    let before = fleet.admitted;
    fleet.run(20_000);
    let served = fleet.admitted - before;
    let quota = 5_000 * 1000 * 20;
    assert!(served * 1000 >= quota * 985, "{served} of {quota}");
}

#[test]
fn below_the_quota_next_to_nothing_is_refused() {
    let mut fleet = Fleet::new(8, 10, 5_000, 5_000, GOOD);
    fleet.change_demand(80);
    fleet.run(5_000);
    let refused = |fleet: &Fleet| -> u64 {
        fleet.proxies.iter().map(|proxy| proxy.bucket.counters().throttled.get()).sum()
    };
    let (before, admitted_before) = (refused(&fleet), fleet.admitted);
    fleet.run(20_000);
    let refused = refused(&fleet) - before;
    let admitted = fleet.admitted - admitted_before;
    assert!(refused * 1000 <= admitted, "{refused} refused, {admitted} admitted");
}

#[test]
fn inverted_demand_is_followed_within_two_intervals() {
    let mut fleet = Fleet::new(9, 4, 4_000, 4_000, GOOD);
    for (index, proxy) in fleet.proxies.iter_mut().enumerate() {
        proxy.demand = if index == 0 { 6_000_000 } else { 10_000 };
    }
    fleet.run(10_000);
    for (index, proxy) in fleet.proxies.iter_mut().enumerate() {
        proxy.demand = if index == 3 { 6_000_000 } else { 10_000 };
    }
    fleet.run(2_000);
    let before = fleet.admitted;
    fleet.run(2_000);
    assert!(fleet.admitted - before >= 4_000_000 * 2 * 97 / 100);
}

#[test]
fn a_restarted_owner_relearns_without_freezing_or_overshooting() {
    let mut fleet = Fleet::new(10, 6, 3_000, 3_000, GOOD);
    fleet.change_demand(150);
    fleet.run(10_000);
    for _ in 0..5 {
        fleet.restart_owner();
        let before = fleet.admitted;
        fleet.run(3_000);
        let served = fleet.admitted - before;
        assert!(served >= 3_000_000 * 3 * 95 / 100, "{served}");
    }
    let (worst, burst) = (fleet.worst_window, i128::from(fleet.quota.burst.get()));
    assert!(worst <= burst, "{worst} above R·τ, of {burst}");
}

#[test]
fn while_the_owner_is_away_the_lease_holds_and_then_the_safe_rate() {
    let mut fleet = Fleet::new(11, 5, 1_000, 1_000, GOOD);
    fleet.change_demand(200);
    fleet.run(5_000);
    fleet.network.loss = 1.0;
    let before = fleet.admitted;
    fleet.run(8_000);
    assert!(fleet.admitted - before >= 1_000_000 * 8 * 95 / 100, "the last leases hold");
    fleet.run(20_000);
    let before = fleet.admitted;
    fleet.run(10_000);
    let safe = fleet.admitted - before;
    assert!(safe > 0 && safe <= 1_000_000 * 10, "{safe}");
}

#[test]
fn one_seed_run_twice_admits_exactly_the_same() {
    let run = || {
        let network = Network { loss: 0.1, duplicates: 0.1, max_delay_ms: 100 };
        let mut fleet = Fleet::new(12, 7, 700, 700, network);
        fleet.change_demand(130);
        fleet.run(5_000);
        (fleet.admitted, fleet.sent, fleet.worst_window)
    };
    assert_eq!(run(), run());
}
