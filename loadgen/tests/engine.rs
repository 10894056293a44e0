//! The engine against a service of which everything is known: what it reports must be what happened.

mod stub;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use loadgen::credentials::Credentials;
use loadgen::engine::{Client, Recorded, RunError, RunOptions, run};
use loadgen::outcome::Outcome;
use loadgen::result::RunResult;
use loadgen::spec::{Pacing, Protocol, RunSpec, StreamSpec};
use tokio_util::sync::CancellationToken;

use stub::{Reply, Stub};

const THROTTLED: Reply = Reply {
    after: Duration::ZERO,
    status: 400,
    body: r#"{"__type":"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException"}"#,
};

#[tokio::test]
async fn a_stall_shows_in_the_p99_from_due_times_and_hides_from_a_closed_loop() {
    // 100 ms every 4 s hold up 2.5 % of what is due, by 0 to 100 ms: the 99th percentile waits for 60 ms.
    let stall = Duration::from_millis(100);
    let service = Stub::start(move |asked| {
        let into = Duration::from_nanos((asked.since.as_nanos() % 4_000_000_000) as u64);
        // The first is after a second: connections are made before.
        let since = into.checked_sub(Duration::from_secs(1));
        let left = since.and_then(|since| stall.checked_sub(since)).unwrap_or_default();
        // A closed loop is not to use the whole machine.
        Reply { after: left.max(Duration::from_millis(1)), ..Reply::OK }
    });
    let open = RunSpec { duration: Duration::from_secs(8), ..spec(&service, "constant:400/s") };
    let closed =
        RunSpec { pacing: Pacing::Closed, connections: 2, duration: Duration::from_secs(4), ..open.clone() };

    let open = measured(&open).await;
    let closed = measured(&closed).await;

    let p99 = open.total.latency.p99_us;
    assert!(p99 >= 45_000, "p99 from due times: {p99} µs");
    assert!(open.total.latency.max_us >= 95_000, "{:?}", open.total.latency.max_us);
    // The same service, asked only when it answers: two requests of a thousand and more have seen it.
    let closed = &closed.total.latency;
    assert!(closed.p99_us < p99 / 2 && closed.max_us >= 90_000, "{} and {} µs", closed.p99_us, closed.max_us);
    // The rows say when: the two seconds with a stall.
    let rows = &open.streams[0].seconds;
    assert_eq!(rows.len(), 8);
    assert!(rows.iter().filter(|row| row.latency.p99_us >= 45_000).count() >= 2);
}

#[tokio::test]
async fn every_request_that_is_due_is_sent_once_and_counted_in_its_second() {
    let asked = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&asked);
    let service = Stub::start(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        Reply::OK
    });
    for (protocol, threads) in [(Protocol::Http1, 1), (Protocol::Http2, 2)] {
        asked.store(0, Ordering::Relaxed);
        let spec = RunSpec { protocol, threads, ..spec(&service, "constant:500/s") };

        let result = measured(&spec).await;

        assert_eq!(asked.load(Ordering::Relaxed), 1000, "{protocol:?}");
        let total = &result.total;
        assert_eq!((total.offered, total.attempts, total.outcomes[&Outcome::Ok]), (1000, 1000, 1000));
        assert_eq!((total.latency.count, total.service.count, total.send_delay.count), (1000, 1000, 1000));
        let rows: Vec<_> = result.streams[0].seconds.iter().map(|row| (row.at, row.offered)).collect();
        assert_eq!(rows, [(0, 500), (1, 500)]);
        assert_eq!(result.streams[0].operations["GetItem"].offered, 1000);
        assert!(result.validity.not_sent == 0 && result.validity.own_cpu_us_per_attempt > 0.0);
        assert!(total.service.mean_us <= total.latency.mean_us);
    }
}

#[tokio::test]
async fn the_warm_up_is_sent_and_left_out_of_every_figure() {
    let asked = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&asked);
    let service = Stub::start(move |asked| {
        count.fetch_add(1, Ordering::Relaxed);
        // What comes early fails; it must not show.
        if asked.since < Duration::from_millis(400) { THROTTLED } else { Reply::OK }
    });
    let duration = Duration::from_secs(1);
    let warm_up = Duration::from_secs(1);
    let result = measured(&RunSpec { duration, warm_up, ..spec(&service, "constant:200/s") }).await;
    assert_eq!(result.total.offered, 200);
    assert_eq!(result.total.outcomes, BTreeMap::from([(Outcome::Ok, 200)]));
    assert!((398..=402).contains(&asked.load(Ordering::Relaxed)));
}

