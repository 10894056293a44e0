//! What the simulation draws.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The one source of randomness of a run.
pub(crate) type Dice = ChaCha8Rng;

pub(crate) fn dice(seed: u64) -> Dice {
    Dice::seed_from_u64(seed)
}

/// What arrivals are drawn from: the same for every scheme that is compared.
pub(crate) fn arrivals_dice(seed: u64) -> Dice {
    Dice::seed_from_u64(seed ^ 0x5eed_0fa2_217a_15aa)
}

/// Seconds until the next of events that come at `rate` per second.
pub(crate) fn exponential(dice: &mut Dice, rate: f64) -> f64 {
    // 1 − u lies in (0, 1]: its logarithm is finite.
    -(1.0 - dice.random::<f64>()).ln() / rate
}

/// A lognormal number with this median and spread, within `range`.
pub(crate) fn lognormal(dice: &mut Dice, median: f64, sigma: f64, range: (f64, f64)) -> f64 {
    let radius = (-2.0 * (1.0 - dice.random::<f64>()).ln()).sqrt();
    let normal = radius * (std::f64::consts::TAU * dice.random::<f64>()).cos();
    (median * (sigma * normal).exp()).clamp(range.0, range.1)
}

/// Weights of `count` ranks by Zipf's law; they sum to 1.
#[expect(clippy::cast_precision_loss, reason = "ranks are small")]
pub(crate) fn zipf(count: usize, exponent: f64) -> Vec<f64> {
    let weights: Vec<f64> = (1..=count).map(|rank| (rank as f64).powf(-exponent)).collect();
    let sum: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / sum).collect()
}
