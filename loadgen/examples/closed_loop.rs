//! A closed loop of signed GetItem and PutItem requests from one thread, and what they cost the servers.
//!
//! Prints one JSON line: requests/s, latency percentiles, and per named process CPU µs per request and
//! resident memory. `loadgen/bench/first_figures.py` drives it.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use clap::Parser;
use hdrhistogram::Histogram;
use loadgen::connection::Connection;
use loadgen::process_cpu::{cpu_time, resident_bytes};
use loadgen::signer::Signer;
use serde_json::json;
use tokio::task::LocalSet;
use units::Timestamp;

/// Drives a DynamoDB endpoint in a closed loop.
#[derive(Debug, Clone, Parser)]
struct Arguments {
    /// `host:port` of the endpoint.
    #[arg(long)]
    address: String,
    /// Table with the partition key `pk` of type S.
    #[arg(long, default_value = "usertable")]
    table: String,
    /// Connections, each with one request in flight.
    #[arg(long, default_value_t = 16)]
    connections: u64,
    /// Seconds that count.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Seconds before they count.
    #[arg(long, default_value_t = 1.0)]
    warm: f64,
    /// Per cent of GetItem (strongly consistent); the rest is PutItem of about 900 bytes.
    #[arg(long, default_value_t = 50)]
    reads: u64,
    /// Number of keys.
    #[arg(long, default_value_t = 10_000)]
    keys: u64,
    /// Writes every key once, in order, instead of running for a time.
    #[arg(long)]
    load: bool,
    /// Servers to account, as `name:pid`.
    #[arg(long = "process")]
    processes: Vec<String>,
    #[arg(long, default_value = "WEIRBENCHACCESSKEY00")]
    access_key: String,
    #[arg(long, default_value = "weir-bench-secret-key-0123456789abcdefgh")]
    secret_key: String,
}

struct Tally {
    latency: Histogram<u64>,
    measuring: bool,
    stopped: bool,
    failed: u64,
    first_failure: Option<String>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments = Rc::new(Arguments::parse());
    let processes: Vec<(String, u32)> = arguments
        .processes
        .iter()
        .filter_map(|process| process.split_once(':'))
        .map(|(name, pid)| Ok((name.to_owned(), pid.parse()?)))
        .collect::<Result<_, std::num::ParseIntError>>()?;
    let tally = Rc::new(RefCell::new(Tally {
        latency: Histogram::new_with_bounds(1, 60_000_000, 3)?,
        measuring: arguments.load,
        stopped: false,
        failed: 0,
        first_failure: None,
    }));
    LocalSet::new().run_until(measure(arguments, processes, tally)).await
}

async fn measure(
    arguments: Rc<Arguments>,
    processes: Vec<(String, u32)>,
    tally: Rc<RefCell<Tally>>,
) -> anyhow::Result<()> {
    let mut loops: Vec<_> = (0..arguments.connections)
        .map(|number| tokio::task::spawn_local(drive(number, Rc::clone(&arguments), Rc::clone(&tally))))
        .collect();
    if !arguments.load {
        tokio::time::sleep(Duration::from_secs_f64(arguments.warm)).await;
        tally.borrow_mut().measuring = true;
    }
    let before: Vec<_> = processes.iter().map(|(_, pid)| cpu_time(*pid)).collect();
    let own_before = cpu_time(std::process::id());
    let start = wire::clock::now();
    if arguments.load {
        for driven in loops.drain(..) {
            driven.await?;
        }
    } else {
        tokio::time::sleep(Duration::from_secs_f64(arguments.seconds)).await;
    }
    let elapsed = wire::clock::now().since(start);
    let after: Vec<_> = processes.iter().map(|(_, pid)| cpu_time(*pid)).collect();
    let own = cpu_time(std::process::id()) - own_before;
    let mut tally = tally.borrow_mut();
    tally.stopped = true;
    let requests = tally.latency.len().max(1) as f64;
    let per_process: serde_json::Map<_, _> = processes
        .iter()
        .zip(before.iter().zip(&after))
        .map(|((name, pid), (before, after))| {
            let cpu = *after - *before;
            let row = json!({
                "cpu_us": cpu.as_secs_f64() * 1e6 / requests,
                "cores": cpu.as_secs_f64() / elapsed.as_secs_f64(),
                "rss_mb": resident_bytes(*pid) as f64 / 1e6,
            });
            (name.clone(), row)
        })
        .collect();
    let quantile = |q| tally.latency.value_at_quantile(q);
    println!(
        "{}",
        json!({
            "connections": arguments.connections, "reads": arguments.reads,
            "rps": requests / elapsed.as_secs_f64(), "failed": tally.failed, "first_failure": tally.first_failure,
            "p50_us": quantile(0.5), "p99_us": quantile(0.99), "p999_us": quantile(0.999),
            "loadgen_cpu_us": own.as_secs_f64() * 1e6 / requests, "processes": per_process,
        })
    );
    Ok(())
}

/// One connection's loop: request, answer, next.
async fn drive(number: u64, arguments: Rc<Arguments>, tally: Rc<RefCell<Tally>>) {
    let signer = Signer::new(&arguments.access_key, &arguments.secret_key, "us-east-1", &arguments.address);
    let mut connection = match Connection::open(&arguments.address, signer).await {
        Ok(connection) => connection,
        Err(error) => {
            fail(&tally, error.to_string());
            return;
        }
    };
    let mut draws = XorShift(0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(number + 1));
    let mut key = number;
    loop {
        if tally.borrow().stopped || (arguments.load && key >= arguments.keys) {
            return;
        }
        let (operation, body) = if arguments.load {
            key += arguments.connections;
            put(&arguments.table, key - arguments.connections, &mut draws)
        } else if draws.next() % 100 < arguments.reads {
            get(&arguments.table, draws.next() % arguments.keys)
        } else {
            put(&arguments.table, draws.next() % arguments.keys, &mut draws)
        };
        let start: Timestamp = wire::clock::now();
        match connection.send(operation, body).await {
            Ok(answer) if answer.status == 200 => {
                let mut tally = tally.borrow_mut();
                if tally.measuring {
                    let micros = wire::clock::now().since(start).as_micros();
                    tally.latency.saturating_record(u64::try_from(micros).unwrap_or(u64::MAX).max(1));
                }
            }
            Ok(answer) => fail(&tally, String::from_utf8_lossy(&answer.body).into_owned()),
            Err(error) => {
                fail(&tally, error.to_string());
                return;
            }
        }
    }
}

fn fail(tally: &RefCell<Tally>, reason: String) {
    let mut tally = tally.borrow_mut();
    tally.failed += 1;
    tally.first_failure.get_or_insert(reason);
}

fn get(table: &str, key: u64) -> (&'static str, Bytes) {
    let body = format!(
        r#"{{"TableName":"{table}","Key":{{"pk":{{"S":"user{key:020}"}}}},"ConsistentRead":true,"ReturnConsumedCapacity":"NONE"}}"#
    );
    ("GetItem", body.into())
}

fn put(table: &str, key: u64, draws: &mut XorShift) -> (&'static str, Bytes) {
    let mut body = format!(r#"{{"TableName":"{table}","Item":{{"pk":{{"S":"user{key:020}"}}"#);
    for field in 0..9 {
        body.push_str(&format!(r#","field{field}":{{"S":""#));
        (0..78).for_each(|_| body.push(char::from(b'a' + (draws.next() % 26) as u8)));
        body.push_str("\"}");
    }
    body.push_str("}}");
    ("PutItem", body.into())
}

/// Marsaglia's xorshift64: enough to pick keys.
struct XorShift(u64);

impl XorShift {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}
