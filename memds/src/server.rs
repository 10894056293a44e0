//! Starts and stops a MemDS server.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::info;
use wire::clock;
use wire::transport::Service;

use crate::clerk;
use crate::config::Config;
use crate::inspector::Inspector;
use crate::peer::Peer;
use crate::peers;
use crate::service::MemdsService;

/// Comparing more often than this would only keep two servers busy.
const MIN_INTERVAL_MS: u64 = 100;
/// Rates are sampled and ages shown this often.
const TICK: Duration = Duration::from_secs(1);

/// Why a server did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum MemdsError {
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

/// A server that runs in the background until its shutdown is asked for.
#[derive(Debug)]
pub struct Handle {
    address: SocketAddr,
    inspector: Inspector,
    task: JoinHandle<io::Result<()>>,
    comparing: JoinHandle<()>,
    ticking: JoinHandle<()>,
}

impl Handle {
    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether it has heard the whole catalog since it started.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.inspector.service.is_ready()
    }

    /// Looks into it while it serves.
    #[must_use]
    pub fn inspector(&self) -> Inspector {
        self.inspector.clone()
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// When its listener failed.
    ///
    /// # Panics
    /// When the server panicked.
    pub async fn join(self) -> Result<(), MemdsError> {
        self.comparing.await.expect("comparing does not panic");
        self.ticking.await.expect("ticking does not panic");
        self.task.await.expect("a MemDS server does not panic").map_err(MemdsError::Serve)
    }
}

/// Starts a server; it stops when `shutdown` is cancelled.
///
/// # Errors
/// When it cannot listen.
pub async fn start(config: Config, shutdown: CancellationToken) -> Result<Handle, MemdsError> {
    let unusable = |source| MemdsError::Listen { address: config.listen, source };
    let listener = TcpListener::bind(config.listen).await.map_err(unusable)?;
    let address = listener.local_addr().map_err(unusable)?;
    let started = clock::now();
    let (service, tasks) = MemdsService::new(started);
    let service = Arc::new(service);
    let serving = Arc::clone(&service) as Arc<dyn Service>;
    let transport = wire::transport::serve(listener, serving, shutdown.clone());
    let clerk = clerk::run(tasks, Arc::clone(&service));
    let task = tokio::spawn(serve(transport, clerk));
    let own = address.to_string();
    let peers: Arc<[Peer]> = config.peers.into_iter().filter(|peer| *peer != own).map(Peer::new).collect();
    let interval = Duration::from_millis(config.compare_interval_ms.max(MIN_INTERVAL_MS));
    let comparing =
        tokio::spawn(peers::run(Arc::clone(&peers), interval, Arc::clone(&service), shutdown.clone()));
    let ticking = tokio::spawn(tick(Arc::clone(&service), shutdown));
    info!(%address, "MemDS server listens");
    let inspector = Inspector { address, started, service, peers };
    Ok(Handle { address, inspector, task, comparing, ticking })
}

/// Serves until `transport` ends: what it drains needs the clerk.
async fn serve(
    transport: impl Future<Output = io::Result<()>>,
    clerk: impl Future<Output = ()>,
) -> io::Result<()> {
    tokio::select! {
        served = transport => served,
        () = clerk => unreachable!("the service keeps the desk"),
    }
}

/// Keeps what only time changes up to date until `shutdown`.
async fn tick(service: Arc<MemdsService>, shutdown: CancellationToken) {
    let ticking = async {
        loop {
            tokio::time::sleep(TICK).await;
            service.tick(clock::now());
        }
    };
    shutdown.run_until_cancelled(ticking).await;
}

/// Runs a server until `shutdown` is cancelled.
///
/// # Errors
/// When it cannot listen, or its listener fails.
pub async fn run(config: Config, shutdown: CancellationToken) -> Result<(), MemdsError> {
    start(config, shutdown).await?.join().await
}
