//! `PartitionStore`, and the engines behind it: replicated storage nodes, and one copy in memory.

mod partition_store;

pub use partition_store::{PartitionStore, StoreError};
