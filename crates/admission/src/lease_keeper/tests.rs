use units::{Epoch, TableId};

use super::*;
use crate::lease::{CapacityKind, Level};

const TTL: Duration = Duration::from_secs(10);

fn at(millis: u64) -> Timestamp {
    Timestamp::from_nanos(millis * 1_000_000)
}

fn keeper() -> (LeaseKeeper, AtomicTokenBucket) {
    let quota = Quota::with_usual_burst(MilliUnitsPerSecond::from_units(100), 1);
    let id = BucketId::new(TableId::new(1), CapacityKind::Read);
    let bucket = AtomicTokenBucket::full(LeaseKeeper::first_lease(quota, 4, at(0)), at(0));
    (LeaseKeeper::new(id, quota), bucket)
}

fn grant(epoch: u64, sequence: u64, rate: u64) -> Grant {
    Grant {
        bucket: BucketId::new(TableId::new(1), CapacityKind::Read),
        number: GrantNumber { epoch: Epoch::new(epoch), sequence },
        rate: MilliUnitsPerSecond::from_units(rate),
        tokens: MilliUnits::ZERO,
        cap: MilliUnits::from_units(20),
        next_report: Duration::from_secs(1),
        ttl: TTL,
        safe_rate: MilliUnitsPerSecond::from_units(25),
        pool: PoolColour::Comfortable,
        mode: Mode::Leased,
        dry_for: Duration::ZERO,
        quota: Quota::with_usual_burst(MilliUnitsPerSecond::from_units(100), 1),
    }
}

#[test]
fn a_duplicate_or_an_older_grant_changes_nothing() {
    let (mut keeper, bucket) = keeper();
    assert!(keeper.apply(&grant(1, 2, 50), &bucket, at(1), at(1)));
    assert!(!keeper.apply(&grant(1, 2, 90), &bucket, at(2), at(2)));
    assert!(!keeper.apply(&grant(1, 1, 90), &bucket, at(3), at(3)));
    assert_eq!(bucket.rate_at(at(4)), MilliUnitsPerSecond::from_units(50));
    assert!(keeper.apply(&grant(2, 1, 60), &bucket, at(5), at(5)));
}

#[test]
fn a_decrease_is_acknowledged_at_once() {
    let (mut keeper, bucket) = keeper();
    keeper.report(&bucket, at(0));
    keeper.apply(&grant(1, 1, 50), &bucket, at(1), at(1));
    assert!(!keeper.is_due(&bucket, at(2)));
    keeper.apply(&grant(1, 2, 40), &bucket, at(3), at(3));
    assert!(keeper.is_due(&bucket, at(3)));
    let entry = keeper.report(&bucket, at(3));
    assert_eq!(entry.acknowledged, GrantNumber { epoch: Epoch::new(1), sequence: 2 });
    assert!(!keeper.is_due(&bucket, at(4)));
}

#[test]
fn an_idle_bucket_reports_once_per_interval() {
    let (mut keeper, bucket) = keeper();
    keeper.report(&bucket, at(0));
    keeper.apply(&grant(1, 1, 50), &bucket, at(1), at(1));
    assert!(!keeper.is_due(&bucket, at(999)));
    assert!(keeper.is_due(&bucket, at(1000)));
}

#[test]
fn a_refusal_brings_the_next_report_forward_unless_the_pool_is_dry() {
    let (mut keeper, bucket) = keeper();
    keeper.report(&bucket, at(0));
    keeper.apply(&grant(1, 1, 25), &bucket, at(1), at(1));
    let one = MilliUnits::from_units(1);
    let refused = (0..21).filter(|_| bucket.take(one, at(1)).is_err()).count();
    assert_eq!(refused, 1);
    assert!(!keeper.is_due(&bucket, at(99)));
    assert!(keeper.is_due(&bucket, at(100)));
    let entry = keeper.report(&bucket, at(100));
    assert!(entry.need > MilliUnits::ZERO && entry.throttled > MilliUnits::ZERO);
    keeper.apply(&Grant { pool: PoolColour::Dry, ..grant(1, 2, 25) }, &bucket, at(101), at(101));
    let refused = (0..21).filter(|_| bucket.take(one, at(150)).is_err()).count();
    assert!(refused > 0);
    assert!(!keeper.is_due(&bucket, at(205)), "the same demand, and a dry pool");
}

