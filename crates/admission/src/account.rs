//! An account's quota, divided among its tables.
//!
//! Every table has an *account share*: an ordinary bucket whose quota nobody wrote down. The account's
//! owner decides it, by weighted max-min over the tables' demands (`max_min.rs`), again and again. It
//! lowers first, and raises only out of what is certainly free, so that whatever the proxies have not yet
//! acknowledged:
//!
//! - I1, for the account: Σ over its tables of max(rate, Σ`out`) ≤ R.
//! - I2, for the account: bank + Σ over its tables of max(burst, what they hold) ≤ B.
//!
//! The *bank* is to the tables' pools what a pool is to the proxies' local buckets: what no table was
//! assigned flows into it, and what overflows a table's pool comes home to it. A part of rate and burst
//! always stays there: a table that wakes up in a busy account is served its floor out of it at once,
//! while the others are still being lowered.
//!
//! A quota that was lowered is the exception to I1 and I2, as it is for a bucket: what was assigned under
//! the old one still counts, and only falls.

use std::collections::BTreeMap;
use std::time::Duration;

use units::{MilliUnits, MilliUnitsPerSecond, TableId, Timestamp};

use crate::lease::{Claim, Quota};
use crate::max_min::{Claimant, divide_max_min};
use crate::token_bucket::TokenBucket;

/// Not more often than this …
const DIVISION_INTERVAL: Duration = Duration::from_millis(100);
/// … for each so many tables: a division costs them about a microsecond each, so at most a tenth of a core.
const TABLES_PER_INTERVAL: usize = 10_000;
/// Of the rate, in thousandths, what is never assigned for long: newcomers start with it.
const SPARE_PERMILLE: u64 = 10;
/// Of the rate, in thousandths, what all tables together are assigned however idle they are: so that the
/// first request of each finds something.
const IDLE_PERMILLE: u64 = 5;
/// A table below its fair share is assigned its demand and so much more, in percent, and the deviation of
/// what comes at random: demand is known only from the past. What it does not use comes back to the bank.
const HEADROOM_PERCENT: u64 = 105;
/// A table that runs dry is believed to want at least twice its floor (its proxies lease only about half of
/// what nobody seems to want), or its rate, if that is all leased, and this part of it.
const GROWTH_PART: u64 = 4;
/// When it runs dry no more, that falls by this part per division: by half in two seconds, as fast as
/// estimates rise.
const FADING_PART: u64 = 30;
/// The part of the burst that tables are never assigned: a quarter. It is the newcomers' reserve.
const RESERVED_BURST_PART: u64 = 4;
/// For how long a table below its floor is served out of the bank: until the others have been lowered,
/// which takes one report interval.
const BRIDGED: Duration = Duration::from_secs(1);
/// What overflowed may have overflowed so long ago: the usual interval of reports.
const UNDER_WAY: Duration = Duration::from_secs(5);
/// What a table may bank at least: a few requests.
const MIN_BURST: MilliUnits = MilliUnits::from_units(4);

/// What a table's account share looks like at its owner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ChildView {
    /// What the table's proxies are offered.
    pub(crate) demand: MilliUnitsPerSecond,
    /// The most that they may be using.
    pub(crate) out: MilliUnitsPerSecond,
    /// Tokens in its pool.
    pub(crate) pool: MilliUnits,
    /// The most tokens that its proxies may be holding.
    pub(crate) hold: MilliUnits,
    /// What overflowed its pool since this was last asked.
    pub(crate) spilled: MilliUnits,
    /// Its proxies need more than its pool has.
    pub(crate) runs_dry: bool,
    /// Next to all of its rate is leased.
    pub(crate) is_leased: bool,
}

impl ChildView {
    fn held(&self) -> u64 {
        self.pool.get().saturating_add(self.hold.get())
    }
}

/// What an account decided for one of its tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Assignment {
    /// Whose.
    pub(crate) table: TableId,
    /// The share's quota from now on.
    pub(crate) quota: Quota,
    /// Out of the bank, into the share's pool.
    pub(crate) tokens: MilliUnits,
}

