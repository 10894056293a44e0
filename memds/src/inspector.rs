//! Shows a server to operators while it serves.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use routing::{MemberKind, NodeAddress, Route};
use units::{NodeId, Timestamp};
use wire::clock;

use crate::inspection::{NodeStatus, PartitionRoute, Status, TableRoutes};
use crate::peer::Peer;
use crate::push_log::NodePushes;
use crate::service::MemdsService;

/// Looks into a server. Clones look into the same one; it outlives the server's handle, and then shows what the
/// server held when it stopped.
#[derive(Clone, Debug)]
pub struct Inspector {
    pub(crate) address: SocketAddr,
    pub(crate) started: Timestamp,
    pub(crate) service: Arc<MemdsService>,
    pub(crate) peers: Arc<[Peer]>,
}

impl Inspector {
    /// The server at a glance.
    #[must_use]
    pub fn status(&self) -> Status {
        let now = clock::now();
        let snapshot = self.service.snapshot();
        let position = self.service.catalog_position();
        let pushes = self.service.pushes();
        let nodes = snapshot.nodes().iter().map(|node| node_status(node, pushes.node(node.node), now));
        Status {
            address: self.address.to_string(),
            ready: self.service.is_ready(),
            uptime_seconds: seconds(now.since(self.started)),
            tables: snapshot.table_count() as u64,
            routes: snapshot.route_count() as u64,
            route_bytes: snapshot.route_bytes(),
            root: format!("{:032x}", snapshot.routes().tree().sum().number()),
            lookups: self.service.lookups().total(),
            lookups_per_second: self.service.lookups().per_second(now),
            catalog: (position.term, position.sequence),
            catalog_push_seconds: pushes.catalog().map(|at| seconds(now.since(at))),
            nodes: nodes.collect(),
            peers: self.peers.iter().map(|peer| peer.status(now)).collect(),
        }
    }

    /// What the server knows of the table that has the name; none: it knows no such table.
    #[must_use]
    pub fn routes(&self, table_name: &str) -> Option<TableRoutes> {
        let snapshot = self.service.snapshot();
        let table = snapshot.by_name(table_name)?;
        Some(TableRoutes {
            table: table.id.get(),
            name: table.name.to_string(),
            version: table.version,
            partitions: snapshot.routes().table(table.id).map(|route| partition(&route)).collect(),
        })
    }

    /// That table's descriptor, as the control plane pushed it: JSON of a `dynamodb::table::TableDescriptor`.
    #[must_use]
    pub fn descriptor(&self, table_name: &str) -> Option<Bytes> {
        self.service.snapshot().by_name(table_name).map(|table| table.json.clone())
    }
}

fn node_status(node: &NodeAddress, pushes: Option<&NodePushes>, now: Timestamp) -> NodeStatus {
    NodeStatus {
        node: node.node.get(),
        zone: node.zone.get(),
        address: node.address.clone(),
        push_seconds: pushes.map(|it| seconds(now.since(it.last))),
        complete_push_seconds: pushes.and_then(|it| it.last_complete).map(|at| seconds(now.since(at))),
        change_lag_ms: pushes.and_then(|it| it.change_lag).map(millis),
        longest_change_lag_ms: pushes.and_then(|it| it.longest_change_lag(now)).map(millis),
    }
}

fn partition(route: &Route) -> PartitionRoute {
    let members = route
        .members
        .iter()
        .map(|member| (member.node.get(), member.zone.get(), member.kind == MemberKind::Log));
    PartitionRoute {
        partition: route.partition.get(),
        start: hexadecimal(&route.range.start),
        end: route.range.end.as_deref().map(hexadecimal),
        members: members.collect(),
        leader: route.leader.map(NodeId::get),
        configuration: route.version.configuration,
        term: route.version.term.get(),
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        write!(text, "{byte:02x}").expect("a string takes everything");
    }
    text
}

const fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
