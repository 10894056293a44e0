//! What choosing a replica, timing its answer and being ready to hedge cost a read at the proxy: strongly
//! consistent reads, which do none of it, beside eventually consistent ones, over one stream to a service that
//! answers at once. Client and service share a thread; its CPU time is measured.
//!
//! `cargo bench -p storage-adapter --bench client_reads`

#[path = "../../crates/admission/benches/cpu_time/mod.rs"]
mod cpu_time;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cpu_time::CpuTime;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dynamodb::operation::{Get, Operation, StorageKey};
use futures_util::future::join_all;
use routing::{KeyRange, Member, MemberKind, Route, RouteVersion};
use storage_adapter::{NodeAddress, PartitionStore, ReplicatedStore};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use units::{NodeId, PartitionId, TableId, Term, Zone};
use wire::method::Execute;
use wire::proto::storage::{ExecuteResponse, Item, execute_response::Outcome};
use wire::transport::{Incoming, Responder, Service, serve};

/// Reads under way at once.
const READS: usize = 64;
const DEADLINE: Duration = Duration::from_secs(5);

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(CpuTime);
    targets = reads
}
criterion_main!(benches);

fn reads(criterion: &mut Criterion<CpuTime>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("it starts");
    let (store, route) = runtime.block_on(connected());
    let mut group = criterion.benchmark_group("client_reads");
    group.throughput(Throughput::Elements(READS as u64));
    for (name, consistent) in [("strong", true), ("eventual", false)] {
        let get = Operation::Get(Get { key: StorageKey(Bytes::from_static(b"some key")), consistent });
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let reads = (0..READS).map(|_| store.execute(&route, &get, DEADLINE));
                let answers = runtime.block_on(join_all(reads));
                assert!(answers.iter().all(Result::is_ok));
            });
        });
    }
    group.finish();
}

/// Answers every read at once.
struct Nothing;

impl Service for Nothing {
    fn call(&self, _request: Incoming, responder: Responder) {
        let outcome = Some(Outcome::Item(Item { found: None }));
        responder.answer::<Execute>(&ExecuteResponse { outcome, applied: 1 });
    }
}

/// A client of three nodes with one partition.
async fn connected() -> (ReplicatedStore, Route) {
    let store = ReplicatedStore::new("bench", Zone::new(1));
    for node in 1..=3 {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has ports");
        let address = listener.local_addr().expect("it listens").to_string();
        tokio::spawn(serve(listener, Arc::new(Nothing), CancellationToken::new()));
        store.learn_nodes([NodeAddress { node: NodeId::new(node), address }]);
    }
    let member = |node: u8| Member {
        node: NodeId::new(node.into()),
        zone: Zone::new(node),
        kind: MemberKind::Storage,
    };
    let route = Route {
        table: TableId::new(1),
        partition: PartitionId::new(1),
        range: KeyRange::default(),
        members: (1..=3).map(member).collect(),
        leader: Some(NodeId::new(1)),
        version: RouteVersion { configuration: 1, term: Term::new(1) },
    };
    (store, route)
}
