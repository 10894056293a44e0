//! How many lookups a second one core of a MemDS server answers, over real streams.
//!
//! A server with a million routes runs in a process of its own on one core; clients on another send batches over
//! several streams, some at a time on each. Printed: lookups divided by the CPU time that the server's process
//! took (all its threads, with the kernel's part), and the rate by the clock, which the clients' core bounds.
//!
//! The last line is of proxies that know nothing: each lookup names the table and gives the request's attributes,
//! of which the server makes the key; the answer has the descriptor, too.
//!
//! `cargo run --profile measured -p memds --example lookups [-- SECONDS [BATCH…]]`, on Linux with `taskset`.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use dynamodb::item_builder::ItemBuilder;
use tokio_util::sync::CancellationToken;
use wire::clock;
use wire::method::{LookUp, PushRoutes, PushTables};
use wire::proto::routing as proto;
use wire::transport::{Connection, ConnectionConfig};

/// As in `weir`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const TABLES: u64 = 1_000;
const PARTITIONS: u64 = 1_000;
const NODES: u64 = 300;
const PUSHED_AT_ONCE: u64 = 1_000;
const STREAMS: u64 = 8;
/// Batches of one stream that are unanswered at a time, as a proxy bounds them.
const UNANSWERED: u64 = 4;
/// Batches that each client has ready, of keys drawn evenly.
const READY: u64 = 64;
const USUAL_BATCHES: [u64; 4] = [1, 16, 64, 256];
const COLD_BATCH: u64 = 64;
/// What MemDS does not read of a descriptor.
const OTHER_DESCRIPTOR_BYTES: usize = 500;
const USUAL_SECONDS: u64 = 5;
const WARM_UP: Duration = Duration::from_secs(1);
const DEADLINE: Duration = Duration::from_secs(10);
const SERVER_CORE: &str = "0";
const CLIENT_CORE: &str = "1";

fn main() {
    let mut arguments = std::env::args().skip(1).peekable();
    if arguments.next_if(|argument| argument == "serve").is_some() {
        return runtime().block_on(serve());
    }
    let mut numbers = arguments.map(|argument| argument.parse().expect("arguments are numbers"));
    let seconds = Duration::from_secs(numbers.next().unwrap_or(USUAL_SECONDS));
    let mut batches: Vec<u64> = numbers.collect();
    if batches.is_empty() {
        batches.extend(USUAL_BATCHES);
    }
    pin_this_process();
    let server = Server::start();
    runtime().block_on(measure(&server, seconds, &batches));
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime starts")
}

/// The server's process: says where it listens, and ends with its standard input.
async fn serve() {
    let shutdown = CancellationToken::new();
    let config = memds::Config::new("127.0.0.1:0".parse().expect("an address"));
    let server = memds::start(config, shutdown.clone()).await.expect("it starts");
    println!("{}", server.address());
    let input = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
    let _ended = input.await;
    shutdown.cancel();
    server.join().await.expect("it stops");
}

struct Server {
    process: Child,
    address: String,
}

impl Server {
    fn start() -> Self {
        let executable = std::env::current_exe().expect("this program has a path");
        let mut process = Command::new("taskset")
            .args(["-c", SERVER_CORE])
            .arg(executable)
            .arg("serve")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("taskset is installed");
        let mut address = String::new();
        let output = process.stdout.take().expect("it is piped");
        BufReader::new(output).read_line(&mut address).expect("the server says where it listens");
        Self { process, address: address.trim().to_owned() }
    }

    /// CPU time of all its threads.
    fn cpu_time(&self) -> Duration {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.process.id())).expect("it lives");
        let nanos = threads
            .flatten()
            .filter_map(|thread| std::fs::read_to_string(thread.path().join("schedstat")).ok())
            .filter_map(|line| line.split(' ').next()?.parse::<u64>().ok())
            .sum();
        Duration::from_nanos(nanos)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ended = self.process.wait();
    }
}

fn pin_this_process() {
    let pid = std::process::id().to_string();
    let pinned = Command::new("taskset").args(["-acp", CLIENT_CORE, &pid]).stdout(Stdio::null()).status();
    assert!(pinned.is_ok_and(|status| status.success()), "taskset pins this process");
}

