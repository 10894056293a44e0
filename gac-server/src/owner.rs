//! The buckets that this server owns, divided into shards, so that reports which arrive on different cores
//! seldom wait for each other, and so that looking through all of them never holds one up for long.
//!
//! Every shard hears of every report, since membership is the whole server's; a bucket is in one shard, and
//! all account shares of a kind are in the same one, since their owner divides the account's rate among
//! them.

use std::collections::{BTreeMap, BTreeSet};

use admission::{
    AccountSummary, Allocator, AllocatorConfig, Answer, BucketId, BucketState, CapacityKind, Claim, Level,
    Quota, Ring,
};
use parking_lot::Mutex;
use units::{Epoch, MilliUnits, TableId, Timestamp};
use wire::leases::{Entries, RaggedColumns};
use wire::proto::control::Peak;
use wire::proto::gac;

use crate::activity::Activities;
use crate::survey::Survey;

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
    shards: Box<[Mutex<Shard>]>,
}

/// A part of the buckets.
#[derive(Debug)]
pub(crate) struct Shard {
    pub(crate) allocator: Allocator,
    pub(crate) activities: Activities,
    /// Of when it was last looked through.
    pub(crate) survey: Survey,
}

/// What came of a report.
#[derive(Debug, Default)]
pub struct Answered {
    /// The answer: grants, what other servers own, the ring if the proxy's is older, the fleet's size.
    pub grants: gac::Grants,
    /// Given out of pools with it.
    pub tokens: MilliUnits,
    /// Entries that were older than one already seen, or a proxy's last.
    pub stale: u64,
    /// Entries that got nothing because too few of the fleet follow this server.
    pub frozen: u64,
    /// Entries that got nothing because there are too many buckets.
    pub full: u64,
}

impl BucketOwner {
    /// An owner of whatever it is asked for, which learns what earlier owners leased. `started`: Unix
    /// milliseconds, larger than at every earlier start.
    #[must_use]
    pub fn new(started: Epoch, config: &AllocatorConfig, now: Timestamp) -> Self {
        let shard = |_| {
            Mutex::new(Shard {
                allocator: Allocator::new(started, config.clone(), now),
                activities: Activities::default(),
                survey: Survey::default(),
            })
        };
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
        let mut answered = Answered { grants: gac::Grants::with_room(entries.len()), ..Answered::default() };
        // Each proxy begins elsewhere, so that two reports do not wait for each other at every shard.
        let first = usize::try_from(report.proxy % SHARDS as u64).expect("there are few shards");
        for index in (first..SHARDS).chain(0..first) {
            let mut shard = self.shards[index].lock();
            for place in order.places(index) {
                let entry = entries.get(*place as usize);
                answered.add(entry.bucket, &shard.allocator.on_report(&header, &entry, now));
            }
            // After its entries: what a proxy shows in its first report is still learned from.
            shard.allocator.hear(&header, now);
            answered.grants.fleet = shard.allocator.fleet();
            if let Some(ring) = shard.allocator.ring() {
                answered.tell_ring(ring, header.ring);
            }
        }
        Ok(answered)
    }

    /// Goes by `ring`, in which it is called `me`; see [`Allocator::set_ring`].
    pub fn set_ring(&self, ring: &Ring, me: &str, now: Timestamp) {
        for shard in &self.shards {
            shard.lock().allocator.set_ring(ring.clone(), me, now);
        }
    }

    /// Records a quota; see [`Allocator::set_quota`].
    pub fn set_quota(&self, bucket: BucketId, quota: Quota, fresh: bool, now: Timestamp) {
        let mut shard = self.shard_of(bucket).lock();
        // While it learns, a pool that an earlier owner gave from may look fresh.
        let fresh = fresh && !shard.allocator.is_learning(now);
        shard.allocator.set_quota(bucket, quota, fresh, now);
    }

    pub(crate) fn retain_quotas(&self, listed: &BTreeSet<BucketId>) {
        self.shards.iter().for_each(|shard| shard.lock().allocator.retain_quotas(listed));
        for kind in [CapacityKind::Read, CapacityKind::Write] {
            let is_there = |table| listed.contains(&BucketId::new(table, kind));
            self.account(kind).lock().allocator.retain_claims(kind, is_there);
        }
    }

