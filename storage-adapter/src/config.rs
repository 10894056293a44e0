//! What a storage node is told at its start.

use std::path::PathBuf;
use std::time::Duration;

use admission::{NodeLimits, PartitionLimits};
use serde::Deserialize;
use units::{MilliUnitsPerSecond, NodeId, Zone};

/// Configuration of one storage node.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StorageConfig {
    /// The node's number in the fleet, never 0.
    pub node: u64,
    /// The availability zone that it stands in: 0, 1, 2, …
    pub zone: u8,
    /// Where it listens, `host:port`; port 0 takes a free one.
    pub listen: String,
    /// Where others reach it; default: where it listens.
    #[serde(default)]
    pub advertise: Option<String>,
    /// The folder that it owns. None: ephemeral, everything is in memory and gone at the end.
    #[serde(default)]
    pub data_dir: Option<PathBuf>,
    /// The MemDS servers that it pushes its routes to, `host:port` each.
    #[serde(default)]
    pub memds: Vec<String>,
    /// The control plane's members that it reports to, `host:port` each.
    #[serde(default)]
    pub control: Vec<String>,
    /// Bounds and sizes; the defaults serve a whole node.
    #[serde(default)]
    pub limits: StorageLimits,
}

/// Bounds and sizes of one node.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StorageLimits {
    /// Bytes of one segment of the log, per node. Default 64 MiB.
    pub segment_bytes: u32,
    /// Bytes of log after which the node's replicas are checkpointed: what a restart replays at most.
    /// Default 32 MiB.
    pub checkpoint_log_bytes: u64,
    /// Seconds after which anything applied is checkpointed even if little was written. Default 300.
    pub checkpoint_age_seconds: u64,
    /// Bytes of B-tree cache, per replica. Default 1 MiB.
    pub tree_cache_bytes: usize,
    /// Requests that may wait for the node's loop, per node. Default 16,384.
    pub inbox_requests: usize,
    /// Requests held per partition while it has no serving leader. Default 256.
    pub held_requests: usize,
    /// Range reads that may run at once, per node; more wait. Default 2.
    pub range_reads: usize,
    /// Snapshots that may be sent at once, per node. Default 2.
    pub snapshots: usize,
    /// Read units per second allocated to each replica of a partition. Default 3,000, DynamoDB's.
    pub partition_read_units: u64,
    /// Write units per second allocated to each partition. Default 1,000, DynamoDB's.
    pub partition_write_units: u64,
    /// Seconds of unused allocation that each partition banks for bursts. Default 300, DynamoDB's; 0: none.
    pub partition_burst_seconds: u64,
    /// Read units per second of all replicas together, per node. Default 400,000: not measured, but more
    /// than a machine does that has one log; lower it to what the machine is measured to do.
    pub node_read_units: u64,
    /// Write units per second of all replicas together, those applied as a follower included, per node.
    /// Default 100,000: what one log with group commit carries at 256 records a sync.
    pub node_write_units: u64,
    /// Per cent of the node's units that background work (repair, snapshots, checkpoints) gets even when
    /// customers ask for everything, 1 to 50; beyond it, it takes what customers leave. Default 5.
    pub node_background_percent: u8,
}

impl Default for StorageLimits {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            checkpoint_log_bytes: 32 << 20,
            checkpoint_age_seconds: 300,
            tree_cache_bytes: 1 << 20,
            inbox_requests: 16_384,
            held_requests: 256,
            range_reads: 2,
            snapshots: 2,
            partition_read_units: 3_000,
            partition_write_units: 1_000,
            partition_burst_seconds: 300,
            node_read_units: 400_000,
            node_write_units: 100_000,
            node_background_percent: 5,
        }
    }
}

/// A value that a storage node cannot run with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("storage configuration: {0}")]
pub struct StorageConfigError(pub(crate) String);

/// Smallest segment: it must hold the largest record (an item of 400 KB) several times.
const SEGMENT_BYTES_MIN: u32 = 4 << 20;
/// Units per second that any limit may say: no machine does a billion.
const MAX_UNITS: u64 = 1_000_000_000;
/// A day: unused capacity that old says nothing about the present.
const MAX_BURST_SECONDS: u64 = 86_400;