async fn measure(server: &Server, seconds: Duration, batches: &[u64]) {
    let connections: Vec<_> = (0..STREAMS)
        .map(|stream| Connection::open(&server.address, ConnectionConfig::named(&format!("client {stream}"))))
        .collect();
    let begun = clock::now();
    fill(&connections[0]).await;
    println!(
        "{} routes of {TABLES} tables pushed in {:.1} s; {STREAMS} streams, {UNANSWERED} batches each",
        TABLES * PARTITIONS,
        clock::now().since(begun).as_secs_f64()
    );
    println!("{:>12} {:>22} {:>20} {:>16}", "batch", "lookups/s and core", "ns of CPU each", "lookups/s");
    let known = batches.iter().map(|batch| (*batch, Knows::Table));
    for (batch, knows) in known.chain([(COLD_BATCH, Knows::Nothing)]) {
        let served = Arc::new(AtomicU64::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let clients: Vec<_> = connections
            .iter()
            .flat_map(|connection| (0..UNANSWERED).map(move |_| connection.clone()))
            .zip(1..)
            .map(|(connection, seed)| {
                let lookups = Lookups { size: batch, knows, numbers: Numbers::from_seed(seed) };
                tokio::spawn(ask(connection, lookups, Arc::clone(&served), Arc::clone(&stop)))
            })
            .collect();
        tokio::time::sleep(WARM_UP).await;
        let before = (served.load(Ordering::Relaxed), server.cpu_time(), clock::now());
        tokio::time::sleep(seconds).await;
        let lookups = (served.load(Ordering::Relaxed) - before.0) as f64;
        let cpu = (server.cpu_time() - before.1).as_secs_f64();
        let wall = clock::now().since(before.2).as_secs_f64();
        stop.store(true, Ordering::Relaxed);
        for client in clients {
            client.await.expect("a client ends");
        }
        let (per_core, each, rate) = (lookups / cpu, cpu / lookups * 1e9, lookups / wall);
        let batch = if knows == Knows::Nothing { format!("{batch} cold") } else { batch.to_string() };
        println!("{batch:>12} {per_core:>22.0} {each:>20.0} {rate:>16.0}");
    }
}

/// What an asker knows of the table.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Knows {
    Table,
    Nothing,
}

/// What one client asks.
struct Lookups {
    size: u64,
    knows: Knows,
    numbers: Numbers,
}

/// Sends one batch after the other.
async fn ask(connection: Connection, mut lookups: Lookups, served: Arc<AtomicU64>, stop: Arc<AtomicBool>) {
    let ready: Vec<_> = (0..READY).map(|_| lookups.batch()).collect();
    for batch in ready.iter().cycle() {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let answers = connection.call::<LookUp>(batch, DEADLINE).await.expect("it answers").answers;
        let complete = answers.iter().all(|answer| {
            answer.start.is_some() && answer.table.is_some() == (lookups.knows == Knows::Nothing)
        });
        assert!(complete && answers.len() as u64 == lookups.size);
        served.fetch_add(lookups.size, Ordering::Relaxed);
    }
}

impl Lookups {
    fn batch(&mut self) -> proto::LookupBatch {
        proto::LookupBatch { lookups: (0..self.size).map(|_| self.lookup()).collect() }
    }

    fn lookup(&mut self) -> proto::LookupEntry {
        let table = 1 + self.numbers.next() % TABLES;
        match self.knows {
            Knows::Table => {
                // A key as `dynamodb::key` makes it: a hash, and a partition key of some bytes.
                let mut key = [self.numbers.next().to_be_bytes(), self.numbers.next().to_be_bytes()].concat();
                key.extend_from_slice(b"\0\x0ccustomer-123");
                proto::LookupEntry {
                    table,
                    known_table_version: 1,
                    key: Some(key.into()),
                    ..Default::default()
                }
            }
            Knows::Nothing => {
                let mut item = ItemBuilder::new();
                for name in ["id", "order"] {
                    item.name(name).expect("a short name");
                    item.string(&format!("customer-{}", self.numbers.next()));
                }
                let item = item.finish().expect("two names");
                proto::LookupEntry {
                    table_name: format!("table-{table}"),
                    attributes: Some(item.0),
                    ..Default::default()
                }
            }
        }
    }
}

/// xorshift: even enough for keys.
struct Numbers(u64);

impl Numbers {
    const fn from_seed(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

async fn fill(connection: &Connection) {
    let tables = (1..=TABLES).map(|number| {
        // With what a usual descriptor has besides, about as long.
        let key = r#"{"partition":{"name":"id","kind":"S"},"sort":{"name":"order","kind":"S"}}"#;
        let rest = "x".repeat(OTHER_DESCRIPTOR_BYTES);
        let head = format!(r#""id":{number},"name":"table-{number}","version":1,"hash_seed":1"#);
        format!(r#"{{{head},"keys":{key},"rest":"{rest}"}}"#).into()
    });
    let push = proto::PushTables { tables: tables.collect(), complete: true, term: 1, ..Default::default() };
    connection.call::<PushTables>(&push, DEADLINE).await.expect("the catalog is taken in");
    let routes: Vec<_> =
        (1..=TABLES).flat_map(|table| (0..PARTITIONS).map(move |place| route(table, place))).collect();
    for some in routes.chunks(PUSHED_AT_ONCE as usize) {
        let push = proto::PushRoutes { routes: some.to_vec(), ..Default::default() };
        connection.call::<PushRoutes>(&push, DEADLINE).await.expect("the routes are taken in");
    }
}

fn route(table: u64, place: u64) -> proto::Route {
    let start = |place: u64| {
        let start = u128::from(place) * (u128::MAX / u128::from(PARTITIONS));
        bytes::Bytes::copy_from_slice(&start.to_be_bytes())
    };
    let partition = table * PARTITIONS + place;
    let node = |zone| 1 + (partition * 7 + zone) % NODES;
    proto::Route {
        table,
        partition,
        start: if place == 0 { bytes::Bytes::new() } else { start(place) },
        end: (place + 1 < PARTITIONS).then(|| start(place + 1)),
        members: (0..3)
            .map(|zone| proto::Member { node: node(zone), zone: zone as u32, log_only: false })
            .collect(),
        leader: Some(node(0)),
        configuration: 1,
        term: 3,
    }
}
