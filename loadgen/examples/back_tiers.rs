//! Everything behind a proxy, in one process: MemDS and GAC servers as they are, a control plane that knows one key,
//! and a storage node that answers for any partition without keeping anything.
//!
//! So a proxy can be measured with more tables and partitions than one machine can store. Prints where its tiers
//! listen, as JSON, once every route is there; ends with its standard input. `loadgen/bench/run` drives it.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use clap::Parser;
use dynamodb::item_builder::ItemBuilder;
use dynamodb::table::{
    AttributeDefinition, Billing, KeyAttribute, KeySchema, KeyType, ProvisionedThroughput, TableDescriptor,
    TableStatus,
};
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use wire::method::{Credential, Execute, Method, PushRoutes, PushTables, Tables};
use wire::proto::control::table_answer::Answer;
use wire::proto::control::table_command::Command;
use wire::proto::control::{CredentialResponse, TableAnswer};
use wire::proto::storage::execute_request::Operation;
use wire::proto::storage::execute_response::Outcome;
use wire::proto::{routing, storage};
use wire::transport::{Connection, ConnectionConfig, Failure, Incoming, Responder, Service, serve};

/// As in `weir`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const NODE: u64 = 1;
const MEMDS_SERVERS: usize = 2;
const PUSHED_AT_ONCE: usize = 1_000;
const DEADLINE: Duration = Duration::from_secs(30);
/// Of each table, per second: nothing is refused.
const UNITS: u64 = 10_000_000;

/// Serves any number of tables and partitions.
#[derive(Debug, Clone, Parser)]
struct Arguments {
    /// Tables, named `<prefix>1`, `<prefix>2` …; a single one has the prefix as its name.
    #[arg(long, default_value_t = 1)]
    tables: u64,
    /// Partitions of each.
    #[arg(long, default_value_t = 100)]
    partitions: u64,
    #[arg(long, default_value = "usertable")]
    prefix: String,
    #[arg(long)]
    access_key: String,
    #[arg(long)]
    secret_key: String,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 1)]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let shutdown = CancellationToken::new();
    let storage = listen(StorageNode { item: item()? }, &shutdown).await?;
    let control = listen(ControlPlane { arguments: arguments.clone() }, &shutdown).await?;
    let gac = gac_server::Config::new(([127, 0, 0, 1], 0).into(), Vec::new());
    let gac = gac_server::start(gac, shutdown.clone()).await?;
    let mut memds = Vec::new();
    for _ in 0..MEMDS_SERVERS {
        let server = memds::start(memds::Config::new(([127, 0, 0, 1], 0).into()), shutdown.clone()).await?;
        fill(&server.address().to_string(), &arguments, &storage).await?;
        memds.push(server);
    }
    let servers: Vec<String> = memds.iter().map(|server| server.address().to_string()).collect();
    println!("{}", json!({ "control": [control], "gac": [gac.address().to_string()], "memds": servers }));
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    shutdown.cancel();
    Ok(())
}

async fn listen(service: impl Service, shutdown: &CancellationToken) -> anyhow::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    tokio::spawn(serve(listener, Arc::new(service), shutdown.clone()));
    Ok(address)
}

/// Has one key, whose principal may do anything, and describes the tables.
struct ControlPlane {
    arguments: Arguments,
}

impl Service for ControlPlane {
    fn call(&self, request: Incoming, responder: Responder) {
        match request.method {
            Credential::NUMBER => {
                let asked = request.decode::<Credential>().map(|asked| asked.access_key);
                responder.answer::<Credential>(&CredentialResponse {
                    found: asked.is_ok_and(|asked| asked == self.arguments.access_key),
                    secret_key: self.arguments.secret_key.clone(),
                    principal: "benchmark".into(),
                    active: true,
                });
            }
            Tables::NUMBER => {
                match request.decode::<Tables>().ok().and_then(|asked| self.described(asked.command?)) {
                    Some(table) => {
                        responder.answer::<Tables>(&TableAnswer { answer: Some(Answer::Table(table)) })
                    }
                    None => responder.fail(Failure::Unavailable),
                }
            }
            _ => responder.fail(Failure::Unavailable),
        }
    }
}

impl ControlPlane {
    fn described(&self, command: Command) -> Option<Bytes> {
        let Command::Describe(name) = command else { return None };
        let number = name.strip_prefix(&self.arguments.prefix)?.parse().unwrap_or(1);
        serde_json::to_vec(&descriptor(&self.arguments, number)).map(Bytes::from).ok()
    }
}

