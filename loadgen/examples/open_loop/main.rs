//! Streams of signed requests in an open loop, from one thread: each request has an intended time, and its
//! latency counts from then.
//!
//! A stream is one or several tables at one endpoint at one rate for a part of the run. Prints one line per
//! stream and second, then one JSON object of sums and series. The scripts in `loadgen/bench` drive it.

mod stream;
mod tally;

use std::cell::RefCell;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use loadgen::connection::Connection;
use loadgen::engine::Timer;
use loadgen::process_cpu::cpu_time;
use loadgen::signer::Signer;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::LocalSet;
use units::Timestamp;

use crate::stream::Stream;
use crate::tally::{Outcome, Tally, Times};

/// From the process's start to the run's begin: time to open connections.
const BEGINS_AFTER: Duration = Duration::from_millis(300);
/// A later stream's connections are opened this long before its first request.
const CONNECTS_BEFORE: Duration = Duration::from_secs(1);
/// What is due so soon is sent at once.
const SOON: Duration = Duration::from_micros(20);

/// Drives DynamoDB endpoints in an open loop.
#[derive(Debug, Parser)]
struct Arguments {
    /// A stream: `name=a,endpoint=127.0.0.1:8000,table=orders[+customers],rate=2000[,from=0][,to=60]
    /// [,op=put|get|eventual][,keys=10000|key=hot][,connections=32][,arrivals=poisson|constant]`. Rates are
    /// requests per second; from and to are seconds; get is strongly consistent, eventual is not.
    #[arg(long = "stream", required = true)]
    streams: Vec<Stream>,
    /// Processes whose CPU time to account, as `name:pid`.
    #[arg(long = "process")]
    processes: Vec<String>,
    /// Where to write every request's times, in the form of `Tally::write_samples`.
    #[arg(long)]
    samples: Option<PathBuf>,
    /// Seed of the arrivals and keys.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[arg(long, env = "AWS_ACCESS_KEY_ID", default_value = "WEIRBENCHACCESSKEY00")]
    access_key: String,
    #[arg(long, env = "AWS_SECRET_ACCESS_KEY", default_value = "weir-bench-secret-key-0123456789abcdefgh")]
    secret_key: String,
}

/// A stream in progress.
struct Running {
    stream: Stream,
    number: u64,
    arguments: Rc<Arguments>,
    start: Timestamp,
    tally: RefCell<Tally>,
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
    let start = wire::clock::now() + BEGINS_AFTER;
    let began_unix_ms = wire::clock::unix_now().get() + BEGINS_AFTER.as_millis() as u64;
    let before: Vec<_> = processes.iter().map(|(_, pid)| cpu_time(*pid)).collect();
    let own_before = cpu_time(std::process::id());
    let mut tasks = Vec::new();
    for (number, stream) in arguments.streams.iter().enumerate() {
        let running = Rc::new(Running {
            stream: stream.clone(),
            number: number as u64,
            arguments: Rc::clone(&arguments),
            start,
            tally: RefCell::new(Tally::new()?),
        });
        tasks.push((Rc::clone(&running), tokio::task::spawn_local(drive(running))));
    }
    let mut finished = Vec::new();
    for (running, task) in tasks {
        task.await??;
        finished.push(running);
    }
    let cpu: serde_json::Map<_, _> = processes
        .iter()
        .zip(&before)
        .map(|((name, pid), before)| {
            (name.clone(), json!(cpu_time(*pid).saturating_sub(*before).as_secs_f64()))
        })
        .collect();
    let own = cpu_time(std::process::id()).saturating_sub(own_before).as_secs_f64();
    for running in &finished {
        running.tally.borrow().print(&running.stream.name);
    }
    if let Some(path) = &arguments.samples {
        write_samples(path, &finished).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let results: Vec<_> =
        finished.iter().map(|running| running.tally.borrow().json(&running.stream.name)).collect();
    println!(
        "{}",
        json!({ "streams": results, "cpu_seconds": cpu, "own_cpu_seconds": own,
            "began_unix_ms": began_unix_ms })
    );
    Ok(())
}

fn write_samples(path: &std::path::Path, finished: &[Rc<Running>]) -> anyhow::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    for running in finished {
        running.tally.borrow().write_samples(u32::try_from(running.number)?, &mut file)?;
    }
    Ok(file.flush()?)
}

