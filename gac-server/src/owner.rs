//! The buckets that this server owns, divided into shards, so that reports which arrive on different cores
//! seldom wait for each other, and so that looking through all of them never holds one up for long.
//!
//! Every shard hears of every report, since membership is the whole server's; a bucket is in one shard, and
//! all account shares of a kind are in the same one, since their owner divides the account's rate among
//! them.

use admission::{Allocator, AllocatorConfig, BucketId, CapacityKind, Level};
use parking_lot::Mutex;
use units::{Epoch, MilliUnits, Timestamp};
use wire::leases::{Entries, RaggedColumns};
use wire::proto::gac;

/// Shards per server: with a million buckets, one of them is looked through in some ten milliseconds.
pub(crate) const SHARDS: usize = 16;

/// Entries of one report at most: some milliseconds' work, 10 MB. A proxy sends more in several reports.
const MAX_ENTRIES: usize = 100_000;

/// Why a report cannot be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Its columns make no sense.
    #[error(transparent)]
    Ragged(#[from] RaggedColumns),
    /// It is too large.
    #[error("more than {MAX_ENTRIES} entries in a report")]
    TooLarge,
}

/// Answers reports. Shared by the server's connections.
#[derive(Debug)]
pub struct BucketOwner {
    shards: Box<[Mutex<Allocator>]>,
}

/// What came of a report.
#[derive(Debug)]
pub struct Answered {
    /// The answer's grants.
    pub grants: gac::Grants,
    /// Given out of pools with it.
    pub tokens: MilliUnits,
}

impl BucketOwner {
    /// An owner of nothing yet, which learns what earlier owners leased.
    #[must_use]
    pub fn new(epoch: Epoch, config: &AllocatorConfig, now: Timestamp) -> Self {
        let shard = |_| Mutex::new(Allocator::new(epoch, config.clone(), now));
        Self { shards: (0..SHARDS).map(shard).collect() }
    }

    /// Answers a report.
    ///
    /// # Errors
    /// [`Unreadable`]: nothing of it counts.
    pub fn answer(&self, report: &gac::Report, now: Timestamp) -> Result<Answered, Unreadable> {
        let entries = report.checked()?;
        if entries.len() > MAX_ENTRIES {
            return Err(Unreadable::TooLarge);
        }
        let header = report.header();
        let order = ByShard::of(&entries);
        let mut grants = gac::Grants::with_room(entries.len());
        let mut tokens = MilliUnits::ZERO;
        for (index, shard) in self.shards.iter().enumerate() {
            let mut shard = shard.lock();
            for place in order.places(index) {
                let entry = entries.get(*place as usize);
                if let Some(grant) = shard.on_report(header.proxy, header.session, &entry, now) {
                    tokens = tokens + grant.tokens;
                    grants.push(&grant);
                }
            }
            shard.introduce(header.proxy);
        }
        Ok(Answered { grants, tokens })
    }

    pub(crate) fn shard_of(&self, bucket: BucketId) -> &Mutex<Allocator> {
        &self.shards[place_of(bucket)]
    }

    pub(crate) fn shards(&self) -> &[Mutex<Allocator>] {
        &self.shards
    }

    pub(crate) fn is_learning(&self, now: Timestamp) -> bool {
        self.shards.iter().any(|shard| shard.lock().is_learning(now))
    }
}

/// A report's entries, those of each shard together.
struct ByShard {
    places: Vec<u32>,
    /// Where each shard's places end.
    ends: [u32; SHARDS],
}

impl ByShard {
    fn of(entries: &Entries<'_>) -> Self {
        let count = u32::try_from(entries.len()).expect("MAX_ENTRIES is far below 2^32");
        let mut next = [0_u32; SHARDS];
        for place in 0..entries.len() {
            next[place_of(entries.bucket(place))] += 1;
        }
        let mut start = 0;
        for size in &mut next {
            start += std::mem::replace(size, start);
        }
        let mut places = vec![0; entries.len()];
        for place in 0..count {
            let next = &mut next[place_of(entries.bucket(place as usize))];
            places[*next as usize] = place;
            *next += 1;
        }
        Self { places, ends: next }
    }

    fn places(&self, shard: usize) -> &[u32] {
        let start = if shard == 0 { 0 } else { self.ends[shard - 1] };
        &self.places[start as usize..self.ends[shard] as usize]
    }
}

/// Which shard a bucket is in. Multiplying by 2^64/φ spreads consecutive numbers over the top bits.
fn place_of(bucket: BucketId) -> usize {
    const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
    let key = match (bucket.level(), bucket.kind()) {
        (Level::AccountShare, CapacityKind::Read) => 0,
        (Level::AccountShare, CapacityKind::Write) => 1 << 60,
        _ => bucket.get().wrapping_mul(SPREAD),
    };
    usize::try_from(key >> 60).expect("four bits")
}

#[cfg(test)]
mod tests {
    use units::TableId;

    use super::*;

    #[test]
    fn buckets_spread_over_the_shards() {
        let mut counts = [0; SHARDS];
        for table in 0..16_000 {
            counts[place_of(BucketId::new(TableId::new(table), CapacityKind::Write))] += 1;
        }
        assert!(counts.iter().all(|count| (800..1_200).contains(count)), "{counts:?}");
    }

    #[test]
    fn all_account_shares_of_a_kind_are_together() {
        let shard = |table, kind| place_of(BucketId::at(Level::AccountShare, table, kind));
        for table in 0..100 {
            assert_eq!(shard(table, CapacityKind::Read), shard(0, CapacityKind::Read));
            assert_eq!(shard(table, CapacityKind::Write), shard(0, CapacityKind::Write));
        }
    }
}
