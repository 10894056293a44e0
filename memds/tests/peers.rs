//! Two MemDS servers over loopback: one fills the other, and each finds what the other missed.

use std::net::SocketAddr;
use std::time::Duration;

use memds::{Config, Handle, PeerStatus, start};
use routing::{KeyRange, Member, MemberKind, Route, RouteEntry, RouteVersion};
use tokio_util::sync::CancellationToken;
use units::{NodeId, PartitionId, TableId, Term, Zone};
use wire::method::{LookUp, Nodes, PushRoutes, PushTables};
use wire::proto::routing as proto;
use wire::transport::{CallError, Connection, ConnectionConfig};

const DEADLINE: Duration = Duration::from_secs(10);

struct Server {
    handle: Handle,
    connection: Connection,
}

async fn server(peers: Vec<String>, shutdown: &CancellationToken) -> Server {
    server_comparing(100, peers, shutdown).await
}

async fn server_comparing(every_ms: u64, peers: Vec<String>, shutdown: &CancellationToken) -> Server {
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let config = Config { peers, compare_interval_ms: every_ms, ..Config::new(listen) };
    let handle = start(config, shutdown.clone()).await.expect("loopback has ports");
    let address = handle.address().to_string();
    let connection = Connection::open(&address, ConnectionConfig::named("test"));
    Server { handle, connection }
}

impl Server {
    fn address(&self) -> String {
        self.handle.address().to_string()
    }

    async fn push_route(&self, route: &Route) {
        self.push_routes(std::slice::from_ref(route)).await;
    }

    async fn push_routes(&self, routes: &[Route]) {
        let push =
            proto::PushRoutes { routes: routes.iter().map(Into::into).collect(), ..Default::default() };
        self.connection.call::<PushRoutes>(&push, DEADLINE).await.expect("it is taken in");
    }

