//! One tier as its own process: its configuration, its operators' endpoint, the tier itself, until a signal.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::admin::{About, Operators};
use crate::cli::TierArgs;
use crate::settings::{self, AdminSettings};
use crate::{admin, telemetry};

/// How often a tier is asked whether it is ready.
const ASK_EVERY: Duration = Duration::from_millis(20);

/// What the process needs of the tier that it runs.
pub(crate) trait Tier {
    /// Where it listens.
    fn address(&self) -> SocketAddr;
    /// Whether it can serve now.
    fn is_ready(&self) -> bool;
    /// What it offers operators.
    fn operators(&self) -> Router {
        Router::new()
    }
    /// Ends when something in it broke, so that the process must end; otherwise never.
    async fn failed(&self) {
        std::future::pending().await
    }
    /// Waits until it has stopped, once the shutdown that it was started with is asked for.
    async fn stopped(self) -> anyhow::Result<()>;
}

impl Tier for proxy::Handle {
    fn operators(&self) -> Router {
        admin::proxy_routes(self.inspector())
    }

    fn address(&self) -> SocketAddr {
        self.address
    }

    fn is_ready(&self) -> bool {
        self.is_ready()
    }

    async fn stopped(self) -> anyhow::Result<()> {
        self.stopped().await;
        Ok(())
    }
}

impl Tier for gac_server::Handle {
    fn operators(&self) -> Router {
        admin::gac_routes(self.inspector())
    }

    fn address(&self) -> SocketAddr {
        self.address()
    }

    fn is_ready(&self) -> bool {
        self.is_ready()
    }

    async fn stopped(self) -> anyhow::Result<()> {
        Ok(self.join().await?)
    }
}

impl Tier for memds::Handle {
    fn operators(&self) -> Router {
        admin::memds_routes(vec![self.inspector()])
    }

    fn address(&self) -> SocketAddr {
        self.address()
    }

    /// Listening is enough: it says *unavailable* by itself until it has heard the catalog, and the
    /// control plane that tells it may start after it.
    fn is_ready(&self) -> bool {
        true
    }

    async fn stopped(self) -> anyhow::Result<()> {
        Ok(self.join().await?)
    }
}

impl Tier for storage_adapter::StorageHandle {
    fn operators(&self) -> Router {
        admin::storage_routes(vec![self.node().leaderships()])
    }

    fn address(&self) -> SocketAddr {
        self.address
    }

    /// It serves what its folder holds from the moment it has started.
    fn is_ready(&self) -> bool {
        true
    }

    async fn failed(&self) {
        self.node().failed().cancelled().await;
    }

    async fn stopped(self) -> anyhow::Result<()> {
        self.shutdown().await;
        Ok(())
    }
}

impl Tier for control_plane::Handle {
    fn operators(&self) -> Router {
        admin::quota_routes(self.quotas(), self.ring())
    }

    fn address(&self) -> SocketAddr {
        self.address()
    }

    fn is_ready(&self) -> bool {
        self.has_leader()
    }

    async fn stopped(self) -> anyhow::Result<()> {
        Ok(self.join().await?)
    }
}

/// `weir proxy`.
pub(crate) async fn run_proxy(args: TierArgs, shutdown: CancellationToken) -> anyhow::Result<()> {
    use_small_pages();
    run("proxy", args, shutdown, async |config, stop| Ok(proxy::start(config, stop).await?)).await
}

/// `weir gac`.
pub(crate) async fn run_gac(args: TierArgs, shutdown: CancellationToken) -> anyhow::Result<()> {
    run("gac", args, shutdown, async |config, stop| Ok(gac_server::start(config, stop).await?)).await
}

/// `weir memds`.
pub(crate) async fn run_memds(args: TierArgs, shutdown: CancellationToken) -> anyhow::Result<()> {
    run("memds", args, shutdown, async |config, stop| Ok(memds::start(config, stop).await?)).await
}

/// `weir storage`.
pub(crate) async fn run_storage(args: TierArgs, shutdown: CancellationToken) -> anyhow::Result<()> {
    run("storage", args, shutdown, async |config, _stop| {
        Ok(storage_adapter::StorageNode::start(config).await?)
    })
    .await
}

/// `weir control`.
pub(crate) async fn run_control(args: TierArgs, shutdown: CancellationToken) -> anyhow::Result<()> {
    run("control", args, shutdown, async |config, stop| Ok(control_plane::start(config, stop).await?)).await
}

/// A proxy's memory is many connections' small buffers and a cache that is full of small routes: huge pages hold a
/// quarter more than it needs and make no request cheaper. The same goes for `weir dev`. A MemDS server, with one tree
/// of which every lookup touches some, keeps them (decision 17).
pub(crate) fn use_small_pages() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::warn!(%error, "the kernel keeps huge pages: the process will hold more memory");
    }
}

async fn run<C: DeserializeOwned, T: Tier>(
    name: &'static str,
    args: TierArgs,
    shutdown: CancellationToken,
    start: impl AsyncFnOnce(C, CancellationToken) -> anyhow::Result<T>,
) -> anyhow::Result<()> {
    let (AdminSettings { listen, token }, config) = settings::load(name, &args.config)?;
    let metrics = telemetry::start_metrics()?;
    let tier = start(config, shutdown.clone()).await?;
    let ready = Arc::new(AtomicBool::new(false));
    let watched = Arc::clone(&ready);
    let operators = Operators {
        listen: args.admin.or(listen).unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0))),
        metrics,
        ready: Arc::new(move || match watched.load(Ordering::Relaxed) {
            true => Ok(()),
            false => Err(format!("the {name} has not reached what it depends on")),
        }),
        token,
        about: About::new(&[name]),
        routes: tier.operators(),
    };
    let admin = admin::start(operators, shutdown.clone()).await?;
    info!(tier = name, listen = %tier.address(), operators = %admin, "started");
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            () = tier.failed() => anyhow::bail!("the {name} broke and must not go on; its log says why"),
            () = tokio::time::sleep(ASK_EVERY) => ready.store(tier.is_ready(), Ordering::Relaxed),
        }
    }
    tier.stopped().await?;
    info!(tier = name, "stopped");
    Ok(())
}
