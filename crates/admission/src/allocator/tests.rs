use units::TableId;

use super::*;
use crate::lease::{CapacityKind, GrantNumber, PoolColour};

mod decisions;
mod safety;

fn at(millis: u64) -> Timestamp {
    Timestamp::from_nanos(millis * 1_000_000)
}

fn id() -> BucketId {
    BucketId::new(TableId::new(5), CapacityKind::Write)
}

const fn rate(units: u64) -> MilliUnitsPerSecond {
    MilliUnitsPerSecond::from_units(units)
}

const fn units(units: u64) -> MilliUnits {
    MilliUnits::from_units(units)
}

fn quota(units: u64, version: u64) -> Quota {
    Quota::with_usual_burst(rate(units), version)
}

fn entry(quota: Quota) -> ReportEntry {
    ReportEntry {
        bucket: id(),
        admitted: MilliUnits::ZERO,
        throttled: MilliUnits::ZERO,
        returned: MilliUnits::ZERO,
        held: MilliUnits::ZERO,
        need: MilliUnits::ZERO,
        acknowledged: GrantNumber::default(),
        rate_in_use: MilliUnitsPerSecond::default(),
        quota,
    }
}

fn offering(throttled: u64, grant: &Grant, quota: Quota) -> ReportEntry {
    ReportEntry {
        throttled: units(throttled),
        acknowledged: grant.number,
        rate_in_use: grant.rate,
        ..entry(quota)
    }
}

fn header(proxy: ProxyId, session: u64) -> ReportHeader {
    ReportHeader {
        proxy,
        session,
        fleet: 0,
        ring: Epoch::new(0),
        leaving: false,
        session_age: Duration::ZERO,
    }
}

/// Past its learning phase.
fn ready(proxies: u32) -> Allocator {
    let config = AllocatorConfig { expected_proxies: proxies, ..AllocatorConfig::default() };
    let mut allocator = Allocator::new(Epoch::new(1), config, at(0));
    for proxy in 0..proxies {
        allocator.hear(&header(ProxyId::new(u64::from(proxy)), 1), at(0));
    }
    allocator
}

const A: ProxyId = ProxyId::new(1);
const B: ProxyId = ProxyId::new(2);

#[test]
fn a_lone_proxy_is_leased_its_demand_and_half_of_the_rest() {
    let mut allocator = ready(1);
    let grant = allocator.on_report(&header(A, 1), &entry(quota(100, 1)), at(0)).grant().expect("answered");
    assert_eq!(grant.rate, rate(50));
    assert_eq!(grant.safe_rate, rate(50));
    assert_eq!(grant.pool, PoolColour::Dry);
}

#[test]
fn a_raise_waits_for_the_acknowledgement_of_the_decrease_that_pays_for_it() {
    let mut allocator = ready(2);
    let quota = quota(100, 1);
    // A offers far more than the quota and gets nearly all of it.
    let first =
        allocator.on_report(&header(A, 1), &offering(1000, &none(), quota), at(0)).grant().expect("answered");
    let leased = first.rate;
    assert!(leased > rate(95));
    // B offers as much. It gets only what is free.
    let newcomer = allocator
        .on_report(&header(B, 1), &offering(1000, &none(), quota), at(10))
        .grant()
        .expect("answered");
    assert!(newcomer.rate.get() <= rate(100).get() - leased.get());
    // A hears of its decrease; nothing is free before it says so.
    let lower = allocator
        .on_report(&header(A, 1), &offering(2000, &first, quota), at(1000))
        .grant()
        .expect("answered");
    assert!(lower.rate < rate(60));
    let still = allocator
        .on_report(&header(B, 1), &offering(2000, &newcomer, quota), at(1010))
        .grant()
        .expect("answered");
    assert!(still.rate.get() <= rate(100).get() - leased.get());
    allocator.on_report(&header(A, 1), &offering(2000, &lower, quota), at(1020)).grant().expect("answered");
    let raised = allocator
        .on_report(&header(B, 1), &offering(3000, &still, quota), at(2010))
        .grant()
        .expect("answered");
    assert!(raised.rate > rate(40), "{raised:?}");
}

