//! A `Query`'s or `Scan`'s page: built by walking over the partitions of a key range until the limit,
//! the size of a page or the end of the range is reached.

use bytes::Bytes;
use units::MilliUnits;

use super::answer::Answer;
use super::api_operation::ApiOperation;
use super::body::Integer;
use super::constraint::Constraints;
use super::consumed_capacity::ReturnConsumedCapacity;
use super::key_clue::KeyClue;
use super::query::QueryRequest;
use super::scan::ScanRequest;
use crate::capacity;
use crate::error::{ApiError, ErrorKind};
use crate::expression::{CheckedExpressions, ExpressionCache};
use crate::json;
use crate::key::{KeyBounds, MAX_PARTITION_KEY_BYTES, MAX_SORT_KEY_BYTES};
use crate::operation::{EncodedItem, Page, RangeRead, StorageKey};
use crate::table::TableDescriptor;

/// A page ends with the item that fills so many evaluated bytes (DynamoDB: 1 MB).
pub const MAX_PAGE_BYTES: u64 = 1024 * 1024;

/// No storage key is longer: hash, length, partition key, sort key.
const MAX_STORAGE_KEY_BYTES: usize = 16 + 2 + MAX_PARTITION_KEY_BYTES + MAX_SORT_KEY_BYTES;

/// A `Query` or `Scan`, before its table is known.
#[derive(Debug)]
pub struct RangeRequest<'a>(Kind<'a>);

