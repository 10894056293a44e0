//! Starts and stops a member of the control plane.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use dynamodb::error::ApiError;
use parking_lot::{Mutex, RwLock};
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::info;
use wire::transport::Service;

use crate::catalog_store::CatalogStore;
use crate::config::{Config, ConfigError};
use crate::leader::{self, COMMAND_QUEUE, Change, Shared};
use crate::push::{self, Gac, Memds, PushBoard};
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
    /// The listener failed later.
    #[error("the listener failed")]
    Serve(#[source] io::Error),
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
    tasks: TaskTracker,
    serving: tokio::task::JoinHandle<io::Result<()>>,
}

/// What a handle does with its member, whatever store that has.
trait Member: Send + Sync {
    fn leads(&self) -> bool;
    fn has_leader(&self) -> bool;
    fn credentials(&self) -> Option<Vec<CredentialRecord>>;
    fn put_credential(
        &self,
        record: CredentialRecord,
    ) -> futures_util::future::BoxFuture<'_, Result<(), CredentialError>>;
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
    /// When its listener failed.
    ///
    /// # Panics
    /// When the server panicked.
    pub async fn join(self) -> Result<(), ControlError> {
        let served = self.serving.await.expect("a member of the control plane does not panic");
        self.tasks.close();
        self.tasks.wait().await;
        served.map_err(ControlError::Serve)
    }
}

impl<S: CatalogStore> Member for Shared<S> {
    fn leads(&self) -> bool {
        self.serving().is_some()
    }

    fn has_leader(&self) -> bool {
        use crate::catalog_store::Leadership;
        self.leads() || matches!(*self.store.leadership().borrow(), Leadership::Follower(Some(_)))
    }

    fn credentials(&self) -> Option<Vec<CredentialRecord>> {
        Some(self.serving()?.catalog.credentials.values().cloned().collect())
    }

    fn put_credential(
        &self,
        record: CredentialRecord,
    ) -> futures_util::future::BoxFuture<'_, Result<(), CredentialError>> {
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
                Ok(Err(refusal)) => Err(CredentialError::Refused(refusal)),
                Err(_) => Err(CredentialError::Unavailable),
            }
        })
    }
}

/// Starts a member on `listener` over a store that is there already.
///
/// `group` serves what the members of the catalog's group say to one another on the same address.
pub(crate) fn start_with<S: CatalogStore>(
    config: Config,
    listener: TcpListener,
    store: S,
    group: Option<Arc<dyn Service>>,
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
        wake: Notify::new(),
        commands,
        published: watch::Sender::new(None),
        board: Arc::new(PushBoard::default()),
    });
    let tasks = TaskTracker::new();
    tasks.spawn(leader::run(Arc::clone(&shared), received, shutdown.clone()));
    for memds in &shared.config.memds {
        let (published, board) = (shared.published.subscribe(), Arc::clone(&shared.board));
        tasks.spawn(push::keep_told::<Memds>(memds.clone(), published, board, shutdown.clone()));
    }
    for gac in &shared.config.gac {
        // What GAC has acknowledged holds nobody up: a server without a quota takes the proxies' word.
        let (published, board) = (shared.published.subscribe(), Arc::default());
        tasks.spawn(push::keep_told::<Gac>(gac.clone(), published, board, shutdown.clone()));
    }
    let service = Arc::new(ControlService::new(Arc::clone(&shared), group, tasks.clone()));
    let serving = tokio::spawn(wire::transport::serve(listener, service, shutdown));
    info!(%address, "control-plane member listens");
    Ok(Handle { address, member: shared, tasks, serving })
}
