//! The table operations: commands for the control plane, and descriptions.

use crate::error::ApiError;
use crate::table::{NewTable, TableChange, TableDescriptor};

/// `ListTables`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListTables {
    /// `ExclusiveStartTableName`.
    pub start: Option<String>,
    /// `Limit`: 1 to 100.
    pub limit: u32,
}

impl ListTables {
    /// Decodes the body.
    ///
    /// # Errors
    /// As [`super::decode`].
    pub fn decode(body: &[u8]) -> Result<Self, ApiError> {
        unimplemented!("{body:?}")
    }
}

pub(super) fn decode_create(body: &[u8]) -> Result<NewTable, ApiError> {
    unimplemented!("{body:?}")
}

pub(super) fn decode_update(body: &[u8]) -> Result<TableChange, ApiError> {
    unimplemented!("{body:?}")
}

pub(super) fn decode_name(body: &[u8]) -> Result<String, ApiError> {
    unimplemented!("{body:?}")
}

/// The body that describes a table: `member` is `Table` for `DescribeTable`, `TableDescription` for
/// the operations that change it.
#[must_use]
pub fn table_body(member: &str, table: &TableDescriptor) -> Vec<u8> {
    unimplemented!("{member} {table:?}")
}

/// The body of `ListTables`: names in order, and the last one when there are more.
#[must_use]
pub fn list_tables_body(names: &[&str], last: Option<&str>) -> Vec<u8> {
    unimplemented!("{names:?} {last:?}")
}

/// The body of `DescribeLimits`.
#[must_use]
pub fn describe_limits_body() -> Vec<u8> {
    unimplemented!()
}

/// The body of `DescribeEndpoints`: `host` is the address that the client used.
#[must_use]
pub fn describe_endpoints_body(host: &str) -> Vec<u8> {
    unimplemented!("{host}")
}
