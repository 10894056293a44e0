//! Keeps the nodes' addresses: asks MemDS for them on start, periodically, and when a route names a node
//! that is not known.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use routing::NodeAddress;
use tokio_util::sync::CancellationToken;
use tracing::warn;
use wire::method::Nodes;
use wire::proto::routing::{Node, NodesRequest};

use super::Inner;

/// How often the addresses are asked for anew.
const EVERY: Duration = Duration::from_secs(5);
/// At most so often when unknown nodes turn up, so that many routes to new nodes ask once; also the
/// interval while no node is known.
const AT_MOST_EVERY: Duration = Duration::from_millis(20);
/// How long one question waits.
const DEADLINE: Duration = Duration::from_secs(1);

pub(super) async fn keep_nodes(inner: Arc<Inner>, shutdown: CancellationToken) {
    loop {
        let round = async {
            ask(&inner).await;
            tokio::time::sleep(AT_MOST_EVERY).await;
            if !inner.nodes.borrow().is_empty() {
                let _periodic = tokio::time::timeout(EVERY, inner.node_unknown.notified()).await;
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = round => {}
        }
    }
}

/// Asks every server, and takes in the latest incarnation of each node, as the answers come: no server waits
/// for another that is slow or away.
pub(super) async fn ask(inner: &Inner) {
    let mut answers: FuturesUnordered<_> = inner
        .memds
        .iter()
        .map(|server| server.connection.call::<Nodes>(&NodesRequest {}, DEADLINE))
        .collect();
    while let Some(answer) = answers.next().await {
        // No answer is not news: another server's is.
        learn(inner, answer.map(|answer| answer.nodes).unwrap_or_default());
    }
}

fn learn(inner: &Inner, nodes: Vec<Node>) {
    let mut seen = Vec::with_capacity(nodes.len());
    for node in nodes {
        match NodeAddress::try_from(node) {
            Ok(node) => seen.push(node),
            Err(error) => warn!(%error, "MemDS sent a malformed node"),
        }
    }
    inner.nodes.send_if_modified(|nodes| {
        seen.retain(|node| nodes.would_learn(node));
        if seen.is_empty() {
            return false;
        }
        let directory = Arc::make_mut(nodes);
        seen.into_iter().fold(false, |changed, node| directory.learn(node) | changed)
    });
}
