use proptest::prelude::*;

use super::*;

fn at(millis: u64) -> Timestamp {
    Timestamp::from_nanos(millis * 1_000_000)
}

const fn units(units: u64) -> MilliUnits {
    MilliUnits::from_units(units)
}

const fn per_second(units: u64) -> MilliUnitsPerSecond {
    MilliUnitsPerSecond::from_units(units)
}

fn leased(rate: u64, cap: u64) -> AtomicTokenBucket {
    let lease = Lease {
        rate: per_second(rate),
        cap: units(cap),
        expires: at(u64::MAX >> 24),
        safe_rate: per_second(0),
    };
    AtomicTokenBucket::full(lease, at(0))
}

#[test]
fn a_refusal_takes_nothing_and_says_when_the_cost_will_fit() {
    let mut bucket = TokenBucket::empty(per_second(10), units(5), at(0));
    let refused = bucket.take(units(2), at(100)).expect_err("one unit was earned");
    assert_eq!(refused, Shortage { missing: units(1), retry_after: Duration::from_millis(100) });
    assert_eq!(bucket.take(units(2), at(200)), Ok(()));
}

#[test]
fn a_request_larger_than_the_bucket_waits_for_a_full_one_and_leaves_a_debt() {
    let mut bucket = TokenBucket::full(per_second(10), units(5), at(0));
    assert_eq!(bucket.take(units(15), at(0)), Ok(()));
    assert_eq!(bucket.debt(), units(10));
    let refused = bucket.take(units(1), at(500)).expect_err("five of ten were repaid");
    assert_eq!(refused.retry_after, Duration::from_millis(600));
    assert_eq!(bucket.take(units(1), at(1100)), Ok(()));
}

#[test]
fn a_new_rate_counts_only_from_when_it_was_set() {
    let mut bucket = TokenBucket::empty(per_second(0), units(100), at(0));
    bucket.reconfigure(per_second(10), units(100), at(5000));
    bucket.refill(at(6000));
    assert_eq!(bucket.level(), units(10));
}

#[test]
fn a_lease_that_runs_out_refills_at_the_safe_rate() {
    let lease =
        Lease { rate: per_second(100), cap: units(1000), expires: at(1000), safe_rate: per_second(10) };
    let bucket = AtomicTokenBucket::full(lease, at(0));
    bucket.take(units(1000), at(0)).expect("it is full");
    bucket.refill(at(3000));
    assert_eq!(bucket.level(), units(100 + 20));
    assert_eq!((bucket.rate_at(at(999)), bucket.rate_at(at(1000))), (per_second(100), per_second(10)));
}

#[test]
fn what_overflows_is_counted_as_returned() {
    let bucket = leased(10, 5);
    bucket.refill(at(1000));
    assert_eq!((bucket.level(), bucket.counters().returned), (units(5), units(10)));
    let lower = Lease { rate: per_second(10), cap: units(2), expires: at(9000), safe_rate: per_second(0) };
    bucket.renew(lower, units(1), at(1000));
    assert_eq!((bucket.level(), bucket.counters().returned), (units(2), units(14)));
}

#[test]
fn threads_that_share_a_bucket_admit_no_more_than_it_earned() {
    let bucket = leased(1000, 100);
    let admitted: u64 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                let bucket = &bucket;
                scope.spawn(move || {
                    (0..20_000_u64)
                        .filter(|step| {
                            bucket.take(units(1), Timestamp::from_nanos((step * 4 + thread) * 10_000)).is_ok()
                        })
                        .count() as u64
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("it does not panic")).sum()
    });
    // 0.8 s at 1000 units/s, after a full bucket of 100; the clock of the last step is just below it.
    assert!((800..=900).contains(&admitted), "{admitted}");
    let counters = bucket.counters();
    let earned = bucket.level() + counters.admitted + counters.returned;
    assert!(earned <= units(900) && earned >= units(898), "{earned:?}");
}

#[test]
fn a_debt_is_repaid_over_two_seconds_while_small_requests_go_on() {
    let bucket = leased(100, 25);
    bucket.charge(MilliUnits::new(112_500));
    // Half of the cap stays.
    assert_eq!(bucket.debt(), units(100));
    let admitted = (0..2000).filter(|ms| bucket.take(units(1), at(*ms)).is_ok()).count();
    assert!((105..=115).contains(&admitted), "{admitted}: what it held, and half of what it earned");
    bucket.refill(at(2000));
    assert_eq!(bucket.debt(), MilliUnits::ZERO);
    let admitted = (2000..3000).filter(|ms| bucket.take(units(1), at(*ms)).is_ok()).count();
    assert!((99..=101).contains(&admitted), "{admitted}: all of what it earned");
}

#[test]
fn without_a_rate_what_is_granted_repays_the_debt_first() {
    let bucket = leased(0, 40);
    let grant = |tokens| {
        let rate = MilliUnitsPerSecond::new(0);
        let lease = Lease { rate, cap: units(40), expires: at(60_000), safe_rate: rate };
        bucket.renew_as(lease, units(tokens), false, at(1));
    };
    bucket.take(units(40), at(0)).expect("it is full");
    bucket.charge(units(19));
    assert_eq!((bucket.level(), bucket.debt()), (units(0), units(19)));

    grant(18);
    assert_eq!((bucket.level(), bucket.debt()), (units(0), units(1)));
    grant(3);
    assert_eq!((bucket.level(), bucket.debt()), (units(2), units(0)));
}

