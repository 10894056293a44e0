//! Ratios of measurements with confidence intervals.
//!
//! Everything is done on logarithms: run times and latencies vary by factors, not by summands, and the interval
//! of a ratio is then the same whichever side is divided by the other.

use std::f64::consts::FRAC_2_PI;

/// A ratio, and where it is with the confidence that was asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// The lower end.
    pub low: f64,
    /// The best estimate: the geometric mean of the ratios.
    pub middle: f64,
    /// The upper end.
    pub high: f64,
}

impl Interval {
    /// Whether a ratio within `margin` (0.001 for a thousandth) of 1 is among those it allows.
    #[must_use]
    pub fn allows_equality(&self, margin: f64) -> bool {
        self.low <= 1.0 + margin && self.high >= 1.0 / (1.0 + margin)
    }

    fn of_logarithm(mean: f64, half_width: f64) -> Self {
        Self { low: (mean - half_width).exp(), middle: mean.exp(), high: (mean + half_width).exp() }
    }
}

/// The ratio `second ÷ first` over pairs that were measured next to each other: Student's t on the logarithms of
/// the pairs' ratios. None with fewer than two pairs, or with a value that is not positive.
#[must_use]
pub fn paired_ratio(pairs: &[(f64, f64)], confidence: f64) -> Option<Interval> {
    if pairs.len() < 2 || pairs.iter().any(|(first, second)| !(positive(*first) && positive(*second))) {
        return None;
    }
    let logarithms: Vec<_> = pairs.iter().map(|(first, second)| (second / first).ln()).collect();
    let (mean, variance) = moments(&logarithms);
    let error = (variance / count(&logarithms)).sqrt();
    Some(Interval::of_logarithm(mean, student_t(confidence, degrees(logarithms.len() - 1)) * error))
}

/// The ratio of two groups that were not measured in pairs: Welch's t on their logarithms. None with fewer than two
/// in either, or with a value that is not positive.
#[must_use]
pub fn independent_ratio(first: &[f64], second: &[f64], confidence: f64) -> Option<Interval> {
    if first.len() < 2 || second.len() < 2 || first.iter().chain(second).any(|value| !positive(*value)) {
        return None;
    }
    let of = |values: &[f64]| {
        let logarithms: Vec<_> = values.iter().map(|value| value.ln()).collect();
        let (mean, variance) = moments(&logarithms);
        (mean, variance / count(&logarithms), count(&logarithms) - 1.0)
    };
    let ((mean_a, error_a, free_a), (mean_b, error_b, free_b)) = (of(first), of(second));
    let error = error_a + error_b;
    let free = match error > 0.0 {
        // Welch and Satterthwaite; rounded down, which only widens the interval.
        true => error.powi(2) / (error_a.powi(2) / free_a + error_b.powi(2) / free_b),
        false => free_a.min(free_b),
    };
    let quantile = student_t(confidence, free.floor().clamp(1.0, f64::from(u32::MAX)) as u32);
    Some(Interval::of_logarithm(mean_b - mean_a, quantile * error.sqrt()))
}

/// The confidence that each of `tests` intervals needs for all of them together to hold with `confidence`
/// (Bonferroni: right whatever the dependence between them).
#[must_use]
pub fn each_of(tests: usize, confidence: f64) -> f64 {
    1.0 - (1.0 - confidence) / count_of(tests.max(1))
}

/// The `t` for which a variable of Student's distribution with `degrees` of freedom lies in `-t..t` with
/// probability `confidence` (0 to 1, without 1).
///
/// # Panics
/// When `confidence` is 1 or more, or `degrees` 0: there is no such `t`.
#[must_use]
pub fn student_t(confidence: f64, degrees: u32) -> f64 {
    assert!(confidence < 1.0 && degrees > 0, "no quantile at {confidence} of {degrees} degrees of freedom");
    let (mut low, mut high) = (0.0, 1.0);
    while within(high, degrees) < confidence && high < 1e12 {
        high *= 2.0;
    }
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        match within(middle, degrees) < confidence {
            true => low = middle,
            false => high = middle,
        }
    }
    high
}

/// Bisection of an `f64`: more find nothing new.
const HALVINGS: usize = 60;
/// From here on Student's distribution is the normal one to four digits; its sum would only get longer.
const MANY_DEGREES: u32 = 2_000;

