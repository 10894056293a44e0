//! What storage nodes push to a MemDS server.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use routing::Route;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use units::{NodeId, PartitionId};
use wire::method::{Method, Nodes, PushRoutes};
use wire::proto::routing as proto;
use wire::transport::{Failure, Incoming, Responder, Service};

use super::fleet::{Fleet, PATIENCE};
use crate::{LeaderMove, StorageLimits};

const LOOK_EVERY: Duration = Duration::from_millis(5);

#[tokio::test(flavor = "multi_thread")]
async fn moved_leaderships_are_pushed_by_every_member_in_few_messages_that_say_how_long_they_waited() {
    let memds = Memds::start().await;
    let fleet = Fleet::start_beside(3, StorageLimits::default(), true, vec![memds.address.clone()]).await;
    let giver = NodeId::new(1);
    let partitions: Vec<_> = (100..160).map(|number| PartitionId::new(3 * number)).collect();
    for node in fleet.running() {
        fleet.assign_all(node, &partitions, false).await;
    }
    for partition in &partitions {
        assert_eq!(fleet.leader_of(*partition).await, giver);
        memds.until_heard_by_all(*partition, giver).await;
    }
    let before = memds.heard.lock().len();

    let wanted = LeaderMove { to: Some(2), within_ms: 300, ..LeaderMove::default() };
    let report = fleet.leaderships(giver).move_away(&wanted).await.unwrap();

    assert!(report.moved.len() >= 60, "{report:?}");
    for moved in &report.moved {
        memds.until_heard_by_all(PartitionId::new(moved.partition), NodeId::new(moved.to)).await;
    }
    let heard = memds.heard.lock().split_off(before);
    let changes = heard.iter().filter(|push| !push.complete);
    let routes: usize = changes.clone().map(|push| push.routes.len()).sum();
    // Each of the three members tells each move at least once; messages gather some of them.
    assert!(routes >= 3 * 60, "{routes} routes");
    assert!(changes.clone().count() < routes / 2, "{} messages for {routes} routes", heard.len());
    for push in changes.filter(|push| !push.routes.is_empty()) {
        assert!(push.waited_us > 0, "a change has waited, if only to gather");
    }
    fleet.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_was_lost_is_made_good_and_has_waited_since_the_change() {
    let memds = Memds::start().await;
    let fleet = Fleet::start_beside(1, StorageLimits::default(), true, vec![memds.address.clone()]).await;
    let node = NodeId::new(1);
    memds.until_heard_by(node, super::fleet::PARTITION, node).await;
    let before = memds.heard.lock().len();
    memds.to_refuse.store(2, Ordering::SeqCst);
    let partition = PartitionId::new(300);

    fleet.assign_all(node, &[partition], false).await;
    memds.until_heard_by(node, partition, node).await;

    assert_eq!(memds.to_refuse.load(Ordering::SeqCst), 0);
    let heard = memds.heard.lock().split_off(before);
    let first = heard.iter().find(|push| !push.routes.is_empty()).unwrap();
    // The least that is drawn of pauses of 500 ms and of a second.
    assert!(first.waited_us >= 750_000, "{} us", first.waited_us);
    assert!(first.complete || first.routes.len() == 1, "what did not arrive, and no more: {first:?}");
    fleet.shutdown().await;
}

/// A MemDS server that remembers every push that it acknowledged.
struct Memds {
    address: String,
    heard: Arc<Mutex<Vec<proto::PushRoutes>>>,
    to_refuse: Arc<AtomicU64>,
    _stop: DropGuard,
}

struct Recorder {
    heard: Arc<Mutex<Vec<proto::PushRoutes>>>,
    to_refuse: Arc<AtomicU64>,
}

impl Service for Recorder {
    fn call(&self, request: Incoming, responder: Responder) {
        match request.method {
            PushRoutes::NUMBER => {
                let less = |left: u64| left.checked_sub(1);
                if self.to_refuse.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok() {
                    return responder.fail(Failure::Unavailable);
                }
                self.heard.lock().push(request.decode::<PushRoutes>().unwrap());
                responder.answer::<PushRoutes>(&proto::Acknowledged {});
            }
            Nodes::NUMBER => responder.answer::<Nodes>(&proto::NodesResponse::default()),
            _ => responder.fail(Failure::UnknownMethod),
        }
    }
}

impl Memds {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (heard, to_refuse) = (Arc::default(), Arc::default());
        let stop = CancellationToken::new();
        let service = Recorder { heard: Arc::clone(&heard), to_refuse: Arc::clone(&to_refuse) };
        tokio::spawn(wire::transport::serve(listener, Arc::new(service), stop.clone()));
        Self { address, heard, to_refuse, _stop: stop.drop_guard() }
    }

    /// Waits until each of three nodes has said that `leader` leads, as the newest that it said.
    async fn until_heard_by_all(&self, partition: PartitionId, leader: NodeId) {
        for node in [1, 2, 3].map(NodeId::new) {
            self.until_heard_by(node, partition, leader).await;
        }
    }

    async fn until_heard_by(&self, node: NodeId, partition: PartitionId, leader: NodeId) {
        let heard = async {
            while self.newest(node, partition).and_then(|route| route.leader) != Some(leader) {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, heard).await;
        assert!(waited.is_ok(), "{node} did not say that {leader} leads {partition}");
    }

    fn newest(&self, node: NodeId, partition: PartitionId) -> Option<Route> {
        let heard = self.heard.lock();
        let of_node = |push: &&proto::PushRoutes| push.node.as_ref().is_some_and(|it| it.id == node.get());
        let mut pushes = heard.iter().rev().filter(of_node);
        let found = pushes
            .find_map(|push| push.routes.iter().find(|route| route.partition == partition.get()).cloned());
        found.map(|route| Route::try_from(route).unwrap())
    }
}
