//! Which two MemDS servers a request asks. Pure.

/// One request in so many asks a gray server in place of another, so that its recovery is noticed; a power of
/// two, so that it costs a mask.
const PROBE_EVERY: u64 = 64;

/// Servers told apart: a bit for each in a set of them.
pub(super) const MAX_SERVERS: usize = 64;

/// The servers that the `turn`-th request asks, of `servers` of which those in the set `gray` should be
/// avoided: two different ones, or all when there are fewer.
///
/// Over the turns every server is asked equally often, and every pair. Gray ones are asked by one request in
/// 64 in place of another, or when fewer than two are well: the number of lookups stays what it is.
pub(super) fn choose(turn: u64, servers: usize, gray: u64) -> [Option<usize>; 2] {
    match servers {
        0 => [None, None],
        1 => [Some(0), None],
        2 => [Some(0), Some(1)],
        _ => {
            let all = if servers >= MAX_SERVERS { u64::MAX } else { (1 << servers) - 1 };
            let gray = gray & all;
            among(turn, all & !gray, gray).map(Some)
        }
    }
}

/// Two of the sets, of which `well` are to be preferred; together they are at least three.
fn among(turn: u64, well: u64, gray: u64) -> [usize; 2] {
    match (well.count_ones(), gray.count_ones()) {
        (0, _) => pair(turn, gray),
        (1, _) => [nth(well, 0), nth(gray, turn)],
        (_, 0) => pair(turn, well),
        (..) => {
            let [first, second] = pair(turn, well);
            let probe = turn % PROBE_EVERY == PROBE_EVERY - 1;
            [first, if probe { nth(gray, turn / PROBE_EVERY) } else { second }]
        }
    }
}

/// Two different members of the set, which has at least two: each pair once in count × (count − 1) turns.
fn pair(turn: u64, set: u64) -> [usize; 2] {
    let count = u64::from(set.count_ones());
    let first = turn % count;
    let distance = 1 + turn / count % (count - 1);
    [nth(set, first), nth(set, first + distance)]
}

/// The member of the set at this place; places go round.
fn nth(set: u64, place: u64) -> usize {
    let mut rest = set;
    for _ in 0..place % u64::from(set.count_ones()) {
        rest &= rest - 1;
    }
    rest.trailing_zeros() as usize
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn two_servers_are_always_both_asked() {
        for (turn, gray) in [(0, 0), (1, 0b01), (63, 0b10), (64, 0b11)] {
            assert_eq!(choose(turn, 2, gray), [Some(0), Some(1)]);
        }
    }

    #[test]
    fn a_gray_server_of_three_gets_one_request_in_64() {
        let asked = count(64 * 60, 3, 0b010);
        assert_eq!(asked[&1], 60);
        assert!(asked[&0].abs_diff(asked[&2]) <= 60, "{asked:?}");
    }

    #[test]
    fn the_only_well_server_is_asked_beside_each_gray_one() {
        assert_eq!(count(100, 3, 0b101), BTreeMap::from([(0, 50), (1, 100), (2, 50)]));
    }

    #[test]
    fn when_all_are_gray_none_is() {
        assert_eq!(count(120, 4, 0b1111), count(120, 4, 0));
    }

    proptest! {
        #[test]
        fn every_request_asks_two_different_servers(turn: u64, servers in 3_usize..=64, gray: u64) {
            let [Some(first), Some(second)] = choose(turn, servers, gray) else { panic!("two are asked") };
            prop_assert_ne!(first, second);
            prop_assert!(first < servers && second < servers);
        }

        #[test]
        fn lookups_spread_evenly_over_what_is_well(servers in 3_usize..=16, turns in 1_u64..2000) {
            let asked = count(turns, servers, 0);
            let times = |server: usize| asked.get(&server).copied().unwrap_or(0);
            let most = (0..servers).map(times).max().unwrap_or(0);
            let least = (0..servers).map(times).min().unwrap_or(0);
            prop_assert!(most - least <= 2, "{asked:?}");
        }

        #[test]
        fn a_gray_server_is_asked_no_more_than_its_probes(
            servers in 4_usize..=16,
            gray_one in 0_usize..16,
            turns in 1_u64..5000,
        ) {
            let gray_one = gray_one % servers;
            let asked = count(turns, servers, 1 << gray_one);
            prop_assert_eq!(asked.get(&gray_one).copied().unwrap_or(0), turns / 64);
        }
    }

    /// How often each server is asked in so many turns.
    fn count(turns: u64, servers: usize, gray: u64) -> BTreeMap<usize, u64> {
        let mut asked = BTreeMap::new();
        for server in (0..turns).flat_map(|turn| choose(turn, servers, gray)).flatten() {
            *asked.entry(server).or_default() += 1;
        }
        asked
    }
}