/// The probability of `-t..t`: the finite sums for whole degrees of freedom (Abramowitz and Stegun, 26.7.3 and
/// 26.7.4).
fn within(t: f64, degrees: u32) -> f64 {
    let degrees = degrees.min(MANY_DEGREES);
    let angle = (t / f64::from(degrees).sqrt()).atan();
    let (sine, cosine) = angle.sin_cos();
    let odd = degrees % 2 == 1;
    // The first term, and then each from the one before.
    let mut term = if odd { cosine } else { 1.0 };
    let mut sum = if degrees == 1 { 0.0 } else { term };
    let mut power = if odd { 3 } else { 2 };
    while power < degrees {
        let step = f64::from(power);
        term *= cosine * cosine * (step - 1.0) / step;
        sum += term;
        power += 2;
    }
    match odd {
        true => FRAC_2_PI * (angle + sine * sum),
        false => sine * sum,
    }
}

/// Mean and unbiased variance of at least two values.
fn moments(values: &[f64]) -> (f64, f64) {
    let mean = values.iter().sum::<f64>() / count(values);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, squares / (count(values) - 1.0))
}

fn positive(value: f64) -> bool {
    value > 0.0 && value.is_finite()
}

fn degrees(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn count(values: &[f64]) -> f64 {
    count_of(values.len())
}

fn count_of(number: usize) -> f64 {
    f64::from(degrees(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_tables() {
        // Percentage points of Student's distribution, two-sided (any statistics textbook).
        for (confidence, degrees, quantile) in [
            (0.95, 1, 12.706),
            (0.95, 2, 4.303),
            (0.95, 9, 2.262),
            (0.99, 9, 3.250),
            (0.95, 10, 2.228),
            (0.999, 30, 3.646),
            (0.95, 1_000_000, 1.960),
        ] {
            let found = student_t(confidence, degrees);
            assert!((found - quantile).abs() < 2e-3, "{confidence} {degrees}: {found} is not {quantile}");
        }
    }

    #[test]
    fn equal_pairs_have_the_ratio_one_and_no_width() {
        let found = paired_ratio(&[(3.0, 3.0), (5.0, 5.0), (7.0, 7.0)], 0.95).unwrap();
        assert_eq!(found, Interval { low: 1.0, middle: 1.0, high: 1.0 });
        assert!(found.allows_equality(0.0));
    }

    #[test]
    fn a_pairs_common_factor_does_not_widen_its_interval() {
        // The machine's speed varies tenfold between pairs; the ratio within each hardly does.
        let pairs = [(1.0, 1.19), (10.0, 12.1), (3.0, 3.6), (7.0, 8.45)];
        let paired = paired_ratio(&pairs, 0.95).unwrap();
        let (first, second): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
        let apart = independent_ratio(&first, &second, 0.95).unwrap();
        assert!(paired.low > 1.18 && paired.high < 1.23, "{paired:?}");
        assert!(apart.allows_equality(0.0), "{apart:?}");
        assert!((paired.middle - apart.middle).abs() < 1e-9);
    }

    #[test]
    fn the_other_way_round_the_ratio_is_the_reciprocal() {
        let pairs = [(1.0, 1.3), (2.0, 2.2), (3.0, 3.9)];
        let there = paired_ratio(&pairs, 0.99).unwrap();
        let back = paired_ratio(&pairs.map(|(first, second)| (second, first)), 0.99).unwrap();
        assert!(
            (there.low * back.high - 1.0).abs() < 1e-12 && (there.middle * back.middle - 1.0).abs() < 1e-12
        );
    }

    #[test]
    fn one_pair_and_values_that_are_not_positive_have_no_interval() {
        assert_eq!(paired_ratio(&[(1.0, 2.0)], 0.95), None);
        assert_eq!(paired_ratio(&[(1.0, 2.0), (0.0, 1.0)], 0.95), None);
        assert_eq!(independent_ratio(&[1.0, f64::NAN], &[1.0, 2.0], 0.95), None);
        assert_eq!(independent_ratio(&[1.0], &[1.0, 2.0], 0.95), None);
    }

    #[test]
    fn intervals_of_several_tests_are_wider_so_that_all_hold_together() {
        assert!((each_of(4, 0.96) - 0.99).abs() < 1e-12);
        assert!((each_of(0, 0.95) - 0.95).abs() < 1e-12);
    }
}
