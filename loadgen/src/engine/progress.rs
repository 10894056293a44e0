//! What a run tells while it goes on.

use crate::result::Second;

/// One second of the measured part has passed.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// How many have passed.
    pub second: u64,
    /// How many there will be.
    pub of: u64,
    /// The second that passed, of each stream in the spec's order. Requests that are still to be answered are missing
    /// from its outcomes; the result has them.
    pub streams: Vec<Second>,
    /// Requests that wait for an answer.
    pub in_flight: u64,
    /// Requests that are due and wait for a connection.
    pub waiting: u64,
}
