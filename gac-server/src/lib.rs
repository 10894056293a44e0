//! The global admission controller: vends leases of each bucket's rate, and tokens out of its pool, to
//! the proxies that report to it. A thin shell over `admission::Allocator`.
//!
//! Ephemeral by design: it keeps nothing on disk. A restarted server takes a higher epoch and learns from
//! the proxies' next reports what is in use. Quotas come from the control plane when it is there, and in
//! every report in any case, so that admission goes on while it is away. The servers share the buckets by a
//! ring, which the control plane records and pushes; what a newer ring moves is handed over.

mod activity;
mod config;
mod control;
mod entry_rate;
mod handover;
mod inspection;
mod levels;
mod metrics;
mod owner;
mod server;
mod service;
mod status;
mod survey;

pub use config::{Config, ConfigError};
pub use inspection::{
    AccountStatus, BucketStatus, Inspection, ModeCounts, ProxyStatus, QuotaStatus, ServerStatus, ShareStatus,
};
pub use owner::{Answered, BucketOwner, Unreadable};
pub use server::{GacError, Handle, Inspector, run, start};
pub use wire::proto::gac::InspectRequest;
