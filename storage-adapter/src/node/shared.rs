//! What the node's loop, its tasks and its service share.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use dynamodb::expression::ExpressionCache;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use units::{Epoch, NodeId, PartitionId, Zone};

use super::departures::Departures;
use super::hosted::Directory;
use super::inbox::Inbox;
use super::lagging_reads::MOST_WAITING;
use super::manifest::{Manifest, ManifestFile};
use super::node_throughput::NodeThroughput;
use super::peers::Peers;
use super::route_changes::RouteChanges;
use super::snapshot_receiver::SnapshotReceiver;
use super::turns::Turns;
use crate::StorageLimits;

/// The node, as everything but its loop sees it.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) node: NodeId,
    pub(crate) zone: Zone,
    pub(crate) incarnation: Epoch,
    pub(crate) limits: StorageLimits,
    pub(crate) inbox: Inbox,
    pub(super) turns: Turns,
    pub(crate) directory: Directory,
    pub(crate) peers: Peers,
    pub(crate) expressions: ExpressionCache,
    pub(crate) runtime: tokio::runtime::Handle,
    pub(crate) range_reads: Arc<Semaphore>,
    /// Of reads that wait for their replica to catch up.
    pub(crate) lagging_reads: Arc<Semaphore>,
    pub(crate) snapshots: Arc<Semaphore>,
    pub(crate) receiver: SnapshotReceiver,
    /// What the machine and each partition may do: every operation passes it before it is executed.
    pub(crate) throughput: Arc<NodeThroughput>,
    pub(crate) files: Option<NodeFiles>,
    /// Cancelled when the node must stop because something broke.
    pub(crate) failed: CancellationToken,
    /// Cancelled when the node stops.
    pub(crate) stopping: CancellationToken,
    /// Which routes changed, and when.
    pub(crate) route_changes: RouteChanges,
    /// Which leaderships left lately.
    pub(crate) departures: Departures,
    /// Held while leaderships are moved away: one such request at a time.
    pub(crate) moving: tokio::sync::Mutex<()>,
}

/// A node's folder.
#[derive(Debug)]
pub(crate) struct NodeFiles {
    pub(crate) directory: PathBuf,
    pub(crate) manifest: Mutex<(ManifestFile, Manifest)>,
    /// Locked for as long as the node runs: nobody else uses the folder.
    pub(crate) lock: Mutex<Option<std::fs::File>>,
}

impl NodeFiles {
    /// The folder of the node's log.
    pub(crate) fn log(directory: &Path) -> PathBuf {
        directory.join("log")
    }

    /// The folder of the replicas' files.
    pub(crate) fn replicas(directory: &Path) -> PathBuf {
        directory.join("replicas")
    }

    /// A replica's file.
    pub(crate) fn replica(&self, partition: PartitionId) -> PathBuf {
        Self::replicas(&self.directory).join(format!("{}.redb", partition.get()))
    }

    /// A received snapshot, whole or in the making, that will become the replica's file.
    pub(crate) fn incoming(&self, partition: PartitionId) -> PathBuf {
        Self::replicas(&self.directory).join(format!("{}.incoming", partition.get()))
    }

    /// A snapshot that is being received.
    pub(crate) fn building(&self, partition: PartitionId) -> PathBuf {
        Self::replicas(&self.directory).join(format!("{}.building", partition.get()))
    }
}

/// What a node's shared part is made of.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) node: NodeId,
    pub(crate) zone: Zone,
    pub(crate) incarnation: Epoch,
}

impl Shared {
    pub(crate) fn new(
        identity: Identity,
        limits: StorageLimits,
        files: Option<NodeFiles>,
        runtime: tokio::runtime::Handle,
    ) -> Self {
        Self {
            node: identity.node,
            zone: identity.zone,
            incarnation: identity.incarnation,
            inbox: Inbox::new(limits.inbox_requests),
            turns: Turns::default(),
            directory: Directory::default(),
            peers: Peers::new(identity.node, identity.incarnation, runtime.clone()),
            expressions: ExpressionCache::default(),
            runtime,
            range_reads: Arc::new(Semaphore::new(limits.range_reads)),
            lagging_reads: Arc::new(Semaphore::new(MOST_WAITING)),
            snapshots: Arc::new(Semaphore::new(limits.snapshots)),
            receiver: SnapshotReceiver::default(),
            throughput: Arc::new(NodeThroughput::new(identity.node, &limits, wire::clock::now())),
            files,
            failed: CancellationToken::new(),
            stopping: CancellationToken::new(),
            route_changes: RouteChanges::default(),
            departures: Departures::default(),
            moving: tokio::sync::Mutex::new(()),
            limits,
        }
    }

    /// Something broke that must not be retried: the node stops.
    pub(crate) fn fail(&self, reason: &str) {
        tracing::error!(node = %self.node, reason, "the storage node stops: its replicas rejoin from their peers");
        self.failed.cancel();
        self.inbox.rouse();
    }
}
