//! What the sending threads tell of their requests. They only write it down; adding up is done elsewhere.

use std::borrow::Cow;

use crate::outcome::Outcome;
use crate::result::Units;
use crate::workload::Operation;

/// What one sending thread has to tell since it last did.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// The thread's number.
    pub(super) part: usize,
    /// Requests that became due, of the measured part.
    pub(super) due: Vec<DueCount>,
    /// Attempts that ended, in the order of their ends.
    pub(super) attempts: Vec<Attempt>,
    /// Requests that ended, likewise.
    pub(super) ended: Vec<Ended>,
    /// Requests that are being answered now.
    pub(super) in_flight: u64,
    /// Requests that are due and wait now.
    pub(super) waiting: u64,
}

/// Requests of one stream that were due in one second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DueCount {
    pub(super) stream: usize,
    pub(super) second: u64,
    pub(super) count: u64,
}

/// One attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Attempt {
    pub(super) stream: usize,
    pub(super) operation: Operation,
    /// In which its request was due.
    pub(super) second: u64,
    /// From its send to the answer's last byte; none: there was no answer.
    pub(super) service_us: Option<u64>,
    pub(super) bytes_sent: usize,
    pub(super) bytes_received: usize,
    /// Of a failed attempt.
    pub(super) error: Option<Cow<'static, str>>,
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) stream: usize,
    /// None: it was never sent, and so never made.
    pub(super) operation: Option<Operation>,
    /// When it was due, after the measured part's begin.
    pub(super) due_us: u64,
    pub(super) outcome: Outcome,
    /// From when it was due to the last byte of the last answer.
    pub(super) latency_us: u64,
    /// From when it was due to its first attempt's send.
    pub(super) send_delay_us: Option<u64>,
    /// Whether it was sent late though a connection was free.
    pub(super) late: bool,
    pub(super) units: Units,
    pub(super) reported: Units,
}

impl Ended {
    /// The second in which it was due.
    pub(super) const fn second(&self) -> u64 {
        self.due_us / 1_000_000
    }
}

impl Batch {
    /// Counts a request that became due.
    pub(super) fn add_due(&mut self, stream: usize, second: u64) {
        match self.due.last_mut() {
            Some(last) if last.stream == stream && last.second == second => last.count += 1,
            _ => self.due.push(DueCount { stream, second, count: 1 }),
        }
    }
}