    async fn push_catalog(&self, tables: &[u64]) {
        let tables = tables
            .iter()
            .map(|number| format!(r#"{{"id":{number},"name":"table-{number}","version":1}}"#).into())
            .collect();
        let push = proto::PushTables { tables, complete: true, term: 3, sequence: 7, ..Default::default() };
        self.connection.call::<PushTables>(&push, DEADLINE).await.expect("it is taken in");
    }

    async fn push_node(&self, id: u64) {
        let node = proto::Node { id, zone: 0, address: format!("127.0.0.1:{id}"), incarnation: 1 };
        let push = proto::PushRoutes { node: Some(node), ..Default::default() };
        self.connection.call::<PushRoutes>(&push, DEADLINE).await.expect("it is taken in");
    }

    async fn lookup(&self, table: u64) -> Result<proto::LookupAnswer, CallError> {
        let lookups = vec![proto::LookupEntry { table, key: Some("k".into()), ..Default::default() }];
        let answers = self.connection.call::<LookUp>(&proto::LookupBatch { lookups }, DEADLINE).await?;
        Ok(answers.answers.into_iter().next().expect("each lookup is answered"))
    }

    async fn term(&self, table: u64) -> Result<Option<u64>, CallError> {
        let answer = self.lookup(table).await?;
        let entry = answer.start.as_deref().map(|start| RouteEntry { start, value: &answer.entry });
        let route = entry.map(|entry| entry.route(TableId::new(table)).expect("it is well-formed"));
        Ok(route.map(|route| route.version.term.get()))
    }

    async fn awaits_term(&self, table: u64, term: u64) {
        let waiting = async {
            while self.term(table).await.ok().flatten() != Some(term) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(DEADLINE, waiting).await.expect("the route arrives");
    }

    fn root(&self) -> String {
        self.handle.inspector().status().root
    }

    /// How it agrees with its one peer, after the next round that comes to its end.
    async fn next_round(&self) -> PeerStatus {
        let peer = || self.handle.inspector().status().peers.remove(0);
        let before = peer().comparisons;
        let waiting = async {
            loop {
                let now = peer();
                if now.comparisons > before {
                    return now;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(DEADLINE, waiting).await.expect("rounds go on")
    }

    async fn becomes_ready(&self) {
        let waiting = async {
            while !self.handle.is_ready() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(DEADLINE, waiting).await.expect("it becomes ready");
    }
}

fn route(table: u64, term: u64) -> Route {
    let member = Member { node: NodeId::new(1), zone: Zone::new(0), kind: MemberKind::Storage };
    Route {
        table: TableId::new(table),
        partition: PartitionId::new(table),
        range: KeyRange::default(),
        members: vec![member],
        leader: Some(NodeId::new(1)),
        version: RouteVersion { configuration: 1, term: Term::new(term) },
    }
}

#[tokio::test]
async fn a_server_that_starts_is_filled_by_its_peer_before_it_is_ready() {
    let shutdown = CancellationToken::new();
    let full = server(Vec::new(), &shutdown).await;
    full.push_catalog(&[1, 2, 3]).await;
    full.push_node(9).await;
    for table in 1..=3 {
        full.push_route(&route(table, 4)).await;
    }

    let empty = server(vec![full.address()], &shutdown).await;
    empty.becomes_ready().await;

    for table in 1..=3 {
        assert_eq!(empty.term(table).await, Ok(Some(4)));
    }
    let nodes = empty.connection.call::<Nodes>(&proto::NodesRequest {}, DEADLINE).await.expect("answered");
    assert_eq!(nodes.nodes.iter().map(|node| node.id).collect::<Vec<_>>(), [9]);
    assert_eq!(empty.term(77).await, Ok(None), "what the whole catalog lacks does not exist");
    shutdown.cancel();
}

#[tokio::test]
async fn a_peer_that_has_not_heard_the_catalog_does_not_make_a_server_ready() {
    let shutdown = CancellationToken::new();
    let ignorant = server(Vec::new(), &shutdown).await;
    let other = server(vec![ignorant.address()], &shutdown).await;
    assert_eq!(other.lookup(1).await.map(|answer| answer.result()), Ok(proto::LookupResult::NotReady));
    assert!(!other.handle.is_ready());
    other.push_catalog(&[1]).await;
    other.becomes_ready().await;
    shutdown.cancel();
}

#[tokio::test]
async fn what_one_server_missed_comes_from_the_other_and_the_newer_version_wins() {
    let shutdown = CancellationToken::new();
    let one = server(Vec::new(), &shutdown).await;
    let other = server(vec![one.address()], &shutdown).await;
    for server in [&one, &other] {
        server.push_catalog(&[1, 2, 3]).await;
    }
    one.push_route(&route(1, 1)).await;
    other.push_route(&route(2, 1)).await;
    one.push_route(&route(3, 5)).await;
    other.push_route(&route(3, 6)).await;

    for server in [&one, &other] {
        server.awaits_term(1, 1).await;
        server.awaits_term(2, 1).await;
        server.awaits_term(3, 6).await;
    }
    shutdown.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_server_missed_is_made_good_in_a_round_for_a_fiftieth_of_a_copy() {
    const TABLES: u64 = 20;
    const PARTITIONS: u64 = 1_000;
    /// As a thousand of a million: `examples/anti_entropy.rs` measures those.
    const MISSED: u64 = 20;
    let shutdown = CancellationToken::new();
    let one = server(Vec::new(), &shutdown).await;
    one.push_catalog(&(1..=TABLES).collect::<Vec<_>>()).await;
    for table in 1..=TABLES {
        let routes: Vec<_> = (0..PARTITIONS).map(|place| part(table, place, PARTITIONS, 1)).collect();
        one.push_routes(&routes).await;
    }
    // A server that starts takes a full copy, and compares now and then.
    let other = server_comparing(400, vec![one.address()], &shutdown).await;
    other.becomes_ready().await;
    let copy = other.handle.inspector().status().peers.remove(0);
    assert_eq!(copy.last_repaired, Some(TABLES * PARTITIONS));
    let idle = other.next_round().await;
    assert_eq!(idle.last_repaired, Some(0));

    // As far apart as they can be, which is the dearest to find.
    let step = TABLES * PARTITIONS / MISSED;
    let missed = (0..MISSED).map(|number| number * step + number * 37 % step);
    let missed: Vec<_> =
        missed.map(|number| part(1 + number / PARTITIONS, number % PARTITIONS, PARTITIONS, 2)).collect();
    one.push_routes(&missed).await;
    assert_ne!(one.root(), other.root());
    let mut repair = other.next_round().await;
    let mut rounds = 1;
    let mut bytes = repair.last_bytes.unwrap();
    while one.root() != other.root() {
        repair = other.next_round().await;
        rounds += 1;
        bytes += repair.last_bytes.unwrap();
    }

    let copied = copy.last_bytes.unwrap();
    assert!(rounds <= 2, "{rounds} rounds");
    assert!(bytes * 50 <= copied, "{bytes} of {copied} bytes");
    assert_eq!(repair.repaired - copy.repaired, MISSED, "each travels once");
    shutdown.cancel();
}

/// One of a table's partitions, which share the key space evenly.
fn part(table: u64, place: u64, of: u64, term: u64) -> Route {
    let start = |place: u64| {
        let start = u128::from(place) * (u128::MAX / u128::from(of));
        if place == 0 { bytes::Bytes::new() } else { bytes::Bytes::copy_from_slice(&start.to_be_bytes()) }
    };
    let member = |zone: u8| Member {
        node: NodeId::new(1 + (table + place * 7 + u64::from(zone)) % 300),
        zone: Zone::new(zone),
        kind: MemberKind::Storage,
    };
    Route {
        partition: PartitionId::new(table * of + place),
        range: KeyRange { start: start(place), end: (place + 1 < of).then(|| start(place + 1)) },
        members: (0..3).map(member).collect(),
        leader: Some(member(0).node),
        ..route(table, term)
    }
}
