//! A GAC server's configuration.

use std::net::SocketAddr;
use std::time::Duration;

use admission::AllocatorConfig;
use serde::Deserialize;

/// What a GAC server is told at its start. Checked before its port opens.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where it listens for proxies and the control plane. Port 0: any free port. No default.
    pub listen: SocketAddr,
    /// `host:port` of the control plane's members, asked for all quotas at the start. Default: none;
    /// quotas then come with the proxies' reports.
    #[serde(default)]
    pub control: Vec<String>,
    /// Proxies in the fleet. After its start a server leases only what proxies show to be in use, until so
    /// many have reported or the lease time is over. Too low a number may admit too much for that time;
    /// too high a one delays raises by it. Default 1.
    #[serde(default = "default_expected_proxies")]
    pub expected_proxies: u32,
    /// How long a lease holds without contact, in milliseconds per lease. Default 10,000.
    #[serde(default = "default_ttl_ms")]
    pub ttl_ms: u64,
    /// Time between a proxy's reports of a contended bucket, in milliseconds. Default 1,000.
    #[serde(default = "default_contended_interval_ms")]
    pub contended_interval_ms: u64,
    /// The same of a bucket with tokens to spare. Default 5,000.
    #[serde(default = "default_comfortable_interval_ms")]
    pub comfortable_interval_ms: u64,
}

const fn default_expected_proxies() -> u32 {
    1
}

const fn default_ttl_ms() -> u64 {
    10_000
}

const fn default_contended_interval_ms() -> u64 {
    1_000
}

const fn default_comfortable_interval_ms() -> u64 {
    5_000
}

/// Why a configuration cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Nobody to wait for.
    #[error("`expected_proxies` must be at least 1")]
    NoProxies,
    /// Leases would run out between reports.
    #[error(
        "`ttl_ms` must be at least twice `comfortable_interval_ms`, and that at least `contended_interval_ms`, of at least 10"
    )]
    Intervals,
}

impl Config {
    /// A server at `listen` with every default.
    #[must_use]
    pub const fn new(listen: SocketAddr, control: Vec<String>) -> Self {
        Self {
            listen,
            control,
            expected_proxies: default_expected_proxies(),
            ttl_ms: default_ttl_ms(),
            contended_interval_ms: default_contended_interval_ms(),
            comfortable_interval_ms: default_comfortable_interval_ms(),
        }
    }

    /// Checks it.
    ///
    /// # Errors
    /// What is wrong.
    pub const fn validate(&self) -> Result<(), ConfigError> {
        if self.expected_proxies == 0 {
            return Err(ConfigError::NoProxies);
        }
        if self.contended_interval_ms < 10
            || self.comfortable_interval_ms < self.contended_interval_ms
            || self.ttl_ms / 2 < self.comfortable_interval_ms
        {
            return Err(ConfigError::Intervals);
        }
        Ok(())
    }

    pub(crate) fn allocator(&self) -> AllocatorConfig {
        AllocatorConfig {
            expected_proxies: self.expected_proxies,
            ttl: Duration::from_millis(self.ttl_ms),
            contended_interval: Duration::from_millis(self.contended_interval_ms),
            comfortable_interval: Duration::from_millis(self.comfortable_interval_ms),
            ..AllocatorConfig::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leases_must_outlive_the_time_between_reports() {
        let config = Config::new(SocketAddr::from(([127, 0, 0, 1], 0)), Vec::new());
        assert_eq!(config.validate(), Ok(()));
        assert_eq!(Config { ttl_ms: 9_000, ..config.clone() }.validate(), Err(ConfigError::Intervals));
        assert_eq!(Config { expected_proxies: 0, ..config }.validate(), Err(ConfigError::NoProxies));
    }
}
