//! `node/NUMBER`: a storage node that has reported, so that a new leader knows the fleet at once.

use routing::NodeAddress;
use serde::{Deserialize, Serialize};
use units::{Epoch, NodeId, Zone};

use super::Record;

/// A storage node at its latest start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NodeRecord {
    /// Its number.
    pub id: u64,
    /// The zone that it stands in.
    pub zone: u8,
    /// `host:port` of its transport.
    pub address: String,
    /// Its latest start's number.
    pub incarnation: u64,
}

impl Record for NodeRecord {
    const PREFIX: &'static str = "node/";

    fn name(&self) -> String {
        self.id.to_string()
    }
}

impl From<&NodeAddress> for NodeRecord {
    fn from(node: &NodeAddress) -> Self {
        Self {
            id: node.node.get(),
            zone: node.zone.get(),
            address: node.address.clone(),
            incarnation: node.incarnation.get(),
        }
    }
}

impl From<&NodeRecord> for NodeAddress {
    fn from(record: &NodeRecord) -> Self {
        Self {
            node: NodeId::new(record.id),
            zone: Zone::new(record.zone),
            address: record.address.clone(),
            incarnation: Epoch::new(record.incarnation),
        }
    }
}
