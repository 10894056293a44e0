//! One bucket at its owner: the pool, and each proxy's share of rate and tokens.

mod grant;
mod untracked;

use std::time::Duration;

use units::{Epoch, MilliUnits, MilliUnitsPerSecond, Timestamp};

use super::headroom::Headroom;
use super::roster::{FleetView, Roster};
use super::shares::{Share, Shares, Standing};
use super::summary::Violations;
use super::{AllocatorConfig, MAX_AMOUNT};
use crate::lease::{Grant, GrantNumber, Mode, Quota, ReportEntry, ReportHeader};
use crate::token_bucket::{TokenBucket, local_depth};
use grant::LONGEST_INTERVAL;

/// Proxies that reported within this use the bucket.
const USES: Duration = Duration::from_secs(10);
/// A share whose proxy became untracked is dropped once it has been quiet for so long: a report that was
/// overtaken must not bring it back.
const UNTRACKED_AFTER: Duration = Duration::from_secs(5);

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
}

/// I5: a silent proxy counts in full until its lease has certainly ended.
pub(super) fn certainly_ended(silence: Duration, config: &AllocatorConfig) -> bool {
    silence >= config.lease_certainly_ended()
}

fn depth_at(rate: MilliUnitsPerSecond) -> MilliUnits {
    if rate.get() == 0 { MilliUnits::ZERO } else { local_depth(rate) }
}
