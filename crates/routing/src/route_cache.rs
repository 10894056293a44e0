//! What a proxy remembers of routes: single partition entries, never whole tables, within bounds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use units::TableId;

use crate::range_list::{RangeList, Visit};
use crate::route_entry::RouteEntry;
use crate::warm_tier::{CompactRoute, WarmTier};
use crate::{Learned, Member, Route};

/// A bounded cache of routes, shared by all requests of a proxy, in two tiers: hot routes, ready for use and
/// bounded in number, and warm ones, compact and bounded in memory, so that an idle table's first request is
/// not much slower than a busy one's.
///
/// When there are too many hot routes, those that were not used lately become warm (second chance, by a hand
/// that goes around). A warm route that is used becomes hot. What is known of a key is in one tier only, and
/// newer knowledge replaces it there. Lookups hold a shard's read lock for two searches.
#[derive(Debug)]
pub struct RouteCache {
    shards: Vec<RwLock<Shard>>,
    /// Sums over the shards.
    hot_routes: AtomicUsize,
    hot_bytes: AtomicUsize,
    warm_routes: AtomicUsize,
    warm_bytes: AtomicUsize,
    young_bytes: AtomicUsize,
    most_hot: usize,
    /// Half of the warm tier's memory.
    most_young: usize,
    /// Held by the thread that makes room; others leave it to that one.
    hand: Mutex<Hand>,
}

/// Where a route was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// Among the routes that are in use.
    Hot,
    /// Among those that were not used lately; it is hot now.
    Warm,
}

/// All that is known of some tables.
#[derive(Debug, Default)]
struct Shard {
    hot: BTreeMap<TableId, RangeList<Entry>>,
    warm: WarmTier,
    hot_routes: usize,
    hot_bytes: usize,
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

/// Where the search for routes that are not in use goes on.
#[derive(Debug, Default)]
struct Hand {
    shard: usize,
    table: TableId,
    start: Bytes,
}

/// Why a shard's part of the search ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Swept {
    ToTheEnd,
    Enough,
    /// The young generation is full.
    NoRoom,
}

/// So many that two hot tables rarely share a lock; a power of two.
const SHARDS: usize = 256;

/// Making room frees this part of the capacity, so that it happens once per many insertions, and no request
/// waits for long: 1,024 of 65,536 routes take less than a millisecond.
const FREED: usize = 64;

/// What a hot route takes beside its members and range: itself, its counters, its place in a list and the
/// allocator's rounding of four allocations.
const HOT_OVERHEAD: usize = size_of::<Route>() + 16 + size_of::<Entry>() + 2 * size_of::<u64>() + 32;

/// What a table with hot routes takes beside them: its list, and its place in a tree that is two thirds full.
const TABLE_OVERHEAD: usize = 60 + (size_of::<TableId>() + size_of::<RangeList<Entry>>()) * 3 / 2;

impl RouteCache {
    /// An empty cache for this many hot routes, at about 280 bytes each and 100 for each of their tables, and
    /// this much memory of warm ones, at about 100 bytes each. Without hot routes nothing is cached at all.
    #[must_use]
    pub fn with_capacity(hot_routes: usize, warm_bytes: usize) -> Self {
        Self {
            shards: std::iter::repeat_with(RwLock::default).take(SHARDS).collect(),
            hot_routes: AtomicUsize::new(0),
            hot_bytes: AtomicUsize::new(0),
            warm_routes: AtomicUsize::new(0),
            warm_bytes: AtomicUsize::new(0),
            young_bytes: AtomicUsize::new(0),
            most_hot: hot_routes,
            most_young: warm_bytes / 2,
            hand: Mutex::default(),
        }
    }

    /// The route of the partition of `table` that holds `key`, if it is cached.
    #[must_use]
    pub fn lookup(&self, table: TableId, key: &[u8]) -> Option<Arc<Route>> {
        self.find(table, key).map(|(route, _tier)| route)
    }

    /// As [`lookup`](Self::lookup), and in which tier it was.
    #[must_use]
    pub fn find(&self, table: TableId, key: &[u8]) -> Option<(Arc<Route>, Tier)> {
        {
            let shard = self.shards[shard_of(table)].read();
            if let Some(route) = shard.hot_route(table, key) {
                return Some((route, Tier::Hot));
            }
            shard.warm.holder(table, key)?;
        }
        let found = self.change(shard_of(table), |shard| shard.heat(table, key));
        self.make_room();
        found
    }

