use std::time::Duration;

use units::ProxyId;

use super::*;
use crate::allocator::{AllocatorConfig, Answer};
use crate::lease::{Grant, GrantNumber, ReportHeader};
use crate::max_min::{Claimant, divide_max_min};
use crate::ring::Ring;
use crate::token_bucket::TokenBucket;

const KIND: CapacityKind = CapacityKind::Write;
const PROXIES: u64 = 3;
/// The account's rate, in units a second; a second of it is banked.
const RATE: u64 = 100_000;

#[test]
fn fifty_tables_of_one_account_get_their_weighted_shares() {
    let mut fleet = Fleet::new(50);
    let fair = fleet.contend();
    fleet.run(5_000);
    let before = fleet.admitted.clone();
    fleet.run(10_000);
    for (table, share) in fair {
        let served = (fleet.admitted[&table] - before[&table]) / 10;
        let off = served.abs_diff(share) * 100;
        assert!(off <= share * 2, "table {table}: {served} a second, not {share}");
    }
    assert!(fleet.worst_window <= i128::from(RATE) * 1000, "{}", fleet.worst_window);
}

#[test]
fn a_table_that_wakes_up_among_busy_ones_has_its_floor_within_one_interval() {
    let mut fleet = Fleet::new(50);
    fleet.contend();
    for table in 0..5 {
        fleet.demand(table, 0);
    }
    fleet.run(60_000);
    for table in 0..5 {
        fleet.demand(table, RATE);
    }
    let before = fleet.admitted.clone();
    fleet.run(1_000);
    for table in 0..5 {
        let floor = fleet.claims[&table].floor.get();
        let served = fleet.admitted[&table] - before[&table];
        assert!(served >= floor * 9 / 10, "table {table}: {served} in its first second, of {floor}");
    }
    let before = fleet.admitted.clone();
    fleet.run(1_000);
    for table in 0..5 {
        let floor = fleet.claims[&table].floor.get();
        assert!(fleet.admitted[&table] - before[&table] >= floor, "table {table}");
    }
    assert!(fleet.worst_window <= i128::from(RATE) * 1000, "{}", fleet.worst_window);
}

#[test]
fn a_lone_table_may_use_the_whole_account() {
    let mut fleet = Fleet::new(50);
    fleet.demand(7, 3 * RATE);
    fleet.run(5_000);
    let before = fleet.admitted[&7];
    fleet.run(10_000);
    let served = (fleet.admitted[&7] - before) / 10;
    assert!(served >= RATE * 1000 * 98 / 100, "{served}");
}

#[test]
fn a_restarted_owner_divides_nothing_until_it_has_learned_who_uses_what() {
    let mut fleet = Fleet::new(10);
    fleet.contend();
    fleet.run(10_000);
    for _ in 0..3 {
        fleet.restart_owner();
        let before: u64 = fleet.admitted.values().sum();
        fleet.run(3_000);
        let served = fleet.admitted.values().sum::<u64>() - before;
        assert!(served >= RATE * 1000 * 3 * 95 / 100, "{served}");
    }
    assert!(fleet.worst_window <= i128::from(RATE) * 1000, "{}", fleet.worst_window);
}

#[test]
fn a_lowered_quota_is_in_force_within_one_interval_and_a_raised_one_too() {
    let mut fleet = Fleet::new(20);
    fleet.contend();
    fleet.run(10_000);
    for percent in [50, 200, 100] {
        fleet.set_quota(RATE * percent / 100);
        fleet.run(1_200);
        let before: u64 = fleet.admitted.values().sum();
        fleet.run(5_000);
        let served = (fleet.admitted.values().sum::<u64>() - before) / 5;
        let wanted = RATE * 10 * percent;
        assert!(served.abs_diff(wanted) * 100 <= wanted * 3, "{served}, not {wanted}");
    }
}

#[test]
fn without_an_accounts_quota_shares_have_the_one_that_is_reported() {
    let mut owner = Allocator::new(Epoch::new(1), AllocatorConfig::default(), at(0));
    owner.set_account_quota(KIND, Some(quota(RATE, 1)), at(0));
    owner.set_account_quota(KIND, None, at(0));
    assert_eq!(owner.account(KIND), None);
    let proxy = Proxy::new(0);
    let answer = owner.on_report(&proxy.header(), &proxy.entry(3, &Local::new(at(0)), at(0)), at(0));
    let Answer::Granted(grant) = answer else { panic!("{answer:?}") };
    assert_eq!(grant.quota.rate, MilliUnitsPerSecond::default());
}

