//! Replication groups of one node: consensus, leases, and the write-ahead log's pure half.
//!
//! [`NodeCore`] is all groups of a node as one state machine without I/O, clock or randomness of its
//! own: inputs are calls with `now`, outputs are [`Effects`]. The shell carries them out in this order:
//!
//! 1. send [`Effects::send`] (a leader's entries leave before its own sync),
//! 2. append [`Effects::persist`] to the node's log, sync once, then call [`NodeCore::persisted`];
//!    what depends on durability (votes, acknowledgements, commits) comes out of that call,
//! 3. apply [`Effects::committed`] in order, then call [`NodeCore::applied`]; a lease serves reads only
//!    from then on,
//! 4. answer [`Effects::reads`] once the applied index has reached the read's.
//!
//! Invariants: nothing that depends on a record leaves before the record is durable; a lease is valid on
//! at most one node per group; a replica without its data neither votes nor acknowledges until it holds
//! again all that it may ever have acknowledged ([`Origin::Wiped`]).

mod config;
mod effects;
mod group;
mod lease;
mod membership_change;
mod memory_log;
mod message;
mod node_core;
mod peer;
mod raft_forms;
mod recovered;
mod refill;
mod reign;
mod shared;
pub mod wal;

#[doc(hidden)]
pub use config::SeededBug;
pub use config::{NodeConfig, NodeConfigError};
pub use effects::{
    Committed, Effects, HandOverRefused, InstallSnapshot, LeadershipChange, PersistBatch, PersistSequence,
    ReadReady, ReadToken, Refused, SendSnapshot,
};
pub use lease::LeaseView;
pub use membership_change::MemberChange;
pub use message::{
    EntryKind, Envelope, GroupMessage, LogEntry, MessageKind, NodeHeartbeat, NodeHeartbeatAck, Revocation,
};
pub use node_core::NodeCore;
pub use recovered::{HardState, Membership, Origin, Position, Recovered, SnapshotPosition};
