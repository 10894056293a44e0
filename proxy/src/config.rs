//! What a proxy is told at its start. Checked before a port opens.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Deserialize;

/// A proxy's configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the DynamoDB endpoint listens. Default 127.0.0.1:8000; port 0 takes a free one.
    #[serde(default = "default_listen")]
    pub listen: SocketAddr,
    /// The region that the endpoint says it is in. Default `us-east-1`.
    #[serde(default = "default_region")]
    pub region: String,
    /// Refuse signatures scoped to another region. Default false: a client configured for any region may
    /// be pointed here.
    #[serde(default)]
    pub require_region: bool,
    /// The proxy's availability zone: eventually consistent reads stay in it when they can. Default 0.
    #[serde(default)]
    pub zone: u8,
    /// This proxy's number in the fleet, its name to the GAC servers; unique. Default: drawn at start.
    #[serde(default)]
    pub proxy_id: Option<u64>,
    /// Proxies in the fleet: before its first lease a proxy takes this part of a quota. Default 2.
    #[serde(default = "default_expected_proxies")]
    pub expected_proxies: u32,
    /// `host:port` of the control plane's members.
    pub control: Vec<String>,
    /// `host:port` of the MemDS servers; every operation asks two of them.
    pub memds: Vec<String>,
    /// `host:port` of the GAC servers.
    pub gac: Vec<String>,
    /// Take every request that names an access key, without checking its signature. Loopback only.
    /// Default false.
    #[serde(default)]
    pub accept_any_credentials: bool,
    /// How long a request for one item, or a page, may take, in milliseconds per request. Default 5,000.
    #[serde(default = "default_request_deadline_ms")]
    pub request_deadline_ms: u64,
    /// How long a table operation may take, in milliseconds per request. Default 10,000.
    #[serde(default = "default_table_deadline_ms")]
    pub table_deadline_ms: u64,
    /// Routes kept ready for use, per proxy, at about 300 bytes each. 0: no route is cached, every request
    /// waits for MemDS, and MemDS has no more to do than otherwise. Default 65,536.
    #[serde(default = "default_cached_routes")]
    pub cached_routes: usize,
    /// Memory for the routes of idle tables, per proxy, in bytes, at about 100 bytes each. Default 32 MiB.
    #[serde(default = "default_warm_routes_bytes")]
    pub warm_routes_bytes: usize,
    /// The HTTP server's bounds.
    #[serde(default)]
    pub http: HttpConfig,
}

/// The HTTP server's bounds.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpConfig {
    /// Connections, per proxy; past it none is accepted. Default 10,000.
    pub max_connections: usize,
    /// Connections from one address, per proxy; more are closed at once. Default 5,000.
    pub max_connections_per_source: usize,
    /// Requests being worked on, per proxy; past it they wait, unread. Default 1,024.
    pub max_concurrent_requests: usize,
    /// How long a request may wait for its turn, in milliseconds; past it it is shed. Default 100.
    pub queue_delay_target_ms: u64,
    /// Bytes of a request's head. Default 16 KiB.
    pub max_head_bytes: usize,
    /// Headers of a request. Default 64.
    pub max_headers: usize,
    /// Bytes of a request's body. Default 16 MiB, DynamoDB's.
    pub max_body_bytes: usize,
    /// Bytes of bodies held, per proxy. Default 256 MiB.
    pub max_bytes_in_flight: usize,
    /// From a head's first byte to its last, in milliseconds. Default 5,000.
    pub head_deadline_ms: u64,
    /// From a head to the body's last byte, in milliseconds. Default 10,000.
    pub body_deadline_ms: u64,
    /// Slowest body, in bytes per second on average. Default 4,096.
    pub min_body_bytes_per_second: u64,
    /// Between two requests of a connection, in milliseconds. Default 60,000.
    pub idle_deadline_ms: u64,
    /// What is in progress gets so long at shutdown, in milliseconds. Default 10,000.
    pub drain_deadline_ms: u64,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            max_connections: 10_000,
            max_connections_per_source: 5_000,
            max_concurrent_requests: 1024,
            queue_delay_target_ms: 100,
            max_head_bytes: 16 * 1024,
            max_headers: 64,
            max_body_bytes: 16 * 1024 * 1024,
            max_bytes_in_flight: 256 * 1024 * 1024,
            head_deadline_ms: 5_000,
            body_deadline_ms: 10_000,
            min_body_bytes_per_second: 4096,
            idle_deadline_ms: 60_000,
            drain_deadline_ms: 10_000,
        }
    }
}

fn default_listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 8000))
}

fn default_region() -> String {
    "us-east-1".into()
}

const fn default_expected_proxies() -> u32 {
    2
}

const fn default_request_deadline_ms() -> u64 {
    5_000
}