#[test]
fn a_repeated_or_overtaken_report_is_ignored() {
    let mut allocator = ready(1);
    let quota = quota(100, 1);
    let first =
        allocator.on_report(&header(A, 1), &offering(10, &none(), quota), at(0)).grant().expect("answered");
    allocator.on_report(&header(A, 1), &offering(500, &first, quota), at(1000)).grant().expect("answered");
    assert_eq!(allocator.on_report(&header(A, 1), &offering(10, &none(), quota), at(1100)), Answer::Stale);
    assert_eq!(allocator.on_report(&header(A, 0), &offering(900, &none(), quota), at(1200)), Answer::Stale);
}

#[test]
fn unleased_rate_fills_the_pool_and_need_empties_it() {
    let mut allocator = ready(1);
    let quota = quota(100, 1);
    let first = allocator.on_report(&header(A, 1), &entry(quota), at(0)).grant().expect("answered");
    let report = ReportEntry { need: units(400), ..offering(0, &first, quota) };
    let given = allocator.on_report(&header(A, 1), &report, at(10_000)).grant().expect("answered");
    // Half of the rate was unleased for 10 s, and half of that is given to a lone proxy.
    assert_eq!(given.pool, PoolColour::Scarce);
    assert_eq!(given.tokens, units(400));
    assert!(given.cap >= units(400));
}

#[test]
fn returned_tokens_come_home_to_the_pool() {
    let mut allocator = ready(1);
    let quota = quota(100, 1);
    let first = allocator.on_report(&header(A, 1), &entry(quota), at(0)).grant().expect("answered");
    let before = allocator.summary(id(), at(0)).expect("it is used").pool;
    let report = ReportEntry { returned: units(30), ..offering(0, &first, quota) };
    let grant = allocator.on_report(&header(A, 1), &report, at(1)).grant().expect("answered");
    let after = allocator.summary(id(), at(0)).expect("it is used").pool;
    assert!(after + grant.tokens >= before + units(30));
}

#[test]
fn a_silent_proxy_keeps_its_rate_until_its_lease_has_ended_then_counts_as_its_safe_rate() {
    let mut allocator = ready(2);
    let quota = quota(100, 1);
    let grant =
        allocator.on_report(&header(A, 1), &offering(1000, &none(), quota), at(0)).grant().expect("answered");
    let leased = || grant.rate;
    allocator.expire(at(10_400));
    assert_eq!(allocator.summary(id(), at(0)).expect("it is used").leased, leased());
    allocator.expire(at(10_600));
    assert_eq!(allocator.summary(id(), at(0)).expect("it is used").leased, grant.safe_rate);
    allocator.expire(at(601_000));
    assert_eq!(allocator.summary(id(), at(0)), None);
}

#[test]
fn a_new_epoch_gives_back_what_each_proxy_shows_until_all_have_reported() {
    let config = AllocatorConfig { expected_proxies: 2, ..AllocatorConfig::default() };
    let mut allocator = Allocator::new(Epoch::new(7), config, at(0));
    let quota = quota(100, 1);
    let old = GrantNumber { epoch: Epoch::new(6), sequence: 40 };
    let shows =
        ReportEntry { rate_in_use: rate(30), acknowledged: old, throttled: units(9999), ..entry(quota) };
    allocator.hear(&header(A, 1), at(10));
    let grant = allocator.on_report(&header(A, 1), &shows, at(10)).grant().expect("answered");
    assert_eq!((grant.rate, grant.tokens), (rate(30), MilliUnits::ZERO));
    assert!(grant.number > old);
    assert!(allocator.is_learning(at(20)));
    allocator.hear(&header(B, 1), at(10));
    assert!(!allocator.is_learning(at(20)));
    let shows = ReportEntry { acknowledged: grant.number, throttled: units(10_999), ..shows };
    let grant = allocator.on_report(&header(A, 1), &shows, at(1010)).grant().expect("answered");
    assert!(grant.rate > rate(90), "{grant:?}");
}

