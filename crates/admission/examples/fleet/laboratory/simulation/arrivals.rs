//! When requests come: a Poisson process whose rate may change, or be on and off by turns.

use rand::Rng;

use super::random::{Dice, exponential};

/// How a mean rate is spread over time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Pattern {
    /// Evenly.
    Steady,
    /// Half of each period at twice the rate, the other half not at all; each proxy in its own phase.
    OnOff {
        /// Seconds.
        period: f64,
    },
}

/// One proxy's requests for one table.
#[derive(Clone, Debug)]
pub(crate) struct Arrivals {
    pattern: Pattern,
    phase: f64,
    /// Of the process that is drawn; on-off arrivals are drawn at the peak rate and thinned.
    drawn_rate: f64,
    next: f64,
}

impl Arrivals {
    /// None at all.
    pub(crate) const fn none() -> Self {
        Self { pattern: Pattern::Steady, phase: 0.0, drawn_rate: 0.0, next: f64::INFINITY }
    }

    /// `rate` requests per second from `now` (in seconds) on.
    pub(crate) fn change(&mut self, rate: f64, pattern: Pattern, now: f64, dice: &mut Dice) {
        if pattern != self.pattern {
            self.phase = dice.random();
        }
        self.pattern = pattern;
        self.drawn_rate = match pattern {
            Pattern::Steady => rate,
            Pattern::OnOff { .. } => 2.0 * rate,
        };
        self.draw(now, dice);
    }

    /// How many come until `now`.
    pub(crate) fn until(&mut self, now: f64, dice: &mut Dice) -> u32 {
        let mut count = 0;
        while self.next <= now {
            count += u32::from(self.is_on(self.next));
            self.draw(self.next, dice);
        }
        count
    }

    fn draw(&mut self, from: f64, dice: &mut Dice) {
        self.next =
            if self.drawn_rate > 0.0 { from + exponential(dice, self.drawn_rate) } else { f64::INFINITY };
    }

    fn is_on(&self, at: f64) -> bool {
        match self.pattern {
            Pattern::Steady => true,
            Pattern::OnOff { period } => (at / period + self.phase).fract() < 0.5,
        }
    }
}