/// Sends at the intended times, over as many connections as are free.
async fn drive(running: Rc<Running>) -> anyhow::Result<()> {
    let Running { stream, number, arguments, start, .. } = &*running;
    let mut rng = ChaCha8Rng::seed_from_u64(arguments.seed.wrapping_mul(1000) + number);
    tokio::time::sleep(stream.from.saturating_sub(CONNECTS_BEFORE)).await;
    // As many requests may be late as a slow second brings; more than that would be another experiment.
    let (sender, receiver) = mpsc::channel::<Timestamp>(100_000);
    let receiver = Rc::new(tokio::sync::Mutex::new(receiver));
    let mut connections = Vec::new();
    for connection in 0..stream.connections {
        let seed = arguments.seed.wrapping_mul(7919) + number * 1000 + connection as u64;
        connections.push(tokio::task::spawn_local(serve(Rc::clone(&running), seed, Rc::clone(&receiver))));
    }
    let begin = *start + stream.from;
    let end = *start + stream.to;
    let mut due = begin + stream.first_gap(&mut rng);
    let timer = Timer::new()?;
    while due < end {
        let wait = due.since(wire::clock::now());
        if wait > SOON {
            timer.set(wait);
            timer.expired().await;
        } else {
            tokio::task::consume_budget().await;
        }
        running.tally.borrow_mut().sent(due.since(*start));
        sender.send(due).await.context("a connection is left")?;
        due = due + stream.gap(&mut rng);
    }
    drop(sender);
    for connection in connections {
        connection.await??;
    }
    Ok(())
}

async fn serve(
    running: Rc<Running>,
    seed: u64,
    due: Rc<tokio::sync::Mutex<mpsc::Receiver<Timestamp>>>,
) -> anyhow::Result<()> {
    let Running { stream, arguments, start, .. } = &*running;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let open = || {
        let signer = Signer::new(&arguments.access_key, &arguments.secret_key, "us-east-1", &stream.endpoint);
        Connection::open(&stream.endpoint, signer)
    };
    // Opened before the first request, so that its latency is the service's.
    let mut connection = open().await.ok();
    loop {
        let next = due.lock().await.recv().await;
        let Some(intended) = next else { return Ok(()) };
        let (operation, body) = stream.request(&mut rng);
        if connection.is_none() {
            connection = open().await.ok();
        }
        let sent = wire::clock::now();
        let answer = match connection.as_mut() {
            Some(connection) => connection.send(operation, body).await.map_err(|error| error.to_string()),
            None => Err("cannot connect".to_owned()),
        };
        let (outcome, reason) = match answer {
            Ok(answer) if answer.status == 200 => (Outcome::Ok, None),
            Ok(answer) => refusal(&answer.body),
            Err(error) => {
                connection = None;
                (Outcome::Failed, Some(error))
            }
        };
        let times = Times {
            intended: intended.since(*start),
            sent: sent.since(*start),
            answered: wire::clock::now().since(*start),
        };
        running.tally.borrow_mut().answered(times, outcome, reason);
    }
}

/// Whether it is for a quota's sake; the exception and its first reason.
fn refusal(body: &[u8]) -> (Outcome, Option<String>) {
    let parsed: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let kind = parsed["__type"].as_str().and_then(|kind| kind.rsplit('#').next()).unwrap_or("no exception");
    let reasons = [&parsed["ThrottlingReasons"], &parsed["throttlingReasons"]];
    let first = reasons.into_iter().find_map(|reasons| reasons[0]["reason"].as_str()).unwrap_or("");
    let reason = format!("{kind} {first}").trim_end().to_owned();
    let quota = ["Throughput", "Throttling", "Limit"].iter().any(|word| reason.contains(word));
    (if quota { Outcome::Throttled } else { Outcome::Failed }, Some(reason))
}
