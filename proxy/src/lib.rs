//! The request router: HTTP, authentication, admission, routing.

mod auth;
mod config;
mod control_client;
mod http;
mod metrics;
mod operations;
mod request_path;
mod retry_budget;
pub mod routing;

pub use auth::{Credential, CredentialSource, SourceUnavailable};
pub use config::{Config, ConfigError, HttpConfig};
pub use metrics::describe as describe_metrics;
