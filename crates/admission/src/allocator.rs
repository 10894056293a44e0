//! The owner's side: who may refill which bucket at what rate, and who is given what out of the pool.
//!
//! For each bucket the allocator knows, per tracked proxy, `out`, the highest rate that the proxy may be
//! using, and `hold`, the most tokens it may be holding; what it reserves for the proxies that are not
//! tracked; and the pool `L`. Every report is answered in O(1) by running sums. What it promises, whatever
//! is lost, repeated or late:
//!
//! - I1: Σ`out` ≤ R.
//! - I2: L + Σ`hold` ≤ B, and `hold` is at least what is really held.
//! - I3: a proxy accepts only a newer grant (in `lease_keeper.rs`).
//! - I4: a raise comes only out of R − reserve − Σ`out`; `out` falls only on an acknowledgement or an expiry.
//! - I5: a silent proxy keeps its `out` until its lease has certainly ended, then counts as its safe rate
//!   until membership drops it.
//!
//! A quota that was lowered is the one exception to I1 and I2: what was leased under the old one still
//! counts, and only falls, until every proxy has acknowledged its part. A fleet that grows beyond
//! `expected_proxies` enlarges the reserve in the same way.

mod accounts;
mod bucket;
mod buckets;
mod handover;
mod headroom;
mod invariants;
mod ownership;
mod roster;
mod shares;
mod summary;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use units::{Epoch, MilliUnits, MilliUnitsPerSecond, ProxyId, Timestamp};

use crate::lease::{BucketId, CapacityKind, Grant, Level, Quota, ReportEntry, ReportHeader};
use crate::ring::Ring;
use accounts::Accounts;
use bucket::{Bucket, Context};
use buckets::Buckets;
use ownership::Ownership;
use roster::Roster;

pub use accounts::AccountSummary;
pub use summary::{BucketState, BucketSummary, ShareState, ShareSummary, Violations};

/// How an allocator behaves. Per server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllocatorConfig {
    /// Proxies in the fleet, as long as nobody has heard of more: a new epoch waits for so many to have
    /// reported before it leases anything that a proxy did not show, and allowances are reserved for so many.
    pub expected_proxies: u32,
    /// How long a lease holds.
    pub ttl: Duration,
    /// When to report next, while demand is near the quota or tokens are scarce.
    pub contended_interval: Duration,
    /// When to report next otherwise.
    pub comfortable_interval: Duration,
    /// A proxy silent for this long is gone.
    pub membership: Duration,
}

impl Default for AllocatorConfig {
    /// One proxy; ttl 10 s; reports every 1 s and 5 s; membership 2 min.
    fn default() -> Self {
        Self {
            expected_proxies: 1,
            ttl: Duration::from_secs(10),
            contended_interval: Duration::from_secs(1),
            comfortable_interval: Duration::from_secs(5),
            membership: Duration::from_secs(120),
        }
    }
}

impl AllocatorConfig {
    /// After this long without a report a lease has certainly ended.
    pub(crate) fn lease_certainly_ended(&self) -> Duration {
        self.certainly_ended(self.ttl)
    }

    /// `ttl` by the slowest clock (a tenth of a percent, five times the clocks' rate error) and a margin
    /// for the grant's journey.
    #[expect(clippy::unused_self, reason = "the margins may become settings")]
    pub(crate) fn certainly_ended(&self, ttl: Duration) -> Duration {
        certainly_ended(ttl)
    }
}

/// When what was granted for `ttl` has ended by every clock.
pub(crate) fn certainly_ended(ttl: Duration) -> Duration {
    ttl + ttl / 1000 + Duration::from_millis(500)
}

/// Buckets that one server keeps at most: about 300 bytes each, and 150 per tracked proxy.
const MAX_BUCKETS: usize = 2_000_000;
/// An owner that was cut off may grant for so long until it notices: see `ownership.rs`.
const NOTICED_AFTER: Duration = Duration::from_secs(8);

/// The largest rate and amount that count, in milli-units: a billion units. Far above every quota, and
/// low enough that sums over a fleet never overflow, whatever a report claims.
const MAX_AMOUNT: u64 = 1_000_000_000_000;

