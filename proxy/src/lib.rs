//! The request router: HTTP, authentication, admission, routing.

mod auth;
mod config;
mod http;
mod metrics;
mod retry_budget;
pub mod routing;

pub use auth::{Credential, CredentialSource, SourceUnavailable};
pub use config::{Config, ConfigError, HttpConfig};
pub use metrics::describe as describe_metrics;
