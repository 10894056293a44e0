//! Operators' commands: `weir quota`, `top`, `explain`, `gac`, `routes`, `memds`, `cache`, `leaders`; what they ask is the operators'
//! endpoint of each process (`crate::admin`).

pub(crate) mod args;
pub(crate) mod cache;
mod client;
mod confirm;
pub(crate) mod explain;
pub(crate) mod failure;
mod figure;
mod fleet;
pub(crate) mod gac;
mod in_force;
pub(crate) mod leader_args;
pub(crate) mod leaders;
pub(crate) mod memds;
pub(crate) mod metadata_args;
pub(crate) mod quota;
mod quota_change;
mod quota_text;
mod route_agreement;
pub(crate) mod routes;
pub(crate) mod top;

use std::future::Future;

use tokio_util::sync::CancellationToken;

use failure::Failure;

/// Runs a command until it is done or the operator has had enough.
pub(crate) async fn until(
    shutdown: &CancellationToken,
    command: impl Future<Output = Result<(), Failure>>,
) -> anyhow::Result<()> {
    match shutdown.run_until_cancelled(command).await {
        Some(Err(Failure::Other(error))) => Err(error),
        Some(Err(failure)) => Err(failure.into()),
        Some(Ok(())) | None => Ok(()),
    }
}