fn within_reason(quota: Quota) -> Quota {
    Quota {
        rate: quota.rate.min(MilliUnitsPerSecond::new(MAX_AMOUNT)),
        burst: quota.burst.min(MilliUnits::new(MAX_AMOUNT * Quota::BURST_SECONDS)),
        ..quota
    }
}

fn entry_within_reason(entry: &ReportEntry) -> ReportEntry {
    let most = MilliUnits::new(MAX_AMOUNT);
    ReportEntry {
        held: entry.held.min(most),
        need: entry.need.min(most),
        rate_in_use: entry.rate_in_use.min(MilliUnitsPerSecond::new(MAX_AMOUNT)),
        quota: within_reason(entry.quota),
        ..*entry
    }
}

/// What an entry of a report is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A grant.
    Granted(Grant),
    /// Another server owns the bucket: the proxy is to learn the ring.
    NotOwned,
    /// Nothing: the report is older than one already seen, or was a proxy's last.
    Stale,
    /// Nothing: too few of the fleet follow this server.
    Frozen,
    /// Nothing: there are too many buckets, or proxies.
    Full,
}

impl Answer {
    /// The grant, if it is one.
    #[must_use]
    pub const fn grant(self) -> Option<Grant> {
        match self {
            Self::Granted(grant) => Some(grant),
            Self::NotOwned | Self::Stale | Self::Frozen | Self::Full => None,
        }
    }
}

/// A quota as it was set, and since when this server knows it.
#[derive(Clone, Copy, Debug)]
struct Known {
    quota: Quota,
    /// Nobody has used it before.
    fresh: bool,
    /// From when on the pool of a bucket that nobody uses has filled.
    since: Timestamp,
}

/// All the buckets that one server owns.
#[derive(Debug)]
pub struct Allocator {
    config: AllocatorConfig,
    ownership: Ownership,
    roster: Roster,
    buckets: Buckets,
    /// Buckets that the ring has moved away, until their sums are handed over.
    moving: BTreeMap<BucketId, Bucket>,
    quotas: BTreeMap<BucketId, Known>,
    accounts: Accounts,
    /// Of the last grant: one count for all, so that no two grants of an epoch share a number.
    sequence: u64,
    /// Those of buckets that are gone.
    violations: Violations,
}

impl Allocator {
    /// An allocator that owns nothing yet and learns what earlier owners leased. `started`: Unix
    /// milliseconds, larger than at every earlier start.
    #[must_use]
    pub fn new(started: Epoch, config: AllocatorConfig, now: Timestamp) -> Self {
        let ended = config.lease_certainly_ended();
        Self {
            ownership: Ownership::new(started, now + ended, now),
            roster: Roster::new(config.expected_proxies, config.membership, ended, now),
            config,
            buckets: Buckets::default(),
            moving: BTreeMap::new(),
            quotas: BTreeMap::new(),
            accounts: Accounts::default(),
            sequence: 0,
            violations: Violations::default(),
        }
    }