#[tokio::test]
async fn failed_attempts_are_tried_again_as_the_model_says_and_counted() {
    let service = Stub::start(|_| THROTTLED);
    let retry = "naive:3".parse().expect("the stub and the spec are sound");
    let total = measured(&RunSpec { retry, connections: 1, ..spec(&service, "constant:100/s") }).await.total;
    assert_eq!(total.outcomes, BTreeMap::from([(Outcome::Throttled, 200)]));
    assert_eq!((total.attempts, total.service.count, total.latency.count), (600, 600, 0));
    assert_eq!(total.errors, BTreeMap::from([("ProvisionedThroughputExceededException".to_owned(), 600)]));

    // All that fails does so before the first request has used up its attempts.
    let failures = AtomicU64::new(20);
    let one_less = |left: u64| left.checked_sub(1);
    let service =
        Stub::start(move |_| match failures.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less) {
            Ok(_) => THROTTLED,
            Err(_) => Reply::OK,
        });
    let retry = "naive:21".parse().expect("the stub and the spec are sound");
    let total = measured(&RunSpec { retry, connections: 1, ..spec(&service, "constant:100/s") }).await.total;
    assert_eq!((total.outcomes, total.attempts), (BTreeMap::from([(Outcome::Ok, 200)]), 220));

    let asked = AtomicU64::new(0);
    let service = Stub::start(move |_| match asked.fetch_add(1, Ordering::Relaxed) % 2 {
        0 => Reply::OK,
        _ => THROTTLED,
    });
    let retry = "none".parse().expect("the stub and the spec are sound");
    let result = measured(&RunSpec { retry, connections: 1, ..spec(&service, "constant:100/s") }).await;
    assert_eq!(result.total.outcomes, BTreeMap::from([(Outcome::Ok, 100), (Outcome::Throttled, 100)]));
    assert_eq!(result.total.latency.count, 100);
}

#[tokio::test]
async fn an_adaptive_client_of_a_table_that_takes_little_goes_on_sending() {
    // Five requests a second, of 60.
    let admitted = AtomicU64::new(0);
    let by_second: Arc<[AtomicU64; 16]> = Arc::default();
    let count = Arc::clone(&by_second);
    let service = Stub::start(move |asked| {
        count[(asked.since.as_secs() as usize).min(15)].fetch_add(1, Ordering::Relaxed);
        let most = 5 + asked.since.as_millis() as u64 / 200;
        let one_more = |admitted: u64| (admitted < most).then_some(admitted + 1);
        match admitted.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more) {
            Ok(_) => Reply::OK,
            Err(_) => THROTTLED,
        }
    });
    let retry = "adaptive".parse().expect("the stub and the spec are sound");
    let spec = RunSpec { retry, duration: Duration::from_secs(6), ..spec(&service, "constant:60/s") };

    let result = measured(&spec).await;

    let asked: Vec<u64> = by_second[..6].iter().map(|second| second.load(Ordering::Relaxed)).collect();
    // At its least rate it sends one in two seconds.
    assert!(asked.windows(3).all(|window| window.iter().sum::<u64>() > 0), "{asked:?}");
    assert!(asked[3..].iter().sum::<u64>() >= 3, "it goes on: {asked:?}");
    let total = &result.total;
    let held_back = total.outcomes.get(&Outcome::NotSent).copied().unwrap_or(0);
    assert_eq!(total.outcomes.values().sum::<u64>(), 360);
    assert!(total.attempts >= total.offered - held_back, "{total:?}");
    assert_eq!(held_back, result.validity.not_sent);
    // Hundreds were held back; a busy machine makes a few others late.
    assert!(result.validity.late_sends < 36, "{:?}", result.validity);
}

