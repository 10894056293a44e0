//! The client of a fleet of storage nodes: `PartitionStore` over one connection per node.

mod client;

pub use client::{NodeAddress, ReplicatedStore};
