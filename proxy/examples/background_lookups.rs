//! What the two background lookups of each request cost a proxy, in CPU: the acceptance figure is at most
//! 1 µs per request.
//!
//! Two real MemDS servers run in a process of their own. Requests on cached routes are routed at several
//! rates, and again by a proxy that has no MemDS servers to ask; the difference in CPU time, as the kernel
//! accounts it over all threads of this process, is the lookups'.
//!
//! `cargo run --profile measured -p proxy --example background_lookups`

use std::io::Write as _;
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use dynamodb::table::{
    Billing, KeyAttribute, KeySchema, KeyType, ProvisionedThroughput, TableDescriptor, TableStatus,
};
use loadgen::process_cpu::cpu_time;
use proxy::routing::{Looked, Route, Routing, RoutingConfig};
use routing::{KeyRange, Member, MemberKind, RouteVersion};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use units::{NodeId, PartitionId, TableId, Term, Zone};
use wire::method::{PushRoutes, PushTables};
use wire::proto::routing as proto;
use wire::transport::{Connection, ConnectionConfig};

/// Requests per second.
const RATES: [u32; 3] = [20_000, 50_000, 100_000];
const RUN: Duration = Duration::from_secs(5);
/// Requests come in bursts, one per tick.
const TICK: Duration = Duration::from_millis(1);
const PARTITIONS: u8 = 200;
const DEADLINE: Duration = Duration::from_secs(5);
/// The argument of the process that runs the servers.
const SERVE: &str = "serve";

#[tokio::main]
async fn main() {
    if std::env::args().nth(1).as_deref() == Some(SERVE) {
        return serve().await;
    }
    let mut servers = Servers::start().await;
    println!("requests/s  CPU/request  without lookups  the lookups'  lookups served/request");
    for rate in RATES {
        let alone = run(Vec::new(), rate).await;
        let before = servers.lookups().await;
        let asking = run(servers.addresses.clone(), rate).await;
        let served = servers.lookups().await - before;
        println!(
            "{rate:>10}  {:>8.3} µs  {:>12.3} µs  {:>9.3} µs  {:>22.4}",
            asking.micros(),
            alone.micros(),
            asking.micros() - alone.micros(),
            served as f64 / asking.requests as f64,
        );
    }
    servers.stop().await;
}

/// One run's outcome.
struct Run {
    requests: u64,
    cpu: Duration,
}

impl Run {
    fn micros(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.requests as f64
    }
}

/// Routes requests on cached routes at this rate, on the runtime's workers, as a proxy does.
async fn run(memds: Vec<String>, rate: u32) -> Run {
    tokio::spawn(route_requests(memds, rate)).await.expect("routing does not panic")
}

async fn route_requests(memds: Vec<String>, rate: u32) -> Run {
    let shutdown = CancellationToken::new();
    let config = RoutingConfig { memds: memds.clone(), cached_routes: 65_536, warm_routes_bytes: 1 << 20 };
    let routing = Routing::open(&config, shutdown.clone());
    let table = table();
    (0..PARTITIONS).for_each(|partition| routing.learn(route(partition)));
    while !memds.is_empty() && !routing.is_connected() {
        tokio::time::sleep(TICK).await;
    }
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let per_tick = u64::from(rate) * TICK.as_millis() as u64 / 1000;
    let before = cpu_time(std::process::id());
    let mut requests = 0;
    for _ in 0..RUN.as_millis() / TICK.as_millis() {
        ticks.tick().await;
        for _ in 0..per_tick {
            // As a request does: it makes its key, and drops it and the route in the end.
            let key = key(requests);
            let route = routing.route(&table, &key, Looked::No, DEADLINE).await;
            assert!(route.is_ok(), "{route:?}");
            requests += 1;
        }
    }
    let cpu = cpu_time(std::process::id()) - before;
    // The last batches linger for some milliseconds.
    tokio::time::sleep(DEADLINE / 50).await;
    shutdown.cancel();
    routing.closed().await;
    Run { requests, cpu }
}

/// The process that runs the servers.
struct Servers {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    addresses: Vec<String>,
}

impl Servers {
    async fn start() -> Self {
        let program = std::env::current_exe().expect("the program has a path");
        let mut child = Command::new(program)
            .arg(SERVE)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the servers' process starts");
        let input = child.stdin.take().expect("stdin is piped");
        let mut output = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
        let line = output.next_line().await.expect("its output is text").expect("it says its addresses");
        let addresses = line.split(' ').map(str::to_owned).collect();
        Self { child, input, output, addresses }
    }

