//! One bucket at its owner: the pool, and each proxy's share of rate and tokens.

use std::collections::BTreeMap;
use std::time::Duration;

use units::{Epoch, MilliUnits, MilliUnitsPerSecond, ProxyId, Timestamp};

use super::{AllocatorConfig, BucketSummary, MAX_AMOUNT};
use crate::lease::{Grant, GrantNumber, Mode, PoolColour, Quota, ReportEntry};
use crate::token_bucket::{TokenBucket, local_depth};

/// Offered load is followed fast when it rises and slowly when it falls.
const RISE_HALF_LIFE: Duration = Duration::from_millis(50);
/// See [`RISE_HALF_LIFE`].
const FALL_HALF_LIFE: Duration = Duration::from_millis(350);
/// Reports closer together than this only acknowledge: a rate over so short a time means nothing, and a
/// new decrease for each acknowledgement would be answered by the next one, for ever.
const MIN_SAMPLE: Duration = Duration::from_millis(50);
/// Below the quota, a proxy is leased its demand and so much more, in percent.
const HEADROOM_PERCENT: u64 = 103;
/// Above it, so much of the quota, in thousandths, is shared equally: nobody is starved of a first token.
const FLOOR_PERMILLE: u64 = 5;
/// When a raise waits for others' acknowledgements, ask again soon.
const WAITING_INTERVAL: Duration = Duration::from_millis(200);
/// A newcomer's demand is not known yet.
const NEWCOMER_INTERVAL: Duration = Duration::from_millis(500);
/// Grants after which a proxy is no newcomer.
const NEWCOMER_GRANTS: u64 = 3;

/// One proxy's part of a bucket.
#[derive(Debug)]
struct Share {
    session: u64,
    admitted: MilliUnits,
    throttled: MilliUnits,
    returned: MilliUnits,
    /// The highest rate that the proxy may be using.
    out: MilliUnitsPerSecond,
    /// The most tokens that the proxy may be holding.
    hold: MilliUnits,
    /// What the last grant said; `out` and `hold` fall to it when it is acknowledged.
    granted_rate: MilliUnitsPerSecond,
    granted_cap: MilliUnits,
    safe_rate: MilliUnitsPerSecond,
    sequence: u64,
    demand: MilliUnitsPerSecond,
    need: MilliUnits,
    reported_at: Timestamp,
    silent: bool,
}

/// A bucket's pool, shares, and running sums over the shares.
#[derive(Debug)]
pub(super) struct Bucket {
    quota: Quota,
    pool: TokenBucket,
    shares: BTreeMap<ProxyId, Share>,
    sums: Sums,
    /// Σout and Σhold may be above the quota's only as far as they were when it was lowered.
    most_out: u64,
    most_held: u64,
    /// While learning, what looks unleased may be leased by the earlier owner: the pool earns nothing.
    learning: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sums {
    out: u64,
    hold: u64,
    demand: u64,
    need: u64,
}

impl Sums {
    fn add(&mut self, share: &Share) {
        self.out += share.out.get();
        self.hold += share.hold.get();
        self.demand = self.demand.saturating_add(share.demand.get());
        self.need = self.need.saturating_add(share.need.get());
    }

    fn remove(&mut self, share: &Share) {
        self.out -= share.out.get();
        self.hold -= share.hold.get();
        self.demand = self.demand.saturating_sub(share.demand.get());
        self.need = self.need.saturating_sub(share.need.get());
    }
}

impl Bucket {
    pub(super) fn new(quota: Quota, now: Timestamp) -> Self {
        Self {
            quota,
            // Empty: who knows what an earlier owner gave away.
            pool: TokenBucket::empty(MilliUnitsPerSecond::default(), quota.burst, now),
            shares: BTreeMap::new(),
            sums: Sums::default(),
            most_out: quota.rate.get(),
            most_held: quota.burst.get(),
            learning: false,
        }
    }

    pub(super) fn adopt(&mut self, quota: Quota, now: Timestamp) {
        if quota.version <= self.quota.version {
            return;
        }
        self.quota = quota;
        self.most_out = quota.rate.get().max(self.sums.out);
        self.most_held = quota.burst.get().max(self.sums.hold);
        self.balance(now);
    }

    pub(super) fn is_unused(&self) -> bool {
        self.shares.is_empty()
    }

