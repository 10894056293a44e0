//! What happens after a failed attempt: the models of clients that a service meets.
//!
//! Sources: AWS SDKs and Tools Reference Guide, "Retry behavior"; botocore's user guide, "Retries". SDKs differ in
//! details and over time (newer ones make four attempts on DynamoDB, with a base of 25 ms except after throttling);
//! `standard:4` gives their number of attempts.

mod quota;
mod rate_limiter;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use rand::Rng;
use units::Timestamp;

use self::quota::RetryQuota;
use self::rate_limiter::RateLimiter;
use crate::outcome::Outcome;
use crate::workload::InvalidText;

const WHAT: &str = "retry model";
const EXPECTED: &str =
    "expected none, standard, adaptive or naive, with the most attempts after it, as in standard:3";

/// How a client retries, and how many attempts it makes at most. As text, the number may follow: `standard:4`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryModel {
    /// `none`: one attempt.
    None,
    /// `standard`: as the standard mode of AWS SDKs: three attempts, a pause of a random part of 1 s, 2 s, 4 s, … up
    /// to 20 s, and a quota that ends retries when many fail.
    Standard {
        /// The first included.
        most_attempts: u32,
    },
    /// `adaptive`: as the adaptive mode of AWS SDKs: standard, and after throttled answers sends no faster than
    /// seems to be accepted.
    Adaptive {
        /// The first included.
        most_attempts: u32,
    },
    /// `naive`: ten attempts, nearly at once, without a quota: what turns a slow minute into an outage.
    Naive {
        /// The first included.
        most_attempts: u32,
    },
}

/// Of the standard and adaptive modes, when none are said.
const SDK_ATTEMPTS: u32 = 3;
/// The upper end of the first pause, doubled with each attempt.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The upper end of any pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(20);
/// Of the naive model, when none are said.
const NAIVE_ATTEMPTS: u32 = 10;
/// What it takes a loop to come round.
const NAIVE_PAUSE: Duration = Duration::from_millis(1);
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
    quota: RetryQuota,
    limiter: RateLimiter,
}

impl Retrier {
    /// A client that has sent nothing yet.
    #[must_use]
    pub fn new(model: &RetryModel) -> Self {
        Self { model: *model, quota: RetryQuota::new(), limiter: RateLimiter::default() }
    }

    /// Before each attempt: zero if the client sends it now; otherwise how long it holds it back at its present rate.
    /// Ask again then, or sooner: the rate may have risen.
    pub fn before_send(&mut self, now: Timestamp) -> Duration {
        match self.model {
            RetryModel::Adaptive { .. } => self.limiter.before_send(now),
            _ => Duration::ZERO,
        }
    }

    /// After an attempt (the first is 1) that was not [`Outcome::Ok`]: how long to wait before the next. None: the
    /// outcome is final.
    pub fn after_failure(
        &mut self,
        attempt: u32,
        outcome: Outcome,
        now: Timestamp,
        rng: &mut impl Rng,
    ) -> Option<Duration> {
        if matches!(self.model, RetryModel::Adaptive { .. }) {
            self.limiter.after_answer(outcome == Outcome::Throttled, now);
        }
        if attempt >= self.model.most_attempts() || !is_retried(outcome) {
            return None;
        }
        match self.model {
            RetryModel::None => None,
            RetryModel::Naive { .. } => Some(NAIVE_PAUSE),
            RetryModel::Standard { .. } | RetryModel::Adaptive { .. } => {
                self.quota.take(outcome).then(|| longest_pause(attempt).mul_f64(rng.random::<f64>()))
            }
        }
    }

    /// After an attempt that was [`Outcome::Ok`], and how the attempt before it of the same request failed, if there
    /// was one.
    pub fn after_success(&mut self, last_failure: Option<Outcome>, now: Timestamp) {
        match self.model {
            RetryModel::None | RetryModel::Naive { .. } => {}
            RetryModel::Standard { .. } => self.quota.give_back(last_failure),
            RetryModel::Adaptive { .. } => {
                self.limiter.after_answer(false, now);
                self.quota.give_back(last_failure);
            }
        }
    }
}

/// Whether clients take it for something that may pass.
const fn is_retried(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Throttled | Outcome::ServerError | Outcome::TimedOut | Outcome::Broken)
}

/// The upper end of the pause after this attempt.
fn longest_pause(attempt: u32) -> Duration {
    let doublings = attempt.saturating_sub(1);
    FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(doublings)).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests;
