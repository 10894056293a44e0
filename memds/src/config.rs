//! A MemDS server's configuration.

use std::net::SocketAddr;

use serde::Deserialize;

/// What a MemDS server needs to know: it finds nobody, everybody finds it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where it listens for proxies, storage nodes and the control plane. Port 0: any free port.
    /// No default.
    pub listen: SocketAddr,
}