#[test]
fn whoever_does_not_own_the_shares_divides_nothing() {
    let mut owner = Allocator::new(Epoch::new(1), AllocatorConfig::default(), at(0));
    owner.set_account_quota(KIND, Some(quota(RATE, 1)), at(0));
    owner.set_ring(Ring::new(Epoch::new(1), ["other:1".to_owned()]), "me:1", at(0));
    assert_eq!(owner.account(KIND), None);
    let proxy = Proxy::new(0);
    let answer = owner.on_report(&proxy.header(), &proxy.entry(3, &Local::new(at(0)), at(0)), at(0));
    assert_eq!(answer, Answer::NotOwned);
}

/// Proxies that do what grants say: refill at the granted rate, take what they can of what they are
/// offered, report when told to, after a refusal, and at once after a decrease. The network takes no time.
struct Fleet {
    owner: Allocator,
    now_ms: u64,
    quota: Quota,
    claims: BTreeMap<u64, Claim>,
    proxies: Vec<Proxy>,
    admitted: BTreeMap<u64, u64>,
    /// Admitted − R·t above the lowest that it has been, and its worst.
    rise: i128,
    worst_window: i128,
}

struct Proxy {
    id: ProxyId,
    shares: BTreeMap<u64, Local>,
}

/// A proxy's bucket of one table's share.
struct Local {
    bucket: TokenBucket,
    rate: MilliUnitsPerSecond,
    cap: MilliUnits,
    demand: u64,
    admitted: MilliUnits,
    throttled: MilliUnits,
    returned: MilliUnits,
    need: MilliUnits,
    accepted: GrantNumber,
    due_ms: u64,
    reported_ms: u64,
    awaited: bool,
}

impl Local {
    fn new(now: Timestamp) -> Self {
        Self {
            bucket: TokenBucket::empty(MilliUnitsPerSecond::default(), MilliUnits::ZERO, now),
            rate: MilliUnitsPerSecond::default(),
            cap: MilliUnits::ZERO,
            demand: 0,
            admitted: MilliUnits::ZERO,
            throttled: MilliUnits::ZERO,
            returned: MilliUnits::ZERO,
            need: MilliUnits::ZERO,
            accepted: GrantNumber::default(),
            due_ms: 0,
            reported_ms: 0,
            awaited: false,
        }
    }

    /// Serves `offered`; what was admitted.
    fn serve(&mut self, offered: u64, now: Timestamp) -> u64 {
        self.returned += self.bucket.refill(now);
        let served = offered.min(self.bucket.level().get());
        self.bucket.charge(MilliUnits::new(served));
        self.admitted += MilliUnits::new(served);
        self.throttled += MilliUnits::new(offered - served);
        served
    }

    fn accept(&mut self, grant: &Grant, now: Timestamp, now_ms: u64) {
        assert!(grant.number > self.accepted);
        self.awaited = grant.rate < self.rate;
        self.returned += self.bucket.reconfigure(grant.rate, grant.cap, now);
        self.returned += self.bucket.add(grant.tokens);
        (self.rate, self.cap, self.accepted) = (grant.rate, grant.cap, grant.number);
        self.reported_ms = now_ms;
        self.due_ms = now_ms + u64::try_from(grant.next_report.as_millis()).expect("it is short");
    }
}

impl Proxy {
    fn new(number: u64) -> Self {
        Self { id: ProxyId::new(number), shares: BTreeMap::new() }
    }

    fn header(&self) -> ReportHeader {
        ReportHeader {
            proxy: self.id,
            session: 1,
            fleet: 3,
            ring: Epoch::new(0),
            leaving: false,
            session_age: Duration::ZERO,
        }
    }

    fn entry(&self, table: u64, local: &Local, now: Timestamp) -> ReportEntry {
        let _ = now;
        ReportEntry {
            bucket: share(TableId::new(table), KIND),
            admitted: local.admitted,
            throttled: local.throttled,
            returned: local.returned,
            held: local.bucket.level(),
            need: local.need,
            acknowledged: local.accepted,
            rate_in_use: local.rate,
            quota: Quota::with_usual_burst(MilliUnitsPerSecond::default(), 0),
        }
    }
}

impl Fleet {
    /// Weights 1 : 2 : 4, and a fifth of the account's rate in floors.
    fn new(tables: u64) -> Self {
        let weights: u64 = (0..tables).map(|table| 1 << (table % 3)).sum();
        let claim = |table: u64| {
            let weight = 1_u32 << (table % 3);
            let floor = MilliUnitsPerSecond::new(RATE * 200 * u64::from(weight) / weights);
            (table, Claim { weight, floor, version: 1, ..Claim::default() })
        };
        let mut fleet = Self {
            owner: Allocator::new(Epoch::new(1), config(), at(0)),
            now_ms: 0,
            quota: quota(RATE, 1),
            claims: (0..tables).map(claim).collect(),
            proxies: (0..PROXIES).map(Proxy::new).collect(),
            admitted: (0..tables).map(|table| (table, 0)).collect(),
            rise: 0,
            worst_window: 0,
        };
        fleet.instruct_owner();
        for table in 0..tables {
            fleet.demand(table, 0);
        }
        fleet.run(1_000);
        fleet
    }

