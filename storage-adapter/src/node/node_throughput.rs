//! What this node's machine can do: its bucket, and what the other nodes can still take.

use std::sync::Arc;
use std::time::Duration;

use admission::{
    CapacityKind, Charge, Class, Demand, MemberCapacity, NodeBucket, PartitionBucket, Spare, StorageRefusal,
};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use units::{MilliUnits, NodeId, PartitionId, Timestamp};

use super::partition_throughput::PartitionThroughput;
use crate::{StorageLimits, metrics};

/// The group that keeps the control plane's catalog: without it nothing can be changed or healed, and no
/// customer reaches it. No bucket counts it.
const CATALOG: PartitionId = PartitionId::new(0);

/// The shortest wait before background work asks again.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);
/// The longest: others may have left something long before what was foretold.
const LONGEST_WAIT: Duration = Duration::from_millis(100);

/// The node's bucket and the members' snapshots. Each is locked for some tens of nanoseconds at a time: at
/// 200,000 operations a second that is below one per cent of the time.
#[derive(Debug)]
pub(crate) struct NodeThroughput {
    node: NodeId,
    limits: admission::PartitionLimits,
    bucket: Mutex<NodeBucket>,
    members: Mutex<MemberCapacity>,
    throttles: metrics::Throttles,
}

impl NodeThroughput {
    pub(crate) fn new(node: NodeId, limits: &StorageLimits, now: Timestamp) -> Self {
        Self {
            node,
            limits: limits.partition(),
            bucket: Mutex::new(NodeBucket::new(limits.node(), now)),
            members: Mutex::default(),
            throttles: metrics::Throttles::default(),
        }
    }

    /// The buckets of a replica that this node begins to host.
    pub(crate) fn partition(
        self: &Arc<Self>,
        partition: PartitionId,
        now: Timestamp,
    ) -> Arc<PartitionThroughput> {
        let bucket = (partition != CATALOG).then(|| PartitionBucket::new(self.limits, now));
        Arc::new(PartitionThroughput::new(Arc::clone(self), bucket))
    }

    /// Takes what an operation asks for, here and at its partition; `members` are the group's.
    pub(super) fn take(
        &self,
        bucket: &Mutex<PartitionBucket>,
        demand: Demand,
        members: impl Fn() -> Vec<NodeId>,
        now: Timestamp,
    ) -> Result<Charge, StorageRefusal> {
        let others = |cost| {
            let others: Vec<_> = members().into_iter().filter(|member| *member != self.node).collect();
            self.members.lock().spend(others.iter().copied(), cost, now)
        };
        let taken = bucket.lock().take(demand, &mut self.bucket.lock(), others, now);
        if let Err(refusal) = &taken {
            self.throttles.count(self.node, refusal);
        }
        taken
    }

    /// Whether an admitted operation that waited should still be executed.
    pub(super) fn recheck(
        &self,
        bucket: &Mutex<PartitionBucket>,
        charge: &Charge,
        now: Timestamp,
    ) -> Result<(), StorageRefusal> {
        let checked = bucket.lock().recheck(charge, now);
        if let Err(refusal) = &checked {
            self.throttles.count(self.node, refusal);
        }
        checked
    }

    pub(super) fn settle(
        &self,
        bucket: &Mutex<PartitionBucket>,
        charge: Charge,
        cost: MilliUnits,
        now: Timestamp,
    ) {
        bucket.lock().settle(charge, cost, &mut self.bucket.lock(), now);
    }

    pub(super) fn applied(&self, bucket: &Mutex<PartitionBucket>, cost: MilliUnits, now: Timestamp) {
        bucket.lock().charge(CapacityKind::Write, cost, &mut self.bucket.lock(), now);
    }

    /// What this node could still give to bursts.
    pub(crate) fn spare(&self, now: Timestamp) -> Spare {
        self.bucket.lock().spare(now)
    }

    /// Another node said what it could still give.
    pub(crate) fn hear(&self, from: NodeId, spare: Spare, now: Timestamp) {
        self.members.lock().hear(from, spare.write, now);
    }

