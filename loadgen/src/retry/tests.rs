use proptest::prelude::*;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::*;

fn at(seconds: f64) -> Timestamp {
    Timestamp::default() + Duration::from_secs(1_000_000) + Duration::from_secs_f64(seconds)
}

fn retrier(text: &str) -> Retrier {
    Retrier::new(&text.parse().unwrap())
}

fn rng() -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(3)
}

/// A client that sends one request after the other, every millisecond if it may, to a service that accepts so many
/// per second and throttles the rest. Gives how many were sent in each second.
fn sent_by_second(retrier: &mut Retrier, seconds: usize, accepted: f64) -> Vec<u32> {
    let mut sent = vec![0; seconds];
    let (mut now, mut room, mut last) = (0.0, accepted, 0.0);
    loop {
        now += 0.001;
        loop {
            let hold = retrier.before_send(at(now));
            if hold.is_zero() {
                break;
            }
            now += hold.as_secs_f64();
        }
        if now >= seconds as f64 {
            return sent;
        }
        sent[now as usize] += 1;
        room = accepted.min(room + (now - last) * accepted) - 1.0;
        last = now;
        if room < 0.0 {
            room += 1.0;
            retrier.after_failure(3, Outcome::Throttled, at(now), &mut rng());
        } else {
            retrier.after_success(None, at(now));
        }
    }
}

#[test]
fn texts_say_the_model_and_its_attempts() {
    for text in ["none", "standard", "standard:8", "adaptive", "adaptive:1", "naive", "naive:3"] {
        assert_eq!(text.parse::<RetryModel>().unwrap().to_string(), text);
    }
    for text in ["", "none:2", "standard:0", "standard:101", "standard:x", "eager"] {
        assert!(text.parse::<RetryModel>().is_err(), "{text}");
    }
    assert_eq!("standard:3".parse::<RetryModel>().unwrap().to_string(), "standard");
}

#[test]
fn without_retries_the_first_failure_is_final() {
    assert_eq!(retrier("none").after_failure(1, Outcome::Throttled, at(0.0), &mut rng()), None);
}

#[test]
fn only_what_may_pass_is_retried() {
    for model in ["standard", "adaptive", "naive"] {
        for outcome in Outcome::ALL {
            let retried = retrier(model).after_failure(1, outcome, at(0.0), &mut rng()).is_some();
            let passes = matches!(
                outcome,
                Outcome::Throttled | Outcome::ServerError | Outcome::TimedOut | Outcome::Broken
            );
            assert_eq!(retried, passes, "{model}, {outcome:?}");
        }
    }
}

#[test]
fn standard_makes_three_attempts_and_naive_ten() {
    for (model, attempts) in [("standard", 3), ("adaptive", 3), ("naive", 10), ("standard:5", 5)] {
        let mut retrier = retrier(model);
        let mut made = 1;
        while retrier.after_failure(made, Outcome::ServerError, at(0.0), &mut rng()).is_some() {
            made += 1;
        }
        assert_eq!(made, attempts, "{model}");
    }
}

#[test]
fn standard_pauses_a_random_part_of_a_doubling_time_up_to_20_seconds() {
    let mut rng = rng();
    for (attempt, most) in [(1, 1.0), (2, 2.0), (3, 4.0), (5, 16.0), (6, 20.0), (60, 20.0)] {
        let pauses: Vec<f64> = (0..2000)
            .map(|_| {
                let pause =
                    retrier("standard:100").after_failure(attempt, Outcome::Broken, at(0.0), &mut rng);
                pause.unwrap().as_secs_f64()
            })
            .collect();
        let mean = pauses.iter().sum::<f64>() / 2000.0;

        assert!(pauses.iter().all(|pause| (0.0..most).contains(pause)));
        assert!((mean / most - 0.5).abs() < 0.03, "attempt {attempt}: mean {mean} of {most}");
    }
}

