//! What one machine can do, shared by priority: customers within their partitions' allocation first,
//! then customers' bursts, then background work (repair, snapshots, checkpoints, refill).
//!
//! One bucket per kind of capacity, one second deep. A class may take only what leaves its *floor* in the
//! bucket: nothing for allocated traffic, a quarter for bursts, half for background work. So while
//! allocated traffic alone fills the machine nothing else gets anything, except that a small part of
//! the rate is set aside for background work and only what that leaves unused flows to the rest: repair
//! never starves.
//!
//! What was done without asking (a read that turned out larger, a leader's write that this node
//! applies) is charged, into debt if need be.

use std::time::Duration;

use units::{MilliUnits, MilliUnitsPerSecond, Timestamp};

use crate::lease::CapacityKind;
use crate::refill_clock::RefillClock;
use crate::token_bucket::{TokenBucket, signed, unsigned};

/// Seconds of rate that the bucket holds.
const DEPTH: Duration = Duration::from_secs(1);
/// The part of the depth that bursts leave alone: one over this.
const BURST_FLOOR: i64 = 4;
/// The part of the depth that background work leaves alone: one over this.
const BACKGROUND_FLOOR: i64 = 2;

/// The largest item has 400 KB.
const LARGEST_WRITE: MilliUnits = MilliUnits::from_units(400);

/// What one machine can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeLimits {
    /// Reads, of all its replicas together.
    pub read: MilliUnitsPerSecond,
    /// Writes, of all its replicas together, those that it applies as a follower included.
    pub write: MilliUnitsPerSecond,
    /// Per cent of both that background work gets even when customers ask for everything; 1 to 50.
    pub background_percent: u8,
}

impl Default for NodeLimits {
    /// 400,000 read and 100,000 write units a second, 5 % for background work: what one log with group
    /// commit carries, so that a small machine meets its own limits before these.
    fn default() -> Self {
        Self {
            read: MilliUnitsPerSecond::from_units(400_000),
            write: MilliUnitsPerSecond::from_units(100_000),
            background_percent: 5,
        }
    }
}

/// For whom tokens are taken, highest priority first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// A customer, within the partition's allocation.
    Allocated,
    /// A customer, by the partition's burst.
    Burst,
    /// Repair, snapshots, checkpoints, refill.
    Background,
}

/// The node has too few tokens for a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the node has too few tokens; enough are there in {retry_after:?}")]
pub struct NodeShortage {
    /// When enough will be there, if nobody else takes them.
    pub retry_after: Duration,
    /// The rate that was not enough.
    pub quota: MilliUnitsPerSecond,
    /// What was there.
    pub level: MilliUnits,
}

/// What a node could still take for bursts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Spare {
    /// Reads.
    pub read: MilliUnits,
    /// Writes.
    pub write: MilliUnits,
}

impl Spare {
    /// What each of so many other nodes is told that it may use until it is told again: its part, so that
    /// all of them together use it once; but at least the largest write, as far as that is there, so that
    /// a member of a large fleet does not keep everyone from bursting.
    #[must_use]
    pub fn shared_among(self, nodes: usize) -> Self {
        let nodes = u64::try_from(nodes).unwrap_or(u64::MAX).max(1);
        let part = |all: MilliUnits| MilliUnits::new(all.get() / nodes).max(LARGEST_WRITE).min(all);
        Self { read: part(self.read), write: part(self.write) }
    }
}

/// A node's bucket.
#[derive(Clone, Debug)]
pub struct NodeBucket {
    read: Side,
    write: Side,
}

impl NodeBucket {
    /// A full bucket.
    #[must_use]
    pub fn new(limits: NodeLimits, now: Timestamp) -> Self {
        let percent = u64::from(limits.background_percent);
        Self { read: Side::new(limits.read, percent, now), write: Side::new(limits.write, percent, now) }
    }

    /// Takes `cost` for `class`, or takes nothing.
    ///
    /// # Errors
    /// [`NodeShortage`] says when to come back.
    pub fn take(
        &mut self,
        kind: CapacityKind,
        class: Class,
        cost: MilliUnits,
        now: Timestamp,
    ) -> Result<(), NodeShortage> {
        let side = self.side(kind);
        side.refill(now);
        match class {
            Class::Allocated | Class::Burst => side.check(class, cost)?,
            Class::Background => return side.take_background(cost, now),
        }
        side.charge(cost);
        Ok(())
    }

