//! Draws of keys by their popularity, and new keys for inserts.

use std::collections::VecDeque;
use std::time::Duration;

use rand::Rng;

use super::key::scramble;
use super::key_distribution::{KeyDistribution, Popularity};
use super::zipf::Zipf;

/// So long after its insert was due, a key counts as being there, for `latest`: the answer has come by then, unless
/// the service is in trouble.
const INSERTED_AFTER: Duration = Duration::from_secs(1);
/// Most inserts that are waited for: more per second and part than one thread sends.
const MOST_RECENT_INSERTS: usize = 1 << 18;

/// Draws key numbers for one sending part.
#[derive(Debug, Clone)]
pub(super) struct KeyChooser {
    keys: u64,
    popularity: Popularity,
    /// Of the popularities that need one.
    zipf: Zipf,
    part: u64,
    of: u64,
    /// Keys that this part has inserted.
    inserted: u64,
    /// When the last inserts were due that may not be answered yet.
    recent: VecDeque<Duration>,
    /// Where `sequential` goes on.
    position: u64,
}

impl KeyChooser {
    pub(super) fn new(distribution: &KeyDistribution, part: u64, of: u64) -> Self {
        let keys = distribution.keys.max(1);
        let exponent = match distribution.popularity {
            Popularity::Zipf(exponent) | Popularity::Latest(exponent) => exponent,
            _ => 0.0,
        };
        Self {
            keys,
            popularity: distribution.popularity,
            zipf: Zipf::new(keys, exponent),
            part,
            of: of.max(1),
            inserted: 0,
            recent: VecDeque::new(),
            position: part % keys,
        }
    }

    /// The number of an existing key for a request that is due `at`.
    pub(super) fn choose(&mut self, at: Duration, rng: &mut impl Rng) -> u64 {
        match self.popularity {
            Popularity::Uniform => rng.random_range(0..self.keys),
            Popularity::Zipf(_) => self.zipf.draw(rng),
            Popularity::Latest(_) => self.choose_latest(at, rng),
            Popularity::Hotspot { keys, requests } => self.choose_hotspot(keys, requests, rng),
            Popularity::Sequential => self.choose_next(),
            Popularity::Moving { requests, every } => {
                if rng.random::<f64>() < requests {
                    self.hot_key(at, every)
                } else {
                    rng.random_range(0..self.keys)
                }
            }
        }
    }

    /// The number of a key that no part has had yet.
    pub(super) fn insert(&mut self, at: Duration) -> u64 {
        let number = self.inserted_number(self.inserted);
        self.inserted += 1;
        if matches!(self.popularity, Popularity::Latest(_)) {
            if self.recent.len() == MOST_RECENT_INSERTS {
                self.recent.pop_front();
            }
            self.recent.push_back(at);
        }
        number
    }

    /// Parts take turns.
    const fn inserted_number(&self, nth: u64) -> u64 {
        self.keys + self.part + nth * self.of
    }

    /// By age: first this part's own inserts, the newest first, then the keys from before the run.
    fn choose_latest(&mut self, at: Duration, rng: &mut impl Rng) -> u64 {
        while self.recent.front().is_some_and(|due| *due + INSERTED_AFTER <= at) {
            self.recent.pop_front();
        }
        let there = self.inserted - self.recent.len() as u64;
        self.zipf.set_ranks(self.keys + there);
        let rank = self.zipf.draw(rng);
        if rank < there { self.inserted_number(there - 1 - rank) } else { self.keys - 1 - (rank - there) }
    }

    fn choose_hotspot(&self, keys: f64, requests: f64, rng: &mut impl Rng) -> u64 {
        let hot = ((self.keys as f64 * keys).ceil() as u64).clamp(1, self.keys);
        if hot == self.keys || rng.random::<f64>() < requests {
            rng.random_range(0..hot)
        } else {
            rng.random_range(hot..self.keys)
        }
    }

    /// Parts take turns, so that together they pass over every key before any comes again.
    fn choose_next(&mut self) -> u64 {
        let number = self.position;
        let next = number + self.of;
        self.position = if next < self.keys { next } else { self.part % self.keys };
        number
    }

    fn hot_key(&self, at: Duration, every: Duration) -> u64 {
        let period = at.as_nanos() / every.as_nanos().max(1);
        scramble(u64::try_from(period).unwrap_or(u64::MAX)) % self.keys
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    const DRAWS: usize = 100_000;

    fn chooser(text: &str, part: u64, of: u64) -> KeyChooser {
        KeyChooser::new(&text.parse().unwrap(), part, of)
    }

    fn rng() -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(11)
    }

