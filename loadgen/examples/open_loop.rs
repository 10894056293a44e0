//! Streams of signed requests in an open loop, from one thread: each request has an intended time, and its
//! latency counts from then.
//!
//! A stream is one table at one endpoint at one rate for a part of the run. Prints one line per stream and
//! second, then one JSON object of sums. `loadgen/bench/admission.py` drives it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use clap::Parser;
use hdrhistogram::Histogram;
use loadgen::connection::Connection;
use loadgen::process_cpu::cpu_time;
use loadgen::signer::Signer;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::LocalSet;
use units::Timestamp;

/// Drives DynamoDB endpoints in an open loop.
#[derive(Debug, Parser)]
struct Arguments {
    /// A stream: `name=a,endpoint=127.0.0.1:8000,table=orders,rate=2000[,from=0][,to=60][,op=put|get]
    /// [,keys=10000|key=hot][,connections=32]`. Rates are requests per second; from and to are seconds.
    #[arg(long = "stream", required = true)]
    streams: Vec<Stream>,
    /// Processes whose CPU time to account, as `name:pid`.
    #[arg(long = "process")]
    processes: Vec<String>,
    /// Seed of the arrivals (Poisson) and keys.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[arg(long, env = "AWS_ACCESS_KEY_ID", default_value = "WEIRBENCHACCESSKEY00")]
    access_key: String,
    #[arg(long, env = "AWS_SECRET_ACCESS_KEY", default_value = "weir-bench-secret-key-0123456789abcdefgh")]
    secret_key: String,
}

#[derive(Debug, Clone)]
struct Stream {
    name: String,
    endpoint: String,
    table: String,
    rate: f64,
    from: Duration,
    to: Duration,
    reads: bool,
    keys: Keys,
    connections: usize,
}

#[derive(Debug, Clone)]
enum Keys {
    Uniform(u64),
    One(String),
}

impl FromStr for Stream {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let mut fields: BTreeMap<&str, &str> =
            text.split(',').filter_map(|field| field.trim().split_once('=')).collect();
        let mut take = |name: &str| fields.remove(name);
        let seconds = |text: Option<&str>, usual: f64| -> anyhow::Result<Duration> {
            Ok(Duration::from_secs_f64(text.map(str::parse).transpose()?.unwrap_or(usual)))
        };
        let table = take("table").context("a stream needs table=")?.to_owned();
        let stream = Self {
            name: take("name").map_or_else(|| table.clone(), str::to_owned),
            endpoint: take("endpoint").context("a stream needs endpoint=")?.to_owned(),
            table,
            rate: take("rate").context("a stream needs rate=")?.parse()?,
            from: seconds(take("from"), 0.0)?,
            to: seconds(take("to"), 10.0)?,
            reads: match take("op").unwrap_or("put") {
                "get" => true,
                "put" => false,
                other => bail!("op={other}: put or get"),
            },
            keys: match take("key") {
                Some(key) => Keys::One(key.to_owned()),
                None => Keys::Uniform(take("keys").unwrap_or("10000").parse()?),
            },
            connections: take("connections").unwrap_or("32").parse()?,
        };
        ensure!(fields.is_empty(), "unknown: {fields:?}");
        Ok(stream)
    }
}

#[derive(Debug, Default, Clone)]
struct Second {
    sent: u64,
    ok: u64,
    throttled: u64,
    failed: u64,
}

#[derive(Debug)]
struct Tally {
    seconds: Vec<Second>,
    latency_ok: Histogram<u64>,
    latency_throttled: Histogram<u64>,
    service_ok: Histogram<u64>,
    reasons: BTreeMap<String, u64>,
}

impl Tally {
    fn new() -> anyhow::Result<Self> {
        let histogram = || Histogram::new_with_bounds(1, 60_000_000, 3);
        Ok(Self {
            seconds: Vec::new(),
            latency_ok: histogram()?,
            latency_throttled: histogram()?,
            service_ok: histogram()?,
            reasons: BTreeMap::new(),
        })
    }

