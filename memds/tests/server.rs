//! A MemDS server over real sockets.

#![expect(clippy::unwrap_used, reason = "clippy allows it in test functions, not in their helpers")]

use std::time::Duration;

use memds::{Config, Handle};
use routing::RouteEntry;
use tokio_util::sync::CancellationToken;
use units::TableId;
use wire::method::{LookUp, Nodes, PushRoutes, PushTables};
use wire::proto::routing::{
    LookupAnswer, LookupAnswers, LookupBatch, LookupEntry, LookupResult, Member, Node, NodesRequest,
    PushRoutes as RoutesPush, PushTables as TablesPush, Route,
};
use wire::transport::{CallError, Connection, ConnectionConfig, Failure};

const DEADLINE: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_lookup_finds_the_partition_that_holds_the_key() {
    let server = Server::start().await;
    server.push_tables(vec![descriptor(7, "orders", 3)], 1).await;
    server.push_routes(vec![route(1, b"", Some(b"m"), 1), route(2, b"m", None, 1)]).await;

    let low = server.lookup(by_name("orders", b"a")).await;
    let high = server.lookup(by_name("orders", b"m")).await;
    let first = server.lookup(by_name("orders", b"")).await;

    let partition = |answer| routed(answer).unwrap().partition.get();
    assert_eq!((partition(&low), partition(&high)), (1, 2));
    assert_eq!(partition(&first), 1, "a scan starts at the empty key");
    assert!(low.table.is_some());
    server.stop().await;
}

#[tokio::test]
async fn the_descriptor_comes_back_only_if_it_is_newer_than_known() {
    let server = Server::start().await;
    server.push_tables(vec![descriptor(7, "orders", 3)], 1).await;

    let known = |version| LookupEntry { table: 7, known_table_version: version, ..Default::default() };

    assert!(server.lookup(known(2)).await.table.is_some());
    assert!(server.lookup(known(3)).await.table.is_none());
    server.stop().await;
}

#[tokio::test]
async fn a_server_that_has_just_started_denies_no_table() {
    let server = Server::start().await;
    assert!(!server.handle.is_ready());
    assert_eq!(server.lookup(by_name("orders", b"a")).await.result(), LookupResult::NotReady);

    server.push_tables(vec![], 1).await;

    assert!(server.handle.is_ready());
    assert_eq!(server.lookup(by_name("orders", b"a")).await.result(), LookupResult::NoTable);
    server.stop().await;
}

#[tokio::test]
async fn an_older_route_never_comes_back() {
    let server = Server::start().await;
    server.push_tables(vec![descriptor(7, "orders", 3)], 1).await;
    server.push_routes(vec![route(1, b"", None, 5)]).await;
    server.push_routes(vec![route(1, b"", None, 4)]).await;

    let answer = server.lookup(by_name("orders", b"a")).await;
    assert_eq!(routed(&answer).unwrap().version.term.get(), 5);
    server.stop().await;
}

#[tokio::test]
async fn a_nodes_latest_start_says_where_it_listens() {
    let server = Server::start().await;
    server.push_node("127.0.0.1:2", 2).await;
    server.push_node("127.0.0.1:1", 1).await;

    let nodes = server.connection.call::<Nodes>(&NodesRequest {}, DEADLINE).await.unwrap().nodes;

    assert_eq!(nodes.iter().map(|node| node.address.as_str()).collect::<Vec<_>>(), ["127.0.0.1:2"]);
    server.stop().await;
}

#[tokio::test]
async fn a_malformed_route_is_left_out_and_the_rest_taken() {
    let server = Server::start().await;
    server.push_tables(vec![descriptor(7, "orders", 3)], 1).await;
    let leaderless = Route { members: vec![], ..route(9, b"", Some(b"m"), 9) };

    server.push_routes(vec![leaderless, route(2, b"m", None, 1)]).await;

    assert!(routed(&server.lookup(by_name("orders", b"a")).await).is_none());
    assert!(routed(&server.lookup(by_name("orders", b"z")).await).is_some());
    server.stop().await;
}

#[tokio::test]
async fn a_batch_of_lookups_is_one_message_and_each_lookup_counts() {
    let server = Server::start().await;
    server.push_tables(vec![descriptor(7, "orders", 3)], 1).await;
    server.push_routes(vec![route(1, b"", Some(b"m"), 1), route(2, b"m", None, 4)]).await;
    let known = |key: &'static [u8]| LookupEntry { table: 7, key: Some(key.into()), ..Default::default() };
    let lookups =
        vec![known(b"a"), known(b"z"), LookupEntry { table_name: "other".into(), ..Default::default() }];

    let answers = server.look_up(lookups).await.unwrap().answers;

    let starts: Vec<_> = answers.iter().map(|answer| answer.start.as_deref()).collect();
    assert_eq!(starts, [Some(&b""[..]), Some(&b"m"[..]), None]);
    assert_eq!(answers[2].result(), LookupResult::NoTable);
    assert_eq!(server.handle.inspector().status().lookups, 3);
    server.stop().await;
}

#[tokio::test]
async fn a_batch_beyond_its_bound_is_malformed() {
    let server = Server::start().await;
    let lookups = |count| vec![LookupEntry::default(); count];
    assert_eq!(server.look_up(lookups(512)).await.unwrap().answers.len(), 512);
    assert_eq!(server.look_up(lookups(513)).await, Err(CallError::Failed(Failure::Malformed)));
    server.stop().await;
}