/// Finds the same item under every key, and forgets what is written.
struct StorageNode {
    item: storage::Checked,
}

impl Service for StorageNode {
    fn call(&self, request: Incoming, responder: Responder) {
        let outcome = match request.decode::<Execute>().map(|request| request.operation) {
            Ok(Some(Operation::Get(_))) => Outcome::Item(storage::Item { found: Some(self.item.clone()) }),
            Ok(Some(Operation::Put(put))) => {
                Outcome::Written(storage::Written { new_size: put.item.len() as u64, ..Default::default() })
            }
            _ => Outcome::Unavailable(storage::Unavailable { reason: "not here".into(), retry_after_ms: 0 }),
        };
        responder
            .answer::<Execute>(&storage::ExecuteResponse { outcome: Some(outcome), ..Default::default() });
    }
}

/// What `closed_loop` writes, and so would read back.
fn item() -> anyhow::Result<storage::Checked> {
    let mut item = ItemBuilder::new();
    let fields = (0..9).map(|field| (format!("field{field}"), "x".repeat(78)));
    for (name, value) in fields.chain([("pk".to_owned(), format!("user{:020}", 1))]) {
        item.name(&name)?;
        item.string(&value);
    }
    let item = item.finish().context("an item of ten attributes")?.0;
    Ok(storage::Checked { crc32c: crc_fast::crc32_iscsi(&item), item })
}

/// Tells a MemDS server of the storage node, the tables and every route.
async fn fill(address: &str, arguments: &Arguments, storage: &str) -> anyhow::Result<()> {
    let connection = Connection::open(address, ConnectionConfig::named("back_tiers"));
    let table = |number| serde_json::to_vec(&descriptor(arguments, number)).map(Bytes::from);
    let tables = (1..=arguments.tables).map(table).collect::<Result<_, _>>()?;
    let push = routing::PushTables { tables, complete: true, term: 1, sequence: 1, ..Default::default() };
    connection.call::<PushTables>(&push, DEADLINE).await?;
    let node = routing::Node { id: NODE, zone: 0, address: storage.to_owned(), incarnation: 1 };
    let count = arguments.tables * arguments.partitions;
    for first in (0..count).step_by(PUSHED_AT_ONCE) {
        let until = count.min(first + PUSHED_AT_ONCE as u64);
        let routes = (first..until).map(|number| route(arguments.partitions, number)).collect();
        let push = routing::PushRoutes { node: Some(node.clone()), routes, ..Default::default() };
        connection.call::<PushRoutes>(&push, DEADLINE).await?;
    }
    Ok(())
}

/// The `number`-th route over all tables: equal parts of the space of hashes, which keys begin with.
fn route(partitions: u64, number: u64) -> routing::Route {
    let (table, place) = (number / partitions, number % partitions);
    let bound = |place: u64| {
        let first = u128::from(place) * (u128::MAX / u128::from(partitions));
        Bytes::copy_from_slice(&first.to_be_bytes())
    };
    routing::Route {
        table: table + 1,
        partition: number + 1,
        start: if place == 0 { Bytes::new() } else { bound(place) },
        end: (place + 1 < partitions).then(|| bound(place + 1)),
        members: vec![routing::Member { node: NODE, zone: 0, log_only: false }],
        leader: Some(NODE),
        configuration: 1,
        term: 1,
    }
}

fn descriptor(arguments: &Arguments, number: u64) -> TableDescriptor {
    let name = match arguments.tables {
        1 => arguments.prefix.clone(),
        _ => format!("{}{number}", arguments.prefix),
    };
    TableDescriptor {
        id: number,
        uuid: "00000000-0000-4000-8000-000000000000".into(),
        arn: format!("arn:aws:dynamodb:us-east-1:000000000000:table/{name}"),
        name,
        version: 1,
        status: TableStatus::Active,
        keys: KeySchema { partition: KeyAttribute { name: "pk".into(), kind: KeyType::S }, sort: None },
        attribute_definitions: vec![AttributeDefinition { name: "pk".into(), kind: KeyType::S }],
        billing: Billing::Provisioned(ProvisionedThroughput {
            read: UNITS,
            write: UNITS,
            ..Default::default()
        }),
        created_at_ms: 0,
        hash_seed: number,
        deletion_protection: false,
        table_class: None,
        tags: Vec::new(),
        partitions: u32::try_from(arguments.partitions).unwrap_or(u32::MAX),
        item_count: 0,
        size_bytes: 0,
        quotas: None,
    }
}