/// One account's quota of one kind of capacity.
#[derive(Debug)]
pub(crate) struct Account {
    quota: Quota,
    bank: TokenBucket,
    claims: BTreeMap<TableId, Claim>,
    children: BTreeMap<TableId, Child>,
    /// Of the children's quotas.
    version: u64,
    divided_at: Option<Timestamp>,
    /// Since when there has been room for what overflows the tables' pools.
    roomy_since: Option<Timestamp>,
    /// What is assigned may be above the quota only as far as it was when that was lowered.
    most_rate: u64,
    most_burst: u64,
}

/// What one table is assigned, and what it had when that was last looked at.
#[derive(Clone, Copy, Debug, Default)]
struct Child {
    rate: u64,
    burst: u64,
    view: ChildView,
    /// What the division aims at, which the others may have to free first.
    target: u64,
    entitled: u64,
    /// What it is believed to want although its demand looks smaller.
    grown: u64,
    tokens: u64,
    changed: bool,
}

impl Child {
    /// The rate that counts as this table's.
    fn occupied_rate(&self) -> u64 {
        self.rate.max(self.view.out.get())
    }

    /// The part of the burst that counts as this table's.
    fn occupied_burst(&self) -> u64 {
        self.burst.max(self.view.held().saturating_add(self.tokens))
    }

    fn quota(&self, account: Quota, version: u64) -> Quota {
        let (rate, burst) = (MilliUnitsPerSecond::new(self.rate), MilliUnits::new(self.burst));
        Quota { rate, burst, version, ..account }
    }

    /// Estimates of small demands rise slowly; a table that runs dry need not wait for them. Once it runs dry
    /// no more, the belief fades.
    fn grow(&mut self, floor: u64) {
        self.grown = match (self.view.runs_dry, self.view.is_leased) {
            (true, true) => self.grown.max(2 * floor).max(self.rate + self.rate / GROWTH_PART),
            (true, false) => self.grown.max(2 * floor),
            (false, _) => self.grown - self.grown.div_ceil(FADING_PART),
        };
    }

    /// Whether it could use more than it is assigned.
    fn is_short(&self) -> bool {
        self.view.demand.get() > self.rate
    }

    /// What it lacks to its floor until the others have been lowered.
    fn bridge(&self) -> MilliUnits {
        MilliUnitsPerSecond::new(self.entitled.saturating_sub(self.rate)).earned_in(BRIDGED)
    }

    /// Takes tokens out of the bank, as far as it has them, and as far as what the table may bank has room
    /// or can be raised out of `free`. By how much it was raised.
    fn receive(&mut self, tokens: u64, free: u64, bank: &mut TokenBucket) -> u64 {
        let held = self.view.held().saturating_add(self.tokens);
        let room = self.burst.max(held) - held;
        let tokens = tokens.min(bank.level().get()).min(room.saturating_add(free));
        bank.charge(MilliUnits::new(tokens));
        self.tokens += tokens;
        let raised = tokens.saturating_sub(room);
        if raised > 0 {
            self.set(self.rate, held + tokens);
        }
        raised
    }

    fn set(&mut self, rate: u64, burst: u64) {
        self.changed |= (rate, burst) != (self.rate, self.burst);
        (self.rate, self.burst) = (rate, burst);
    }
}

impl Account {
    /// An account whose bank is empty: who knows what an earlier owner gave away. Its tables' quotas are
    /// numbered from `first_version`, which must be above every earlier owner's.
    pub(crate) fn new(quota: Quota, first_version: u64, now: Timestamp) -> Self {
        Self {
            quota,
            bank: TokenBucket::empty(MilliUnitsPerSecond::default(), quota.burst, now),
            claims: BTreeMap::new(),
            children: BTreeMap::new(),
            version: first_version,
            divided_at: None,
            roomy_since: None,
            most_rate: quota.rate.get(),
            most_burst: quota.burst.get(),
        }
    }

    /// Records a quota, unless a newer one is known.
    pub(crate) fn set_quota(&mut self, quota: Quota) {
        if quota.version <= self.quota.version {
            return;
        }
        self.quota = quota;
        self.most_rate = quota.rate.get().max(self.assigned_rate());
        self.most_burst = quota.burst.get().max(self.assigned_burst() + self.bank.level().get());
        // The next report divides anew.
        self.divided_at = None;
    }

    /// Records a table's claim, unless a newer one is known.
    pub(crate) fn set_claim(&mut self, table: TableId, claim: Claim) {
        let known = self.claims.entry(table).or_insert(claim);
        if claim.version > known.version {
            *known = claim;
        }
    }

