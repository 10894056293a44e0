//! The hot call: one request passes all its levels, or none.
//!
//! A request is admitted when every level that it passes covers its cost: its table or index, its table's
//! share of the account, whoever signed it. The levels are first looked at and then drawn from, so that a
//! refusal by the last one costs the others nothing; what a race still took from them is put back. Only a
//! request that all levels admitted is counted as admitted, because the cumulative counters that proxies
//! report never fall. Neither locks nor allocates; the clock is read once, by the caller.

use units::{MilliUnits, Timestamp};

use crate::token_bucket::{AtomicTokenBucket, Shortage};

/// Levels that one request passes at most: index or table, account share, principal.
pub const MAX_LEVELS: usize = 3;

/// The levels that one request passes, in the order in which they refuse.
#[derive(Clone, Copy, Debug, Default)]
pub struct Chain<'a> {
    levels: [Option<ChainLevel<'a>>; MAX_LEVELS],
    length: usize,
}

#[derive(Clone, Copy, Debug)]
struct ChainLevel<'a> {
    bucket: &'a AtomicTokenBucket,
    shadow: bool,
}

/// Why a chain refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("level {level} of the chain has {shortage}")]
pub struct ChainRefusal {
    /// The first level that refused, counted from 0 in the order of [`Chain::then`].
    pub level: usize,
    /// What it lacks.
    pub shortage: Shortage,
}

/// What an admitted request took: for settling its cost at the same levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[must_use = "the shadow levels that would have refused are to be counted"]
pub struct Taken {
    would_refuse: [bool; MAX_LEVELS],
}

impl Taken {
    /// Whether `level` is a shadow that would have refused. Nothing was taken there.
    #[must_use]
    pub fn would_have_been_refused_at(self, level: usize) -> bool {
        self.would_refuse.get(level).is_some_and(|refused| *refused)
    }

    /// The first shadow level that would have refused.
    #[must_use]
    pub fn first_shadow_refusal(self) -> Option<usize> {
        self.would_refuse.iter().position(|refused| *refused)
    }
}

impl<'a> Chain<'a> {
    /// The chain with one level more. A `shadow` counts what it would refuse, and refuses nothing.
    ///
    /// # Panics
    /// After [`MAX_LEVELS`].
    #[must_use]
    pub fn then(mut self, bucket: &'a AtomicTokenBucket, shadow: bool) -> Self {
        assert!(self.length < MAX_LEVELS, "a request passes at most {MAX_LEVELS} levels");
        self.levels[self.length] = Some(ChainLevel { bucket, shadow });
        self.length += 1;
        self
    }

    /// How many levels it has.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.length
    }

    /// Whether it has no level: it then admits everything.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Takes `cost` at every level, or takes nothing.
    ///
    /// The level that refuses counts the request as refused, the others do not count it: what one level
    /// turns away is no demand on the next.
    ///
    /// # Errors
    /// [`ChainRefusal`] names the first level that refused.
    pub fn take(&self, cost: MilliUnits, now: Timestamp) -> Result<Taken, ChainRefusal> {
        let mut taken = Taken::default();
        let looks = self.levels.map(|level| level.map(|level| level.bucket.look()));
        for ((index, level), look) in self.numbered().zip(looks.into_iter().flatten()) {
            match level.bucket.check(look, cost, now) {
                Ok(()) => {}
                Err(_) if level.shadow => taken.would_refuse[index] = true,
                Err(shortage) => return Err(refuse(level, index, cost, shortage)),
            }
        }
        for (index, level) in self.numbered() {
            if taken.would_refuse[index] {
                continue;
            }
            match level.bucket.draw(cost, now) {
                Ok(_) => {}
                Err(_) if level.shadow => taken.would_refuse[index] = true,
                Err(shortage) => {
                    // Another request was faster since the look. What the levels before gave goes back.
                    self.drawn(taken).take_while(|(before, _)| *before < index).for_each(|(_, level)| {
                        level.bucket.put_back(cost);
                    });
                    return Err(refuse(level, index, cost, shortage));
                }
            }
        }
        for (index, level) in self.numbered() {
            if taken.would_refuse[index] {
                level.bucket.count_refused(cost);
            } else {
                level.bucket.count_admitted(cost);
            }
        }
        Ok(taken)
    }

    /// Charges what an admitted request cost beyond what was taken, into debt if need be.
    pub fn charge(&self, taken: Taken, amount: MilliUnits) {
        self.drawn(taken).for_each(|(_, level)| level.bucket.charge(amount));
    }

    /// Gives back what an admitted request did not cost.
    pub fn refund(&self, taken: Taken, amount: MilliUnits) {
        self.drawn(taken).for_each(|(_, level)| level.bucket.refund(amount));
    }

    fn numbered(&self) -> impl Iterator<Item = (usize, &ChainLevel<'a>)> {
        self.levels.iter().enumerate().filter_map(|(index, level)| Some((index, level.as_ref()?)))
    }

    /// The levels that gave their tokens.
    fn drawn(&self, taken: Taken) -> impl Iterator<Item = (usize, &ChainLevel<'a>)> {
        self.numbered().filter(move |(index, _)| !taken.would_refuse[*index])
    }
}

