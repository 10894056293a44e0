//! Weighted max-min division of a rate among claimants, with floors, caps and priorities.
//!
//! Nobody gets more than it demands or than its cap. Floors come first, of all priorities; if they do not
//! fit, each is scaled down by the same factor. What is left serves one priority after the other, higher
//! ones first. Within a priority, shares grow together, in proportion to weight, and each stops at what
//! its claimant demands: so no share could be larger without making one smaller that is, by weight,
//! already smaller.
//!
//! Exact, in whole milli-units: everything is given away unless everyone is satisfied. O(n log n).

use std::cmp::{Ordering, Reverse};
use std::ops::Range;

use units::MilliUnitsPerSecond;

use crate::lease::Claim;

/// Who claims a part of a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claimant {
    /// What it could use.
    pub demand: MilliUnitsPerSecond,
    /// Its floor, cap, weight and priority.
    pub claim: Claim,
}

impl Claimant {
    /// What it gets at most.
    fn wanted(&self) -> u64 {
        self.claim.cap.map_or(self.demand, |cap| cap.min(self.demand)).get()
    }

    /// What it gets before anything is divided by weight: its floor, if it wants that much.
    fn entitled(&self) -> u64 {
        self.claim.floor.get().min(self.wanted())
    }
}

/// Divides `rate`: each claimant's share, in the same order.
#[must_use]
pub fn divide_max_min(rate: MilliUnitsPerSecond, claimants: &[Claimant]) -> Vec<MilliUnitsPerSecond> {
    let mut parts: Vec<Part> =
        claimants.iter().enumerate().map(|(at, claimant)| Part::new(at, claimant)).collect();
    let floors: u128 = parts.iter().map(|part| u128::from(part.entitled)).sum();
    if floors >= u128::from(rate.get()) {
        scale_floors_down(rate.get(), floors, &mut parts);
    } else {
        let mut left = rate.get() - low(floors);
        parts.sort_by_key(|part| (Reverse(part.priority), part.place));
        for class in classes(&parts) {
            left -= fill(left, &mut parts[class]);
        }
    }
    parts.sort_by_key(|part| part.place);
    parts.into_iter().map(|part| MilliUnitsPerSecond::new(part.share)).collect()
}

/// One claimant while its share is being found.
#[derive(Clone, Copy, Debug)]
struct Part {
    place: usize,
    priority: u8,
    weight: u64,
    entitled: u64,
    wanted: u64,
    share: u64,
}

impl Part {
    fn new(place: usize, claimant: &Claimant) -> Self {
        let entitled = claimant.entitled();
        Self {
            place,
            priority: claimant.claim.priority,
            weight: u64::from(claimant.claim.weight.max(1)),
            entitled,
            wanted: claimant.wanted(),
            share: entitled,
        }
    }
}

/// Where each priority begins and ends.
fn classes(parts: &[Part]) -> Vec<Range<usize>> {
    let mut start = 0;
    parts
        .chunk_by(|one, next| one.priority == next.priority)
        .map(|class| {
            let range = start..start + class.len();
            start = range.end;
            range
        })
        .collect()
}

/// Floors that do not fit: each is paid the same part of it.
fn scale_floors_down(rate: u64, floors: u128, parts: &mut [Part]) {
    if floors == 0 {
        return;
    }
    let level = Water { poured: u128::from(rate), weights: floors };
    let pourable = parts.iter_mut().map(|part| (u128::from(part.entitled), &mut part.share));
    level.pour_exactly(rate, pourable.collect());
}

