//! One bucket at its owner: the pool, and each proxy's share of rate and tokens.

use std::time::Duration;

use units::{Epoch, MilliUnits, MilliUnitsPerSecond, Timestamp};

use super::headroom::Headroom;
use super::roster::{FleetView, Roster};
use super::shares::{Share, Shares, Standing};
use super::summary::Violations;
use super::{AllocatorConfig, MAX_AMOUNT};
use crate::allowance::{Allowance, WIDE_TTL};
use crate::lease::{Grant, GrantNumber, Mode, OutagePolicy, PoolColour, Quota, ReportEntry, ReportHeader};
use crate::token_bucket::{TokenBucket, local_depth};

/// Below the quota, a proxy is leased its demand and so much more, in percent.
const HEADROOM_PERCENT: u64 = 103;
/// Above it, so much of the quota, in thousandths, is shared equally: nobody is starved of a first token.
const FLOOR_PERMILLE: u64 = 5;
/// When a raise waits for others' acknowledgements, ask again soon.
const WAITING_INTERVAL: Duration = Duration::from_millis(200);
/// A newcomer's demand is not known yet.
const NEWCOMER_INTERVAL: Duration = Duration::from_millis(500);
/// Grants after which a proxy is no newcomer.
const NEWCOMER_GRANTS: u8 = 3;
/// Reports of an unchanged rate after which a proxy may report less often.
const STEADY_REPORTS: u8 = 3;
/// The longest time between reports.
const LONGEST_INTERVAL: Duration = Duration::from_secs(30);
/// With fewer tokens than this per proxy and interval a rate is too small to split …
const DIRECT_BELOW: u64 = 4_000;
/// … and with more than this it is not any more.
const LEASED_ABOVE: u64 = 8_000;
/// Proxies that reported within this use the bucket.
const USES: Duration = Duration::from_secs(10);
/// A share whose proxy became untracked is dropped once it has been quiet for so long: a report that was
/// overtaken must not bring it back.
const UNTRACKED_AFTER: Duration = Duration::from_secs(5);
/// A request's worth of tokens.
const ONE_UNIT: u64 = 1_000;

/// A bucket's pool, shares, and running sums over the shares.
#[derive(Debug)]
pub(super) struct Bucket {
    pub(super) quota: Quota,
    /// Of the grants: from when this owner began to own it.
    pub(super) epoch: Epoch,
    /// Counts the times that this server began to own buckets: see `Ownership`.
    pub(super) acquired: u32,
    /// An earlier owner's sums came with it.
    pub(super) handed_over: bool,
    pub(super) pool: TokenBucket,
    /// What overflowed the pool: an account takes it home from its shares.
    pub(super) spilled: MilliUnits,
    /// Nobody uses it without being tracked: an account's share, whose quota no proxy can know.
    pub(super) tracked_only: bool,
    headroom: Headroom,
    pub(super) shares: Shares,
    pub(super) sums: Sums,
    /// Σout and Σhold may be above the quota's only as far as they were when it was lowered.
    pub(super) most_out: u64,
    pub(super) most_held: u64,
    /// Until then, proxies that are not tracked may use wide allowances.
    pub(super) wide_until: Timestamp,
    /// Too small to split.
    direct: bool,
    /// Tracked proxies that use it.
    users: u32,
    touched_at: Timestamp,
    pub(super) meter: WindowMeter,
    pub(super) violations: Violations,
}

/// Sums over the shares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) out: u64,
    pub(super) hold: u64,
    pub(super) demand: u64,
    pub(super) need: u64,
    /// Of `out`, what belongs to silent proxies.
    pub(super) silent: u64,
}

impl Sums {
    pub(super) fn add(&mut self, share: &Share) {
        self.out += share.out.get();
        self.silent += share.silent_out();
        self.hold += share.hold.get();
        self.demand = self.demand.saturating_add(share.demand.get());
        self.need = self.need.saturating_add(share.need.get());
    }

