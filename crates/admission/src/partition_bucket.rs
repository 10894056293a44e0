//! A partition's own limit, at the replica that executes: allocated tokens and a bank for bursts.
//!
//! Each kind of capacity has one second of allocated tokens, full at the start, and a bank that collects
//! what goes unused, up to 300 s of it, empty at the start: a new partition serves its allocation at once,
//! and bursts only by what it left unused, as DynamoDB says. (DynamoDB Developer Guide, "Burst capacity":
//! "retains up to 5 minutes of unused read and write capacity"; USENIX ATC '22 §4.2.) While a full second
//! of allocation is unused and banked, a burst is the whole bank.
//!
//! Buckets live in memory: a replica that restarts begins like a new partition.
//!
//! Banked tokens are usable only while the node has tokens to spare, and for a write only while the other
//! members of the group have, by the snapshot that the leader keeps of them.
//!
//! A cost that is known late is charged at its least and settled afterwards. What it exceeds its charge by
//! is taken from the allocation, then from the bank; the rest is a debt, repaid within 2 s out of a part
//! of the rate, so that the rest goes on serving. What waits to be executed is checked once more just
//! before: so what is owed stays below 2 s of the rate, but for what is executed at once.
//!
//! **Bound**: what is admitted in any window τ is at most one second of allocation, plus what was banked,
//! plus rate · τ, plus what is owed at its end.

use std::time::Duration;

use units::{MilliUnits, MilliUnitsPerSecond, Timestamp};

use crate::heavy_hitters::{HeavyHitters, HotKey, KeyHash};
use crate::lease::CapacityKind;
use crate::node_bucket::{Class, NodeBucket, NodeShortage};

mod allocation;

use allocation::{Allocation, Cover};

/// What every partition of a node is limited to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionLimits {
    /// Reads at one replica.
    pub read: MilliUnitsPerSecond,
    /// Writes.
    pub write: MilliUnitsPerSecond,
    /// How long an unused allocation is banked.
    pub burst: Duration,
}

impl Default for PartitionLimits {
    /// 3,000 read and 1,000 write units a second, banked for 300 s. Source: DynamoDB Developer Guide,
    /// "Partitions" and "Burst capacity".
    fn default() -> Self {
        Self {
            read: MilliUnitsPerSecond::from_units(3_000),
            write: MilliUnitsPerSecond::from_units(1_000),
            burst: Duration::from_secs(300),
        }
    }
}

/// What an operation asks of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand {
    /// Read or write.
    pub kind: CapacityKind,
    /// What it costs, or at least costs.
    pub cost: MilliUnits,
    /// The partition key that it is about; none for a scan.
    pub key: Option<KeyHash>,
}

/// Which of a storage node's limits refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StorageLayer {
    /// The partition's allocation is used up, and its burst is of no help.
    Partition,
    /// The machine is used up, although the partition has tokens.
    Node,
}

/// Why a refusing partition's bank was of no help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BurstState {
    /// There are too few tokens in it.
    Empty,
    /// It has enough, and the node has none to spare.
    NodeBusy,
    /// It has enough, and another member of the group has no capacity to spare, or was not heard of lately.
    MembersBusy,
}

/// Why a storage node did not execute an operation, and when to come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StorageRefusal {
    /// Who refused.
    pub layer: StorageLayer,
    /// What was asked for.
    pub kind: CapacityKind,
    /// When enough will be there, if nobody else takes it.
    pub retry_after: Duration,
    /// The rate of the limit that refused: the partition's allocation, or the node's.
    pub quota: MilliUnitsPerSecond,
    /// What that limit had left.
    pub level: MilliUnits,
    /// What the partition had banked for bursts.
    pub banked: MilliUnits,
    /// Why that did not help.
    pub burst: BurstState,
    /// The partition's hottest key of this kind, if one stands out.
    pub hot_key: Option<HotKey>,
}

/// What an admitted operation was charged: to be settled exactly once.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "what was charged must be settled once the cost is known"]
pub struct Charge {
    kind: CapacityKind,
    cost: MilliUnits,
    banked: MilliUnits,
}

impl Charge {
    /// What was charged: an operation that cost just this needs no settling.
    #[must_use]
    pub const fn cost(&self) -> MilliUnits {
        self.cost
    }

    /// Whether some of it was taken from the bank.
    #[must_use]
    pub fn is_burst(&self) -> bool {
        self.banked > MilliUnits::ZERO
    }
}

/// What one kind of a bucket's capacity stands at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionLevel {
    /// Allocated tokens left.
    pub level: MilliUnits,
    /// Banked for bursts.
    pub banked: MilliUnits,
    /// Spent and not yet repaid.
    pub debt: MilliUnits,
}

/// The buckets of one replica.
#[derive(Clone, Debug)]
pub struct PartitionBucket {
    read: Side,
    write: Side,
}

#[derive(Clone, Debug)]
struct Side {
    allocation: Allocation,
    hitters: HeavyHitters,
}

