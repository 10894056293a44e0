//! Every metric of the storage tier, with its unit and labels.

use std::time::Duration;

use metrics::{counter, gauge, histogram};

/// A sync of the log: its latency, the bytes and the batches that it covered.
pub(crate) fn log_synced(latency: Duration, bytes: u64, batches: u32) {
    counter!("weir_storage_log_syncs_total").increment(1);
    counter!("weir_storage_log_bytes_total").increment(bytes);
    histogram!("weir_storage_log_sync_seconds").record(latency.as_secs_f64());
    histogram!("weir_storage_log_sync_batches").record(f64::from(batches));
}

/// An operation's effect was proposed to its group.
pub(crate) fn proposed() {
    counter!("weir_storage_proposals_total").increment(1);
}

/// Committed entries were applied.
pub(crate) fn applied(entries: u64) {
    counter!("weir_storage_applied_entries_total").increment(entries);
}

/// A replica was checkpointed.
pub(crate) fn checkpointed(took: Duration) {
    histogram!("weir_storage_checkpoint_seconds").record(took.as_secs_f64());
}

/// How many groups this node leads, and how many replicas it hosts.
pub(crate) fn hosting(leading: usize, replicas: usize) {
    gauge!("weir_storage_leaders").set(leading as f64);
    gauge!("weir_storage_replicas").set(replicas as f64);
}

/// This node ceased to serve a group that it led.
pub(crate) fn leadership_lost() {
    counter!("weir_storage_leaderships_lost_total").increment(1);
}

/// A strong read that found no valid lease, and asked a quorum.
pub(crate) fn quorum_read() {
    counter!("weir_storage_quorum_reads_total").increment(1);
}

/// A snapshot was sent or installed, or failed. `event`: `sent`, `installed`, `failed`.
pub(crate) fn snapshot(event: &'static str) {
    counter!("weir_storage_snapshots_total", "event" => event).increment(1);
}

/// A stored item whose checksum did not match: it was not served.
pub(crate) fn corrupt_item() {
    counter!("weir_storage_corrupt_items_total").increment(1);
}

/// A request was refused because the node had too much to do.
pub(crate) fn overloaded() {
    counter!("weir_storage_overloaded_total").increment(1);
}
