//! The client-side rate limit of the SDKs' adaptive mode: after a throttled answer the client sends less, and then
//! finds its way up along a cubic curve, as TCP CUBIC does.
//!
//! Sources: AWS SDKs and Tools Reference Guide, "Retry behavior", adaptive mode, and the published behaviour of
//! botocore; RFC 9438 (CUBIC) for the curve: β = 0.7, C = 0.4.

use std::time::Duration;

use units::Timestamp;

/// What a throttled answer leaves of the rate.
const BETA: f64 = 0.7;
/// How steep the curve is.
const CURVE_SCALE: f64 = 0.4;
/// No slower than this, in requests per second.
const LEAST_RATE: f64 = 0.5;
/// No faster than so many times what was measured.
const MOST_OF_MEASURED: f64 = 2.0;
/// The rate is measured anew every half second.
const MEASURED_PER_SECOND: f64 = 2.0;
/// How much of a new measurement counts.
const SMOOTHING: f64 = 0.8;

/// Whoever waits as long as it was told may send, though times are rounded.
const ROUNDING: f64 = 1e-3;
/// No wait is rounded down to none.
const LEAST_WAIT: Duration = Duration::from_micros(1);

/// One client's limit. Off until the first throttled answer.
#[derive(Debug, Clone, Default)]
pub(super) struct RateLimiter(Option<State>);

#[derive(Debug, Clone)]
struct State {
    /// Whether there has been a throttled answer.
    limits: bool,
    /// Requests per second that may be sent.
    rate: f64,
    /// Sends that may follow at once.
    tokens: f64,
    most_tokens: f64,
    filled_at: f64,
    /// The rate at the last throttled answer: where the curve is flat.
    flat_rate: f64,
    throttled_at: f64,
    measured_rate: f64,
    measured_until: f64,
    count: u32,
}

impl RateLimiter {
    /// Zero: send now, and it counts. Otherwise when to ask again, if the rate stays what it is; nothing is promised.
    pub(super) fn before_send(&mut self, now: Timestamp) -> Duration {
        let now = seconds(now);
        let state = self.state(now);
        if !state.limits {
            return Duration::ZERO;
        }
        state.fill(now);
        let missing = 1.0 - state.tokens;
        if missing < ROUNDING {
            state.tokens -= 1.0;
            return Duration::ZERO;
        }
        Duration::from_secs_f64(missing / state.rate).max(LEAST_WAIT)
    }

    /// After every answer or failure.
    pub(super) fn after_answer(&mut self, throttled: bool, now: Timestamp) {
        let now = seconds(now);
        let state = self.state(now);
        let measured = state.measure(now);
        let rate = if throttled {
            let sent_at = if state.limits { measured.min(state.rate) } else { measured };
            state.flat_rate = sent_at;
            state.throttled_at = now;
            state.limits = true;
            sent_at * BETA
        } else {
            state.curve(now)
        };
        state.set_rate(rate.min(MOST_OF_MEASURED * measured), now);
    }

    fn state(&mut self, now: f64) -> &mut State {
        self.0.get_or_insert_with(|| State {
            limits: false,
            rate: 1.0,
            tokens: 0.0,
            most_tokens: 1.0,
            filled_at: now,
            flat_rate: 0.0,
            throttled_at: now,
            measured_rate: 0.0,
            measured_until: now.floor(),
            count: 0,
        })
    }
}

impl State {
    /// Counts an answer, and says how many per second there are.
    fn measure(&mut self, now: f64) -> f64 {
        self.count += 1;
        let until = (now * MEASURED_PER_SECOND).floor() / MEASURED_PER_SECOND;
        if until > self.measured_until {
            let current = f64::from(self.count) / (until - self.measured_until);
            self.measured_rate = current * SMOOTHING + self.measured_rate * (1.0 - SMOOTHING);
            self.count = 0;
            self.measured_until = until;
        }
        self.measured_rate
    }

    /// The rate that the cubic curve allows: rising to what it was when throttled, flat there, then rising again.
    fn curve(&self, now: f64) -> f64 {
        let until_flat = (self.flat_rate * (1.0 - BETA) / CURVE_SCALE).cbrt();
        CURVE_SCALE * (now - self.throttled_at - until_flat).powi(3) + self.flat_rate
    }

    fn fill(&mut self, now: f64) {
        let earned = (now - self.filled_at).max(0.0) * self.rate;
        self.tokens = self.most_tokens.min(self.tokens + earned);
        self.filled_at = self.filled_at.max(now);
    }

    fn set_rate(&mut self, rate: f64, now: f64) {
        self.fill(now);
        self.rate = rate.max(LEAST_RATE);
        self.most_tokens = rate.max(1.0);
        self.tokens = self.tokens.min(self.most_tokens);
    }
}

fn seconds(at: Timestamp) -> f64 {
    at.since(Timestamp::default()).as_secs_f64()
}
