//! What it costs two MemDS servers to agree again after one missed a thousand pushes, beside a full copy.
//!
//! `cargo run --profile measured -p memds --example anti_entropy [-- ROUTES MISSED]`

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use memds::{Config, Handle, PeerStatus};
use tokio_util::sync::CancellationToken;
use wire::clock;
use wire::method::{PushRoutes, PushTables};
use wire::proto::routing as proto;
use wire::transport::{Connection, ConnectionConfig};

/// As in `weir`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PARTITIONS: u64 = 1_000;
const NODES: u64 = 300;
const DEADLINE: Duration = Duration::from_secs(10);
/// Long enough that a round ends before the next begins.
const COMPARE_EVERY_MS: u64 = 2_000;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse().expect("a number"));
    let routes: u64 = arguments.next().unwrap_or(1_000_000);
    let missed: u64 = arguments.next().unwrap_or(1_000);
    let shutdown = CancellationToken::new();

    let one = start(Vec::new(), &shutdown).await;
    let pushing = Connection::open(&one.address().to_string(), ConnectionConfig::named("example"));
    push_catalog(&pushing, routes / PARTITIONS).await;
    let all: Vec<u64> = (0..routes).collect();
    push(&pushing, &all, 1).await;

    let begun = clock::now();
    let other = start(vec![one.address().to_string()], &shutdown).await;
    while !other.is_ready() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let took = clock::now().since(begun);
    let copy = peer(&other);
    let copied = copy.last_bytes.expect("it was filled");
    println!("full copy of {routes} routes: {copied} bytes, {took:?} until ready");
    let idle = next_round(&other).await;
    println!("when both agree: {} bytes", idle.last_bytes.expect("it ended"));

    // Spread evenly: the dearest to find.
    let step = routes / missed;
    let some: Vec<u64> = (0..missed).map(|number| number * step + number * 7919 % step).collect();
    push(&pushing, &some, 2).await;
    let (mut rounds, mut bytes) = (0, 0);
    while root(&one) != root(&other) {
        bytes += next_round(&other).await.last_bytes.expect("it ended");
        rounds += 1;
    }
    println!(
        "{missed} missed: {bytes} bytes in {rounds} rounds, {:.2} % of a full copy, {} each",
        bytes as f64 / copied as f64 * 100.0,
        bytes / missed
    );
    shutdown.cancel();
    for server in [one, other] {
        server.join().await.expect("it stops");
    }
}

async fn start(peers: Vec<String>, shutdown: &CancellationToken) -> Handle {
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let config = Config { peers, compare_interval_ms: COMPARE_EVERY_MS, ..Config::new(listen) };
    memds::start(config, shutdown.clone()).await.expect("loopback has ports")
}

fn root(server: &Handle) -> String {
    server.inspector().status().root
}

fn peer(server: &Handle) -> PeerStatus {
    server.inspector().status().peers.remove(0)
}

/// The next round that comes to its end.
async fn next_round(server: &Handle) -> PeerStatus {
    let before = peer(server).comparisons;
    loop {
        let now = peer(server);
        if now.comparisons > before {
            return now;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn push_catalog(connection: &Connection, tables: u64) {
    let tables = (1..=tables)
        .map(|number| Bytes::from(format!(r#"{{"id":{number},"name":"table-{number}","version":1}}"#)));
    let push = proto::PushTables { tables: tables.collect(), complete: true, term: 1, ..Default::default() };
    connection.call::<PushTables>(&push, DEADLINE).await.expect("the catalog is taken in");
}

async fn push(connection: &Connection, numbers: &[u64], term: u64) {
    for some in numbers.chunks(1_000) {
        let routes = some.iter().map(|number| route(*number, term)).collect();
        let push = proto::PushRoutes { routes, ..Default::default() };
        connection.call::<PushRoutes>(&push, DEADLINE).await.expect("the routes are taken in");
    }
}

fn route(number: u64, term: u64) -> proto::Route {
    let (table, place) = (1 + number / PARTITIONS, number % PARTITIONS);
    let start = |place: u64| {
        let start = u128::from(place) * (u128::MAX / u128::from(PARTITIONS));
        if place == 0 { Bytes::new() } else { Bytes::copy_from_slice(&start.to_be_bytes()) }
    };
    let node = |zone: u32| 1 + (number * 7 + u64::from(zone)) % NODES;
    proto::Route {
        table,
        partition: number + 1,
        start: start(place),
        end: (place + 1 < PARTITIONS).then(|| start(place + 1)),
        members: (0..3).map(|zone| proto::Member { node: node(zone), zone, log_only: false }).collect(),
        leader: Some(node(0)),
        configuration: 1,
        term,
    }
}
