//! A closed loop of signed requests from one thread, and what they cost the servers.
//!
//! Prints one JSON line: requests/s, latency percentiles, and per named process CPU µs per request and
//! resident memory. A request that a quota refused is answered, and counts. `loadgen/bench/run` drives it.

use std::borrow::Cow;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use clap::Parser;
use hdrhistogram::Histogram;
use loadgen::connection::{Answer, Connection};
use loadgen::process_cpu::{cpu_time, resident_bytes};
use loadgen::signer::Signer;
use serde_json::json;
use tokio::task::LocalSet;
use units::Timestamp;

/// In the name of the exception.
const REFUSAL: &[u8] = b"ProvisionedThroughputExceeded";

/// Drives a DynamoDB endpoint in a closed loop.
#[derive(Debug, Clone, Parser)]
struct Arguments {
    /// `host:port` of the endpoint.
    #[arg(long)]
    address: String,
    /// Table with the partition key `pk` of type S.
    #[arg(long, default_value = "usertable")]
    table: String,
    /// Load on so many tables: `--table` is then what their names begin with, before a number from 1.
    #[arg(long, default_value_t = 1)]
    tables: u64,
    /// Connections, each with one request in flight.
    #[arg(long, default_value_t = 16)]
    connections: u64,
    /// Seconds that count.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Seconds before they count.
    #[arg(long, default_value_t = 1.0)]
    warm: f64,
    /// Per cent of GetItem (strongly consistent); the rest are `--writes`.
    #[arg(long, default_value_t = 50)]
    reads: u64,
    /// What the others are: `put` writes whole items, `update` one field of an item, as YCSB does.
    #[arg(long, default_value = "put", value_parser = ["put", "update"])]
    writes: String,
    /// Fields of an item, besides the key.
    #[arg(long, default_value_t = 9)]
    fields: u64,
    /// Bytes of a field's value.
    #[arg(long, default_value_t = 78)]
    field_bytes: u64,
    /// Keys by Zipf's law with this exponent, below 1; 0: all keys alike.
    #[arg(long, default_value_t = 0.0)]
    zipf: f64,
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
    refused: u64,
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
        refused: 0,
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
    let zipf = Rc::new(Zipf::new(arguments.keys, arguments.zipf));
    let start = |number| drive(number, Rc::clone(&arguments), Rc::clone(&zipf), Rc::clone(&tally));
    let mut loops: Vec<_> =
        (0..arguments.connections).map(|number| tokio::task::spawn_local(start(number))).collect();
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
    let own = cpu_time(std::process::id()).saturating_sub(own_before);
    let mut tally = tally.borrow_mut();
    tally.stopped = true;
    let requests = tally.latency.len().max(1) as f64;
    let per_process: serde_json::Map<_, _> = processes
        .iter()
        .zip(before.iter().zip(&after))
        .map(|((name, pid), (before, after))| {
            let cpu = after.saturating_sub(*before);
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
            "rps": requests / elapsed.as_secs_f64(), "refused": tally.refused,
            "failed": tally.failed, "first_failure": tally.first_failure,
            "p50_us": quantile(0.5), "p99_us": quantile(0.99), "p999_us": quantile(0.999),
            "loadgen_cpu_us": own.as_secs_f64() * 1e6 / requests, "processes": per_process,
        })
    );
    Ok(())
}