#[test]
fn after_the_lease_the_safe_rate_is_what_is_reported() {
    let (mut keeper, bucket) = keeper();
    keeper.apply(&grant(1, 1, 80), &bucket, at(0), at(0));
    let entry = keeper.report(&bucket, at(20_000));
    assert_eq!(entry.rate_in_use, MilliUnitsPerSecond::from_units(25));
}

fn silent_since(millis: u64) -> Contact {
    Contact { heard_at: at(millis), fleet: 4 }
}

#[test]
fn an_allowance_that_suffices_is_silent_and_one_that_does_not_asks_at_once() {
    let (keeper, bucket) = keeper();
    assert_eq!(bucket.cap(), MilliUnits::from_units(75));
    assert!(!keeper.is_due(&bucket, at(100_000)));
    bucket.take(MilliUnits::from_units(70), at(100_000)).expect("it is full");
    assert!(keeper.is_due(&bucket, at(100_000)));
}

#[test]
fn an_untracked_proxy_is_silent_until_its_tokens_run_low() {
    let (mut keeper, bucket) = keeper();
    keeper.report(&bucket, at(0));
    let untracked = Grant { mode: Mode::Untracked, tokens: MilliUnits::from_units(20), ..grant(1, 1, 6) };
    keeper.apply(&untracked, &bucket, at(1), at(1));
    assert!(!keeper.is_due(&bucket, at(9_000)));
    bucket.take(MilliUnits::from_units(16), at(9_000)).expect("it holds 20");
    assert!(keeper.is_due(&bucket, at(9_000)));
}

#[test]
fn in_direct_mode_a_waiting_request_is_reported_at_once_and_only_once() {
    let (mut keeper, bucket) = direct();
    let two = MilliUnits::from_units(2);
    assert!(bucket.wait_for(two, at(10)) && bucket.wait_for(two, at(10)));
    assert!(keeper.is_due(&bucket, at(10)));
    assert_eq!(keeper.report(&bucket, at(10)).need, MilliUnits::from_units(4));
    assert!(!keeper.is_due(&bucket, at(15)), "one report at a time");
    let given = Grant { tokens: MilliUnits::from_units(4), cap: MilliUnits::from_units(4), ..asks(2) };
    keeper.apply(&given, &bucket, at(10), at(20));
    assert!(bucket.take(two, at(20)).is_ok() && bucket.take(two, at(20)).is_ok());
    bucket.stop_waiting(two);
    bucket.stop_waiting(two);
    assert!(keeper.is_due(&bucket, at(20)), "what was used frees its place at the owner");
    assert_eq!(keeper.report(&bucket, at(20)).held, MilliUnits::ZERO);
}

#[test]
fn in_direct_mode_nobody_asks_before_the_pool_has_earned_something() {
    let (mut keeper, bucket) = direct();
    keeper.report(&bucket, at(10));
    keeper.apply(&Grant { dry_for: Duration::from_millis(500), ..asks(2) }, &bucket, at(10), at(20));
    assert!(!bucket.wait_for(MilliUnits::from_units(1), at(519)));
    assert!(bucket.wait_for(MilliUnits::from_units(1), at(520)));
    assert!(keeper.is_due(&bucket, at(520)));
}

#[test]
fn in_direct_mode_what_nobody_wants_goes_home_after_an_interval() {
    let (mut keeper, bucket) = direct();
    keeper.report(&bucket, at(10));
    let three = MilliUnits::from_units(3);
    keeper.apply(&Grant { tokens: three, cap: three, ..asks(2) }, &bucket, at(10), at(20));
    assert!(!keeper.is_due(&bucket, at(900)));
    assert!(keeper.is_due(&bucket, at(1020)));
    let entry = keeper.report(&bucket, at(1020));
    assert_eq!((entry.held, entry.returned), (MilliUnits::ZERO, MilliUnits::from_units(3 + 75)));
}

#[test]
fn a_direct_bucket_refills_at_its_safe_rate_only_while_nobody_answers() {
    let (mut keeper, bucket) = direct();
    keeper.tend(&bucket, silent_since(19_000), at(20_000));
    assert_eq!(bucket.rate_at(at(20_000)), MilliUnitsPerSecond::new(0));
    keeper.tend(&bucket, silent_since(9_000), at(20_000));
    assert_eq!(bucket.rate_at(at(20_000)), MilliUnitsPerSecond::from_units(25));
    keeper.tend(&bucket, silent_since(20_500), at(21_000));
    assert!(keeper.is_due(&bucket, at(21_000)), "the owner counts it down when it says so");
}

