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
    /// `host:port` under which proxies, other GAC servers and the ring know this server. Default: where it
    /// listens.
    #[serde(default)]
    pub advertise: Option<String>,
    /// The servers that share the buckets until the control plane says so: what each of them advertises, and
    /// what the proxies are configured with. A server that is not among them owns nothing until a newer ring
    /// names it. Default: none; it then owns whatever it is asked for.
    #[serde(default)]
    pub ring: Vec<String>,
    /// `host:port` of the control plane's members, asked for all quotas at the start, and told of on-demand
    /// tables' peaks. Default: none; quotas then come with the proxies' reports.
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
    /// How long a silent proxy counts with its safe rate before it is taken to be gone, in milliseconds per
    /// proxy. Default 120,000.
    #[serde(default = "default_membership_ms")]
    pub membership_ms: u64,
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

const fn default_membership_ms() -> u64 {
    120_000
}

/// A proxy gives up a lease that nothing renewed a minute after it ended (and looks once a second): only then
/// may it be forgotten.
const GIVEN_UP_MS: u64 = 62_000;
/// A proxy that has not used a bucket for 12 minutes counts anew when it does: its share must be forgotten.
const MAX_MEMBERSHIP_MS: u64 = 600_000;

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
    /// A proxy would be forgotten while it may still use its lease.
    #[error("`membership_ms` must be at least `ttl_ms` and {GIVEN_UP_MS}, and at most {MAX_MEMBERSHIP_MS}")]
    Membership,
    /// A name that nobody can connect to.
    #[error("`advertise` and the entries of `ring` must be `host:port`")]
    Address,
}

impl Config {
    /// A server at `listen` with every default.
    #[must_use]
    pub const fn new(listen: SocketAddr, control: Vec<String>) -> Self {
        Self {
            listen,
            advertise: None,
            ring: Vec::new(),
            control,
            expected_proxies: default_expected_proxies(),
            ttl_ms: default_ttl_ms(),
            contended_interval_ms: default_contended_interval_ms(),
            comfortable_interval_ms: default_comfortable_interval_ms(),
            membership_ms: default_membership_ms(),
        }
    }

    /// Checks it.
    ///
    /// # Errors
    /// What is wrong.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.expected_proxies == 0 {
            return Err(ConfigError::NoProxies);
        }
        if self.contended_interval_ms < 10
            || self.comfortable_interval_ms < self.contended_interval_ms
            || self.ttl_ms / 2 < self.comfortable_interval_ms
        {
            return Err(ConfigError::Intervals);
        }
        if self.membership_ms > MAX_MEMBERSHIP_MS
            || self.membership_ms < self.ttl_ms.saturating_add(GIVEN_UP_MS)
        {
            return Err(ConfigError::Membership);
        }
        if !self.ring.iter().chain(&self.advertise).all(|address| is_host_and_port(address)) {
            return Err(ConfigError::Address);
        }
        Ok(())
    }

    pub(crate) fn allocator(&self) -> AllocatorConfig {
        AllocatorConfig {
            expected_proxies: self.expected_proxies,
            ttl: Duration::from_millis(self.ttl_ms),
            contended_interval: Duration::from_millis(self.contended_interval_ms),
            comfortable_interval: Duration::from_millis(self.comfortable_interval_ms),
            membership: Duration::from_millis(self.membership_ms),
        }
    }
}

fn is_host_and_port(address: &str) -> bool {
    address.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leases_must_outlive_the_time_between_reports() {
        let config = Config::new(SocketAddr::from(([127, 0, 0, 1], 0)), Vec::new());
        assert_eq!(config.validate(), Ok(()));
        assert_eq!(Config { ttl_ms: 9_000, ..config.clone() }.validate(), Err(ConfigError::Intervals));
        for membership_ms in [15_000, 71_000, 3_600_000] {
            let unsafe_config = Config { membership_ms, ..config.clone() };
            assert_eq!(unsafe_config.validate(), Err(ConfigError::Membership), "{membership_ms}");
        }
        assert_eq!(Config { expected_proxies: 0, ..config }.validate(), Err(ConfigError::NoProxies));
    }

    #[test]
    fn servers_are_named_by_host_and_port() {
        let config = Config::new(SocketAddr::from(([127, 0, 0, 1], 0)), Vec::new());
        let named = |name: &str| Config { advertise: Some(name.to_owned()), ..config.clone() }.validate();
        assert_eq!(named("gac-1.weir:7101"), Ok(()));
        assert_eq!(named("[::1]:7101"), Ok(()));
        for wrong in ["gac-1", ":7101", "gac-1:", "gac-1:many"] {
            assert_eq!(named(wrong), Err(ConfigError::Address), "{wrong}");
        }
    }
}