    fn second(&mut self, since: Duration) -> &mut Second {
        let index = usize::try_from(since.as_secs()).unwrap_or(usize::MAX);
        if self.seconds.len() <= index {
            self.seconds.resize(index + 1, Second::default());
        }
        &mut self.seconds[index]
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    LocalSet::new().run_until(run(Rc::new(Arguments::parse()))).await
}

async fn run(arguments: Rc<Arguments>) -> anyhow::Result<()> {
    let processes: Vec<(String, u32)> = arguments
        .processes
        .iter()
        .filter_map(|process| process.split_once(':'))
        .map(|(name, pid)| Ok((name.to_owned(), pid.parse()?)))
        .collect::<Result<_, std::num::ParseIntError>>()?;
    let start = wire::clock::now() + Duration::from_millis(300);
    let before: Vec<_> = processes.iter().map(|(_, pid)| cpu_time(*pid)).collect();
    let own_before = cpu_time(std::process::id());
    let mut running = Vec::new();
    for (number, stream) in arguments.streams.iter().enumerate() {
        let tally = Rc::new(RefCell::new(Tally::new()?));
        let task = tokio::task::spawn_local(drive(
            stream.clone(),
            number as u64,
            Rc::clone(&arguments),
            start,
            Rc::clone(&tally),
        ));
        running.push((stream, tally, task));
    }
    let mut results = Vec::new();
    for (stream, tally, task) in running {
        task.await??;
        let tally = tally.borrow();
        for (second, row) in tally.seconds.iter().enumerate() {
            println!(
                "{} {second} sent {} ok {} throttled {} failed {}",
                stream.name, row.sent, row.ok, row.throttled, row.failed
            );
        }
        let sum = |field: fn(&Second) -> u64| tally.seconds.iter().map(field).sum::<u64>();
        let quantiles = |histogram: &Histogram<u64>| {
            json!({ "p50": histogram.value_at_quantile(0.5), "p99": histogram.value_at_quantile(0.99),
                "p999": histogram.value_at_quantile(0.999), "max": histogram.max() })
        };
        results.push(json!({
            "name": stream.name, "sent": sum(|second| second.sent), "ok": sum(|second| second.ok),
            "throttled": sum(|second| second.throttled), "failed": sum(|second| second.failed),
            "ok_latency_us": quantiles(&tally.latency_ok), "ok_service_us": quantiles(&tally.service_ok),
            "throttled_latency_us": quantiles(&tally.latency_throttled),
            "reasons": tally.reasons,
            "per_second": tally.seconds.iter().map(|row| [row.sent, row.ok, row.throttled, row.failed]).collect::<Vec<_>>(),
        }));
    }
    let cpu: serde_json::Map<_, _> = processes
        .iter()
        .zip(&before)
        .map(|((name, pid), before)| (name.clone(), json!((cpu_time(*pid) - *before).as_secs_f64())))
        .collect();
    let own = (cpu_time(std::process::id()) - own_before).as_secs_f64();
    println!("{}", json!({ "streams": results, "cpu_seconds": cpu, "own_cpu_seconds": own }));
    Ok(())
}

/// Sends at the intended times, over as many connections as are free.
async fn drive(
    stream: Stream,
    number: u64,
    arguments: Rc<Arguments>,
    start: Timestamp,
    tally: Rc<RefCell<Tally>>,
) -> anyhow::Result<()> {
    let mut rng = ChaCha8Rng::seed_from_u64(arguments.seed.wrapping_mul(1000) + number);
    // As many requests may be late as a slow second brings; more than that would be another experiment.
    let (sender, receiver) = mpsc::channel::<Timestamp>(100_000);
    let receiver = Rc::new(tokio::sync::Mutex::new(receiver));
    let mut connections = Vec::new();
    for connection in 0..stream.connections {
        let seed = arguments.seed.wrapping_mul(7919) + number * 1000 + connection as u64;
        connections.push(tokio::task::spawn_local(serve(
            stream.clone(),
            seed,
            Rc::clone(&arguments),
            start,
            Rc::clone(&receiver),
            Rc::clone(&tally),
        )));
    }
    let mut due = start + stream.from;
    let end = start + stream.to;
    loop {
        due = due + Duration::from_secs_f64(-rng.random::<f64>().max(1e-12).ln() / stream.rate);
        if due >= end {
            break;
        }
        let wait = due.since(wire::clock::now());
        if wait > Duration::from_millis(1) {
            tokio::time::sleep(wait).await;
        } else {
            tokio::task::consume_budget().await;
        }
        tally.borrow_mut().second(due.since(start)).sent += 1;
        sender.send(due).await.context("a connection is left")?;
    }
    drop(sender);
    for connection in connections {
        connection.await??;
    }
    Ok(())
}

async fn serve(
    stream: Stream,
    seed: u64,
    arguments: Rc<Arguments>,
    start: Timestamp,
    due: Rc<tokio::sync::Mutex<mpsc::Receiver<Timestamp>>>,
    tally: Rc<RefCell<Tally>>,
) -> anyhow::Result<()> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let open = || {
        let signer = Signer::new(&arguments.access_key, &arguments.secret_key, "us-east-1", &stream.endpoint);
        Connection::open(&stream.endpoint, signer)
    };
    let mut connection = None;
    loop {
        let next = due.lock().await.recv().await;
        let Some(intended) = next else { return Ok(()) };
        let key = match &stream.keys {
            Keys::Uniform(keys) => format!("user{:020}", rng.random_range(0..*keys)),
            Keys::One(key) => key.clone(),
        };
        let (operation, body) = request(&stream, &key);
        if connection.is_none() {
            connection = open().await.ok();
        }
        let sent = wire::clock::now();
        let answer = match connection.as_mut() {
            Some(connection) => connection.send(operation, body).await.map_err(|error| error.to_string()),
            None => Err("cannot connect".to_owned()),
        };
        let now = wire::clock::now();
        let micros = |from: Timestamp| u64::try_from(now.since(from).as_micros()).unwrap_or(u64::MAX).max(1);
        let mut tally = tally.borrow_mut();
        // A request counts in the second in which it was answered.
        let second = tally.second(now.since(start));
        match answer {
            Ok(answer) if answer.status == 200 => {
                second.ok += 1;
                tally.latency_ok.saturating_record(micros(intended));
                tally.service_ok.saturating_record(micros(sent));
            }
            Ok(answer) => {
                let reason = reason(&answer.body);
                if reason.contains("Throughput") || reason.contains("Throttling") || reason.contains("Limit")
                {
                    second.throttled += 1;
                    tally.latency_throttled.saturating_record(micros(intended));
                } else {
                    second.failed += 1;
                }
                *tally.reasons.entry(reason).or_default() += 1;
            }
            Err(error) => {
                connection = None;
                second.failed += 1;
                *tally.reasons.entry(error).or_default() += 1;
            }
        }
    }
}

fn request(stream: &Stream, key: &str) -> (&'static str, Bytes) {
    let table = &stream.table;
    if stream.reads {
        let body =
            format!(r#"{{"TableName":"{table}","Key":{{"pk":{{"S":"{key}"}}}},"ConsistentRead":true}}"#);
        return ("GetItem", body.into());
    }
    (
        "PutItem",
        format!(r#"{{"TableName":"{table}","Item":{{"pk":{{"S":"{key}"}},"v":{{"S":"1"}}}}}}"#).into(),
    )
}

/// The exception and its first reason.
fn reason(body: &[u8]) -> String {
    let parsed: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let kind = parsed["__type"].as_str().and_then(|kind| kind.rsplit('#').next()).unwrap_or("no exception");
    let reasons = [&parsed["ThrottlingReasons"], &parsed["throttlingReasons"]];
    let first = reasons.into_iter().find_map(|reasons| reasons[0]["reason"].as_str()).unwrap_or("");
    format!("{kind} {first}").trim_end().to_owned()
}
