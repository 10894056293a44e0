//! One tier as its own process: configuration, operators' endpoint, the tier, until a signal.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::admin::{self, Readiness};
use crate::cli::TierArgs;
use crate::{settings, telemetry};

/// `weir proxy`.
pub async fn run_proxy(args: TierArgs, shutdown: CancellationToken) -> anyhow::Result<()> {
    let (process, config) = Process::load::<proxy::Config>("proxy", &args)?;
    proxy::describe_metrics();
    let tier = Arc::new(proxy::start(config, shutdown.clone()).await?);
    let watched = Arc::clone(&tier);
    let address = tier.address();
    process.serve("proxy", address, Arc::new(move || watched.readiness()), &shutdown).await?;
    tier.finished().await?;
    Ok(())
}
