//! A request between the time when it is due and its last answer.

use units::Timestamp;

use crate::outcome::Outcome;
use crate::result::Units;
use crate::workload::{Operation, Planned};

/// A request that is due.
#[derive(Debug)]
pub(super) enum Job {
    /// Its first attempt; what it asks is decided when it is sent.
    First(Due),
    /// Another one.
    Again(Box<Request>),
}

/// When a stream's request was due.
#[derive(Debug, Clone, Copy)]
pub(super) struct Due {
    pub(super) stream: usize,
    pub(super) at: Timestamp,
    /// Whether a connection was free then.
    pub(super) punctual: bool,
}

/// A request that has been made.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) due: Due,
    /// As which it is counted.
    pub(super) operation: Operation,
    pub(super) planned: Planned,
    /// Whether it is the write of a read-modify-write.
    pub(super) follow_up: bool,
    /// The number of the current attempt, from 1.
    pub(super) attempt: u32,
    pub(super) last_failure: Option<Outcome>,
    /// Whether the retry model lets the current attempt go.
    pub(super) held: bool,
    pub(super) first_sent: Option<Timestamp>,
    pub(super) units: Units,
    pub(super) reported: Units,
}

impl Request {
    pub(super) const fn new(due: Due, planned: Planned) -> Self {
        Self {
            due,
            operation: planned.operation,
            planned,
            follow_up: false,
            attempt: 1,
            last_failure: None,
            held: false,
            first_sent: None,
            units: Units { read_milli: 0, write_milli: 0 },
            reported: Units { read_milli: 0, write_milli: 0 },
        }
    }

    /// Makes it the request that follows its answer.
    pub(super) fn follow(&mut self, planned: Planned) {
        self.planned = planned;
        self.follow_up = true;
        self.attempt = 1;
        self.last_failure = None;
        self.held = false;
    }

    /// Counts a failed attempt.
    pub(super) const fn try_again(&mut self, failure: Outcome) {
        self.attempt += 1;
        self.last_failure = Some(failure);
        self.held = false;
    }
}
