//! What happens after a failed attempt: the models of clients that a service meets.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use rand::Rng;
use units::Timestamp;

use crate::outcome::Outcome;
use crate::workload::InvalidText;

const WHAT: &str = "retry model";
const EXPECTED: &str =
    "expected none, standard, adaptive or naive, with the most attempts after it, as in standard:3";

/// How a client retries, and how many attempts it makes at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryModel {
    /// `none`: one attempt.
    None,
    /// `standard`: as the standard mode of AWS SDKs.
    Standard {
        /// The first included.
        most_attempts: u32,
    },
    /// `adaptive`: as the adaptive mode of AWS SDKs: standard, and sends no faster than seems to be accepted.
    Adaptive {
        /// The first included.
        most_attempts: u32,
    },
    /// `naive`: at once, again and again, without a budget.
    Naive {
        /// The first included.
        most_attempts: u32,
    },
}

const SDK_ATTEMPTS: u32 = 3;
const NAIVE_ATTEMPTS: u32 = 10;
/// Most attempts that any model may be given.
const MAX_ATTEMPTS: u32 = 100;

impl RetryModel {
    /// How many attempts a request gets at most.
    #[must_use]
    pub const fn most_attempts(&self) -> u32 {
        match self {
            Self::None => 1,
            Self::Standard { most_attempts }
            | Self::Adaptive { most_attempts }
            | Self::Naive { most_attempts } => *most_attempts,
        }
    }
}

impl FromStr for RetryModel {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, InvalidText> {
        let (name, attempts) = match text.trim().split_once(':') {
            Some((name, attempts)) => (name, Some(attempts)),
            None => (text.trim(), None),
        };
        let given = attempts
            .map(|attempts| match attempts.parse::<u32>() {
                Ok(attempts) if (1..=MAX_ATTEMPTS).contains(&attempts) => Ok(attempts),
                _ => Err(InvalidText::new(
                    WHAT,
                    text,
                    format!("its attempts must be from 1 to {MAX_ATTEMPTS}"),
                )),
            })
            .transpose()?;
        match name {
            "none" if given.is_none() => Ok(Self::None),
            "standard" => Ok(Self::Standard { most_attempts: given.unwrap_or(SDK_ATTEMPTS) }),
            "adaptive" => Ok(Self::Adaptive { most_attempts: given.unwrap_or(SDK_ATTEMPTS) }),
            "naive" => Ok(Self::Naive { most_attempts: given.unwrap_or(NAIVE_ATTEMPTS) }),
            _ => Err(InvalidText::new(WHAT, text, EXPECTED)),
        }
    }
}

impl fmt::Display for RetryModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, usual) = match self {
            Self::None => ("none", 1),
            Self::Standard { .. } => ("standard", SDK_ATTEMPTS),
            Self::Adaptive { .. } => ("adaptive", SDK_ATTEMPTS),
            Self::Naive { .. } => ("naive", NAIVE_ATTEMPTS),
        };
        f.write_str(name)?;
        let attempts = self.most_attempts();
        if attempts == usual { Ok(()) } else { write!(f, ":{attempts}") }
    }
}

crate::workload::text_form!(RetryModel);

/// The retries of one client: what it shares over all its requests.
#[derive(Debug, Clone)]
pub struct Retrier {
    model: RetryModel,
}

impl Retrier {
    /// A client that has sent nothing yet.
    #[must_use]
    pub const fn new(model: &RetryModel) -> Self {
        Self { model: *model }
    }

    /// Before each attempt: how long the client holds it back. It must be sent then; it is counted as sent.
    pub fn before_send(&mut self, _now: Timestamp) -> Duration {
        Duration::ZERO
    }

    /// After a failed attempt, the first being 1: how long to wait before the next; none: give up.
    pub fn after_failure(
        &mut self,
        attempt: u32,
        _outcome: Outcome,
        _now: Timestamp,
        _rng: &mut impl Rng,
    ) -> Option<Duration> {
        (attempt < self.model.most_attempts()).then_some(Duration::ZERO)
    }

    /// After an attempt that succeeded, the first being 1.
    pub fn after_success(&mut self, _attempt: u32, _now: Timestamp) {}
}