impl StorageConfig {
    /// An ephemeral node on a free loopback port, for tests and `weir dev --ephemeral`.
    #[must_use]
    pub fn ephemeral(node: NodeId, zone: Zone) -> Self {
        Self {
            node: node.get(),
            zone: zone.get(),
            listen: "127.0.0.1:0".to_owned(),
            advertise: None,
            data_dir: None,
            memds: Vec::new(),
            control: Vec::new(),
            limits: StorageLimits::default(),
        }
    }

    /// The node's number.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        NodeId::new(self.node)
    }

    /// The node's zone.
    #[must_use]
    pub fn zone_id(&self) -> Zone {
        Zone::new(self.zone)
    }

    /// Checks every value.
    ///
    /// # Errors
    /// Says which value cannot be.
    pub fn validate(&self) -> Result<(), StorageConfigError> {
        let refuse = |message: &str| Err(StorageConfigError(message.to_owned()));
        if self.node == 0 {
            return refuse("node must not be 0");
        }
        for address in [Some(&self.listen), self.advertise.as_ref()]
            .into_iter()
            .flatten()
            .chain(&self.memds)
            .chain(&self.control)
        {
            if !is_address(address) {
                return Err(StorageConfigError(format!("`{address}` is not host:port")));
            }
        }
        self.limits.validate()
    }
}

impl StorageLimits {
    /// Checks every value.
    ///
    /// # Errors
    /// Says which value cannot be.
    pub fn validate(&self) -> Result<(), StorageConfigError> {
        let refuse = |message: &str| Err(StorageConfigError(message.to_owned()));
        if self.segment_bytes < SEGMENT_BYTES_MIN {
            return refuse("limits.segment_bytes must be at least 4 MiB");
        }
        if self.checkpoint_log_bytes == 0 || self.checkpoint_age_seconds == 0 {
            return refuse("limits.checkpoint_log_bytes and checkpoint_age_seconds must not be 0");
        }
        if self.inbox_requests == 0 || self.range_reads == 0 || self.snapshots == 0 {
            return refuse("limits.inbox_requests, range_reads and snapshots must not be 0");
        }
        self.validate_throughput()
    }

    fn validate_throughput(&self) -> Result<(), StorageConfigError> {
        let rates = [
            self.partition_read_units,
            self.partition_write_units,
            self.node_read_units,
            self.node_write_units,
        ];
        if !rates.iter().all(|rate| (1..=MAX_UNITS).contains(rate)) {
            return Err(StorageConfigError(format!(
                "limits.partition_read_units, partition_write_units, node_read_units and node_write_units must \
                 be 1 to {MAX_UNITS}"
            )));
        }
        if self.partition_burst_seconds > MAX_BURST_SECONDS {
            let message = format!("limits.partition_burst_seconds must be at most {MAX_BURST_SECONDS}");
            return Err(StorageConfigError(message));
        }
        if !(1..=50).contains(&self.node_background_percent) {
            return Err(StorageConfigError("limits.node_background_percent must be 1 to 50".to_owned()));
        }
        Ok(())
    }

    /// What each partition is limited to.
    pub(crate) fn partition(&self) -> PartitionLimits {
        PartitionLimits {
            read: MilliUnitsPerSecond::from_units(self.partition_read_units),
            write: MilliUnitsPerSecond::from_units(self.partition_write_units),
            burst: Duration::from_secs(self.partition_burst_seconds),
        }
    }

    /// What the machine is limited to.
    pub(crate) fn node(&self) -> NodeLimits {
        NodeLimits {
            read: MilliUnitsPerSecond::from_units(self.node_read_units),
            write: MilliUnitsPerSecond::from_units(self.node_write_units),
            background_percent: self.node_background_percent,
        }
    }

    pub(crate) const fn checkpoint_age(&self) -> Duration {
        Duration::from_secs(self.checkpoint_age_seconds)
    }
}

fn is_address(address: &str) -> bool {
    address.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_value_is_named() {
        let mut config = StorageConfig::ephemeral(NodeId::new(1), Zone::new(0));
        assert_eq!(config.validate(), Ok(()));
        config.memds.push("nowhere".to_owned());
        assert_eq!(
            config.validate().unwrap_err().to_string(),
            "storage configuration: `nowhere` is not host:port"
        );
    }

    #[test]
    fn a_node_without_a_number_is_refused() {
        let config = StorageConfig::ephemeral(NodeId::new(0), Zone::new(0));
        assert!(config.validate().is_err());
    }
}