    pub(super) fn remove(&mut self, share: &Share) {
        self.out -= share.out.get();
        self.silent -= share.silent_out();
        self.hold -= share.hold.get();
        self.demand = self.demand.saturating_sub(share.demand.get());
        self.need = self.need.saturating_sub(share.need.get());
    }
}

/// The worst window of (admitted − R·τ), by what reports show.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct WindowMeter {
    /// Admitted − R·t above the lowest that it has been.
    rise: u64,
    pub(super) worst: u64,
    at: Timestamp,
}

impl WindowMeter {
    fn count(&mut self, admitted: MilliUnits, rate: MilliUnitsPerSecond, now: Timestamp) {
        let earned = rate.earned_in(now.since(self.at)).get();
        self.at = self.at.max(now);
        self.rise = self.rise.saturating_sub(earned).saturating_add(admitted.get());
        self.worst = self.worst.max(self.rise);
    }
}

/// What is kept for proxies that are not tracked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Reserve {
    pub(super) rate: u64,
    pub(super) tokens: u64,
}

/// What of the server matters to one report's answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context<'a> {
    pub(super) config: &'a AllocatorConfig,
    pub(super) fleet: FleetView,
    pub(super) learning: bool,
    /// The next grant's.
    pub(super) sequence: u64,
    pub(super) now: Timestamp,
}

impl Bucket {
    pub(super) fn new(quota: Quota, epoch: Epoch, acquired: u32, now: Timestamp) -> Self {
        Self {
            quota,
            epoch,
            acquired,
            handed_over: false,
            // Empty: who knows what an earlier owner gave away.
            pool: TokenBucket::empty(MilliUnitsPerSecond::default(), quota.burst, now),
            spilled: MilliUnits::ZERO,
            tracked_only: false,
            headroom: Headroom::default(),
            shares: Shares::default(),
            sums: Sums::default(),
            most_out: quota.rate.get(),
            most_held: quota.burst.get(),
            wide_until: Timestamp::from_nanos(0),
            direct: false,
            users: 0,
            touched_at: now,
            meter: WindowMeter { at: now, ..WindowMeter::default() },
            violations: Violations::default(),
        }
    }

    pub(super) fn adopt(&mut self, quota: Quota, context: &Context<'_>) {
        if quota.version <= self.quota.version {
            return;
        }
        self.meter.count(MilliUnits::ZERO, self.quota.rate, context.now);
        if !self.tracked_only {
            self.headroom.forget();
        }
        self.quota = quota;
        self.most_out = quota.rate.get().max(self.sums.out);
        self.most_held = quota.burst.get().max(self.sums.hold);
        self.balance(context);
    }

    /// Adds tokens to the pool.
    pub(super) fn receive(&mut self, tokens: MilliUnits) {
        self.spilled += self.pool.add(tokens);
    }

    /// Nothing is out, and the pool is as full as a new bucket's would be.
    pub(super) fn is_unused(&self, context: &Context<'_>) -> bool {
        let reserve = self.reserve(context);
        self.shares.is_empty()
            && context.now >= self.wide_until
            && (context.now.since(self.touched_at) >= context.config.membership
                || self.pool.level().get() + reserve.tokens >= self.quota.burst.get())
    }

    /// An empty pool that began to fill then would be as full now. What allowances may have used meanwhile
    /// is in no pool.
    pub(super) fn filling_since(&self, context: &Context<'_>) -> Timestamp {
        context.now - self.quota.rate.time_to_earn(self.pool.level())
    }

    pub(super) fn mode(&self) -> Mode {
        match (self.direct, self.shares.is_empty()) {
            (_, true) => Mode::Untracked,
            (true, false) => Mode::Direct,
            (false, false) => Mode::Leased,
        }
    }