#[derive(Debug)]
enum Kind<'a> {
    Query(QueryRequest<'a>),
    Scan(ScanRequest<'a>),
}

/// What a page may hold, and how its answer looks.
#[derive(Clone, Copy, Debug)]
pub(super) struct PageParameters {
    pub(super) limit: Option<u32>,
    pub(super) consistent: bool,
    pub(super) count_only: bool,
    pub(super) capacity: ReturnConsumedCapacity,
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
pub struct RangeWalk {
    table: String,
    /// What is still to be read, with what is left of the limits; none: the page is complete.
    rest: Option<RangeRead>,
    page: Page,
    consistent: bool,
    count_only: bool,
    capacity: ReturnConsumedCapacity,
}

impl<'a> RangeRequest<'a> {
    /// Decodes the body of a `Query` or `Scan`.
    ///
    /// # Errors
    /// As [`super::decode`]; `UnknownOperationException` for every other operation.
    pub fn decode(
        operation: ApiOperation,
        body: &'a [u8],
        cache: &ExpressionCache,
    ) -> Result<Self, ApiError> {
        Ok(Self(match operation {
            ApiOperation::Query => Kind::Query(QueryRequest::decode(body, cache)?),
            ApiOperation::Scan => Kind::Scan(ScanRequest::decode(body, cache)?),
            _ => return Err(ApiError::new(ErrorKind::UnknownOperation, "")),
        }))
    }

    /// The table's name (also when the request names it by ARN).
    #[must_use]
    pub fn table_name(&self) -> &str {
        match &self.0 {
            Kind::Query(request) => &request.table,
            Kind::Scan(request) => &request.table,
        }
    }

    /// What it says of the first key that it reads before the table's schema is known.
    #[must_use]
    pub fn key_clue(&self) -> KeyClue {
        match &self.0 {
            Kind::Query(request) => request.key_clue(),
            Kind::Scan(request) => request.key_clue(),
        }
    }

    /// Checks the request against the table's schema.
    ///
    /// # Errors
    /// `ValidationException` for what does not fit the schema.
    pub fn plan(self, table: &TableDescriptor) -> Result<RangeWalk, ApiError> {
        match self.0 {
            Kind::Query(request) => request.plan(table),
            Kind::Scan(request) => request.plan(table),
        }
    }
}

impl PageParameters {
    /// Reads `Limit`.
    pub(super) fn limit(given: Option<Integer>, constraints: &mut Constraints) -> Option<u32> {
        let Integer(limit) = given?;
        constraints.at_least(limit, "limit", 1);
        Some(u32::try_from(limit.max(0)).unwrap_or(u32::MAX))
    }
}

impl RangeWalk {
    pub(super) fn new(
        table: &TableDescriptor,
        bounds: KeyBounds,
        forward: bool,
        expressions: CheckedExpressions,
        parameters: PageParameters,
    ) -> Self {
        let read = RangeRead {
            start: bounds.start,
            end: bounds.end,
            forward,
            consistent: parameters.consistent,
            limit: parameters.limit,
            max_bytes: MAX_PAGE_BYTES,
            filter: expressions.filter.map(|filter| filter.text().clone()),
            projection: expressions.projection.map(|projection| projection.text().clone()),
            bindings: expressions.bindings,
            count_only: parameters.count_only,
            key_attributes: table.keys.attributes().map(|attribute| attribute.name.clone()).collect(),
        };
        Self {
            table: table.name.clone(),
            rest: Some(read).filter(|read| !is_empty(read)),
            page: Page::default(),
            consistent: parameters.consistent,
            count_only: parameters.count_only,
            capacity: parameters.capacity,
        }
    }

    /// A key in the partition that must be read next; none when the page is complete.
    #[must_use]
    pub fn routing_key(&self) -> Option<StorageKey> {
        let rest = self.rest.as_ref()?;
        Some(if rest.forward { rest.start.clone() } else { last_key_before(rest.end.as_ref()) })
    }

    /// The read for the partition that holds `start ≤ key < end` and the [`Self::routing_key`].
    ///
    /// # Panics
    /// When the page is complete.
    #[must_use]
    pub fn read_in(&self, start: &[u8], end: Option<&[u8]>) -> RangeRead {
        let mut read = self.rest.clone().expect("only an incomplete page is read for");
        if *start > *read.start.0 {
            read.start = StorageKey(Bytes::copy_from_slice(start));
        }
        if let Some(end) = end
            && read.end.as_ref().is_none_or(|asked| *end < *asked.0)
        {
            read.end = Some(StorageKey(Bytes::copy_from_slice(end)));
        }
        read
    }

    /// Takes in what the partition that holds `start ≤ key < end` answered to [`Self::read_in`].
    pub fn absorb(&mut self, page: Page, start: &[u8], end: Option<&[u8]>) {
        let Some(rest) = &mut self.rest else {
            return;
        };
        rest.limit = rest.limit.map(|limit| limit.saturating_sub(page.scanned));
        rest.max_bytes = rest.max_bytes.saturating_sub(page.scanned_bytes);
        self.page.items.extend(page.items);
        self.page.count += page.count;
        self.page.scanned += page.scanned;
        self.page.scanned_bytes += page.scanned_bytes;

        if page.last_key.is_some() {
            self.page.last_key = page.last_key;
            self.rest = None;
            return;
        }
        // The partition has no more of the range: on to its neighbour in the order of reading.
        if rest.forward {
            match end {
                Some(end) => rest.start = StorageKey(Bytes::copy_from_slice(end)),
                None => self.rest = None,
            }
        } else if start.is_empty() {
            self.rest = None;
        } else {
            rest.end = Some(StorageKey(Bytes::copy_from_slice(start)));
        }
        if self.rest.as_ref().is_some_and(is_empty) {
            self.rest = None;
        }
    }

    /// What the reads absorbed so far cost.
    #[must_use]
    pub fn consumed(&self) -> MilliUnits {
        capacity::read_cost(self.page.scanned_bytes, self.consistent)
    }

    /// The response, from what was absorbed.
    #[must_use]
    pub fn answer(self) -> Answer {
        let consumed = self.consumed();
        let items: usize = self.page.items.iter().map(|item| item.as_bytes().len() + 32).sum();
        let mut body = Vec::with_capacity(128 + items * 3 / 2);
        body.push(b'{');
        if !self.count_only {
            body.extend_from_slice(b"\"Items\":");
            write_items(&self.page.items, &mut body);
            body.push(b',');
        }
        let counts = format!("\"Count\":{},\"ScannedCount\":{}", self.page.count, self.page.scanned);
        body.extend_from_slice(counts.as_bytes());
        if let Some(key) = &self.page.last_key {
            body.extend_from_slice(b",\"LastEvaluatedKey\":");
            json::write_item(key.view(), &mut body);
        }
        self.capacity.write_member(&mut body, &self.table, consumed);
        body.push(b'}');
        Answer::success(body, consumed)
    }
}

/// Appends a JSON list of items.
pub(super) fn write_items(items: &[EncodedItem], body: &mut Vec<u8>) {
    body.push(b'[');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        json::write_item(item.view(), body);
    }
    body.push(b']');
}

fn is_empty(read: &RangeRead) -> bool {
    read.end.as_ref().is_some_and(|end| read.start >= *end)
}

/// A key at or after every storage key that is before `end`, and itself before `end`.
fn last_key_before(end: Option<&StorageKey>) -> StorageKey {
    let mut key = match end {
        None => Vec::new(),
        Some(end) => end.0.to_vec(),
    };
    match key.last_mut() {
        // Nothing lies between `x` and `x` followed by zero.
        Some(0) => {
            key.pop();
            return StorageKey(key.into());
        }
        Some(last) => *last -= 1,
        None => {}
    }
    key.resize(MAX_STORAGE_KEY_BYTES.max(key.len()) + 1, 0xFF);
    StorageKey(key.into())
}

#[cfg(test)]
mod tests;
