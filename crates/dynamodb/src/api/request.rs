//! A decoded request, whatever its operation, and what operations cost.

use units::MilliUnits;

use super::api_operation::ApiOperation;
use super::batch_get_item::BatchGetRequest;
use super::batch_write_item::BatchWriteRequest;
use super::point::PointRequest;
use super::range_walk::RangeRequest;
use super::tables::{self, ListTables};
use crate::error::ApiError;
use crate::operation::{Operation, Outcome};
use crate::table::{NewTable, TableChange};

/// A request that passed every check that needs no table.
#[derive(Debug)]
pub enum Request<'a> {
    /// `GetItem`, `PutItem`, `UpdateItem`, `DeleteItem`.
    Point(PointRequest<'a>),
    /// `Query`, `Scan`.
    Range(RangeRequest<'a>),
    /// `BatchGetItem`.
    BatchGet(BatchGetRequest<'a>),
    /// `BatchWriteItem`.
    BatchWrite(BatchWriteRequest<'a>),
    /// `CreateTable`: for the control plane.
    CreateTable(Box<NewTable>),
    /// `UpdateTable`: for the control plane.
    UpdateTable(Box<TableChange>),
    /// `DeleteTable`, with the table's name.
    DeleteTable(String),
    /// `DescribeTable`, with the table's name.
    DescribeTable(String),
    /// `ListTables`.
    ListTables(ListTables),
    /// `DescribeLimits`.
    DescribeLimits,
    /// `DescribeEndpoints`.
    DescribeEndpoints,
}

/// One operation of a batch.
#[derive(Clone, Debug)]
pub struct BatchOperation {
    /// Which of the batch's tables: an index into `table_names()`.
    pub table: usize,
    /// What to do there.
    pub operation: Operation,
}

/// An amount of capacity of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cost {
    /// Read capacity.
    Read(MilliUnits),
    /// Write capacity.
    Write(MilliUnits),
}

/// Decodes and validates the body of a request for `operation`.
///
/// # Errors
/// `SerializationException` for what is not the operation's JSON; `ValidationException` for what
/// DynamoDB refuses before it looks at the table.
pub fn decode(operation: ApiOperation, body: &[u8]) -> Result<Request<'_>, ApiError> {
    Ok(match operation {
        ApiOperation::GetItem
        | ApiOperation::PutItem
        | ApiOperation::UpdateItem
        | ApiOperation::DeleteItem => Request::Point(PointRequest::decode(operation, body)?),
        ApiOperation::Query | ApiOperation::Scan => {
            Request::Range(RangeRequest::decode(operation, body)?)
        }
        ApiOperation::BatchGetItem => Request::BatchGet(BatchGetRequest::decode(body)?),
        ApiOperation::BatchWriteItem => Request::BatchWrite(BatchWriteRequest::decode(body)?),
        ApiOperation::CreateTable => Request::CreateTable(Box::new(tables::decode_create(body)?)),
        ApiOperation::UpdateTable => Request::UpdateTable(Box::new(tables::decode_update(body)?)),
        ApiOperation::DeleteTable => Request::DeleteTable(tables::decode_name(body)?),
        ApiOperation::DescribeTable => Request::DescribeTable(tables::decode_name(body)?),
        ApiOperation::ListTables => Request::ListTables(ListTables::decode(body)?),
        ApiOperation::DescribeLimits => Request::DescribeLimits,
        ApiOperation::DescribeEndpoints => Request::DescribeEndpoints,
    })
}

/// The least that `operation` costs as far as is known before it is executed: what admission takes
/// at first. [`charge`] says the whole once the outcome is known.
#[must_use]
pub fn estimate(operation: &Operation) -> Cost {
    unimplemented!("{operation:?}")
}

/// What `operation` cost, given its outcome.
#[must_use]
pub fn charge(operation: &Operation, outcome: &Outcome) -> Cost {
    unimplemented!("{operation:?} {outcome:?}")
}
