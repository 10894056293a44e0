//! Why a request has no outcome, and what its client is told: the one place that maps to exceptions.

use std::sync::Arc;

use dynamodb::error::{ApiError, ErrorKind};
use dynamodb::table::TableDescriptor;

use super::throttle::Throttle;
use crate::http::{Answer, exception};
use crate::routing::RoutingError;

/// Why a request has no outcome.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    /// The request is wrong, or refused.
    Exception(ApiError),
    /// The request does not fit its tables as they are cached.
    Unfit {
        /// What the client is told if they are still so.
        error: ApiError,
        /// The tables.
        tables: Vec<Arc<TableDescriptor>>,
    },
    /// The table that was planned for is gone; another of its name may have taken its place.
    TableGone,
    /// There was no capacity.
    Throttled(Throttle),
    /// Not executed, and no attempt is left: the SDK retries.
    Unavailable,
    /// Sent, and no answer: it may or may not take place. DynamoDB answers the same way.
    Indefinite,
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        Self::Exception(error)
    }
}

impl From<RoutingError> for Failure {
    fn from(error: RoutingError) -> Self {
        match error {
            RoutingError::NotFound => Self::TableGone,
            RoutingError::Unavailable => Self::Unavailable,
        }
    }
}

impl Failure {
    pub(crate) const fn is_indefinite(&self) -> bool {
        matches!(self, Self::Indefinite)
    }

    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            Self::Exception(error) | Self::Unfit { error, .. } => error.kind,
            Self::TableGone => ErrorKind::ResourceNotFound,
            Self::Throttled(throttle) => throttle.kind(),
            Self::Unavailable => ErrorKind::ServiceUnavailable,
            Self::Indefinite => ErrorKind::InternalServerError,
        }
    }

    /// As an exception without the details that only a whole response can carry: for one operation of a
    /// batch.
    pub(crate) fn into_error(self) -> ApiError {
        match self {
            Self::Exception(error) | Self::Unfit { error, .. } => error,
            Self::TableGone => ApiError::table_not_found(),
            Self::Throttled(throttle) => throttle.error(),
            Self::Unavailable => {
                ApiError::new(ErrorKind::ServiceUnavailable, "The service is currently unavailable or busy.")
            }
            Self::Indefinite => ApiError::new(ErrorKind::InternalServerError, "Internal server error"),
        }
    }

    /// As a response.
    pub(crate) fn answer(&self) -> Answer {
        match self {
            Self::Throttled(throttle) => throttle.answer(),
            other => exception(&other.clone().into_error()),
        }
    }
}
