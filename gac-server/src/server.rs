//! Starts and stops a GAC server.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use admission::Ring;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use units::Epoch;
use wire::clock;
use wire::proto::gac::InspectRequest;
use wire::transport::Service;

use crate::config::{Config, ConfigError};
use crate::inspection::Inspection;
use crate::owner::SHARDS;
use crate::service::GacService;
use crate::{control, handover};

/// How often silent proxies are looked for in each shard of the buckets.
const TICK: Duration = Duration::from_secs(1);

/// The epoch of a ring that is configured: the first one. What the control plane records is newer.
const CONFIGURED_RING: Epoch = Epoch::new(1);

/// Why a server did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum GacError {
    /// The configuration cannot be used.
    #[error("the GAC server's configuration is invalid")]
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

/// A server that runs in the background until its shutdown is asked for.
#[derive(Debug)]
pub struct Handle {
    address: SocketAddr,
    service: Arc<GacService>,
    served: JoinHandle<io::Result<()>>,
    background: [JoinHandle<()>; 4],
}

/// Shows operators what a server owns; outlives it.
#[derive(Clone, Debug)]
pub struct Inspector {
    service: Arc<GacService>,
}

impl Inspector {
    /// What there is to see now.
    #[must_use]
    pub fn inspect(&self, wanted: &InspectRequest) -> Inspection {
        self.service.inspect(wanted, clock::now())
    }
}

impl Handle {
    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether it leases freely: every expected proxy has reported, or earlier leases have ended. One that is
    /// not in the ring has nothing to wait for.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.service.is_learning(clock::now()) || self.service.is_drained()
    }

    /// What operators see of it now.
    #[must_use]
    pub fn inspect(&self, wanted: &InspectRequest) -> Inspection {
        self.service.inspect(wanted, clock::now())
    }

    /// The same, for whoever cannot keep the handle.
    #[must_use]
    pub fn inspector(&self) -> Inspector {
        Inspector { service: Arc::clone(&self.service) }
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// When its listener failed.
    ///
    /// # Panics
    /// When the server panicked.
    pub async fn join(self) -> Result<(), GacError> {
        let served = self.served.await.expect("a GAC server does not panic");
        for task in self.background {
            task.await.expect("a GAC server's background tasks do not panic");
        }
        served.map_err(GacError::Serve)
    }
}

/// Starts a server; it stops when `shutdown` is cancelled.
///
/// # Errors
/// When the configuration is invalid, or the address cannot be listened on.
pub async fn start(config: Config, shutdown: CancellationToken) -> Result<Handle, GacError> {
    config.validate()?;
    let unusable = |source| GacError::Listen { address: config.listen, source };
    let listener = TcpListener::bind(config.listen).await.map_err(unusable)?;
    let address = listener.local_addr().map_err(unusable)?;
    // The wall clock makes an epoch that grows with every start without keeping anything on disk.
    let started = Epoch::new(clock::unix_now().get());
    let name = config.advertise.clone().unwrap_or_else(|| address.to_string());
    let service = Arc::new(GacService::new(name, started, &config.allocator(), clock::now()));
    if !config.ring.is_empty() {
        service.take_ring(Ring::new(CONFIGURED_RING, config.ring));
    }
    let serving: Arc<dyn Service> = Arc::<GacService>::clone(&service);
    let served = tokio::spawn(wire::transport::serve(listener, serving, shutdown.clone()));
    let background = [
        tokio::spawn(control::fetch_quotas(config.control.clone(), Arc::clone(&service), shutdown.clone())),
        tokio::spawn(control::report_peaks(config.control, Arc::clone(&service), shutdown.clone())),
        tokio::spawn(handover::run(Arc::clone(&service), shutdown.clone())),
        tokio::spawn(tick(Arc::clone(&service), shutdown)),
    ];
    tracing::info!(%address, name = service.address, %started, "GAC server listens");
    Ok(Handle { address, service, served, background })
}

/// Runs a server until `shutdown` is cancelled.
///
/// # Errors
/// When it cannot start, or its listener fails.
pub async fn run(config: Config, shutdown: CancellationToken) -> Result<(), GacError> {
    start(config, shutdown).await?.join().await
}

async fn tick(service: Arc<GacService>, shutdown: CancellationToken) {
    let ticking = async {
        let shards = u32::try_from(SHARDS).expect("there are few shards");
        loop {
            for shard in 0..SHARDS {
                service.tick(shard);
                tokio::time::sleep(TICK / shards).await;
            }
        }
    };
    shutdown.run_until_cancelled(ticking).await;
}