#[test]
fn without_a_lease_and_an_answer_it_falls_back_to_its_part_of_the_quota() {
    let (mut keeper, bucket) = keeper();
    keeper.tend(&bucket, silent_since(0), at(10_000));
    assert!(bucket.rate_at(at(10_000)) < MilliUnitsPerSecond::from_units(1));
    keeper.tend(&bucket, silent_since(0), at(11_000));
    assert_eq!(bucket.rate_at(at(11_000)), MilliUnitsPerSecond::from_units(25));
}

#[test]
fn an_open_quota_admits_everything_only_while_nobody_answers() {
    let quota = Quota {
        outage: OutagePolicy::Open,
        ..Quota::with_usual_burst(MilliUnitsPerSecond::from_units(100), 2)
    };
    let (mut keeper, bucket) = keeper();
    let open = Grant { quota, safe_rate: MilliUnitsPerSecond::new(UNLIMITED), ..grant(1, 1, 50) };
    keeper.apply(&open, &bucket, at(0), at(0));
    keeper.tend(&bucket, silent_since(19_900), at(20_000));
    assert_eq!(bucket.rate_at(at(20_000)), MilliUnitsPerSecond::from_units(50));
    keeper.tend(&bucket, silent_since(0), at(20_000));
    assert!((0..1000).all(|_| bucket.take(MilliUnits::from_units(1000), at(20_100)).is_ok()));
}

#[test]
fn a_lease_that_nothing_renews_is_given_up_before_the_owner_forgets_it() {
    let (mut keeper, bucket) = keeper();
    keeper.apply(&grant(1, 1, 50), &bucket, at(0), at(0));
    keeper.tend(&bucket, silent_since(60_000), at(60_000));
    assert_eq!(bucket.rate_at(at(60_000)), MilliUnitsPerSecond::from_units(25));
    keeper.tend(&bucket, silent_since(71_000), at(71_000));
    assert!(bucket.rate_at(at(71_000)) < MilliUnitsPerSecond::from_units(1));
}

#[test]
fn a_tables_share_of_its_account_that_is_given_up_leaves_nothing_to_use() {
    let quota = Quota::with_usual_burst(MilliUnitsPerSecond::from_units(1_000), 1);
    let id = BucketId::at(Level::AccountShare, 1, CapacityKind::Read);
    let (mut keeper, (_, bucket)) = (LeaseKeeper::new(id, quota), self::keeper());
    keeper.apply(&Grant { bucket: id, quota, ..grant(1, 1, 50) }, &bucket, at(0), at(0));
    keeper.tend(&bucket, silent_since(71_000), at(71_000));
    let nothing = MilliUnits::ZERO;
    assert_eq!((bucket.rate_at(at(71_000)).get(), bucket.cap(), bucket.level()), (0, nothing, nothing));
    assert!(bucket.counters().returned > nothing, "it goes home");
}

#[test]
fn a_proxy_that_leaves_gives_everything_back_and_admits_nothing_more() {
    let (mut keeper, bucket) = keeper();
    keeper.apply(&grant(1, 1, 50), &bucket, at(0), at(0));
    let entry = keeper.leave(&bucket, at(1000));
    assert_eq!((entry.held, entry.returned), (MilliUnits::ZERO, MilliUnits::from_units(75 + 50)));
    assert!(!keeper.apply(&grant(1, 2, 50), &bucket, at(1000), at(1000)));
    assert!(bucket.take(MilliUnits::from_units(1), at(90_000)).is_err());
}

/// Granted in direct mode, holding nothing.
fn direct() -> (LeaseKeeper, AtomicTokenBucket) {
    let (mut keeper, bucket) = keeper();
    keeper.apply(&asks(1), &bucket, at(0), at(0));
    keeper.report(&bucket, at(1));
    keeper.report_anew();
    keeper.awaited = false;
    (keeper, bucket)
}

fn asks(sequence: u64) -> Grant {
    Grant { mode: Mode::Direct, cap: MilliUnits::ZERO, pool: PoolColour::Dry, ..grant(1, sequence, 0) }
}