#[test]
fn an_allowance_never_admits_more_than_it_holds() {
    let now = at(0);
    let lease = Lease { rate: per_second(1), cap: units(2), expires: now, safe_rate: per_second(1) };
    let bucket = AtomicTokenBucket::full(lease, now);
    assert!(bucket.take(units(3), now).is_err());
    assert!(bucket.take(units(2), now).is_ok());
    assert_eq!(bucket.debt(), MilliUnits::ZERO);
}

#[test]
fn nobody_waits_while_the_owner_has_nothing() {
    let bucket = leased(0, 1);
    bucket.set_dry_until(at(50));
    assert!(!bucket.wait_for(units(3), at(49)));
    assert!(bucket.wait_for(units(3), at(50)) && bucket.wait_for(units(2), at(51)));
    bucket.stop_waiting(units(3));
    assert_eq!(bucket.awaited(), units(2));
}

#[derive(Clone, Debug)]
enum Step {
    Take(u64),
    Charge(u64),
    Refund(u64),
    Renew { rate: u64, cap: u64, tokens: u64 },
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0..9_000_u64).prop_map(Step::Take),
        1 => (0..9_000_u64).prop_map(Step::Charge),
        1 => (0..3_000_u64).prop_map(Step::Refund),
        // Rates that earn a milli-unit in whole nanoseconds: so a refill more or less rounds nothing.
        // Buckets as deep as leases make them: a shallower one owes nothing.
        1 => (prop::sample::select(vec![1, 2, 500, 10_000, 62_500, 80_000]), 4_000..20_000_u64, 0..9_000_u64)
            .prop_map(|(rate, cap, tokens)| Step::Renew { rate, cap, tokens }),
        5 => (0..300_000_000_u64).prop_map(Step::Wait),
    ]
}

proptest! {
    #[test]
    fn the_shared_bucket_decides_as_the_owned_one(steps in prop::collection::vec(step(), 1..200)) {
        let mut now = at(1);
        let forever = Timestamp::from_nanos(u64::MAX);
        let rate = per_second(10);
        let mut owned = TokenBucket::full(rate, units(4), now);
        let lease = Lease { rate, cap: units(4), expires: forever, safe_rate: MilliUnitsPerSecond::new(0) };
        let shared = AtomicTokenBucket::full(lease, now);
        let mut returned = MilliUnits::ZERO;
        for step in steps {
            match step {
                Step::Take(cost) => {
                    returned += owned.refill(now);
                    let cost = MilliUnits::new(cost);
                    if shared.debt() == MilliUnits::ZERO {
                        prop_assert_eq!(owned.take(cost, now), shared.take(cost, now).map(drop));
                    } else if shared.take(cost, now).is_ok() {
                        // It goes on while it repays; what it owes is the same.
                        owned.charge(cost);
                    }
                    let unadded = signed(shared.cap()) / 16;
                    prop_assert!((owned.level - signed(shared.level()) + signed(shared.debt())) <= unadded);
                }
                Step::Charge(amount) => {
                    owned.charge(MilliUnits::new(amount));
                    shared.charge(MilliUnits::new(amount));
                }
                Step::Refund(amount) => {
                    // A refund knows no time: of what it makes overflow, what was earned and not added yet is
                    // the first or the last.
                    returned += owned.refill(now);
                    shared.refill(now);
                    returned += owned.add(MilliUnits::new(amount));
                    shared.refund(MilliUnits::new(amount));
                }
                Step::Renew { rate, cap, tokens } => {
                    let (rate, cap) = (MilliUnitsPerSecond::new(rate), MilliUnits::new(cap));
                    returned += owned.reconfigure(rate, cap, now);
                    returned += owned.add(MilliUnits::new(tokens));
                    let safe_rate = MilliUnitsPerSecond::new(0);
                    shared.renew(Lease { rate, cap, expires: forever, safe_rate }, MilliUnits::new(tokens), now);
                }
                Step::Wait(nanos) => now = now + Duration::from_nanos(nanos),
            }
        }
        returned += owned.refill(now);
        shared.refill(now);
        prop_assert_eq!(owned.level, signed(shared.level()) - signed(shared.debt()));
        prop_assert_eq!(shared.counters().returned, returned);
    }

    #[test]
    fn no_window_admits_more_than_depth_plus_rate_times_time_plus_the_last_debt(
        rate in 1..50_u64,
        costs in prop::collection::vec((0..3_000_u64, 0..200_u64), 1..300),
    ) {
        let mut bucket = TokenBucket::full(per_second(rate), units(5), at(0));
        let mut now = 0;
        let mut admitted = 0;
        let mut lowest = 0_i64;
        for (cost, wait) in costs {
            now += wait;
            if bucket.take(MilliUnits::new(cost), at(now)).is_ok() {
                admitted += cost;
            }
            let earned = i64::try_from(rate * now).expect("small");
            let above = i64::try_from(admitted).expect("small") - earned;
            prop_assert!(above - lowest <= 5_000);
            lowest = lowest.min(above);
        }
    }
}