    /// Answers one entry. None: it is older than one already seen.
    pub(super) fn on_report(
        &mut self,
        header: &ReportHeader,
        entry: &ReportEntry,
        context: &Context<'_>,
    ) -> Option<Grant> {
        self.touched_at = context.now;
        self.spilled += self.pool.refill(context.now);
        self.note_room(context);
        let position = self.shares.position(header.proxy);
        let mut share = match position {
            Some(position) => {
                let share = *self.shares.get(position);
                if share.is_older_than(header.session, entry) {
                    return None;
                }
                self.sums.remove(&share);
                share
            }
            None => {
                if header.leaving {
                    return None;
                }
                if let Some(grant) = self.grant_untracked(entry, context) {
                    return Some(grant);
                }
                self.newcomer(header, entry, context)
            }
        };
        if header.leaving {
            self.say_goodbye(position.expect("a newcomer is not leaving"), entry, context);
            return None;
        }
        let untracked = share.standing == Standing::Leaving && share.is_acknowledged(entry, self.epoch);
        self.credit(&mut share, header.session, entry, context);
        let sampled = self.sample(&mut share, entry, header.session_age, context);
        // From here on the sums are those of the other proxies.
        let grant = self.grant(&mut share, entry, sampled, position.is_none(), context);
        if untracked && share.standing == Standing::Leaving {
            // It has the same once more: this needs no acknowledgement.
            share.standing = Standing::Left;
        }
        self.sums.add(&share);
        self.shares.put(position, share);
        self.balance(context);
        Some(grant)
    }

    /// Takes the proxy's word for what it returns and what it uses.
    fn credit(&mut self, share: &mut Share, session: u64, entry: &ReportEntry, context: &Context<'_>) {
        share.begin_session(session, entry);
        share.has_lease = entry.acknowledged != GrantNumber::default();
        let base = self.base_allowance(context);
        if share.session == session && entry.acknowledged == GrantNumber::default() {
            // It started anew, and has an allowance until it hears.
            share.hold = share.hold.max(base.depth.min(MilliUnits::new(self.room_for_hold())));
        }
        let held = share.hold;
        share.acknowledge(entry, self.epoch);
        let freed = held.saturating_sub(share.hold);
        self.come_home(entry.returned.saturating_sub(share.returned), freed, share.reported_at);
    }

    /// Tokens that a proxy gave back at some time after `since`; places of `freed` of them were kept.
    fn come_home(&mut self, returned: MilliUnits, freed: MilliUnits, since: Timestamp) {
        let kept = returned.min(freed);
        let rest = returned.saturating_sub(kept);
        let counts = self.headroom.take(rest, since);
        self.receive(kept + counts);
        self.spilled += rest.saturating_sub(counts);
    }

    fn note_room(&mut self, context: &Context<'_>) {
        let room = self.room_for_hold().saturating_sub(self.reserve(context).tokens);
        self.headroom.note(room.saturating_sub(self.pool.level().get()), context.now);
    }

    fn sample(
        &mut self,
        share: &mut Share,
        entry: &ReportEntry,
        session_age: Duration,
        context: &Context<'_>,
    ) -> bool {
        if share.standing == Standing::Silent {
            self.users = self.users.saturating_add(1);
        }
        let elapsed = context.now.since(share.reported_at);
        let explained = share.out.earned_in(elapsed) + share.hold;
        let Some(admitted) = share.sample(entry, session_age, context.now) else { return false };
        // Twice: an acknowledged decrease has lowered `out` already.
        if admitted.get() > explained.get().saturating_mul(2).saturating_add(self.quota.rate.get() / 10) {
            share.overdrafts = share.overdrafts.saturating_add(1);
        }
        self.meter.count(admitted, self.quota.rate, context.now);
        true
    }

    /// A proxy that leaves uses nothing any more: what it held comes home.
    fn say_goodbye(&mut self, position: usize, entry: &ReportEntry, context: &Context<'_>) {
        let share = self.shares.remove(position);
        self.users = self.users.saturating_sub(u32::from(share.standing == Standing::Active));
        self.meter.count(entry.admitted.saturating_sub(share.admitted), self.quota.rate, context.now);
        self.balance(context);
        self.come_home(entry.returned.saturating_sub(share.returned), share.hold, share.reported_at);
    }