    fn instruct_owner(&mut self) {
        self.owner.set_account_quota(KIND, Some(self.quota), at(self.now_ms));
        for (table, claim) in &self.claims {
            self.owner.set_claim(TableId::new(*table), KIND, *claim);
        }
    }

    fn restart_owner(&mut self) {
        self.owner = Allocator::new(Epoch::new(1 + self.now_ms), config(), at(self.now_ms));
        self.instruct_owner();
    }

    fn set_quota(&mut self, units: u64) {
        self.quota = quota(units, self.quota.version + 1);
        self.instruct_owner();
    }

    /// Every table is offered its number's part of three times a fair share: some want little. The fair
    /// shares.
    fn contend(&mut self) -> Vec<(u64, u64)> {
        let tables = self.claims.len() as u64;
        let demand_of = |table| (table * 7 % tables + 1) * 3 * RATE / tables / tables * 2;
        let demands: Vec<_> = (0..tables).map(demand_of).collect();
        demands.iter().zip(0..).for_each(|(demand, table)| self.demand(table, *demand));
        let claimants: Vec<_> = demands
            .iter()
            .zip(self.claims.values())
            .map(|(demand, claim)| Claimant {
                demand: MilliUnitsPerSecond::from_units(*demand),
                claim: *claim,
            })
            .collect();
        let shares = divide_max_min(MilliUnitsPerSecond::from_units(RATE), &claimants);
        (0..).zip(shares.into_iter().map(MilliUnitsPerSecond::get)).collect()
    }

    /// In units a second, divided unevenly among the proxies.
    fn demand(&mut self, table: u64, units: u64) {
        let now = at(self.now_ms);
        for (proxy, part) in self.proxies.iter_mut().zip([1, 2, 3]) {
            proxy.shares.entry(table).or_insert_with(|| Local::new(now)).demand = units * 1000 * part / 6;
        }
    }

    fn run(&mut self, millis: u64) {
        for _ in 0..millis / 10 {
            self.now_ms += 10;
            let served = self.serve();
            self.rise -= i128::from(self.quota.rate.get() / 100);
            self.rise = self.rise.max(0) + i128::from(served);
            self.worst_window = self.worst_window.max(self.rise);
            self.report();
            if self.now_ms.is_multiple_of(1_000) {
                self.owner.expire(at(self.now_ms));
            }
            self.owner.assert_invariants();
        }
    }

    fn serve(&mut self) -> u64 {
        let now = at(self.now_ms);
        let mut all = 0;
        for proxy in &mut self.proxies {
            for (table, local) in &mut proxy.shares {
                let served = local.serve(local.demand / 100, now);
                *self.admitted.get_mut(table).expect("a known table") += served;
                all += served;
            }
        }
        all
    }

    fn report(&mut self) {
        let (now, now_ms) = (at(self.now_ms), self.now_ms);
        for proxy in &mut self.proxies {
            let header = proxy.header();
            let tables: Vec<_> = proxy.shares.keys().copied().collect();
            for table in tables {
                let local = proxy.shares.get_mut(&table).expect("a known table");
                let short = local.bucket.level().get() < local.demand / 100;
                let early = short && now_ms >= local.reported_ms + 100;
                if now_ms < local.due_ms && !local.awaited && !early {
                    continue;
                }
                let covered = local.rate.get() + local.bucket.level().get();
                local.need = MilliUnits::new(local.demand.saturating_sub(covered));
                local.awaited = false;
                let entry = proxy.entry(table, &proxy.shares[&table], now);
                if let Answer::Granted(grant) = self.owner.on_report(&header, &entry, now) {
                    proxy.shares.get_mut(&table).expect("a known table").accept(&grant, now, now_ms);
                }
            }
            self.owner.hear(&header, now);
        }
    }
}

fn config() -> AllocatorConfig {
    let expected_proxies = u32::try_from(PROXIES).expect("it is small");
    AllocatorConfig { expected_proxies, ..AllocatorConfig::default() }
}

fn quota(units: u64, version: u64) -> Quota {
    let rate = MilliUnitsPerSecond::from_units(units);
    let usual = Quota::with_usual_burst(rate, version);
    Quota { burst: rate.earned_in(Duration::from_secs(1)), ..usual }
}

fn at(millis: u64) -> Timestamp {
    Timestamp::from_nanos(millis * 1_000_000)
}
