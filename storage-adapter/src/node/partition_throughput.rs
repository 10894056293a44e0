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
    /// Just before an operation is executed that waited for it, and whose cost only its outcome says.
    pub(crate) fn recheck(&self) -> Result<(), StorageRefusal> {
        match (&self.throughput.bucket, &self.charge) {
            (Some(bucket), Some(charge)) => self.throughput.node.recheck(bucket, charge, wire::clock::now()),
            _ => Ok(()),
        }
    }

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

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use bytes::Bytes;
    use dynamodb::operation::{Delete, Get, Page, RangeRead, WriteOptions, Written};
    use units::PartitionId;

    use super::*;
    use crate::StorageLimits;

    const PARTITION: PartitionId = PartitionId::new(7);

    fn replica(partition: PartitionId) -> Arc<PartitionThroughput> {
        let limits = StorageLimits {
            partition_read_units: 10,
            partition_write_units: 10,
            partition_burst_seconds: 0,
            ..StorageLimits::default()
        };
        let now = wire::clock::now();
        Arc::new(NodeThroughput::new(NodeId::new(1), &limits, now)).partition(partition, now)
    }

    fn key(hash: u64, rest: &[u8]) -> StorageKey {
        StorageKey(Bytes::from([&hash.to_be_bytes(), rest].concat()))
    }

    fn delete() -> Operation {
        Operation::Delete(Delete { key: key(1, b""), options: WriteOptions::default(), return_old: false })
    }

    fn range(start: StorageKey, end: Option<StorageKey>) -> Operation {
        Operation::Range(RangeRead {
            start,
            end,
            forward: true,
            consistent: true,
            limit: None,
            max_bytes: 1 << 20,
            filter: None,
            projection: None,
            bindings: dynamodb::operation::Bindings::default(),
            count_only: false,
            key_attributes: Vec::new(),
        })
    }

    fn admit(replica: &Arc<PartitionThroughput>, operation: &Operation) -> Result<Admitted, StorageRefusal> {
        replica.admit(operation, Vec::new, wire::clock::now())
    }

    /// Whole units left: time passes, but not a tenth of a second.
    fn left(replica: &PartitionThroughput, kind: CapacityKind) -> u64 {
        replica.level(kind, wire::clock::now()).unwrap().level.get() / 1_000
    }

    #[test]
    fn what_is_dropped_unsettled_costs_nothing() {
        let replica = replica(PARTITION);
        let admitted: Vec<_> = (0..10).map(|_| admit(&replica, &delete()).unwrap()).collect();
        assert!(admit(&replica, &delete()).is_err());
        drop(admitted);
        assert_eq!(left(&replica, CapacityKind::Write), 10);
    }

    #[test]
    fn what_waited_is_refused_when_the_partition_owes_too_much_by_then() {
        let replica = replica(PARTITION);
        let waiting = admit(&replica, &delete()).unwrap();
        assert_eq!(waiting.recheck(), Ok(()));
        let written = Written { attributes: None, old_size: 40 << 10, new_size: 0 };
        admit(&replica, &delete()).unwrap().settle(&delete(), &Outcome::Written(written));
        assert_eq!(waiting.recheck().unwrap_err().kind, CapacityKind::Write);
    }

    #[test]
    fn a_write_costs_the_larger_of_the_item_before_and_after() {
        let replica = replica(PARTITION);
        let written = Written { attributes: None, old_size: 4_000, new_size: 0 };
        admit(&replica, &delete()).unwrap().settle(&delete(), &Outcome::Written(written));
        assert_eq!(left(&replica, CapacityKind::Write), 6);
    }

    #[test]
    fn a_page_costs_what_it_evaluated_and_an_absent_item_the_least() {
        let replica = replica(PARTITION);
        let read = range(key(1, b""), None);
        let page = Page { scanned_bytes: 3 * 4_096, ..Page::default() };
        admit(&replica, &read).unwrap().settle(&read, &Outcome::Page(page));
        assert_eq!(left(&replica, CapacityKind::Read), 7);
        let get = Operation::Get(Get { key: key(1, b""), consistent: true });
        admit(&replica, &get).unwrap().settle_get(None, true);
        assert_eq!(left(&replica, CapacityKind::Read), 6);
        assert_eq!(left(&replica, CapacityKind::Write), 10);
    }

    #[test]
    fn a_follower_counts_its_leaders_writes() {
        let replica = replica(PARTITION);
        let effect = Effect { key: Bytes::new(), item: None, items_delta: -1, bytes_delta: -2_500 };
        replica.applied(&effect, wire::clock::now());
        assert_eq!(left(&replica, CapacityKind::Write), 7);
    }

    #[test]
    fn the_catalog_is_never_refused() {
        let replica = replica(PartitionId::new(0));
        let admitted: Vec<_> = (0..100).map(|_| admit(&replica, &delete())).collect();
        assert!(admitted.iter().all(Result::is_ok));
        assert_eq!(replica.level(CapacityKind::Write, wire::clock::now()), None);
    }

    #[test]
    fn members_are_looked_up_only_for_a_burst() {
        let replica = replica(PARTITION);
        let asked = Cell::new(false);
        let members = || {
            asked.set(true);
            Vec::new()
        };
        drop(replica.admit(&delete(), members, wire::clock::now()).unwrap());
        assert!(!asked.get());
    }

    #[test]
    fn a_query_is_about_its_partition_key_and_a_scan_about_none() {
        let query = range(key(5, b"rest a"), Some(key(5, b"rest b")));
        assert_eq!(key_of(&query), Some(KeyHash::new(5)));
        for (start, end) in [
            (StorageKey(Bytes::new()), None),
            (key(5, b""), None),
            (key(5, b""), Some(key(6, b""))),
            (key(5, b""), Some(StorageKey(Bytes::from_static(b"short")))),
        ] {
            assert_eq!(key_of(&range(start, end)), None);
        }
        assert_eq!(key_of(&delete()), Some(KeyHash::new(1)));
    }
}