/// One connection's loop: request, answer, next.
async fn drive(number: u64, arguments: Rc<Arguments>, zipf: Rc<Zipf>, tally: Rc<RefCell<Tally>>) {
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
            put(&arguments, key - arguments.connections, &mut draws)
        } else {
            let key = zipf.key(&mut draws);
            match draws.next() % 100 < arguments.reads {
                true => get(&arguments, key),
                false if arguments.writes == "update" => update(&arguments, key, &mut draws),
                false => put(&arguments, key, &mut draws),
            }
        };
        let start: Timestamp = wire::clock::now();
        match connection.send(operation, body).await {
            Ok(answer) if answer.status == 200 || is_refusal(&answer) => {
                let mut tally = tally.borrow_mut();
                if tally.measuring {
                    let micros = wire::clock::now().since(start).as_micros();
                    tally.latency.saturating_record(u64::try_from(micros).unwrap_or(u64::MAX).max(1));
                    tally.refused += u64::from(answer.status != 200);
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

/// Refused for a quota's sake: an answer like another.
fn is_refusal(answer: &Answer) -> bool {
    answer.status == 400 && answer.body.windows(REFUSAL.len()).any(|part| part == REFUSAL)
}

fn fail(tally: &RefCell<Tally>, reason: String) {
    let mut tally = tally.borrow_mut();
    tally.failed += 1;
    tally.first_failure.get_or_insert(reason);
}

/// The table that a key is in.
fn table(arguments: &Arguments, key: u64) -> Cow<'_, str> {
    match arguments.tables {
        1 => Cow::Borrowed(&arguments.table),
        tables => Cow::Owned(format!("{}{}", arguments.table, 1 + key % tables)),
    }
}

fn get(arguments: &Arguments, key: u64) -> (&'static str, Bytes) {
    let body = format!(
        r#"{{"TableName":"{}","Key":{{"pk":{{"S":"user{key:020}"}}}},"ConsistentRead":true,"ReturnConsumedCapacity":"NONE"}}"#,
        table(arguments, key)
    );
    ("GetItem", body.into())
}

fn put(arguments: &Arguments, key: u64, draws: &mut XorShift) -> (&'static str, Bytes) {
    let mut body =
        format!(r#"{{"TableName":"{}","Item":{{"pk":{{"S":"user{key:020}"}}"#, table(arguments, key));
    for field in 0..arguments.fields {
        body.push_str(&format!(r#","field{field}":{{"S":""#));
        push_letters(&mut body, arguments.field_bytes, draws);
        body.push_str("\"}");
    }
    body.push_str("}}");
    ("PutItem", body.into())
}

/// Sets one field, as YCSB does with `writeallfields=false`.
fn update(arguments: &Arguments, key: u64, draws: &mut XorShift) -> (&'static str, Bytes) {
    let field = draws.next() % arguments.fields.max(1);
    let mut body = format!(
        r#"{{"TableName":"{}","Key":{{"pk":{{"S":"user{key:020}"}}}},"UpdateExpression":"SET field{field} = :v","ExpressionAttributeValues":{{":v":{{"S":""#,
        table(arguments, key)
    );
    push_letters(&mut body, arguments.field_bytes, draws);
    body.push_str("\"}}}");
    ("UpdateItem", body.into())
}

fn push_letters(body: &mut String, count: u64, draws: &mut XorShift) {
    (0..count).for_each(|_| body.push(char::from(b'a' + (draws.next() % 26) as u8)));
}

/// Keys by Zipf's law, as Gray et al. draw them (SIGMOD 1994) and YCSB after them, scattered over the keys so that
/// popular ones are not neighbours; or all alike.
struct Zipf {
    keys: u64,
    exponent: f64,
    zeta: f64,
    eta: f64,
}

impl Zipf {
    fn new(keys: u64, exponent: f64) -> Self {
        let zeta = |count: u64| (1..=count).map(|rank| (rank as f64).powf(-exponent)).sum::<f64>();
        let of_all = zeta(keys);
        let eta = (1.0 - (2.0 / keys as f64).powf(1.0 - exponent)) / (1.0 - zeta(2) / of_all);
        Self { keys, exponent, zeta: of_all, eta }
    }

    fn key(&self, draws: &mut XorShift) -> u64 {
        if self.exponent == 0.0 {
            return draws.next() % self.keys;
        }
        let even = (draws.next() >> 11) as f64 / (1_u64 << 53) as f64;
        let rank = if even * self.zeta < 1.0 {
            0
        } else if even * self.zeta < 1.0 + 0.5_f64.powf(self.exponent) {
            1
        } else {
            let place = (self.eta * even - self.eta + 1.0).powf(1.0 / (1.0 - self.exponent));
            (self.keys as f64 * place) as u64
        };
        // A number without a divisor in common with any usual count of keys scatters without collisions.
        rank.wrapping_mul(2_147_483_647) % self.keys
    }
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
