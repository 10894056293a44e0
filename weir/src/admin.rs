//! The operators' endpoint: `/livez`, `/readyz`, `/metrics`, on loopback unless configured.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// How often histograms are folded, so that an unscraped process does not grow.
const UPKEEP: Duration = Duration::from_secs(5);

/// Whether the process can serve now, and if not, why.
pub(crate) type Readiness = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

#[derive(Clone)]
struct Shared {
    metrics: PrometheusHandle,
    ready: Readiness,
}

/// Binds the endpoint and serves it in the background until `shutdown`; returns where it listens.
pub(crate) async fn start(
    listen: SocketAddr,
    metrics: PrometheusHandle,
    ready: Readiness,
    shutdown: CancellationToken,
) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind(listen).await.with_context(|| {
        format!("cannot listen on {listen} for operators (--admin-port 0 takes a free port)")
    })?;
    let address = listener.local_addr()?;
    tokio::spawn(upkeep(metrics.clone(), shutdown.clone()));
    let routes = Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(async |State(shared): State<Shared>| shared.metrics.render()))
        .with_state(Shared { metrics, ready });
    tokio::spawn(async move {
        let served = axum::serve(listener, routes).with_graceful_shutdown(shutdown.cancelled_owned()).await;
        if let Err(error) = served {
            tracing::error!(%error, "the operators' endpoint failed");
        }
    });
    Ok(address)
}

async fn readyz(State(shared): State<Shared>) -> (StatusCode, String) {
    match (shared.ready)() {
        Ok(()) => (StatusCode::OK, "ready\n".to_owned()),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n")),
    }
}

async fn upkeep(metrics: PrometheusHandle, shutdown: CancellationToken) {
    while tokio::time::timeout(UPKEEP, shutdown.cancelled()).await.is_err() {
        metrics.run_upkeep();
    }
}
