//! The MemDS servers that a proxy knows, and which of them are gray: slow beside the others, silent, or not
//! connected.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use routing::{GRAY_QUANTILE, is_gray};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use units::Timestamp;
use wire::clock;
use wire::transport::{Connection, ConnectionConfig};

use super::lookup_queue::Patience;
use super::lookup_sender::LookupSender;
use super::server_choice::{MAX_SERVERS, choose};

/// Calls to one MemDS server that may wait to be sent, and for their answers: lookups' batches are a few, and
/// questions for the nodes' addresses.
const CALLS: usize = 64;
/// How often gray servers are looked for.
const JUDGE_EVERY: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(super) struct MemdsServers {
    servers: Vec<Arc<LookupSender>>,
    pub(super) patience: Patience,
    /// Requests so far, where it matters: with more than two servers.
    turn: AtomicU64,
    /// A bit for each gray server.
    gray: AtomicU64,
}

impl MemdsServers {
    /// Connects to each, in the background. Servers past the 64th are not asked.
    pub(super) fn open(addresses: &[String], patience: Patience) -> Self {
        let bounds = ConnectionConfig { name: "proxy-routing".into(), queue: CALLS, in_flight: CALLS };
        let connect = |address: &String| {
            Arc::new(LookupSender::to(Connection::open(address, bounds.clone()), patience))
        };
        Self {
            servers: addresses.iter().take(MAX_SERVERS).map(connect).collect(),
            patience,
            turn: AtomicU64::new(0),
            gray: AtomicU64::new(0),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<LookupSender>> {
        self.servers.iter()
    }

    /// The two that the next request asks.
    pub(super) fn next_two(&self) -> impl Iterator<Item = &Arc<LookupSender>> {
        let count = self.servers.len();
        let turn = if count > 2 { self.turn.fetch_add(1, Ordering::Relaxed) } else { 0 };
        let chosen = choose(turn, count, self.gray.load(Ordering::Relaxed));
        chosen.into_iter().flatten().map(|server| &self.servers[server])
    }

    /// How many servers one question goes to.
    pub(super) fn asked_at_once(&self) -> u64 {
        self.servers.len().min(2) as u64
    }

    /// The gray ones, a bit for each.
    #[cfg(test)]
    pub(super) fn gray(&self) -> u64 {
        self.gray.load(Ordering::Relaxed)
    }

    /// Whether the server at this place was gray when it was last judged.
    pub(super) fn is_gray(&self, at: usize) -> bool {
        self.gray.load(Ordering::Relaxed) >> at & 1 == 1
    }

    /// Judges each server anew.
    pub(super) fn judge(&self, now: Timestamp) {
        let slow_tenths: Vec<Option<Duration>> =
            self.servers.iter().map(|server| server.latencies.quantile(GRAY_QUANTILE, now)).collect();
        let mut gray = 0;
        for (at, server) in self.servers.iter().enumerate() {
            let others = slow_tenths.iter().enumerate().filter(|(other, _)| *other != at);
            let slow = is_gray(slow_tenths[at], others.filter_map(|(_, took)| *took));
            let is_gray = slow || server.is_silent(now) || !server.connection.is_connected();
            gray |= u64::from(is_gray) << at;
        }
        let before = self.gray.swap(gray, Ordering::Relaxed);
        for (at, server) in self.servers.iter().enumerate() {
            let (was_gray, is_gray) = (before >> at & 1 == 1, gray >> at & 1 == 1);
            server.metrics.gray.set(f64::from(u8::from(is_gray)));
            let (server, took) = (server.connection.address(), slow_tenths[at]);
            match (was_gray, is_gray) {
                (false, true) => warn!(server, ?took, "a MemDS server turned gray"),
                (true, false) => info!(server, ?took, "a MemDS server is well again"),
                _ => {}
            }
        }
    }
}

/// Looks for gray servers, until `shutdown`.
pub(super) async fn judge_servers(servers: Arc<MemdsServers>, shutdown: CancellationToken) {
    while shutdown.run_until_cancelled(tokio::time::sleep(JUDGE_EVERY)).await.is_some() {
        servers.judge(clock::now());
    }
}
