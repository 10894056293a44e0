//! Sends each operation to the replica that may execute it, and types what comes back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use dynamodb::operation::{Operation, Outcome};
use parking_lot::Mutex;
use routing::{MemberKind, Route};
use units::{NodeId, Timestamp, Zone};
use wire::method::Execute;
use wire::transport::{CallError, Connection, ConnectionConfig, Failure};

use crate::{PartitionStore, StoreError, wire_form};

/// When to come back to a node that is not connected or has too much to do.
const RETRY_AFTER: Duration = Duration::from_millis(50);

/// How long eventually consistent reads go elsewhere after a node said that it cannot serve one: the
/// caller's next attempt then finds another replica.
const AVOIDANCE: Duration = Duration::from_secs(1);

/// Where a storage node listens, as MemDS or the control plane says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeAddress {
    /// The node.
    pub node: NodeId,
    /// `host:port`.
    pub address: String,
}

/// Executes on a fleet of storage nodes. One connection per node, opened when the node is learnt.
#[derive(Debug)]
pub struct ReplicatedStore {
    zone: Zone,
    name: String,
    nodes: ArcSwap<BTreeMap<NodeId, Arc<Node>>>,
    /// Held while `nodes` is replaced.
    learning: Mutex<()>,
}

/// One storage node.
#[derive(Debug)]
struct Node {
    connection: Connection,
    avoid_until: AtomicU64,
}

impl Node {
    fn is_avoided(&self, now: Timestamp) -> bool {
        now.as_nanos() < self.avoid_until.load(Ordering::Relaxed)
    }

    fn avoid(&self, now: Timestamp) {
        self.avoid_until.store((now + AVOIDANCE).as_nanos(), Ordering::Relaxed);
    }
}

impl ReplicatedStore {
    /// A client in `zone` that knows no node yet. `name` is what nodes call it in their logs.
    #[must_use]
    pub fn new(name: &str, zone: Zone) -> Self {
        Self { zone, name: name.to_owned(), nodes: ArcSwap::default(), learning: Mutex::new(()) }
    }

    /// Learns where nodes listen; a node that moved is connected anew, one that is not named stays. Must
    /// be called within a tokio runtime.
    pub fn learn_nodes(&self, nodes: impl IntoIterator<Item = NodeAddress>) {
        let _learning = self.learning.lock();
        let current = self.nodes.load_full();
        let mut newer = None;
        for NodeAddress { node, address } in nodes {
            let known = current.get(&node).is_some_and(|known| known.connection.address() == address);
            if !known && !address.is_empty() {
                let connection = Connection::open(&address, ConnectionConfig::named(&self.name));
                let opened = Arc::new(Node { connection, avoid_until: AtomicU64::new(0) });
                newer.get_or_insert_with(|| (*current).clone()).insert(node, opened);
            }
        }
        if let Some(newer) = newer {
            self.nodes.store(newer.into());
        }
    }

    /// Whether a node is known, and where.
    #[must_use]
    pub fn address_of(&self, node: NodeId) -> Option<String> {
        self.nodes.load().get(&node).map(|known| known.connection.address().to_owned())
    }

    /// The node whose replica should execute.
    fn choose(&self, route: &Route, consistent: bool) -> Result<Arc<Node>, StoreError> {
        let nodes = self.nodes.load();
        // Without a leader to turn to (an election is under way, or its node is gone) any member will do: it
        // holds the request until the group has a leader, and says who.
        if consistent
            && let Some(leader) = route.leader.and_then(|leader| nodes.get(&leader))
            && leader.connection.is_connected()
        {
            return Ok(Arc::clone(leader));
        }
        let now = wire::clock::now();
        let mut best: Option<(u8, &Arc<Node>)> = None;
        for member in route.members.iter().filter(|member| member.kind == MemberKind::Storage) {
            let Some(node) = nodes.get(&member.node) else { continue };
            // Who serves before who may not; among equals, the own zone.
            let rank = u8::from(member.zone != self.zone)
                + 2 * u8::from(node.is_avoided(now))
                + 4 * u8::from(!node.connection.is_connected());
            if best.is_none_or(|(least, _)| rank < least) {
                best = Some((rank, node));
            }
        }
        best.map(|(_, node)| Arc::clone(node)).ok_or(StoreError::Unknown)
    }
}

impl PartitionStore for ReplicatedStore {
    async fn execute(
        &self,
        route: &Route,
        operation: &Operation,
        deadline: Duration,
    ) -> Result<Outcome, StoreError> {
        let consistent = match operation {
            Operation::Get(get) => get.consistent,
            Operation::Range(range) => range.consistent,
            Operation::Put(_) | Operation::Update(_) | Operation::Delete(_) => true,
        };
        let node = self.choose(route, consistent)?;
        let request = wire_form::request(route.table, route.partition, operation);
        let answer = match node.connection.call::<Execute>(&request, deadline).await {
            Ok(response) => wire_form::outcome(response),
            Err(error) => Err(failure(&error, operation.is_write())),
        };
        let elsewhere_perhaps =
            matches!(answer, Err(StoreError::Unavailable { .. } | StoreError::Corrupt | StoreError::Unknown));
        if elsewhere_perhaps && !consistent {
            node.avoid(wire::clock::now());
        }
        answer
    }
}

/// What a call without an answer means for the operation.
fn failure(error: &CallError, is_write: bool) -> StoreError {
    let not_executed = || StoreError::Unavailable { reason: error.to_string(), retry_after: RETRY_AFTER };
    match error {
        CallError::QueueFull | CallError::NotConnected => not_executed(),
        CallError::Failed(
            Failure::Overloaded
            | Failure::Unavailable
            | Failure::DeadlineExceeded
            | Failure::UnknownMethod
            | Failure::Malformed,
        ) => not_executed(),
        CallError::Disconnected | CallError::Timeout | CallError::Failed(Failure::Internal) if is_write => {
            StoreError::Indefinite
        }
        CallError::Malformed if is_write => StoreError::Indefinite,
        CallError::Malformed => StoreError::Corrupt,
        CallError::Disconnected | CallError::Timeout | CallError::Failed(Failure::Internal) => not_executed(),
    }
}
