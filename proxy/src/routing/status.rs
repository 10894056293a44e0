//! What a proxy shows operators of its routing: what it has cached, and the MemDS servers as it sees them.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use units::Timestamp;
use wire::clock;

use super::Routing;
use super::lookup_sender::LookupSender;

/// The share of batches whose slowest is shown.
const SLOW_QUANTILE: f64 = 0.99;

/// A proxy's routing at a glance.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RoutingStatus {
    /// Table descriptors cached.
    pub tables: u64,
    /// Routes that are ready for use.
    pub routes: u64,
    /// Routes of idle tables, kept in few bytes.
    pub warm: u64,
    /// Bytes that both kinds of routes take, about.
    pub route_bytes: u64,
    /// Storage nodes whose addresses are known.
    pub nodes: u64,
    /// The MemDS servers, as configured.
    pub servers: Vec<ServerStatus>,
}

/// A MemDS server, as a proxy sees it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServerStatus {
    /// Where it listens.
    pub address: String,
    /// Whether there is a connection.
    pub connected: bool,
    /// Slow beside the others, silent, or not connected.
    pub gray: bool,
    /// How long it has left calls without any answer, in milliseconds; none: nothing is unanswered.
    pub silent_ms: Option<f64>,
    /// Half of the recent batches were answered within this, in milliseconds; none: too few to say.
    pub median_ms: Option<f64>,
    /// 99 % of them were.
    pub p99_ms: Option<f64>,
}

impl Routing {
    /// What is cached, and how the MemDS servers answer.
    #[must_use]
    pub fn status(&self) -> RoutingStatus {
        let (inner, now) = (&self.inner, clock::now());
        let servers = inner.memds.iter().enumerate();
        RoutingStatus {
            tables: inner.tables.len() as u64,
            routes: inner.routes.len() as u64,
            warm: inner.routes.warm_len() as u64,
            route_bytes: inner.routes.memory() as u64,
            nodes: inner.nodes.borrow().len() as u64,
            servers: servers.map(|(at, server)| status(server, inner.memds.is_gray(at), now)).collect(),
        }
    }
}

fn status(server: &LookupSender, gray: bool, now: Timestamp) -> ServerStatus {
    let within = |share| server.latencies.quantile(share, now).map(millis);
    ServerStatus {
        address: server.connection.address().to_owned(),
        connected: server.connection.is_connected(),
        gray,
        silent_ms: server.connection.silent_for(now).map(millis),
        median_ms: within(0.5),
        p99_ms: within(SLOW_QUANTILE),
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
