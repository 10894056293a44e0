//! The replicas that this node hosts, as its request tasks see them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::RwLock;
use replication::LeaseView;
use routing::{Route, RouteVersion};
use tokio::sync::watch;
use units::{LogIndex, NodeId, PartitionId, Term};

use super::assignment::Assignment;
use super::partition_throughput::PartitionThroughput;
use crate::engine::Replica;

/// Who leads a group, as far as this node knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leadership {
    /// The newest term known.
    pub term: Term,
    /// Its leader, if known.
    pub leader: Option<NodeId>,
    /// Whether this node leads and serves: every earlier lease is over.
    pub serving: bool,
}

/// One hosted replica.
#[derive(Debug)]
pub(crate) struct Hosted {
    assignment: RwLock<Arc<Assignment>>,
    replica: RwLock<Arc<Replica>>,
    /// The loop's own view of the lease, without a hop to it.
    pub(crate) lease: Arc<LeaseView>,
    /// Its buckets.
    pub(crate) throughput: Arc<PartitionThroughput>,
    /// Its data are not whole: nothing is read from it.
    refilling: AtomicBool,
    leadership: watch::Sender<Leadership>,
    /// The newest of the node's changes of routes that was this replica's.
    changed: AtomicU64,
}

impl Hosted {
    pub(crate) fn new(
        assignment: Assignment,
        replica: Arc<Replica>,
        lease: Arc<LeaseView>,
        throughput: Arc<PartitionThroughput>,
        refilling: bool,
    ) -> Self {
        Self {
            assignment: RwLock::new(Arc::new(assignment)),
            replica: RwLock::new(replica),
            lease,
            throughput,
            refilling: AtomicBool::new(refilling),
            leadership: watch::Sender::new(Leadership::default()),
            changed: AtomicU64::new(0),
        }
    }

    pub(crate) fn assignment(&self) -> Arc<Assignment> {
        Arc::clone(&self.assignment.read())
    }

    /// Takes a newer description of the same group.
    pub(crate) fn reassign(&self, assignment: Assignment) {
        let mut current = self.assignment.write();
        if assignment.configuration >= current.configuration {
            *current = Arc::new(assignment);
        }
    }

    pub(crate) fn partition(&self) -> PartitionId {
        self.assignment.read().partition
    }

    pub(crate) fn replica(&self) -> Arc<Replica> {
        Arc::clone(&self.replica.read())
    }

    /// Whether the replica has applied the log up to `index`.
    pub(crate) fn has_applied(&self, index: LogIndex) -> bool {
        index == LogIndex::default() || self.replica.read().applied().position.index >= index
    }

    pub(crate) fn replace_replica(&self, replica: Arc<Replica>) {
        *self.replica.write() = replica;
    }

    pub(crate) fn is_refilling(&self) -> bool {
        self.refilling.load(Ordering::Acquire)
    }

    /// Whether it may lack what the group has: it is being refilled, or knows no leader to learn from.
    pub(crate) fn is_behind(&self) -> bool {
        self.is_refilling() || self.lease.leader().is_none()
    }

    pub(crate) fn refilled(&self) {
        self.refilling.store(false, Ordering::Release);
    }

    /// Whether `key` belongs to the partition.
    pub(crate) fn holds(&self, key: &[u8]) -> bool {
        self.assignment.read().range.contains(key)
    }

    pub(crate) fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.subscribe()
    }

    pub(crate) fn set_leadership(&self, leadership: Leadership) {
        self.leadership.send_replace(leadership);
    }

    pub(crate) fn note_change(&self, change: u64) {
        self.changed.store(change, Ordering::Release);
    }

    pub(crate) fn changed_since(&self, change: u64) -> bool {
        self.changed.load(Ordering::Acquire) > change
    }

    /// What this node knows of where the partition is.
    pub(crate) fn route(&self) -> Route {
        let assignment = self.assignment();
        let (term, leader) = self.lease.leadership();
        Route {
            table: assignment.table,
            partition: assignment.partition,
            range: assignment.range.clone(),
            members: assignment.members.clone(),
            leader,
            version: RouteVersion { configuration: assignment.configuration, term },
        }
    }
}

/// All replicas of this node.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    replicas: RwLock<BTreeMap<PartitionId, Arc<Hosted>>>,
}

impl Directory {
    pub(crate) fn get(&self, partition: PartitionId) -> Option<Arc<Hosted>> {
        self.replicas.read().get(&partition).map(Arc::clone)
    }

    pub(crate) fn insert(&self, hosted: Arc<Hosted>) {
        let partition = hosted.partition();
        self.replicas.write().insert(partition, hosted);
    }

    pub(crate) fn remove(&self, partition: PartitionId) {
        self.replicas.write().remove(&partition);
    }

    pub(crate) fn all(&self) -> Vec<Arc<Hosted>> {
        self.replicas.read().values().map(Arc::clone).collect()
    }
}
