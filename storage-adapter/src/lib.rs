//! `PartitionStore`, and the engines behind it: replicated storage nodes, and one copy in memory.

mod engine;
mod partition_store;
mod wire_form;

pub use partition_store::{PartitionStore, StoreError};
