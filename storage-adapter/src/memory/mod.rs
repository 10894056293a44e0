//! One copy in memory, without a log: for tests, and as the baseline that replication is measured
//! against.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use dynamodb::expression::ExpressionCache;
use dynamodb::operation::{Operation, Outcome};
use parking_lot::Mutex;
use routing::Route;
use units::PartitionId;

use crate::engine::{EngineError, Position, Replica};
use crate::{PartitionStore, StoreError, evaluate};

/// Executes on partitions that appear when they are first named.
#[derive(Debug, Default)]
pub struct MemoryStore {
    partitions: Mutex<BTreeMap<PartitionId, Arc<Partition>>>,
    expressions: ExpressionCache,
}

#[derive(Debug)]
struct Partition {
    replica: Replica,
    /// Held while a write is evaluated and applied: writes to a partition take turns.
    turn: Mutex<()>,
}

impl MemoryStore {
    /// A store without partitions.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets a partition and its items.
    pub fn drop_partition(&self, partition: PartitionId) {
        self.partitions.lock().remove(&partition);
    }

    fn partition(&self, partition: PartitionId) -> Arc<Partition> {
        let fresh = || Arc::new(Partition { replica: Replica::new(None, 0), turn: Mutex::new(()) });
        Arc::clone(self.partitions.lock().entry(partition).or_insert_with(fresh))
    }

    fn run(&self, route: &Route, operation: &Operation) -> Result<Outcome, EngineError> {
        let partition = self.partition(route.partition);
        match operation {
            Operation::Get(get) => evaluate::get(&partition.replica, &get.key.0),
            Operation::Range(read) => {
                evaluate::page(&partition.replica, read, &route.range, &self.expressions)
            }
            Operation::Put(_) | Operation::Update(_) | Operation::Delete(_) => {
                self.write(&partition, operation)
            }
        }
    }

    fn write(&self, partition: &Partition, operation: &Operation) -> Result<Outcome, EngineError> {
        let _turn = partition.turn.lock();
        let current = partition.replica.get(&operation.routing_key().0)?;
        let (outcome, effect) = evaluate::write(operation, current, &self.expressions);
        if let Some(effect) = effect {
            let Position { index, term } = partition.replica.applied().position;
            partition.replica.apply(Position { index: index.next(), term }, Some(effect));
        }
        Ok(outcome)
    }
}

impl PartitionStore for MemoryStore {
    async fn execute(
        &self,
        route: &Route,
        operation: &Operation,
        _deadline: Duration,
    ) -> Result<Outcome, StoreError> {
        self.run(route, operation).map_err(|_damaged| StoreError::Corrupt)
    }
}