    /// Records the account's quota; see [`Allocator::set_account_quota`].
    pub fn set_account_quota(&self, kind: CapacityKind, quota: Option<Quota>, now: Timestamp) {
        self.account(kind).lock().allocator.set_account_quota(kind, quota, now);
    }

    /// Records a table's claim on it; see [`Allocator::set_claim`].
    pub fn set_claim(&self, table: TableId, kind: CapacityKind, claim: Claim) {
        self.account(kind).lock().allocator.set_claim(table, kind, claim);
    }

    /// What operators see of the account's quota, if it is divided here.
    #[must_use]
    pub fn account_summary(&self, kind: CapacityKind) -> Option<AccountSummary> {
        self.account(kind).lock().allocator.account(kind)
    }

    /// The shard in which all shares of the account are.
    fn account(&self, kind: CapacityKind) -> &Mutex<Shard> {
        self.shard_of(BucketId::at(Level::AccountShare, 0, kind))
    }

    pub(crate) fn shard_of(&self, bucket: BucketId) -> &Mutex<Shard> {
        &self.shards[place_of(bucket)]
    }

    pub(crate) fn shards(&self) -> &[Mutex<Shard>] {
        &self.shards
    }

    /// Whether some buckets' earlier leases are still unknown.
    #[must_use]
    pub fn is_learning(&self, now: Timestamp) -> bool {
        self.shards.iter().any(|shard| shard.lock().allocator.is_learning(now))
    }

    /// The epoch of the ring that it goes by; 0: it owns whatever it is asked for.
    #[must_use]
    pub fn ring_epoch(&self) -> Epoch {
        self.shards[0].lock().allocator.ring().map_or(Epoch::new(0), Ring::epoch)
    }

    /// Buckets here, owned or on their way to another owner.
    #[must_use]
    pub fn buckets(&self) -> usize {
        let count = |shard: &Mutex<Shard>| {
            let allocator = &shard.lock().allocator;
            allocator.bucket_count() + allocator.handing_over()
        };
        self.shards.iter().map(count).sum()
    }

    /// Whether it owns nothing, and has handed over all that it did.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.shards.iter().all(|shard| shard.lock().allocator.is_drained())
    }

    /// Takes what an earlier owner sent under the ring of that epoch; which of it now is, or already was,
    /// here.
    pub fn accept_handover(&self, ring: Epoch, states: &[BucketState], now: Timestamp) -> Vec<BucketId> {
        let taken = states
            .iter()
            .filter(|state| self.shard_of(state.bucket).lock().allocator.accept_handover(ring, state, now));
        taken.map(|state| state.bucket).collect()
    }

    /// The next of what the ring moved away, by new owner: of each shard `buckets` at most, and no more
    /// once they have so many `shares`.
    pub(crate) fn handovers(
        &self,
        buckets: usize,
        shares: usize,
        now: Timestamp,
    ) -> BTreeMap<String, Vec<BucketState>> {
        let mut by_owner: BTreeMap<String, Vec<BucketState>> = BTreeMap::new();
        for shard in &self.shards {
            let mut left = shares;
            for (owner, state) in shard.lock().allocator.handovers(buckets, now) {
                left = left.saturating_sub(state.shares.len());
                by_owner.entry(owner).or_default().push(state);
                if left == 0 {
                    break;
                }
            }
        }
        by_owner
    }

    /// How many buckets wait to be handed over.
    pub(crate) fn handing_over(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().allocator.handing_over()).sum()
    }

    /// These need not be handed over any more.
    pub(crate) fn handed_over(&self, buckets: &[BucketId]) {
        for bucket in buckets {
            self.shard_of(*bucket).lock().allocator.handed_over(&[*bucket]);
        }
    }

    /// The peaks of tables' buckets since this was last asked.
    pub(crate) fn take_peaks(&self, now: Timestamp) -> Vec<Peak> {
        let mut peaks = Vec::new();
        for shard in &self.shards {
            let Shard { allocator, activities, .. } = &mut *shard.lock();
            peaks.extend(activities.take_peaks(|bucket| Some(allocator.summary(bucket, now)?.quota)));
        }
        peaks
    }

    /// Counts silent proxies of one shard down, and looks at all of its buckets. To be called for each about
    /// once a second.
    pub(crate) fn tick(&self, shard: usize, now: Timestamp) {
        let Shard { allocator, activities, survey } = &mut *self.shards[shard].lock();
        allocator.expire(now);
        *survey = Survey::of(allocator, now);
        let buckets = allocator.summaries(now).inspect(|(_, summary)| survey.add(summary));
        activities.sample(buckets, now);
    }

    /// Counts silent proxies down in every shard; as a server does within each second, a part at a time.
    pub fn look_through(&self, now: Timestamp) {
        (0..SHARDS).for_each(|shard| self.tick(shard, now));
    }

    /// What was found when each shard was last looked through.
    pub(crate) fn survey(&self) -> Survey {
        let surveys = self.shards.iter().map(|shard| shard.lock().survey.clone());
        surveys.reduce(Survey::plus).unwrap_or_default()
    }
}

