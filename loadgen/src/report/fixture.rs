//! Results as runs would have found them, for tests: calm, with a stall, throttled, invalid, empty, long.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Serializer, V2DeflateSerializer};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::outcome::Outcome;
use crate::result::{
    Latency, OperatorsView, ProcessCpu, QuotaSample, RunResult, SCHEMA, Second, StreamResult, Summary, Units,
    Validity,
};
use crate::spec::{Pacing, Protocol, RunSpec, StreamSpec};

/// How a run goes.
pub(crate) struct Story {
    pub(crate) seconds: u64,
    /// Name, table, operation, requests per second.
    pub(crate) streams: Vec<(&'static str, String, &'static str, u64)>,
    /// The service stands still for 400 ms at the begin of this second.
    pub(crate) stall_at: Option<u64>,
    /// From this second on a tenth is throttled.
    pub(crate) throttled_from: Option<u64>,
    /// Whether the operators' endpoints were asked.
    pub(crate) operators: bool,
    /// Whether seconds keep their histograms.
    pub(crate) histograms: bool,
}

impl Default for Story {
    fn default() -> Self {
        Self {
            seconds: 30,
            streams: vec![
                ("reads", "orders".to_owned(), "GetItem", 360),
                ("writes", "orders".to_owned(), "PutItem", 40),
            ],
            stall_at: None,
            throttled_from: None,
            operators: false,
            histograms: true,
        }
    }
}

/// Half a minute of reads and writes, and nothing happens.
pub(crate) fn calm() -> RunResult {
    Story::default().result()
}

/// A minute with everything in it: three streams, a stall, throttling against a quota.
pub(crate) fn eventful() -> RunResult {
    let mut result = Story {
        seconds: 60,
        streams: vec![
            ("reads", "orders".to_owned(), "GetItem", 500),
            ("writes", "orders".to_owned(), "PutItem", 80),
            ("reports", "users".to_owned(), "Query", 20),
        ],
        stall_at: Some(22),
        throttled_from: Some(38),
        operators: true,
        histograms: true,
    }
    .result();
    result.warnings =
        vec!["stream writes: items of 1,031 bytes cost 2 WCU each; 7 bytes less would halve that".to_owned()];
    result.processes = vec![
        ProcessCpu {
            name: "proxy".into(),
            pid: 4711,
            cpu_us: 4_100_000,
            cpu_us_per_attempt: 23.1,
            rss_bytes: 61 << 20,
        },
        ProcessCpu {
            name: "storage-1".into(),
            pid: 4712,
            cpu_us: 2_900_000,
            cpu_us_per_attempt: 16.3,
            rss_bytes: 180 << 20,
        },
    ];
    result
}

/// A run in which the load generator did not keep up.
pub(crate) fn invalid() -> RunResult {
    let mut result = Story { stall_at: Some(12), ..Story::default() }.result();
    result.validity = Validity {
        valid: false,
        reasons: vec![
            "258 of 12,300 requests (2.1 %) were sent over 1 ms after their intended time though a connection \
             was free; at most 0.1 % may be"
                .to_owned(),
            "a sending thread used 97 % of its core in second 12; at most 80 % leaves room".to_owned(),
        ],
        late_sends: 258,
        busiest_thread: 0.97,
        own_cpu_us_per_attempt: 31.0,
        not_sent: 0,
    };
    result
}

/// A run with more streams, errors, reasons and warnings than a summary has lines.
pub(crate) fn much_to_say() -> RunResult {
    let streams =
        ["a", "b", "c", "d", "e", "f", "g", "h"].map(|name| (name, format!("table-{name}"), "GetItem", 20));
    let mut result = Story { seconds: 3, streams: streams.to_vec(), ..Story::default() }.result();
    let many = |what: &str| (0..9).map(|number| format!("{what} {number}")).collect::<Vec<_>>();
    result.warnings = many("warning");
    result.validity.valid = false;
    result.validity.reasons = many("reason");
    result.total.errors = many("Error").into_iter().map(|error| (error, 7)).collect();
    result
}

/// Requests, and not one answer.
pub(crate) fn nothing_answered() -> RunResult {
    let mut result = Story { seconds: 5, ..Story::default() }.result();
    let deaf = |summary: &mut Summary| {
        summary.outcomes = [(Outcome::Broken, summary.offered)].into();
        summary.errors = [("connection refused".to_owned(), summary.offered)].into();
        (summary.latency, summary.service) = (no_latency(), no_latency());
        (summary.units, summary.reported_units) = (Units::default(), Units::default());
    };
    deaf(&mut result.total);
    for stream in &mut result.streams {
        deaf(&mut stream.summary);
        stream.operations.values_mut().for_each(deaf);
        for second in &mut stream.seconds {
            second.outcomes = [(Outcome::Broken, second.offered)].into();
            (second.latency, second.service_p99_us, second.units) = (no_latency(), 0, Units::default());
        }
    }
    result
}

