//! The retry quota of the SDKs' standard mode: a client that fails a lot stops retrying.
//!
//! Source: AWS SDKs and Tools Reference Guide, "Retry behavior"; botocore's user guide, "Retries": a retry costs 5
//! of a client's 500 tokens, after a timeout 10; a success gives back what its last retry cost, and one token if it
//! needed no retry.

use crate::outcome::Outcome;

const TOKENS: u32 = 500;
const RETRY_COST: u32 = 5;
const RETRY_COST_AFTER_TIMEOUT: u32 = 10;
const GAIN_WITHOUT_RETRY: u32 = 1;

/// One client's tokens.
#[derive(Debug, Clone)]
pub(super) struct RetryQuota {
    tokens: u32,
}

impl RetryQuota {
    pub(super) const fn new() -> Self {
        Self { tokens: TOKENS }
    }

    /// Takes what a retry after this failure costs; false, and takes nothing, if it is not there.
    pub(super) const fn take(&mut self, after: Outcome) -> bool {
        match self.tokens.checked_sub(cost(after)) {
            Some(rest) => {
                self.tokens = rest;
                true
            }
            None => false,
        }
    }

    /// After a success, and the failure before it, if any.
    pub(super) fn give_back(&mut self, after: Option<Outcome>) {
        self.tokens = TOKENS.min(self.tokens + after.map_or(GAIN_WITHOUT_RETRY, cost));
    }
}

const fn cost(after: Outcome) -> u32 {
    if matches!(after, Outcome::TimedOut) { RETRY_COST_AFTER_TIMEOUT } else { RETRY_COST }
}
