//! Admission at one replica: what an operation is charged before it is executed, and what is settled after.

use std::sync::Arc;

use admission::{CapacityKind, Charge, Demand, KeyHash, PartitionBucket, PartitionLevel, StorageRefusal};
use dynamodb::api::{self, Cost};
use dynamodb::capacity;
use dynamodb::operation::{EncodedItem, Operation, Outcome, StorageKey};
use parking_lot::Mutex;
use units::{MilliUnits, NodeId, Timestamp};

use super::node_throughput::NodeThroughput;
use crate::engine::{Effect, StoredItem};

/// Bytes at the beginning of a storage key that name its partition key in refusals.
const KEY_HASH_BYTES: usize = 8;

/// A replica's buckets. Locked for each operation, for some tens of nanoseconds.
#[derive(Debug)]
pub(crate) struct PartitionThroughput {
    node: Arc<NodeThroughput>,
    /// None: nobody counts what is done here.
    bucket: Option<Mutex<PartitionBucket>>,
}

/// What an operation was charged. Dropped without being settled, it gives everything back: the operation
/// was not executed here.
#[derive(Debug)]
pub(crate) struct Admitted {
    throughput: Arc<PartitionThroughput>,
    charge: Option<Charge>,
}

impl PartitionThroughput {
    pub(super) fn new(node: Arc<NodeThroughput>, bucket: Option<PartitionBucket>) -> Self {
        Self { node, bucket: bucket.map(Mutex::new) }
    }

    /// Charges the least that `operation` costs, or says why it must not be executed now. `members` are the
    /// group's: asked for only when a write bursts.
    pub(crate) fn admit(
        self: &Arc<Self>,
        operation: &Operation,
        members: impl Fn() -> Vec<NodeId>,
        now: Timestamp,
    ) -> Result<Admitted, StorageRefusal> {
        let charge = match &self.bucket {
            Some(bucket) => Some(self.node.take(bucket, demand(operation), members, now)?),
            None => None,
        };
        Ok(Admitted { throughput: Arc::clone(self), charge })
    }

    /// This replica, which does not lead, applied its leader's write.
    pub(crate) fn applied(&self, effect: &Effect, now: Timestamp) {
        let Some(bucket) = &self.bucket else { return };
        let size = |item: &StoredItem| EncodedItem(item.bytes.clone()).view().size();
        let new = effect.item.as_ref().map_or(0, size);
        let old = new.saturating_add_signed(effect.bytes_delta.saturating_neg());
        self.node.applied(bucket, capacity::write_cost(new.max(old)), now);
    }

    /// What it has left; none: nobody counts.
    pub(super) fn level(&self, kind: CapacityKind, now: Timestamp) -> Option<PartitionLevel> {
        self.bucket.as_ref().map(|bucket| bucket.lock().level(kind, now))
    }

    fn settle(&self, charge: Charge, cost: MilliUnits) {
        // Most cost what they were charged: no need to lock anything again.
        if let Some(bucket) = &self.bucket
            && charge.cost() != cost
        {
            self.node.settle(bucket, charge, cost, wire::clock::now());
        }
    }
}

impl Admitted {
    /// The operation was executed: it costs what its outcome says.
    pub(crate) fn settle(self, operation: &Operation, outcome: &Outcome) {
        if self.charge.is_some() {
            self.settle_cost(api::charge(operation, outcome).amount());
        }
    }

    /// A `Get` found this.
    pub(crate) fn settle_get(self, found: Option<&StoredItem>, consistent: bool) {
        if self.charge.is_some() {
            let size = found.map_or(0, |item| EncodedItem(item.bytes.clone()).view().size());
            self.settle_cost(capacity::read_cost(size, consistent));
        }
    }

    fn settle_cost(mut self, cost: MilliUnits) {
        if let Some(charge) = self.charge.take() {
            self.throughput.settle(charge, cost);
        }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        if let Some(charge) = self.charge.take() {
            self.throughput.settle(charge, MilliUnits::ZERO);
        }
    }
}

fn demand(operation: &Operation) -> Demand {
    let (kind, cost) = match api::estimate(operation) {
        Cost::Read(cost) => (CapacityKind::Read, cost),
        Cost::Write(cost) => (CapacityKind::Write, cost),
    };
    Demand { kind, cost, key: key_of(operation) }
}

/// The partition key that an operation is about; a range that spans several is about none.
fn key_of(operation: &Operation) -> Option<KeyHash> {
    let key = key_hash(operation.routing_key());
    match operation {
        Operation::Range(range) => key.filter(|_| key == range.end.as_ref().and_then(key_hash)),
        _ => key,
    }
}

fn key_hash(key: &StorageKey) -> Option<KeyHash> {
    let hash = key.0.first_chunk::<KEY_HASH_BYTES>()?;
    Some(KeyHash::new(u64::from_be_bytes(*hash)))
}
