//! The accounts whose shares this server owns: their tables' buckets get their quotas from here.

use std::collections::{BTreeMap, BTreeSet};

use units::{Epoch, MilliUnits, MilliUnitsPerSecond, TableId, Timestamp};

use super::bucket::{Bucket, Context};
use super::{Allocator, within_reason};
use crate::account::{Account, Assignment, ChildView};
use crate::lease::{BucketId, CapacityKind, Claim, Level, Mode, Quota, ReportEntry};

/// The account's quota of each kind, and the shares of it that there are.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    of: [AccountShares; 2],
}

/// One kind's.
#[derive(Debug, Default)]
struct AccountShares {
    account: Option<Account>,
    /// Tables' claims, also while no quota is known that they could claim a part of.
    claims: BTreeMap<TableId, Claim>,
    /// Tables whose share has a bucket here.
    tables: BTreeSet<TableId>,
    /// From which acquisition on this server owns the shares: see `Ownership`.
    acquired: u32,
    /// Quotas that were said so far have lower versions.
    next_version: u64,
}

/// What operators see of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountSummary {
    /// The quota in force.
    pub quota: Quota,
    /// Tokens that no table was given.
    pub bank: MilliUnits,
    /// Σ over its tables of what counts as theirs: their rates, or what their proxies may still be using.
    pub assigned: MilliUnitsPerSecond,
    /// Tables that use it.
    pub tables: usize,
}

impl Accounts {
    /// A share has a bucket here now.
    pub(super) fn note(&mut self, bucket: BucketId) {
        if bucket.level() == Level::AccountShare {
            self.at_mut(bucket.kind()).tables.insert(bucket.table());
        }
    }

    fn at(&self, kind: CapacityKind) -> &AccountShares {
        &self.of[kind as usize]
    }

    fn at_mut(&mut self, kind: CapacityKind) -> &mut AccountShares {
        &mut self.of[kind as usize]
    }
}

impl AccountShares {
    /// Begins anew: whatever was assigned may have changed since, at another owner.
    fn begin_anew(&mut self, quota: Quota, epoch: Epoch, now: Timestamp) {
        let mut account = Account::new(quota, self.next_version.max(epoch.get()), now);
        self.claims.iter().for_each(|(table, claim)| account.set_claim(*table, *claim));
        self.account = Some(account);
    }
}

impl Allocator {
    /// Records the account's quota of one kind, which is divided among the tables' account shares; none: it
    /// has none.
    pub fn set_account_quota(&mut self, kind: CapacityKind, quota: Option<Quota>, now: Timestamp) {
        let epoch = self.ownership.epoch();
        let acquired = self.acquired_with(share(TableId::new(0), kind));
        let shares = self.accounts.at_mut(kind);
        match (&mut shares.account, quota.map(within_reason)) {
            (account, None) => {
                if let Some(account) = account.take() {
                    shares.next_version = account.version() + 1;
                }
            }
            (Some(account), Some(quota)) => account.set_quota(quota),
            (None, Some(quota)) => {
                shares.acquired = acquired;
                shares.begin_anew(quota, epoch, now);
            }
        }
    }

    /// Records a table's claim on its account's quota, unless a newer one is known.
    pub fn set_claim(&mut self, table: TableId, kind: CapacityKind, claim: Claim) {
        let shares = self.accounts.at_mut(kind);
        let known = shares.claims.entry(table).or_insert(claim);
        if claim.version > known.version {
            *known = claim;
        }
        if let Some(account) = &mut shares.account {
            account.set_claim(table, *known);
        }
    }

    /// Forgets the claims of tables that are gone.
    pub fn retain_claims(&mut self, kind: CapacityKind, mut is_there: impl FnMut(TableId) -> bool) {
        self.accounts.at_mut(kind).claims.retain(|table, _| is_there(*table));
    }

    /// What operators see of the account's quota, if it has one, and if its shares' owner is this server.
    #[must_use]
    pub fn account(&self, kind: CapacityKind) -> Option<AccountSummary> {
        let shares = self.accounts.at(kind);
        let owned = self.ownership.owns(share(TableId::new(0), kind));
        let account = shares.account.as_ref().filter(|_| owned)?;
        Some(AccountSummary {
            quota: account.quota(),
            bank: account.bank(),
            assigned: account.assigned(),
            tables: shares.tables.len(),
        })
    }

