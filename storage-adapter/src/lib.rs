//! `PartitionStore`, and the engines behind it: replicated storage nodes, and one copy in memory.
//!
//! - [`ReplicatedStore`] is the proxy's client of storage nodes; [`MemoryStore`] is the unreplicated one.
//! - [`StorageNode`] is a storage node; [`ReplicatedNode`] is the same node without a listener, which the
//!   control plane runs for its catalog with a [`StaticGroup`].

mod config;
mod engine;
mod evaluate;
mod log;
mod memory;
mod metrics;
mod node;
mod partition_store;
mod replicated;
mod wire_form;

pub use config::{StorageConfig, StorageConfigError, StorageLimits};
pub use memory::MemoryStore;
pub use node::{
    GroupLeadership, KeptLeadership, LeaderMove, Leadership, Leaderships, MoveCount, MoveError, MoveReport,
    MovedLeadership, NodeLeaderships, NodeOptions, NodeService, ReplicatedNode, StartError, StaticGroup,
    StaticMember, StorageError, StorageHandle, StorageNode, run,
};
pub use partition_store::{PartitionStore, StoreError};
pub use replicated::{NodeAddress, ReplicatedStore};
