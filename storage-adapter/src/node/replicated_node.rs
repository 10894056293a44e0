//! A node and its handle: start, execute in this process, stop.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use dynamodb::operation::{Operation, Outcome};
use parking_lot::Mutex;
use rand::TryRngCore;
use replication::wal::LogOptions;
use replication::{NodeConfig, NodeCore, PersistSequence, Recovered};
use routing::{KeyRange, Member, MemberKind};
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;
use units::{Epoch, LogIndex, NodeId, PartitionId, TableId, Zone};

use super::assignment::Assignment;
use super::checkpointer::Checkpointer;
use super::inbox::{Input, Owed};
use super::node_loop::{Checkpoints, NodeLoop, Opened};
use super::recover::{self, Folder, RecoverError};
use super::reply::Reply;
use super::service::{self, NodeService};
use super::shared::{Identity, Shared};
use super::{Leadership, Leaderships, unavailable};
use crate::engine::Replica;
use crate::log::{LogEvents, LogWriter};
use crate::{StorageLimits, StoreError};

/// How long a stopping node tries to hand its leaderships over: a transfer takes a few round trips.
const TRANSFER_PATIENCE: Duration = Duration::from_millis(1500);
/// How long it waits then for the outcome of what it had proposed, and for the names of its successors: a
/// few round trips more, if there is anybody to hear of.
const SETTLE_PATIENCE: Duration = Duration::from_millis(300);
/// How long it goes on to tell callers where its leaderships went, so that those who come again within
/// this time need not find out by a broken connection.
const LINGER: Duration = Duration::from_millis(100);
/// How often it looks whether it is done.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// What a node is made of.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// Its number, never 0.
    pub node: NodeId,
    /// Its zone.
    pub zone: Zone,
    /// Its folder; none: ephemeral.
    pub data_dir: Option<PathBuf>,
    /// Bounds and sizes.
    pub limits: StorageLimits,
}

/// A group whose members are fixed by configuration: the control plane's catalog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticGroup {
    /// Its partition; the catalog is 0.
    pub partition: PartitionId,
    /// Its members, this node among them.
    pub members: Vec<StaticMember>,
    /// The group has worked before, and this member may have lost its data: without data it must be
    /// refilled by the others before it votes.
    pub established: bool,
}

