//! The operators' endpoint: `/livez`, `/readyz`, `/metrics`, and what the process's tier offers operators
//!; on loopback unless configured.
//!
//! Who may do what stands in `access.rs`.

mod access;
mod answer;
mod listener;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router, middleware};
use metrics_exporter_prometheus::PrometheusHandle;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::operator_token::OperatorToken;
pub(crate) use answer::{Problem, ProblemKind};

/// How often histograms are folded, so that an unscraped process does not grow.
const UPKEEP: Duration = Duration::from_secs(5);

/// Bytes of a request's body: a change of a quota takes less than 1 KiB.
const MAX_BODY: usize = 64 << 10;

/// The file in its data folder in which `weir dev` writes where its operators' endpoint is.
pub(crate) const ENDPOINT_FILE: &str = "operators-endpoint";

/// Whether the process can serve now, and if not, why.
pub(crate) type Readiness = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// What an operators' endpoint serves.
pub(crate) struct Operators {
    /// Where it listens.
    pub listen: SocketAddr,
    /// What `/metrics` shows.
    pub metrics: PrometheusHandle,
    /// What `/readyz` says.
    pub ready: Readiness,
    /// Who shows it may change things; with none, nobody may.
    pub token: Option<OperatorToken>,
    /// What `/about` says.
    pub about: About,
    /// What the process's tiers offer.
    pub routes: Router,
}

/// Which tiers a process runs: tells a command whom to ask what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct About {
    /// Of `proxy`, `gac`, `memds`, `storage`, `control`.
    pub tiers: Vec<String>,
    /// Weir's version.
    pub version: String,
}

impl About {
    /// A process of this version that runs `tiers`.
    pub(crate) fn new(tiers: &[&str]) -> Self {
        Self {
            tiers: tiers.iter().map(|&tier| tier.to_owned()).collect(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

#[derive(Clone)]
struct Shared {
    metrics: PrometheusHandle,
    ready: Readiness,
}

/// Binds the endpoint and serves it in the background until `shutdown`; returns where it listens.
pub(crate) async fn start(operators: Operators, shutdown: CancellationToken) -> anyhow::Result<SocketAddr> {
    let listen = operators.listen;
    let listener = TcpListener::bind(listen).await.with_context(|| {
        format!("cannot listen on {listen} for operators (--admin-port 0 takes a free port)")
    })?;
    let address = listener.local_addr()?;
    tokio::spawn(upkeep(operators.metrics.clone(), shutdown.clone()));
    tokio::spawn(listener::serve(listener, routes(operators, address), shutdown));
    Ok(address)
}

fn routes(operators: Operators, address: SocketAddr) -> Router {
    let Operators { metrics, ready, token, about, routes, .. } = operators;
    let access = Arc::new(access::Access::new(token, address.ip().is_loopback()));
    routes
        .route("/about", get(async move || Json(about.clone())))
        .fallback(async || Problem::not_found("there is nothing at this path"))
        .method_not_allowed_fallback(async || Problem::bad_method())
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn(answer::within_deadline))
        .layer(middleware::from_fn_with_state(access, access::check))
        // Probes and scrapes carry no token, wherever they come from.
        .merge(
            Router::new()
                .route("/livez", get(async || "ok\n"))
                .route("/readyz", get(readyz))
                .route("/metrics", get(async |State(shared): State<Shared>| shared.metrics.render()))
                .with_state(Shared { metrics, ready }),
        )
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