const fn default_table_deadline_ms() -> u64 {
    10_000
}

const fn default_cached_routes() -> usize {
    65_536
}

const fn default_warm_routes_bytes() -> usize {
    32 << 20
}

/// Why a configuration cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A list of servers is empty.
    #[error("`{0}` names no server")]
    NoServers(&'static str),
    /// Signatures would not be checked, and strangers could connect.
    #[error("`accept_any_credentials` needs a loopback `listen` address, not {0}")]
    OpenToStrangers(SocketAddr),
    /// A bound that lets nothing through.
    #[error("`{0}` must be at least {1}")]
    TooSmall(&'static str, u64),
    /// Not a region's name.
    #[error("`region` must be letters, digits and hyphens")]
    Region,
}

impl Config {
    /// A proxy at `listen` with every default.
    #[must_use]
    pub fn new(listen: SocketAddr, control: Vec<String>, memds: Vec<String>, gac: Vec<String>) -> Self {
        Self {
            listen,
            region: default_region(),
            require_region: false,
            zone: 0,
            proxy_id: None,
            expected_proxies: default_expected_proxies(),
            control,
            memds,
            gac,
            accept_any_credentials: false,
            request_deadline_ms: default_request_deadline_ms(),
            table_deadline_ms: default_table_deadline_ms(),
            cached_routes: default_cached_routes(),
            warm_routes_bytes: default_warm_routes_bytes(),
            http: HttpConfig::default(),
        }
    }

    /// Checks it.
    ///
    /// # Errors
    /// What is wrong with which field.
    pub fn validate(&self) -> Result<(), ConfigError> {
        for (name, servers) in [("control", &self.control), ("memds", &self.memds), ("gac", &self.gac)] {
            if servers.is_empty() {
                return Err(ConfigError::NoServers(name));
            }
        }
        if self.accept_any_credentials && !self.listen.ip().is_loopback() {
            return Err(ConfigError::OpenToStrangers(self.listen));
        }
        let region = self.region.as_bytes();
        if region.is_empty() || !region.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-') {
            return Err(ConfigError::Region);
        }
        self.check_bounds()
    }

    fn check_bounds(&self) -> Result<(), ConfigError> {
        let http = &self.http;
        for (name, value, least) in [
            ("expected_proxies", u64::from(self.expected_proxies), 1),
            ("request_deadline_ms", self.request_deadline_ms, 10),
            ("table_deadline_ms", self.table_deadline_ms, 10),
            ("http.max_connections", http.max_connections as u64, 1),
            ("http.max_connections_per_source", http.max_connections_per_source as u64, 1),
            ("http.max_concurrent_requests", http.max_concurrent_requests as u64, 1),
            ("http.queue_delay_target_ms", http.queue_delay_target_ms, 1),
            ("http.max_head_bytes", http.max_head_bytes as u64, 1024),
            ("http.max_headers", http.max_headers as u64, 16),
            ("http.max_body_bytes", http.max_body_bytes as u64, 1024),
            ("http.max_bytes_in_flight", http.max_bytes_in_flight as u64, 1024),
            ("http.head_deadline_ms", http.head_deadline_ms, 10),
            ("http.body_deadline_ms", http.body_deadline_ms, 10),
            ("http.min_body_bytes_per_second", http.min_body_bytes_per_second, 1),
            ("http.idle_deadline_ms", http.idle_deadline_ms, 10),
        ] {
            if value < least {
                return Err(ConfigError::TooSmall(name, least));
            }
        }
        Ok(())
    }

    pub(crate) fn request_deadline(&self) -> Duration {
        Duration::from_millis(self.request_deadline_ms)
    }

    pub(crate) fn table_deadline(&self) -> Duration {
        Duration::from_millis(self.table_deadline_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        let servers = || vec!["127.0.0.1:1".to_owned()];
        Config::new(default_listen(), servers(), servers(), servers())
    }

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(config().validate(), Ok(()));
    }

    #[test]
    fn unchecked_signatures_are_only_for_loopback() {
        let open = "0.0.0.0:8000".parse().unwrap();
        let config = Config { listen: open, accept_any_credentials: true, ..config() };
        assert_eq!(config.validate(), Err(ConfigError::OpenToStrangers(open)));
    }

    #[test]
    fn what_lets_nothing_through_is_refused() {
        let none = Config { memds: Vec::new(), ..config() };
        assert_eq!(none.validate(), Err(ConfigError::NoServers("memds")));
        let mut zero = config();
        zero.http.max_connections = 0;
        assert_eq!(zero.validate(), Err(ConfigError::TooSmall("http.max_connections", 1)));
        let spaced = Config { region: "us east".into(), ..config() };
        assert_eq!(spaced.validate(), Err(ConfigError::Region));
    }
}
