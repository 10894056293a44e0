//! Connections to the other nodes: one each, opened when first needed, reopened when a node moves.

use std::collections::BTreeMap;

use parking_lot::RwLock;
use replication::Envelope;
use units::{Epoch, NodeId};
use wire::method::Replicate;
use wire::transport::{Connection, ConnectionConfig};

use super::replication_form;

/// The other nodes.
#[derive(Debug)]
pub(crate) struct Peers {
    node: NodeId,
    incarnation: Epoch,
    name: String,
    runtime: tokio::runtime::Handle,
    known: RwLock<BTreeMap<NodeId, Peer>>,
}

#[derive(Debug)]
struct Peer {
    address: String,
    connection: Connection,
}

impl Peers {
    pub(crate) fn new(node: NodeId, incarnation: Epoch, runtime: tokio::runtime::Handle) -> Self {
        let name = format!("storage-{node}");
        Self { node, incarnation, name, runtime, known: RwLock::default() }
    }

    /// Learns where nodes listen; a node that moved is connected anew.
    pub(crate) fn learn(&self, addresses: &BTreeMap<NodeId, String>) {
        for (node, address) in addresses {
            if *node == self.node || address.is_empty() || self.is_at(*node, address) {
                continue;
            }
            let _runtime = self.runtime.enter();
            let connection = Connection::open(address, ConnectionConfig::named(&self.name));
            self.known.write().insert(*node, Peer { address: address.clone(), connection });
        }
    }

    fn is_at(&self, node: NodeId, address: &str) -> bool {
        self.known.read().get(&node).is_some_and(|peer| peer.address == address)
    }

    pub(crate) fn connection(&self, to: NodeId) -> Option<Connection> {
        self.known.read().get(&to).map(|peer| peer.connection.clone())
    }

    /// Sends; what cannot be sent is lost, as on a network.
    pub(crate) fn send(&self, to: NodeId, envelope: Envelope) {
        let known = self.known.read();
        let Some(peer) = known.get(&to) else { return };
        debug_assert_eq!(envelope.from_incarnation, self.incarnation);
        let message = replication_form::envelope(self.node, envelope);
        if let Err(error) = peer.connection.notify::<Replicate>(&message) {
            tracing::debug!(%to, %error, "an envelope was not sent");
        }
    }
}
