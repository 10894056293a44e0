//! What clients ask for, and what they do when they are refused.

use std::time::Duration;

use rand::Rng;
use units::MilliUnits;

use super::random::{Dice, lognormal};

/// What a request costs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cost {
    /// One unit.
    One,
    /// One unit is charged at first; the lognormal cost is known with the response.
    Late {
        /// Units.
        median: f64,
        /// Of the logarithm.
        sigma: f64,
        /// Units.
        most: f64,
        /// Until the response.
        after: Duration,
    },
}

impl Cost {
    /// What is charged at admission.
    pub(crate) const FIRST: MilliUnits = MilliUnits::from_units(1);

    /// The difference that the response tells, and when.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to a few thousand")]
    pub(crate) fn settlement(self, dice: &mut Dice) -> Option<(MilliUnits, Duration)> {
        match self {
            Self::One => None,
            Self::Late { median, sigma, most, after } => {
                let units = lognormal(dice, median, sigma, (1.0, most));
                Some((MilliUnits::new((units * 1000.0) as u64).saturating_sub(Self::FIRST), after))
            }
        }
    }
}

/// What a client does with a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Client {
    /// Gives up.
    Once,
    /// The AWS SDKs' standard retry mode for DynamoDB: at most three attempts, each after a random part of
    /// 50 ms doubled per attempt, at most 20 s.
    Sdk,
    /// Comes back when the refusal said, for up to a minute.
    Waits,
}

/// Attempts of the standard mode, the first one included.
const SDK_ATTEMPTS: u32 = 3;
/// The standard mode's base and largest delay.
const SDK_BASE_SECONDS: f64 = 0.05;
/// See [`SDK_BASE_SECONDS`].
const SDK_MOST_SECONDS: f64 = 20.0;
/// A waiting client comes back at least so often, so that a renewed lease helps it.
const MOST_WAIT: Duration = Duration::from_millis(100);
/// Attempts of a waiting client.
const WAITS_ATTEMPTS: u32 = 6_000;

impl Client {
    /// When to try again after the `attempt`-th attempt (from 1) failed.
    pub(crate) fn retry(self, attempt: u32, hint: Duration, dice: &mut Dice) -> Option<Duration> {
        match self {
            Self::Once => None,
            Self::Sdk => (attempt < SDK_ATTEMPTS).then(|| {
                let most = (SDK_BASE_SECONDS * f64::from(attempt - 1).exp2()).min(SDK_MOST_SECONDS);
                Duration::from_secs_f64(most * dice.random::<f64>())
            }),
            Self::Waits => (attempt < WAITS_ATTEMPTS).then(|| hint.min(MOST_WAIT)),
        }
    }
}
