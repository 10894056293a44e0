//! What follows from a result's figures: shares, rates, amplification. One definition, for reports, objectives
//! and comparisons alike.

use crate::outcome::Outcome;
use crate::result::{RunResult, Summary, Units};

impl Summary {
    /// Requests that the service did what they asked, a failed condition included.
    #[must_use]
    pub fn successes(&self) -> u64 {
        self.ended(Outcome::is_success)
    }

    /// Requests that ended throttled.
    #[must_use]
    pub fn throttled(&self) -> u64 {
        self.ended(|outcome| outcome == Outcome::Throttled)
    }

    /// Requests that ended in any other failure, those never sent included.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.ended(|outcome| !outcome.is_success() && outcome != Outcome::Throttled)
    }

    /// So many of the requests offered, in percent; none when nothing was offered.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a share")]
    pub fn share_of(&self, requests: u64) -> Option<f64> {
        (self.offered > 0).then(|| requests as f64 * 100.0 / self.offered as f64)
    }

    /// Attempts per request offered; none when nothing was offered.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a ratio")]
    pub fn amplification(&self) -> Option<f64> {
        (self.offered > 0).then(|| self.attempts as f64 / self.offered as f64)
    }

    fn ended(&self, which: impl Fn(Outcome) -> bool) -> u64 {
        self.outcomes.iter().filter(|(outcome, _)| which(**outcome)).map(|(_, count)| *count).sum()
    }
}

impl RunResult {
    /// How long requests were due, in seconds: of the run, or of the stream at that place. Answers that came after
    /// the end do not make it longer.
    #[must_use]
    pub fn seconds_offered(&self, stream: Option<usize>) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "2^53 µs are 285 years")]
        let lasted = (self.lasted_us as f64 / 1e6).min(self.spec.duration.as_secs_f64());
        let Some(stream) = stream.and_then(|at| self.spec.streams.get(at)) else { return lasted };
        let to = stream.to.map_or(lasted, |to| to.as_secs_f64().min(lasted));
        (to - stream.from.as_secs_f64()).max(0.0)
    }

    /// Successful requests per second, of the run or of the stream at that place; 0 of no time at all.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    pub fn successes_per_second(&self, stream: Option<usize>) -> f64 {
        let summary =
            stream.and_then(|at| self.streams.get(at)).map_or(&self.total, |stream| &stream.summary);
        let seconds = self.seconds_offered(stream);
        if seconds > 0.0 { summary.successes() as f64 / seconds } else { 0.0 }
    }
}

impl Units {
    /// Whether there are none.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.read_milli == 0 && self.write_milli == 0
    }

    /// RCU.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "2^53 thousandths")]
    pub fn read(self) -> f64 {
        self.read_milli as f64 / 1000.0
    }

    /// WCU.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "2^53 thousandths")]
    pub fn write(self) -> f64 {
        self.write_milli as f64 / 1000.0
    }
}
