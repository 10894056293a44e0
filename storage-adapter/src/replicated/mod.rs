//! The client of a fleet of storage nodes: `PartitionStore` over one connection per node.
//!
//! Writes and strongly consistent reads go to the leader. Eventually consistent reads go to the nearest
//! replica that is well; when that is slow or fails, a second one is asked, within a budget, and the first
//! answer counts. What they see does not go back: a replica that is older than what was read before is not
//! believed ([`read_floors`]).

mod client;
mod metrics;
mod node_health;
mod read_floors;
#[cfg(test)]
mod tests;

pub use client::{NodeAddress, ReplicatedStore};