    pub(crate) const fn quota(&self) -> Quota {
        self.quota
    }

    /// Of the quotas that were said last.
    pub(crate) const fn version(&self) -> u64 {
        self.version
    }

    pub(crate) fn bank(&self) -> MilliUnits {
        self.bank.level()
    }

    /// Σ over its tables of what counts as theirs.
    pub(crate) fn assigned(&self) -> MilliUnitsPerSecond {
        MilliUnitsPerSecond::new(self.assigned_rate())
    }

    /// The quota of `table`'s share while an owner learns: whatever is shown is believed, and nothing is
    /// raised.
    pub(crate) fn provisional_quota(&self) -> Quota {
        Quota { version: self.version, ..self.quota }
    }

    /// The quota in force of `table`'s share. A newcomer is assigned its floor out of what is free, or a
    /// little, and tokens to start with.
    pub(crate) fn assign(&mut self, table: TableId, now: Timestamp) -> Assignment {
        if !self.children.contains_key(&table) {
            self.bank.refill(now);
            let floor = self.claim(table).floor.get();
            let rate = floor.max(self.idle_rate()).min(self.free_rate());
            let start = MilliUnitsPerSecond::new(floor).earned_in(BRIDGED).max(MIN_BURST).get();
            let burst = start.min(self.free_burst());
            let tokens = self.bank.level().get().min(burst);
            self.bank.charge(MilliUnits::new(tokens));
            self.children.insert(table, Child { rate, burst, tokens, ..Child::default() });
            self.settle_bank(now);
        }
        let child = self.children.get_mut(&table).expect("it was just inserted");
        let tokens = MilliUnits::new(std::mem::take(&mut child.tokens));
        Assignment { table, quota: child.quota(self.quota, self.version), tokens }
    }

    /// Whether to divide again.
    pub(crate) fn is_due(&self, now: Timestamp) -> bool {
        let intervals = u32::try_from(self.children.len() / TABLES_PER_INTERVAL + 1).unwrap_or(u32::MAX);
        self.divided_at.is_none_or(|at| now.since(at) >= DIVISION_INTERVAL.saturating_mul(intervals))
    }

    /// Divides the quota among its tables, which are exactly those in `views`. What changed.
    pub(crate) fn divide(
        &mut self,
        views: impl IntoIterator<Item = (TableId, ChildView)>,
        now: Timestamp,
    ) -> Vec<Assignment> {
        self.divided_at = Some(now);
        self.look(views);
        self.collect(now);
        self.find_targets();
        self.lower();
        self.raise();
        self.bridge_floors();
        self.hand_out_what_is_left();
        self.settle_bank(now);
        self.version += 1;
        self.assignments()
    }

    /// I1, for the account.
    pub(crate) fn assigned_rates_fit_the_quota(&self) -> bool {
        self.assigned_rate() <= self.most_rate
    }

    /// I2, for the account.
    pub(crate) fn tokens_fit_the_burst(&self) -> bool {
        self.assigned_burst() + self.bank.level().get() <= self.most_burst
    }

    /// # Panics
    /// When I1 or I2 does not hold.
    pub(crate) fn assert_invariants(&self) {
        assert!(self.assigned_rates_fit_the_quota(), "I1: {} of {:?}", self.assigned_rate(), self.quota);
        assert!(
            self.tokens_fit_the_burst(),
            "I2: {:?} and {} of {:?}",
            self.bank,
            self.assigned_burst(),
            self.quota
        );
    }

    fn look(&mut self, views: impl IntoIterator<Item = (TableId, ChildView)>) {
        let known = std::mem::take(&mut self.children);
        let child_of = |(table, view)| {
            let child = known.get(&table).copied().unwrap_or_default();
            // One that an earlier owner leased has a provisional quota, and needs its own.
            (table, Child { view, changed: !known.contains_key(&table), ..child })
        };
        self.children = views.into_iter().map(child_of).collect();
    }