fn refuse(level: &ChainLevel<'_>, index: usize, cost: MilliUnits, shortage: Shortage) -> ChainRefusal {
    level.bucket.count_refused(cost);
    ChainRefusal { level: index, shortage }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use units::MilliUnitsPerSecond;

    use super::*;
    use crate::token_bucket::Lease;

    #[test]
    fn all_levels_give_or_none_does() {
        let (table, account) = (bucket(10, 5), bucket(10, 2));
        let chain = Chain::default().then(&table, false).then(&account, false);
        assert!(chain.take(units(2), at(0)).is_ok());
        let refusal = chain.take(units(2), at(0)).expect_err("the account's share is empty");
        assert_eq!(refusal.level, 1);
        assert_eq!(refusal.shortage.retry_after, Duration::from_millis(200));
        assert_eq!((table.level(), account.level()), (units(3), units(0)));
    }

    #[test]
    fn a_refused_request_is_counted_only_where_it_was_refused() {
        let (table, account) = (bucket(10, 5), bucket(10, 2));
        let chain = Chain::default().then(&table, false).then(&account, false);
        assert!(chain.take(units(2), at(0)).is_ok());
        chain.take(units(1), at(0)).expect_err("the account's share is empty");
        let of_account = account.counters();
        assert_eq!((of_account.admitted, of_account.throttled), (units(2), units(1)));
        let of_table = table.counters();
        assert_eq!((of_table.admitted, of_table.throttled), (units(2), units(0)));
    }

    #[test]
    fn a_shadow_counts_what_it_would_refuse_and_refuses_nothing() {
        let (table, shadow) = (bucket(10, 5), bucket(10, 1));
        let chain = Chain::default().then(&table, false).then(&shadow, true);
        let first = chain.take(units(1), at(0)).expect("the table has five");
        let second = chain.take(units(1), at(0)).expect("shadows refuse nothing");
        assert_eq!((first.first_shadow_refusal(), second.first_shadow_refusal()), (None, Some(1)));
        assert_eq!((shadow.counters().admitted, shadow.counters().throttled), (units(1), units(1)));
        assert_eq!(table.counters().admitted, units(2));
    }

    #[test]
    fn what_a_shadow_did_not_give_is_not_given_back_to_it() {
        let (table, shadow) = (bucket(10, 5), bucket(10, 1));
        shadow.take(units(1), at(0)).expect("it has one");
        let chain = Chain::default().then(&table, false).then(&shadow, true);
        let taken = chain.take(units(1), at(0)).expect("shadows refuse nothing");
        chain.refund(taken, units(1));
        assert_eq!((table.level(), shadow.level()), (units(5), units(0)));
        chain.charge(taken, units(2));
        assert_eq!((table.level(), shadow.debt()), (units(3), units(0)));
    }

    #[test]
    fn what_is_put_back_leaves_neither_tokens_nor_debt_behind() {
        let level = bucket(10, 5);
        level.draw(units(15), at(0)).expect("a full bucket may owe the rest");
        assert_eq!((level.level(), level.debt()), (units(0), units(10)));
        level.put_back(units(15));
        assert_eq!((level.level(), level.debt()), (units(5), units(0)));
        assert_eq!(level.counters().returned, units(0));
    }

    #[test]
    fn a_chain_without_levels_admits_everything() {
        assert!(Chain::default().take(units(1_000_000), at(0)).is_ok());
    }

    #[test]
    fn threads_that_race_for_the_last_tokens_lose_none_and_make_none() {
        let (table, account) = (bucket(0, 40_000), bucket(0, 30_000));
        let admitted: u64 = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        let chain = Chain::default().then(&table, false).then(&account, false);
                        (0..20_000).filter(|_| chain.take(units(1), at(0)).is_ok()).count() as u64
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("it does not panic")).sum()
        });
        assert_eq!(admitted, 30_000);
        assert_eq!((table.level(), account.level()), (units(10_000), units(0)));
        assert_eq!(table.counters().admitted, units(30_000));
        assert_eq!(account.counters().throttled, units(50_000));
    }

    proptest! {
        /// Against the obvious model: a request that every level could hold passes when every level covers it.
        #[test]
        fn a_chain_decides_as_its_levels_together(
            depths in prop::collection::vec(6..20_u64, 1..=MAX_LEVELS),
            costs in prop::collection::vec(1..6_u64, 1..60),
        ) {
            let buckets: Vec<_> = depths.iter().map(|depth| bucket(0, *depth)).collect();
            let chain = buckets.iter().fold(Chain::default(), |chain, level| chain.then(level, false));
            let mut left = depths.clone();
            for cost in costs {
                let short = left.iter().position(|left| *left < cost);
                let outcome = chain.take(units(cost), at(0));
                prop_assert_eq!(outcome.err().map(|refusal| refusal.level), short);
                if short.is_none() {
                    left.iter_mut().for_each(|left| *left -= cost);
                }
                let levels: Vec<_> = buckets.iter().map(|bucket| bucket.level().get() / 1000).collect();
                prop_assert_eq!(&levels, &left);
            }
        }
    }

    fn bucket(rate: u64, depth: u64) -> AtomicTokenBucket {
        let lease = Lease {
            rate: MilliUnitsPerSecond::from_units(rate),
            cap: units(depth),
            expires: at(1_000_000),
            safe_rate: MilliUnitsPerSecond::default(),
        };
        AtomicTokenBucket::full(lease, at(0))
    }

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_nanos(millis * 1_000_000)
    }

    const fn units(units: u64) -> MilliUnits {
        MilliUnits::from_units(units)
    }
}
