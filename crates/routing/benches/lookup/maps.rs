//! The maps that are compared.

use std::collections::BTreeMap;

use blart::TreeMap;
use routing::perkle::PerkleTree;

pub(crate) type Key = [u8; 24];
pub(crate) type Value = Box<[u8]>;

/// What is measured of a map.
pub(crate) trait Map {
    /// With these entries, which are in order.
    fn of(entries: impl Iterator<Item = (Key, Value)>) -> Self;
    /// The length of the value of the greatest key that is at most `key`.
    fn floor(&self, key: &Key) -> Option<usize>;
    fn get(&self, key: &Key) -> bool;
    /// The values' bytes of so many entries from `key` on.
    fn scan(&self, key: &Key, entries: usize) -> usize;
    fn insert(&mut self, key: Key, value: Value);
    fn remove(&mut self, key: &Key) -> bool;
}

impl Map for PerkleTree {
    fn of(entries: impl Iterator<Item = (Key, Value)>) -> Self {
        let mut tree = Self::new();
        for (key, value) in entries {
            Self::insert(&mut tree, &key, &value);
        }
        tree
    }

    fn floor(&self, key: &Key) -> Option<usize> {
        // As in MemDS, where the key that is found goes into the answer.
        let mut found = Vec::with_capacity(size_of::<Key>());
        Self::floor(self, key, &mut found).map(<[u8]>::len)
    }

    fn get(&self, key: &Key) -> bool {
        Self::get(self, key).is_some()
    }

    fn scan(&self, key: &Key, entries: usize) -> usize {
        self.from(key).take(entries).map(|(_, value)| value.len()).sum()
    }

    fn insert(&mut self, key: Key, value: Value) {
        Self::insert(self, &key, &value);
    }

    fn remove(&mut self, key: &Key) -> bool {
        Self::remove(self, key)
    }
}

impl Map for BTreeMap<Key, Value> {
    fn of(entries: impl Iterator<Item = (Key, Value)>) -> Self {
        entries.collect()
    }

    fn floor(&self, key: &Key) -> Option<usize> {
        self.range::<Key, _>(..=key).next_back().map(|(_, value)| value.len())
    }

    fn get(&self, key: &Key) -> bool {
        self.contains_key(key)
    }

    fn scan(&self, key: &Key, entries: usize) -> usize {
        self.range::<Key, _>(key..).take(entries).map(|(_, value)| value.len()).sum()
    }

    fn insert(&mut self, key: Key, value: Value) {
        Self::insert(self, key, value);
    }

    fn remove(&mut self, key: &Key) -> bool {
        Self::remove(self, key).is_some()
    }
}

/// Entries in the order of their keys.
pub(crate) struct SortedVector(Vec<(Key, Value)>);

impl SortedVector {
    fn search(&self, key: &Key) -> Result<usize, usize> {
        self.0.binary_search_by(|(at, _)| at.cmp(key))
    }
}

impl Map for SortedVector {
    fn of(entries: impl Iterator<Item = (Key, Value)>) -> Self {
        Self(entries.collect())
    }

    fn floor(&self, key: &Key) -> Option<usize> {
        let place = self.search(key).map_or_else(|after| after.checked_sub(1), Some)?;
        Some(self.0[place].1.len())
    }

    fn get(&self, key: &Key) -> bool {
        self.search(key).is_ok()
    }

    fn scan(&self, key: &Key, entries: usize) -> usize {
        let first = self.search(key).unwrap_or_else(|place| place);
        self.0[first..].iter().take(entries).map(|(_, value)| value.len()).sum()
    }

    fn insert(&mut self, key: Key, value: Value) {
        match self.search(&key) {
            Ok(place) => self.0[place].1 = value,
            Err(place) => self.0.insert(place, (key, value)),
        }
    }

    fn remove(&mut self, key: &Key) -> bool {
        let place = self.search(key);
        place.map(|place| self.0.remove(place)).is_ok()
    }
}

impl Map for TreeMap<Key, Value> {
    fn of(entries: impl Iterator<Item = (Key, Value)>) -> Self {
        entries.collect()
    }

    fn floor(&self, key: &Key) -> Option<usize> {
        self.range::<Key, _>(..=key).next_back().map(|(_, value)| value.len())
    }

    fn get(&self, key: &Key) -> bool {
        self.contains_key(key)
    }

    fn scan(&self, key: &Key, entries: usize) -> usize {
        self.range::<Key, _>(key..).take(entries).map(|(_, value)| value.len()).sum()
    }

    fn insert(&mut self, key: Key, value: Value) {
        Self::insert(self, key, value);
    }

    fn remove(&mut self, key: &Key) -> bool {
        Self::remove(self, key).is_some()
    }
}
