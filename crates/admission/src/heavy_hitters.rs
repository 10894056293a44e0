//! Which key a partition's traffic goes to, in a few hundred bytes: a space-saving sketch whose weights
//! fade, so that it speaks of the last seconds.
//!
//! Source: Metwally, Agrawal, El Abbadi, "Efficient computation of frequent and top-k elements in data
//! streams" (ICDT 2005): a key with more than 1/16 of the weight is always among 16 counters, and a
//! counter's weight less its error is never more than the key's own.

use std::fmt;
use std::time::Duration;

use units::{MilliUnits, Timestamp};

/// Counters of one sketch: any key with more than a sixteenth of the traffic is found.
const COUNTERS: usize = 16;
/// All weights halve so often: a key that cooled down is forgotten within a minute.
const HALF_LIFE: Duration = Duration::from_secs(5);
/// Halvings after which nothing of any weight is left.
const ALL_HALVINGS: u64 = 64;
/// A key with less than this part of the traffic is not called hot: 5 %.
const LEAST_PERMILLE: u64 = 50;

/// The first 8 bytes of the keyed hash of a partition key: names a key without showing it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyHash(u64);

impl KeyHash {
    /// Wraps the first 8 bytes of the hash, read as a big-endian number.
    #[must_use]
    pub const fn new(hash: u64) -> Self {
        Self(hash)
    }

    /// The number, for a sent form.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The key that gets the most of a partition's traffic of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HotKey {
    /// Its hash.
    pub hash: KeyHash,
    /// At least so many thousandths of the capacity that was asked of the partition in the last seconds.
    pub permille: u16,
}

/// The sketch.
#[derive(Clone, Debug)]
pub struct HeavyHitters {
    counters: [Counter; COUNTERS],
    total: u64,
    halved: Timestamp,
}

/// One key's weight; `error` of it may belong to keys that had the counter before.
#[derive(Clone, Copy, Debug, Default)]
struct Counter {
    hash: u64,
    weight: u64,
    error: u64,
}

impl Counter {
    const fn certain(&self) -> u64 {
        self.weight - self.error
    }
}

impl HeavyHitters {
    /// A sketch that has seen nothing.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self { counters: [Counter::default(); COUNTERS], total: 0, halved: now }
    }

    /// Counts what was asked for `hash`, admitted or not.
    pub fn count(&mut self, hash: KeyHash, cost: MilliUnits, now: Timestamp) {
        self.fade(now);
        let weight = cost.get().max(1);
        self.total = self.total.saturating_add(weight);
        if let Some(known) = self.counters.iter_mut().find(|counter| counter.hash == hash.0) {
            known.weight = known.weight.saturating_add(weight);
            return;
        }
        let least = self.counters.iter_mut().min_by_key(|counter| counter.weight);
        let least = least.expect("there are sixteen counters");
        let error = least.weight;
        *least = Counter { hash: hash.0, weight: error.saturating_add(weight), error };
    }

    /// The key that certainly gets the most, if it gets enough to be called hot.
    #[must_use]
    pub fn hottest(&self) -> Option<HotKey> {
        let hottest = self.counters.iter().max_by_key(|counter| counter.certain())?;
        let permille = u128::from(hottest.certain()) * 1000 / u128::from(self.total.max(1));
        let permille = u16::try_from(permille.min(1000)).unwrap_or(1000);
        let hot = u64::from(permille) >= LEAST_PERMILLE;
        hot.then_some(HotKey { hash: KeyHash(hottest.hash), permille })
    }

    fn fade(&mut self, now: Timestamp) {
        let elapsed = now.since(self.halved);
        if elapsed < HALF_LIFE {
            return;
        }
        let halvings = u64::try_from(elapsed.as_nanos() / HALF_LIFE.as_nanos()).unwrap_or(u64::MAX);
        self.halved = now;
        if halvings >= ALL_HALVINGS {
            self.counters = [Counter::default(); COUNTERS];
            self.total = 0;
            return;
        }
        for counter in &mut self.counters {
            // The error is rounded up: what is certain must stay so.
            counter.error = counter.error.div_ceil(1 << halvings);
            counter.weight = (counter.weight >> halvings).max(counter.error);
        }
        // And the whole is rounded up, so that no share grows.
        self.total = self.total.div_ceil(1 << halvings);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const ONE: MilliUnits = MilliUnits::from_units(1);

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn a_key_with_most_of_the_traffic_is_named_with_its_share() {
        let mut sketch = HeavyHitters::new(at(0));
        for round in 0..2_000 {
            let hash = if round % 2 == 0 { 7 } else { 1_000 + round };
            sketch.count(KeyHash::new(hash), ONE, at(round));
        }
        let hottest = sketch.hottest().unwrap();
        assert_eq!(hottest.hash, KeyHash::new(7));
        assert!((450..=550).contains(&hottest.permille), "{hottest:?}");
    }

    #[test]
    fn even_traffic_has_no_hot_key() {
        let mut sketch = HeavyHitters::new(at(0));
        for round in 0..10_000 {
            sketch.count(KeyHash::new(round % 1_000 + 1), ONE, at(round));
        }
        assert_eq!(sketch.hottest(), None);
    }

    #[test]
    fn a_key_that_cooled_down_gives_way_to_the_one_that_is_hot_now() {
        let mut sketch = HeavyHitters::new(at(0));
        for round in 0..1_000 {
            sketch.count(KeyHash::new(1), ONE, at(round));
        }
        for round in 0..1_000 {
            sketch.count(KeyHash::new(2), ONE, at(20_000 + round));
        }
        assert_eq!(sketch.hottest().map(|hot| hot.hash), Some(KeyHash::new(2)));
        sketch.count(KeyHash::new(3), ONE, at(9_000_000));
        assert_eq!(sketch.hottest(), Some(HotKey { hash: KeyHash::new(3), permille: 1000 }));
    }

    proptest! {
        /// The paper's two guarantees, against exact counts.
        #[test]
        fn a_frequent_key_is_found_and_no_share_is_overstated(
            asked in prop::collection::vec((1_u64..60, 1_u64..50), 1..400),
        ) {
            let mut sketch = HeavyHitters::new(at(0));
            let mut exact = BTreeMap::<u64, u64>::new();
            for (hash, cost) in asked {
                sketch.count(KeyHash::new(hash), MilliUnits::new(cost), at(0));
                *exact.entry(hash).or_default() += cost;
            }
            let total: u64 = exact.values().sum();
            prop_assert_eq!(sketch.total, total);
            for counter in sketch.counters.iter().filter(|counter| counter.weight > 0) {
                let own = exact[&counter.hash];
                prop_assert!(counter.certain() <= own && own <= counter.weight);
            }
            for (hash, weight) in exact {
                if weight * (COUNTERS as u64) > total {
                    prop_assert!(sketch.counters.iter().any(|counter| counter.hash == hash));
                }
            }
        }
    }
}
