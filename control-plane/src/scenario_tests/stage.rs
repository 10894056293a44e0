//! What the scenarios play on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use dynamodb::operation::{Operation, Outcome};
use dynamodb::table::{
    AttributeDefinition, Billing, KeyAttribute, KeySchema, KeyType, NewTable, ProvisionedThroughput,
    TableDescriptor, TableStatus,
};
use parking_lot::Mutex;
use routing::{KeyRange, Route, RouteVersion};
use storage_adapter::{Leadership, MemoryStore, PartitionStore, StoreError};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use units::{NodeId, PartitionId, TableId, Term};
use wire::method::{Assign, Credential, LookUp, Method, ReportNode, Tables};
use wire::proto::control::{
    AssignResponse, CredentialRequest, CredentialResponse, ListTables, NodeReport, ReplicaAssignment,
    ReplicaReport, TableAnswer, TableCommand, TableNames, table_answer::Answer, table_command::Command,
};
use wire::proto::routing::{LookupAnswer, LookupBatch, LookupEntry, LookupResult, Node};
use wire::transport::{CallError, Connection, ConnectionConfig, Failure, Incoming, Responder, Service};

use super::gac::ListeningGac;
use crate::config::{Config, InitialCredential, MemberAddress};
use crate::group_store::{CatalogGroup, GroupStore};
use crate::server::{Group, Handle, start_with};

pub(super) const DEADLINE: Duration = Duration::from_secs(10);

/// A catalog in memory, a MemDS server, and whatever members and nodes a scenario starts.
pub(super) struct Stage {
    catalog: Arc<SharedCatalog>,
    memds: memds::Handle,
    /// The first two are in the configuration.
    pub(super) gac: Vec<ListeningGac>,
    terms: AtomicU64,
    tasks: TaskTracker,
    shutdown: CancellationToken,
    members: Mutex<Vec<Arc<Handle>>>,
}

struct SharedCatalog {
    store: MemoryStore,
    /// So many of the next writes take place without an answer.
    lost_answers: AtomicUsize,
}

/// The catalog's group as one member sees it.
struct MemoryGroup {
    catalog: Arc<SharedCatalog>,
    leadership: watch::Sender<Leadership>,
}

impl CatalogGroup for Arc<MemoryGroup> {
    async fn execute(&self, operation: Operation, deadline: Duration) -> Result<Outcome, StoreError> {
        let leads = self.leadership.borrow().serving;
        let local = matches!(&operation, Operation::Get(get) if !get.consistent);
        if !leads && !local {
            return Err(StoreError::Unknown);
        }
        let outcome = self.catalog.store.execute(&catalog_route(), &operation, deadline).await;
        let lose = |left: usize| left.checked_sub(1);
        let lost = operation.is_write()
            && self.catalog.lost_answers.fetch_update(Ordering::Relaxed, Ordering::Relaxed, lose).is_ok();
        if lost { Err(StoreError::Indefinite) } else { outcome }
    }

    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.subscribe()
    }
}

fn catalog_route() -> Route {
    Route {
        table: TableId::new(0),
        partition: PartitionId::new(0),
        range: KeyRange::default(),
        members: vec![],
        leader: None,
        version: RouteVersion::default(),
    }
}

impl Stage {
    pub(super) async fn start() -> Self {
        let shutdown = CancellationToken::new();
        let config = memds::Config::new("127.0.0.1:0".parse().unwrap());
        let tasks = TaskTracker::new();
        let mut gac = Vec::new();
        for _ in 0..3 {
            gac.push(ListeningGac::start(&tasks, shutdown.clone()).await);
        }
        Self {
            catalog: Arc::new(SharedCatalog { store: MemoryStore::new(), lost_answers: AtomicUsize::new(0) }),
            gac,
            memds: memds::start(config, shutdown.clone()).await.unwrap(),
            terms: AtomicU64::new(0),
            tasks,
            shutdown,
            members: Mutex::default(),
        }
    }

    /// A member that leads, in a later term than all before.
    pub(super) async fn leader(&self) -> Member {
        let term = self.terms.fetch_add(1, Ordering::Relaxed) + 1;
        self.member(Leadership { term: Term::new(term), leader: Some(NodeId::new(1)), serving: true }).await
    }

    pub(super) async fn follower(&self, leader: Option<NodeId>) -> Member {
        self.member(Leadership { leader, ..Leadership::default() }).await
    }

