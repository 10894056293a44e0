//! Which key a partition's traffic goes to, in a few hundred bytes: a space-saving sketch whose weights
//! fade, so that it speaks of the last seconds.
//!
//! Source: Metwally, Agrawal, El Abbadi, "Efficient computation of frequent and top-k elements in data
//! streams" (ICDT 2005): a key with more than 1/16 of the weight is always among 16 counters, and a
//! counter's weight less its error is never more than the key's own. Under heavy traffic only a sample of
//! the keys without a counter gets one: what is certain stays so, and a hot key is found a little later.

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

/// Keys without a counter that get one in any case, after each halving.
const ALL_NEW_KEYS: u64 = 64;
/// 2⁶⁴ divided by the golden ratio.
const GOLDEN_RATIO: u64 = 0x9e37_79b9_7f4a_7c15;

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

/// The sketch. Each counter has a key, a weight, and the part of it that may belong to keys that had the
/// counter before; in columns, since each operation looks through all keys.
#[derive(Clone, Debug)]
pub struct HeavyHitters {
    hashes: [u64; COUNTERS],
    weights: [u64; COUNTERS],
    errors: [u64; COUNTERS],
    total: u64,
    halved: Timestamp,
    /// Operations for keys without a counter.
    new_keys: u64,
}

impl HeavyHitters {
    /// A sketch that has seen nothing.
    #[must_use]
    pub const fn new(now: Timestamp) -> Self {
        let none = [0; COUNTERS];
        Self { hashes: none, weights: none, errors: none, total: 0, halved: now, new_keys: 0 }
    }

    /// Counts what was asked for `hash`, admitted or not.
    pub fn count(&mut self, hash: KeyHash, cost: MilliUnits, now: Timestamp) {
        self.fade(now);
        let weight = cost.get().max(1);
        self.total = self.total.saturating_add(weight);
        let at = match self.hashes.iter().position(|known| *known == hash.0) {
            Some(known) => known,
            None if self.takes_new_key() => self.replace_least(hash),
            None => return,
        };
        self.weights[at] = self.weights[at].saturating_add(weight);
    }

    /// Whether a key without a counter gets one: every one at first, later one in eight, so that traffic to
    /// many keys costs little. A key that is hot comes often enough to be drawn soon.
    const fn takes_new_key(&mut self) -> bool {
        self.new_keys = self.new_keys.wrapping_add(1);
        // Multiples of the golden ratio fall evenly, also among every second or every n-th key.
        self.new_keys < ALL_NEW_KEYS || self.new_keys.wrapping_mul(GOLDEN_RATIO) >> 61 == 0
    }

    /// Gives the counter of the least weight to another key, which inherits the weight as its error.
    fn replace_least(&mut self, hash: KeyHash) -> usize {
        let mut least = 0;
        for at in 1..COUNTERS {
            if self.weights[at] < self.weights[least] {
                least = at;
            }
        }
        self.hashes[least] = hash.0;
        self.errors[least] = self.weights[least];
        least
    }

    /// The key that certainly gets the most, if it gets enough to be called hot.
    #[must_use]
    pub fn hottest(&self) -> Option<HotKey> {
        let (hash, certain) = self.certain().max_by_key(|(_, certain)| *certain)?;
        let permille = u128::from(certain) * 1000 / u128::from(self.total.max(1));
        let permille = u16::try_from(permille.min(1000)).unwrap_or(1000);
        let hot = u64::from(permille) >= LEAST_PERMILLE;
        hot.then_some(HotKey { hash: KeyHash(hash), permille })
    }

    /// Each counter's key with the weight that is certainly its own.
    fn certain(&self) -> impl Iterator<Item = (u64, u64)> {
        let weights = self.weights.iter().zip(&self.errors).map(|(weight, error)| weight - error);
        self.hashes.iter().copied().zip(weights)
    }

    fn fade(&mut self, now: Timestamp) {
        let elapsed = now.since(self.halved);
        if elapsed < HALF_LIFE {
            return;
        }
        let halvings = u64::try_from(elapsed.as_nanos() / HALF_LIFE.as_nanos()).unwrap_or(u64::MAX);
        if halvings >= ALL_HALVINGS {
            *self = Self::new(now);
            return;
        }
        self.halved = now;
        self.new_keys = 0;
        for (weight, error) in self.weights.iter_mut().zip(&mut self.errors) {
            // The error is rounded up: what is certain must stay so.
            *error = error.div_ceil(1 << halvings);
            *weight = (*weight >> halvings).max(*error);
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

    #[test]
    fn a_hot_key_is_found_among_many_whatever_its_place_in_their_order() {
        for period in [2, 3, 4, 7, 8, 10] {
            let mut sketch = HeavyHitters::new(at(0));
            for round in 0..20_000 {
                // It becomes hot when all counters are taken.
                let hot = round > 1_000 && round % period == 1;
                sketch.count(KeyHash::new(if hot { 7 } else { 1_000 + round }), ONE, at(0));
            }
            let hottest = sketch.hottest().expect("a key stands out");
            assert_eq!(hottest.hash, KeyHash::new(7), "{period}");
            assert!(u64::from(hottest.permille) > 800 / period, "{period}: {hottest:?}");
        }
    }

    proptest! {
        #[test]
        fn no_share_is_overstated(
            asked in prop::collection::vec((1_u64..60, 1_u64..50), 1..2_000),
        ) {
            let mut sketch = HeavyHitters::new(at(0));
            let mut exact = BTreeMap::<u64, u64>::new();
            for (hash, cost) in asked {
                sketch.count(KeyHash::new(hash), MilliUnits::new(cost), at(0));
                *exact.entry(hash).or_default() += cost;
            }
            for (hash, certain) in sketch.certain() {
                prop_assert!(certain <= exact.get(&hash).copied().unwrap_or(0));
            }
        }

        /// The paper's two guarantees, against exact counts, while every key gets a counter.
        #[test]
        fn a_frequent_key_is_found(
            asked in prop::collection::vec((1_u64..60, 1_u64..50), 1..ALL_NEW_KEYS as usize),
        ) {
            let mut sketch = HeavyHitters::new(at(0));
            let mut exact = BTreeMap::<u64, u64>::new();
            for (hash, cost) in asked {
                sketch.count(KeyHash::new(hash), MilliUnits::new(cost), at(0));
                *exact.entry(hash).or_default() += cost;
            }
            let total: u64 = exact.values().sum();
            prop_assert_eq!(sketch.total, total);
            for (at, (hash, certain)) in sketch.certain().enumerate() {
                if sketch.weights[at] > 0 {
                    prop_assert!(certain <= exact[&hash] && exact[&hash] <= sketch.weights[at]);
                }
            }
            for (hash, weight) in exact {
                if weight * (COUNTERS as u64) > total {
                    prop_assert!(sketch.hashes.contains(&hash));
                }
            }
        }
    }
}
