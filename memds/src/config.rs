//! A MemDS server's configuration.

use std::net::SocketAddr;

use serde::Deserialize;

/// What a MemDS server needs to know: storage nodes, the control plane and proxies find it; it finds its peers.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where it listens for proxies, storage nodes and the control plane. Port 0: any free port.
    /// No default.
    pub listen: SocketAddr,
    /// `host:port` of the other MemDS servers: it fills itself from one of them when it starts, and compares
    /// what it holds with one after the other. Its own address may be among them. Default: none.
    #[serde(default)]
    pub peers: Vec<String>,
    /// How often it compares what it holds with a peer, in milliseconds. Default: 5000.
    #[serde(default = "usual_interval")]
    pub compare_interval_ms: u64,
}

/// Pushes are repeated every 5 s, too: a server that missed some is behind for about so long.
const USUAL_INTERVAL_MS: u64 = 5_000;

const fn usual_interval() -> u64 {
    USUAL_INTERVAL_MS
}

impl Config {
    /// A server at `listen` without peers.
    #[must_use]
    pub const fn new(listen: SocketAddr) -> Self {
        Self { listen, peers: Vec::new(), compare_interval_ms: USUAL_INTERVAL_MS }
    }
}
