//! The request router: HTTP, authentication, admission, routing.
//!
//! [`start`] puts the parts together; `request_path.rs` says what happens to a request, in order.

mod admission;
mod auth;
mod config;
mod control_client;
mod http;
mod metrics;
mod operations;
mod process;
mod request_path;
pub mod routing;

pub use admission::{
    Amount, Capacity, Cause, Explanation, Flow, HotKeyCheck, Layer, LevelCheck, PartitionCheck, Top, TopRow,
};
pub use config::{Config, ConfigError, HttpConfig};
pub use process::{Handle, Inspector, StartError, run, start};
