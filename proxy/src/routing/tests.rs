//! Routing against MemDS servers over real sockets.

use ::routing::{KeyRange, Member, MemberKind, RouteVersion};
use dynamodb::operation::EncodedItem;
use dynamodb::table::{Billing, KeyAttribute, KeySchema, KeyType, ProvisionedThroughput};
use dynamodb::value::{AttributeValue, Item};
use futures_util::FutureExt as _;
use tokio::net::TcpListener;
use units::{NodeId, PartitionId, TableId, Term, Zone};
use wire::method::{PushRoutes, PushTables};
use wire::proto::routing as proto;
use wire::transport::{Connection, ConnectionConfig};

use super::*;

mod constant_work;
mod gray_servers;

const DEADLINE: Duration = Duration::from_secs(10);
/// For what must fail: long enough for a round, short enough for a test.
const SHORT: Duration = Duration::from_millis(400);

#[tokio::test]
async fn a_miss_waits_for_the_first_of_two_servers() {
    let stage = Stage::start().await;
    stage.first.knows(&table("orders", 1), &[route(1)]).await;
    // The other server answers nothing: it is not there.
    let routing = stage.routing([stage.first.address(), unused_address().await]);

    let table = known_table(&routing).await;
    let found = routing.route(&table, &key(), Looked::No, DEADLINE).await.unwrap();

    assert_eq!(*found, route(1));
    stage.stop(routing).await;
}

#[tokio::test]
async fn a_request_on_an_unknown_table_waits_once_for_table_and_route() {
    let stage = Stage::start().await;
    stage.first.knows(&table("orders", 1), &[route(1)]).await;
    stage.second.knows(&table("orders", 1), &[route(1)]).await;
    let routing = stage.routing([stage.first.address(), stage.second.address()]);

    let (table, looked) = routing.table("orders", clue, DEADLINE).await.unwrap();
    assert_eq!(looked, Looked::Yes(Some(Arc::new(route(1)))));
    // Nobody is left who could be asked.
    stage.servers_end();
    until(|| !routing.is_connected()).await;

    assert_eq!(*routing.route(&table, &key(), looked, SHORT).await.unwrap(), route(1));
    stage.stop(routing).await;
}

#[tokio::test]
async fn a_server_that_knows_the_table_but_not_the_route_is_outdone_by_one_that_does() {
    let stage = Stage::start().await;
    stage.first.knows(&table("orders", 1), &[]).await;
    stage.second.knows(&table("orders", 1), &[route(1)]).await;
    let routing = stage.routing([stage.first.address(), stage.second.address()]);

    let (_, looked) = routing.table("orders", clue, DEADLINE).await.unwrap();

    assert_eq!(looked, Looked::Yes(Some(Arc::new(route(1)))));
    stage.stop(routing).await;
}

#[tokio::test]
async fn a_server_that_denies_a_table_is_outdone_by_one_that_knows_it() {
    let stage = Stage::start().await;
    stage.first.push_tables(&[], true, 1).await;
    stage.second.knows(&table("orders", 1), &[route(1)]).await;
    let routing = stage.routing([stage.first.address(), stage.second.address()]);
    for _ in 0..20 {
        let (table, looked) = routing.table("orders", clue, DEADLINE).await.unwrap();
        assert_eq!(*routing.route(&table, &key(), looked, DEADLINE).await.unwrap(), route(1));
        let _flushed = routing.flush();
        assert_eq!(*routing.route(&table, &key(), Looked::No, DEADLINE).await.unwrap(), route(1));
        let _flushed = routing.flush();
    }
    stage.stop(routing).await;
}

#[tokio::test]
async fn what_is_cached_outlives_an_outage_of_every_server() {
    let stage = Stage::start().await;
    stage.first.knows(&table("orders", 1), &[route(1)]).await;
    let routing = stage.routing([stage.first.address(), stage.second.address()]);
    let table = known_table(&routing).await;
    routing.route(&table, &key(), Looked::No, DEADLINE).await.unwrap();

    stage.servers_end();

    let table = routing.table("orders", clue, SHORT).await.map(first).unwrap();
    assert_eq!(*routing.route(&table, &key(), Looked::No, SHORT).await.unwrap(), route(1));
    assert_eq!(routing.table("unknown", clue, SHORT).await.map(first), Err(RoutingError::Unavailable));
    stage.stop(routing).await;
}

#[tokio::test]
async fn a_flush_forgets_tables_and_routes_and_says_how_many() {
    let stage = Stage::start().await;
    stage.first.knows(&table("orders", 1), &[route(1)]).await;
    let routing = stage.routing([stage.first.address(), stage.second.address()]);
    let table = known_table(&routing).await;
    routing.route(&table, &key(), Looked::No, DEADLINE).await.unwrap();

    assert_eq!(routing.flush(), Flushed { tables: 1, routes: 1, warm: 0 });

    assert_eq!(routing.flush(), Flushed::default());
    stage.servers_end();
    assert_eq!(routing.table("orders", clue, SHORT).await.map(first), Err(RoutingError::Unavailable));
    stage.stop(routing).await;
}

