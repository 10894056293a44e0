//! The metadata tier: every MemDS server holds all routing metadata in memory and answers lookups from an
//! immutable snapshot, on the connection's own task.
//!
//! Storage nodes are the authority on membership and leadership, the control plane on tables; both push
//! every change and re-push everything. A server keeps the highest version that it has seen and never
//! goes back. It keeps nothing on disk: after a restart a peer fills it, or else the pushes do, and until it has
//! heard the whole catalog it says *unavailable*, never *no such table*. Servers compare what they hold all the
//! time, so that a push that one of them missed is made good by another.

mod clerk;
mod config;
mod inspection;
mod inspector;
mod lookup_rate;
mod lookups;
mod metadata;
mod metrics;
mod peer;
mod peers;
mod push_log;
mod server;
mod service;
mod snapshot;

pub use config::Config;
pub use inspection::{NodeStatus, PartitionRoute, PeerStatus, Status, TableRoutes};
pub use inspector::Inspector;
pub use server::{Handle, MemdsError, run, start};
