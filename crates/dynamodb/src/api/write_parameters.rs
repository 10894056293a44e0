//! What `PutItem`, `UpdateItem` and `DeleteItem` have in common: the parameters beside the item, and
//! the answer.

use units::MilliUnits;

use super::answer::{Answer, error_body};
use super::constraint::{Constraints, enveloped};
use super::consumed_capacity::{ReturnConsumedCapacity, write_charge};
use crate::error::{ApiError, ErrorKind};
use crate::operation::{Outcome, ReturnValues};
use crate::size::MAX_ITEM_BYTES;

/// The parameters that say what a write returns.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct WriteParameters {
    pub(super) capacity: ReturnConsumedCapacity,
    pub(super) return_values: ReturnValues,
    pub(super) return_item_on_failure: bool,
}

/// The same, as given.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct GivenWriteParameters<'a> {
    pub(super) return_consumed_capacity: Option<&'a str>,
    pub(super) return_values: Option<&'a str>,
    pub(super) return_item_collection_metrics: Option<&'a str>,
    pub(super) return_values_on_condition_check_failure: Option<&'a str>,
}

impl WriteParameters {
    /// Reads them. `ReturnItemCollectionMetrics` is checked and then has no effect: DynamoDB returns
    /// them only for tables with local secondary indexes.
    pub(super) fn read(given: GivenWriteParameters<'_>, constraints: &mut Constraints) -> Self {
        let capacity = ReturnConsumedCapacity::read(given.return_consumed_capacity, constraints);
        let return_values = match given.return_values {
            None | Some("NONE") => ReturnValues::None,
            Some("ALL_OLD") => ReturnValues::AllOld,
            Some("UPDATED_OLD") => ReturnValues::UpdatedOld,
            Some("ALL_NEW") => ReturnValues::AllNew,
            Some("UPDATED_NEW") => ReturnValues::UpdatedNew,
            Some(_) => {
                // DynamoDB's own spelling.
                constraints.other(
                    "Failed to satisfy constraint: Member must satisfy enum value set: [ALL_OLD, \
                     UPDATED_OLD, ALL_NEW, UPDATE_NEW, NONE]"
                        .to_owned(),
                );
                ReturnValues::None
            }
        };
        check_item_collection_metrics(given.return_item_collection_metrics, constraints);
        let return_item_on_failure = constraints
            .choice(
                given.return_values_on_condition_check_failure,
                "returnValuesOnConditionCheckFailure",
                &[("ALL_OLD", true), ("NONE", false)],
            )
            .unwrap_or(false);
        Self { capacity, return_values, return_item_on_failure }
    }

    /// Refuses what only `UpdateItem` can return; whether `ALL_OLD` is asked for.
    ///
    /// # Errors
    /// `ValidationException`.
    pub(super) fn return_old(self) -> Result<bool, ApiError> {
        match self.return_values {
            ReturnValues::None => Ok(false),
            ReturnValues::AllOld => Ok(true),
            _ => Err(enveloped(ApiError::validation("ReturnValues can only be ALL_OLD or NONE"))),
        }
    }
}

/// Checks `ReturnItemCollectionMetrics`.
pub(super) fn check_item_collection_metrics(given: Option<&str>, constraints: &mut Constraints) {
    constraints.choice(given, "returnItemCollectionMetrics", &[("SIZE", ()), ("NONE", ())]);
}

/// Turns a write's outcome into the response.
#[derive(Debug)]
pub(super) struct WriteReply {
    pub(super) table: String,
    pub(super) capacity: ReturnConsumedCapacity,
}

impl WriteReply {
    pub(super) fn answer(self, outcome: &Outcome) -> Answer {
        let consumed = write_charge(outcome);
        match outcome {
            Outcome::Written(written) => {
                let mut body = Vec::with_capacity(128);
                body.push(b'{');
                if let Some(attributes) = &written.attributes {
                    body.extend_from_slice(b"\"Attributes\":");
                    crate::json::write_item(attributes.view(), &mut body);
                }
                self.capacity.write_member(&mut body, &self.table, consumed);
                body.push(b'}');
                Answer::success(body, consumed)
            }
            Outcome::ConditionFailed { item, .. } => {
                let error =
                    ApiError::new(ErrorKind::ConditionalCheckFailed, "The conditional request failed");
                let item = item.as_ref().map(|item| {
                    let mut bytes = Vec::new();
                    crate::json::write_item(item.view(), &mut bytes);
                    bytes
                });
                Answer { body: error_body(&error, item.as_deref()), error: Some(error.kind), consumed }
            }
            Outcome::Invalid(error) => Answer::error(error),
            Outcome::Item(_) | Outcome::Page(_) => unexpected_outcome(),
        }
    }
}

/// The answer when a storage node answered another question than was asked.
pub(super) fn unexpected_outcome() -> Answer {
    Answer {
        consumed: MilliUnits::ZERO,
        ..Answer::error(&ApiError::new(ErrorKind::InternalServerError, "The outcome is of another kind"))
    }
}

/// Refuses an item that is too large.
///
/// # Errors
/// `ValidationException`.
pub(super) fn check_item_size(bytes: u64) -> Result<(), ApiError> {
    if bytes > MAX_ITEM_BYTES {
        return Err(ApiError::validation("Item size has exceeded the maximum allowed size"));
    }
    Ok(())
}
