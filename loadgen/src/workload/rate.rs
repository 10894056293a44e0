//! Requests per second, as people write them.

use std::fmt;
use std::str::FromStr;

use super::invalid_text::InvalidText;
use super::text_form::text_form;

const WHAT: &str = "rate";
const EXPECTED: &str = "expected a number per second or minute, such as 500/s, 2.5k/s or 30/min";

/// Most requests per second that a rate may ask for: far more than one machine sends.
const MAX_PER_SECOND: f64 = 1e8;

/// Requests per second: finite, not negative, at most a hundred million.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Rate(f64);

impl Rate {
    /// A rate of so many per second, brought within what a rate may be.
    #[must_use]
    pub fn per_second(rate: f64) -> Self {
        if rate.is_nan() { Self(0.0) } else { Self(rate.clamp(0.0, MAX_PER_SECOND)) }
    }

    /// How many per second.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl FromStr for Rate {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, InvalidText> {
        let wrong = || InvalidText::new(WHAT, text, EXPECTED);
        let (number, unit) = text.trim().split_once('/').ok_or_else(wrong)?;
        let per_second = match unit.trim() {
            "s" | "sec" | "second" => 1.0,
            "m" | "min" | "minute" => 60.0,
            _ => return Err(wrong()),
        };
        let number = number.trim().replace('_', "");
        let (digits, thousands) = match number.strip_suffix(['k', 'K']) {
            Some(digits) => (digits, 1000.0),
            None => (number.as_str(), 1.0),
        };
        let rate = digits.parse::<f64>().map_err(|_| wrong())? * thousands / per_second;
        if !rate.is_finite() || !(0.0..=MAX_PER_SECOND).contains(&rate) {
            return Err(InvalidText::new(WHAT, text, "it must be from 0/s to 100000k/s"));
        }
        Ok(Self(rate))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", self.0)
    }
}

text_form!(Rate);
