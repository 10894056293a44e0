//! Modes, the fleet, and changes of the ring.

use super::*;
use crate::lease::Mode;

const FLEET: u32 = 4;

fn proxy(number: u64) -> ProxyId {
    ProxyId::new(number)
}

fn by_ring(number: u64, ring: u64) -> ReportHeader {
    ReportHeader { ring: Epoch::new(ring), ..header(proxy(number), 1) }
}

fn ring(epoch: u64, servers: &[&str]) -> Ring {
    Ring::new(Epoch::new(epoch), servers.iter().map(|name| (*name).to_owned()))
}

/// A server called `me` that has heard the whole fleet by the ring of epoch 1.
fn server(me: &str, started: u64, servers: &[&str]) -> Allocator {
    let config = AllocatorConfig { expected_proxies: FLEET, ..AllocatorConfig::default() };
    let mut allocator = Allocator::new(Epoch::new(started), config, at(0));
    allocator.set_ring(ring(1, servers), me, at(0));
    (0..u64::from(FLEET)).for_each(|number| allocator.hear(&by_ring(number, 1), at(0)));
    assert!(!allocator.is_learning(at(0)));
    allocator
}

fn granted(allocator: &mut Allocator, header: &ReportHeader, entry: &ReportEntry, millis: u64) -> Grant {
    let answer = allocator.on_report(header, entry, at(millis));
    answer.grant().unwrap_or_else(|| panic!("{answer:?} at {millis}"))
}

#[test]
fn a_new_tables_pool_starts_with_a_second_of_its_rate() {
    for (fresh, tokens) in [(true, units(100)), (false, MilliUnits::ZERO)] {
        let mut allocator = ready(1);
        allocator.set_quota(id(), quota(100, 1), fresh, at(0));
        let asks = ReportEntry { need: units(100), ..entry(quota(100, 1)) };
        let grant = granted(&mut allocator, &header(A, 1), &asks, 0);
        assert_eq!(grant.tokens, tokens, "fresh: {fresh}");
    }
}

#[test]
fn far_below_the_quota_a_proxy_gets_a_wide_allowance_and_is_not_tracked() {
    let mut allocator = ready(FLEET);
    allocator.set_quota(id(), quota(4_000, 1), false, at(0));
    let grant = granted(&mut allocator, &header(A, 1), &entry(quota(4_000, 1)), 600_000);
    assert_eq!((grant.mode, grant.rate), (Mode::Untracked, rate(4_000 / 4 / u64::from(FLEET))));
    let summary = allocator.summary(id(), at(600_000)).expect("it is used");
    assert_eq!((summary.proxies, summary.mode), (0, Mode::Untracked));
    assert_eq!(summary.reserved, rate(1_000), "for everybody");
    let summary = allocator.summary(id(), at(640_000)).expect("it is used");
    assert_eq!(summary.reserved, rate(40), "only the base allowances, once the wide ones have ended");
    allocator.assert_invariants();
}

#[test]
fn a_proxy_whose_allowance_does_not_suffice_is_tracked() {
    let mut allocator = ready(FLEET);
    allocator.set_quota(id(), quota(4_000, 1), false, at(0));
    let hot = ReportEntry { need: units(9_000), ..entry(quota(4_000, 1)) };
    let grant = granted(&mut allocator, &header(A, 1), &hot, 600_000);
    assert_eq!(grant.mode, Mode::Leased);
    assert_eq!(allocator.summary(id(), at(600_000)).expect("it is used").proxies, 1);
}

#[test]
fn what_is_too_small_to_split_is_asked_for_by_request_and_given_while_there_is_some() {
    let mut allocator = ready(FLEET);
    let quota = quota(4, 1);
    let mut last = Vec::new();
    for number in 0..u64::from(FLEET) {
        last.push(granted(&mut allocator, &header(proxy(number), 1), &entry(quota), 0));
    }
    assert_eq!((last[3].mode, last[3].rate), (Mode::Direct, rate(0)));
    // All use it directly from their next report on; the pool earns the whole rate.
    for (number, last) in (0..).zip(&mut last) {
        for millis in [1_000, 1_100] {
            let shows = offering(0, last, quota);
            *last = granted(&mut allocator, &header(proxy(number), 1), &shows, millis);
        }
    }
    let asks = ReportEntry { need: units(2), ..offering(0, &last[0], quota) };
    let given = granted(&mut allocator, &header(proxy(0), 1), &asks, 2_200);
    assert_eq!((given.tokens, given.cap, given.dry_for), (units(2), units(2), Duration::ZERO));
    let asks = ReportEntry { need: units(9), ..offering(0, &last[1], quota) };
    let short = granted(&mut allocator, &header(proxy(1), 1), &asks, 2_200);
    assert!(short.tokens < units(9) && short.dry_for > Duration::ZERO, "{short:?}");
    allocator.assert_invariants();
}

#[test]
fn a_proxy_that_leaves_frees_its_rate_and_its_tokens_at_once() {
    let mut allocator = ready(2);
    let quota = quota(100, 1);
    let grant = granted(&mut allocator, &header(A, 1), &offering(1000, &none(), quota), 0);
    let leaving = ReportHeader { leaving: true, ..header(A, 1) };
    let last = ReportEntry { rate_in_use: rate(0), ..offering(1000, &grant, quota) };
    assert_eq!(allocator.on_report(&leaving, &last, at(500)), Answer::Stale);
    allocator.hear(&leaving, at(500));
    let summary = allocator.summary(id(), at(500)).expect("it was used");
    assert_eq!((summary.leased, summary.held, summary.proxies), (rate(0), MilliUnits::ZERO, 0));
    assert_eq!(allocator.roster().filter(|(proxy, ..)| *proxy == A).count(), 0);
}

