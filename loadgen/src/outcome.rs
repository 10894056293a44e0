//! How one request ended, or one attempt of it.

use serde::{Deserialize, Serialize};

/// How a request ended for its caller: after the last attempt that the retry model allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// 200.
    Ok,
    /// `ConditionalCheckFailedException`: an answer, not an error.
    ConditionFailed,
    /// `ProvisionedThroughputExceededException`, `ThrottlingException`, `RequestLimitExceeded`.
    Throttled,
    /// Any other 4xx.
    ClientError,
    /// 5xx.
    ServerError,
    /// No answer within the attempt's timeout.
    TimedOut,
    /// The connection could not be made, or broke.
    Broken,
    /// Never sent: the run ended before a connection was free.
    NotSent,
}

impl Outcome {
    /// Every one, in the order of reports.
    pub const ALL: [Self; 8] = [
        Self::Ok,
        Self::ConditionFailed,
        Self::Throttled,
        Self::ClientError,
        Self::ServerError,
        Self::TimedOut,
        Self::Broken,
        Self::NotSent,
    ];

    /// Whether the service did what it was asked.
    #[must_use]
    pub const fn is_success(self) -> bool {
        matches!(self, Self::Ok | Self::ConditionFailed)
    }
}
