//! Starts and stops a member of the control plane.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use dynamodb::error::ApiError;
use futures_util::future::BoxFuture;
use parking_lot::{Mutex, RwLock};
use storage_adapter::{NodeOptions, ReplicatedNode, StartError, StaticGroup, StaticMember, StorageLimits};
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info};
use units::{NodeId, Zone};
use wire::transport::Service;

use crate::catalog_store::CatalogStore;
use crate::config::{Config, ConfigError};
use crate::gac_servers::{self, RingBoard};
use crate::group_store::{CATALOG, GroupStore};
use crate::leader::{self, COMMAND_QUEUE, Change, Refused, Shared};
use crate::metrics;
use crate::operator::{Operated, Quotas, RingControl};
use crate::push::{self, Memds, PushBoard};
use crate::quota_log::QuotaLog;
use crate::record::CredentialRecord;
use crate::service::{self, ControlService, MAX_ACCESS_KEY_BYTES};

/// Why a member did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The configuration cannot work.
    #[error("the control plane's configuration cannot work")]
    Config(#[from] ConfigError),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The configured address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The replica of the catalog cannot be opened.
    #[error("the catalog's replica cannot be opened")]
    Open(#[from] StartError),
    /// The listener failed later.
    #[error("the listener failed")]
    Serve(#[source] io::Error),
    /// The log or the disk failed: what follows must not be trusted to it.
    #[error("the catalog's replica failed")]
    Broken,
}

/// Why a key pair was not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// An access key has 1 to 128 characters, and a secret is not empty.
    #[error("the key pair is incomplete or too long")]
    Malformed,
    /// Another member leads.
    #[error("this member does not lead the control plane")]
    NotLeader,
    /// It may or may not have been written.
    #[error("the catalog cannot be written now")]
    Unavailable,
    /// It was not written.
    #[error("refused")]
    Refused(#[source] ApiError),
}

/// A member that runs in the background until its shutdown is asked for.
pub struct Handle {
    address: SocketAddr,
    member: Arc<dyn Member>,
    operated: Arc<dyn Operated>,
    tasks: TaskTracker,
    serving: JoinHandle<io::Result<()>>,
    broken: CancellationToken,
}

/// What a handle does with its member, whatever store that has.
trait Member: Send + Sync {
    fn leads(&self) -> bool;
    fn has_leader(&self) -> bool;
    fn credentials(&self) -> Option<Vec<CredentialRecord>>;
    fn put_credential(&self, record: CredentialRecord) -> BoxFuture<'_, Result<(), CredentialError>>;
}

impl Handle {
    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether this member leads and has read the catalog.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.member.leads()
    }

    /// Whether this member leads or knows who does.
    #[must_use]
    pub fn has_leader(&self) -> bool {
        self.member.has_leader()
    }

    /// The quotas, as this member shows and changes them while it leads.
    #[must_use]
    pub fn quotas(&self) -> Quotas {
        Quotas::new(Arc::clone(&self.operated))
    }

    /// The ring of GAC servers, as this member shows and changes it while it leads.
    #[must_use]
    pub fn ring(&self) -> RingControl {
        RingControl::new(Arc::clone(&self.operated))
    }

    /// All key pairs, by access key; none when another member leads.
    #[must_use]
    pub fn credentials(&self) -> Option<Vec<CredentialRecord>> {
        self.member.credentials()
    }

    /// Creates or replaces a key pair; with `active: false` it signs no more requests.
    ///
    /// # Errors
    /// See [`CredentialError`].
    pub async fn put_credential(&self, record: CredentialRecord) -> Result<(), CredentialError> {
        self.member.put_credential(record).await
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// When its listener or its replica of the catalog failed.
    ///
    /// # Panics
    /// When the server panicked.
    pub async fn join(self) -> Result<(), ControlError> {
        let served = self.serving.await.expect("a member of the control plane does not panic");
        self.tasks.close();
        self.tasks.wait().await;
        if self.broken.is_cancelled() {
            return Err(ControlError::Broken);
        }
        served.map_err(ControlError::Serve)
    }
}

impl<S: CatalogStore> Member for Shared<S> {
    fn leads(&self) -> bool {
        self.serving().is_some()
    }

    fn has_leader(&self) -> bool {
        self.leads() || self.store.leadership().borrow().leader.is_some()
    }

    fn credentials(&self) -> Option<Vec<CredentialRecord>> {
        Some(self.serving()?.catalog.credentials.values().cloned().collect())
    }

    fn put_credential(&self, record: CredentialRecord) -> BoxFuture<'_, Result<(), CredentialError>> {
        Box::pin(async move {
            let length = record.access_key.len();
            if length == 0 || length > MAX_ACCESS_KEY_BYTES || record.secret_key.is_empty() {
                return Err(CredentialError::Malformed);
            }
            if !self.leads() {
                return Err(CredentialError::NotLeader);
            }
            match service::execute(self, Change::PutCredential(record)).await {
                Ok(Ok(_)) => Ok(()),
                Ok(Err(Refused::Table(refusal))) => Err(CredentialError::Refused(refusal)),
                Ok(Err(_)) | Err(_) => Err(CredentialError::Unavailable),
            }
        })
    }
}

/// The node under the catalog: none in scenarios that keep it in memory.
#[derive(Default)]
pub(crate) struct Group {
    /// Serves what the members of the catalog's group say to one another, on the member's own address.
    service: Option<Arc<dyn Service>>,
    node: Option<ReplicatedNode>,
}

/// Bytes of one segment of a member's log: the smallest, since the catalog is small.
const SEGMENT_BYTES: u32 = 4 << 20;
/// Requests that a member's own node may have waiting: its leader's task makes one at a time, and proxies
/// ask for credentials.
const INBOX_REQUESTS: usize = 4096;

/// Starts a member; it stops when `shutdown` is cancelled, after it has handed its leadership over.
///
/// # Errors
/// When the configuration cannot work, it cannot listen, or its replica of the catalog cannot be opened.
pub async fn start(config: Config, shutdown: CancellationToken) -> Result<Handle, ControlError> {
    config.validate()?;
    let unusable = |source| ControlError::Listen { address: config.listen, source };
    let listener = TcpListener::bind(config.listen).await.map_err(unusable)?;
    let address = listener.local_addr().map_err(unusable)?;
    let node = ReplicatedNode::start(node_options(&config), vec![catalog_group(&config, address)]).await?;
    let store = GroupStore::new(node.clone());
    let group = Group { service: Some(node.service()), node: Some(node) };
    start_with(config, listener, store, group, shutdown)
}

/// Runs a member until `shutdown` is cancelled.
///
/// # Errors
/// As [`start`]; or when its listener or its replica fails.
pub async fn run(config: Config, shutdown: CancellationToken) -> Result<(), ControlError> {
    start(config, shutdown).await?.join().await
}

fn node_options(config: &Config) -> NodeOptions {
    let limits = StorageLimits {
        segment_bytes: SEGMENT_BYTES,
        inbox_requests: INBOX_REQUESTS,
        ..StorageLimits::default()
    };
    // Zones mean nothing to the catalog's group: its members are wherever the list has them.
    NodeOptions {
        node: NodeId::new(config.id),
        zone: Zone::new(0),
        data_dir: config.data_dir.clone(),
        limits,
    }
}

fn catalog_group(config: &Config, address: SocketAddr) -> StaticGroup {
    let member =
        |id: u64, address: String| StaticMember { node: NodeId::new(id), zone: Zone::new(0), address };
    let members = if config.members.is_empty() {
        vec![member(config.id, address.to_string())]
    } else {
        config.members.iter().map(|known| member(known.id, known.address.clone())).collect()
    };
    StaticGroup { partition: CATALOG, members, established: config.replaces_lost_member }
}

/// Starts a member on `listener` over a store that is there already.
pub(crate) fn start_with<S: CatalogStore>(
    config: Config,
    listener: TcpListener,
    store: S,
    group: Group,
    shutdown: CancellationToken,
) -> Result<Handle, ControlError> {
    let address =
        listener.local_addr().map_err(|source| ControlError::Listen { address: config.listen, source })?;
    let (commands, received) = mpsc::channel(COMMAND_QUEUE);
    let shared = Arc::new(Shared {
        config,
        store,
        serving: RwLock::new(None),
        fleet: Mutex::default(),
        wake: Arc::new(Notify::new()),
        commands,
        published: watch::Sender::new(None),
        board: Arc::new(PushBoard::default()),
        ring_board: Arc::new(RingBoard::default()),
        peaks: Mutex::default(),
        quota_log: QuotaLog::default(),
    });
    metrics::describe();
    let tasks = TaskTracker::new();
    let stop = shutdown.child_token();
    tasks.spawn(leader::run(Arc::clone(&shared), received, stop.clone()));
    for memds in &shared.config.memds {
        let (published, board) = (shared.published.subscribe(), Arc::clone(&shared.board));
        tasks.spawn(push::keep_told::<Memds>(memds.clone(), published, board, stop.clone()));
    }
    let (board, wake) = (Arc::clone(&shared.ring_board), Arc::clone(&shared.wake));
    tasks.spawn(gac_servers::keep_told(shared.published.subscribe(), board, wake, stop.clone()));
    let service = Arc::new(ControlService::new(Arc::clone(&shared), group.service, tasks.clone()));
    // The others must be heard until the leadership is handed over.
    let (deaf, broken) = (CancellationToken::new(), CancellationToken::new());
    let serving = tokio::spawn(wire::transport::serve(listener, service, deaf.clone()));
    tasks.spawn(stop_in_order(group.node, stop, deaf, broken.clone()));
    info!(%address, "control-plane member listens");
    let operated: Arc<dyn Operated> = Arc::<Shared<S>>::clone(&shared);
    Ok(Handle { address, member: shared, operated, tasks, serving, broken })
}

/// Once it is asked to, or its node has failed: ends the leader's work, hands over, then stops listening.
async fn stop_in_order(
    node: Option<ReplicatedNode>,
    stop: CancellationToken,
    deaf: CancellationToken,
    broken: CancellationToken,
) {
    if let Some(node) = node {
        tokio::select! {
            () = stop.cancelled() => {}
            () = node.failed().cancelled_owned() => {
                error!("the catalog's replica failed; this member stops");
                broken.cancel();
                stop.cancel();
            }
        }
        node.shutdown().await;
    } else {
        stop.cancelled().await;
    }
    deaf.cancel();
}