#[test]
fn a_new_server_waits_for_as_many_proxies_as_reports_have_heard_of() {
    let config = AllocatorConfig { expected_proxies: 1, ..AllocatorConfig::default() };
    let mut allocator = Allocator::new(Epoch::new(7), config, at(0));
    for number in 0..3 {
        allocator.hear(&ReportHeader { fleet: 3, ..header(proxy(number), 1) }, at(10));
        assert_eq!(allocator.is_learning(at(10)), number < 2);
    }
    assert_eq!(allocator.fleet(), 3);
}

#[test]
fn for_a_lost_proxy_that_is_not_tracked_its_safe_rate_is_reserved() {
    let mut allocator = ready(2);
    granted(&mut allocator, &header(A, 1), &offering(1000, &none(), quota(1_000, 1)), 0);
    allocator.hear(&header(A, 1), at(5_000));
    allocator.expire(at(5_000));
    let summary = allocator.summary(id(), at(5_000)).expect("it is used");
    assert_eq!(summary.reserved, rate(500), "half of the fleet may fall back to half of the quota");
}

#[test]
fn a_bucket_that_the_ring_moves_goes_on_at_its_new_owner_without_learning() {
    let (mut old, mut new) = (server("a:1", 9, &["a:1"]), server("b:1", 5, &["a:1"]));
    let quota = quota(100, 1);
    let first = granted(&mut old, &by_ring(0, 1), &offering(1000, &none(), quota), 0);
    old.set_ring(ring(2, &["b:1"]), "a:1", at(10));
    new.set_ring(ring(2, &["b:1"]), "b:1", at(10));
    let report = offering(1100, &first, quota);
    assert_eq!(old.on_report(&by_ring(0, 1), &report, at(20)), Answer::NotOwned);
    assert!(!old.is_drained());
    let moved: Vec<_> = old.handovers(10, at(20)).collect();
    assert_eq!((moved.len(), moved[0].0.as_str()), (1, "b:1"));
    assert!(new.accept_handover(Epoch::new(2), &moved[0].1, at(20)));
    old.handed_over(&[id()]);
    assert!(old.is_drained());
    let next = granted(&mut new, &by_ring(0, 2), &offering(2000, &first, quota), 500);
    assert!(next.number > first.number, "a later owner's grants are newer, whenever it started");
    assert!(next.rate > rate(90), "{next:?}");
    new.assert_invariants();
}

#[test]
fn without_a_handover_a_new_owner_gives_back_what_is_shown_until_all_have_followed() {
    let mut new = server("b:1", 5, &["a:1"]);
    new.set_ring(ring(2, &["b:1"]), "b:1", at(10));
    let old = Grant {
        number: GrantNumber { epoch: Epoch::new(1 << 43 | 9), sequence: 3 },
        rate: rate(30),
        ..none()
    };
    let shown = granted(&mut new, &by_ring(0, 2), &offering(1000, &old, quota(100, 1)), 20);
    assert_eq!((shown.rate, shown.tokens), (rate(30), MilliUnits::ZERO));
    (0..3).for_each(|number| new.hear(&by_ring(number, 2), at(30)));
    assert!(new.is_learning(at(30)));
    new.hear(&by_ring(3, 2), at(40));
    assert!(!new.is_learning(at(40)));
}

#[test]
fn an_owner_whom_nobody_confirms_leases_only_while_half_of_the_fleet_follows_it() {
    let mut owner = server("a:1", 9, &["a:1"]);
    let shows = offering(10, &none(), quota(100, 1));
    for second in 1..=20 {
        // The control plane is silent, and three of four have gone over to a newer ring.
        owner.hear(&by_ring(0, 1), at(second * 1000));
        (1..4).for_each(|number| owner.hear(&by_ring(number, 2), at(second * 1000)));
        owner.expire(at(second * 1000));
    }
    assert!(owner.is_frozen(at(20_000)));
    assert_eq!(owner.on_report(&by_ring(0, 1), &shows, at(20_000)), Answer::Frozen);
    owner.set_ring(ring(1, &["a:1"]), "a:1", at(20_100));
    assert!(!owner.is_frozen(at(20_100)));
    owner.on_report(&by_ring(0, 1), &shows, at(20_200)).grant().expect("it is confirmed");
}

#[test]
fn a_stale_or_foreign_handover_is_refused() {
    let mut new = server("b:1", 5, &["a:1"]);
    new.set_ring(ring(2, &["b:1"]), "b:1", at(10));
    let state = BucketState {
        bucket: id(),
        epoch: Epoch::new(1 << 43 | 9),
        pool: units(50),
        quota: quota(100, 1),
        wide_for: Duration::ZERO,
        shares: Vec::new(),
    };
    assert!(!new.accept_handover(Epoch::new(1), &state, at(20)), "under an older ring");
    let newer = BucketState { epoch: Epoch::new(3 << 43), ..state.clone() };
    assert!(!new.accept_handover(Epoch::new(2), &newer, at(20)), "granted under a newer epoch");
    assert!(new.accept_handover(Epoch::new(2), &state, at(20)));
    assert_eq!(new.summary(id(), at(20)).expect("it came").pool, units(50));
    assert!(new.accept_handover(Epoch::new(2), &state, at(30)), "once more: it knows");
    assert!(new.summary(id(), at(30)).expect("it came").pool < units(60));
}