    /// The ring has changed: shares that somebody else may have owned in between are learned anew.
    pub(super) fn follow_ring(&mut self, now: Timestamp) {
        let (epoch, acquisition) = (self.ownership.epoch(), self.ownership.acquisition());
        for kind in [CapacityKind::Read, CapacityKind::Write] {
            let any = share(TableId::new(0), kind);
            if self.ownership.owns(any) && self.ownership.owned_before(any) {
                continue;
            }
            let shares = self.accounts.at_mut(kind);
            shares.acquired = acquisition;
            if let Some(account) = shares.account.take() {
                shares.next_version = account.version() + 1;
                shares.begin_anew(account.quota(), epoch, now);
            }
        }
    }

    /// A share's quota is its account's to say; and when the time has come, all of them change.
    pub(super) fn with_share_quota(
        &mut self,
        entry: ReportEntry,
        now: Timestamp,
    ) -> (ReportEntry, MilliUnits) {
        let (level, kind, table) = (entry.bucket.level(), entry.bucket.kind(), entry.bucket.table());
        let has_account = level == Level::AccountShare && self.accounts.at(kind).account.is_some();
        if !has_account || !self.ownership.owns(entry.bucket) {
            return (entry, MilliUnits::ZERO);
        }
        self.settle(now);
        let assignment = if self.ownership.is_learned(self.accounts.at(kind).acquired) {
            self.divide_account(kind, now);
            self.accounts.at_mut(kind).account.as_mut().map(|account| account.assign(table, now))
        } else {
            let known = self.buckets.get(entry.bucket).map(|bucket| bucket.quota);
            let account = self.accounts.at(kind).account.as_ref();
            let quota = known.or_else(|| account.map(Account::provisional_quota));
            quota.map(|quota| Assignment { table, quota, tokens: MilliUnits::ZERO })
        };
        let assignment = assignment.expect("there is an account");
        (ReportEntry { quota: assignment.quota, ..entry }, assignment.tokens)
    }

    /// Divides an account's quota anew, if that is due.
    pub(super) fn divide_account(&mut self, kind: CapacityKind, now: Timestamp) {
        let learned = self.ownership.is_learned(self.accounts.at(kind).acquired);
        let shares = self.accounts.at_mut(kind);
        let Some(account) = shares.account.as_mut().filter(|account| learned && account.is_due(now)) else {
            return;
        };
        let fleet = self.roster.view(now);
        let context = Context { config: &self.config, fleet, learning: false, sequence: 0, now };
        let mut views = Vec::with_capacity(shares.tables.len());
        shares.tables.retain(|table| match self.buckets.get_mut(share(*table, kind)) {
            Some(bucket) => {
                views.push((*table, bucket.as_child(&context)));
                true
            }
            None => false,
        });
        let assignments = account.divide(views, now);
        if cfg!(debug_assertions) {
            account.assert_invariants();
        }
        for Assignment { table, quota, tokens } in assignments {
            let id = share(table, kind);
            let context = self.context_of(id, now);
            let bucket = self.buckets.get_mut(id).expect("only those that were shown are assigned");
            bucket.adopt(quota, &context.borrow(&self.config));
            bucket.receive(tokens);
        }
    }

    /// From which acquisition on `bucket` is owned.
    pub(super) fn acquired_with(&self, bucket: BucketId) -> u32 {
        let acquisition = self.ownership.acquisition();
        if self.ownership.owned_before(bucket) { acquisition.saturating_sub(1).max(1) } else { acquisition }
    }
}

impl Bucket {
    /// What its account must know of a share.
    fn as_child(&mut self, context: &Context<'_>) -> ChildView {
        let reserve = self.reserve(context);
        ChildView {
            demand: MilliUnitsPerSecond::new(self.sums.demand),
            out: MilliUnitsPerSecond::new(self.sums.out.saturating_add(reserve.rate)),
            pool: self.pool.level(),
            hold: MilliUnits::new(self.sums.hold.saturating_add(reserve.tokens)),
            spilled: std::mem::take(&mut self.spilled),
            runs_dry: self.sums.need > self.pool.level().get(),
            is_leased: self.mode() == Mode::Direct || self.sums.out >= self.quota.rate.get() / 5 * 4,
        }
    }
}

const fn share(table: TableId, kind: CapacityKind) -> BucketId {
    BucketId::at(Level::AccountShare, table.get(), kind)
}

#[cfg(test)]
mod tests;
