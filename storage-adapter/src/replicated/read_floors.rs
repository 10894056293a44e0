//! How new a state this client has read of each partition, so that later reads do not go back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::RwLock;
use units::{LogIndex, PartitionId};

/// A power of two, so many that two threads rarely meet.
const SHARDS: usize = 64;

/// Partitions remembered per shard: 65,536 in all, about 5 MB.
const PER_SHARD: usize = 1_024;

/// The floors of the partitions that were read lately. One that was forgotten begins again at nothing: the first
/// read after that may see an older state than the last one before it.
#[derive(Debug)]
pub(super) struct ReadFloors {
    shards: [RwLock<BTreeMap<PartitionId, Arc<ReadFloor>>>; SHARDS],
    /// A deliberate mistake, by which tests show that they would notice it: floors are never raised.
    pub(super) forgetful: bool,
}

/// One partition's: what the next eventually consistent read must at least see.
#[derive(Debug, Default)]
pub(super) struct ReadFloor {
    index: AtomicU64,
    used: AtomicBool,
}

impl Default for ReadFloors {
    fn default() -> Self {
        Self { shards: std::array::from_fn(|_| RwLock::default()), forgetful: false }
    }
}

impl ReadFloors {
    /// The floor of a partition; shared by all reads of it.
    pub(super) fn of(&self, partition: PartitionId) -> Arc<ReadFloor> {
        let shard = &self.shards[partition.get() as usize % SHARDS];
        if let Some(known) = shard.read().get(&partition) {
            // Read first: a write would take the line from the other threads' caches.
            if !known.used.load(Ordering::Relaxed) {
                known.used.store(true, Ordering::Relaxed);
            }
            return Arc::clone(known);
        }
        let mut shard = shard.write();
        if shard.len() >= PER_SHARD && !shard.contains_key(&partition) {
            make_room(&mut shard);
        }
        Arc::clone(shard.entry(partition).or_default())
    }

    /// A read was answered from a replica that had applied the log up to `applied`, at most.
    pub(super) fn raise(&self, floor: &ReadFloor, applied: LogIndex) {
        if !self.forgetful && floor.index.load(Ordering::Relaxed) < applied.get() {
            // Release and acquire: whoever learns of the answer must find the floor raised.
            floor.index.fetch_max(applied.get(), Ordering::AcqRel);
        }
    }
}

impl ReadFloor {
    /// What a read that begins now must at least see.
    pub(super) fn at_least(&self) -> LogIndex {
        LogIndex::new(self.index.load(Ordering::Acquire))
    }

    /// The leader, asked for at least `asked`, has no such entry: what was read is lost, or never was. A floor that
    /// was raised meanwhile stays. Whether it was lowered.
    pub(super) fn lower(&self, asked: LogIndex, to: LogIndex) -> bool {
        to < asked
            && self.index.compare_exchange(asked.get(), to.get(), Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }
}

/// Forgets what was not used since the last time; when all was, an eighth of it.
fn make_room(shard: &mut BTreeMap<PartitionId, Arc<ReadFloor>>) {
    shard.retain(|_, floor| floor.used.swap(false, Ordering::Relaxed));
    while shard.len() > PER_SHARD - PER_SHARD / 8 {
        shard.pop_first();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_floor_only_rises() {
        let floors = ReadFloors::default();
        let floor = floors.of(partition(7));
        floors.raise(&floor, LogIndex::new(5));
        floors.raise(&floor, LogIndex::new(3));
        assert_eq!(floors.of(partition(7)).at_least(), LogIndex::new(5));
        assert_eq!(floors.of(partition(8)).at_least(), LogIndex::default());
    }

    #[test]
    fn a_floor_is_lowered_from_what_was_asked_and_never_over_a_raise() {
        let floors = ReadFloors::default();
        let floor = floors.of(partition(7));
        floors.raise(&floor, LogIndex::new(5));
        let asked = floor.at_least();
        floors.raise(&floor, LogIndex::new(6));
        assert!(!floor.lower(asked, LogIndex::new(2)), "it was raised since");
        assert_eq!(floor.at_least(), LogIndex::new(6));
        assert!(!floor.lower(LogIndex::new(6), LogIndex::new(8)), "that would be a raise");
        assert!(floor.lower(LogIndex::new(6), LogIndex::new(2)));
        assert_eq!(floor.at_least(), LogIndex::new(2));
    }

    #[test]
    fn what_is_used_is_remembered_when_others_are_forgotten() {
        let floors = ReadFloors::default();
        let of_one_shard = |number: u64| partition(number * SHARDS as u64);
        floors.raise(&floors.of(of_one_shard(0)), LogIndex::new(9));
        for number in 1..5 * PER_SHARD as u64 {
            floors.of(of_one_shard(number));
            floors.of(of_one_shard(0));
        }
        assert_eq!(floors.of(of_one_shard(0)).at_least(), LogIndex::new(9));
        let remembered: usize = floors.shards.iter().map(|shard| shard.read().len()).sum();
        assert!(remembered <= PER_SHARD, "{remembered}");
    }

    fn partition(number: u64) -> PartitionId {
        PartitionId::new(number)
    }
}
