//! How late a frame is beside the fastest frames of its stream.
//!
//! Client and server have different clocks, so that one frame's (arrival − sent) means nothing. But the least
//! of the frames before is one that hardly waited: what a frame exceeds it by, it waited somewhere: in a
//! socket's buffer while the server was frozen or starved, or in the network. Its callers' time ran meanwhile.
//!
//! The least is kept over the present and the previous minute, so that clocks that drift apart (by 50 parts in
//! a million, say) add six milliseconds to an age at most. Minutes are the client's: those of a frozen server pass
//! at once, and with them would go the least against which its backlog is old.

use std::time::Duration;

use units::Timestamp;

/// How long one window is.
const WINDOW_MICROS: u64 = 60_000_000;

/// What is known of one stream's frames.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FrameAge {
    windows: Option<Windows>,
}

#[derive(Clone, Copy, Debug)]
struct Windows {
    /// When the first frame of the present window was sent, by the client's clock.
    begun: u64,
    /// Least (arrival − sent) in the present window, microseconds.
    present: i64,
    /// And in the one before.
    previous: i64,
}

impl FrameAge {
    /// How long a frame had waited when it arrived. `sent_us`: when the client sent it, by its own clock; 0:
    /// it does not say, and counts as fresh.
    pub(super) fn of(&mut self, sent_us: u64, arrived: Timestamp) -> Duration {
        if sent_us == 0 {
            return Duration::ZERO;
        }
        // The sender may say anything: what wraps is its own stream's ages.
        let taken = (arrived.as_nanos() / 1_000).wrapping_sub(sent_us).cast_signed();
        let windows = match self.windows {
            Some(windows) => windows.with(sent_us, taken),
            None => Windows { begun: sent_us, present: taken, previous: taken },
        };
        self.windows = Some(windows);
        let least = windows.present.min(windows.previous);
        Duration::from_micros(u64::try_from(taken.saturating_sub(least)).unwrap_or_default())
    }
}

impl Windows {
    fn with(self, sent_us: u64, taken: i64) -> Self {
        // A sent time that jumps back counts like one that jumps ahead, so that a strange one cannot
        // keep a window for ever.
        match sent_us.abs_diff(self.begun) / WINDOW_MICROS {
            0 => Self { present: self.present.min(taken), ..self },
            1 => Self { begun: sent_us, present: taken, previous: self.present },
            _ => Self { begun: sent_us, present: taken, previous: taken },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The server's clock is an hour ahead of the client's.
    const AHEAD_MICROS: u64 = 3_600_000_000;
    const START: u64 = 1_000_000;

    fn arrived(micros: u64) -> Timestamp {
        Timestamp::from_nanos((micros + AHEAD_MICROS) * 1_000)
    }

    const fn us(micros: u64) -> Duration {
        Duration::from_micros(micros)
    }

    #[test]
    fn an_age_is_what_a_frame_took_more_than_the_fastest() {
        let mut ages = FrameAge::default();
        assert_eq!(ages.of(START, arrived(START + 100)), us(0), "the first is the fastest yet");
        assert_eq!(ages.of(START + 10, arrived(START + 10 + 80)), us(0), "faster still");
        assert_eq!(ages.of(START + 20, arrived(START + 20 + 5_080)), us(5_000));
    }

    #[test]
    fn a_servers_clock_may_be_behind_the_clients() {
        let mut ages = FrameAge::default();
        let server = |micros: u64| Timestamp::from_nanos(micros * 1_000);
        assert_eq!(ages.of(9_000_000, server(1_000)), us(0));
        assert_eq!(ages.of(9_000_500, server(2_000)), us(500));
    }

    #[test]
    fn what_waited_for_a_frozen_server_is_old_however_long_it_was_frozen() {
        for frozen in [1_000_000, 7_000_000, 600_000_000] {
            let mut ages = FrameAge::default();
            ages.of(START, arrived(START + 50));
            // A frame every 100 ms for a second, then the client waits; all arrive as the server thaws.
            let thaw = START + frozen;
            for sent in (START + 100_000..=START + 1_000_000).step_by(100_000) {
                assert_eq!(ages.of(sent, arrived(thaw + 50)), us(thaw - sent));
            }
            assert_eq!(ages.of(thaw, arrived(thaw + 50)), us(0), "what comes after it is fresh");
        }
    }

    #[test]
    fn clocks_that_drift_apart_do_not_age_frames_for_ever() {
        let mut ages = FrameAge::default();
        // The server's clock gains 50 µs a second for an hour.
        for second in 0..3_600 {
            let sent = START + second * 1_000_000;
            let age = ages.of(sent, arrived(sent + second * 50));
            assert!(age <= us(2 * 60 * 50), "{age:?} after {second} s");
        }
    }

    #[test]
    fn after_a_long_silence_the_first_frame_is_fresh() {
        let mut ages = FrameAge::default();
        ages.of(START, arrived(START));
        let later = START + 3_600_000_000;
        // An hour of drift would otherwise look like an age.
        assert_eq!(ages.of(later, arrived(later + 180_000)), us(0));
        assert_eq!(ages.of(later + 10, arrived(later + 10 + 180_500)), us(500));
    }

    #[test]
    fn a_slower_path_is_the_usual_one_after_two_minutes() {
        let mut ages = FrameAge::default();
        let mut age = us(0);
        for second in 0..=121 {
            let sent = START + second * 1_000_000;
            age = ages.of(sent, arrived(sent + if second == 0 { 100 } else { 20_100 }));
        }
        assert_eq!(age, us(0));
    }

    #[test]
    fn a_client_that_does_not_say_sends_fresh_frames_and_strange_times_harm_nobody() {
        let mut ages = FrameAge::default();
        assert_eq!(ages.of(0, arrived(START)), us(0));
        for sent in [u64::MAX, 1, u64::MAX / 2, START] {
            let _any = ages.of(sent, arrived(START));
        }
        let later = START + 200_000_000;
        ages.of(later, arrived(later));
        assert_eq!(ages.of(later + 1, arrived(later + 1)), us(0));
    }
}
