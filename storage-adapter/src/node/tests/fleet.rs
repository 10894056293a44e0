//! A fleet of storage nodes for tests: one partition on all of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use admission::{CapacityKind, PartitionLevel, Spare};
use dynamodb::operation::{Operation, Outcome};
use routing::{KeyRange, Member, MemberKind, Route, RouteVersion};
use tempfile::TempDir;
use units::{NodeId, PartitionId, TableId, Term, Zone};
use wire::method::Assign;
use wire::proto::control::{AssignRequest, ReplicaAssignment};
use wire::proto::routing::Node;
use wire::transport::{Connection, ConnectionConfig};

use crate::{
    Leaderships, NodeAddress, PartitionStore, ReplicatedStore, StorageConfig, StorageHandle, StorageLimits,
    StorageNode, StoreError,
};

pub(super) const PARTITION: PartitionId = PartitionId::new(7);
const TABLE: TableId = TableId::new(3);

/// How long anything may take: far more than it should, so that a loaded machine fails no test.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// How long one attempt may take.
const ATTEMPT: Duration = Duration::from_secs(2);
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(20);

pub(super) struct Fleet {
    pub(super) client: Arc<ReplicatedStore>,
    nodes: BTreeMap<NodeId, Machine>,
    limits: StorageLimits,
    memds: Vec<String>,
}

struct Machine {
    handle: Option<StorageHandle>,
    address: String,
    folder: Option<TempDir>,
}

impl Fleet {
    /// Nodes 1, 2, …, each in a zone of its own, all hosting the partition.
    pub(super) async fn start(count: u64, limits: StorageLimits, ephemeral: bool) -> Self {
        Self::start_beside(count, limits, ephemeral, Vec::new()).await
    }

    /// The same, beside MemDS servers.
    pub(super) async fn start_beside(
        count: u64,
        limits: StorageLimits,
        ephemeral: bool,
        memds: Vec<String>,
    ) -> Self {
        let mut nodes = BTreeMap::new();
        for number in 1..=count {
            let folder = (!ephemeral).then(|| tempfile::tempdir().unwrap());
            let machine = Machine { handle: None, address: "127.0.0.1:0".to_owned(), folder };
            nodes.insert(NodeId::new(number), machine);
        }
        let mut fleet = Self { client: new_client(), nodes, limits, memds };
        for node in fleet.stopped() {
            fleet.restart(node).await;
        }
        for node in fleet.running() {
            fleet.assign(node, false).await;
        }
        fleet
    }

    /// A client in `node`'s zone, connected to every running node.
    pub(super) async fn client_near(&self, node: NodeId) -> ReplicatedStore {
        let client = ReplicatedStore::new("near", zone(node));
        let known = self.nodes.iter();
        client.learn_nodes(
            known.map(|(node, machine)| NodeAddress { node: *node, address: machine.address.clone() }),
        );
        for node in self.running() {
            let probe = Operation::Get(dynamodb::operation::Get {
                key: dynamodb::operation::StorageKey(bytes::Bytes::new()),
                consistent: true,
            });
            // Any answer means that the connection is up.
            let _any = client.execute(&self.route(node), &probe, PATIENCE).await;
        }
        client
    }

    pub(super) fn running(&self) -> Vec<NodeId> {
        self.nodes.iter().filter(|(_, machine)| machine.handle.is_some()).map(|(node, _)| *node).collect()
    }

    pub(super) fn stopped(&self) -> Vec<NodeId> {
        self.nodes.iter().filter(|(_, machine)| machine.handle.is_none()).map(|(node, _)| *node).collect()
    }

    /// Starts a node that does not run, where it listened before.
    pub(super) async fn restart(&mut self, node: NodeId) {
        self.restart_within(node, self.limits.clone()).await;
    }

    /// The same, with limits of its own.
    pub(super) async fn restart_within(&mut self, node: NodeId, limits: StorageLimits) {
        let machine = self.nodes.get_mut(&node).unwrap();
        let mut config = StorageConfig::ephemeral(node, zone(node));
        config.listen.clone_from(&machine.address);
        config.data_dir = machine.folder.as_ref().map(|folder| folder.path().to_owned());
        config.limits = limits;
        config.memds.clone_from(&self.memds);
        let handle = StorageNode::start(config).await.unwrap();
        machine.address = handle.address.to_string();
        machine.handle = Some(handle);
        self.client.learn_nodes([NodeAddress { node, address: machine.address.clone() }]);
    }

