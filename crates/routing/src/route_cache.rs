//! What a proxy remembers of routes: single partition entries, never whole tables, within a bound.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use dashmap::DashMap;
use foldhash::fast::FixedState;
use units::TableId;

use crate::range_list::RangeList;
use crate::route_entry::RouteEntry;
use crate::{Learned, Route};

/// A bounded cache of routes, shared by all requests of a proxy. Lookups hold a shard's read lock for a
/// binary search; nothing is held across calls.
///
/// When it is full, entries that were not used since the last eviction go first (second chance).
#[derive(Debug)]
pub struct RouteCache {
    tables: DashMap<TableId, CachedTable, FixedState>,
    entries: AtomicUsize,
    capacity: usize,
}

/// One table's cached entries: mostly gaps between them.
#[derive(Debug, Default)]
struct CachedTable {
    entries: RangeList<Entry>,
}

#[derive(Debug)]
struct Entry {
    route: Arc<Route>,
    used: AtomicBool,
}

impl AsRef<Route> for Entry {
    fn as_ref(&self) -> &Route {
        &self.route
    }
}

/// Tables per shard lock are few and shards are many, so that two hot tables rarely share a lock.
const SHARDS: usize = 256;

impl RouteCache {
    /// An empty cache for `capacity` routes.
    ///
    /// # Panics
    /// When `capacity` is 0.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        assert!(capacity > 0, "a route cache holds at least one route");
        Self {
            tables: DashMap::with_hasher_and_shard_amount(FixedState::default(), SHARDS),
            entries: AtomicUsize::new(0),
            capacity,
        }
    }

    /// The route of the partition of `table` that holds `key`, if it is cached.
    #[must_use]
    pub fn lookup(&self, table: TableId, key: &[u8]) -> Option<Arc<Route>> {
        let cached = self.tables.get(&table)?;
        let entry = cached.entries.holder(key)?;
        // Read first: a hot entry's mark is set nearly always, and a write would take the cache line.
        if !entry.used.load(Ordering::Relaxed) {
            entry.used.store(true, Ordering::Relaxed);
        }
        Some(Arc::clone(&entry.route))
    }

    /// Takes `route` in unless something that it does not supersede overlaps it.
    pub fn learn(&self, route: Arc<Route>) -> Learned {
        let table = route.table;
        // Most answers tell what is known: that path takes no write lock.
        if let Some(cached) = self.tables.get(&table)
            && !cached.entries.would_learn(&route)
        {
            return Learned::Known;
        }
        let (learned, grown) = self.tables.entry(table).or_default().learn(route);
        self.count(grown);
        if self.len() > self.capacity {
            self.evict();
        }
        learned
    }

    /// Takes a route that MemDS sent in; none: it is malformed.
    pub fn learn_entry(&self, table: TableId, entry: RouteEntry<'_>) -> Option<Learned> {
        entry.route(table).filter(Route::is_valid).map(|route| self.learn(Arc::new(route)))
    }

    /// Forgets everything; how many routes that were.
    pub fn clear(&self) -> usize {
        let tables: Vec<TableId> = self.tables.iter().map(|table| *table.key()).collect();
        let before = self.len();
        tables.into_iter().for_each(|table| self.forget_table(table));
        before
    }

    /// Forgets what is cached of `table`.
    pub fn forget_table(&self, table: TableId) {
        if let Some((_, cached)) = self.tables.remove(&table) {
            self.entries.fetch_sub(cached.entries.len(), Ordering::Relaxed);
        }
    }

    /// How many routes are cached.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.load(Ordering::Relaxed)
    }

    /// Whether nothing is cached.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Frees an eighth of the capacity, so that eviction runs once per many insertions.
    fn evict(&self) {
        let target = self.capacity - self.capacity / 8;
        // The first pass takes what was not used since the last eviction and clears the marks of the
        // rest; the second finds no marks.
        for _pass in 0..2 {
            for mut table in self.tables.iter_mut() {
                let excess = self.len().saturating_sub(target);
                let freed = table.evict(excess);
                self.entries.fetch_sub(freed, Ordering::Relaxed);
            }
        }
        self.tables.retain(|_, table| table.entries.len() > 0);
    }

    fn count(&self, grown: isize) {
        if grown >= 0 {
            self.entries.fetch_add(grown.unsigned_abs(), Ordering::Relaxed);
        } else {
            self.entries.fetch_sub(grown.unsigned_abs(), Ordering::Relaxed);
        }
    }
}

impl CachedTable {
    /// Takes the route in if it may; by how many entries the table grew.
    fn learn(&mut self, route: Arc<Route>) -> (Learned, isize) {
        let before = self.entries.len();
        // Learned because it was asked for: in use.
        let learned = self.entries.learn(Entry { route, used: AtomicBool::new(true) });
        (learned, self.entries.len().cast_signed() - before.cast_signed())
    }

    /// Drops at most `excess` entries that were not used since the last time; how many.
    fn evict(&mut self, excess: usize) -> usize {
        let before = self.entries.len();
        let mut left = excess;
        self.entries.retain(|entry| {
            if left == 0 || std::mem::take(entry.used.get_mut()) {
                return true;
            }
            left -= 1;
            false
        });
        before - self.entries.len()
    }
}
