//! The Zipf distribution, exactly, in constant time and memory.

use rand::Rng;

/// Ranks from 1 to `ranks`, each in proportion to 1 ÷ rank to the power `exponent`.
///
/// Source: Hörmann, Derflinger, "Rejection-inversion to generate variates from monotone discrete distributions",
/// ACM TOMACS 6 (1996): the inverse of the integral of x^−s proposes a rank; a proposal is taken but for some 10 %.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Zipf {
    ranks: f64,
    exponent: f64,
    /// The integral up to half past the first rank, less the first rank's weight: where draws end.
    area_of_first: f64,
    /// The integral up to half past the last rank: where draws begin.
    area_of_last: f64,
    /// Within so much of a rank, a proposal is taken without a second look.
    safe: f64,
}

impl Zipf {
    /// Over so many ranks, at least one.
    pub(super) fn new(ranks: u64, exponent: f64) -> Self {
        let mut zipf = Self { ranks: 1.0, exponent, area_of_first: 0.0, area_of_last: 0.0, safe: 0.0 };
        zipf.area_of_first = zipf.area(1.5) - 1.0;
        zipf.safe = 2.0 - zipf.inverse_area(zipf.area(2.5) - zipf.weight(2.0));
        zipf.set_ranks(ranks);
        zipf
    }

    /// From now on over so many ranks.
    pub(super) fn set_ranks(&mut self, ranks: u64) {
        self.ranks = ranks.max(1) as f64;
        self.area_of_last = self.area(self.ranks + 0.5);
    }

    /// A rank, from 0.
    pub(super) fn draw(&self, rng: &mut impl Rng) -> u64 {
        loop {
            let area = self.area_of_last + rng.random::<f64>() * (self.area_of_first - self.area_of_last);
            let point = self.inverse_area(area);
            let rank = point.round().clamp(1.0, self.ranks);
            if rank - point <= self.safe || area >= self.area(rank + 0.5) - self.weight(rank) {
                return rank as u64 - 1;
            }
        }
    }

    fn weight(&self, rank: f64) -> f64 {
        (-self.exponent * rank.ln()).exp()
    }

    /// ∫ x^−s from 1 to `point`, in a form that is exact near s = 1, too.
    fn area(&self, point: f64) -> f64 {
        let log = point.ln();
        let scaled = (1.0 - self.exponent) * log;
        if scaled.abs() < 1e-8 { log * (1.0 + scaled / 2.0) } else { log * (scaled.exp_m1() / scaled) }
    }

    fn inverse_area(&self, area: f64) -> f64 {
        // Rounding must not take it past the pole.
        let scaled = (area * (1.0 - self.exponent)).max(-1.0);
        let log =
            if scaled.abs() < 1e-8 { area * (1.0 - scaled / 2.0) } else { area * (scaled.ln_1p() / scaled) };
        log.exp()
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    const DRAWS: u64 = 200_000;

    /// χ² over the first ranks one by one and the rest together, with the number of classes.
    fn chi_square(ranks: u64, exponent: f64) -> (f64, usize) {
        let zipf = Zipf::new(ranks, exponent);
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let classes = usize::try_from(ranks.min(50)).unwrap();
        let mut seen = vec![0_u64; classes];
        for _ in 0..DRAWS {
            let rank = zipf.draw(&mut rng);
            assert!(rank < ranks);
            seen[usize::try_from(rank).unwrap().min(classes - 1)] += 1;
        }
        let weight = |rank: u64| (rank as f64 + 1.0).powf(-exponent);
        let total: f64 = (0..ranks).map(weight).sum();
        let mut expected: Vec<f64> = (0..classes as u64).map(weight).collect();
        expected[classes - 1] = (classes as u64 - 1..ranks).map(weight).sum();
        let terms = seen.iter().zip(&expected).map(|(seen, weight)| {
            let expected = weight / total * DRAWS as f64;
            (*seen as f64 - expected).powi(2) / expected
        });
        (terms.sum(), classes)
    }

    #[test]
    fn frequencies_are_those_of_the_definition() {
        for (ranks, exponent) in [(10_000, 0.99), (1000, 1.0), (100, 2.0), (1000, 0.5), (20, 0.0), (2, 0.99)]
        {
            let (chi_square, classes) = chi_square(ranks, exponent);

            // Mean and four standard deviations of χ² with one degree of freedom less than classes.
            let freedom = classes as f64 - 1.0;
            let bound = freedom + 4.0 * (2.0 * freedom).sqrt() + 4.0;
            assert!(chi_square < bound, "{ranks} ranks, exponent {exponent}: χ² {chi_square} of {bound}");
        }
    }

    #[test]
    fn of_one_rank_it_is_always_that() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        assert!((0..100).all(|_| Zipf::new(1, 0.99).draw(&mut rng) == 0));
    }

    #[test]
    fn growing_is_the_same_as_having_been_made_so_large() {
        let mut grown = Zipf::new(10, 0.99);
        grown.set_ranks(5000);

        assert_eq!(grown, Zipf::new(5000, 0.99));
    }
}
