use proptest::prelude::*;

use super::*;
use crate::report::fixture;

#[test]
fn each_metric_is_read_with_its_unit_and_shown_as_it_was_written() {
    for text in [
        "p50<10ms",
        "p90<=2.5ms",
        "p99<800µs",
        "p99.9<=50ms",
        "max<1s",
        "mean<1.5ms",
        "service.p99<10ms",
        "delay.max<1ms",
        "success>=99.9%",
        "throttled<1%",
        "errors<=0%",
        "rate>=4900/s",
        "amplification<1.2",
        "own.cpu<60%",
        "p99<10ms@reads",
        "rate>100/s@a-b_c.1",
    ] {
        assert_eq!(text.parse::<Objective>().map(|read| read.to_string()), Ok(text.to_owned()));
    }
}

#[test]
fn spaces_and_us_are_taken_and_large_times_are_shown_in_large_units() {
    for (text, shown) in [
        (" p99 < 10 ms ", "p99<10ms"),
        ("p99<=250us", "p99<=250µs"),
        ("p99<1500ms", "p99<1.5s"),
        ("p99<0.25ms @ reads", "p99<250µs@reads"),
    ] {
        assert_eq!(text.parse::<Objective>().unwrap().to_string(), shown, "{text}");
    }
}

#[test]
fn what_cannot_be_read_is_explained() {
    for (text, taught) in [
        ("p99", "one of < <= > >="),
        ("", "one of < <= > >="),
        ("p99=10ms", "one of < <= > >="),
        ("p98<10ms", "there are p50, p90, p99"),
        ("service.success>1%", "there is no metric \"service.success\""),
        ("p99<10", "µs (or us), ms or s, such as 10ms"),
        ("p99<-1ms", "no value of p99"),
        ("p99<infs", "no value of p99"),
        ("p99<ms", "no value of p99"),
        ("success>=99.9", "a share in percent, such as 99.9%"),
        ("rate>=4900", "a rate per second, such as 4900/s"),
        ("amplification<2x", "a plain number, such as 1.2"),
        ("p99<10ms@", "names no stream after the @"),
    ] {
        let error = text.parse::<Objective>().expect_err(text).to_string();
        assert!(error.contains(taught), "{text}: {error}");
    }
}

#[test]
fn a_stream_that_the_run_lacks_is_named_before_the_run() {
    let spec = fixture::calm().spec;
    let of = |text: &str| text.parse::<Objective>().unwrap().check(&spec);

    assert_eq!(of("p99<1ms@reads"), Ok(()));
    let error = of("p99<1ms@reeds").unwrap_err().to_string();
    assert!(error.contains("\"reeds\"") && error.contains("reads, writes"), "{error}");
}

#[test]
fn a_bound_itself_is_at_most_and_at_least_but_neither_less_nor_more() {
    let mut result = fixture::calm();
    result.total.latency.p99_us = 10_000;
    let held = |text: &str| text.parse::<Objective>().unwrap().holds(&result).held;

    assert!(held("p99<=10ms") && held("p99>=10ms"));
    assert!(!held("p99<10ms") && !held("p99>10ms"));
}

#[test]
fn shares_count_conditions_as_successes_and_throttles_apart_from_errors() {
    let mut result = fixture::calm();
    use crate::outcome::Outcome::*;
    result.total.offered = 1000;
    result.total.attempts = 1500;
    result.total.outcomes =
        [(Ok, 900), (ConditionFailed, 50), (Throttled, 30), (TimedOut, 15), (NotSent, 5)].into();
    let measured = |text: &str| text.parse::<Objective>().unwrap().holds(&result).measured;

    assert_eq!(measured("success>0%"), Some(95.0));
    assert_eq!(measured("throttled>0%"), Some(3.0));
    assert_eq!(measured("errors>0%"), Some(2.0));
    assert_eq!(measured("amplification>0"), Some(1.5));
}

#[test]
fn the_rate_is_of_successes_over_the_time_that_the_stream_lasted() {
    let mut result = fixture::calm();
    result.lasted_us = 10_000_000;
    result.spec.duration = std::time::Duration::from_secs(10);
    result.total.outcomes = [(crate::outcome::Outcome::Ok, 5_000)].into();
    result.spec.streams[0].from = std::time::Duration::from_secs(5);
    result.streams[0].summary.outcomes = [(crate::outcome::Outcome::Ok, 4_000)].into();
    let rate = |text: &str| text.parse::<Objective>().unwrap().holds(&result).measured.unwrap();

    assert_eq!(rate("rate>0/s"), 500.0);
    assert_eq!(rate("rate>0/s@reads"), 800.0, "the stream ran for five seconds only");
}

#[test]
fn what_was_not_measured_does_not_hold() {
    let result = fixture::nothing_answered();
    let finding = "p99<10s".parse::<Objective>().unwrap().holds(&result);

    assert!(!finding.held, "no latency at all is no good latency");
    assert_eq!(finding.to_string(), "NOT HELD: p99<10s (not measured)");
}

#[test]
fn a_finding_is_one_line_with_the_figure_and_its_unit() {
    let mut result = fixture::calm();
    result.total.latency.p99_us = 8_314;
    let finding = "p99<10ms".parse::<Objective>().unwrap().holds(&result);
    assert_eq!(finding.to_string(), "held: p99<10ms (8.31 ms)");
}

proptest! {
    #[test]
    fn an_objective_reads_back_as_itself(
        metric in 0..Metric::EACH.len(),
        relation in 0..4usize,
        bound in prop_oneof![0.0..1e9f64, (0u32..1_000_000).prop_map(f64::from)],
        stream in proptest::option::of("[a-z][a-z0-9@<. -]{0,8}[a-z0-9]"),
    ) {
        let objective = Objective {
            metric: Metric::EACH[metric],
            relation: Relation::ALL[relation],
            bound,
            stream,
        };
        prop_assert_eq!(objective.to_string().parse::<Objective>(), Ok(objective));
    }

    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,24}") {
        let _ = text.parse::<Objective>();
    }
}

impl Metric {
    const EACH: [Self; 9] = [
        Self::Time(Timing::Latency, LatencyFigure::P50),
        Self::Time(Timing::Service, LatencyFigure::P999),
        Self::Time(Timing::SendDelay, LatencyFigure::Max),
        Self::Success,
        Self::Throttled,
        Self::Errors,
        Self::Rate,
        Self::Amplification,
        Self::OwnCpu,
    ];
}
