//! The one place where the tiers' shells read the clocks. Cores receive what it returns.

use std::sync::LazyLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use units::{Timestamp, UnixMillis};

/// The origin of the process's timestamps, one hour before the clock was first read, so that
/// subtracting a reasonable duration from a timestamp never saturates.
static ORIGIN: LazyLock<Instant> = LazyLock::new(read_monotonic);

/// Nanoseconds between the origin of timestamps and the first reading.
const FIRST_READING_NANOS: u64 = 3_600_000_000_000;

/// The process's monotonic clock.
#[must_use]
pub fn now() -> Timestamp {
    // The origin is read first: the first call must not see its own reading before the origin.
    let origin = *ORIGIN;
    let elapsed = read_monotonic().saturating_duration_since(origin).as_nanos();
    let nanos = u64::try_from(elapsed).expect("2^64 nanoseconds are 584 years of uptime");
    Timestamp::from_nanos(FIRST_READING_NANOS + nanos)
}

/// Wall-clock time, for what people and records see.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the shells' clock file")]
pub fn unix_now() -> UnixMillis {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis::new(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}

#[expect(clippy::disallowed_methods, reason = "the shells' clock file")]
fn read_monotonic() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_monotonic_clock_never_goes_back() {
        let readings: Vec<_> = (0..1000).map(|_| now()).collect();
        assert!(readings.is_sorted());
    }

    #[test]
    fn the_wall_clock_is_past_the_day_this_was_written() {
        assert!(unix_now() > UnixMillis::new(1_790_000_000_000 - 86_400_000 * 400));
    }
}