#[test]
fn learning_ends_when_every_earlier_lease_has() {
    let config = AllocatorConfig { expected_proxies: 9, ..AllocatorConfig::default() };
    let allocator = Allocator::new(Epoch::new(7), config, at(0));
    assert!(allocator.is_learning(at(10_500)));
    assert!(!allocator.is_learning(at(10_600)));
}

#[test]
fn the_newest_quota_wins_wherever_it_comes_from() {
    let mut allocator = ready(1);
    allocator.set_quota(id(), quota(100, 5), false, at(0));
    allocator.on_report(&header(A, 1), &entry(quota(10, 4)), at(0)).grant().expect("answered");
    assert_eq!(allocator.summary(id(), at(0)).expect("it is used").quota, quota(100, 5));
    allocator.on_report(&header(A, 1), &entry(quota(20, 6)), at(1000)).grant().expect("answered");
    assert_eq!(allocator.summary(id(), at(0)).expect("it is used").quota, quota(20, 6));
    allocator.set_quota(id(), quota(100, 5), false, at(2000));
    assert_eq!(allocator.summary(id(), at(0)).expect("it is used").quota, quota(20, 6));
}

#[test]
fn a_lowered_quota_counts_down_as_proxies_acknowledge() {
    let mut allocator = ready(1);
    let first = allocator
        .on_report(&header(A, 1), &offering(1000, &none(), quota(100, 1)), at(0))
        .grant()
        .expect("answered");
    allocator.set_quota(id(), quota(10, 2), false, at(500));
    let lower = allocator
        .on_report(&header(A, 1), &offering(2000, &first, quota(100, 1)), at(1000))
        .grant()
        .expect("answered");
    assert!(lower.rate <= rate(10));
    assert!(allocator.summary(id(), at(0)).expect("it is used").leased > rate(90));
    allocator
        .on_report(&header(A, 1), &offering(2000, &lower, quota(100, 1)), at(1010))
        .grant()
        .expect("answered");
    assert!(allocator.summary(id(), at(0)).expect("it is used").leased <= rate(10));
    allocator.assert_invariants();
}

#[test]
fn a_proxy_that_starts_again_and_again_is_never_leased_more_than_the_quota() {
    let mut allocator = ready(1);
    for session in 0..50 {
        let shows = ReportEntry { rate_in_use: rate(100), ..offering(1000, &none(), quota(100, 1)) };
        allocator.on_report(&header(A, session), &shows, at(session * 1000)).grant().expect("answered");
        assert!(allocator.summary(id(), at(0)).expect("it is used").leased <= rate(100));
    }
}

#[test]
fn absurd_reports_neither_panic_nor_break_an_invariant() {
    let mut allocator = ready(1);
    let most = MilliUnits::new(u64::MAX);
    let everything = MilliUnitsPerSecond::new(u64::MAX);
    let absurd = Quota { rate: everything, burst: most, version: u64::MAX, ..quota(0, 0) };
    for (number, quota) in [quota(0, 0), quota(1, 1), absurd].into_iter().enumerate() {
        for step in 0..20 {
            let report = ReportEntry {
                admitted: if step < 10 { MilliUnits::new(step) } else { most },
                throttled: if step < 5 { MilliUnits::ZERO } else { most },
                returned: if step < 15 { MilliUnits::ZERO } else { most },
                held: most,
                need: most,
                rate_in_use: everything,
                ..entry(quota)
            };
            let proxy = ProxyId::new(step % 4);
            allocator.on_report(&header(proxy, number as u64), &report, at(step * 300));
            allocator.expire(at(step * 300));
        }
    }
    allocator.assert_invariants();
}

fn none() -> Grant {
    Grant {
        bucket: id(),
        number: GrantNumber::default(),
        rate: MilliUnitsPerSecond::default(),
        tokens: MilliUnits::ZERO,
        cap: MilliUnits::ZERO,
        next_report: Duration::ZERO,
        ttl: Duration::ZERO,
        safe_rate: MilliUnitsPerSecond::default(),
        pool: PoolColour::Unknown,
        mode: crate::lease::Mode::Leased,
        dry_for: Duration::ZERO,
        quota: quota(0, 0),
    }
}