impl Story {
    /// What the run found. The same story has the same result.
    pub(crate) fn result(&self) -> RunResult {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut total = Tally::default();
        let mut streams = Vec::new();
        for (name, table, operation, rate) in &self.streams {
            let mut whole = Tally::default();
            let seconds = (0..self.seconds).map(|at| {
                let tally = self.second(at, *rate, *operation == "PutItem", &mut rng);
                whole.add(&tally);
                tally.second(at, self.histograms, f64::from(rng.random_range(30..45u32)) / 100.0)
            });
            let seconds = seconds.collect();
            total.add(&whole);
            streams.push(StreamResult {
                name: (*name).to_owned(),
                table: table.clone(),
                operations: [((*operation).to_owned(), whole.summary())].into(),
                summary: whole.summary(),
                seconds,
            });
        }
        RunResult {
            schema: SCHEMA.to_owned(),
            weir: "0.1.0".to_owned(),
            spec: self.spec(),
            began_unix_ms: 1_795_408_800_000,
            lasted_us: self.seconds * 1_000_000 + 4_217,
            validity: Validity {
                valid: true,
                reasons: Vec::new(),
                late_sends: 12,
                busiest_thread: 0.44,
                own_cpu_us_per_attempt: 11.8,
                not_sent: 0,
            },
            warnings: Vec::new(),
            total: total.summary(),
            streams,
            processes: Vec::new(),
            operators: self.operators.then(|| self.operators(&mut rng)),
        }
    }

    fn spec(&self) -> RunSpec {
        let stream = |(name, table, operation, rate): &(&str, String, &str, u64)| StreamSpec {
            name: (*name).to_owned(),
            table: table.clone(),
            profile: None,
            arrivals: format!("{rate}/s").parse().unwrap(),
            mix: match *operation {
                "PutItem" => "put=100",
                "Query" => "query=100",
                _ => "get=100",
            }
            .parse()
            .unwrap(),
            keys: "zipf:10000:0.99".parse().unwrap(),
            item_size: "900".parse().unwrap(),
            from: Duration::ZERO,
            to: None,
        };
        RunSpec {
            endpoints: vec!["http://127.0.0.1:8000".to_owned(), "http://127.0.0.1:8001".to_owned()],
            region: "us-east-1".to_owned(),
            protocol: Protocol::Http1,
            pacing: Pacing::Open,
            duration: Duration::from_secs(self.seconds),
            warm_up: Duration::from_secs(5),
            threads: 1,
            connections: 64,
            attempt_timeout: Duration::from_secs(1),
            late_after: Duration::from_millis(1),
            retry: "standard:3".parse().unwrap(),
            return_capacity: true,
            seed: 42,
            streams: self.streams.iter().map(stream).collect(),
        }
    }

    fn second(&self, at: u64, rate: u64, write: bool, rng: &mut ChaCha8Rng) -> Tally {
        let mut tally = Tally::default();
        for _ in 0..rate + rng.random_range(0..=rate / 20) {
            tally.offered += 1;
            tally.attempts += 1;
            let due = rng.random_range(0.0..1.0);
            let spread: f64 = (0..6).map(|_| rng.random::<f64>()).sum::<f64>() - 3.0;
            let tail = if rng.random_bool(0.004) { rng.random_range(2.0..9.0) } else { 1.0 };
            let base = if write { 900.0 } else { 420.0 };
            let service = base * (0.35 * spread).exp() * tail;
            // Who is due during the stall waits for its end, and the queue drains for a while.
            let queued = match self.stall_at {
                Some(stall) if at == stall && due < 0.4 => 400_000.0 * (1.0 - due / 0.4),
                Some(stall) if at == stall => 900.0 * (1.0 - due),
                _ => rng.random_range(2.0..30.0),
            };
            if self.throttled_from.is_some_and(|from| at >= from) && rng.random_bool(0.1) {
                tally.attempts += 2;
                *tally.outcomes.entry(Outcome::Throttled).or_default() += 1;
                *tally.errors.entry("ProvisionedThroughputExceededException".to_owned()).or_default() += 3;
                continue;
            }
            let outcome = if rng.random_bool(0.0001) { Outcome::TimedOut } else { Outcome::Ok };
            *tally.outcomes.entry(outcome).or_default() += 1;
            if outcome == Outcome::TimedOut {
                *tally.errors.entry("no answer within 1s".to_owned()).or_default() += 1;
                continue;
            }
            tally.latency.record((service + queued) as u64).unwrap();
            tally.service.record(service as u64).unwrap();
            tally.delay.record(queued as u64).unwrap();
            let units = if write { &mut tally.units.write_milli } else { &mut tally.units.read_milli };
            *units += if write { 1000 } else { 500 };
        }
        tally
    }