impl PartitionBucket {
    /// A new partition's: its allocation full, its bank empty.
    #[must_use]
    pub fn new(limits: PartitionLimits, now: Timestamp) -> Self {
        let side = |rate| Side {
            allocation: Allocation::new(rate, limits.burst, now),
            hitters: HeavyHitters::new(now),
        };
        Self { read: side(limits.read), write: side(limits.write) }
    }

    /// Takes what is asked for here and at the node, or nothing anywhere.
    ///
    /// `others` takes so much off the snapshots of the group's other members, or says that one of them
    /// has none to spare; it is asked only for writes that burst.
    ///
    /// # Errors
    /// [`StorageRefusal`] says who refused, why, and when to come back.
    pub fn take(
        &mut self,
        demand: Demand,
        node: &mut NodeBucket,
        others: impl FnOnce(MilliUnits) -> bool,
        now: Timestamp,
    ) -> Result<Charge, StorageRefusal> {
        let Demand { kind, cost, key } = demand;
        let side = self.side(kind);
        if let Some(key) = key {
            side.hitters.count(key, cost, now);
        }
        side.allocation.refill(now);
        let class = match side.allocation.cover(cost) {
            Cover::Allocated => Class::Allocated,
            Cover::WithBurst => Class::Burst,
            Cover::None => return Err(side.refusal(demand, BurstState::Empty)),
        };
        match (class, node.check(kind, class, cost, now)) {
            (_, Ok(())) => {}
            (Class::Burst, Err(_)) => return Err(side.refusal(demand, BurstState::NodeBusy)),
            (_, Err(shortage)) => return Err(side.node_refusal(demand, shortage)),
        }
        if class == Class::Burst && kind == CapacityKind::Write && !others(cost) {
            return Err(side.refusal(demand, BurstState::MembersBusy));
        }
        node.charge(kind, cost, now);
        let banked = side.allocation.spend(cost, now);
        Ok(Charge { kind, cost, banked })
    }

    /// Whether an operation that was admitted and then waited should still be executed: not while the
    /// partition owes more than it can repay in time. So the debt of costs known late is bounded by that,
    /// and by what is executed at once, however many such operations were admitted.
    ///
    /// # Errors
    /// [`StorageRefusal`]: settle the charge with zero.
    pub fn recheck(&mut self, charge: &Charge, now: Timestamp) -> Result<(), StorageRefusal> {
        let side = self.side(charge.kind);
        side.allocation.refill(now);
        if !side.allocation.is_overdrawn() {
            return Ok(());
        }
        let demand = Demand { kind: charge.kind, cost: charge.cost, key: None };
        Err(side.refusal(demand, BurstState::Empty))
    }

    /// Settles a charge with what the operation cost in the end; zero if it was not executed.
    pub fn settle(&mut self, charge: Charge, cost: MilliUnits, node: &mut NodeBucket, now: Timestamp) {
        let Charge { kind, cost: charged, banked } = charge;
        if cost == charged {
            return;
        }
        let side = self.side(kind);
        side.allocation.refill(now);
        if cost > charged {
            let rest = cost.saturating_sub(charged);
            side.allocation.spend(rest, now);
            node.charge(kind, rest, now);
        } else {
            let unused = charged.saturating_sub(cost);
            side.allocation.refund(unused, banked);
            node.refund(kind, unused);
        }
    }

    /// Charges what this replica does without having been asked: a follower applies its leader's writes.
    /// So a new leader's bucket stands about where the old one's stood. It never owes for it: a follower
    /// that catches up applies much more than a second's worth at once.
    pub fn charge(&mut self, kind: CapacityKind, cost: MilliUnits, node: &mut NodeBucket, now: Timestamp) {
        let allocation = &mut self.side(kind).allocation;
        allocation.refill(now);
        allocation.spend(cost.min(allocation.level() + allocation.banked()), now);
        node.charge(kind, cost, now);
    }

    /// What it stands at.
    pub fn level(&mut self, kind: CapacityKind, now: Timestamp) -> PartitionLevel {
        let allocation = &mut self.side(kind).allocation;
        allocation.refill(now);
        PartitionLevel { level: allocation.level(), banked: allocation.banked(), debt: allocation.debt() }
    }

    fn side(&mut self, kind: CapacityKind) -> &mut Side {
        match kind {
            CapacityKind::Read => &mut self.read,
            CapacityKind::Write => &mut self.write,
        }
    }
}

impl Side {
    fn refusal(&self, demand: Demand, burst: BurstState) -> StorageRefusal {
        let allocation = &self.allocation;
        StorageRefusal {
            layer: StorageLayer::Partition,
            kind: demand.kind,
            retry_after: allocation.retry_after(demand.cost, burst == BurstState::Empty),
            quota: allocation.rate(),
            level: allocation.level(),
            banked: allocation.banked(),
            burst,
            hot_key: self.hitters.hottest(),
        }
    }

    fn node_refusal(&self, demand: Demand, shortage: NodeShortage) -> StorageRefusal {
        StorageRefusal {
            layer: StorageLayer::Node,
            retry_after: shortage.retry_after,
            quota: shortage.quota,
            level: shortage.level,
            ..self.refusal(demand, BurstState::NodeBusy)
        }
    }
}

#[cfg(test)]
mod tests;
