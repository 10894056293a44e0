//! Every metric of the storage tier, with its unit and labels. Those of the request path are handles,
//! looked up once, at the first use after the process installed its recorder.

use std::sync::{LazyLock, OnceLock};
use std::time::Duration;

use admission::{BurstState, CapacityKind, PartitionLevel, Spare, StorageLayer, StorageRefusal};
use metrics::{
    Counter, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use units::{MilliUnits, NodeId};

const LOG_SYNCS: &str = "weir_storage_log_syncs_total";
const LOG_BYTES: &str = "weir_storage_log_bytes_total";
const LOG_SYNC_SECONDS: &str = "weir_storage_log_sync_seconds";
const LOG_SYNC_BATCHES: &str = "weir_storage_log_sync_batches";
const PROPOSALS: &str = "weir_storage_proposals_total";
const APPLIED: &str = "weir_storage_applied_entries_total";
const QUORUM_READS: &str = "weir_storage_quorum_reads_total";
const CHECKPOINT_SECONDS: &str = "weir_storage_checkpoint_seconds";
const LEADERS: &str = "weir_storage_leaders";
const REPLICAS_BEHIND: &str = "weir_storage_replicas_behind";
const REPLICAS: &str = "weir_storage_replicas";
const LEADERSHIPS_LOST: &str = "weir_storage_leaderships_lost_total";
const LEADERSHIPS_MOVED: &str = "weir_storage_leaderships_moved_total";
const REDIRECTS: &str = "weir_storage_redirects_total";
const SNAPSHOTS: &str = "weir_storage_snapshots_total";
const CORRUPT_ITEMS: &str = "weir_storage_corrupt_items_total";
const OVERLOADED: &str = "weir_storage_overloaded_total";
const BEHIND: &str = "weir_storage_behind_reads_total";
const THROTTLED: &str = "weir_storage_throttled_total";
const PARTITION_LEVEL: &str = "weir_storage_partition_level_least_units";
const PARTITION_BANKED: &str = "weir_storage_partition_banked_least_units";
const PARTITION_DEBT: &str = "weir_storage_partition_debt_units";
const NODE_SPARE: &str = "weir_storage_node_spare_units";
const BACKGROUND_WAIT: &str = "weir_storage_background_wait_seconds";

static HANDLES: LazyLock<Handles> = LazyLock::new(|| Handles {
    log_syncs: counter!(LOG_SYNCS),
    log_bytes: counter!(LOG_BYTES),
    log_sync_seconds: histogram!(LOG_SYNC_SECONDS),
    log_sync_batches: histogram!(LOG_SYNC_BATCHES),
    proposals: counter!(PROPOSALS),
    applied: counter!(APPLIED),
    redirects: counter!(REDIRECTS),
});

struct Handles {
    log_syncs: Counter,
    log_bytes: Counter,
    log_sync_seconds: Histogram,
    log_sync_batches: Histogram,
    proposals: Counter,
    applied: Counter,
    redirects: Counter,
}

/// Declares every metric's unit and meaning to the process's recorder.
pub(crate) fn describe() {
    describe_counter!(LOG_SYNCS, Unit::Count, "Syncs of the node's log.");
    describe_counter!(LOG_BYTES, Unit::Bytes, "Bytes written to the node's log.");
    describe_histogram!(LOG_SYNC_SECONDS, Unit::Seconds, "How long a sync of the log took.");
    describe_histogram!(LOG_SYNC_BATCHES, Unit::Count, "Batches that one sync covered.");
    describe_counter!(PROPOSALS, Unit::Count, "Effects proposed to their groups.");
    describe_counter!(APPLIED, Unit::Count, "Committed entries applied.");
    describe_counter!(QUORUM_READS, Unit::Count, "Strong reads that found no lease and asked a quorum.");
    describe_histogram!(CHECKPOINT_SECONDS, Unit::Seconds, "How long a replica's checkpoint took.");
    describe_gauge!(LEADERS, Unit::Count, "Groups that the node leads.");
    describe_gauge!(REPLICAS, Unit::Count, "Replicas that the node hosts.");
    describe_gauge!(
        REPLICAS_BEHIND,
        Unit::Count,
        "Of these, the ones that are being refilled or know no leader."
    );
    describe_counter!(LEADERSHIPS_LOST, Unit::Count, "Groups that the node led and ceased to serve.");
    describe_counter!(
        LEADERSHIPS_MOVED,
        Unit::Count,
        "Groups whose leadership an operator had moved away, by result: moved, kept."
    );
    describe_counter!(REDIRECTS, Unit::Count, "Requests that were sent to the node that leads.");
    describe_counter!(SNAPSHOTS, Unit::Count, "Snapshots, by event: sent, installed, failed.");
    describe_counter!(CORRUPT_ITEMS, Unit::Count, "Reads refused because an item's checksum did not match.");
    describe_counter!(
        BEHIND,
        Unit::Count,
        "Eventually consistent reads sent elsewhere because the proxy had read a newer state than this node has."
    );
    describe_counter!(
        THROTTLED,
        Unit::Count,
        "Operations refused by a bucket, by layer (partition, node), kind (read, write), burst (why the bank \
         was of no help: empty, node_busy, members_busy; none for the node's) and node."
    );
    describe_gauge!(
        PARTITION_LEVEL,
        "Allocated capacity units left in the partition of the node that has fewest, by kind and node."
    );
    describe_gauge!(
        PARTITION_BANKED,
        "Capacity units banked for bursts in the partition of the node that has fewest, by kind and node."
    );
    describe_gauge!(
        PARTITION_DEBT,
        "Capacity units that all partitions of the node spent before they were earned, by kind and node."
    );
    describe_gauge!(NODE_SPARE, "Capacity units that the node could give to bursts, by kind and node.");
    describe_histogram!(
        BACKGROUND_WAIT,
        Unit::Seconds,
        "How long a step of background work (a chunk of a snapshot, a replica's checkpoint) waited behind \
         customers, by node."
    );
    describe_counter!(OVERLOADED, Unit::Count, "Requests refused because the node had too much to do.");
}

/// A sync of the log: its latency, the bytes and the batches that it covered.
pub(crate) fn log_synced(latency: Duration, bytes: u64, batches: u32) {
    HANDLES.log_syncs.increment(1);
    HANDLES.log_bytes.increment(bytes);
    HANDLES.log_sync_seconds.record(latency.as_secs_f64());
    HANDLES.log_sync_batches.record(f64::from(batches));
}

/// An operation's effect was proposed to its group.
pub(crate) fn proposed() {
    HANDLES.proposals.increment(1);
}

/// Committed entries were applied.
pub(crate) fn applied(entries: u64) {
    HANDLES.applied.increment(entries);
}

/// A strong read found no valid lease, and asks a quorum.
pub(crate) fn quorum_read() {
    counter!(QUORUM_READS).increment(1);
}

/// A replica was checkpointed.
pub(crate) fn checkpointed(took: Duration) {
    histogram!(CHECKPOINT_SECONDS).record(took.as_secs_f64());
}

/// How many groups a node leads, and how many replicas it hosts: by node, since `weir dev` has several.
pub(crate) fn hosting(node: NodeId, leading: usize, replicas: usize, behind: usize) {
    gauge!(LEADERS, "node" => node.to_string()).set(leading as f64);
    gauge!(REPLICAS, "node" => node.to_string()).set(replicas as f64);
    gauge!(REPLICAS_BEHIND, "node" => node.to_string()).set(behind as f64);
}

/// This node ceased to serve a group that it led.
pub(crate) fn leadership_lost() {
    counter!(LEADERSHIPS_LOST).increment(1);
}

/// An operator's move of leaderships away from this node has ended.
pub(crate) fn leaderships_moved(moved: usize, kept: usize) {
    counter!(LEADERSHIPS_MOVED, "result" => "moved").increment(moved as u64);
    counter!(LEADERSHIPS_MOVED, "result" => "kept").increment(kept as u64);
}

/// A request was sent to the node that leads.
pub(crate) fn redirected() {
    HANDLES.redirects.increment(1);
}

/// A snapshot was `sent` or `installed`, or `failed`.
pub(crate) fn snapshot(event: &'static str) {
    counter!(SNAPSHOTS, "event" => event).increment(1);
}

/// A stored item's checksum did not match: it was not served.
pub(crate) fn corrupt_item() {
    counter!(CORRUPT_ITEMS).increment(1);
}

/// A request was refused because the node had too much to do.
pub(crate) fn overloaded() {
    counter!(OVERLOADED).increment(1);
}

/// An eventually consistent read was sent elsewhere because the replica is behind.
pub(crate) fn behind() {
    counter!(BEHIND).increment(1);
}

/// A node's counters of refused operations: looked up once, so that a storm of refusals stays cheap.
#[derive(Debug, Default)]
pub(crate) struct Throttles(OnceLock<[[Counter; 4]; 2]>);

impl Throttles {
    /// A bucket of `node` refused an operation.
    pub(crate) fn count(&self, node: NodeId, refusal: &StorageRefusal) {
        let cause = match (refusal.layer, refusal.burst) {
            (StorageLayer::Partition, BurstState::Empty) => 0,
            (StorageLayer::Partition, BurstState::NodeBusy) => 1,
            (StorageLayer::Partition, BurstState::MembersBusy) => 2,
            (StorageLayer::Node, _) => 3,
        };
        let counters = self.0.get_or_init(|| {
            KINDS.map(|kind| THROTTLE_CAUSES.map(|cause| throttle_counter(node, kind, cause)))
        });
        let kind = usize::from(refusal.kind == CapacityKind::Write);
        counters[kind][cause].increment(1);
    }
}

const KINDS: [CapacityKind; 2] = [CapacityKind::Read, CapacityKind::Write];

/// Layers, and why a partition's bank was of no help.
const THROTTLE_CAUSES: [(&str, &str); 4] =
    [("partition", "empty"), ("partition", "node_busy"), ("partition", "members_busy"), ("node", "none")];

fn throttle_counter(
    node: NodeId,
    kind: CapacityKind,
    (layer, burst): (&'static str, &'static str),
) -> Counter {
    let node = node.to_string();
    counter!(THROTTLED, "layer" => layer, "kind" => kind.name(), "burst" => burst, "node" => node)
}

/// What a node's partitions have left of one kind of capacity.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PartitionsLeft {
    least: Option<(MilliUnits, MilliUnits)>,
    debt: MilliUnits,
}