    pub(super) fn expire(&mut self, roster: &Roster, context: &Context<'_>) {
        self.meter.count(MilliUnits::ZERO, self.quota.rate, context.now);
        let mut gone = Vec::new();
        self.users = 0;
        let part = MilliUnitsPerSecond::new(self.quota.rate.get() / u64::from(context.fleet.safe_parts));
        let (sums, violations) = (&mut self.sums, &mut self.violations);
        for (position, share) in self.shares.iter_mut().enumerate() {
            let silence = context.now.since(share.reported_at);
            let unused = share.standing == Standing::Left && silence >= UNTRACKED_AFTER;
            if silence >= context.config.membership || unused {
                gone.push(position);
                continue;
            }
            self.users += u32::from(silence < USES);
            let lost = !roster.follows(share.proxy);
            // Without a rate it goes *up* to its safe rate when it misses its owner: counted before it does.
            let ended = certainly_ended(silence, context.config);
            let rises = lost && share.rises_when_lost() && share.out < share.goes_to(part);
            if !ended && !rises {
                continue;
            }
            // A steady share is not asked to report before its long interval is over.
            let overdue = lost || silence >= LONGEST_INTERVAL * 2;
            let settled = share.standing == Standing::Silent
                && share.counts_as_lost() == lost
                && !rises
                && share.out <= share.goes_to(part);
            if !overdue || settled {
                continue;
            }
            violations.silences += u64::from(!rises && !ended);
            sums.remove(share);
            share.fall_silent(lost, part, ended);
            sums.add(share);
        }
        for position in gone.into_iter().rev() {
            let share = self.shares.remove(position);
            self.sums.remove(&share);
        }
        self.most_out = self.most_out.max(self.sums.out);
        self.balance(context);
    }

    /// A proxy seen for the first time counts with what it shows, as far as the quota goes, and at least
    /// with what was reserved for it.
    fn newcomer(&mut self, header: &ReportHeader, entry: &ReportEntry, context: &Context<'_>) -> Share {
        self.users = self.users.saturating_add(1);
        let part = self.allowance(context);
        let free = self.quota.rate.get().saturating_sub(self.sums.out);
        let out = entry.rate_in_use.max(part.rate).get().min(free);
        let shown = entry.held.max(depth_at(entry.rate_in_use)).max(part.depth).get();
        let hold = shown.min(self.room_for_hold());
        // A fresh proxy's whole count came within moments; one that an earlier owner leased to is
        // believed to want what it was leased.
        let fresh = entry.acknowledged == GrantNumber::default();
        let demand = if fresh { (entry.admitted + entry.throttled).get() } else { entry.rate_in_use.get() };
        Share {
            proxy: header.proxy,
            session: header.session,
            // Its first report sets the counters: what it gave back before went to an earlier owner.
            admitted: entry.admitted,
            throttled: entry.throttled,
            returned: entry.returned,
            out: MilliUnitsPerSecond::new(out),
            hold: MilliUnits::new(hold),
            granted_rate: MilliUnitsPerSecond::new(out),
            granted_cap: MilliUnits::new(hold),
            safe_rate: MilliUnitsPerSecond::new(out),
            granted_safe_rate: MilliUnitsPerSecond::new(out),
            sequence: 0,
            demand: MilliUnitsPerSecond::new(demand.max(entry.need.get()).min(MAX_AMOUNT)),
            need: entry.need,
            reported_at: context.now,
            session_age: header.session_age,
            admitted_rate: 0.0,
            throttled_rate: 0.0,
            overdrafts: 0,
            grants: 0,
            steady: 0,
            standing: Standing::Active,
            has_lease: !fresh,
        }
    }

