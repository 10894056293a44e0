//! `Query` and `Scan`: a walk over the partitions of a key range until the page is full.

use super::answer::Answer;
use super::api_operation::ApiOperation;
use crate::error::ApiError;
use crate::operation::{Page, RangeRead, StorageKey};
use crate::table::TableDescriptor;

/// A `Query` or `Scan`, before its table is known.
#[derive(Debug)]
pub struct RangeRequest<'a> {
    table: std::borrow::Cow<'a, str>,
}

/// A page being built: what to read next, and what was read so far.
///
/// ```text
/// while let Some(key) = walk.routing_key() {
///     let route = …;                                            // the partition that holds `key`
///     let read = walk.read_in(&route.range.start, route.range.end.as_deref());
///     walk.absorb(page, &route.range.start, route.range.end.as_deref());
/// }
/// walk.answer()
/// ```
#[derive(Debug)]
pub struct RangeWalk {}

impl<'a> RangeRequest<'a> {
    /// Decodes the body of a `Query` or `Scan`.
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
    pub fn plan(self, table: &TableDescriptor) -> Result<RangeWalk, ApiError> {
        unimplemented!("{table:?}")
    }
}

impl RangeWalk {
    /// A key in the partition that must be read next; none when the page is complete.
    #[must_use]
    pub fn routing_key(&self) -> Option<StorageKey> {
        unimplemented!()
    }

    /// The read for the partition that holds `start ≤ key < end` and the [`Self::routing_key`].
    #[must_use]
    pub fn read_in(&self, start: &[u8], end: Option<&[u8]>) -> RangeRead {
        unimplemented!("{start:?} {end:?}")
    }

    /// Takes in what the partition that holds `start ≤ key < end` answered to [`Self::read_in`].
    pub fn absorb(&mut self, page: Page, start: &[u8], end: Option<&[u8]>) {
        unimplemented!("{page:?} {start:?} {end:?}")
    }

    /// The response, from what was absorbed.
    #[must_use]
    pub fn answer(self) -> Answer {
        unimplemented!()
    }
}
