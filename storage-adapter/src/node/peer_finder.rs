//! Finds the other nodes again when they have moved: MemDS knows where every storage node listens, also
//! when the control plane is down.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use units::NodeId;
use wire::method::Nodes;
use wire::proto::routing::NodesRequest;
use wire::transport::{Connection, ConnectionConfig};

use super::shared::Shared;

/// How often it asks while some node cannot be reached: quickly, because groups wait for it.
const SEARCHING: Duration = Duration::from_millis(200);
/// How often it asks while all can be reached: a node that moved broke its connection first.
const CONTENT: Duration = Duration::from_secs(5);
/// How long an answer may take.
const DEADLINE: Duration = Duration::from_secs(1);

/// Asks `memds` until the node stops.
pub(super) async fn run(shared: Arc<Shared>, memds: Vec<String>) {
    let name = format!("storage-{}", shared.node);
    let open = |address: &String| Connection::open(address, ConnectionConfig::named(&name));
    let servers: Vec<_> = memds.iter().map(open).collect();
    loop {
        let interval = if shared.peers.all_connected() {
            CONTENT
        } else {
            ask(&shared, &servers).await;
            SEARCHING
        };
        tokio::select! {
            () = shared.stopping.cancelled() => return,
            () = tokio::time::sleep(interval) => {}
        }
    }
}

/// Learns from every server that answers: the newest push may have reached only one.
async fn ask(shared: &Shared, servers: &[Connection]) {
    let mut newest: BTreeMap<NodeId, (u64, String)> = BTreeMap::new();
    for server in servers {
        let Ok(answer) = server.call::<Nodes>(&NodesRequest {}, DEADLINE).await else { continue };
        for node in answer.nodes {
            let known = newest.entry(NodeId::new(node.id)).or_default();
            if node.incarnation >= known.0 {
                *known = (node.incarnation, node.address);
            }
        }
    }
    shared.peers.moved(newest.into_iter().map(|(node, (_, address))| (node, address)).collect());
}