    async fn member(&self, leadership: Leadership) -> Member {
        let group = Arc::new(MemoryGroup {
            catalog: Arc::clone(&self.catalog),
            leadership: watch::Sender::new(leadership),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let store = GroupStore::new(Arc::clone(&group));
        let config = self.config();
        let handle = start_with(config, listener, store, Group::default(), self.shutdown.clone()).unwrap();
        let connection = Connection::open(&handle.address().to_string(), ConnectionConfig::named("test"));
        let handle = Arc::new(handle);
        self.members.lock().push(Arc::clone(&handle));
        Member { handle, connection, group }
    }

    fn config(&self) -> Config {
        Config {
            id: 1,
            listen: "127.0.0.1:0".parse().unwrap(),
            members: vec![MemberAddress { id: 2, address: "127.0.0.1:7002".into() }],
            data_dir: None,
            replaces_lost_member: false,
            memds: vec![self.memds.address().to_string()],
            gac: self.gac[..2].iter().map(|gac| gac.address.clone()).collect(),
            region: "us-east-1".into(),
            account: "000000000000".into(),
            minimum_nodes: 3,
            table_limit: 2500,
            credentials: vec![InitialCredential {
                access_key: "INITIAL".into(),
                secret_key: "initial-secret".into(),
                principal: "root".into(),
            }],
        }
    }

    pub(super) async fn three_nodes(&self, member: &Member) -> Vec<StorageNode> {
        vec![self.node(member, 1).await, self.node(member, 2).await, self.node(member, 3).await]
    }

    /// A storage node that reports to `member`.
    pub(super) async fn node(&self, member: &Member, id: u64) -> StorageNode {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let hosted = Arc::new(Hosted::default());
        let serving = Arc::clone(&hosted) as Arc<dyn Service>;
        self.tasks.spawn(wire::transport::serve(listener, serving, self.shutdown.clone()));
        let zone = u32::try_from(id).unwrap() - 1;
        let node = StorageNode {
            node: Node { id, zone, address, incarnation: 1 },
            hosted,
            control: member.connection.clone(),
        };
        member.leads().await;
        node.report().await;
        node
    }

    pub(super) fn lose_answers(&self, writes: usize) {
        self.catalog.lost_answers.store(writes, Ordering::Relaxed);
    }

    pub(super) fn memds_connection(&self) -> Connection {
        Connection::open(&self.memds.address().to_string(), ConnectionConfig::named("test"))
    }

    /// What MemDS knows of the table of this name.
    pub(super) async fn lookup(&self, name: &str) -> LookupAnswer {
        let lookups = vec![LookupEntry { table_name: name.into(), ..Default::default() }];
        let answers = self.memds_connection().call::<LookUp>(&LookupBatch { lookups }, DEADLINE).await;
        answers.unwrap().answers.remove(0)
    }

    pub(super) async fn memds_forgets(&self, name: &str) {
        let forgotten = async { while self.lookup(name).await.result() != LookupResult::NoTable {} };
        tokio::time::timeout(DEADLINE, forgotten).await.expect("MemDS is told of the removal");
    }

    pub(super) async fn stop(self) {
        self.shutdown.cancel();
        self.memds.join().await.unwrap();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// One member of the control plane.
pub(super) struct Member {
    pub(super) handle: Arc<Handle>,
    pub(super) connection: Connection,
    group: Arc<MemoryGroup>,
}

impl Member {
    pub(super) fn depose(&self, leader: Option<NodeId>) {
        self.group.leadership.send_replace(Leadership { leader, ..Leadership::default() });
    }

    pub(super) async fn leads(&self) {
        self.until("it leads", async || self.handle.leads()).await;
    }

    pub(super) async fn leads_no_more(&self) {
        self.until("it is deposed", async || !self.handle.leads()).await;
    }

    pub(super) async fn try_ask(&self, command: Command) -> Result<TableAnswer, CallError> {
        let command = TableCommand { principal: "test".into(), command: Some(command) };
        self.connection.call::<Tables>(&command, DEADLINE).await
    }

    pub(super) async fn ask(&self, command: Command) -> Answer {
        self.try_ask(command).await.unwrap().answer.unwrap()
    }

    /// What a command about a table answers: the table, or the exception's kind.
    pub(super) async fn table(&self, command: Command) -> Result<TableDescriptor, String> {
        self.leads().await;
        match self.ask(command).await {
            Answer::Table(table) => Ok(serde_json::from_slice(&table).unwrap()),
            Answer::Exception(exception) => Err(exception.kind),
            other => panic!("no table: {other:?}"),
        }
    }

    pub(super) async fn becomes(&self, name: &str, status: TableStatus) -> TableDescriptor {
        let describe = async || self.table(Command::Describe(name.into())).await;
        self.until("the table has the status", async || describe().await.unwrap().status == status).await;
        describe().await.unwrap()
    }

    pub(super) async fn becomes_gone(&self, name: &str) {
        let describe = async || self.table(Command::Describe(name.into())).await;
        self.until("the table is gone", async || describe().await.is_err()).await;
        assert!(describe().await.unwrap_err().ends_with("ResourceNotFoundException"));
    }

    pub(super) async fn create_active(&self, name: &str) -> TableDescriptor {
        self.table(Command::Create(crate::catalog::json(&new_table(name, 1, 1)))).await.unwrap();
        self.becomes(name, TableStatus::Active).await
    }

    pub(super) async fn names(&self, start_after: Option<&str>, limit: u32) -> TableNames {
        let list = ListTables { start_after: start_after.map(Into::into), limit };
        match self.ask(Command::List(list)).await {
            Answer::Names(names) => names,
            other => panic!("no names: {other:?}"),
        }
    }

    pub(super) async fn credential(&self, access_key: &str) -> Result<CredentialResponse, CallError> {
        let request = CredentialRequest { access_key: access_key.into() };
        self.connection.call::<Credential>(&request, DEADLINE).await
    }

    /// Looks again and again, for a while.
    pub(super) async fn until(&self, what: &str, condition: impl AsyncFn() -> bool) {
        let met = async {
            while !condition().await {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(DEADLINE, met).await.unwrap_or_else(|_| panic!("in time: {what}"));
    }
}

/// A storage node that hosts what it is told and leads all of it.
pub(super) struct StorageNode {
    node: Node,
    hosted: Arc<Hosted>,
    control: Connection,
}

#[derive(Default)]
struct Hosted {
    replicas: Mutex<BTreeMap<u64, ReplicaAssignment>>,
}

impl Service for Hosted {
    fn call(&self, request: Incoming, responder: Responder) {
        if request.method != Assign::NUMBER {
            return responder.fail(Failure::UnknownMethod);
        }
        let request = request.decode::<Assign>().unwrap();
        let led = request.assign.iter().map(|assignment| assignment.partition).collect();
        self.host(request.assign, &request.drop);
        responder.answer::<Assign>(&AssignResponse { led });
    }
}

impl Hosted {
    fn host(&self, assign: Vec<ReplicaAssignment>, drop: &[u64]) {
        let mut replicas = self.replicas.lock();
        replicas.extend(assign.into_iter().map(|assignment| (assignment.partition, assignment)));
        replicas.retain(|partition, _| !drop.contains(partition));
    }
}

impl StorageNode {
    /// The same node with the same replicas, which hears nothing.
    pub(super) fn silent_twin(other: &Self) -> Self {
        let hosted = Hosted { replicas: Mutex::new(other.hosted()) };
        Self { node: other.node.clone(), hosted: Arc::new(hosted), control: other.control.clone() }
    }

    pub(super) fn hosted(&self) -> BTreeMap<u64, ReplicaAssignment> {
        self.hosted.replicas.lock().clone()
    }

    pub(super) fn forget_all(&self) {
        self.hosted.replicas.lock().clear();
    }

    /// Reports once, and does as it is answered.
    pub(super) async fn report(&self) {
        let replicas = self.hosted().into_keys().map(|partition| ReplicaReport {
            partition,
            leads: true,
            term: 1,
            ..Default::default()
        });
        let report = NodeReport { node: Some(self.node.clone()), replicas: replicas.collect() };
        let answer = self.control.call::<ReportNode>(&report, DEADLINE).await.unwrap();
        assert!(answer.not_leader.is_none());
        self.hosted.host(answer.assignments, &answer.drop);
    }
}

pub(super) fn provisioned(read: u64, write: u64) -> ProvisionedThroughput {
    ProvisionedThroughput { read, write, ..Default::default() }
}

pub(super) fn new_table(name: &str, read: u64, write: u64) -> NewTable {
    NewTable {
        name: name.into(),
        keys: KeySchema { partition: KeyAttribute { name: "id".into(), kind: KeyType::S }, sort: None },
        attribute_definitions: vec![AttributeDefinition { name: "id".into(), kind: KeyType::S }],
        billing: Billing::Provisioned(provisioned(read, write)),
        deletion_protection: false,
        table_class: None,
        tags: vec![],
    }
}
