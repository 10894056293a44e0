//! `GetItem`, `PutItem`, `UpdateItem`, `DeleteItem`: one item each.

use super::answer::Answer;
use super::api_operation::ApiOperation;
use crate::error::ApiError;
use crate::operation::{Operation, Outcome};
use crate::table::TableDescriptor;

/// A request for one item, before its table is known.
#[derive(Debug)]
pub struct PointRequest<'a> {
    table: std::borrow::Cow<'a, str>,
}

/// What to execute, and how to answer then.
#[derive(Debug)]
pub struct PointPlan {
    /// To be executed by the partition that holds its key.
    pub operation: Operation,
    /// Turns the outcome into the response.
    pub reply: PointReply,
}

/// Turns a point operation's outcome into the response.
#[derive(Debug)]
pub struct PointReply {}

impl<'a> PointRequest<'a> {
    /// Decodes the body of a `GetItem`, `PutItem`, `UpdateItem` or `DeleteItem`.
    ///
    /// # Errors
    /// As [`super::decode`].
    pub fn decode(operation: ApiOperation, body: &'a [u8]) -> Result<Self, ApiError> {
        unimplemented!("{operation:?} {body:?}")
    }

    /// The table's name (also when the request names it by ARN).
    #[must_use]
    pub fn table_name(&self) -> &str {
        &self.table
    }

    /// Checks the request against the table's schema.
    ///
    /// # Errors
    /// `ValidationException` for what does not fit the schema.
    pub fn plan(self, table: &TableDescriptor) -> Result<PointPlan, ApiError> {
        unimplemented!("{table:?}")
    }
}

impl PointReply {
    /// The response to `outcome`.
    #[must_use]
    pub fn answer(self, outcome: Outcome) -> Answer {
        unimplemented!("{outcome:?}")
    }
}