    /// Whether [`Self::take`] would succeed for a customer.
    ///
    /// # Errors
    /// [`NodeShortage`] says when to come back.
    pub fn check(
        &mut self,
        kind: CapacityKind,
        class: Class,
        cost: MilliUnits,
        now: Timestamp,
    ) -> Result<(), NodeShortage> {
        let side = self.side(kind);
        side.refill(now);
        side.check(class, cost)
    }

    /// Takes what was already done, into debt if need be. Debt past one second of rate is forgotten:
    /// what the machine has done it could do.
    pub fn charge(&mut self, kind: CapacityKind, amount: MilliUnits, now: Timestamp) {
        let side = self.side(kind);
        side.refill(now);
        side.charge(amount);
    }

    /// Gives back what was taken for a customer and not used.
    pub fn refund(&mut self, kind: CapacityKind, amount: MilliUnits) {
        self.side(kind).add(amount);
    }

    /// What bursts could take now.
    pub fn spare(&mut self, now: Timestamp) -> Spare {
        self.read.refill(now);
        self.write.refill(now);
        Spare { read: self.read.spare(), write: self.write.spare() }
    }

    fn side(&mut self, kind: CapacityKind) -> &mut Side {
        match kind {
            CapacityKind::Read => &mut self.read,
            CapacityKind::Write => &mut self.write,
        }
    }
}

/// One kind of capacity.
#[derive(Clone, Debug)]
struct Side {
    /// What customers may use in any case.
    rate: MilliUnitsPerSecond,
    cap: i64,
    level: i64,
    clock: RefillClock,
    /// What is set aside for background work; it may owe, since one step of it may cost more than a
    /// second's worth.
    guaranteed: TokenBucket,
}

impl Side {
    fn new(rate: MilliUnitsPerSecond, background_percent: u64, now: Timestamp) -> Self {
        let set_aside = rate.get() / 100 * background_percent.clamp(1, 50);
        let guaranteed = MilliUnitsPerSecond::new(set_aside);
        let rest = MilliUnitsPerSecond::new(rate.get() - set_aside);
        let cap = signed(rate.earned_in(DEPTH));
        Self {
            rate: rest,
            cap,
            level: cap,
            clock: RefillClock::starting(now),
            guaranteed: TokenBucket::full(guaranteed, guaranteed.earned_in(DEPTH), now),
        }
    }

    fn refill(&mut self, now: Timestamp) {
        let earned = self.clock.earn(self.rate, now);
        // What overflows there is for everyone.
        let unused = self.guaranteed.refill(now);
        self.add(earned + unused);
    }

    fn add(&mut self, amount: MilliUnits) {
        self.level = self.level.saturating_add(signed(amount)).min(self.cap);
    }

    fn charge(&mut self, amount: MilliUnits) {
        self.level = self.level.saturating_sub(signed(amount)).max(-self.cap);
    }

    fn floor(&self, class: Class) -> i64 {
        match class {
            Class::Allocated => 0,
            Class::Burst => self.cap / BURST_FLOOR,
            Class::Background => self.cap / BACKGROUND_FLOOR,
        }
    }

    /// A customer's cost that no bucket of this depth could hold passes when it is full.
    fn check(&self, class: Class, cost: MilliUnits) -> Result<(), NodeShortage> {
        let wanted = signed(cost).saturating_add(self.floor(class)).min(self.cap);
        if self.level >= wanted { Ok(()) } else { Err(self.shortage(wanted)) }
    }

    fn shortage(&self, wanted: i64) -> NodeShortage {
        NodeShortage {
            retry_after: self.rate.time_to_earn(unsigned(wanted.saturating_sub(self.level))),
            quota: self.rate,
            level: unsigned(self.level),
        }
    }

    /// What customers leave, or else what is set aside. Customers' tokens are never overdrawn.
    fn take_background(&mut self, cost: MilliUnits, now: Timestamp) -> Result<(), NodeShortage> {
        let wanted = signed(cost).saturating_add(self.floor(Class::Background));
        if self.level >= wanted {
            self.charge(cost);
            return Ok(());
        }
        let own = self.guaranteed.take(cost, now);
        own.map_err(|own| {
            let left = self.shortage(wanted);
            let never = wanted > self.cap;
            let retry_after = if never { own.retry_after } else { own.retry_after.min(left.retry_after) };
            NodeShortage { retry_after, ..left }
        })
    }

    fn spare(&self) -> MilliUnits {
        unsigned(self.level - self.floor(Class::Burst))
    }
}

#[cfg(test)]
mod tests;