    /// How many they have served.
    async fn lookups(&mut self) -> u64 {
        self.input.write_all(b"?\n").await.expect("the servers run");
        let line = self.output.next_line().await.expect("its output is text").expect("it answers");
        line.parse().expect("it says a number")
    }

    async fn stop(mut self) {
        drop(self.input);
        let status = self.child.wait().await.expect("it ends");
        assert!(status.success(), "{status}");
    }
}

/// Runs two servers until stdin ends; answers each line with the lookups served so far.
async fn serve() {
    let shutdown = CancellationToken::new();
    let mut handles = Vec::new();
    for _ in 0..2 {
        let config = memds::Config::new(([127, 0, 0, 1], 0).into());
        let handle = memds::start(config, shutdown.clone()).await.expect("a port is free");
        fill(&handle.address().to_string()).await;
        handles.push(handle);
    }
    let addresses: Vec<String> = handles.iter().map(|handle| handle.address().to_string()).collect();
    say(&addresses.join(" "));
    while tokio::task::spawn_blocking(read_line).await.expect("reading does not panic") {
        let served: u64 = handles.iter().map(|handle| handle.inspector().status().lookups).sum();
        say(&served.to_string());
    }
    shutdown.cancel();
    for handle in handles {
        handle.join().await.expect("it served until now");
    }
}

/// Waits for a line; false: there are no more.
fn read_line() -> bool {
    std::io::stdin().read_line(&mut String::new()).is_ok_and(|bytes| bytes > 0)
}

fn say(line: &str) {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{line}").and_then(|()| output.flush()).expect("somebody reads");
}

/// Tells a server of the table and its partitions.
async fn fill(address: &str) {
    let connection = Connection::open(address, ConnectionConfig::named("background_lookups"));
    let tables = vec![serde_json::to_vec(&table()).expect("a descriptor has a form").into()];
    let catalog = proto::PushTables { tables, removed: vec![], complete: true, term: 1, sequence: 1 };
    connection.call::<PushTables>(&catalog, DEADLINE).await.expect("the server takes tables");
    let routes = (0..PARTITIONS).map(|partition| (&route(partition)).into()).collect();
    let push = proto::PushRoutes { routes, ..Default::default() };
    connection.call::<PushRoutes>(&push, DEADLINE).await.expect("the server takes routes");
}

fn key(number: u64) -> Bytes {
    let partition = (number % u64::from(PARTITIONS)) as u8;
    // As long as a usual storage key: hash, length, a partition key of 16 bytes.
    [&[partition][..], &number.to_be_bytes(), &[7; 25]].concat().into()
}

fn route(partition: u8) -> Route {
    let bound = |first: u8| Bytes::from(vec![first]);
    let member =
        |node, zone| Member { node: NodeId::new(node), zone: Zone::new(zone), kind: MemberKind::Storage };
    Route {
        table: TableId::new(7),
        partition: PartitionId::new(u64::from(partition) + 1),
        range: KeyRange {
            start: if partition == 0 { Bytes::new() } else { bound(partition) },
            end: (partition + 1 < PARTITIONS).then(|| bound(partition + 1)),
        },
        members: vec![member(1, 0), member(2, 1), member(3, 2)],
        leader: Some(NodeId::new(1 + u64::from(partition % 3))),
        version: RouteVersion { configuration: 1, term: Term::new(3) },
    }
}

fn table() -> TableDescriptor {
    TableDescriptor {
        id: 7,
        name: "orders".into(),
        uuid: "00000000-0000-4000-8000-000000000000".into(),
        arn: "arn:aws:dynamodb:us-east-1:000000000000:table/orders".into(),
        version: 1,
        status: TableStatus::Active,
        keys: KeySchema { partition: KeyAttribute { name: "id".into(), kind: KeyType::S }, sort: None },
        attribute_definitions: vec![],
        billing: Billing::Provisioned(ProvisionedThroughput { read: 1, write: 1, ..Default::default() }),
        created_at_ms: 0,
        hash_seed: 0,
        deletion_protection: false,
        table_class: None,
        tags: vec![],
        partitions: u32::from(PARTITIONS),
        item_count: 0,
        size_bytes: 0,
        quotas: None,
    }
}