    /// Decides on rate and tokens. `self.sums` are those of the other proxies.
    fn grant(
        &mut self,
        share: &mut Share,
        entry: &ReportEntry,
        sampled: bool,
        is_new: bool,
        context: &Context<'_>,
    ) -> Grant {
        let proxies = self.shares.len() as u64 + u64::from(is_new);
        self.choose_mode(context);
        let reserve = if context.learning { 0 } else { self.reserve_beside(is_new, context).rate };
        // What silent proxies may use is not there to be divided.
        let usable = self.quota.rate.get().saturating_sub(reserve).saturating_sub(self.sums.silent);
        if !context.learning && self.may_untrack(share, usable, context) {
            return self.untrack(share, entry, context);
        }
        let target = match (context.learning, self.direct, sampled) {
            (true, _, _) => self.shown_rate(entry, context),
            (false, true, _) => 0,
            (false, false, true) => self.target_rate(share, usable, proxies),
            (false, false, false) => share.granted_rate.get().min(usable),
        };
        // I4: a raise comes only out of what nobody may be using.
        let free = usable.saturating_sub(self.sums.out - self.sums.silent);
        // What it may be using already is no raise, also while the others still have to come down.
        let rate = target.min(free.max(share.out.get()));
        self.violations.raises += u64::from(!raise_is_covered(share.out.get(), rate, free));
        share.out = MilliUnitsPerSecond::new(share.out.get().max(rate));
        share.granted_rate = MilliUnitsPerSecond::new(rate);
        share.granted_safe_rate = self.safe_rate(rate, context);
        share.safe_rate = share.safe_rate.max(share.granted_safe_rate);
        share.standing = Standing::Active;
        let pool = self.colour(share.need);
        let tokens = if context.learning {
            MilliUnits::ZERO
        } else if self.direct {
            self.direct_tokens(share, entry)
        } else {
            self.tokens(share, entry.held, pool, proxies)
        };
        let cap = self.cap(share, entry.held, tokens, pool, context.learning);
        self.number_and_charge(share, cap, tokens, context);
        let missing = share.need.saturating_sub(tokens);
        Grant {
            bucket: entry.bucket,
            number: GrantNumber { epoch: self.epoch, sequence: share.sequence },
            rate: share.granted_rate,
            tokens,
            cap,
            next_report: self.next_report(share, pool, target > rate || context.learning, context.config),
            ttl: context.config.ttl,
            safe_rate: self.told_safe_rate(share),
            pool,
            mode: if self.direct && !context.learning { Mode::Direct } else { Mode::Leased },
            dry_for: if self.direct && !context.learning {
                self.dry_for(missing, reserve)
            } else {
                Duration::ZERO
            },
            quota: self.quota,
        }
    }

    /// While learning: what the proxy shows, or its part of that once somebody who should have been heard
    /// may go to its safe rate.
    fn shown_rate(&self, entry: &ReportEntry, context: &Context<'_>) -> u64 {
        let shown = entry.rate_in_use.get();
        let usable = self.quota.rate.get().saturating_sub(self.reserve(context).rate);
        let all = self.sums.out + shown;
        if context.fleet.lost == 0 || all <= usable {
            return shown;
        }
        let part = u128::from(shown) * u128::from(usable) / u128::from(all);
        u64::try_from(part).expect("no more than what is shown")
    }

    fn number_and_charge(
        &mut self,
        share: &mut Share,
        cap: MilliUnits,
        tokens: MilliUnits,
        context: &Context<'_>,
    ) {
        // What is given may be held beside what an unacknowledged grant allowed.
        share.hold = share.hold.max(cap);
        share.granted_cap = cap;
        share.sequence = context.sequence;
        share.grants = share.grants.saturating_add(1);
        self.pool.charge(tokens);
    }

    /// Too small to split, or not any more: with some room between the two.
    fn choose_mode(&mut self, context: &Context<'_>) {
        let per_interval = self.quota.rate.earned_in(context.config.contended_interval).get();
        let each = per_interval / u64::from(self.users.max(1));
        self.direct = each < if self.direct { LEASED_ABOVE } else { DIRECT_BELOW };
    }