impl Answered {
    fn add(&mut self, bucket: BucketId, answer: &Answer) {
        match answer {
            Answer::Granted(grant) => {
                self.tokens += grant.tokens;
                self.grants.push(grant);
            }
            Answer::NotOwned => self.grants.not_owned.push(bucket.get()),
            Answer::Stale => self.stale += 1,
            Answer::Frozen => self.frozen += 1,
            Answer::Full => self.full += 1,
        }
    }

    /// Names the ring's servers only to those who know an older one.
    fn tell_ring(&mut self, ring: &Ring, known: Epoch) {
        let epoch = ring.epoch();
        if epoch.get() > self.grants.ring_epoch {
            self.grants.ring_epoch = epoch.get();
            self.grants.ring_servers = if known < epoch { ring.servers().to_vec() } else { Vec::new() };
        }
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
    use std::time::Duration;

    use admission::{GrantNumber, ReportEntry, ReportHeader};
    use units::{MilliUnitsPerSecond, ProxyId};

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

    #[test]
    fn peaks_name_the_tables_that_used_more_than_half_of_their_quota() {
        let owner = BucketOwner::new(Epoch::new(1), &AllocatorConfig::default(), at(0));
        let [busy, idle] = [1, 2].map(|table| BucketId::new(TableId::new(table), CapacityKind::Read));
        for second in 1..=8 {
            let entries = [entry(busy, 80 * second), entry(idle, 40 * second)];
            let report = gac::Report::pack(HEADER, &entries);
            owner.answer(&report, at(second)).expect("it is well-formed");
            owner.look_through(at(second));
        }
        let peaks = owner.take_peaks(at(8));
        let [peak] = &peaks[..] else { panic!("one of the two: {peaks:?}") };
        assert_eq!(peak.bucket, busy.get());
        assert!((75_000..=80_000).contains(&peak.rate_milli), "{peak:?}");
        let survey = owner.survey();
        assert_eq!((survey.buckets, survey.fleet, survey.violations.is_empty()), (2, 1, true));
    }

    #[test]
    fn every_shard_hears_of_every_report() {
        let owner = BucketOwner::new(Epoch::new(1), &AllocatorConfig::default(), at(0));
        assert!(owner.is_learning(at(1)));
        owner.answer(&gac::Report::pack(HEADER, &[]), at(1)).expect("it is well-formed");
        assert!(!owner.is_learning(at(1)));
        assert!(owner.shards().iter().all(|shard| shard.lock().allocator.fleet() == 1));
    }

    const HEADER: ReportHeader = ReportHeader {
        proxy: ProxyId::new(1),
        session: 1,
        fleet: 0,
        ring: Epoch::new(1),
        leaving: false,
        session_age: Duration::ZERO,
    };

    /// Of a proxy that has admitted so many units of a quota of 100 units per second.
    fn entry(bucket: BucketId, admitted: u64) -> ReportEntry {
        ReportEntry {
            bucket,
            admitted: MilliUnits::from_units(admitted),
            throttled: MilliUnits::ZERO,
            returned: MilliUnits::ZERO,
            held: MilliUnits::ZERO,
            need: MilliUnits::from_units(50),
            acknowledged: GrantNumber::default(),
            rate_in_use: MilliUnitsPerSecond::from_units(80),
            quota: Quota::with_usual_burst(MilliUnitsPerSecond::from_units(100), 1),
        }
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_nanos(0) + Duration::from_secs(seconds)
    }
}
