//! The client of a fleet of storage nodes: `PartitionStore` over one connection per node.
//!
//! Writes and strongly consistent reads go to the leader. Eventually consistent reads go to the nearest
//! replica that is well; when that is slow or fails, a second one is asked, within a budget, and the first
//! answer counts.

mod client;
mod metrics;
mod node_health;
#[cfg(test)]
mod tests;

pub use client::{NodeAddress, ReplicatedStore};
