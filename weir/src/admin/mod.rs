//! The operators' endpoint: `/livez`, `/readyz`, `/metrics`, and what the process's tier offers operators
//!; on loopback unless configured.
//!
//! Who may do what stands in `access.rs`.

mod access;
mod answer;
mod gac;
mod listener;
mod memds;
mod proxy;
mod quotas;
mod storage;

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
pub(crate) use gac::routes as gac_routes;
pub(crate) use memds::{ServerRoutes, routes as memds_routes};
pub(crate) use proxy::{FlushRequest, routes as proxy_routes};
pub(crate) use quotas::{RingAction, RingRequest, routes as quota_routes};
pub(crate) use storage::{MoveRequest, routes as storage_routes};

/// How often histograms are folded, so that an unscraped process does not grow.
const UPKEEP: Duration = Duration::from_secs(5);

/// Bytes of a request's body: a change of a quota takes less than 1 KiB.
const MAX_BODY: usize = 64 << 10;

/// The file in its data folder in which `weir dev` writes where its operators' endpoint is.
pub(crate) const ENDPOINT_FILE: &str = "operators-endpoint";

/// The file beside it that says where the DynamoDB endpoint is.
pub(crate) const DYNAMODB_ENDPOINT_FILE: &str = "endpoint";

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

#[cfg(test)]
mod tests {
    use axum::routing::post;
    use http_body_util::{BodyExt, Full};
    use hyper::body::Bytes;
    use hyper::{Method, Request};
    use hyper_util::client::legacy::Client;
    use hyper_util::rt::TokioExecutor;
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;

    const TOKEN: &str = "0123456789abcdef0123";

    #[tokio::test]
    async fn changes_need_the_token_and_reads_do_not() {
        let endpoint = Endpoint::start(Some(TOKEN)).await;
        assert_eq!(endpoint.ask(Method::GET, "/thing", None, "").await, (200, "read".to_owned()));
        assert_eq!(endpoint.ask(Method::POST, "/thing", None, "x").await.0, 401);
        assert_eq!(endpoint.ask(Method::POST, "/thing", Some("wrong"), "x").await.0, 401);
        assert_eq!(endpoint.ask(Method::POST, "/thing", Some(TOKEN), "x").await, (200, "x".to_owned()));
    }

    #[tokio::test]
    async fn without_a_configured_token_changes_are_refused_with_the_reason() {
        let endpoint = Endpoint::start(None).await;
        let (status, body) = endpoint.ask(Method::POST, "/thing", Some(TOKEN), "x").await;
        assert_eq!(status, 403);
        assert!(body.contains("WEIR_OPERATOR_TOKEN"), "{body}");
    }

    #[tokio::test]
    async fn paths_methods_and_bodies_that_do_not_fit_get_a_problem_as_json() {
        let endpoint = Endpoint::start(Some(TOKEN)).await;
        let (status, body) = endpoint.ask(Method::GET, "/nowhere", None, "").await;
        assert_eq!((status, body.contains("not_found")), (404, true), "{body}");
        let (status, body) = endpoint.ask(Method::DELETE, "/thing", Some(TOKEN), "").await;
        assert_eq!((status, body.contains("bad_method")), (405, true), "{body}");
        let large = "x".repeat(MAX_BODY + 1);
        assert_eq!(endpoint.ask(Method::POST, "/thing", Some(TOKEN), &large).await.0, 413);
    }

    #[tokio::test]
    async fn probes_and_metrics_and_what_runs_here_are_told() {
        let endpoint = Endpoint::start(None).await;
        assert_eq!(endpoint.ask(Method::GET, "/livez", None, "").await, (200, "ok\n".to_owned()));
        let (status, body) = endpoint.ask(Method::GET, "/readyz", None, "").await;
        assert_eq!((status, body.as_str()), (503, "not ready: no reason\n"));
        assert_eq!(endpoint.ask(Method::GET, "/metrics", None, "").await.0, 200);
        let (_, about) = endpoint.ask(Method::GET, "/about", None, "").await;
        assert_eq!(serde_json::from_str::<About>(&about).unwrap(), About::new(&["proxy"]));
    }

    struct Endpoint {
        address: SocketAddr,
        _stop: tokio_util::sync::DropGuard,
    }

    impl Endpoint {
        async fn start(token: Option<&str>) -> Self {
            let shutdown = CancellationToken::new();
            let operators = Operators {
                listen: SocketAddr::from(([127, 0, 0, 1], 0)),
                metrics: PrometheusBuilder::new().build_recorder().handle(),
                ready: Arc::new(|| Err("no reason".to_owned())),
                token: token.map(|text| text.to_owned().try_into().unwrap()),
                about: About::new(&["proxy"]),
                routes: Router::new()
                    .route("/thing", get(async || "read").merge(post(async |body: String| body))),
            };
            let address = super::start(operators, shutdown.clone()).await.unwrap();
            Self { address, _stop: shutdown.drop_guard() }
        }

        async fn ask(&self, method: Method, path: &str, token: Option<&str>, body: &str) -> (u16, String) {
            let mut request = Request::builder().method(method).uri(format!("http://{}{path}", self.address));
            if let Some(token) = token {
                request = request.header("Authorization", format!("Bearer {token}"));
            }
            let request = request.body(Full::new(Bytes::copy_from_slice(body.as_bytes()))).unwrap();
            let response = Client::builder(TokioExecutor::new()).build_http().request(request).await.unwrap();
            let status = response.status().as_u16();
            let body = response.into_body().collect().await.unwrap().to_bytes();
            (status, String::from_utf8_lossy(&body).into_owned())
        }
    }
}