#[tokio::test]
async fn what_a_slow_service_cannot_take_waits_and_what_waits_too_long_makes_the_run_invalid() {
    let service = Stub::start(|_| Reply { after: Duration::from_millis(100), ..Reply::OK });
    // One connection takes 10 requests a second.
    let slow =
        RunSpec { connections: 1, duration: Duration::from_secs(1), ..spec(&service, "constant:30/s") };
    let result = measured(&slow).await;
    assert_eq!(result.total.outcomes, BTreeMap::from([(Outcome::Ok, 30)]));
    // Waiting for a connection is latency, not lateness: only the first found one free.
    assert!(result.validity.late_sends <= 1 && result.validity.not_sent == 0, "{:?}", result.validity);
    assert!(result.total.latency.max_us > 1_800_000 && result.total.service.max_us < 300_000);
    assert!(result.total.send_delay.max_us > 1_700_000);

    let slower = RunSpec { streams: streams("constant:200/s"), ..slow };
    let result = measured(&slower).await;
    assert!(!result.validity.valid && result.validity.not_sent > 100, "{:?}", result.validity);
    let ended: u64 = result.total.outcomes.values().sum();
    assert_eq!((result.total.offered, ended), (200, 200));
    assert_eq!(result.total.outcomes[&Outcome::NotSent], result.validity.not_sent);
}

#[tokio::test]
async fn an_attempt_without_an_answer_is_timed_out_and_its_connection_replaced() {
    let asked = AtomicU64::new(0);
    let service = Stub::start(move |_| match asked.fetch_add(1, Ordering::Relaxed) % 10 {
        9 => Reply { after: Duration::from_secs(60), ..Reply::OK },
        _ => Reply::OK,
    });
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let attempt_timeout = Duration::from_secs(1);
        let spec = RunSpec { protocol, attempt_timeout, connections: 16, ..spec(&service, "constant:100/s") };
        let total = measured(&spec).await.total;
        assert_eq!(
            total.outcomes,
            BTreeMap::from([(Outcome::Ok, 180), (Outcome::TimedOut, 20)]),
            "{protocol:?}"
        );
        assert_eq!(total.errors, BTreeMap::from([("TimedOut".to_owned(), 20)]));
    }
}

#[tokio::test]
async fn a_service_that_goes_away_is_reported_by_outcomes() {
    let mut service = Some(Stub::start(|_| Reply::OK));
    let spec = spec(service.as_ref().expect("the stub and the spec are sound"), "constant:100/s");
    let gone_after_a_second = |progress: &loadgen::engine::Progress| {
        if progress.second == 1 {
            service = None;
        }
    };
    let result = run(&spec, options(), gone_after_a_second, CancellationToken::new())
        .await
        .expect("the stub and the spec are sound");
    let outcomes = &result.total.outcomes;
    assert!(outcomes[&Outcome::Ok] >= 100 && outcomes[&Outcome::Broken] > 20, "{outcomes:?}");
    assert_eq!(outcomes.values().sum::<u64>(), 200);
    assert!(result.total.errors.contains_key("ConnectionRefused"), "{:?}", result.total.errors);
    assert_eq!(result.validity.not_sent, 0);
}

#[tokio::test]
async fn nobody_at_the_endpoint_is_an_error_that_says_so() {
    let service = Stub::start(|_| Reply::OK);
    let spec = spec(&service, "100/s");
    drop(service);
    // Its thread needs a moment to let the port go.
    let error = loop {
        match run(&spec, options(), |_| {}, stopped_at_once()).await {
            Ok(_) => tokio::task::yield_now().await,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, RunError::Unreachable { .. }), "{error:?}");
    let message = error.to_string();
    assert!(message.contains(&spec.endpoints[0]) && message.contains("refused"), "{message}");
}

#[tokio::test]
async fn a_stopped_run_tells_of_what_there_was() {
    let service = Stub::start(|_| Reply::OK);
    let spec = RunSpec { duration: Duration::from_secs(3600), ..spec(&service, "constant:200/s") };
    let stop = CancellationToken::new();
    let mut seconds = Vec::new();
    let progress = |progress: &loadgen::engine::Progress| {
        seconds.push((progress.second, progress.of, progress.streams[0].offered));
        stop.cancel();
    };
    let result =
        run(&spec, options(), progress, stop.clone()).await.expect("the stub and the spec are sound");
    assert!((1_000_000..2_000_000).contains(&result.lasted_us), "{}", result.lasted_us);
    assert!((200..400).contains(&result.total.offered));
    assert_eq!(result.total.outcomes[&Outcome::Ok], result.total.offered);
    assert_eq!(seconds[0], (1, 3600, 200));
}

