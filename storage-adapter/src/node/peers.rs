//! Connections to the other nodes: one each, opened when first needed, reopened when a node moves.

use std::collections::BTreeMap;

use admission::Spare;
use parking_lot::RwLock;
use replication::Envelope;
use units::{Epoch, NodeId};
use wire::method::Replicate;
use wire::transport::{Connection, ConnectionConfig};

use super::replication_form;

/// Bytes of entries in one envelope, beyond which the rest goes in another: many groups that catch up
/// at once must not make a message that the transport refuses.
const ENVELOPE_BYTES: usize = 4 << 20;

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

    /// Learns where the nodes that this one works with listen now; others are left out.
    pub(crate) fn moved(&self, mut addresses: BTreeMap<NodeId, String>) {
        {
            let known = self.known.read();
            addresses.retain(|node, _| known.contains_key(node));
        }
        self.learn(&addresses);
    }

    /// Whether every node that this one works with can be reached now.
    pub(crate) fn all_connected(&self) -> bool {
        self.known.read().values().all(|peer| peer.connection.is_connected())
    }

    fn is_at(&self, node: NodeId, address: &str) -> bool {
        self.known.read().get(&node).is_some_and(|peer| peer.address == address)
    }

    pub(crate) fn connection(&self, to: NodeId) -> Option<Connection> {
        self.known.read().get(&to).map(|peer| peer.connection.clone())
    }

    /// Sends; what cannot be sent is lost, as on a network.
    pub(crate) fn send(&self, to: NodeId, envelope: Envelope, mut spare: Option<Spare>) {
        let known = self.known.read();
        let Some(peer) = known.get(&to) else { return };
        debug_assert_eq!(envelope.from_incarnation, self.incarnation);
        for part in split(envelope) {
            let message = replication_form::envelope(self.node, part, spare.take());
            if let Err(error) = peer.connection.notify::<Replicate>(&message) {
                tracing::debug!(%to, %error, "an envelope was not sent");
            }
        }
    }

    /// How many other nodes this one works with.
    pub(crate) fn count(&self) -> usize {
        self.known.read().len()
    }

    /// Whether any other node can be reached now.
    pub(crate) fn any_connected(&self) -> bool {
        self.known.read().values().any(|peer| peer.connection.is_connected())
    }
}

/// The envelope in parts of bounded size, in order; all but the first carry messages only.
fn split(mut envelope: Envelope) -> Vec<Envelope> {
    let from_incarnation = envelope.from_incarnation;
    let messages = std::mem::take(&mut envelope.messages);
    let mut parts = vec![envelope];
    let mut bytes = 0;
    for message in messages {
        let size: usize = message.entries.iter().map(|entry| entry.payload.len()).sum();
        if bytes > 0 && bytes + size > ENVELOPE_BYTES {
            parts.push(Envelope { from_incarnation, ..Envelope::default() });
            bytes = 0;
        }
        bytes += size;
        parts.last_mut().expect("there is a first part").messages.push(message);
    }
    parts
}