    /// What the fleet falls back to: never more than R together.
    fn safe_rate(&self, rate: u64, context: &Context<'_>) -> MilliUnitsPerSecond {
        let part = self.quota.rate.get() / u64::from(context.fleet.safe_parts);
        let counts = match self.quota.outage {
            // Without a rate, too: an earlier grant may have told it so.
            OutagePolicy::Strict if self.direct || rate == 0 => part,
            OutagePolicy::Strict => part.min(rate),
            OutagePolicy::Static | OutagePolicy::Open => rate,
        };
        MilliUnitsPerSecond::new(counts)
    }

    const fn told_safe_rate(&self, share: &Share) -> MilliUnitsPerSecond {
        match self.quota.outage {
            OutagePolicy::Open => MilliUnitsPerSecond::new(MAX_AMOUNT),
            OutagePolicy::Strict | OutagePolicy::Static => share.granted_safe_rate,
        }
    }

    /// Below the quota everyone gets what it wants and a part of what is left; above it, everyone's
    /// requests are admitted with equal probability.
    fn target_rate(&self, share: &Share, rate: u64, proxies: u64) -> u64 {
        let demand = share.demand.get();
        let all = self.sums.demand.saturating_add(demand);
        if all <= rate {
            let spare = (rate - all) / (2 * proxies);
            // One that may keep it for long is leased not much more than it uses: others may need the rest.
            let spare = if share.steady >= STEADY_REPORTS { spare.min(demand / 4) } else { spare };
            return demand.saturating_mul(HEADROOM_PERCENT) / 100 + spare;
        }
        let floor = rate * FLOOR_PERMILLE / 1000 / proxies;
        let rest = u128::from(rate - rate * FLOOR_PERMILLE / 1000);
        let part = rest * u128::from(demand) / u128::from(all);
        floor + u64::try_from(part).expect("a part of the quota's rate")
    }

    pub(super) fn colour(&self, need: MilliUnits) -> PoolColour {
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
        let room = self.room_for_hold().saturating_sub(held.get());
        MilliUnits::new(give.min(room).min(level))
    }

    /// What requests wait for, or as many whole units of it as there are; and while there is plenty, a
    /// few more for those that follow.
    fn direct_tokens(&self, share: &Share, entry: &ReportEntry) -> MilliUnits {
        let (level, need) = (self.pool.level().get(), share.need.get());
        let room = self.room_for_hold().saturating_sub(entry.held.get());
        if need == 0 {
            return MilliUnits::ZERO;
        }
        if level < need {
            return MilliUnits::new((level - level % ONE_UNIT).min(room));
        }
        let more = ((level - need) / (4 * u64::from(self.users.max(1)))).min(DIRECT_BELOW);
        MilliUnits::new((need + more - more % ONE_UNIT).min(room))
    }

    /// When the pool will have earned what is missing.
    fn dry_for(&self, missing: MilliUnits, reserve: u64) -> Duration {
        if missing == MilliUnits::ZERO {
            return Duration::ZERO;
        }
        let rate = self.quota.rate.get().saturating_sub(reserve).saturating_sub(self.sums.out);
        let wanted = missing.min(MilliUnits::new(ONE_UNIT.max(self.quota.rate.get() / 4)));
        let short = wanted.saturating_sub(self.pool.level());
        // A share's rate may be another one after its account's next division, and a bucket's once earlier
        // leases are given up.
        let changes = self.tracked_only || self.sums.out > 0;
        let longest = if changes { WAITING_INTERVAL } else { WIDE_TTL };
        MilliUnitsPerSecond::new(rate).time_to_earn(short).min(longest)
    }

    fn cap(
        &self,
        share: &Share,
        held: MilliUnits,
        tokens: MilliUnits,
        pool: PoolColour,
        learning: bool,
    ) -> MilliUnits {
        if self.direct && !learning {
            return MilliUnits::new((held.min(share.need) + tokens).get().min(self.room_for_hold()));
        }
        // While tokens are scarce, what a proxy has no need for goes home.
        let keeps = if pool == PoolColour::Comfortable { held } else { held.min(share.need) };
        let wanted = depth_at(share.granted_rate).max(keeps + tokens).get();
        MilliUnits::new(wanted.min(self.room_for_hold()))
    }

