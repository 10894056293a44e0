//! How long a server has answered nothing while calls waited for it: how a frozen server is found, which
//! still holds its connection.

use std::time::Duration;

use units::Timestamp;

/// Time that passed without an answer while calls waited. A deadline that passes does not end the silence:
/// only an answer does. Time in which nothing waits does not count. A call that its caller gave up counts as
/// long as something waits, and no longer: callers that give up early would make a server that is well, and
/// only answers a little later, look silent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Silence {
    /// Of earlier waits that ended with a deadline, not with an answer.
    before: Duration,
    /// Since when calls wait without an answer; none: none wait.
    since: Option<Timestamp>,
}

impl Silence {
    /// A call begins to wait.
    pub(super) fn call_began(&mut self, now: Timestamp) {
        self.since.get_or_insert(now);
    }

    /// An answer came; `waiting`: calls wait for further ones.
    pub(super) fn answered(&mut self, waiting: bool, now: Timestamp) {
        *self = Self { before: Duration::ZERO, since: waiting.then_some(now) };
    }

    /// The deadlines of calls passed; `waiting`: others wait on.
    pub(super) fn expired(&mut self, waiting: bool, now: Timestamp) {
        if let Some(since) = self.since.take() {
            self.before += now.since(since);
            self.since = waiting.then_some(now);
        }
    }

    /// The last waiting call was given up by its caller: what it waited since the last deadline is forgotten.
    pub(super) fn given_up(&mut self) {
        self.since = None;
    }

    /// The stream is gone: another may come up to a server that is well.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// How long it has lasted; none: nothing is unanswered.
    pub(super) fn lasts(&self, now: Timestamp) -> Option<Duration> {
        let waiting = self.since.map(|since| now.since(since));
        if waiting.is_none() && self.before.is_zero() {
            return None;
        }
        Some(self.before + waiting.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_nanos(millis * 1_000_000)
    }

    const fn ms(millis: u64) -> Option<Duration> {
        Some(Duration::from_millis(millis))
    }

    #[test]
    fn it_counts_from_the_first_call_and_from_the_last_answer() {
        let mut silence = Silence::default();
        assert_eq!(silence.lasts(at(9)), None);
        silence.call_began(at(10));
        silence.call_began(at(15));
        assert_eq!(silence.lasts(at(20)), ms(10));
        silence.answered(true, at(21));
        assert_eq!(silence.lasts(at(24)), ms(3));
        silence.answered(false, at(25));
        assert_eq!(silence.lasts(at(99)), None);
    }

    #[test]
    fn calls_that_expire_add_up() {
        let mut silence = Silence::default();
        for begin in [0, 100, 200] {
            silence.call_began(at(begin));
            silence.expired(false, at(begin + 10));
        }
        assert_eq!(silence.lasts(at(1_000)), ms(30), "idle time is no silence");
        silence.call_began(at(1_000));
        assert_eq!(silence.lasts(at(1_005)), ms(35));
        silence.answered(false, at(1_006));
        assert_eq!(silence.lasts(at(1_007)), None);
    }

    #[test]
    fn calls_that_their_callers_give_up_do_not_add_up() {
        let mut silence = Silence::default();
        for begin in 0..1_000 {
            silence.call_began(at(begin * 10));
            assert_eq!(silence.lasts(at(begin * 10 + 5)), ms(5));
            silence.given_up();
        }
        assert_eq!(silence.lasts(at(20_000)), None);
    }

    #[test]
    fn what_expired_counts_although_the_last_call_is_given_up() {
        let mut silence = Silence::default();
        silence.call_began(at(0));
        silence.expired(true, at(40));
        assert_eq!(silence.lasts(at(45)), ms(45));
        silence.given_up();
        assert_eq!(silence.lasts(at(60)), ms(40));
    }

    #[test]
    fn a_new_stream_begins_without_silence() {
        let mut silence = Silence::default();
        silence.call_began(at(0));
        silence.forget();
        assert_eq!(silence.lasts(at(50)), None);
    }
}
