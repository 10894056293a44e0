//! A decoded request, whatever its operation.

use super::api_operation::ApiOperation;
use super::batch_get_item::BatchGetRequest;
use super::batch_write_item::BatchWriteRequest;
use super::list_tables::ListTables;
use super::point::PointRequest;
use super::range_walk::RangeRequest;
use super::{create_table, describe, update_table};
use crate::error::ApiError;
use crate::expression::ExpressionCache;
use crate::table::{NewTable, TableChange};

/// A request that passed every check that needs no table.
#[derive(Debug)]
pub enum Request<'a> {
    /// `GetItem`, `PutItem`, `UpdateItem`, `DeleteItem`.
    Point(Box<PointRequest<'a>>),
    /// `Query`, `Scan`.
    Range(Box<RangeRequest<'a>>),
    /// `BatchGetItem`.
    BatchGet(BatchGetRequest),
    /// `BatchWriteItem`.
    BatchWrite(BatchWriteRequest),
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

/// Decodes and validates the body of a request for `operation`.
///
/// # Errors
/// `SerializationException` for what is not the operation's JSON; `ValidationException` for what
/// DynamoDB refuses before it looks at the table.
pub fn decode<'a>(
    operation: ApiOperation,
    body: &'a [u8],
    cache: &ExpressionCache,
) -> Result<Request<'a>, ApiError> {
    Ok(match operation {
        ApiOperation::GetItem
        | ApiOperation::PutItem
        | ApiOperation::UpdateItem
        | ApiOperation::DeleteItem => Request::Point(Box::new(PointRequest::decode(operation, body, cache)?)),
        ApiOperation::Query | ApiOperation::Scan => {
            Request::Range(Box::new(RangeRequest::decode(operation, body, cache)?))
        }
        ApiOperation::BatchGetItem => Request::BatchGet(BatchGetRequest::decode(body, cache)?),
        ApiOperation::BatchWriteItem => Request::BatchWrite(BatchWriteRequest::decode(body)?),
        ApiOperation::CreateTable => Request::CreateTable(Box::new(create_table::decode(body)?)),
        ApiOperation::UpdateTable => Request::UpdateTable(Box::new(update_table::decode(body)?)),
        ApiOperation::DeleteTable => Request::DeleteTable(describe::decode_name(body)?),
        ApiOperation::DescribeTable => Request::DescribeTable(describe::decode_name(body)?),
        ApiOperation::ListTables => Request::ListTables(ListTables::decode(body)?),
        ApiOperation::DescribeLimits => {
            describe::decode_empty(body)?;
            Request::DescribeLimits
        }
        ApiOperation::DescribeEndpoints => {
            describe::decode_empty(body)?;
            Request::DescribeEndpoints
        }
    })
}
