use proptest::prelude::*;

use super::super::rate::Rate;
use super::*;

const SHAPES: [&str; 9] = [
    "500/s",
    "ramp:100/s..2000/s",
    "ramp:2000/s..0/s",
    "step:100/s..1000/s by 150/s every 3s",
    "step:1000/s..100/s by 200/s every 3s",
    "spike:500/s to 5000/s at 10s for 2500ms",
    "spike:500/s to 0/s at 0s for 5s",
    "sine:500/s +-500/s every 7s",
    "onoff:1000/s on 3s off 4s",
];

fn secs(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// The integral of the rate between two times, by its values alone. The shapes above jump at whole steps only.
fn integral(arrivals: &Arrivals, from: f64, to: f64, over: Duration) -> f64 {
    const STEP: f64 = 0.01;
    let steps = ((to - from) / STEP).round() as u32;
    (0..steps).map(|step| arrivals.rate_at(secs(from + (f64::from(step) + 0.5) * STEP), over) * STEP).sum()
}

fn count(times: &[Duration], from: f64, to: f64) -> f64 {
    times.iter().filter(|time| (secs(from)..secs(to)).contains(*time)).count() as f64
}

#[test]
fn even_arrivals_are_what_the_rates_integral_says_in_every_window() {
    for text in SHAPES {
        let arrivals: Arrivals = format!("constant {text}").parse().unwrap();
        let whole = secs(30.0);
        let times: Vec<Duration> = arrivals.schedule(Duration::ZERO, whole, 1).collect();

        for (from, to) in [(0.0, 30.0), (0.0, 1.0), (4.3, 4.9), (2.5, 11.5), (9.9, 13.0), (29.0, 30.0)] {
            let expected = integral(&arrivals, from, to, whole);
            // One, and what the sum over steps misses of a wave.
            assert!(
                (count(&times, from, to) - expected).abs() <= 1.05,
                "{text} in {from}..{to}: {} of {expected}",
                count(&times, from, to)
            );
        }
    }
}

#[test]
fn random_arrivals_are_as_many_as_the_rates_integral_says_within_chance() {
    for text in SHAPES {
        let arrivals: Arrivals = text.parse().unwrap();
        let whole = secs(30.0);
        let times: Vec<Duration> = arrivals.schedule(Duration::ZERO, whole, 2).collect();

        for window in 0..15 {
            let (from, to) = (f64::from(window) * 2.0, f64::from(window) * 2.0 + 2.0);
            let expected = integral(&arrivals, from, to, whole);
            // Five standard deviations of a Poisson count.
            assert!(
                (count(&times, from, to) - expected).abs() <= 5.0 * expected.sqrt() + 1.0,
                "{text} in {from}..{to}: {} of {expected}",
                count(&times, from, to)
            );
        }
    }
}

#[test]
fn random_gaps_are_exponential_and_even_gaps_are_equal() {
    let gaps = |text: &str| -> Vec<f64> {
        let times: Vec<Duration> =
            text.parse::<Arrivals>().unwrap().schedule(Duration::ZERO, secs(100.0), 3).collect();
        times.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect()
    };

    let random = gaps("1000/s");
    let longer_than =
        |limit: f64| random.iter().filter(|gap| **gap > limit).count() as f64 / random.len() as f64;
    for mean_gaps in [0.1, 0.5, 1.0, 2.0, 4.0] {
        let expected = f64::exp(-mean_gaps);
        assert!((longer_than(mean_gaps / 1000.0) - expected).abs() < 0.007, "{mean_gaps}");
    }
    assert!(gaps("constant:1000/s").iter().all(|gap| (gap - 0.001).abs() < 1e-8));
}

#[test]
fn streams_of_one_rate_do_not_all_begin_at_the_same_moment() {
    let arrivals: Arrivals = "constant:10/s".parse().unwrap();
    let first = |seed| arrivals.schedule(Duration::ZERO, secs(1.0), seed).next().unwrap();

    assert_ne!(first(1), first(2));
    assert!((1..100).all(|seed| first(seed) <= secs(0.1)));
}

#[test]
fn a_schedule_reckons_its_shape_from_the_streams_begin() {
    let arrivals: Arrivals = "constant spike:100/s to 1000/s at 2s for 1s".parse().unwrap();
    let times: Vec<Duration> = arrivals.schedule(secs(10.0), secs(20.0), 1).collect();

    assert!(times.iter().all(|time| (secs(10.0)..secs(20.0)).contains(time)));
    assert!((count(&times, 12.0, 13.0) - 1000.0).abs() <= 1.0);
    assert!((count(&times, 11.0, 12.0) - 100.0).abs() <= 1.0);
}

#[test]
fn no_rate_and_no_time_are_no_arrivals() {
    let arrivals: Arrivals = "0/s".parse().unwrap();
    assert_eq!(arrivals.schedule(Duration::ZERO, secs(10.0), 1).count(), 0);
    let arrivals: Arrivals = "constant ramp:0/s..10/s".parse().unwrap();
    assert_eq!(arrivals.schedule(secs(5.0), secs(5.0), 1).count(), 0);
    assert_eq!(arrivals.schedule(secs(5.0), secs(4.0), 1).count(), 0);
    assert!(arrivals.schedule(Duration::ZERO, secs(10.0), 1).count().abs_diff(50) <= 1);
}

#[test]
fn what_is_no_arrival_rate_is_said_to_be_none() {
    for text in ["", "500", "ramp:1/s", "spike:1/s to 2/s at 1s", "sine:1/s +-2/s every 1s", "-1/s", "NaN/s"]
    {
        assert!(text.parse::<Arrivals>().is_err(), "{text}");
    }
    for text in ["step:1/s..2/s by 1/s every 1ns", "step:1/s..2/s by 0/s every 1s", "onoff:1/s on 0s off 1s"]
    {
        assert!(text.parse::<Arrivals>().is_err(), "{text}");
    }
    let endless = "spike:1/s to 2/s at 18446744073709551615s for 18446744073709551615s";
    assert!(endless.parse::<Arrivals>().is_err());
}

#[test]
fn recorded_times_are_given_back() {
    let times: Arc<[Duration]> = [secs(0.5), secs(0.5), secs(2.0)].into();

    assert_eq!(Schedule::recorded(Arc::clone(&times)).collect::<Vec<_>>(), times.to_vec());
}

#[test]
fn mean_and_peak_are_those_of_the_whole() {
    for (text, mean, peak) in [
        ("500/s", 500.0, 500.0),
        ("ramp:100/s..300/s", 200.0, 300.0),
        ("step:100/s..300/s by 100/s every 10s", 240.0, 300.0),
        ("spike:100/s to 1000/s at 10s for 5s", 190.0, 1000.0),
        ("sine:500/s +-300/s every 10s", 500.0, 800.0),
        ("onoff:1000/s on 10s off 15s", 400.0, 1000.0),
    ] {
        let arrivals: Arrivals = text.parse().unwrap();
        assert!(
            (arrivals.mean_rate(secs(50.0)) - mean).abs() < 1e-6,
            "{text}: {}",
            arrivals.mean_rate(secs(50.0))
        );
        assert!(
            (arrivals.peak_rate(secs(50.0)) - peak).abs() < 1e-6,
            "{text}: {}",
            arrivals.peak_rate(secs(50.0))
        );
    }
}

fn rate() -> impl Strategy<Value = Rate> {
    (0.0..3000.0_f64).prop_map(Rate::per_second)
}

fn length() -> impl Strategy<Value = Duration> {
    (1_u64..20_000).prop_map(Duration::from_millis)
}

fn arrivals() -> impl Strategy<Value = Arrivals> {
    use super::super::arrivals::Shape;
    let shape = prop_oneof![
        rate().prop_map(Shape::Constant),
        (rate(), rate()).prop_map(|(from, to)| Shape::Ramp { from, to }),
        (rate(), rate(), (1.0..500.0_f64).prop_map(Rate::per_second), length())
            .prop_map(|(from, to, by, every)| Shape::Step { from, to, by, every }),
        (rate(), rate(), length(), length()).prop_map(|(base, peak, at, length)| Shape::Spike {
            base,
            peak,
            at,
            length
        }),
        (rate(), 0.0..=1.0_f64, length()).prop_map(|(mean, part, every)| Shape::Sine {
            mean,
            swing: Rate::per_second(mean.get() * part),
            every
        }),
        (rate(), length(), length()).prop_map(|(rate, on, off)| Shape::OnOff { rate, on, off }),
    ];
    let spacing = prop_oneof![Just(Spacing::Poisson), Just(Spacing::Constant)];
    (shape, spacing).prop_map(|(shape, spacing)| Arrivals { shape, spacing })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn times_ascend_within_the_stream_and_repeat_by_seed(
        arrivals in arrivals(), from in 0_u64..5000, length in 0_u64..5000, seed in any::<u64>(),
    ) {
        let (from, to) = (Duration::from_millis(from), Duration::from_millis(from + length));
        let times: Vec<Duration> = arrivals.schedule(from, to, seed).collect();

        prop_assert!(times.is_sorted());
        prop_assert!(times.iter().all(|time| (from..to).contains(time)));
        prop_assert!(times.iter().copied().eq(arrivals.schedule(from, to, seed)));
    }

    #[test]
    fn as_many_arrive_as_the_mean_rate_says(arrivals in arrivals(), length in 1_u64..5000, seed in any::<u64>()) {
        let over = Duration::from_millis(length);
        let expected = arrivals.mean_rate(over) * over.as_secs_f64();
        let arrived = arrivals.schedule(Duration::ZERO, over, seed).count() as f64;

        let bound = match arrivals.spacing {
            Spacing::Constant => 1.0 + 1e-3,
            Spacing::Poisson => 6.0 * expected.sqrt() + 6.0,
        };
        prop_assert!((arrived - expected).abs() <= bound, "{arrived} of {expected}");
    }

    #[test]
    fn texts_say_all_of_it(arrivals in arrivals()) {
        prop_assert_eq!(arrivals.to_string().parse::<Arrivals>(), Ok(arrivals), "{}", arrivals);
    }

    #[test]
    fn twice_the_rate_brings_twice_as_many(arrivals in arrivals(), length in 1_u64..5000) {
        let over = Duration::from_millis(length);
        let (once, twice) = (arrivals.mean_rate(over), arrivals.scaled(2.0).mean_rate(over));
        // A downward or upward step keeps its number of steps, so steps scale, too.
        prop_assert!((twice - 2.0 * once).abs() <= 1e-6 * (1.0 + twice), "{once}, {twice}");
    }

    #[test]
    fn no_text_makes_it_panic(text in "(constant |poisson )?(ramp|step|spike|sine|onoff|constant)?:?[0-9a-z/. +-]{0,40}") {
        if let Ok(arrivals) = text.parse::<Arrivals>() {
            let _ = (arrivals.mean_rate(secs(0.1)), arrivals.to_string());
        }
    }
}