#[tokio::test]
async fn only_a_server_with_the_whole_catalog_denies_a_table() {
    let stage = Stage::start().await;
    let routing = stage.routing([stage.first.address(), stage.second.address()]);
    assert_eq!(routing.table("orders", clue, SHORT).await.map(first), Err(RoutingError::Unavailable));

    stage.first.push_tables(&[], true, 1).await;

    assert_eq!(routing.table("orders", clue, DEADLINE).await.map(first), Err(RoutingError::NotFound));
    stage.stop(routing).await;
}

#[tokio::test]
async fn the_lookups_of_hits_bring_newer_routes_and_descriptors() {
    let stage = Stage::start().await;
    stage.first.knows(&table("orders", 1), &[route(1)]).await;
    let routing = stage.routing([stage.first.address(), stage.second.address()]);
    let first = known_table(&routing).await;
    assert_eq!(*routing.route(&first, &key(), Looked::No, DEADLINE).await.unwrap(), route(1));

    stage.first.knows(&table("orders", 2), &[route(2)]).await;

    eventually(async || {
        let table = known_table(&routing).await;
        let found = routing.route(&table, &key(), Looked::No, DEADLINE).await.unwrap();
        table.version == 2 && *found == route(2)
    })
    .await;
    stage.stop(routing).await;
}

#[tokio::test]
async fn a_removed_table_is_forgotten() {
    let stage = Stage::start().await;
    stage.first.knows(&table("orders", 1), &[route(1)]).await;
    stage.second.knows(&table("orders", 1), &[route(1)]).await;
    let routing = stage.routing([stage.first.address(), stage.second.address()]);
    let table = known_table(&routing).await;
    routing.route(&table, &key(), Looked::No, DEADLINE).await.unwrap();

    stage.first.push_tables(&[], true, 9).await;
    stage.second.push_tables(&[], true, 9).await;

    eventually(async || {
        routing.route(&table, &key(), Looked::No, DEADLINE).await == Err(RoutingError::NotFound)
    })
    .await;
    assert_eq!(routing.table("orders", clue, DEADLINE).await.map(first), Err(RoutingError::NotFound));
    stage.stop(routing).await;
}

#[tokio::test]
async fn a_table_that_is_gone_is_forgotten_by_its_name_too() {
    let stage = Stage::start().await;
    stage.first.push_tables(&[], true, 1).await;
    stage.second.push_tables(&[], true, 1).await;
    let routing = stage.routing([stage.first.address(), stage.second.address()]);
    let orders = table("orders", 1);
    for refreshed in [false, true] {
        routing.learn_table(orders.clone());
        // From now on the number leads to another name.
        routing.learn_table(table("others", 1));
        let answered = if refreshed {
            routing.refresh(&orders, &key(), &Arc::new(route(1)), DEADLINE).await
        } else {
            routing.route(&orders, &key(), Looked::No, DEADLINE).await
        };
        assert_eq!(answered, Err(RoutingError::NotFound));
        assert_eq!(routing.table("orders", clue, DEADLINE).await.map(first), Err(RoutingError::NotFound));
    }
    stage.stop(routing).await;
}

#[tokio::test]
async fn a_redirects_route_is_checked_and_keeps_no_share_of_its_message() {
    let stage = Stage::start().await;
    let routing = stage.routing([stage.first.address(), stage.second.address()]);
    let message = Bytes::from(vec![0xff; 100]);
    let range = KeyRange { start: Bytes::new(), end: Some(message.slice(..40)) };
    let given = Route { range, ..route(2) };
    let known = || routing.inner.routes.lookup(TableId::new(7), &key()).unwrap();

    routing.learn(given.clone());

    assert_eq!(*known(), given);
    assert_ne!(known().range.end.as_ref().unwrap().as_ptr(), message.as_ptr());
    routing.learn(Route { members: vec![], leader: None, ..route(3) });
    assert_eq!(*known(), given);
    stage.stop(routing).await;
}

#[tokio::test]
async fn an_older_redirect_changes_nothing_and_a_newer_one_is_taken() {
    let stage = Stage::start().await;
    stage.first.knows(&table("orders", 1), &[route(5)]).await;
    let routing = stage.routing([stage.first.address(), stage.second.address()]);
    let table = known_table(&routing).await;
    routing.route(&table, &key(), Looked::No, DEADLINE).await.unwrap();

    routing.learn(route(4));
    assert_eq!(*routing.route(&table, &key(), Looked::No, DEADLINE).await.unwrap(), route(5));
    routing.learn(route(6));
    assert_eq!(*routing.route(&table, &key(), Looked::No, DEADLINE).await.unwrap(), route(6));
    stage.stop(routing).await;
}