    /// Takes `route` in unless something that it does not supersede overlaps it. A cache without room for hot
    /// routes calls everything news, and keeps none of it.
    pub fn learn(&self, route: Arc<Route>) -> Learned {
        if self.most_hot == 0 {
            return Learned::News;
        }
        let shard = shard_of(route.table);
        // Most answers tell what is known: that path takes no write lock.
        if !self.shards[shard].read().would_learn(&route) {
            return Learned::Known;
        }
        let learned = self.change(shard, |shard| shard.learn(route));
        self.make_room();
        learned
    }

    /// Takes a route that MemDS sent in; none: it is malformed. An entry that is no news is not decoded.
    pub fn learn_entry(&self, table: TableId, entry: RouteEntry<'_>) -> Option<Learned> {
        let version = entry.version()?;
        let shard = self.shards[shard_of(table)].read();
        let known = shard.hot.get(&table).and_then(|routes| routes.holder(entry.start));
        let is_known = known.is_some_and(|known| known.route.rank() >= version);
        drop(shard);
        if is_known {
            return Some(Learned::Known);
        }
        entry.route(table).filter(Route::is_valid).map(|route| self.learn(Arc::new(route)))
    }

    /// Forgets everything; how many hot and how many warm routes that were.
    pub fn clear(&self) -> (usize, usize) {
        let forget = |at| {
            // Dropped when the lock is released.
            let Shard { hot_routes, warm, .. } = self.change(at, std::mem::take);
            (hot_routes, warm.len())
        };
        (0..SHARDS).map(forget).fold((0, 0), |(hot, warm), shard| (hot + shard.0, warm + shard.1))
    }

    /// Forgets what is cached of `table`.
    pub fn forget_table(&self, table: TableId) {
        self.change(shard_of(table), |shard| shard.forget_table(table));
    }

    /// How many hot routes are cached.
    #[must_use]
    pub fn len(&self) -> usize {
        self.hot_routes.load(Ordering::Relaxed)
    }

    /// How many warm routes are cached.
    #[must_use]
    pub fn warm_len(&self) -> usize {
        self.warm_routes.load(Ordering::Relaxed)
    }

    /// Whether nothing is cached.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0 && self.warm_len() == 0
    }

    /// Bytes of memory that both tiers take, without fixed costs.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.hot_bytes.load(Ordering::Relaxed) + self.warm_bytes.load(Ordering::Relaxed)
    }

    /// Changes a shard and brings the sums up to date.
    fn change<R>(&self, at: usize, change: impl FnOnce(&mut Shard) -> R) -> R {
        let mut shard = self.shards[at].write();
        let before = shard.sizes();
        let result = change(&mut shard);
        let sums =
            [&self.hot_routes, &self.hot_bytes, &self.warm_routes, &self.warm_bytes, &self.young_bytes];
        for ((sum, before), after) in sums.into_iter().zip(before).zip(shard.sizes()) {
            if after > before {
                sum.fetch_add(after - before, Ordering::Relaxed);
            } else if after < before {
                sum.fetch_sub(before - after, Ordering::Relaxed);
            }
        }
        result
    }

    /// Cools routes that were not used lately when there are too many.
    fn make_room(&self) {
        if self.len() <= self.most_hot {
            return;
        }
        // Whoever holds it makes room for all.
        let Some(mut hand) = self.hand.try_lock() else { return };
        let target = self.most_hot - self.most_hot / FREED;
        // The hand goes around at most twice: after once, nothing is marked but what was used meanwhile. And
        // a young generation that is full ages, so that the next step has room.
        let mut steps = 2 * (SHARDS + 1);
        while self.len() > target && steps > 0 {
            let excess = self.len() - target;
            let room = self.most_young.saturating_sub(self.young_bytes.load(Ordering::Relaxed));
            let limits = Limits { excess, room, most_young: self.most_young };
            match self.change(hand.shard, |shard| shard.cool(&mut hand, limits)) {
                Swept::Enough => return,
                // What was old is dropped when the shard's lock is released.
                Swept::NoRoom => (0..SHARDS).for_each(|at| drop(self.change(at, |shard| shard.warm.age()))),
                Swept::ToTheEnd => {
                    *hand = Hand { shard: (hand.shard + 1) % SHARDS, ..Hand::default() };
                    steps -= 1;
                }
            }
        }
    }
}

/// What one step of the hand may do.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Routes to cool.
    excess: usize,
    /// Bytes that the young generation may still grow by.
    room: usize,
    /// What it may ever hold.
    most_young: usize,
}