    fn next_report(
        &self,
        share: &Share,
        pool: PoolColour,
        waits: bool,
        config: &AllocatorConfig,
    ) -> Duration {
        let demand = self.sums.demand.saturating_add(share.demand.get());
        let rate = self.quota.rate.get();
        if self.direct {
            config.contended_interval
        } else if waits {
            WAITING_INTERVAL.min(config.contended_interval)
        } else if share.grants < NEWCOMER_GRANTS {
            NEWCOMER_INTERVAL.min(config.contended_interval)
        } else if demand > rate / 5 * 4 || pool != PoolColour::Comfortable {
            config.contended_interval
        } else if share.steady >= STEADY_REPORTS
            && demand <= rate / 2
            && share.granted_safe_rate == share.granted_rate
        {
            // Its rate stays when the lease runs out, so it need not be renewed in time.
            let longer = u32::from(share.steady - STEADY_REPORTS + 1).min(6);
            (config.comfortable_interval * longer).min(LONGEST_INTERVAL)
        } else {
            config.comfortable_interval
        }
    }

    /// What each proxy that is not tracked may be using.
    pub(super) fn allowance(&self, context: &Context<'_>) -> Allowance {
        let base = self.base_allowance(context);
        if context.now < self.wide_until {
            let wide = Allowance::wide(self.quota, context.fleet.members);
            return Allowance { rate: base.rate.max(wide.rate), depth: base.depth.max(wide.depth) };
        }
        base
    }

    fn base_allowance(&self, context: &Context<'_>) -> Allowance {
        if self.tracked_only {
            return Allowance::default();
        }
        Allowance::base(self.quota, context.config.expected_proxies)
    }

    pub(super) fn reserve(&self, context: &Context<'_>) -> Reserve {
        self.reserve_beside(false, context)
    }

    /// What is kept for the proxies that are not tracked, in O(1).
    fn reserve_beside(&self, newcomer: bool, context: &Context<'_>) -> Reserve {
        let tracked = self.shares.len() as u64 + u64::from(newcomer);
        let untracked = u64::from(context.fleet.members).saturating_sub(tracked);
        let lost = u64::from(context.fleet.lost).min(untracked);
        let part = self.allowance(context);
        let safe = MilliUnitsPerSecond::new(self.quota.rate.get() / u64::from(context.fleet.safe_parts));
        let safe_depth = if lost == 0 { 0 } else { part.depth.max(local_depth(safe)).get() };
        Reserve {
            rate: part.rate.get() * (untracked - lost) + safe.get() * lost,
            tokens: part.depth.get() * (untracked - lost) + safe_depth * lost,
        }
    }

    /// I2: tokens that one more proxy may hold.
    fn room_for_hold(&self) -> u64 {
        self.quota.burst.get().saturating_sub(self.sums.hold)
    }

    /// After the sums have changed: the pool earns what nobody leases, and holds what nobody may hold.
    pub(super) fn balance(&mut self, context: &Context<'_>) {
        self.most_out = self.quota.rate.get().max(self.most_out.min(self.sums.out));
        self.most_held = self.quota.burst.get().max(self.most_held.min(self.sums.hold));
        let reserve = self.reserve(context);
        let idle = self.quota.rate.get().saturating_sub(self.sums.out).saturating_sub(reserve.rate);
        // While learning, what looks unleased may be leased by the earlier owner: the pool earns nothing.
        let idle = MilliUnitsPerSecond::new(if context.learning { 0 } else { idle });
        let room = MilliUnits::new(self.room_for_hold().saturating_sub(reserve.tokens));
        self.spilled += self.pool.reconfigure(idle, room, context.now);
        self.headroom.note(room.saturating_sub(self.pool.level()).get(), context.now);
    }

