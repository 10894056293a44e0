//! Proxies that are not tracked: what is kept for them, who becomes one of them, and what those are told.

use std::time::Duration;

use units::{MilliUnits, MilliUnitsPerSecond};

use super::grant::NEWCOMER_GRANTS;
use super::{Bucket, Context};
use crate::allocator::shares::{Share, Standing};
use crate::allowance::{Allowance, WIDE_TTL};
use crate::lease::{Grant, GrantNumber, Mode, PoolColour, ReportEntry};
use crate::token_bucket::local_depth;

/// What is kept for proxies that are not tracked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::allocator) struct Reserve {
    pub(in crate::allocator) rate: u64,
    pub(in crate::allocator) tokens: u64,
}

impl Bucket {
    /// What each proxy that is not tracked may be using.
    pub(in crate::allocator) fn allowance(&self, context: &Context<'_>) -> Allowance {
        let base = self.base_allowance(context);
        if context.now < self.wide_until {
            let wide = Allowance::wide(self.quota, context.fleet.members);
            return Allowance { rate: base.rate.max(wide.rate), depth: base.depth.max(wide.depth) };
        }
        base
    }

    pub(super) fn base_allowance(&self, context: &Context<'_>) -> Allowance {
        if self.tracked_only {
            return Allowance::default();
        }
        Allowance::base(self.quota, context.config.expected_proxies)
    }

    pub(in crate::allocator) fn reserve(&self, context: &Context<'_>) -> Reserve {
        self.reserve_beside(false, context)
    }

    /// What is kept for the proxies that are not tracked, in O(1).
    pub(super) fn reserve_beside(&self, newcomer: bool, context: &Context<'_>) -> Reserve {
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
    pub(super) fn grant_untracked(&mut self, entry: &ReportEntry, context: &Context<'_>) -> Option<Grant> {
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
    pub(super) fn may_untrack(&self, share: &Share, usable: u64, context: &Context<'_>) -> bool {
        let wide = Allowance::wide(self.quota, context.fleet.members);
        share.grants >= NEWCOMER_GRANTS
            && share.demand.get() <= wide.rate.get() / 2
            && share.need == MilliUnits::ZERO
            && self.sums.out + wide.rate.get() <= usable
            && self.is_calm(share.demand.get(), context)
    }

    pub(super) fn untrack(&mut self, share: &mut Share, entry: &ReportEntry, context: &Context<'_>) -> Grant {
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