    /// Ends a node as a crash would.
    pub(super) async fn abort(&mut self, node: NodeId) {
        self.nodes.get_mut(&node).unwrap().handle.take().unwrap().abort().await;
    }

    /// Stops a node in good order.
    pub(super) async fn stop(&mut self, node: NodeId) {
        self.nodes.get_mut(&node).unwrap().handle.take().unwrap().shutdown().await;
    }

    /// Deletes all that a stopped node has.
    pub(super) fn wipe(&mut self, node: NodeId) {
        let machine = self.nodes.get_mut(&node).unwrap();
        assert!(machine.handle.is_none());
        machine.folder = Some(tempfile::tempdir().unwrap());
    }

    /// Tells a node to host the partition, as the control plane would.
    pub(super) async fn assign(&self, node: NodeId, established: bool) {
        self.assign_all(node, &[PARTITION], established).await;
    }

    /// Tells a node to host these partitions.
    pub(super) async fn assign_all(&self, node: NodeId, partitions: &[PartitionId], established: bool) {
        let address = &self.nodes[&node].address;
        let connection = Connection::open(address, ConnectionConfig::named("test"));
        let nodes = self.nodes.iter().map(|(id, machine)| Node {
            id: id.get(),
            zone: zone(*id).get().into(),
            address: machine.address.clone(),
            incarnation: 0,
        });
        let members: Vec<Member> = self.members();
        let nodes: Vec<_> = nodes.collect();
        let assignment = |partition: &PartitionId| ReplicaAssignment {
            table: TABLE.get(),
            partition: partition.get(),
            members: crate::wire_form::members(&members),
            nodes: nodes.clone(),
            established,
            ..ReplicaAssignment::default()
        };
        let request = AssignRequest { assign: partitions.iter().map(assignment).collect(), drop: Vec::new() };
        connection.call::<Assign>(&request, PATIENCE).await.unwrap();
    }

    /// Tells a node to drop the partition.
    pub(super) async fn drop_partition(&self, node: NodeId) {
        let address = &self.nodes[&node].address;
        let connection = Connection::open(address, ConnectionConfig::named("test"));
        let request = AssignRequest { assign: Vec::new(), drop: vec![PARTITION.get()] };
        connection.call::<Assign>(&request, PATIENCE).await.unwrap();
    }

    /// Waits until a file of a node exists, or does not.
    pub(super) async fn until_exists(&self, node: NodeId, part: &str, exists: bool) {
        let path = self.nodes[&node].folder.as_ref().unwrap().path().join(part);
        let until = wire::clock::now() + PATIENCE;
        while path.exists() != exists {
            assert!(wire::clock::now() < until, "{} exists: {}", path.display(), !exists);
            tokio::time::sleep(BETWEEN_ATTEMPTS).await;
        }
    }

    /// Overwrites bytes of a stopped node's file.
    pub(super) fn overwrite(&self, node: NodeId, part: &str, bytes: usize) {
        let path = self.nodes[&node].folder.as_ref().unwrap().path().join(part);
        let mut content = std::fs::read(&path).unwrap();
        content[..bytes].fill(0xa5);
        std::fs::write(&path, content).unwrap();
    }

    fn members(&self) -> Vec<Member> {
        let member = |node: &NodeId| Member { node: *node, zone: zone(*node), kind: MemberKind::Storage };
        self.nodes.keys().map(member).collect()
    }

    /// A route that says that `leader` leads.
    pub(super) fn route(&self, leader: NodeId) -> Route {
        Route {
            table: TABLE,
            partition: PARTITION,
            range: KeyRange::default(),
            members: self.members(),
            leader: Some(leader),
            version: RouteVersion { configuration: 0, term: Term::new(0) },
        }
    }

    /// One route per node, each of which says that that node leads.
    pub(super) fn routes(&self) -> Vec<Route> {
        self.nodes.keys().map(|node| self.route(*node)).collect()
    }

    /// Executes on whoever leads, however long it takes to find out.
    pub(super) async fn execute(&self, operation: &Operation) -> Result<Outcome, StoreError> {
        self.execute_on(PARTITION, operation).await
    }

