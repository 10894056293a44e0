//! The partition map and the route cache against naive models.

mod naive;

use naive::{KEYS, Model, overlap, route, whole};
use proptest::prelude::*;
use routing::{Learned, PartitionMap, Route};
use units::TableId;

proptest! {
    #[test]
    fn the_partition_map_is_the_model(routes in proptest::collection::vec(route(), 0..60)) {
        let (mut map, mut model) = (PartitionMap::default(), Model::default());
        for route in routes {
            let news = map.would_learn(&route);
            let learned = map.learn(&route);
            prop_assert_eq!(learned, model.learn(&route));
            prop_assert_eq!(news, learned == Learned::News);
            prop_assert_eq!(map.len(), model.routes.len());
            for (table, key) in all_keys() {
                prop_assert_eq!(map.holder(table, &key), model.holder(table, &key).cloned());
            }
        }
    }

    #[test]
    fn knowledge_of_a_key_never_goes_back(routes in proptest::collection::vec(route(), 0..60)) {
        let mut map = PartitionMap::default();
        for route in routes {
            let before = map.clone();
            map.learn(&route);
            for (table, key) in all_keys() {
                if let (Some(old), Some(new)) = (before.holder(table, &key), map.holder(table, &key)) {
                    prop_assert!(old == new || new.supersedes(&old));
                }
            }
        }
    }

    #[test]
    fn two_maps_that_are_told_everything_until_nothing_is_news_agree_on_what_both_know(
        routes in proptest::collection::vec(route(), 0..20), seed: u64,
    ) {
        // The storage nodes push everything again and again, in any order.
        let (mut one, mut other) = (PartitionMap::default(), PartitionMap::default());
        let mut shuffled = routes.clone();
        shuffle(&mut shuffled, seed);
        for route in &routes { one.learn(route); }
        for route in &shuffled { other.learn(route); }
        // What nothing supersedes is in both, whatever the order was.
        for route in &routes {
            let newest = routes.iter().all(|rival| {
                rival == route || rival.table != route.table || !overlap(rival, route) || route.supersedes(rival)
            });
            if newest {
                for key in (0..KEYS).map(|key| [key]).filter(|key| route.holds(key)) {
                    prop_assert_eq!(one.holder(route.table, &key), Some(route.clone()));
                    prop_assert_eq!(other.holder(route.table, &key), Some(route.clone()));
                }
            }
        }
    }

    #[test]
    fn a_removed_table_leaves_nothing_and_takes_nothing_else_along(
        routes in proptest::collection::vec(route(), 0..40),
    ) {
        let mut map = PartitionMap::default();
        for route in &routes { map.learn(route); }
        let before = map.clone();
        map.remove_table(TableId::new(1));
        for (table, key) in all_keys() {
            let expected = if table == TableId::new(1) { None } else { before.holder(table, &key) };
            prop_assert_eq!(map.holder(table, &key), expected);
        }
    }
}

#[test]
fn a_known_leader_beats_an_unknown_one_of_the_same_term() {
    let known = whole(TableId::new(1));
    let unknown = Route { leader: None, ..known.clone() };
    assert!(known.supersedes(&unknown) && !unknown.supersedes(&known));
}

fn all_keys() -> impl Iterator<Item = (TableId, [u8; 1])> {
    (1..3).flat_map(|table| (0..=KEYS).map(move |key| (TableId::new(table), [key])))
}

fn shuffle(routes: &mut [Route], seed: u64) {
    use rand::SeedableRng;
    use rand::seq::SliceRandom;
    routes.shuffle(&mut rand_chacha::ChaCha8Rng::seed_from_u64(seed));
}
