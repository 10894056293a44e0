//! The route cache against a naive model, and its bounds.

mod naive;

use std::sync::Arc;

use bytes::Bytes;
use naive::{KEYS, Model, overlap, route, whole};
use proptest::prelude::*;
use routing::{KeyRange, Learned, PartitionMap, Route, RouteCache, RouteEntry, RouteVersion, Tier};
use units::{TableId, Term};

/// More than any of these tests fills.
const ROOM: usize = 1 << 20;

/// What can happen to a cache.
#[derive(Clone, Debug)]
enum Act {
    Learn(Route),
    LearnEntry(Route),
    Lookup(TableId, u8),
    Forget(TableId),
    Clear,
}

proptest! {
    #[test]
    fn a_cache_with_room_is_the_model_however_its_tiers_share_it(
        acts in proptest::collection::vec(act(), 0..80), hot in 1_usize..20,
    ) {
        let (cache, mut model) = (RouteCache::with_capacity(hot, ROOM), Model::default());
        for act in acts {
            match act {
                Act::Learn(route) => {
                    prop_assert_eq!(cache.learn(Arc::new(route.clone())), model.learn(&route));
                }
                Act::LearnEntry(route) => {
                    prop_assert_eq!(learn_entry(&cache, &route), Some(model.learn(&route)));
                }
                Act::Lookup(table, key) => {
                    let found = cache.lookup(table, &[key]);
                    prop_assert_eq!(found.as_deref(), model.holder(table, &[key]));
                }
                Act::Forget(table) => {
                    cache.forget_table(table);
                    model.routes.retain(|route| route.table != table);
                }
                Act::Clear => {
                    let (hot, warm) = cache.clear();
                    prop_assert_eq!(hot + warm, model.routes.len());
                    prop_assert!(cache.is_empty() && cache.memory() == 0);
                    model.routes.clear();
                }
            }
            prop_assert!(cache.len() <= hot);
            prop_assert_eq!(cache.len() + cache.warm_len(), model.routes.len());
        }
        for (table, key) in all_keys() {
            let found = cache.lookup(table, &[key]);
            prop_assert_eq!(found.as_deref(), model.holder(table, &[key]));
        }
    }

    #[test]
    fn a_full_cache_keeps_its_bounds_and_never_answers_what_it_was_told_is_superseded(
        acts in proptest::collection::vec(act(), 0..200), hot in 0_usize..8, warm in 0_usize..1000,
    ) {
        let cache = RouteCache::with_capacity(hot, warm);
        let hot_only = RouteCache::with_capacity(hot, 0);
        // What it took as news, each at its latest telling: what it answers stands after all that supersedes it.
        let mut told: Vec<Route> = Vec::new();
        for act in acts {
            match act {
                Act::Learn(route) | Act::LearnEntry(route) => {
                    hot_only.learn(Arc::new(route.clone()));
                    if cache.learn(Arc::new(route.clone())) == Learned::News {
                        told.retain(|earlier| *earlier != route);
                        told.push(route);
                    }
                }
                Act::Lookup(table, key) => {
                    let Some(found) = cache.lookup(table, &[key]) else { continue };
                    prop_assert!(found.holds(&[key]) && found.table == table);
                    let at = told.iter().position(|route| *route == *found);
                    prop_assert!(at.is_some(), "nobody said that");
                    let superseded = told[at.unwrap_or_default()..].iter().any(|later| {
                        overlap(later, &found) && later.supersedes(&found)
                    });
                    prop_assert!(!superseded);
                }
                Act::Forget(table) => cache.forget_table(table),
                Act::Clear => { cache.clear(); }
            }
            prop_assert!(cache.len() <= hot);
            prop_assert!(hot_only.len() <= hot && hot_only.warm_len() == 0);
            let hot_memory = cache.len() * 400;
            prop_assert!(cache.memory() <= hot_memory + warm, "{} routes, {} bytes", cache.len(), cache.memory());
        }
    }

    #[test]
    fn any_bytes_can_be_offered_as_an_entry(start: Vec<u8>, value: Vec<u8>, key: Vec<u8>) {
        let cache = RouteCache::with_capacity(4, 100);
        cache.learn(Arc::new(whole(TableId::new(1))));
        let _ = cache.learn_entry(TableId::new(1), RouteEntry { start: &start, value: &value });
        let _ = cache.lookup(TableId::new(1), &key);
    }

    #[test]
    fn keys_that_begin_alike_are_found_as_in_an_ordered_map(
        starts in proptest::collection::btree_set("[ab]{0,12}", 1..400), probes in proptest::collection::vec("[abc]{0,14}", 50),
    ) {
        let cache = RouteCache::with_capacity(1000, 0);
        let starts: Vec<Bytes> = starts.into_iter().map(Bytes::from).collect();
        for (at, start) in starts.iter().enumerate().rev() {
            let range = KeyRange { start: start.clone(), end: starts.get(at + 1).cloned() };
            prop_assert_eq!(cache.learn(Arc::new(Route { range, ..whole(TableId::new(1)) })), Learned::News);
        }
        for probe in probes {
            let expected = starts.iter().rev().find(|start| **start <= *probe.as_bytes());
            let found = cache.lookup(TableId::new(1), probe.as_bytes()).map(|route| route.range.start.clone());
            prop_assert_eq!(found.as_ref(), expected);
        }
    }
}

