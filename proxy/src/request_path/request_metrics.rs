//! One request's metrics, their handles made once: looking a metric up costs more than counting it.

use std::time::Duration;

use dynamodb::api::ApiOperation;
use dynamodb::error::ErrorKind;
use metrics::{Counter, Histogram};

use crate::metrics as names;

/// How a request ended.
const CLASSES: [&str; 4] = ["success", "client_error", "throttled", "server_error"];

pub(super) struct RequestMetrics {
    /// By operation, in the order of [`ApiOperation::ALL`].
    operations: Vec<OperationMetrics>,
}

struct OperationMetrics {
    classes: [Counter; CLASSES.len()],
    latency: Histogram,
}

impl RequestMetrics {
    pub(super) fn new() -> Self {
        let operations = ApiOperation::ALL.map(|operation| OperationMetrics {
            classes: CLASSES.map(
                |class| metrics::counter!(names::REQUESTS, "operation" => operation.name(), "class" => class),
            ),
            latency: metrics::histogram!(names::LATENCY, "operation" => operation.name()),
        });
        Self { operations: operations.into() }
    }

    pub(super) fn record(&self, operation: ApiOperation, error: Option<ErrorKind>, took: Duration) {
        let Some(metrics) = self.operations.get(operation as usize) else { return };
        metrics.classes[class(error)].increment(1);
        metrics.latency.record(took);
    }
}

/// An index into [`CLASSES`].
const fn class(error: Option<ErrorKind>) -> usize {
    match error {
        None => 0,
        Some(
            ErrorKind::ProvisionedThroughputExceeded
            | ErrorKind::RequestLimitExceeded
            | ErrorKind::Throttling,
        ) => 2,
        Some(kind) if kind.http_status() >= 500 => 3,
        Some(_) => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operations_number_is_its_place_among_all() {
        for (place, operation) in ApiOperation::ALL.into_iter().enumerate() {
            assert_eq!(operation as usize, place);
        }
    }
}
