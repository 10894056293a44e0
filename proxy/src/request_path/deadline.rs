//! A request's deadline.

use std::time::Duration;

use units::Timestamp;

/// When a request must be answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    began: Timestamp,
    whole: Duration,
}

impl Deadline {
    pub(crate) const fn new(began: Timestamp, whole: Duration) -> Self {
        Self { began, whole }
    }

    /// When the request arrived: the one reading of the clock that admission and caches use.
    pub(crate) const fn began(self) -> Timestamp {
        self.began
    }

    /// All the time that the request has; right for what happens at its beginning, since that takes
    /// microseconds.
    pub(crate) const fn whole(self) -> Duration {
        self.whole
    }

    /// What is left now: reads the clock, so it is for what happens after something took time.
    pub(crate) fn left(self) -> Duration {
        self.whole.saturating_sub(wire::clock::now().since(self.began))
    }

    /// The rest of it, as a deadline of its own that begins now.
    pub(crate) fn rest(self) -> Self {
        let now = wire::clock::now();
        Self { began: now, whole: self.whole.saturating_sub(now.since(self.began)) }
    }
}