#[test]
fn what_is_used_outlives_what_is_not() {
    let cache = RouteCache::with_capacity(64, ROOM);
    let hot = TableId::new(1);
    cache.learn(Arc::new(whole(hot)));
    assert!(cache.lookup(hot, b"key").is_some());
    for cold in 2..1000 {
        cache.learn(Arc::new(whole(TableId::new(cold))));
        let tier = cache.find(hot, b"key").map(|(_, tier)| tier);
        assert_eq!(tier, Some(Tier::Hot), "the route that every request uses was cooled");
    }
}

#[test]
fn an_idle_table_is_warm_and_its_first_request_makes_it_hot() {
    let cache = RouteCache::with_capacity(8, ROOM);
    let idle = whole(TableId::new(1));
    cache.learn(Arc::new(idle.clone()));
    for busy in 2..100 {
        cache.learn(Arc::new(whole(TableId::new(busy))));
        assert!(cache.lookup(TableId::new(busy), b"key").is_some());
    }
    assert_eq!((cache.len(), cache.warm_len()), (8, 91));
    assert_eq!(cache.find(idle.table, b"key"), Some((Arc::new(idle.clone()), Tier::Warm)));
    assert_eq!(cache.find(idle.table, b"key"), Some((Arc::new(idle), Tier::Hot)));
    assert_eq!((cache.len(), cache.warm_len()), (8, 91), "another made room for it");
}

#[test]
fn news_of_a_warm_route_replace_it() {
    let cache = RouteCache::with_capacity(1, ROOM);
    let old = whole(TableId::new(1));
    cache.learn(Arc::new(old.clone()));
    cache.learn(Arc::new(whole(TableId::new(2))));
    cache.learn(Arc::new(whole(TableId::new(3))));
    let newer = Route { version: RouteVersion { configuration: 1, term: Term::new(0) }, ..old.clone() };

    assert_eq!(cache.learn(Arc::new(newer.clone())), Learned::News);
    assert_eq!(cache.learn(Arc::new(old)), Learned::Known);

    assert_eq!(cache.lookup(newer.table, b"key"), Some(Arc::new(newer)));
    assert_eq!(cache.len() + cache.warm_len(), 3);
}

#[test]
fn a_full_warm_tier_forgets_what_has_been_warm_for_longest() {
    let cache = RouteCache::with_capacity(1, 2000);
    for table in 1..1000 {
        cache.learn(Arc::new(whole(TableId::new(table))));
    }
    assert!(cache.warm_len() >= 10 && cache.memory() <= 2000 + 400);
    let is_known = |table| cache.lookup(TableId::new(table), b"key").is_some();
    assert!((990..1000).all(is_known));
    assert!(!(1..900).any(is_known));
}

#[test]
fn a_cache_without_room_for_hot_routes_keeps_nothing() {
    let cache = RouteCache::with_capacity(0, ROOM);
    let route = whole(TableId::new(1));
    assert_eq!(cache.learn(Arc::new(route.clone())), Learned::News);
    assert_eq!(learn_entry(&cache, &route), Some(Learned::News));
    assert!(cache.is_empty() && cache.lookup(route.table, b"key").is_none());
}

#[test]
fn a_forgotten_table_frees_its_room_in_both_tiers() {
    let cache = RouteCache::with_capacity(4, ROOM);
    let starts: Vec<Bytes> = (0..10_u8).map(|start| Bytes::copy_from_slice(&[start])).collect();
    for (at, start) in starts.iter().enumerate() {
        let range = KeyRange { start: start.clone(), end: starts.get(at + 1).cloned() };
        cache.learn(Arc::new(Route { range, ..whole(TableId::new(1)) }));
    }
    assert_eq!((cache.len(), cache.warm_len()), (4, 6));
    cache.forget_table(TableId::new(1));
    assert!(cache.is_empty() && cache.memory() == 0);
    assert!((0..10).all(|key| cache.lookup(TableId::new(1), &[key]).is_none()));
}

#[test]
fn threads_that_learn_look_up_and_flush_at_once_keep_the_bounds_and_the_counts() {
    let cache = RouteCache::with_capacity(100, 10_000);
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let cache = &cache;
            scope.spawn(move || {
                for step in 0..5000_u64 {
                    let table = TableId::new(1 + (step * 7 + thread * 13) % 300);
                    cache.learn(Arc::new(whole(table)));
                    if let Some(found) = cache.lookup(table, b"key") {
                        assert_eq!(found.table, table);
                    }
                    if step % 1000 == 999 {
                        cache.clear();
                    }
                }
            });
        }
    });
    // Four threads may each have found the hand taken at the end.
    assert!(cache.len() <= 104, "{}", cache.len());
    assert!(cache.memory() <= 104 * 400 + 10_000);
    cache.clear();
    assert!(cache.is_empty() && cache.memory() == 0);
}

/// Tells it as MemDS does.
fn learn_entry(cache: &RouteCache, route: &Route) -> Option<Learned> {
    let mut map = PartitionMap::default();
    map.learn(route);
    let mut found = Vec::new();
    let entry = map.holder_entry(route.table, &route.range.start, &mut found).expect("it was learned");
    cache.learn_entry(route.table, entry)
}

fn act() -> impl Strategy<Value = Act> {
    let table = || (1_u64..3).prop_map(TableId::new);
    prop_oneof![
        10 => route().prop_map(Act::Learn),
        10 => route().prop_map(Act::LearnEntry),
        20 => (table(), 0..KEYS).prop_map(|(table, key)| Act::Lookup(table, key)),
        1 => table().prop_map(Act::Forget),
        1 => Just(Act::Clear),
    ]
}

fn all_keys() -> impl Iterator<Item = (TableId, u8)> {
    (1..3).flat_map(|table| (0..=KEYS).map(move |key| (TableId::new(table), key)))
}