/// A member of a [`StaticGroup`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticMember {
    /// Its number.
    pub node: NodeId,
    /// Its zone.
    pub zone: Zone,
    /// Where its transport listens, `host:port`.
    pub address: String,
}

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its folder cannot be used.
    #[error("the node's data cannot be opened")]
    Recover(#[from] RecoverError),
    /// The system has no thread or no randomness to give.
    #[error("the system refused")]
    System(#[from] std::io::Error),
}

/// A running node. Cheap to clone; the node runs until [`shutdown`](Self::shutdown).
#[derive(Clone, Debug)]
pub struct ReplicatedNode {
    shared: Arc<Shared>,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl ReplicatedNode {
    /// Opens what is in the folder and starts the node's threads. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(options: NodeOptions, groups: Vec<StaticGroup>) -> Result<Self, StartError> {
        crate::metrics::describe();
        let runtime = tokio::runtime::Handle::current();
        let start = move || start(options, groups, runtime);
        let started = tokio::task::spawn_blocking(start).await;
        started.map_err(|error| StartError::System(std::io::Error::other(error)))?
    }

    /// Executes an operation on a partition that this node hosts.
    ///
    /// # Errors
    /// As over the wire; see [`StoreError`]. `Redirect` when another node leads.
    pub async fn execute(
        &self,
        partition: PartitionId,
        operation: Operation,
        deadline: Duration,
    ) -> Result<Outcome, StoreError> {
        let (sender, answer) = oneshot::channel();
        let expires = wire::clock::now() + deadline;
        let is_write = operation.is_write();
        let address = service::Address { table: None, partition, at_least: LogIndex::default() };
        service::execute(&self.shared, &address, operation, Reply::Local(sender, expires));
        self.shared.take_turns();
        match tokio::time::timeout(deadline, answer).await {
            Ok(Ok(answer)) => answer,
            _ if is_write => Err(StoreError::Indefinite),
            _ => Err(unavailable("no answer in time")),
        }
    }

    /// Who leads a hosted group, and whether this node serves it; changes are told. None: not hosted.
    #[must_use]
    pub fn leadership(&self, partition: PartitionId) -> Option<watch::Receiver<Leadership>> {
        self.shared.directory.get(partition).map(|hosted| hosted.leadership())
    }

    /// Who leads what it hosts, and how to move leaderships away from it.
    #[must_use]
    pub fn leaderships(&self) -> Leaderships {
        Leaderships::new(Arc::clone(&self.shared))
    }

    /// The service that answers other nodes and clients: for `wire::transport::serve`, alone or behind a
    /// service with more methods.
    #[must_use]
    pub fn service(&self) -> Arc<NodeService> {
        Arc::new(NodeService::new(Arc::clone(&self.shared)))
    }

    /// Cancelled when something broke that must not be retried: end the process.
    #[must_use]
    pub fn failed(&self) -> CancellationToken {
        self.shared.failed.clone()
    }

    /// Learns where other nodes listen.
    pub fn learn_nodes(&self, addresses: &BTreeMap<NodeId, String>) {
        self.shared.peers.learn(addresses);
    }

    /// Hands leaderships over, makes everything durable, and joins the threads.
    pub async fn shutdown(&self) {
        self.hand_over().await;
        self.end().await;
    }

    /// Ends at once, as a crash would: nothing is handed over.
    pub async fn abort(&self) {
        self.shared.failed.cancel();
        self.end().await;
    }

    /// Hands leaderships over, and answers what waits for that. Whoever asks it then is told where to go.
    pub(super) async fn hand_over(&self) {
        let led = self.owed().await.leaderships > 0;
        self.shared.inbox.push(Input::TransferAll);
        self.until(TRANSFER_PATIENCE, |owed| owed.leaderships == 0).await;
        self.until(SETTLE_PATIENCE, |owed| owed.answers == 0 && owed.leaderless == 0).await;
        if led && self.shared.peers.any_connected() {
            tokio::time::sleep(LINGER).await;
        }
    }

    /// Waits until what the node owes is so, in vain with nobody to reach: the last node of a fleet just
    /// stops.
    async fn until(&self, patience: Duration, done: impl Fn(&Owed) -> bool) {
        let until = wire::clock::now() + patience;
        while wire::clock::now() < until && self.shared.peers.any_connected() && !done(&self.owed().await) {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn owed(&self) -> Owed {
        let (sender, answer) = oneshot::channel();
        self.shared.inbox.push(Input::Owed(sender));
        answer.await.unwrap_or_default()
    }

    /// Ends at once; what is durable stays so.
    pub(super) async fn end(&self) {
        self.shared.stopping.cancel();
        self.shared.inbox.stop();
        let thread = self.thread.lock().take();
        let Some(thread) = thread else { return };
        let joined = tokio::task::spawn_blocking(move || thread.join()).await;
        if !matches!(joined, Ok(Ok(()))) {
            tracing::error!("the node's loop panicked");
        }
        // Answers may still be on their way out in tasks that share the node; the folder is free.
        if let Some(files) = &self.shared.files {
            drop(files.lock.lock().take());
        }
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

fn start(
    options: NodeOptions,
    groups: Vec<StaticGroup>,
    runtime: tokio::runtime::Handle,
) -> Result<ReplicatedNode, StartError> {
    let draw = || rand::rngs::OsRng.try_next_u64().map_err(std::io::Error::other);
    let log_options = LogOptions { segment_bytes: options.limits.segment_bytes, ..LogOptions::new(draw()?) };
    let mut folder = match &options.data_dir {
        Some(directory) => Some(recover::open(directory, options.node, log_options)?),
        None => None,
    };
    let incarnation = match &folder {
        Some(folder) => folder.incarnation,
        None => recover::incarnation_after(Epoch::default()),
    };
    let (opened, addresses) = replicas(&mut folder, &groups, &options.limits)?;
    let leftovers = folder.as_mut().map(Folder::leftovers).unwrap_or_default();
    let (files, log) = folder.map(|folder| (folder.files, folder.log)).unzip();
    let identity = Identity { node: options.node, zone: options.zone, incarnation };
    let shared = Arc::new(Shared::new(identity, options.limits, files, runtime));
    shared.peers.learn(&addresses);

    let now = wire::clock::now();
    let config = NodeConfig::new(options.node, incarnation);
    let tick = config.tick;
    let core = NodeCore::new(config, draw()?, now);
    let events = InboxEvents(Arc::clone(&shared));
    let log = log.map(|log| LogWriter::start(log, events)).transpose()?;
    let checkpoints = Checkpoints::new(Checkpointer::start(Arc::clone(&shared))?, now);
    let mut node = NodeLoop::new(Arc::clone(&shared), core, log, checkpoints, tick);
    for opened in opened {
        node.open(opened, now);
    }
    for (partition, recovered) in leftovers {
        node.forget(partition, recovered, now);
    }
    let name = format!("weir-node-{}", options.node);
    let thread = std::thread::Builder::new().name(name).spawn({
        let shared = Arc::clone(&shared);
        shared.turns.begin(node);
        move || shared.run_loop()
    })?;
    Ok(ReplicatedNode { shared, thread: Arc::new(Mutex::new(Some(thread))) })
}

/// The replicas that the node begins with: the manifest's and the static ones.
fn replicas(
    folder: &mut Option<Folder>,
    groups: &[StaticGroup],
    limits: &StorageLimits,
) -> Result<(Vec<Opened>, BTreeMap<NodeId, String>), RecoverError> {
    let mut addresses = BTreeMap::new();
    let mut assignments = BTreeMap::new();
    if let Some(folder) = folder {
        let manifest = folder.files.manifest.lock();
        addresses.clone_from(&manifest.1.addresses);
        assignments.clone_from(&manifest.1.replicas);
    }
    for group in groups {
        let members = group.members.iter();
        addresses.extend(members.map(|member| (member.node, member.address.clone())));
        assignments.insert(group.partition, static_assignment(group));
    }
    let opened = match folder {
        Some(folder) => folder.open_replicas(assignments, limits.tree_cache_bytes)?,
        None => assignments.into_values().map(in_memory).collect(),
    };
    Ok((opened, addresses))
}

fn in_memory(assignment: Assignment) -> Opened {
    let voters: Vec<_> = assignment.voters().collect();
    let recovered =
        if assignment.established { Recovered::wiped(voters) } else { Recovered::new_group(voters) };
    Opened { assignment, replica: Arc::new(Replica::new(None, 0)), recovered }
}

fn static_assignment(group: &StaticGroup) -> Assignment {
    let member =
        |member: &StaticMember| Member { node: member.node, zone: member.zone, kind: MemberKind::Storage };
    Assignment {
        table: TableId::new(0),
        partition: group.partition,
        range: KeyRange::default(),
        members: group.members.iter().map(member).collect(),
        configuration: 0,
        established: group.established,
    }
}

/// The log's events go to the loop's inbox.
struct InboxEvents(Arc<Shared>);

impl LogEvents for InboxEvents {
    fn persisted(&self, up_to: PersistSequence, bytes: u64) {
        self.0.inbox.push(Input::Persisted(up_to, bytes));
        // Others wait for the next sync.
        self.0.take_a_turn();
    }

    fn reclaimed(&self, pinned_by: Vec<PartitionId>) {
        self.0.inbox.push(Input::Reclaimed(pinned_by));
    }

    fn failed(&self, error: &(dyn std::error::Error + 'static)) {
        let mut reason = error.to_string();
        let mut source = error.source();
        while let Some(error) = source {
            reason = format!("{reason}: {error}");
            source = error.source();
        }
        // There is no other turn: nothing more may leave this node.
        self.0.fail(&reason);
    }
}