/// Raises the shares of one class from their floors by `left` in all, or until everyone is satisfied. What
/// was given.
///
/// The water stands at a level of share ÷ weight: a claimant's share is level × weight, but at least what
/// it is entitled to and at most what it wants. The level rises from one of these bounds to the next until
/// nothing is left.
fn fill(left: u64, parts: &mut [Part]) -> u64 {
    let missing: u128 = parts.iter().map(|part| u128::from(part.wanted - part.entitled)).sum();
    if missing <= u128::from(left) {
        parts.iter_mut().for_each(|part| part.share = part.wanted);
        return low(missing);
    }
    let entitled: u128 = parts.iter().map(|part| u128::from(part.entitled)).sum();
    let amount = entitled + u128::from(left);
    Water::rise(amount, parts).pour(amount, parts);
    left
}

/// A level, `poured ÷ weights`: of what the floating claimants (those strictly between their bounds) hold
/// together, and what they weigh together.
struct Water {
    poured: u128,
    weights: u128,
}

/// A bound that the rising level meets: `amount ÷ weight` of the claimant at `part`.
#[derive(Clone, Copy)]
struct Bound {
    amount: u64,
    weight: u64,
    starts: bool,
}

impl Bound {
    fn order(&self, other: &Self) -> Ordering {
        let ours = u128::from(self.amount) * u128::from(other.weight);
        let theirs = u128::from(other.amount) * u128::from(self.weight);
        ours.cmp(&theirs)
    }
}

impl Water {
    /// The level at which the shares sum up to `amount`, which is more than what all are entitled to and
    /// less than what all want.
    fn rise(amount: u128, parts: &[Part]) -> Self {
        let bounds_of = |part: &Part| {
            let bound = |amount, starts| Bound { amount, weight: part.weight, starts };
            [bound(part.entitled, true), bound(part.wanted, false)]
        };
        let mut bounds: Vec<Bound> = parts.iter().flat_map(bounds_of).collect();
        bounds.sort_by(Bound::order);
        // Those that do not float hold `fixed`; those that do weigh `weights`.
        let mut fixed: u128 = parts.iter().map(|part| u128::from(part.entitled)).sum();
        let mut weights: u128 = 0;
        for bound in bounds {
            // Would the shares reach the amount before the level reaches this bound?
            let floating = u128::from(bound.amount) * weights;
            if weights > 0 && floating >= (amount - fixed) * u128::from(bound.weight) {
                break;
            }
            if bound.starts {
                fixed -= u128::from(bound.amount);
                weights += u128::from(bound.weight);
            } else {
                fixed += u128::from(bound.amount);
                weights -= u128::from(bound.weight);
            }
        }
        Self { poured: amount - fixed, weights }
    }

    /// Gives everyone its share at this level: `amount` in all.
    fn pour(&self, mut amount: u128, parts: &mut [Part]) {
        let mut floating = Vec::with_capacity(parts.len());
        for part in parts {
            let weight = u128::from(part.weight);
            if self.poured * weight >= u128::from(part.wanted) * self.weights {
                part.share = part.wanted;
                amount -= u128::from(part.share);
            } else if self.poured * weight > u128::from(part.entitled) * self.weights {
                floating.push((weight, &mut part.share));
            } else {
                part.share = part.entitled;
                amount -= u128::from(part.share);
            }
        }
        self.pour_exactly(low(amount), floating);
    }

    /// Gives weight × level to each, `amount` in all, in whole milli-units: the fractions' sum goes, one by
    /// one, to those with the largest.
    fn pour_exactly(&self, amount: u64, mut floating: Vec<(u128, &mut u64)>) {
        let mut left = amount;
        for (weight, share) in &mut floating {
            **share = low(self.poured * *weight / self.weights);
            left -= **share;
        }
        floating.sort_by_key(|(weight, _)| Reverse(self.poured * *weight % self.weights));
        for (_, share) in floating.into_iter().take(usize::try_from(left).expect("fewer than claimants")) {
            *share += 1;
        }
    }
}