    /// The same, on another partition.
    pub(super) async fn execute_on(
        &self,
        partition: PartitionId,
        operation: &Operation,
    ) -> Result<Outcome, StoreError> {
        let until = wire::clock::now() + PATIENCE;
        let mut last = StoreError::Unknown;
        let mut running = self.running().into_iter().cycle();
        let mut next = running.next().unwrap();
        while wire::clock::now() < until {
            let route = Route { partition, ..self.route(next) };
            match self.client.execute(&route, operation, ATTEMPT).await {
                Ok(outcome) => return Ok(outcome),
                Err(StoreError::Redirect(route)) if self.running().contains(&route.leader.unwrap()) => {
                    next = route.leader.unwrap();
                }
                Err(error) => {
                    last = error;
                    next = running.next().unwrap();
                    tokio::time::sleep(BETWEEN_ATTEMPTS).await;
                }
            }
        }
        Err(last)
    }

    /// What the leader of `partition`, which is `leader`, answers at the first attempt.
    pub(super) async fn execute_once(
        &self,
        leader: NodeId,
        partition: PartitionId,
        operation: &Operation,
    ) -> Result<Outcome, StoreError> {
        let route = Route { partition, ..self.route(leader) };
        self.client.execute(&route, operation, PATIENCE).await
    }

    /// What a replica's bucket of `kind` stands at.
    pub(super) fn level(&self, node: NodeId, kind: CapacityKind) -> PartitionLevel {
        let handle = self.nodes[&node].handle.as_ref().unwrap();
        let hosted = handle.node().shared().directory.get(PARTITION).unwrap();
        hosted.throughput.level(kind, wire::clock::now()).unwrap()
    }

    /// What a node could give to bursts.
    pub(super) fn spare(&self, node: NodeId) -> Spare {
        let handle = self.nodes[&node].handle.as_ref().unwrap();
        handle.node().shared().throughput.spare(wire::clock::now())
    }

    /// Whether a node's replica lacks data.
    pub(super) fn is_refilling(&self, node: NodeId) -> bool {
        let handle = self.nodes[&node].handle.as_ref().unwrap();
        handle.node().shared().directory.get(PARTITION).unwrap().is_refilling()
    }

    /// What `node` itself answers.
    pub(super) async fn ask(&self, node: NodeId, operation: &Operation) -> Result<Outcome, StoreError> {
        let handle = self.nodes[&node].handle.as_ref().unwrap();
        handle.node().execute(PARTITION, operation.clone(), ATTEMPT).await
    }

    /// A node's view of who leads, by which leaderships are moved.
    pub(super) fn leaderships(&self, node: NodeId) -> Leaderships {
        self.nodes[&node].handle.as_ref().unwrap().node().leaderships()
    }

    /// Who leads and serves.
    pub(super) async fn leader(&self) -> NodeId {
        self.leader_of(PARTITION).await
    }

    /// The same, of another partition.
    pub(super) async fn leader_of(&self, partition: PartitionId) -> NodeId {
        let until = wire::clock::now() + PATIENCE;
        while wire::clock::now() < until {
            for node in self.running() {
                let handle = self.nodes[&node].handle.as_ref().unwrap();
                let leadership = handle.node().leadership(partition);
                if leadership.is_some_and(|leadership| leadership.borrow().serving) {
                    return node;
                }
            }
            tokio::time::sleep(BETWEEN_ATTEMPTS).await;
        }
        panic!("nobody leads");
    }

    /// Waits until `node` itself answers `operation` with `expected`.
    pub(super) async fn until_read_on(&self, node: NodeId, operation: &Operation, expected: &Outcome) {
        let until = wire::clock::now() + PATIENCE;
        let mut last = None;
        while wire::clock::now() < until {
            let answer = self.ask(node, operation).await;
            if answer.as_ref() == Ok(expected) {
                return;
            }
            last = Some(answer);
            tokio::time::sleep(BETWEEN_ATTEMPTS).await;
        }
        panic!("{node} still answers {last:?}");
    }

    pub(super) async fn shutdown(mut self) {
        for node in self.running() {
            self.stop(node).await;
        }
    }
}

fn new_client() -> Arc<ReplicatedStore> {
    Arc::new(ReplicatedStore::new("test", Zone::new(0)))
}

fn zone(node: NodeId) -> Zone {
    Zone::new(u8::try_from(node.get()).unwrap())
}