#[tokio::test]
async fn a_refresh_waits_for_a_server_that_knows_better() {
    let stage = Stage::start().await;
    stage.first.knows(&table("orders", 1), &[route(1)]).await;
    stage.second.knows(&table("orders", 1), &[]).await;
    let routing = stage.routing([stage.first.address(), stage.second.address()]);
    let table = known_table(&routing).await;
    assert_eq!(*routing.route(&table, &key(), Looked::No, DEADLINE).await.unwrap(), route(1));

    // Only the second server has heard of the change; the first answers with what is known.
    stage.second.push_routes(&[route(2)]).await;

    let tried = Arc::new(route(1));
    assert_eq!(*routing.refresh(&table, &key(), &tried, DEADLINE).await.unwrap(), route(2));
    stage.stop(routing).await;
}

#[tokio::test]
async fn a_refresh_does_not_wait_where_the_cache_outdoes_what_was_tried() {
    let stage = Stage::start().await;
    let routing = stage.routing([stage.first.address(), stage.second.address()]);
    let (tried, table) = (Arc::new(route(1)), table("orders", 1));
    routing.learn(route(2));

    let refreshed = routing.refresh(&table, &key(), &tried, DEADLINE).now_or_never();

    assert_eq!(refreshed, Some(Ok(Arc::new(route(2)))));
    stage.stop(routing).await;
}

#[tokio::test]
async fn a_refresh_that_nobody_answers_leaves_what_was_tried() {
    let stage = Stage::start().await;
    let routing = stage.routing([unused_address().await, unused_address().await]);
    let (tried, table) = (Arc::new(route(1)), table("orders", 1));

    assert_eq!(routing.refresh(&table, &key(), &tried, SHORT).await, Ok(tried));
    stage.stop(routing).await;
}

#[tokio::test]
async fn a_table_that_is_being_created_is_looked_up_again() {
    let stage = Stage::start().await;
    let creating = TableDescriptor { status: TableStatus::Creating, ..table("orders", 1) };
    stage.first.knows(&creating, &[]).await;
    let routing = stage.routing([stage.first.address(), stage.second.address()]);
    assert_eq!(known_table(&routing).await.status, TableStatus::Creating);

    stage.first.knows(&table("orders", 2), &[]).await;

    assert_eq!(known_table(&routing).await.status, TableStatus::Active);
    stage.stop(routing).await;
}

#[tokio::test]
async fn the_nodes_addresses_follow_their_latest_start() {
    let stage = Stage::start().await;
    let routing = stage.routing([stage.first.address(), stage.second.address()]);
    stage.first.push_node("127.0.0.1:1", 1).await;
    let mut nodes = routing.watch_nodes();
    nodes.wait_for(|nodes| !nodes.is_empty()).await.unwrap();

    stage.second.push_node("127.0.0.1:2", 2).await;
    // A route to an unknown node has the addresses asked for at once.
    let elsewhere = Member { node: NodeId::new(99), zone: Zone::new(0), kind: MemberKind::Storage };
    routing.learn(Route { members: vec![elsewhere], leader: None, ..route(1) });

    nodes.wait_for(|nodes| nodes.get(NodeId::new(1)).unwrap().address == "127.0.0.1:2").await.unwrap();
    stage.stop(routing).await;
}

#[tokio::test]
async fn the_nodes_of_one_server_do_not_wait_for_another() {
    let stage = Stage::start().await;
    stage.first.push_node("127.0.0.1:1", 1).await;
    // It accepts connections, and says nothing on them.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let memds = vec![silent.local_addr().unwrap().to_string(), stage.first.address()];
    let config = RoutingConfig { memds, cached_routes: 1, warm_routes_bytes: 0 };
    let inner = Inner::new(&config, Patience::default());
    let mut nodes = inner.nodes.subscribe();

    tokio::select! {
        biased;
        known = nodes.wait_for(|nodes| !nodes.is_empty()) => assert!(known.is_ok()),
        () = node_refresh::ask(&inner) => panic!("it waited for every server"),
    }
    let routing = stage.routing([stage.first.address(), stage.second.address()]);
    stage.stop(routing).await;
}

/// Two MemDS servers.
struct Stage {
    first: Memds,
    second: Memds,
    shutdown: CancellationToken,
}

struct Memds {
    handle: memds::Handle,
    connection: Connection,
    shutdown: CancellationToken,
}

impl Stage {
    async fn start() -> Self {
        Self { first: Memds::start().await, second: Memds::start().await, shutdown: CancellationToken::new() }
    }

