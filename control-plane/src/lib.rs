//! The control plane: the catalog of tables, quotas, credentials and nodes; placement; what operators
//! change. Nothing on the data path waits for it.
//!
//! The catalog is a replicated partition of its own (number 0), hosted by the control plane's members.
//! Its leader leads the control plane: it alone changes records, each by a write conditional on the
//! record's version, executes table commands, places partitions, and pushes descriptors to MemDS and
//! quotas to GAC. Everything unfinished is in the records, so that a new leader resumes it
//! ([`reconcile`](mod@reconcile) is level-triggered: it looks at what is, never at what happened).

mod catalog;
mod catalog_store;
mod config;
mod fleet;
mod group_store;
mod leader;
mod metrics;
mod push;
mod reconcile;
mod record;
mod server;
mod service;
mod table_command;

#[cfg(test)]
mod scenario_tests;

pub use config::{Config, ConfigError, InitialCredential, MemberAddress};
pub use record::CredentialRecord;
pub use server::{ControlError, CredentialError, Handle, run, start};