    /// Waits until customers leave `cost` for background work, or until it has had its turn by the part
    /// that is set aside for it; at most `patience`, then it is charged all the same: a checkpoint or a
    /// refill that never ends would endanger the group. Returns early when the node stops.
    pub(crate) async fn background(
        &self,
        kind: CapacityKind,
        cost: MilliUnits,
        patience: Duration,
        stopping: &CancellationToken,
    ) {
        let mut wait = Wait::new(patience);
        while let Some(pause) = self.pause(kind, cost, &mut wait) {
            if stopping.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                return;
            }
        }
    }

    /// The same, on a thread of its own.
    pub(crate) fn background_blocking(
        &self,
        kind: CapacityKind,
        cost: MilliUnits,
        patience: Duration,
        stopping: impl Fn() -> bool,
    ) {
        let mut wait = Wait::new(patience);
        while let Some(pause) = self.pause(kind, cost, &mut wait) {
            if stopping() {
                return;
            }
            std::thread::sleep(pause);
        }
    }

    /// Takes `cost`, or says how long to pause before asking again.
    fn pause(&self, kind: CapacityKind, cost: MilliUnits, wait: &mut Wait) -> Option<Duration> {
        let now = wire::clock::now();
        let taken = self.bucket.lock().take(kind, Class::Background, cost, now);
        let pause = match taken {
            Ok(()) => None,
            Err(_) if now >= wait.until => {
                self.bucket.lock().charge(kind, cost, now);
                None
            }
            Err(shortage) => Some(shortage.retry_after.clamp(SHORTEST_WAIT, LONGEST_WAIT)),
        };
        if pause.is_none() {
            metrics::background_waited(self.node, now.since(wait.began));
        }
        pause
    }

    /// Shows what the node and its partitions have left.
    pub(crate) fn show<'a>(
        &self,
        partitions: impl Iterator<Item = &'a Arc<PartitionThroughput>>,
        now: Timestamp,
    ) {
        let mut least = [metrics::PartitionsLeft::default(); 2];
        for partition in partitions {
            for (at, kind) in [CapacityKind::Read, CapacityKind::Write].into_iter().enumerate() {
                if let Some(level) = partition.level(kind, now) {
                    least[at].add(level);
                }
            }
        }
        metrics::capacity_left(self.node, self.spare(now), least);
    }
}

/// How long background work has waited, and until when it may.
struct Wait {
    began: Timestamp,
    until: Timestamp,
}

impl Wait {
    fn new(patience: Duration) -> Self {
        let began = wire::clock::now();
        Self { began, until: began + patience }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn busy_node() -> (NodeThroughput, Timestamp) {
        // 100 units a second, five of them set aside for background work.
        let limits = StorageLimits {
            node_read_units: 100,
            node_write_units: 100,
            node_background_percent: 5,
            ..StorageLimits::default()
        };
        let now = wire::clock::now();
        let node = NodeThroughput::new(NodeId::new(1), &limits, now);
        node.bucket.lock().charge(CapacityKind::Write, MilliUnits::from_units(200), now);
        (node, now)
    }

    #[tokio::test]
    async fn background_work_on_a_busy_node_passes_when_its_patience_ends() {
        let (node, _) = busy_node();
        let cost = MilliUnits::from_units(1_000);
        let never = CancellationToken::new();
        // The first passes by what was set aside, and leaves that in debt for minutes.
        node.background(CapacityKind::Write, cost, Duration::ZERO, &never).await;
        let mut wait = Wait::new(Duration::from_secs(600));
        assert_eq!(node.pause(CapacityKind::Write, cost, &mut wait), Some(LONGEST_WAIT));
        let mut wait = Wait::new(Duration::ZERO);
        assert_eq!(node.pause(CapacityKind::Write, cost, &mut wait), None);
    }

    #[tokio::test]
    async fn background_work_waits_no_longer_once_the_node_stops() {
        let (node, _) = busy_node();
        let cost = MilliUnits::from_units(1_000);
        let stopping = CancellationToken::new();
        node.background(CapacityKind::Write, cost, Duration::ZERO, &stopping).await;
        stopping.cancel();
        node.background(CapacityKind::Write, cost, Duration::from_secs(600), &stopping).await;
        node.background_blocking(CapacityKind::Write, cost, Duration::from_secs(600), || {
            stopping.is_cancelled()
        });
    }
}