impl Shard {
    fn hot_route(&self, table: TableId, key: &[u8]) -> Option<Arc<Route>> {
        let entry = self.hot.get(&table)?.holder(key)?;
        // Read first: a hot entry's mark is set nearly always, and a write would take the cache line.
        if !entry.used.load(Ordering::Relaxed) {
            entry.used.store(true, Ordering::Relaxed);
        }
        Some(Arc::clone(&entry.route))
    }

    fn would_learn(&self, route: &Route) -> bool {
        let hot = self.hot.get(&route.table);
        let mut overlapping = hot.into_iter().flat_map(|routes| routes.overlapping(&route.range));
        overlapping.all(|known| route.supersedes(&known.route)) && self.warm.would_learn(route)
    }

    fn learn(&mut self, route: Arc<Route>) -> Learned {
        // Asked again: another thread may have learned meanwhile.
        if !self.would_learn(&route) {
            return Learned::Known;
        }
        self.warm.forget_overlapping(route.table, &route.range);
        let routes = self.hot.entry(route.table).or_default();
        for replaced in routes.remove_overlapping(&route.range) {
            self.hot_routes -= 1;
            self.hot_bytes -= hot_bytes(&replaced.route);
        }
        self.hot_routes += 1;
        self.hot_bytes += hot_bytes(&route);
        // Not marked as used yet, so that what is asked for once does not displace what is always in use.
        routes.insert(Entry { route, used: AtomicBool::new(false) });
        Learned::News
    }

    /// Makes a warm route hot, unless that has happened.
    fn heat(&mut self, table: TableId, key: &[u8]) -> Option<(Arc<Route>, Tier)> {
        if let Some(route) = self.hot_route(table, key) {
            return Some((route, Tier::Hot));
        }
        let route = Arc::new(self.warm.holder(table, key)?);
        self.warm.forget_overlapping(table, &route.range);
        self.learn(Arc::clone(&route));
        self.hot_route(table, key).map(|route| (route, Tier::Warm))
    }

    /// Moves routes that were not used lately from the hot to the warm tier, from the hand on.
    fn cool(&mut self, hand: &mut Hand, limits: Limits) -> Swept {
        let Self { hot, warm, hot_routes, hot_bytes: bytes, .. } = self;
        let (mut excess, mut room) = (limits.excess, limits.room);
        let mut why = Swept::ToTheEnd;
        for (table, routes) in hot.range_mut(hand.table..) {
            let from = if *table == hand.table { std::mem::take(&mut hand.start) } else { Bytes::new() };
            let stopped = routes.sweep(&from, |entry| {
                if excess == 0 {
                    why = Swept::Enough;
                    return Visit::Stop;
                }
                if std::mem::take(entry.used.get_mut()) {
                    return Visit::Keep;
                }
                // What would fill the warm tier on its own is not kept there.
                let compact =
                    CompactRoute::of(&entry.route).filter(|route| route.bytes() <= limits.most_young);
                if let Some(compact) = compact {
                    let Some(left) = room.checked_sub(compact.bytes()) else {
                        why = Swept::NoRoom;
                        return Visit::Stop;
                    };
                    room = left;
                    warm.insert(compact);
                }
                excess -= 1;
                *hot_routes -= 1;
                *bytes -= hot_bytes(&entry.route);
                Visit::Remove
            });
            if let Some(start) = stopped {
                (hand.table, hand.start) = (*table, start);
                break;
            }
        }
        hot.retain(|_, routes| routes.len() > 0);
        why
    }

    fn forget_table(&mut self, table: TableId) {
        self.warm.forget_overlapping(table, &crate::KeyRange::default());
        let routes = self.hot.remove(&table).unwrap_or_default();
        self.hot_routes -= routes.len();
        self.hot_bytes -= routes.entries().map(|entry| hot_bytes(&entry.route)).sum::<usize>();
    }

    /// What the cache sums up.
    fn sizes(&self) -> [usize; 5] {
        let warm = &self.warm;
        let hot_bytes = self.hot_bytes + self.hot.len() * TABLE_OVERHEAD;
        [self.hot_routes, hot_bytes, warm.len(), warm.bytes(), warm.young_bytes()]
    }
}

fn hot_bytes(route: &Route) -> usize {
    let range = route.range.start.len() + route.range.end.as_ref().map_or(0, Bytes::len);
    HOT_OVERHEAD + range + size_of::<Member>() * route.members.len()
}

/// Spreads tables whose numbers follow one another.
fn shard_of(table: TableId) -> usize {
    const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
    (table.get().wrapping_mul(GOLDEN) >> (u64::BITS - SHARDS.ilog2())) as usize
}
