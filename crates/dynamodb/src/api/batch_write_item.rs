//! `BatchWriteItem`: many point operations, answered together.

use super::answer::Answer;
use super::request::BatchOperation;
use crate::error::ApiError;
use crate::operation::Outcome;
use crate::table::TableDescriptor;

/// A `BatchWriteItem`, before its tables are known.
#[derive(Debug)]
pub struct BatchWriteRequest<'a> {
    tables: Vec<std::borrow::Cow<'a, str>>,
}

/// Turns the outcomes of the batch's operations into the response.
#[derive(Debug)]
pub struct BatchWriteReply {}

impl<'a> BatchWriteRequest<'a> {
    /// Decodes the body.
    ///
    /// # Errors
    /// As [`super::decode`].
    pub fn decode(body: &'a [u8]) -> Result<Self, ApiError> {
        unimplemented!("{body:?}")
    }

    /// The names of the tables that it touches, each once (also when the request has an ARN).
    pub fn table_names(&self) -> impl Iterator<Item = &str> {
        self.tables.iter().map(AsRef::as_ref)
    }

    /// Checks the request against the tables' schemas, given in the order of `table_names()`.
    ///
    /// # Errors
    /// `ValidationException` for what does not fit a schema, or for a key given twice.
    pub fn plan(
        self,
        tables: &[&TableDescriptor],
    ) -> Result<(Vec<BatchOperation>, BatchWriteReply), ApiError> {
        unimplemented!("{tables:?}")
    }
}

impl BatchWriteReply {
    /// The response. `results` are in the order of the operations; an operation that was throttled or
    /// failed is answered as unprocessed, unless all were: then the first error is the answer.
    #[must_use]
    pub fn answer(self, results: Vec<Result<Outcome, ApiError>>) -> Answer {
        unimplemented!("{results:?}")
    }
}
