//! What a server shows operators.

use serde::{Deserialize, Serialize};

/// A server at a glance.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Where it listens.
    pub address: String,
    /// It has heard the whole catalog, and been filled by a peer if there is one.
    pub ready: bool,
    /// Since its start, in seconds.
    pub uptime_seconds: f64,
    /// Tables held.
    pub tables: u64,
    /// Routes held.
    pub routes: u64,
    /// Bytes that the routes' tree takes, about.
    pub route_bytes: u64,
    /// Root hash of the routes, in hexadecimal: equal where two servers hold the same.
    pub root: String,
    /// Lookups served since its start.
    pub lookups: u64,
    /// Lookups per second over the last ten seconds.
    pub lookups_per_second: f64,
    /// The newest push of the control plane: its leader's term, its count of pushes.
    pub catalog: (u64, u64),
    /// Since the control plane's last push, in seconds; none: there was none.
    pub catalog_push_seconds: Option<f64>,
    /// Storage nodes, by number.
    pub nodes: Vec<NodeStatus>,
    /// The other servers.
    pub peers: Vec<PeerStatus>,
}

/// How far behind a storage node's pushes a server is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// The node.
    pub node: u64,
    /// Its zone.
    pub zone: u8,
    /// Where it listens.
    pub address: String,
    /// Since its last push, in seconds; none: it has pushed nothing here.
    pub push_seconds: Option<f64>,
    /// Since its last push of everything, in seconds.
    pub complete_push_seconds: Option<f64>,
    /// From the last change at the node to its arrival here, in milliseconds, without the way: how long it
    /// had waited at the node.
    pub change_lag_ms: Option<f64>,
    /// The longest of the last minute.
    pub longest_change_lag_ms: Option<f64>,
}

/// How a server and one of its peers agree.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PeerStatus {
    /// Where the peer listens.
    pub address: String,
    /// Whether there is a connection.
    pub connected: bool,
    /// Comparisons that came to their end since the server started.
    pub comparisons: u64,
    /// Since the last of them, in seconds.
    pub compared_seconds: Option<f64>,
    /// Routes that the last comparison brought or gave; 0: the two agreed.
    pub last_repaired: Option<u64>,
    /// Routes that all comparisons brought or gave.
    pub repaired: u64,
    /// Bytes of the last comparison's questions and answers.
    pub last_bytes: Option<u64>,
}

/// What a server knows of one table.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TableRoutes {
    /// The table's number.
    pub table: u64,
    /// Its name.
    pub name: String,
    /// Its descriptor's version.
    pub version: u64,
    /// Its partitions, in the order of their ranges.
    pub partitions: Vec<PartitionRoute>,
}

/// One partition's route.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionRoute {
    /// The partition.
    pub partition: u64,
    /// Its range's first key, in hexadecimal; empty: from the beginning.
    pub start: String,
    /// The first key past its range; none: to the end.
    pub end: Option<String>,
    /// Its replicas: node, zone, and whether it keeps the log only.
    pub members: Vec<(u64, u8, bool)>,
    /// The member that leads, if one is known.
    pub leader: Option<u64>,
    /// Version: the group's configuration …
    pub configuration: u64,
    /// … and the leader's term.
    pub term: u64,
}
