//! The metadata tier: every MemDS server holds all routing metadata in memory and answers lookups from an
//! immutable snapshot, on the connection's own task.
//!
//! Storage nodes are the authority on membership and leadership, the control plane on tables; both push
//! every change and re-push everything. A server keeps the highest version that it has seen and never
//! goes back. It keeps nothing on disk: after a restart the pushes refill it, and until it has heard the
//! whole catalog it says *unavailable*, never *no such table*.

mod config;
mod metadata;
mod metrics;
mod server;
mod service;
mod snapshot;

pub use config::Config;
pub use server::{Handle, MemdsError, run, start};
