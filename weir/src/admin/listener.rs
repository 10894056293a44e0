//! Takes the operators' connections: few, with deadlines.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// Connections at once: scrapers, probes, and people at work; further ones wait to be accepted.
const MAX_CONNECTIONS: usize = 128;
/// From a connection's or an answer's end to the next request's head.
const HEAD_WITHIN: Duration = Duration::from_secs(30);
/// What is in progress gets so long when the process stops.
const DRAIN_WITHIN: Duration = Duration::from_secs(1);
/// After a failed accept (no file descriptors are left, say).
const PAUSE: Duration = Duration::from_millis(100);

/// Serves until `shutdown`.
pub(super) async fn serve(listener: TcpListener, routes: Router, shutdown: CancellationToken) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let graceful = GracefulShutdown::new();
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEAD_WITHIN);
    loop {
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let Some((place, accepted)) = shutdown.run_until_cancelled(accepted).await else { break };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept an operator's connection");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let service = TowerToHyperService::new(routes.clone());
        let connection = graceful.watch(server.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            let _place = place;
            if let Err(error) = connection.await {
                tracing::debug!(%error, "an operator's connection broke");
            }
        });
    }
    if tokio::time::timeout(DRAIN_WITHIN, graceful.shutdown()).await.is_err() {
        tracing::debug!("an operator's request was still in progress");
    }
}
