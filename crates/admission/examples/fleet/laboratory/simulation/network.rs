//! What happens to a message between a proxy and a GAC server.

use std::time::Duration;

use rand::Rng;

use super::random::Dice;

/// A network's behaviour; each message is treated by itself, so messages overtake each other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Network {
    /// One way, without jitter.
    pub(crate) one_way: Duration,
    /// Up to so much is added.
    pub(crate) jitter: Duration,
    /// The part of messages that are lost.
    pub(crate) loss: f64,
    /// The part that come twice.
    pub(crate) duplicates: f64,
    /// The part that are held up by `delay`.
    pub(crate) delayed: f64,
    /// See `delayed`.
    pub(crate) delay: Duration,
}

impl Network {
    /// Loses nothing; this long a round trip, a tenth of it jitter.
    pub(crate) fn good(round_trip: Duration) -> Self {
        Self {
            one_way: round_trip / 2 - round_trip / 20,
            jitter: round_trip / 10,
            loss: 0.0,
            duplicates: 0.0,
            delayed: 0.0,
            delay: Duration::ZERO,
        }
    }

    /// The delays after which the copies of one message arrive: none, one or two.
    pub(crate) fn copies(&self, dice: &mut Dice) -> [Option<Duration>; 2] {
        let first = self.copy(dice);
        let second =
            if self.duplicates > 0.0 && dice.random_bool(self.duplicates) { self.copy(dice) } else { None };
        [first, second]
    }

    fn copy(&self, dice: &mut Dice) -> Option<Duration> {
        if self.loss > 0.0 && dice.random_bool(self.loss) {
            return None;
        }
        let mut delay = self.one_way + self.jitter.mul_f64(dice.random::<f64>());
        if self.delayed > 0.0 && dice.random_bool(self.delayed) {
            delay += self.delay.mul_f64(dice.random::<f64>());
        }
        Some(delay)
    }
}
