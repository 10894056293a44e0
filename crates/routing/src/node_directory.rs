//! Where the storage nodes listen.

use std::collections::BTreeMap;

use units::{Epoch, NodeId, Zone};

/// One storage node, as it last made itself known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeAddress {
    /// Which node.
    pub node: NodeId,
    /// The zone that it stands in.
    pub zone: Zone,
    /// `host:port` of its transport.
    pub address: String,
    /// Grows with every start of the node: a later start's address replaces an earlier one's.
    pub incarnation: Epoch,
}

/// All storage nodes that are known. A node's entry is only replaced by a later incarnation's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeDirectory {
    nodes: BTreeMap<NodeId, NodeAddress>,
}

impl NodeDirectory {
    /// The node's entry.
    #[must_use]
    pub fn get(&self, node: NodeId) -> Option<&NodeAddress> {
        self.nodes.get(&node)
    }

    /// Whether `seen` would change anything.
    #[must_use]
    pub fn would_learn(&self, seen: &NodeAddress) -> bool {
        self.nodes.get(&seen.node).is_none_or(|known| {
            // Of two addresses of one incarnation, which only a misconfigured fleet has, the same one
            // wins everywhere.
            (seen.incarnation, &seen.address, seen.zone) > (known.incarnation, &known.address, known.zone)
        })
    }

    /// Takes `seen` in unless a later incarnation is known; says whether anything changed.
    pub fn learn(&mut self, seen: NodeAddress) -> bool {
        let news = self.would_learn(&seen);
        if news {
            self.nodes.insert(seen.node, seen);
        }
        news
    }

    /// All nodes, by number.
    pub fn iter(&self) -> impl Iterator<Item = &NodeAddress> {
        self.nodes.values()
    }

    /// How many nodes are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether no node is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_earlier_incarnation_never_replaces_a_later_one() {
        let mut directory = NodeDirectory::default();
        assert!(directory.learn(node(1, "new:1", 7)));
        assert!(!directory.learn(node(1, "old:1", 6)));
        assert!(!directory.learn(node(1, "new:1", 7)));
        assert_eq!(directory.get(NodeId::new(1)).unwrap().address, "new:1");
        assert!(directory.learn(node(1, "newer:1", 8)));
        assert_eq!(directory.len(), 1);
    }

    fn node(id: u64, address: &str, incarnation: u64) -> NodeAddress {
        NodeAddress {
            node: NodeId::new(id),
            zone: Zone::new(0),
            address: address.into(),
            incarnation: Epoch::new(incarnation),
        }
    }
}
