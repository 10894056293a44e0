//! Which buckets this server owns, and since when.
//!
//! Two servers never lease the same bucket beyond its quota, although they hear of a new ring at different
//! times:
//!
//! - Grant epochs begin with the ring's epoch, so a later owner's grants overrule an earlier one's.
//! - A proxy that knows a newer ring does not report to an owner by the older one.
//! - A new owner leases only what proxies show until every live proxy has reported to it by the new ring,
//!   or until the earlier owner's leases have certainly ended.
//! - An owner that the control plane no longer confirms leases only while half of the fleet follows it; a
//!   new owner of buckets that were not handed over, only while more than half does.

use std::time::Duration;

use units::{Epoch, Timestamp};

use crate::lease::BucketId;
use crate::ring::Ring;

/// The control plane pushes the ring every second: without its word for so long, the fleet's counts.
const CONFIRMED_FOR: Duration = Duration::from_secs(5);
/// Bits of a grant's epoch that hold the server's start in Unix milliseconds: until the year 2248.
const START_BITS: u32 = 43;
/// Changes of ownership that are still being learned; further ones share the last one's end.
const MAX_LEARNING: usize = 16;

#[derive(Debug)]
pub(super) struct Ownership {
    /// This server's start, in Unix milliseconds.
    started: Epoch,
    ring: Option<(Ring, String)>,
    /// The ring before, when it was exactly one epoch older.
    previous: Option<Ring>,
    confirmed_at: Timestamp,
    changed_at: Timestamp,
    /// Counts the times at which buckets were acquired: the start, and every change of the ring.
    acquisition: u32,
    /// What was acquired up to then is learned.
    settled: u32,
    settled_at: Timestamp,
    /// When the learning of which acquisition ends at the latest.
    ends: Vec<(u32, Timestamp)>,
}

impl Ownership {
    pub(super) fn new(started: Epoch, learning_until: Timestamp, now: Timestamp) -> Self {
        Self {
            started,
            ring: None,
            previous: None,
            confirmed_at: now,
            changed_at: now,
            acquisition: 1,
            settled: 0,
            settled_at: now,
            ends: vec![(1, learning_until)],
        }
    }

    pub(super) fn ring(&self) -> Option<&Ring> {
        self.ring.as_ref().map(|(ring, _)| ring)
    }

    pub(super) fn ring_epoch(&self) -> Epoch {
        self.ring().map_or(Epoch::new(0), Ring::epoch)
    }

    /// The epoch of the grants of what is acquired now.
    pub(super) fn epoch(&self) -> Epoch {
        Epoch::new(self.ring_epoch().get() << START_BITS | self.started.get() & ((1 << START_BITS) - 1))
    }

    pub(super) fn acquisition(&self) -> u32 {
        self.acquisition
    }

    /// True: the ring is a new one.
    pub(super) fn set(&mut self, ring: Ring, me: &str, learning_until: Timestamp, now: Timestamp) -> bool {
        let known = self.ring_epoch();
        if ring.epoch() < known {
            return false;
        }
        self.confirmed_at = now;
        if ring.epoch() == known && self.ring.is_some() {
            return false;
        }
        let before = self.ring.replace((ring, me.to_owned())).map(|(ring, _)| ring);
        if before.is_none() {
            // Until now it owned whatever it was asked for: as before, with a newer epoch.
            return true;
        }
        self.previous = before.filter(|ring| ring.epoch().next() == self.ring_epoch());
        self.changed_at = now;
        self.acquisition += 1;
        if self.ends.len() >= MAX_LEARNING {
            self.ends.pop();
        }
        self.ends.push((self.acquisition, learning_until));
        true
    }

    /// Nothing is learned yet, and will not be before `until` unless every live proxy reports.
    pub(super) fn learn_anew(&mut self, until: Timestamp) {
        self.settled = 0;
        self.ends = vec![(self.acquisition, until)];
    }

    /// Without a ring every bucket is its own.
    pub(super) fn owns(&self, bucket: BucketId) -> bool {
        self.ring.as_ref().is_none_or(|(ring, me)| ring.owner_name(bucket) == Some(me))
    }

    /// Whether it owned the bucket by the ring before, too, so that nobody else can have leased it since.
    pub(super) fn owned_before(&self, bucket: BucketId) -> bool {
        match (&self.ring, &self.previous) {
            (Some((_, me)), Some(previous)) => previous.owner_name(bucket) == Some(me),
            (None, _) => true,
            (Some(_), None) => self.acquisition == 1,
        }
    }

    pub(super) fn is_member(&self) -> bool {
        self.ring.as_ref().is_none_or(|(ring, me)| ring.servers().contains(me))
    }

    pub(super) const fn is_learned(&self, acquired: u32) -> bool {
        acquired <= self.settled
    }

    /// Whether all will be learned by `now`, also if nobody has looked since.
    pub(super) fn is_settled_by(&self, now: Timestamp) -> bool {
        self.is_settled()
            || self.ends.iter().any(|(acquired, end)| *acquired == self.acquisition && *end <= now)
    }

    pub(super) const fn is_settled(&self) -> bool {
        self.settled == self.acquisition
    }

    pub(super) const fn settled_at(&self) -> Timestamp {
        self.settled_at
    }

    /// Ends the learning of what every live proxy has shown, or of what has taken long enough. True: all
    /// is learned now.
    pub(super) fn settle(&mut self, all_have_reported: bool, now: Timestamp) -> bool {
        if self.is_settled() {
            return false;
        }
        if all_have_reported {
            self.settled = self.acquisition;
        }
        for (acquisition, end) in &self.ends {
            if *end <= now {
                self.settled = self.settled.max(*acquisition);
            }
        }
        let settled = self.settled;
        self.ends.retain(|(acquisition, _)| *acquisition > settled);
        if self.is_settled() {
            self.settled_at = now;
        }
        self.is_settled()
    }

    pub(super) fn is_confirmed(&self, now: Timestamp) -> bool {
        self.ring.is_none() || now.since(self.confirmed_at) < CONFIRMED_FOR
    }

    /// Whether what was `acquired` came by a change of the ring within `membership`.
    pub(super) fn is_recent(&self, acquired: u32, membership: Duration, now: Timestamp) -> bool {
        acquired > 1 && acquired == self.acquisition && now.since(self.changed_at) < membership
    }
}