    fn frequencies(text: &str, at: Duration) -> BTreeMap<u64, usize> {
        let (mut chooser, mut rng) = (chooser(text, 0, 1), rng());
        let mut seen = BTreeMap::new();
        for _ in 0..DRAWS {
            *seen.entry(chooser.choose(at, &mut rng)).or_default() += 1;
        }
        seen
    }

    /// χ² of equal frequencies among `keys`.
    fn unevenness(seen: &BTreeMap<u64, usize>, keys: std::ops::Range<u64>) -> f64 {
        let counts: Vec<f64> = keys.map(|key| seen.get(&key).copied().unwrap_or(0) as f64).collect();
        let mean = counts.iter().sum::<f64>() / counts.len() as f64;
        counts.iter().map(|count| (count - mean).powi(2) / mean).sum()
    }

    /// Mean and four standard deviations.
    fn bound(classes: u64) -> f64 {
        let freedom = classes as f64 - 1.0;
        freedom + 4.0 * (2.0 * freedom).sqrt()
    }

    #[test]
    fn uniform_asks_for_all_keys_equally() {
        let seen = frequencies("uniform:1000", Duration::ZERO);

        assert!(*seen.keys().last().unwrap() < 1000);
        assert!(unevenness(&seen, 0..1000) < bound(1000));
    }

    #[test]
    fn a_hotspot_has_its_share_of_requests_spread_evenly() {
        let seen = frequencies("hotspot:1000:0.2:0.8", Duration::ZERO);

        let hot: usize = seen.range(..200).map(|(_, count)| count).sum();
        let share = hot as f64 / DRAWS as f64;
        assert!((share - 0.8).abs() < 4.0 * (0.8 * 0.2 / DRAWS as f64).sqrt(), "{share}");
        assert!(unevenness(&seen, 0..200) < bound(200));
        assert!(unevenness(&seen, 200..1000) < bound(800));
    }

    #[test]
    fn a_moving_hot_key_has_its_share_and_moves_on() {
        let text = "moving:1000:0.5 every 10s";
        let hottest = |at: u64| {
            let seen = frequencies(text, Duration::from_secs(at));
            let (key, count) = seen.into_iter().max_by_key(|(_, count)| *count).unwrap();
            (key, count as f64 / DRAWS as f64)
        };

        let (first, share) = hottest(0);
        assert!((share - 0.5).abs() < 0.01, "{share}");
        assert_eq!(hottest(9).0, first);
        assert_ne!(hottest(10).0, first);
    }

    #[test]
    fn sequential_parts_pass_over_every_key_together_before_any_comes_again() {
        let mut rng = rng();
        let mut seen = Vec::new();
        for part in 0..3 {
            let mut chooser = chooser("sequential:10", part, 3);
            let own = [4, 3, 3][usize::try_from(part).unwrap()];
            seen.extend((0..own).map(|_| chooser.choose(Duration::ZERO, &mut rng)));
        }
        seen.sort_unstable();

        assert_eq!(seen, (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn no_two_parts_insert_the_same_key() {
        let mut seen = BTreeSet::new();
        for part in 0..4 {
            let mut chooser = chooser("latest:100", part, 4);
            for _ in 0..1000 {
                assert!(seen.insert(chooser.insert(Duration::ZERO)));
            }
        }
        assert!(seen.iter().all(|number| *number >= 100));
    }

    #[test]
    fn latest_prefers_the_newest_that_is_surely_there() {
        let (mut chooser, mut rng) = (chooser("latest:1000", 1, 2), rng());
        let second = Duration::from_secs(1);
        let old = chooser.insert(Duration::ZERO);
        let new = chooser.insert(second);

        let hottest = |chooser: &mut KeyChooser, rng: &mut ChaCha8Rng, at| {
            let mut seen = BTreeMap::<u64, usize>::new();
            for _ in 0..10_000 {
                *seen.entry(chooser.choose(at, rng)).or_default() += 1;
            }
            seen.into_iter().max_by_key(|(_, count)| *count).unwrap().0
        };

        assert_eq!(hottest(&mut chooser, &mut rng, second / 2), 999);
        assert_eq!(hottest(&mut chooser, &mut rng, second), old);
        assert_eq!(hottest(&mut chooser, &mut rng, 2 * second), new);
    }
}