#[test]
fn the_quota_ends_retries_after_100_failures_and_after_50_timeouts() {
    for (outcome, retries) in [(Outcome::Throttled, 100), (Outcome::TimedOut, 50)] {
        let mut retrier = retrier("standard");
        let made =
            (0..1000).filter(|_| retrier.after_failure(1, outcome, at(0.0), &mut rng()).is_some()).count();
        assert_eq!(made, retries, "{outcome:?}");
    }
}

#[test]
fn a_success_gives_back_what_its_retry_cost_or_one_token() {
    let mut retrier = retrier("standard");
    while retrier.after_failure(1, Outcome::TimedOut, at(0.0), &mut rng()).is_some() {}

    retrier.after_success(Some(Outcome::TimedOut), at(0.0));
    assert!(retrier.after_failure(1, Outcome::TimedOut, at(0.0), &mut rng()).is_some());
    assert!(retrier.after_failure(1, Outcome::Broken, at(0.0), &mut rng()).is_none());

    (0..5).for_each(|_| retrier.after_success(None, at(0.0)));
    assert!(retrier.after_failure(1, Outcome::Broken, at(0.0), &mut rng()).is_some());
}

#[test]
fn adaptive_holds_nothing_back_before_the_first_throttle() {
    let mut retrier = retrier("adaptive");

    let sent = sent_by_second(&mut retrier, 5, f64::INFINITY);

    assert!(sent.iter().all(|sent| (998..=1001).contains(sent)), "{sent:?}");
}

#[test]
fn adaptive_sends_seven_tenths_after_a_throttle() {
    let mut retrier = retrier("adaptive");
    sent_by_second(&mut retrier, 10, f64::INFINITY);
    retrier.after_failure(3, Outcome::Throttled, at(10.0), &mut rng());

    while retrier.before_send(at(10.0)).is_zero() {}
    let next = at(10.0) + retrier.before_send(at(10.0));
    assert!(retrier.before_send(next).is_zero());
    let gap = retrier.before_send(next);

    assert!((gap.as_secs_f64() * 700.0 - 1.0).abs() < 0.03, "{gap:?}");
}

#[test]
fn adaptive_settles_near_what_is_accepted() {
    let mut retrier = retrier("adaptive");

    let sent = sent_by_second(&mut retrier, 120, 300.0);

    let settled = f64::from(sent[60..].iter().sum::<u32>()) / 60.0;
    assert!((250.0..350.0).contains(&settled), "{settled}/s of 300/s: {sent:?}");
}

#[test]
fn standard_never_holds_back() {
    let mut retrier = retrier("standard");
    retrier.after_failure(1, Outcome::Throttled, at(0.0), &mut rng());
    assert_eq!(retrier.before_send(at(0.0)), Duration::ZERO);
}

proptest! {
    #[test]
    fn retries_stay_within_the_quota(events in prop::collection::vec((0_u8..8, 1_u32..4), 0..2000)) {
        let mut retrier = retrier("standard:100");
        let (mut retries, mut refunds) = (0_u64, 0_u64);
        for (kind, attempt) in events {
            match kind {
                0 => { retrier.after_success(None, at(0.0)); refunds += 1; }
                _ => {
                    let pause = retrier.after_failure(attempt, Outcome::ServerError, at(0.0), &mut rng());
                    retries += u64::from(pause.is_some());
                }
            }
        }
        prop_assert!(5 * retries <= 500 + refunds);
    }

    #[test]
    fn adaptive_takes_any_order_of_events_and_times(
        events in prop::collection::vec((0_u8..3, 0_u64..100_000_000_000), 0..300),
    ) {
        let mut retrier = retrier("adaptive");
        for (kind, nanos) in events {
            let now = Timestamp::from_nanos(nanos);
            match kind {
                0 => { prop_assert!(retrier.before_send(now) < Duration::from_secs(100_000)); }
                1 => retrier.after_success(None, now),
                _ => { retrier.after_failure(1, Outcome::Throttled, now, &mut rng()); }
            }
        }
    }
}