    pub(super) fn summary(&self) -> BucketSummary {
        BucketSummary {
            quota: self.quota,
            pool: self.pool.level(),
            leased: MilliUnitsPerSecond::new(self.sums.out),
            held: MilliUnits::new(self.sums.hold),
            demand: MilliUnitsPerSecond::new(self.sums.demand),
            proxies: self.shares.len(),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one report's whole context; a type would only rename it")]
    pub(super) fn on_report(
        &mut self,
        proxy: ProxyId,
        session: u64,
        entry: &ReportEntry,
        epoch: Epoch,
        learning: bool,
        config: &AllocatorConfig,
        now: Timestamp,
    ) -> Option<Grant> {
        self.learning = learning;
        self.pool.refill(now);
        if self.shares.get(&proxy).is_some_and(|share| share.is_older_than(session, entry)) {
            return None;
        }
        let mut share = match self.shares.remove(&proxy) {
            Some(share) => {
                self.sums.remove(&share);
                share
            }
            None => self.newcomer(session, entry, now),
        };
        share.begin_session(session, entry);
        self.pool.add(entry.returned.saturating_sub(share.returned));
        share.acknowledge(entry, epoch);
        let sampled = share.sample(entry, now);
        // From here on the sums are those of the other proxies, and the demand and need with this one's.
        let grant = self.grant(&mut share, entry, epoch, sampled, config);
        self.sums.add(&share);
        self.shares.insert(proxy, share);
        self.balance(now);
        Some(grant)
    }

    pub(super) fn expire(&mut self, config: &AllocatorConfig, now: Timestamp) {
        let sums = &mut self.sums;
        self.shares.retain(|_, share| {
            let silence = now.since(share.reported_at);
            if share.silent || silence < config.lease_certainly_ended() {
                let stays = silence < config.membership;
                if !stays {
                    sums.remove(share);
                }
                return stays;
            }
            sums.remove(share);
            share.fall_silent();
            sums.add(share);
            true
        });
        self.balance(now);
    }

    /// A proxy seen for the first time counts with what it shows, as far as the quota goes. (Proxies
    /// that all start together stay within it by themselves: see `LeaseKeeper::first_lease`.)
    fn newcomer(&mut self, session: u64, entry: &ReportEntry, now: Timestamp) -> Share {
        let out = entry.rate_in_use.get().min(self.quota.rate.get().saturating_sub(self.sums.out));
        let shown = entry.held.max(local_depth(entry.rate_in_use)).get();
        let hold = shown.min(self.quota.burst.get().saturating_sub(self.sums.hold));
        // A fresh proxy's whole count came within moments; one that an earlier owner leased to is
        // believed to want what it was leased.
        let fresh = entry.acknowledged == GrantNumber::default();
        let demand = if fresh { (entry.admitted + entry.throttled).get() } else { entry.rate_in_use.get() };
        Share {
            session,
            // Its first report sets the counters: what it gave back before went to an earlier owner.
            admitted: entry.admitted,
            throttled: entry.throttled,
            returned: entry.returned,
            out: MilliUnitsPerSecond::new(out),
            hold: MilliUnits::new(hold),
            granted_rate: MilliUnitsPerSecond::new(out),
            granted_cap: MilliUnits::new(hold),
            safe_rate: MilliUnitsPerSecond::new(out),
            sequence: 0,
            demand: MilliUnitsPerSecond::new(demand.max(entry.need.get()).min(MAX_AMOUNT)),
            need: entry.need,
            reported_at: now,
            silent: false,
        }
    }

    /// Decides on rate and tokens. `self.sums` are those of the other proxies.
    fn grant(
        &mut self,
        share: &mut Share,
        entry: &ReportEntry,
        epoch: Epoch,
        sampled: bool,
        config: &AllocatorConfig,
    ) -> Grant {
        let proxies = self.shares.len() as u64 + 1;
        let target = match (self.learning, sampled) {
            (true, _) => entry.rate_in_use.get(),
            (false, true) => self.target_rate(share.demand.get(), proxies),
            (false, false) => share.granted_rate.get(),
        };
        // I4: a raise comes only out of what nobody may be using.
        let free = self.quota.rate.get().saturating_sub(self.sums.out);
        let rate = target.min(free);
        share.out = MilliUnitsPerSecond::new(share.out.get().max(rate));
        share.granted_rate = MilliUnitsPerSecond::new(rate);
        let in_fleet = proxies.max(u64::from(config.expected_proxies));
        share.safe_rate = MilliUnitsPerSecond::new((self.quota.rate.get() / in_fleet).min(rate));

        let pool = self.colour(share.need);
        let tokens =
            if self.learning { MilliUnits::ZERO } else { self.tokens(share, entry.held, pool, proxies) };
        let cap = self.cap(share, entry.held, tokens, pool);
        // What is given may be held beside what an unacknowledged grant allowed.
        share.hold = share.hold.max(cap);
        share.granted_cap = cap;
        self.pool.charge(tokens);
        share.sequence += 1;
        Grant {
            bucket: entry.bucket,
            number: GrantNumber { epoch, sequence: share.sequence },
            rate: share.granted_rate,
            tokens,
            cap,
            next_report: self.next_report(share, pool, target > rate || self.learning, config),
            ttl: config.ttl,
            safe_rate: share.safe_rate,
            pool,
            mode: Mode::Leased,
            dry_for: Duration::ZERO,
            quota: self.quota,
        }
    }

    /// Below the quota everyone gets what it wants and a part of what is left; above it, everyone's
    /// requests are admitted with equal probability.
    fn target_rate(&self, demand: u64, proxies: u64) -> u64 {
        let rate = self.quota.rate.get();
        let all = self.sums.demand.saturating_add(demand);
        if all <= rate {
            let spare = (rate - all) / (2 * proxies);
            return demand.saturating_mul(HEADROOM_PERCENT) / 100 + spare;
        }
        let floor = rate * FLOOR_PERMILLE / 1000 / proxies;
        let rest = u128::from(rate - rate * FLOOR_PERMILLE / 1000);
        let part = rest * u128::from(demand) / u128::from(all);
        floor + u64::try_from(part).expect("a part of the quota's rate")
    }

    fn colour(&self, need: MilliUnits) -> PoolColour {
        let level = self.pool.level().get();
        let second = self.quota.rate.get();
        let wanted = self.sums.need.saturating_add(need.get());
        if level < (second / 100).max(1) {
            PoolColour::Dry
        } else if level >= wanted.saturating_mul(2).max(second.min(self.quota.burst.get() / 4)) {
            PoolColour::Comfortable
        } else {
            PoolColour::Scarce
        }
    }

    fn tokens(&self, share: &Share, held: MilliUnits, pool: PoolColour, proxies: u64) -> MilliUnits {
        let level = self.pool.level().get();
        let need = share.need.get();
        let give = match pool {
            PoolColour::Comfortable => {
                // Also what keeps the proxy ready for a burst: its part of a second's quota.
                let ready = (self.quota.rate.get() / proxies).saturating_sub(held.get());
                need.max(ready).min(level / (proxies + 1).min(4))
            }
            PoolColour::Scarce | PoolColour::Unknown => {
                let all = u128::from(self.sums.need.saturating_add(need).max(1));
                let part = u128::from(level) * u128::from(need) / all;
                need.min(u64::try_from(part).expect("a part of the level"))
            }
            PoolColour::Dry => 0,
        };
        // I2: no more than fits beside what the others may hold.
        let room = self.quota.burst.get().saturating_sub(self.sums.hold).saturating_sub(held.get());
        MilliUnits::new(give.min(room).min(level))
    }

    fn cap(&self, share: &Share, held: MilliUnits, tokens: MilliUnits, pool: PoolColour) -> MilliUnits {
        // While tokens are scarce, what a proxy has no need for goes home.
        let keeps = if pool == PoolColour::Comfortable { held } else { held.min(share.need) };
        let wanted = local_depth(share.granted_rate).max(keeps + tokens).get();
        let room = self.quota.burst.get().saturating_sub(self.sums.hold);
        MilliUnits::new(wanted.min(room))
    }

    fn next_report(
        &self,
        share: &Share,
        pool: PoolColour,
        waits: bool,
        config: &AllocatorConfig,
    ) -> Duration {
        let demand = self.sums.demand.saturating_add(share.demand.get());
        let near_the_quota = demand > self.quota.rate.get() / 5 * 4;
        if waits {
            WAITING_INTERVAL.min(config.contended_interval)
        } else if share.sequence <= NEWCOMER_GRANTS {
            NEWCOMER_INTERVAL.min(config.contended_interval)
        } else if near_the_quota || pool != PoolColour::Comfortable {
            config.contended_interval
        } else {
            config.comfortable_interval
        }
    }

    /// After the sums have changed: the pool earns what nobody leases, and holds what nobody may hold.
    fn balance(&mut self, now: Timestamp) {
        self.most_out = self.quota.rate.get().max(self.most_out.min(self.sums.out));
        self.most_held = self.quota.burst.get().max(self.most_held.min(self.sums.hold));
        let free = if self.learning { 0 } else { self.quota.rate.get().saturating_sub(self.sums.out) };
        let idle = MilliUnitsPerSecond::new(free);
        let room = MilliUnits::new(self.quota.burst.get().saturating_sub(self.sums.hold));
        self.pool.reconfigure(idle, room, now);
    }

    pub(super) fn assert_invariants(&self) {
        let mut sums = Sums::default();
        self.shares.values().for_each(|share| sums.add(share));
        assert_eq!(sums, self.sums, "the running sums are those of the shares");
        assert!(self.leased_rates_fit_the_quota(), "I1: {:?} leased of {:?}", self.sums, self.quota);
        assert!(self.tokens_fit_the_burst(), "I2: pool {:?}, {:?} of {:?}", self.pool, self.sums, self.quota);
    }

    /// I1.
    fn leased_rates_fit_the_quota(&self) -> bool {
        self.sums.out <= self.most_out
    }

    /// I2.
    fn tokens_fit_the_burst(&self) -> bool {
        self.pool.level().get() + self.sums.hold <= self.most_held
    }
}

impl Share {
    /// Reports can be repeated and overtake each other; the counters only grow, so they tell.
    fn is_older_than(&self, session: u64, entry: &ReportEntry) -> bool {
        session < self.session
            || session == self.session
                && (entry.admitted < self.admitted
                    || entry.throttled < self.throttled
                    || entry.returned < self.returned)
    }

    /// A proxy that started again counts from 0. It may use what its predecessor might have used: the
    /// lease stays in the family, and nothing is leased twice.
    fn begin_session(&mut self, session: u64, entry: &ReportEntry) {
        if session > self.session {
            self.session = session;
            self.admitted = MilliUnits::ZERO;
            self.throttled = MilliUnits::ZERO;
            self.returned = entry.returned;
        }
    }

    /// I4: `out` and `hold` fall when the newest grant is known to be in use.
    fn acknowledge(&mut self, entry: &ReportEntry, epoch: Epoch) {
        if entry.acknowledged == (GrantNumber { epoch, sequence: self.sequence }) {
            self.out = self.granted_rate;
            self.hold = self.granted_cap;
        }
    }

    /// Follows the offered load (admitted *and* throttled: splitting by consumption would starve the very
    /// proxy that is being throttled). False: too soon after the last report to tell.
    fn sample(&mut self, entry: &ReportEntry, now: Timestamp) -> bool {
        self.silent = false;
        self.need = entry.need;
        self.returned = entry.returned;
        let elapsed = now.since(self.reported_at);
        if self.sequence == 0 {
            return true;
        }
        if elapsed < MIN_SAMPLE {
            // The counters stay, so that the next sample covers this time, too.
            return false;
        }
        let offered =
            entry.admitted.saturating_sub(self.admitted) + entry.throttled.saturating_sub(self.throttled);
        self.demand = follow(self.demand, offered, elapsed);
        self.admitted = entry.admitted;
        self.throttled = entry.throttled;
        self.reported_at = now;
        true
    }

    /// I5: its lease has certainly ended, so it uses its safe rate at most.
    fn fall_silent(&mut self) {
        self.silent = true;
        self.out = self.out.min(self.safe_rate);
        self.granted_rate = self.out;
        self.demand = MilliUnitsPerSecond::default();
        self.need = MilliUnits::ZERO;
    }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an estimate of load; rates are far below 2^53 and never negative"
)]
fn follow(demand: MilliUnitsPerSecond, offered: MilliUnits, elapsed: Duration) -> MilliUnitsPerSecond {
    let seconds = elapsed.as_secs_f64();
    let before = demand.get() as f64;
    let sample = offered.get() as f64 / seconds;
    let half_life = if sample > before { RISE_HALF_LIFE } else { FALL_HALF_LIFE };
    let kept = (-seconds / half_life.as_secs_f64()).exp2();
    MilliUnitsPerSecond::new((sample + (before - sample) * kept) as u64)
        .min(MilliUnitsPerSecond::new(MAX_AMOUNT))
}