    fn routing(&self, memds: [String; 2]) -> Routing {
        self.routing_over(memds.into(), 100)
    }

    fn routing_over(&self, memds: Vec<String>, cached_routes: usize) -> Routing {
        // A busy machine must not make lookups expire: these tests count them.
        let patience = Patience { background: DEADLINE, silent: DEADLINE, waited: DEADLINE };
        let config = RoutingConfig { memds, cached_routes, warm_routes_bytes: 1 << 20 };
        Routing::open_with(&config, patience, self.shutdown.clone())
    }

    fn servers_end(&self) {
        self.first.shutdown.cancel();
        self.second.shutdown.cancel();
    }

    async fn stop(self, routing: Routing) {
        self.servers_end();
        self.shutdown.cancel();
        routing.closed().await;
        drop(routing);
        for server in [self.first, self.second] {
            drop(server.connection);
            server.handle.join().await.unwrap();
        }
    }
}

impl Memds {
    async fn start() -> Self {
        let shutdown = CancellationToken::new();
        let config = memds::Config::new("127.0.0.1:0".parse().unwrap());
        let handle = memds::start(config, shutdown.clone()).await.unwrap();
        let connection = Connection::open(&handle.address().to_string(), ConnectionConfig::named("test"));
        Self { handle, connection, shutdown }
    }

    fn address(&self) -> String {
        self.handle.address().to_string()
    }

    async fn knows(&self, table: &TableDescriptor, routes: &[Route]) {
        self.push_tables(std::slice::from_ref(table), true, table.version).await;
        self.push_routes(routes).await;
    }

    async fn push_tables(&self, tables: &[TableDescriptor], complete: bool, sequence: u64) {
        let tables = tables.iter().map(|table| serde_json::to_vec(table).unwrap().into()).collect();
        let push = proto::PushTables { tables, removed: vec![], complete, term: 1, sequence };
        self.connection.call::<PushTables>(&push, DEADLINE).await.unwrap();
    }

    async fn push_routes(&self, routes: &[Route]) {
        let push =
            proto::PushRoutes { routes: routes.iter().map(Into::into).collect(), ..Default::default() };
        self.connection.call::<PushRoutes>(&push, DEADLINE).await.unwrap();
    }

    async fn push_node(&self, address: &str, incarnation: u64) {
        let node = Some(proto::Node { id: 1, zone: 0, address: address.into(), incarnation });
        let push = proto::PushRoutes { node, ..Default::default() };
        self.connection.call::<PushRoutes>(&push, DEADLINE).await.unwrap();
    }
}

async fn until(condition: impl Fn() -> bool) {
    eventually(async || condition()).await;
}

/// Looks again and again, for a while.
async fn eventually(condition: impl AsyncFn() -> bool) {
    let met = async {
        while !condition().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, met).await.expect("in time");
}

/// An address that nobody listens on: taken, and given back.
async fn unused_address() -> String {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string()
}

fn first<A, B>((first, _): (A, B)) -> A {
    first
}

async fn known_table(routing: &Routing) -> Arc<TableDescriptor> {
    routing.table("orders", clue, DEADLINE).await.map(first).unwrap()
}

/// What a request says of [`key`] before its table is known.
fn clue() -> KeyClue {
    let id = AttributeValue::S("some key".into());
    KeyClue::Attributes(EncodedItem::encode(&Item::from([("id".into(), id)])))
}

fn key() -> Bytes {
    let KeyClue::Attributes(attributes) = clue() else { unreachable!("it is made of attributes") };
    table("orders", 1).keys.routing_key(attributes.view(), 0).unwrap().0
}

fn route(term: u64) -> Route {
    Route {
        table: TableId::new(7),
        partition: PartitionId::new(1),
        range: KeyRange::default(),
        members: vec![Member { node: NodeId::new(1), zone: Zone::new(0), kind: MemberKind::Storage }],
        leader: Some(NodeId::new(1)),
        version: RouteVersion { configuration: 1, term: Term::new(term) },
    }
}

fn table(name: &str, version: u64) -> TableDescriptor {
    TableDescriptor {
        id: 7,
        name: name.into(),
        uuid: "00000000-0000-4000-8000-000000000000".into(),
        arn: format!("arn:aws:dynamodb:us-east-1:000000000000:table/{name}"),
        version,
        status: TableStatus::Active,
        keys: KeySchema { partition: KeyAttribute { name: "id".into(), kind: KeyType::S }, sort: None },
        attribute_definitions: vec![],
        billing: Billing::Provisioned(ProvisionedThroughput { read: 1, write: 1, ..Default::default() }),
        created_at_ms: 0,
        hash_seed: 0,
        deletion_protection: false,
        table_class: None,
        tags: vec![],
        partitions: 1,
        item_count: 0,
        size_bytes: 0,
        quotas: None,
    }
}