fn low(amount: u128) -> u64 {
    u64::try_from(amount).expect("no more than the rate or a demand")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn weights_divide_what_everyone_wants() {
        let claimants = [wants(100, weight(1)), wants(100, weight(2)), wants(100, weight(4))];
        assert_eq!(shares(70, &claimants), [10, 20, 40]);
    }

    #[test]
    fn what_the_satisfied_leave_goes_to_the_others() {
        let claimants = [wants(5, weight(4)), wants(100, weight(1)), wants(100, weight(1))];
        assert_eq!(shares(65, &claimants), [5, 30, 30]);
    }

    #[test]
    fn a_floor_holds_against_any_weight_and_priority() {
        let floored = Claim { floor: rate(30), ..weight(1) };
        let urgent = Claim { priority: 9, ..weight(1_000_000) };
        assert_eq!(shares(100, &[wants(50, floored), wants(500, urgent)]), [30, 70]);
    }

    #[test]
    fn a_floor_that_is_not_wanted_is_not_kept() {
        let floored = Claim { floor: rate(30), ..weight(1) };
        assert_eq!(shares(100, &[wants(3, floored), wants(500, weight(1))]), [3, 97]);
    }

    #[test]
    fn floors_that_do_not_fit_are_scaled_down_together() {
        let floored = |floor| Claim { floor: rate(floor), ..weight(1) };
        assert_eq!(shares(30, &[wants(90, floored(20)), wants(90, floored(40))]), [10, 20]);
    }

    #[test]
    fn a_higher_priority_is_served_first_and_the_next_gets_the_rest() {
        let urgent = Claim { priority: 1, ..weight(1) };
        assert_eq!(shares(100, &[wants(90, weight(8)), wants(70, urgent)]), [30, 70]);
    }

    #[test]
    fn nobody_exceeds_its_cap_even_if_something_is_left() {
        let capped = Claim { cap: Some(rate(10)), floor: rate(20), ..weight(1) };
        assert_eq!(shares(100, &[wants(90, capped), wants(30, weight(1))]), [10, 30]);
    }

    #[test]
    fn nothing_is_divided_among_nobody_and_nothing_among_many() {
        assert!(divide_max_min(rate(5), &[]).is_empty());
        assert_eq!(shares(0, &[wants(5, weight(1)), wants(0, weight(1))]), [0, 0]);
    }

    #[test]
    fn the_largest_amounts_do_not_overflow() {
        let most = Claim { weight: u32::MAX, floor: rate(u64::MAX), ..weight(1) };
        let claimants = [wants(u64::MAX, most), wants(u64::MAX, most), wants(u64::MAX, weight(1))];
        let floors = [u64::MAX / 2 + 1, u64::MAX / 2, 0];
        assert_eq!(shares(u64::MAX, &claimants), floors);
        let unfloored = Claim { floor: rate(0), ..most };
        let given = shares(u64::MAX, &[wants(u64::MAX, unfloored), wants(u64::MAX, unfloored)]);
        assert_eq!(given, [u64::MAX / 2 + 1, u64::MAX / 2]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn everything_is_given_away_unless_everyone_is_satisfied(
            total in 0..5_000_u64,
            claimants in prop::collection::vec(claimant(), 0..25),
        ) {
            let given: u64 = shares(total, &claimants).iter().sum();
            let wanted: u64 = claimants.iter().map(Claimant::wanted).sum();
            prop_assert_eq!(given, wanted.min(total));
        }

        #[test]
        fn shares_lie_between_the_floor_and_what_is_wanted(
            total in 0..5_000_u64,
            claimants in prop::collection::vec(claimant(), 0..25),
        ) {
            let floors: u64 = claimants.iter().map(Claimant::entitled).sum();
            for (share, claimant) in shares(total, &claimants).into_iter().zip(&claimants) {
                prop_assert!(share <= claimant.wanted());
                prop_assert!(floors > total || share >= claimant.entitled());
                let scaled = claimant.entitled() * total / floors.max(1);
                prop_assert!(floors <= total || (scaled..=scaled + 1).contains(&share));
            }
        }

        #[test]
        fn no_share_can_rise_without_lowering_one_that_is_smaller_by_weight(
            total in 0..5_000_u64,
            claimants in prop::collection::vec(claimant(), 0..25),
        ) {
            let floors: u64 = claimants.iter().map(Claimant::entitled).sum();
            prop_assume!(floors <= total);
            let given = shares(total, &claimants);
            for (share, one) in given.iter().zip(&claimants).filter(|(share, one)| **share < one.wanted()) {
                let donors = given.iter().zip(&claimants).filter(|(share, other)| **share > other.entitled());
                for (donated, other) in donors {
                    prop_assert!(other.claim.priority >= one.claim.priority);
                    if other.claim.priority == one.claim.priority {
                        // Up to the milli-unit that rounding may have given the other and not this one.
                        let (ours, theirs) = (u64::from(one.claim.weight), u64::from(other.claim.weight));
                        prop_assert!((donated - 1) * ours < (share + 1) * theirs);
                    }
                }
            }
        }

        #[test]
        fn shares_are_those_of_the_naive_model(
            total in 0..5_000_u64,
            claimants in prop::collection::vec(claimant(), 0..25),
        ) {
            for (share, expected) in shares(total, &claimants).into_iter().zip(naive(total, &claimants)) {
                prop_assert!((share as f64 - expected).abs() <= 1.001, "{share}, not {expected}");
            }
        }
    }

    /// Bisects the water level of each class, in floating point.
    fn naive(total: u64, claimants: &[Claimant]) -> Vec<f64> {
        let floors: u64 = claimants.iter().map(Claimant::entitled).sum();
        let scale = if floors > total { total as f64 / floors as f64 } else { 1.0 };
        let mut given: Vec<f64> =
            claimants.iter().map(|claimant| claimant.entitled() as f64 * scale).collect();
        for priority in (0..=u8::MAX).rev() {
            let class: Vec<usize> =
                (0..claimants.len()).filter(|at| claimants[*at].claim.priority == priority).collect();
            let at_level = |level: f64, at: usize| {
                let claimant = &claimants[at];
                let floored =
                    (level * f64::from(claimant.claim.weight)).max(claimant.entitled() as f64 * scale);
                floored.min(claimant.wanted() as f64 * if floors > total { 0.0 } else { 1.0 }).max(given[at])
            };
            let others: f64 = (0..claimants.len()).filter(|at| !class.contains(at)).map(|at| given[at]).sum();
            let available = total as f64 - others;
            let (mut low, mut high) = (0.0, 10_000.0);
            for _ in 0..200 {
                let middle = f64::midpoint(low, high);
                let sum: f64 = class.iter().map(|at| at_level(middle, *at)).sum();
                if sum <= available { low = middle } else { high = middle }
            }
            let levels: Vec<f64> = class.iter().map(|at| at_level(low, *at)).collect();
            class.iter().zip(levels).for_each(|(at, level)| given[*at] = level);
        }
        given
    }

    fn claimant() -> impl Strategy<Value = Claimant> {
        let cap = prop::option::weighted(0.2, 0..800_u64);
        (0..1_000_u64, 1..6_u32, 0..300_u64, cap, 0..3_u8).prop_map(
            |(demand, weight, floor, cap, priority)| {
                let claim = Claim { weight, floor: rate(floor), cap: cap.map(rate), priority, version: 1 };
                wants(demand, claim)
            },
        )
    }

    fn wants(demand: u64, claim: Claim) -> Claimant {
        Claimant { demand: rate(demand), claim }
    }

    fn weight(weight: u32) -> Claim {
        Claim { weight, ..Claim::default() }
    }

    fn shares(total: u64, claimants: &[Claimant]) -> Vec<u64> {
        divide_max_min(rate(total), claimants).into_iter().map(MilliUnitsPerSecond::get).collect()
    }

    const fn rate(milli_per_second: u64) -> MilliUnitsPerSecond {
        MilliUnitsPerSecond::new(milli_per_second)
    }
}
