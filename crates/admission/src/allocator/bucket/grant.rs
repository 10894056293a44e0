//! What a proxy is granted: a rate, tokens out of the pool, what it may hold, when to report again.

use std::time::Duration;

use units::{MilliUnits, MilliUnitsPerSecond};

use super::{Bucket, Context, depth_at};
use crate::allocator::shares::{Share, Standing};
use crate::allocator::{AllocatorConfig, MAX_AMOUNT};
use crate::allowance::WIDE_TTL;
use crate::lease::{Grant, GrantNumber, Mode, OutagePolicy, PoolColour, ReportEntry};

/// Below the quota, a proxy is leased its demand and so much more, in percent.
const HEADROOM_PERCENT: u64 = 103;
/// Above it, so much of the quota, in thousandths, is shared equally: nobody is starved of a first token.
const FLOOR_PERMILLE: u64 = 5;
/// When a raise waits for others' acknowledgements, ask again soon.
const WAITING_INTERVAL: Duration = Duration::from_millis(200);
/// A newcomer's demand is not known yet.
const NEWCOMER_INTERVAL: Duration = Duration::from_millis(500);
/// Grants after which a proxy is no newcomer.
pub(super) const NEWCOMER_GRANTS: u8 = 3;
/// Reports of an unchanged rate after which a proxy may report less often.
const STEADY_REPORTS: u8 = 3;
/// The longest time between reports.
pub(super) const LONGEST_INTERVAL: Duration = Duration::from_secs(30);
/// With fewer tokens than this per proxy and interval a rate is too small to split …
const DIRECT_BELOW: u64 = 4_000;
/// … and with more than this it is not any more.
const LEASED_ABOVE: u64 = 8_000;
/// A request's worth of tokens.
const ONE_UNIT: u64 = 1_000;

impl Bucket {
    /// Decides on rate and tokens. `self.sums` are those of the other proxies.
    pub(super) fn grant(
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

    pub(in crate::allocator) fn colour(&self, need: MilliUnits) -> PoolColour {
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
}

/// I4: a raise comes only out of what is free.
pub(in crate::allocator) const fn raise_is_covered(before: u64, after: u64, free: u64) -> bool {
    after <= before || after <= free
}
