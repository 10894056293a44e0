//! The storage engine of one replica: an ordered in-memory table over a B-tree file that is a
//! checkpoint of the log.
//!
//! Invariants:
//! - a reader sees the newest applied version of every key: active table, else frozen table, else tree;
//! - the tree holds exactly the effects up to the position stored in it, committed with it;
//! - every item carries the CRC32C that the leader computed, checked on each read.

mod checkpoint;
mod effect;
mod error;
mod range_scan;
mod replica;
mod stored_item;
mod table;
mod tree_file;

pub(crate) use checkpoint::Checkpoint;
pub(crate) use effect::Effect;
pub(crate) use error::EngineError;
pub(crate) use range_scan::{Entry, RangeScan};
pub(crate) use replica::{Replica, ReplicaView, remove_file};
pub(crate) use replication::Position;
pub(crate) use stored_item::StoredItem;
pub(crate) use tree_file::{TreeBuilder, sync_parent};

#[cfg(test)]
mod tests;
