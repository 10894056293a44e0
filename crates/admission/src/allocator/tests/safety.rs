//! What must not make tokens: buckets that are forgotten, owners that come late.

use super::*;

const FLEET: u32 = 2;

fn proxy(number: u64) -> ProxyId {
    ProxyId::new(number)
}

fn ring(epoch: u64, servers: &[&str]) -> Ring {
    Ring::new(Epoch::new(epoch), servers.iter().map(|name| (*name).to_owned()))
}

/// Of a proxy that knows the fleet's size.
fn by_ring(number: u64, ring: u64) -> ReportHeader {
    ReportHeader { ring: Epoch::new(ring), fleet: FLEET, ..header(proxy(number), 1) }
}

/// A proxy that an earlier owner leased 30 units a second, and that could use far more.
fn leased_elsewhere() -> ReportEntry {
    let number = GrantNumber { epoch: Epoch::new(1 << 43 | 9), sequence: 3 };
    ReportEntry {
        acknowledged: number,
        rate_in_use: rate(30),
        throttled: units(5_000),
        need: units(500),
        ..entry(quota(100, 1))
    }
}

fn shown_is_all_that_is_granted(new: &mut Allocator, ring: u64, millis: u64) {
    let grant = new.on_report(&by_ring(0, ring), &leased_elsewhere(), at(millis)).grant().expect("it learns");
    assert_eq!((grant.rate, grant.tokens), (rate(30), MilliUnits::ZERO), "the other one may use the rest");
    new.hear(&by_ring(0, ring), at(millis));
    assert!(new.is_learning(at(millis)));
    new.hear(&by_ring(1, ring), at(millis));
    assert!(!new.is_learning(at(millis)), "all of the fleet have followed");
    new.assert_invariants();
}

#[test]
fn a_bucket_that_was_forgotten_while_it_filled_goes_on_filling_from_there() {
    let mut allocator = ready(1);
    let quota = quota(100, 1);
    allocator.set_quota(id(), quota, false, at(0));
    // It has been idle for so long that it is full; and then all of it is used.
    let mut report = ReportEntry { need: units(30_000), ..entry(quota) };
    for turn in 0..40 {
        let now = at(600_000 + turn * 100);
        let grant = allocator.on_report(&header(A, 1), &report, now).grant().expect("answered");
        report = ReportEntry { acknowledged: grant.number, rate_in_use: grant.rate, ..report };
        report.admitted += grant.tokens;
    }
    assert!(report.admitted > units(29_000), "{report:?}");
    let leaving = ReportHeader { leaving: true, ..header(A, 1) };
    allocator.on_report(&leaving, &report, at(605_000));
    allocator.hear(&leaving, at(605_000));
    allocator.expire(at(605_000 + 121_000));
    assert_eq!(allocator.bucket_count(), 0, "nobody has used it for two minutes");
    let asks = ReportEntry { need: units(30_000), ..entry(quota) };
    let grant = allocator.on_report(&header(B, 1), &asks, at(727_000)).grant().expect("answered");
    let summary = allocator.summary(id(), at(727_000)).expect("it is used");
    assert!(summary.pool + grant.tokens <= units(127 * 100), "earned since it was empty: {summary:?}");
    assert!(summary.pool + grant.tokens >= units(115 * 100), "{summary:?}");
}

#[test]
fn a_server_that_ran_long_before_it_joins_its_first_ring_learns_what_others_leased() {
    let config = AllocatorConfig { expected_proxies: 1, ..AllocatorConfig::default() };
    let mut new = Allocator::new(Epoch::new(5), config, at(0));
    new.set_quota(id(), quota(100, 1), false, at(0));
    (1..60).for_each(|second| new.expire(at(second * 1000)));
    assert!(!new.is_learning(at(59_000)));
    new.set_ring(ring(2, &["b:1"]), "b:1", at(60_000));
    shown_is_all_that_is_granted(&mut new, 2, 60_100);
}

#[test]
fn a_server_that_comes_back_into_the_ring_learns_what_others_leased() {
    let config = AllocatorConfig { expected_proxies: 1, ..AllocatorConfig::default() };
    let mut new = Allocator::new(Epoch::new(5), config, at(0));
    new.set_quota(id(), quota(100, 1), false, at(0));
    new.set_ring(ring(1, &["b:1"]), "b:1", at(0));
    (0..2).for_each(|number| new.hear(&by_ring(number, 1), at(10)));
    new.set_ring(ring(2, &["a:1"]), "b:1", at(1_000));
    (1..200).for_each(|second| new.expire(at(second * 1000)));
    new.set_ring(ring(3, &["b:1"]), "b:1", at(200_000));
    shown_is_all_that_is_granted(&mut new, 3, 200_100);
}

#[test]
fn a_new_owner_waits_also_for_a_proxy_that_only_the_owner_before_could_hear() {
    let mut new = Allocator::new(Epoch::new(5), AllocatorConfig::default(), at(0));
    new.set_ring(ring(1, &["a:1"]), "b:1", at(0));
    (0..2).for_each(|number| new.hear(&by_ring(number, 1), at(10)));
    for second in 1..20 {
        new.hear(&by_ring(0, 1), at(second * 1000));
        new.expire(at(second * 1000));
    }
    new.set_ring(ring(2, &["b:1"]), "b:1", at(20_000));
    new.hear(&by_ring(0, 2), at(20_100));
    assert!(new.is_learning(at(20_100)), "the other one may use what it was leased a moment ago");
    assert!(!new.is_learning(at(40_000)), "but not for ever");
}

#[test]
fn proxies_beyond_the_bound_get_nothing_and_take_no_place() {
    let mut allocator = ready(1);
    (0..100_000).for_each(|number| allocator.hear(&header(proxy(number), 1), at(0)));
    let answer = allocator.on_report(&header(proxy(100_000), 1), &entry(quota(100, 1)), at(10));
    assert_eq!((answer, allocator.bucket_count()), (Answer::Full, 0));
    allocator.on_report(&header(proxy(99_999), 1), &entry(quota(100, 1)), at(10)).grant().expect("a member");
}

#[test]
fn what_is_still_being_learned_is_not_handed_over() {
    let config = AllocatorConfig { expected_proxies: 2, ..AllocatorConfig::default() };
    let mut restarted = Allocator::new(Epoch::new(5), config, at(0));
    restarted.set_ring(ring(1, &["a:1"]), "a:1", at(0));
    restarted.on_report(&by_ring(0, 1), &leased_elsewhere(), at(10)).grant().expect("it learns");
    restarted.hear(&by_ring(0, 1), at(10));
    // The other proxy was not heard yet: what it uses is in no sum.
    restarted.set_ring(ring(2, &["b:1"]), "a:1", at(20));
    assert_eq!(restarted.handovers(10, at(30)).count(), 0);
    assert!(restarted.is_drained());
}