    fn operators(&self, rng: &mut ChaCha8Rng) -> OperatorsView {
        let mut samples = Vec::new();
        for at in 0..self.seconds {
            for (_, table, operation, rate) in &self.streams {
                let short = self.throttled_from.is_some_and(|from| at >= from);
                let admitted = rate * 1000 * rng.random_range(90..110) / 100;
                let refused = if short { rate * 150 } else { 0 };
                let causes = [("quota".to_owned(), refused * 3 / 4), ("share".to_owned(), refused / 4)];
                samples.push(QuotaSample {
                    at_us: at * 1_000_000,
                    table: table.clone(),
                    write: *operation == "PutItem",
                    quota_milli: (*operation != "Query").then_some(rate * 1050),
                    admitted_milli: admitted - refused.min(admitted),
                    refused_milli: if short { causes.into() } else { BTreeMap::new() },
                });
            }
        }
        OperatorsView { samples }
    }
}

struct Tally {
    offered: u64,
    attempts: u64,
    outcomes: BTreeMap<Outcome, u64>,
    errors: BTreeMap<String, u64>,
    latency: Histogram<u64>,
    service: Histogram<u64>,
    delay: Histogram<u64>,
    units: Units,
}

impl Default for Tally {
    fn default() -> Self {
        let empty = || Histogram::new(3).unwrap();
        Self {
            offered: 0,
            attempts: 0,
            outcomes: BTreeMap::new(),
            errors: BTreeMap::new(),
            latency: empty(),
            service: empty(),
            delay: empty(),
            units: Units::default(),
        }
    }
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.offered += other.offered;
        self.attempts += other.attempts;
        for (outcome, count) in &other.outcomes {
            *self.outcomes.entry(*outcome).or_default() += count;
        }
        for (error, count) in &other.errors {
            *self.errors.entry(error.clone()).or_default() += count;
        }
        self.latency.add(&other.latency).unwrap();
        self.service.add(&other.service).unwrap();
        self.delay.add(&other.delay).unwrap();
        self.units.read_milli += other.units.read_milli;
        self.units.write_milli += other.units.write_milli;
    }

    fn summary(&self) -> Summary {
        Summary {
            offered: self.offered,
            attempts: self.attempts,
            outcomes: self.outcomes.clone(),
            errors: self.errors.clone(),
            latency: latency(&self.latency, true),
            service: latency(&self.service, true),
            send_delay: latency(&self.delay, true),
            units: self.units,
            reported_units: self.units,
            bytes_sent: self.attempts * 320,
            bytes_received: self.attempts * 910,
        }
    }

    fn second(&self, at: u64, histogram: bool, own_cpu: f64) -> Second {
        Second {
            at,
            offered: self.offered,
            attempts: self.attempts,
            outcomes: self.outcomes.clone(),
            latency: latency(&self.latency, histogram),
            service_p99_us: self.service.value_at_quantile(0.99),
            units: self.units,
            own_cpu,
        }
    }
}

fn latency(histogram: &Histogram<u64>, keep: bool) -> Latency {
    let at = |quantile| histogram.value_at_quantile(quantile);
    Latency {
        count: histogram.len(),
        min_us: histogram.min(),
        mean_us: histogram.mean().round(),
        p50_us: at(0.5),
        p90_us: at(0.9),
        p99_us: at(0.99),
        p999_us: at(0.999),
        max_us: histogram.max(),
        histogram: if keep { encoded(histogram) } else { String::new() },
    }
}

/// As results keep it.
pub(crate) fn encoded(histogram: &Histogram<u64>) -> String {
    let mut bytes = Vec::new();
    V2DeflateSerializer::new().serialize(histogram, &mut bytes).unwrap();
    BASE64.encode(bytes)
}

pub(crate) fn no_latency() -> Latency {
    latency(&Histogram::new(3).unwrap(), false)
}
