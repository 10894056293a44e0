//! The engine's reading of the clocks, by the units it needs.

use units::Timestamp;

/// The monotonic clock.
pub(super) fn now() -> Timestamp {
    wire::clock::now()
}

/// Wall-clock time in milliseconds since 1970.
pub(super) fn unix_millis() -> u64 {
    wire::clock::unix_now().get()
}

/// Wall-clock time in whole seconds since 1970, as signatures carry it.
pub(super) fn unix_seconds() -> i64 {
    i64::try_from(unix_millis() / 1000).expect("292 million years")
}