    /// Takes home what overflowed the tables' pools, if there has been room for it elsewhere all the time:
    /// some of it overflowed at a proxy, seconds ago, and would have been lost then.
    fn collect(&mut self, now: Timestamp) {
        // It may overflow the bank until it is handed out.
        self.bank.reconfigure(MilliUnitsPerSecond::default(), self.quota.burst, now);
        let short = self.children.values().filter(|child| child.is_short());
        let beside: u64 = short.map(|child| child.burst.saturating_sub(child.view.held())).sum();
        let in_bank = self.free_burst().saturating_sub(self.bank.level().get());
        let spilled: MilliUnits = self.children.values().map(|child| child.view.spilled).sum();
        if in_bank + beside < spilled.get() {
            self.roomy_since = None;
            return;
        }
        if now.since(*self.roomy_since.get_or_insert(now)) >= UNDER_WAY {
            self.bank.add(spilled);
        }
    }

    /// Whose rate should be what: max-min over the demands, and part of what nobody wants.
    fn find_targets(&mut self) {
        let rate = self.quota.rate.get();
        let assignable = rate - rate * SPARE_PERMILLE / 1000;
        let idle = self.idle_rate();
        for (table, child) in &mut self.children {
            child.grow(self.claims.get(table).map_or(0, |claim| claim.floor.get()));
        }
        let claimants: Vec<Claimant> = self
            .children
            .iter()
            .map(|(table, child)| {
                let claim = self.claim(*table);
                let demand = wanted(child.view.demand.get()).max(child.grown).max(idle);
                Claimant { demand: MilliUnitsPerSecond::new(demand), claim }
            })
            .collect();
        let shares = divide_max_min(MilliUnitsPerSecond::new(assignable), &claimants);
        let wanted: u64 = shares.iter().map(|share| share.get()).sum();
        // Half of what nobody wants stays with the bank, where whoever wakes up finds it at once.
        let extra = (assignable - wanted) / 2;
        for ((child, share), claimant) in self.children.values_mut().zip(shares).zip(claimants) {
            let target = share.get() + proportion(extra, u128::from(share.get()), u128::from(wanted));
            child.target = claimant.claim.cap.map_or(target, |cap| target.min(cap.get()));
            child.entitled = claimant.claim.floor.get().min(share.get());
        }
    }

    fn lower(&mut self) {
        let (rate, burst) = (self.quota.rate.get(), self.quota.burst.get());
        for child in self.children.values_mut() {
            child.set(child.rate.min(child.target), child.burst);
            let fair = burst_of(child.target, rate, burst).max(child.bridge().get());
            child.set(child.rate, child.burst.min(fair));
        }
    }

    /// Raises rates and bursts out of what is free: first what costs nothing, because proxies may still be
    /// using it; then towards the floors; then towards the targets.
    fn raise(&mut self) {
        let (rate, burst) = (self.quota.rate.get(), self.quota.burst.get());
        for child in self.children.values_mut() {
            child.set(child.target.min(child.occupied_rate()), child.burst);
        }
        let spare = rate * SPARE_PERMILLE / 1000;
        let mut free = self.free_rate();
        free -= self.raise_rates(free, |child| child.entitled);
        self.raise_rates(free.saturating_sub(spare), |child| child.target);
        let free = self.free_burst();
        let goal = |child: &Child| burst_of(child.rate, rate, burst);
        let missing: u128 = self.children.values().map(|child| missing_burst(child, goal(child))).sum();
        for child in self.children.values_mut() {
            let goal = goal(child);
            let given = part_of(free, missing_burst(child, goal), missing);
            child.set(child.rate, goal.min(child.occupied_burst() + given).max(child.burst));
        }
    }

    /// Raises rates towards `goal` by at most `free` in all, each by the same part of what it misses. What
    /// was used of it.
    fn raise_rates(&mut self, free: u64, goal: impl Fn(&Child) -> u64) -> u64 {
        let misses = |child: &Child| u128::from(goal(child).saturating_sub(child.occupied_rate()));
        let missing: u128 = self.children.values().map(misses).sum();
        let mut used = 0;
        for child in self.children.values_mut() {
            let given = part_of(free, misses(child), missing);
            if given > 0 {
                child.set(child.occupied_rate() + given, child.burst);
                used += given;
            }
        }
        used
    }

    /// A table that is still below its floor gets the difference out of the bank.
    fn bridge_floors(&mut self) {
        let mut free = self.free_burst();
        for child in self.children.values_mut() {
            let tokens = child.bridge().saturating_sub(child.view.pool);
            free -= child.receive(tokens.get(), free, &mut self.bank);
        }
    }

