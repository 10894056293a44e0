//! Which operation a request names.

use crate::error::{ApiError, ErrorKind};

/// The operations that Weir answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are DynamoDB's")]
pub enum ApiOperation {
    BatchGetItem,
    BatchWriteItem,
    CreateTable,
    DeleteItem,
    DeleteTable,
    DescribeEndpoints,
    DescribeLimits,
    DescribeTable,
    GetItem,
    ListTables,
    PutItem,
    Query,
    Scan,
    UpdateItem,
    UpdateTable,
}

/// What precedes the operation's name in `X-Amz-Target`: the API's version.
const TARGET_PREFIX: &str = "DynamoDB_20120810.";

impl ApiOperation {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::BatchGetItem,
        Self::BatchWriteItem,
        Self::CreateTable,
        Self::DeleteItem,
        Self::DeleteTable,
        Self::DescribeEndpoints,
        Self::DescribeLimits,
        Self::DescribeTable,
        Self::GetItem,
        Self::ListTables,
        Self::PutItem,
        Self::Query,
        Self::Scan,
        Self::UpdateItem,
        Self::UpdateTable,
    ];

    /// Reads the value of the `X-Amz-Target` header (`DynamoDB_20120810.GetItem`).
    ///
    /// # Errors
    /// `UnknownOperationException` for every other target.
    pub fn from_target(target: &str) -> Result<Self, ApiError> {
        target
            .strip_prefix(TARGET_PREFIX)
            .and_then(|name| Self::ALL.into_iter().find(|operation| operation.name() == name))
            .ok_or_else(|| ApiError::new(ErrorKind::UnknownOperation, ""))
    }

    /// DynamoDB's name for it: also the label of metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::BatchGetItem => "BatchGetItem",
            Self::BatchWriteItem => "BatchWriteItem",
            Self::CreateTable => "CreateTable",
            Self::DeleteItem => "DeleteItem",
            Self::DeleteTable => "DeleteTable",
            Self::DescribeEndpoints => "DescribeEndpoints",
            Self::DescribeLimits => "DescribeLimits",
            Self::DescribeTable => "DescribeTable",
            Self::GetItem => "GetItem",
            Self::ListTables => "ListTables",
            Self::PutItem => "PutItem",
            Self::Query => "Query",
            Self::Scan => "Scan",
            Self::UpdateItem => "UpdateItem",
            Self::UpdateTable => "UpdateTable",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_is_found_by_its_target() {
        for operation in ApiOperation::ALL {
            let target = format!("{TARGET_PREFIX}{}", operation.name());
            assert_eq!(ApiOperation::from_target(&target), Ok(operation));
        }
    }

    #[test]
    fn another_version_or_name_is_an_unknown_operation() {
        for target in ["", "GetItem", "DynamoDB_20111205.GetItem", "DynamoDB_20120810.Transmute"] {
            let error = ApiOperation::from_target(target).unwrap_err();
            assert_eq!(error.kind, ErrorKind::UnknownOperation, "{target}");
        }
    }
}
