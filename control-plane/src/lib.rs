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
mod gac_servers;
mod group_store;
mod leader;
mod metrics;
mod operator;
mod peaks;
mod push;
pub mod quota;
mod quota_command;
mod quota_log;
mod reconcile;
mod record;
pub mod ring;
mod server;
mod service;
mod table_command;

#[cfg(test)]
mod scenario_tests;

pub use config::{Config, ConfigError, InitialCredential, MemberAddress};
pub use operator::{Quotas, RingControl};
pub use record::CredentialRecord;
pub use server::{ControlError, CredentialError, Handle, run, start};
