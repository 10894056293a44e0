//! A storage node: a replicated node with its listener, its route pushes and its reports.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use wire::transport;

use super::replicated_node::{NodeOptions, ReplicatedNode, StartError};
use super::{peer_finder, reporter, route_pusher};
use crate::{StorageConfig, StorageConfigError};

/// Why a storage node does not run.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// A value of its configuration cannot be.
    #[error(transparent)]
    Config(#[from] StorageConfigError),
    /// It cannot listen.
    #[error("the storage node cannot listen on {0}")]
    Listen(String, #[source] std::io::Error),
    /// Its data cannot be opened.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A file failed, or an invariant of stored data broke: it stopped, and must be replaced or rejoin.
    #[error("the storage node stopped because something broke; see the log")]
    Failed,
}

/// A storage node that was started.
#[derive(Debug)]
pub struct StorageNode;

/// A running storage node.
#[derive(Debug)]
pub struct StorageHandle {
    /// Where it listens.
    pub address: SocketAddr,
    node: ReplicatedNode,
    listener: AbortOnDropHandle<()>,
    tasks: JoinSet<()>,
    serving: CancellationToken,
}

impl StorageNode {
    /// Starts a storage node: it serves what its folder holds when this returns.
    ///
    /// # Errors
    /// See [`StorageError`].
    pub async fn start(config: StorageConfig) -> Result<StorageHandle, StorageError> {
        config.validate()?;
        let refused = |error| StorageError::Listen(config.listen.clone(), error);
        let listener = TcpListener::bind(&config.listen).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        let options = NodeOptions {
            node: config.node_id(),
            zone: config.zone_id(),
            data_dir: config.data_dir.clone(),
            limits: config.limits.clone(),
        };
        let node = ReplicatedNode::start(options, Vec::new()).await?;
        let serving = CancellationToken::new();
        let serve = serve(listener, node.clone(), serving.clone());
        let listener = AbortOnDropHandle::new(tokio::spawn(serve));
        let mut tasks = JoinSet::new();
        let advertised = config.advertise.unwrap_or_else(|| address.to_string());
        if !config.memds.is_empty() {
            tasks.spawn(peer_finder::run(Arc::clone(node.shared()), config.memds.clone()));
        }
        for memds in config.memds {
            tasks.spawn(route_pusher::run(Arc::clone(node.shared()), advertised.clone(), memds));
        }
        if !config.control.is_empty() {
            tasks.spawn(reporter::run(Arc::clone(node.shared()), advertised, config.control));
        }
        tracing::info!(node = config.node, %address, "the storage node serves");
        Ok(StorageHandle { address, node, listener, tasks, serving })
    }
}

async fn serve(listener: TcpListener, node: ReplicatedNode, serving: CancellationToken) {
    if let Err(error) = transport::serve(listener, node.service(), serving).await {
        tracing::error!(%error, "the listener failed");
        node.failed().cancel();
    }
}

impl StorageHandle {
    /// The node behind it.
    #[must_use]
    pub fn node(&self) -> &ReplicatedNode {
        &self.node
    }

    /// Hands leaderships over, answers what is under way, makes everything durable, joins everything.
    pub async fn shutdown(mut self) {
        self.node.hand_over().await;
        // Clients leave while the node still answers them: none is cut off with a request on its way.
        self.serving.cancel();
        if let Err(error) = self.listener.await {
            tracing::error!(%error, "the listener panicked");
        }
        self.node.end().await;
        while self.tasks.join_next().await.is_some() {}
    }

    /// Ends at once, as a crash would: connections break, nothing is handed over or flushed.
    pub async fn abort(mut self) {
        self.listener.abort();
        let _aborted = self.listener.await;
        self.tasks.shutdown().await;
        self.node.abort().await;
    }
}

/// Runs a storage node until `shutdown`, or until something breaks.
///
/// # Errors
/// See [`StorageError`].
pub async fn run(config: StorageConfig, shutdown: CancellationToken) -> Result<(), StorageError> {
    let handle = StorageNode::start(config).await?;
    let failed = handle.node.failed();
    tokio::select! {
        () = shutdown.cancelled() => {
            handle.shutdown().await;
            Ok(())
        }
        () = failed.cancelled() => {
            handle.abort().await;
            Err(StorageError::Failed)
        }
    }
}