    /// Usage is far below the quota: wide allowances for everybody fit beside what is leased.
    fn is_calm(&self, demand: u64, context: &Context<'_>) -> bool {
        let rate = self.quota.rate.get();
        let wide = Allowance::wide(self.quota, context.fleet.members);
        let untracked = u64::from(context.fleet.members).saturating_sub(self.shares.len() as u64);
        let fits = self.sums.out + wide.rate.get() * untracked <= rate
            && self.sums.hold + wide.depth.get() * untracked <= self.quota.burst.get() / 2;
        let full = self.room_for_hold() / 2;
        !self.tracked_only
            && !wide.is_none()
            && context.fleet.lost == 0
            && self.sums.demand.saturating_add(demand) <= rate / 4
            && fits
            && self.pool.level().get() >= full.min(rate * 5)
    }

    /// An answer to a proxy that is not tracked, and need not be.
    fn grant_untracked(&mut self, entry: &ReportEntry, context: &Context<'_>) -> Option<Grant> {
        let wide = Allowance::wide(self.quota, context.fleet.members);
        let suffices = entry.need <= wide.depth && entry.rate_in_use <= wide.rate && entry.held <= wide.depth;
        if context.learning || !suffices || !self.is_calm(wide.rate.get(), context) {
            return None;
        }
        Some(self.wide_grant(entry, wide, context))
    }

    fn wide_grant(&mut self, entry: &ReportEntry, wide: Allowance, context: &Context<'_>) -> Grant {
        self.wide_until = context.now + context.config.certainly_ended(WIDE_TTL);
        // The reserve has grown: the pool makes room for what they may hold.
        self.balance(context);
        let tokens = wide.depth.saturating_sub(entry.held).min(MilliUnits::new(self.pool.level().get() / 4));
        self.pool.charge(tokens);
        Grant {
            bucket: entry.bucket,
            number: GrantNumber { epoch: self.epoch, sequence: context.sequence },
            rate: wide.rate,
            tokens,
            cap: wide.depth,
            next_report: WIDE_TTL,
            ttl: WIDE_TTL,
            safe_rate: Allowance::base(self.quota, context.config.expected_proxies).rate,
            pool: PoolColour::Comfortable,
            mode: Mode::Untracked,
            dry_for: Duration::ZERO,
            quota: self.quota,
        }
    }

    /// A tracked proxy may become untracked: it uses little of what it could have without being tracked.
    fn may_untrack(&self, share: &Share, usable: u64, context: &Context<'_>) -> bool {
        let wide = Allowance::wide(self.quota, context.fleet.members);
        share.grants >= NEWCOMER_GRANTS
            && share.demand.get() <= wide.rate.get() / 2
            && share.need == MilliUnits::ZERO
            && self.sums.out + wide.rate.get() <= usable
            && self.is_calm(share.demand.get(), context)
    }

    fn untrack(&mut self, share: &mut Share, entry: &ReportEntry, context: &Context<'_>) -> Grant {
        let wide = Allowance::wide(self.quota, context.fleet.members);
        let grant = self.wide_grant(entry, wide, context);
        share.out = share.out.max(wide.rate);
        share.granted_rate = wide.rate;
        share.granted_safe_rate = wide.rate;
        share.safe_rate = share.safe_rate.max(wide.rate);
        share.hold = share.hold.max(wide.depth);
        share.granted_cap = wide.depth;
        share.sequence = context.sequence;
        share.standing = Standing::Leaving;
        grant
    }
}

/// I4: a raise comes only out of what is free.
pub(super) const fn raise_is_covered(before: u64, after: u64, free: u64) -> bool {
    after <= before || after <= free
}

/// I5: a silent proxy counts in full until its lease has certainly ended.
pub(super) fn certainly_ended(silence: Duration, config: &AllocatorConfig) -> bool {
    silence >= config.lease_certainly_ended()
}

fn depth_at(rate: MilliUnitsPerSecond) -> MilliUnits {
    if rate.get() == 0 { MilliUnits::ZERO } else { local_depth(rate) }
}