#[tokio::test]
async fn recorded_times_are_sent_and_what_was_sent_is_recorded() {
    let service = Stub::start(|_| Reply::OK);
    let times: Arc<[Duration]> = (0..50).map(|number| Duration::from_millis(number * number / 2)).collect();
    let directory = tempfile::tempdir().expect("the stub and the spec are sound");
    let path = directory.path().join("trace");
    let options = RunOptions {
        recorded: Some(Recorded { streams: vec![Arc::clone(&times)] }),
        trace_to: Some(path.clone()),
        ..options()
    };
    let spec = RunSpec { threads: 2, ..spec(&service, "1/s") };
    let result =
        run(&spec, options, |_| {}, CancellationToken::new()).await.expect("the stub and the spec are sound");
    assert_eq!(result.total.offered, 50);
    let trace =
        loadgen::trace::Trace::read(&std::fs::read_to_string(path).expect("the stub and the spec are sound"))
            .unwrap();
    assert_eq!(trace.parts.values().next().expect("the stub and the spec are sound"), &times);
    assert_eq!(trace.spec, Some(spec));
}

#[tokio::test]
async fn a_read_modify_write_is_one_request_of_two_attempts() {
    let service = Stub::start(|asked| {
        assert!(asked.target.ends_with(".GetItem") || asked.target.ends_with(".UpdateItem"));
        Reply { after: Duration::from_millis(5), ..Reply::OK }
    });
    let mut spec = spec(&service, "constant:50/s");
    spec.streams[0].mix = "read-modify-write=1".parse().expect("the stub and the spec are sound");
    let total = measured(&spec).await.total;
    assert_eq!((total.offered, total.attempts, total.outcomes[&Outcome::Ok]), (100, 200, 100));
    assert!(total.latency.min_us >= 10_000 && total.service.min_us < 10_000);
    assert!(total.units.read_milli > 0 && total.units.write_milli > 0);
}

#[tokio::test]
async fn a_client_calls_and_calls_again_after_its_connection_has_gone() {
    let service = Stub::start(|asked| match asked.target.as_str() {
        "DynamoDB_20120810.ListTables" => Reply { body: r#"{"TableNames":[]}"#, ..Reply::OK },
        _ => THROTTLED,
    });
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let mut client = Client::new(&service.endpoint(), "us-east-1", credentials(), protocol)
            .expect("the stub and the spec are sound");
        for _ in 0..2 {
            let answer =
                client.call("ListTables", "{}".into()).await.expect("the stub and the spec are sound");
            assert_eq!((answer.status, &*answer.body), (200, br#"{"TableNames":[]}"#.as_slice()));
            client.disconnect();
        }
        let refused = client
            .call("DynamoDB_20120810.GetItem", "{}".into())
            .await
            .expect("the stub and the spec are sound");
        assert_eq!(refused.status, 400);
    }
}

async fn measured(spec: &RunSpec) -> RunResult {
    run(spec, options(), |_| {}, CancellationToken::new()).await.expect("the stub and the spec are sound")
}

fn stopped_at_once() -> CancellationToken {
    let stop = CancellationToken::new();
    stop.cancel();
    stop
}

fn options() -> RunOptions {
    RunOptions { credentials: BTreeMap::from([(None, credentials())]), ..RunOptions::default() }
}

fn credentials() -> Credentials {
    Credentials::new("AKIDEXAMPLE", "secret", None)
}

fn spec(service: &Stub, arrivals: &str) -> RunSpec {
    RunSpec {
        endpoints: vec![service.endpoint()],
        region: "us-east-1".to_owned(),
        protocol: Protocol::Http1,
        pacing: Pacing::Open,
        duration: Duration::from_secs(2),
        warm_up: Duration::ZERO,
        threads: 1,
        connections: 64,
        attempt_timeout: Duration::from_secs(5),
        late_after: Duration::from_millis(1),
        retry: "none".parse().expect("the stub and the spec are sound"),
        return_capacity: false,
        seed: 1,
        streams: streams(arrivals),
    }
}

fn streams(arrivals: &str) -> Vec<StreamSpec> {
    vec![StreamSpec {
        name: "orders".to_owned(),
        table: "orders".to_owned(),
        profile: None,
        arrivals: arrivals.parse().expect("the stub and the spec are sound"),
        mix: "get=1".parse().expect("the stub and the spec are sound"),
        keys: "uniform:1000".parse().expect("the stub and the spec are sound"),
        item_size: "900".parse().expect("the stub and the spec are sound"),
        from: Duration::ZERO,
        to: None,
    }]
}