    /// Tables that want more than they are assigned get what the bank has above its reserve, in the
    /// proportions in which the rate is divided: so what some leave unused reaches the others. What would
    /// overflow the bank, now that the tables may bank more, is for all.
    fn hand_out_what_is_left(&mut self) {
        let reserve = MilliUnits::new(self.quota.burst.get() / RESERVED_BURST_PART);
        self.hand_out(self.bank.level().saturating_sub(reserve), Child::is_short);
        self.hand_out(self.bank.level().saturating_sub(MilliUnits::new(self.free_burst())), |_| true);
    }

    fn hand_out(&mut self, amount: MilliUnits, to: impl Fn(&Child) -> bool) {
        let weight = |child: &Child| if to(child) { u128::from(child.rate.max(1)) } else { 0 };
        let all = self.children.values().map(weight).sum();
        for child in self.children.values_mut() {
            let part = proportion(amount.get(), weight(child), all);
            child.receive(part, 0, &mut self.bank);
        }
    }

    /// The bank earns what nobody was assigned, and holds what nobody may hold.
    fn settle_bank(&mut self, now: Timestamp) {
        let rate = MilliUnitsPerSecond::new(self.free_rate());
        let room = MilliUnits::new(self.free_burst());
        self.bank.reconfigure(rate, room, now);
        self.most_rate = self.quota.rate.get().max(self.most_rate.min(self.assigned_rate()));
        let held = self.assigned_burst() + self.bank.level().get();
        self.most_burst = self.quota.burst.get().max(self.most_burst.min(held));
    }

    /// What changed since it was last asked for.
    fn assignments(&mut self) -> Vec<Assignment> {
        let (account, version) = (self.quota, self.version);
        let changed = self.children.iter_mut().filter(|(_, child)| child.changed || child.tokens > 0);
        let assign = |(table, child): (&TableId, &mut Child)| {
            child.changed = false;
            let tokens = MilliUnits::new(std::mem::take(&mut child.tokens));
            Assignment { table: *table, quota: child.quota(account, version), tokens }
        };
        changed.map(assign).collect()
    }

    fn claim(&self, table: TableId) -> Claim {
        self.claims.get(&table).copied().unwrap_or_default()
    }

    /// What an idle table is assigned.
    fn idle_rate(&self) -> u64 {
        let tables = self.children.len().max(1) as u64;
        (self.quota.rate.get() * IDLE_PERMILLE / 1000 / tables).max(1)
    }

    fn assigned_rate(&self) -> u64 {
        self.children.values().fold(0, |sum, child| sum.saturating_add(child.occupied_rate()))
    }

    fn assigned_burst(&self) -> u64 {
        self.children.values().fold(0, |sum, child| sum.saturating_add(child.occupied_burst()))
    }

    fn free_rate(&self) -> u64 {
        self.quota.rate.get().saturating_sub(self.assigned_rate())
    }

    fn free_burst(&self) -> u64 {
        self.quota.burst.get().saturating_sub(self.assigned_burst())
    }
}

/// What a table needs to be served `demand`.
fn wanted(demand: u64) -> u64 {
    const ONE_UNIT: u64 = 1000;
    // Of requests of one unit, in a second.
    let deviation = (demand / ONE_UNIT).isqrt() * ONE_UNIT;
    let headroom = u128::from(demand) * u128::from(HEADROOM_PERCENT) / 100;
    u64::try_from(headroom).unwrap_or(u64::MAX).saturating_add(deviation)
}

/// What a table with `rate` may bank: the same part of what is not reserved.
fn burst_of(rate: u64, account_rate: u64, account_burst: u64) -> u64 {
    let assignable = account_burst - account_burst / RESERVED_BURST_PART;
    proportion(assignable, u128::from(rate.min(account_rate)), u128::from(account_rate)).max(MIN_BURST.get())
}

fn missing_burst(child: &Child, goal: u64) -> u128 {
    u128::from(goal.saturating_sub(child.occupied_burst()))
}

/// What somebody who misses `own` of `all` gets of `amount`: all of it, if there is enough.
fn part_of(amount: u64, own: u128, all: u128) -> u64 {
    if all > u128::from(amount) {
        proportion(amount, own, all)
    } else {
        u64::try_from(own).expect("a part of all")
    }
}

fn proportion(amount: u64, own: u128, all: u128) -> u64 {
    u64::try_from(u128::from(amount) * own / all.max(1)).expect("no more than the amount")
}

#[cfg(test)]
mod tests;
