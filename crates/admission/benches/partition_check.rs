//! What admission costs an operation at a storage node: the partition's and the node's bucket, each behind
//! a lock, and the sketch of hot keys; one clock reading passed in.
//!
//! `cargo bench -p admission --bench partition_check`

use std::hint::black_box;
use std::sync::Mutex;

use admission::{
    CapacityKind, Charge, Demand, KeyHash, NodeBucket, NodeLimits, PartitionBucket, PartitionLimits,
    StorageRefusal,
};
use criterion::{Criterion, criterion_group, criterion_main};
use units::{MilliUnits, MilliUnitsPerSecond, Timestamp};

const COST: MilliUnits = MilliUnits::from_units(1);
/// How many keys take turns.
const KEYS: [(&str, u64); 2] = [("one key", 1), ("10k keys", 10_000)];

criterion_group!(benches, admitted, settled, refused);
criterion_main!(benches);

struct Replica {
    bucket: Mutex<PartitionBucket>,
    node: Mutex<NodeBucket>,
    now: u64,
    step: u64,
}

impl Replica {
    /// `step` nanoseconds pass between one operation and the next.
    fn new(units_per_second: u64, step: u64) -> Self {
        let rate = MilliUnitsPerSecond::from_units(units_per_second);
        let limits = PartitionLimits { read: rate, write: rate, ..PartitionLimits::default() };
        let start = Timestamp::default();
        Self {
            bucket: Mutex::new(PartitionBucket::new(limits, start)),
            node: Mutex::new(NodeBucket::new(NodeLimits::default(), start)),
            now: 0,
            step,
        }
    }

    fn take(&mut self, keys: u64) -> Result<Charge, StorageRefusal> {
        self.now += self.step;
        let hash = (self.now / self.step % keys).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let demand = Demand { kind: CapacityKind::Write, cost: COST, key: Some(KeyHash::new(hash)) };
        let mut bucket = self.bucket.lock().expect("nobody panics");
        let mut node = self.node.lock().expect("nobody panics");
        bucket.take(black_box(demand), &mut node, |_| true, Timestamp::from_nanos(self.now))
    }

    fn settle(&mut self, charge: Charge, cost: MilliUnits) {
        let mut bucket = self.bucket.lock().expect("nobody panics");
        let mut node = self.node.lock().expect("nobody panics");
        bucket.settle(charge, cost, &mut node, Timestamp::from_nanos(self.now));
    }
}

/// Within the allocation.
fn admitted(criterion: &mut Criterion) {
    for (name, keys) in KEYS {
        criterion.bench_function(&format!("partition_check/admitted/{name}"), |bencher| {
            let mut replica = Replica::new(20_000, 100_000);
            bencher.iter(|| replica.take(keys).is_ok());
        });
    }
}

/// Within the allocation, and three units more than was charged.
fn settled(criterion: &mut Criterion) {
    criterion.bench_function("partition_check/settled", |bencher| {
        let mut replica = Replica::new(50_000, 100_000);
        bencher.iter(|| {
            let charge = replica.take(100).expect("it costs less than is earned");
            replica.settle(charge, MilliUnits::from_units(4));
        });
    });
}

/// Nothing is left.
fn refused(criterion: &mut Criterion) {
    for (name, keys) in KEYS {
        criterion.bench_function(&format!("partition_check/refused/{name}"), |bencher| {
            let mut replica = Replica::new(1, 100);
            while replica.take(1).is_ok() {}
            bencher.iter(|| replica.take(keys).is_err());
        });
    }
}