#[tokio::test]
async fn lookups_are_answered_while_a_large_push_is_taken_in() {
    let server = Server::start().await;
    server.push_tables(vec![descriptor(7, "orders", 3)], 1).await;
    let start = |partition: u64| bytes::Bytes::copy_from_slice(&partition.to_be_bytes());
    let part = |partition| Route {
        start: start(partition),
        end: Some(start(partition + 1)),
        ..route(partition, b"", None, 1)
    };
    let push = server.push_routes((1..=4_000).map(part).collect());
    let mut lookups = 0;
    let looking_up = async {
        loop {
            server.lookup(by_name("orders", b"a")).await;
            lookups += 1;
        }
    };

    // One thread serves, pushes and asks.
    tokio::select! {
        () = push => {}
        () = looking_up => {}
    }

    assert!(lookups >= 3, "{lookups} lookups while 4000 routes were taken in");
    assert_eq!(server.handle.inspector().status().routes, 4_000);
    server.stop().await;
}

#[tokio::test]
async fn an_inspector_shows_what_was_pushed_and_served_and_outlives_the_server() {
    let server = Server::start().await;
    server.push_tables(vec![descriptor(7, "orders", 3)], 5).await;
    server.push_routes(vec![route(1, b"", Some(b"m"), 1), route(2, b"m", None, 4)]).await;
    server.push_node("127.0.0.1:1", 1).await;
    let node = Some(Node { id: 1, zone: 0, address: "127.0.0.1:1".into(), incarnation: 1 });
    let changes = RoutesPush { node, waited_us: 20_000, ..Default::default() };
    server.connection.call::<PushRoutes>(&changes, DEADLINE).await.unwrap();
    server.lookup(by_name("orders", b"a")).await;
    let inspector = server.handle.inspector();
    server.stop().await;

    let status = inspector.status();
    assert_eq!((status.tables, status.routes, status.lookups), (1, 2, 1));
    assert_eq!((status.ready, status.catalog, status.root.len()), (true, (1, 5), 32));
    assert!(status.catalog_push_seconds.is_some() && status.lookups_per_second > 0.0);
    let node = &status.nodes[0];
    assert_eq!((node.node, node.change_lag_ms, node.longest_change_lag_ms), (1, Some(20.0), Some(20.0)));
    assert!(node.push_seconds <= node.complete_push_seconds);

    let table = inspector.routes("orders").unwrap();
    assert_eq!((table.table, table.version), (7, 3));
    let [first, second] = table.partitions.try_into().unwrap();
    assert_eq!((first.start, first.end, first.term), (String::new(), Some("6d".to_owned()), 1));
    assert_eq!((second.start, second.end, second.term), ("6d".to_owned(), None, 4));
    assert_eq!((second.members, second.leader), (vec![(1, 0, false)], Some(1)));
    assert_eq!(inspector.routes("other"), None);
}

struct Server {
    handle: Handle,
    connection: Connection,
    shutdown: CancellationToken,
}

impl Server {
    async fn start() -> Self {
        let shutdown = CancellationToken::new();
        let config = Config::new("127.0.0.1:0".parse().unwrap());
        let handle = memds::start(config, shutdown.clone()).await.unwrap();
        let connection = Connection::open(&handle.address().to_string(), ConnectionConfig::named("test"));
        Self { handle, connection, shutdown }
    }

    async fn lookup(&self, lookup: LookupEntry) -> LookupAnswer {
        self.look_up(vec![lookup]).await.unwrap().answers.remove(0)
    }

    async fn look_up(&self, lookups: Vec<LookupEntry>) -> Result<LookupAnswers, CallError> {
        self.connection.call::<LookUp>(&LookupBatch { lookups }, DEADLINE).await
    }

    async fn push_tables(&self, tables: Vec<bytes::Bytes>, sequence: u64) {
        let push = TablesPush { tables, removed: vec![], complete: true, term: 1, sequence };
        self.connection.call::<PushTables>(&push, DEADLINE).await.unwrap();
    }

    async fn push_routes(&self, routes: Vec<Route>) {
        let push = RoutesPush { node: None, routes, complete: false, waited_us: 0 };
        self.connection.call::<PushRoutes>(&push, DEADLINE).await.unwrap();
    }

    async fn push_node(&self, address: &str, incarnation: u64) {
        let node = Some(Node { id: 1, zone: 0, address: address.into(), incarnation });
        let push = RoutesPush { node, routes: vec![], complete: true, waited_us: 0 };
        self.connection.call::<PushRoutes>(&push, DEADLINE).await.unwrap();
    }

    async fn stop(self) {
        drop(self.connection);
        self.shutdown.cancel();
        self.handle.join().await.unwrap();
    }
}

/// The route in the answer.
fn routed(answer: &LookupAnswer) -> Option<routing::Route> {
    let entry = RouteEntry { start: answer.start.as_deref()?, value: &answer.entry };
    entry.route(TableId::new(answer.table_id))
}

fn by_name(name: &str, key: &'static [u8]) -> LookupEntry {
    LookupEntry { table_name: name.into(), key: Some(key.into()), ..Default::default() }
}

/// The part of a descriptor that MemDS reads; the rest is the proxies'.
fn descriptor(id: u64, name: &str, version: u64) -> bytes::Bytes {
    format!(r#"{{"id":{id},"name":"{name}","version":{version},"uuid":"u"}}"#).into()
}

fn route(partition: u64, start: &'static [u8], end: Option<&'static [u8]>, term: u64) -> Route {
    Route {
        table: 7,
        partition,
        start: start.into(),
        end: end.map(Into::into),
        members: vec![Member { node: 1, zone: 0, log_only: false }],
        leader: Some(1),
        configuration: 1,
        term,
    }
}
