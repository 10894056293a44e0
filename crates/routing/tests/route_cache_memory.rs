//! What the route cache says of its memory, beside what the allocator was asked for.

use std::alloc::System;

use bytes::Bytes;
use routing::{KeyRange, Member, MemberKind, PartitionMap, Route, RouteCache, RouteVersion};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use units::{NodeId, PartitionId, TableId, Term, Zone};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const ROUTES: u64 = 5_000;

#[test]
fn the_memory_that_the_tiers_count_is_what_they_take() {
    for (what, partitions_of_one_table) in [("partitions", true), ("tables", false)] {
        for (tier, hot, warm_bytes) in [("hot", 1 << 20, 0), ("warm", 64, 1 << 30)] {
            let cache = RouteCache::with_capacity(hot, warm_bytes);
            let region = Region::new(ALLOCATOR);
            for number in 0..ROUTES {
                learn(&cache, &route(number, partitions_of_one_table));
            }
            let change = region.change();
            let taken = change.bytes_allocated - change.bytes_deallocated;
            let (counted, routes) = (cache.memory(), cache.len() + cache.warm_len());
            println!("{tier} {what}: {} bytes counted, {} taken, each", counted / routes, taken / routes);

            assert_eq!(routes as u64, ROUTES);
            assert!(taken < counted + counted / 5, "{tier} {what}: {taken} taken, {counted} counted");
            assert!(counted < taken + taken / 2, "{tier} {what}: {taken} taken, {counted} counted");
        }
    }
}

/// As MemDS tells it.
fn learn(cache: &RouteCache, route: &Route) {
    let mut map = PartitionMap::default();
    map.learn(route);
    let mut found = Vec::new();
    let entry = map.holder_entry(route.table, &route.range.start, &mut found).expect("it was learned");
    cache.learn_entry(route.table, entry).expect("it is well formed");
}

/// One of a table's partitions, or a table's only one.
fn route(number: u64, partitions_of_one_table: bool) -> Route {
    let width = u64::MAX / ROUTES;
    let at = |number: u64| Bytes::copy_from_slice(&(number * width).to_be_bytes());
    let range = KeyRange { start: at(number), end: Some(at(number + 1)) };
    let member = |node: u8| Member {
        node: NodeId::new(u64::from(node) + 200),
        zone: Zone::new(node),
        kind: MemberKind::Storage,
    };
    Route {
        table: TableId::new(if partitions_of_one_table { 1 } else { number + 1 }),
        partition: PartitionId::new(number + 1),
        range: if partitions_of_one_table { range } else { KeyRange::default() },
        members: (0..3).map(member).collect(),
        leader: Some(NodeId::new(201)),
        version: RouteVersion { configuration: 300, term: Term::new(70_000) },
    }
}
