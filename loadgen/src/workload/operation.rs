//! The operations that a workload mixes.

use std::fmt;
use std::str::FromStr;

use super::invalid_text::InvalidText;
use super::text_form::text_form;

/// One kind of request. Its text is what a mix calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// `get`: reads an item, strongly consistent.
    GetItem,
    /// `get-eventual`: reads an item, eventually consistent, for half the price.
    GetItemEventual,
    /// `put`: writes an existing key's whole item.
    PutItem,
    /// `insert`: writes an item under a new key, on the condition that there is none.
    PutItemIfAbsent,
    /// `put-if-present`: writes an existing key's whole item, on the condition that there is one.
    PutItemIfPresent,
    /// `update`: sets one attribute by an update expression.
    UpdateItem,
    /// `increment`: adds one to the number `hits`, and has it returned, because it is part of the size.
    Increment,
    /// `delete`: deletes an item, and has the old one returned, because only that says what it cost.
    DeleteItem,
    /// `query`: reads items of one partition key in the order of the sort key, eventually consistent.
    Query,
    /// `scan`: reads a page of the table after some key, eventually consistent.
    Scan,
    /// `batch-get`: reads several items, eventually consistent.
    BatchGetItem,
    /// `batch-write`: puts several items.
    BatchWriteItem,
    /// `read-modify-write`: reads an item, strongly consistent, and then updates the same one.
    ReadModifyWrite,
}

impl Operation {
    /// Every one, in the order of reports.
    pub const ALL: [Self; 13] = [
        Self::GetItem,
        Self::GetItemEventual,
        Self::PutItem,
        Self::PutItemIfAbsent,
        Self::PutItemIfPresent,
        Self::UpdateItem,
        Self::Increment,
        Self::DeleteItem,
        Self::Query,
        Self::Scan,
        Self::BatchGetItem,
        Self::BatchWriteItem,
        Self::ReadModifyWrite,
    ];

    /// What reports call it: DynamoDB's name, with what tells variants apart.
    #[must_use]
    pub const fn api_name(self) -> &'static str {
        match self {
            Self::GetItem => "GetItem",
            Self::GetItemEventual => "GetItem (eventual)",
            Self::PutItem => "PutItem",
            Self::PutItemIfAbsent => "PutItem (if absent)",
            Self::PutItemIfPresent => "PutItem (if present)",
            Self::UpdateItem => "UpdateItem",
            Self::Increment => "UpdateItem (increment)",
            Self::DeleteItem => "DeleteItem",
            Self::Query => "Query",
            Self::Scan => "Scan",
            Self::BatchGetItem => "BatchGetItem",
            Self::BatchWriteItem => "BatchWriteItem",
            Self::ReadModifyWrite => "GetItem, then UpdateItem",
        }
    }

    /// The value of `X-Amz-Target`; of a read-modify-write, its read's.
    #[must_use]
    pub const fn target(self) -> &'static str {
        match self {
            Self::GetItem | Self::GetItemEventual | Self::ReadModifyWrite => "DynamoDB_20120810.GetItem",
            Self::PutItem | Self::PutItemIfAbsent | Self::PutItemIfPresent => "DynamoDB_20120810.PutItem",
            Self::UpdateItem | Self::Increment => "DynamoDB_20120810.UpdateItem",
            Self::DeleteItem => "DynamoDB_20120810.DeleteItem",
            Self::Query => "DynamoDB_20120810.Query",
            Self::Scan => "DynamoDB_20120810.Scan",
            Self::BatchGetItem => "DynamoDB_20120810.BatchGetItem",
            Self::BatchWriteItem => "DynamoDB_20120810.BatchWriteItem",
        }
    }

    /// What a mix calls it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::GetItem => "get",
            Self::GetItemEventual => "get-eventual",
            Self::PutItem => "put",
            Self::PutItemIfAbsent => "insert",
            Self::PutItemIfPresent => "put-if-present",
            Self::UpdateItem => "update",
            Self::Increment => "increment",
            Self::DeleteItem => "delete",
            Self::Query => "query",
            Self::Scan => "scan",
            Self::BatchGetItem => "batch-get",
            Self::BatchWriteItem => "batch-write",
            Self::ReadModifyWrite => "read-modify-write",
        }
    }

    /// Whether it reads items, and pays per 4 KB.
    #[must_use]
    pub const fn reads(self) -> bool {
        matches!(
            self,
            Self::GetItem
                | Self::GetItemEventual
                | Self::Query
                | Self::Scan
                | Self::BatchGetItem
                | Self::ReadModifyWrite
        )
    }

    /// Whether it writes items, and pays per 1 KB.
    #[must_use]
    pub const fn writes(self) -> bool {
        !self.reads() || matches!(self, Self::ReadModifyWrite)
    }

    /// How many items one request may ask for: one, if it is about a single key.
    #[must_use]
    pub const fn most_items(self) -> u32 {
        match self {
            Self::BatchGetItem => 100,
            Self::BatchWriteItem => 25,
            // A page ends at 1 MB anyway.
            Self::Query | Self::Scan => 10_000,
            _ => 1,
        }
    }

    /// How many items a request asks for when the mix does not say.
    #[must_use]
    pub const fn usual_items(self) -> u32 {
        match self {
            Self::BatchGetItem | Self::BatchWriteItem | Self::Query | Self::Scan => 10,
            _ => 1,
        }
    }
}

impl FromStr for Operation {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, InvalidText> {
        let word = text.trim().to_ascii_lowercase();
        Self::ALL.into_iter().find(|operation| operation.word() == word).ok_or_else(|| {
            let words: Vec<_> = Self::ALL.into_iter().map(Self::word).collect();
            InvalidText::new("operation", text, format!("expected one of {}", words.join(", ")))
        })
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

text_form!(Operation);
