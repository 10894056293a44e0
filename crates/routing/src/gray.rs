//! Which server is slow but alive: a failure that no error shows, only latency beside that of its peers.

use std::time::Duration;

/// The quantile of a server's recent latencies by which [`is_gray`] judges it: a tenth of the answers. The last
/// twentieth is no reason to leave a server, since hedging covers it. And half would be too many: clients with
/// few connections wait while a server stands still and send much when it runs, so that one which stands still
/// four fifths of the time gives three quarters of its answers quickly.
pub const GRAY_QUANTILE: f64 = 0.9;

/// How much slower than its peers a gray server is.
const FACTOR: u32 = 3;

/// No server below is gray, however quick the others are: a millisecond more or less is the machine's
/// scheduling, and moving load for it costs more.
const FLOOR: Duration = Duration::from_millis(5);

/// Whether a server is gray: its recent latency, at [`GRAY_QUANTILE`], is over three times the median of
/// the `others`', and over 5 ms. Never all servers are, and none where all are equally slow, since the quickest never is. A
/// server without recent samples, or without peers that have some, is not gray: nothing is known against it.
#[must_use]
pub fn is_gray(own: Option<Duration>, others: impl IntoIterator<Item = Duration>) -> bool {
    let Some(own) = own.filter(|own| *own > FLOOR) else { return false };
    let mut others: Vec<Duration> = others.into_iter().collect();
    others.sort_unstable();
    // Of an even number the lower one, so that one slow peer does not hide another.
    let middle = others.len().saturating_sub(1) / 2;
    others.get(middle).is_some_and(|median| own > median.saturating_mul(FACTOR))
}

/// Which servers of a fleet [are gray](is_gray), each beside all others, by one sorting for all.
#[must_use]
pub fn gray_among(fleet: &[Option<Duration>]) -> Vec<bool> {
    let mut known: Vec<Duration> = fleet.iter().flatten().copied().collect();
    known.sort_unstable();
    let judge = |own: Duration| {
        // The median of the others: that place, or the next one when the own latency stands before it.
        let own_place = known.partition_point(|other| *other < own);
        let middle = known.len().checked_sub(2)? / 2;
        known.get(middle + usize::from(own_place <= middle)).copied()
    };
    fleet.iter().map(|own| is_gray(*own, own.and_then(judge))).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_of_two_that_takes_ten_times_as_long_is_gray() {
        assert!(is_gray(Some(ms(20)), [ms(2)]));
        assert!(!is_gray(Some(ms(2)), [ms(20)]));
    }

    #[test]
    fn what_takes_a_few_milliseconds_is_never_gray() {
        assert!(!is_gray(Some(ms(5)), [Duration::from_micros(100)]));
    }

    #[test]
    fn twice_as_slow_is_not_gray() {
        assert!(!is_gray(Some(ms(40)), [ms(20), ms(20)]));
    }

    #[test]
    fn two_slow_ones_of_three_do_not_hide_each_other() {
        assert!(is_gray(Some(ms(50)), [ms(1), ms(80)]));
        assert!(is_gray(Some(ms(80)), [ms(1), ms(50)]));
    }

    #[test]
    fn without_samples_or_peers_nothing_is_gray() {
        assert!(!is_gray(None, [ms(1)]));
        assert!(!is_gray(Some(ms(900)), []));
    }

    proptest! {
        #[test]
        fn never_all_of_them_are_gray(fleet in fleet()) {
            let gray = (0..fleet.len()).filter(|at| is_gray_in(&fleet, *at)).count();
            prop_assert!(gray < fleet.len());
        }

        #[test]
        fn most_of_a_large_fleet_is_not_gray(fleet in fleet().prop_filter("large", |fleet| fleet.len() > 2)) {
            let gray = (0..fleet.len()).filter(|at| is_gray_in(&fleet, *at)).count();
            prop_assert!(gray <= fleet.len() / 2 + 1);
        }

        #[test]
        fn a_uniformly_slow_fleet_has_none(
            base in 1_u64..10_000_000,
            spread in proptest::collection::vec(0_u64..=100, 1..20),
        ) {
            // Up to twice as slow as the quickest.
            let fleet: Vec<_> =
                spread.iter().map(|percent| Duration::from_micros(base + base * percent / 100)).collect();
            prop_assert!((0..fleet.len()).all(|at| !is_gray_in(&fleet, at)));
        }

        #[test]
        fn a_fleet_judged_at_once_is_judged_as_one_by_one(
            fleet in proptest::collection::vec(proptest::option::of(latency()), 0..20),
        ) {
            let one_by_one: Vec<bool> = (0..fleet.len())
                .map(|at| {
                    let others = fleet.iter().enumerate().filter(|(other, _)| *other != at);
                    is_gray(fleet[at], others.filter_map(|(_, took)| *took))
                })
                .collect();
            prop_assert_eq!(gray_among(&fleet), one_by_one);
        }

        #[test]
        fn the_quickest_never_is(fleet in fleet()) {
            let quickest = (0..fleet.len()).min_by_key(|at| fleet[*at]).expect("a fleet has servers");
            prop_assert!(!is_gray_in(&fleet, quickest));
        }
    }

    fn fleet() -> impl Strategy<Value = Vec<Duration>> {
        proptest::collection::vec(latency(), 1..20)
    }

    fn latency() -> impl Strategy<Value = Duration> {
        let micros = (0_u32..26).prop_flat_map(|octave| (1_u64 << octave)..(2 << octave));
        micros.prop_map(Duration::from_micros)
    }

    fn is_gray_in(fleet: &[Duration], at: usize) -> bool {
        let others = fleet.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, took)| *took);
        is_gray(Some(fleet[at]), others)
    }

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }
}