    /// The epoch of grants for what it begins to own now.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.ownership.epoch()
    }

    /// The ring it goes by; none: it owns whatever it is asked for.
    #[must_use]
    pub fn ring(&self) -> Option<&Ring> {
        self.ownership.ring()
    }

    /// Notes a report, also an empty one (a heartbeat): after its entries, so that what a proxy shows in
    /// its first report is still learned from.
    pub fn hear(&mut self, header: &ReportHeader, now: Timestamp) {
        self.roster.hear(header, now);
        self.settle(now);
    }

    /// Proxies that may have a lease, for answers to proxies.
    #[must_use]
    pub fn fleet(&self) -> u32 {
        self.roster.announced()
    }

    /// Every proxy that is remembered: when it was last heard, and the ring it used then.
    pub fn roster(&self) -> impl Iterator<Item = (ProxyId, Timestamp, Epoch)> + '_ {
        self.roster.members()
    }

    /// Whether some buckets' earlier leases are still unknown, so that only what proxies show is leased.
    #[must_use]
    pub fn is_learning(&self, now: Timestamp) -> bool {
        !self.ownership.is_settled_by(now)
    }

    /// Whether too few of the fleet follow this server for it to lease anything.
    #[must_use]
    pub fn is_frozen(&self, now: Timestamp) -> bool {
        !self.ownership.is_confirmed(now) && !self.roster.half_follow()
    }

    /// Whether it owns nothing, and has handed over all that it did.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        !self.ownership.is_member() && self.buckets.len() == 0 && self.moving.is_empty()
    }

    /// Records a quota, unless a newer one is known. `fresh`: nobody has used it yet, so its pool starts
    /// with a second's worth.
    pub fn set_quota(&mut self, bucket: BucketId, quota: Quota, fresh: bool, now: Timestamp) {
        let quota = within_reason(quota);
        let known = self.quotas.entry(bucket).or_insert(Known { quota, fresh, since: now });
        if quota.version > known.quota.version {
            known.quota = quota;
        }
        let newest = known.quota;
        let context = self.context_of(bucket, now);
        if let Some(bucket) = self.buckets.get_mut(bucket) {
            bucket.adopt(newest, &context.borrow(&self.config));
        }
    }

    /// Forgets the quotas that are not in `listed`: their tables are gone.
    pub fn retain_quotas(&mut self, listed: &BTreeSet<BucketId>) {
        self.quotas.retain(|bucket, _| listed.contains(bucket));
    }

    /// Answers one entry of a report.
    pub fn on_report(&mut self, header: &ReportHeader, entry: &ReportEntry, now: Timestamp) -> Answer {
        if !self.roster.has_room_for(header.proxy) {
            return Answer::Full;
        }
        let (entry, first_tokens) = self.with_share_quota(entry_within_reason(entry), now);
        let position = match self.buckets.position(entry.bucket) {
            Some(position) => position,
            None if !self.ownership.owns(entry.bucket) => return Answer::NotOwned,
            None if header.leaving => return Answer::Stale,
            None if self.buckets.len() >= MAX_BUCKETS => return Answer::Full,
            None => self.begin(&entry, now),
        };
        self.settle(now);
        let frozen = self.is_frozen(now);
        let acquired = self.buckets.at(position).acquired;
        let context = self.context(acquired, now);
        let decided = self.roster.most_follow();
        let bucket = self.buckets.at(position);
        if !header.leaving
            && (frozen
                || !decided
                    && !context.learning
                    && !bucket.handed_over
                    && self.ownership.is_recent(bucket.acquired, self.config.membership, now))
        {
            return Answer::Frozen;
        }
        let context = context.borrow(&self.config);
        // Quotas also come with reports, so that admission goes on while the control plane is away.
        bucket.adopt(entry.quota, &context);
        bucket.receive(first_tokens);
        let grant = bucket.on_report(header, &entry, &context);
        bucket.check(false);
        match grant {
            Some(grant) => {
                self.sequence = context.sequence;
                Answer::Granted(grant)
            }
            None => Answer::Stale,
        }
    }

    /// Counts silent proxies as their safe rate once their lease has certainly ended, and drops those
    /// that are gone, and buckets that nobody uses. To be called about once a second.
    pub fn expire(&mut self, now: Timestamp) {
        self.roster.expire(now);
        self.settle(now);
        let mut unused = Vec::new();
        for (id, bucket) in self.buckets.iter_mut() {
            let context = Context {
                config: &self.config,
                fleet: self.roster.view(now),
                learning: !self.ownership.is_learned(bucket.acquired),
                sequence: 0,
                now,
            };
            bucket.expire(&self.roster, &context);
            bucket.check(true);
            if bucket.is_unused(&context) {
                unused.push((id, bucket.filling_since(&context)));
            }
        }
        for (id, since) in unused {
            let bucket = self.buckets.remove(id).expect("it was just seen");
            self.violations = self.violations.plus(bucket.violations);
            if let Some(known) = self.quotas.get_mut(&id) {
                known.fresh = false;
                known.since = since;
            }
        }
        self.divide_account(CapacityKind::Read, now);
        self.divide_account(CapacityKind::Write, now);
    }

    /// What operators see of `bucket`.
    #[must_use]
    pub fn summary(&self, bucket: BucketId, now: Timestamp) -> Option<BucketSummary> {
        let found = self.buckets.get(bucket)?;
        Some(found.summary(&self.context(found.acquired, now).borrow(&self.config)))
    }

    /// Every bucket that somebody uses.
    pub fn summaries(&self, now: Timestamp) -> impl Iterator<Item = (BucketId, BucketSummary)> + '_ {
        self.buckets.iter().map(move |(id, bucket)| {
            (id, bucket.summary(&self.context(bucket.acquired, now).borrow(&self.config)))
        })
    }

    /// The tracked proxies' shares of `bucket`.
    pub fn shares(&self, bucket: BucketId, now: Timestamp) -> impl Iterator<Item = ShareSummary> + '_ {
        self.buckets.get(bucket).into_iter().flat_map(move |bucket| bucket.share_summaries(now))
    }

    /// How many buckets somebody uses.
    #[must_use]
    pub fn bucket_count(&self) -> usize {
        self.buckets.len()
    }

    /// How often an invariant was seen broken, at every report (in O(1)) and every expiry (in full).
    #[must_use]
    pub fn violations(&self) -> Violations {
        let of_buckets = self.buckets.iter().map(|(_, bucket)| bucket.violations);
        of_buckets.fold(self.violations, Violations::plus)
    }

    /// Asserts I1, I2 and the running sums of every bucket, and that no invariant was broken before.
    ///
    /// # Panics
    /// When one does not hold.
    pub fn assert_invariants(&self) {
        self.buckets.iter().for_each(|(_, bucket)| bucket.assert_invariants());
        assert!(self.violations().is_empty(), "{:?}", self.violations());
    }

    /// The first use of a bucket.
    fn begin(&mut self, entry: &ReportEntry, now: Timestamp) -> usize {
        let known = self.quotas.get(&entry.bucket).copied();
        let quota = match known {
            Some(known) if known.quota.version >= entry.quota.version => known.quota,
            _ => entry.quota,
        };
        let before = self.ownership.owned_before(entry.bucket);
        let acquisition = self.ownership.acquisition();
        let acquired = if before { acquisition.saturating_sub(1).max(1) } else { acquisition };
        let mut bucket = Bucket::new(quota, self.ownership.epoch(), acquired, now);
        if self.ownership.is_learned(acquired) {
            let context = self.context(acquired, now);
            bucket.balance(&context.borrow(&self.config));
            // Nobody has used more than allowances since then.
            let since = known.map_or(now, |known| known.since.max(self.ownership.settled_at()));
            let saved = quota.rate.earned_in(now.since(since));
            let fresh = known.is_some_and(|known| known.fresh);
            let first = if fresh { quota.rate.earned_in(Duration::from_secs(1)) } else { MilliUnits::ZERO };
            bucket.pool.add(saved.max(first));
        }
        self.keep(entry.bucket, bucket)
    }

    fn keep(&mut self, id: BucketId, mut bucket: Bucket) -> usize {
        bucket.tracked_only = id.level() == Level::AccountShare;
        self.accounts.note(id);
        self.buckets.push(id, bucket)
    }

    fn settle(&mut self, now: Timestamp) {
        if !self.ownership.is_settled() && self.ownership.settle(self.roster.has_caught_up(), now) {
            self.roster.settle(now);
        }
    }

    fn context_of(&self, bucket: BucketId, now: Timestamp) -> ServerView {
        let acquired =
            self.buckets.get(bucket).map_or(self.ownership.acquisition(), |bucket| bucket.acquired);
        self.context(acquired, now)
    }

    fn context(&self, acquired: u32, now: Timestamp) -> ServerView {
        ServerView {
            fleet: self.roster.view(now),
            learning: !self.ownership.is_learned(acquired),
            sequence: self.sequence + 1,
            now,
        }
    }
}

/// A [`Context`] without the configuration, which the borrow checker wants apart.
#[derive(Clone, Copy, Debug)]
struct ServerView {
    fleet: roster::FleetView,
    learning: bool,
    sequence: u64,
    now: Timestamp,
}

impl ServerView {
    const fn borrow(self, config: &AllocatorConfig) -> Context<'_> {
        let Self { fleet, learning, sequence, now } = self;
        Context { config, fleet, learning, sequence, now }
    }
}

#[cfg(test)]
mod tests;