impl PartitionsLeft {
    /// One more partition.
    pub(crate) fn add(&mut self, partition: PartitionLevel) {
        let PartitionLevel { level, banked, debt } = partition;
        self.least = Some(match self.least {
            Some((least_level, least_banked)) => (least_level.min(level), least_banked.min(banked)),
            None => (level, banked),
        });
        self.debt += debt;
    }
}

/// What the node, and its partitions of reads and of writes, have left.
pub(crate) fn capacity_left(node: NodeId, spare: Spare, partitions: [PartitionsLeft; 2]) {
    for ((kind, spare), left) in KINDS.into_iter().zip([spare.read, spare.write]).zip(partitions) {
        // A node with the catalog alone counts nothing, and may have a storage node's number.
        let Some((level, banked)) = left.least else { continue };
        let labels = [("kind", kind.name().to_owned()), ("node", node.to_string())];
        gauge!(NODE_SPARE, &labels).set(spare.as_units());
        gauge!(PARTITION_LEVEL, &labels).set(level.as_units());
        gauge!(PARTITION_BANKED, &labels).set(banked.as_units());
        gauge!(PARTITION_DEBT, &labels).set(left.debt.as_units());
    }
}

/// A step of background work had its turn.
pub(crate) fn background_waited(node: NodeId, waited: Duration) {
    histogram!(BACKGROUND_WAIT, "node" => node.to_string()).record(waited.as_secs_f64());
}
