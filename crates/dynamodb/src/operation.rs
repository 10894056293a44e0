//! What a partition executes: the typed operation that a proxy sends to a storage node, and its
//! outcome. Everything is already validated, keyed and encoded; expressions travel as their text with
//! their names and values (DynamoDB's own versionless language), and each side caches what it parsed.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::error::ApiError;

/// A key in a table's key space, in the form that orders it:
/// 16 bytes of keyed hash of the partition key, the partition key (length-prefixed), the
/// order-preserving sort key. See `key.rs`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StorageKey(pub Bytes);

/// An item in the compact binary encoding of `item.rs`: always well-formed where this type is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedItem(pub Bytes);

/// One expression's text. Equal texts share one parse in each process's cache.
pub type ExpressionText = Arc<str>;

/// `ExpressionAttributeNames` (with their `#`) and `ExpressionAttributeValues` (an encoded map whose
/// attribute names carry their `:`), shared by all the expressions of one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bindings {
    /// `#name` → attribute name.
    pub names: BTreeMap<String, String>,
    /// `:value` → value, as one encoded map.
    pub values: Option<EncodedItem>,
}

/// One operation on one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Reads one item.
    Get(Get),
    /// Replaces or creates one item.
    Put(Put),
    /// Changes or creates one item by an update expression.
    Update(Update),
    /// Deletes one item.
    Delete(Delete),
    /// Reads items in key order, at most one page.
    Range(RangeRead),
}

impl Operation {
    /// Whether it changes data, and so must be executed by the leader and logged.
    #[must_use]
    pub const fn is_write(&self) -> bool {
        matches!(self, Self::Put(_) | Self::Update(_) | Self::Delete(_))
    }

    /// The key that routes it: the item's, or where a range read starts (its end when backward).
    #[must_use]
    pub fn routing_key(&self) -> &StorageKey {
        match self {
            Self::Get(get) => &get.key,
            Self::Put(put) => &put.key,
            Self::Update(update) => &update.key,
            Self::Delete(delete) => &delete.key,
            Self::Range(range) => &range.start,
        }
    }
}

/// Reads one item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Get {
    /// Which item.
    pub key: StorageKey,
    /// Strongly consistent (the leader under its lease) or eventually (any replica).
    pub consistent: bool,
}

/// A condition on the current item, and what its failure returns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteOptions {
    /// `ConditionExpression`.
    pub condition: Option<ExpressionText>,
    /// Names and values of the condition and of the update.
    pub bindings: Bindings,
    /// `ReturnValuesOnConditionCheckFailure: ALL_OLD`.
    pub return_item_on_failure: bool,
}

/// Replaces or creates one item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Put {
    /// Which item.
    pub key: StorageKey,
    /// The whole new item, keys included.
    pub item: EncodedItem,
    /// Condition.
    pub options: WriteOptions,
    /// `ReturnValues: ALL_OLD`.
    pub return_old: bool,
}

/// Deletes one item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delete {
    /// Which item.
    pub key: StorageKey,
    /// Condition.
    pub options: WriteOptions,
    /// `ReturnValues: ALL_OLD`.
    pub return_old: bool,
}

/// Changes or creates one item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// Which item.
    pub key: StorageKey,
    /// The key attributes as an item: what a new item starts from.
    pub key_item: EncodedItem,
    /// `UpdateExpression`; none only touches (creates) the item.
    pub update: Option<ExpressionText>,
    /// Condition, and the bindings of both expressions.
    pub options: WriteOptions,
    /// `ReturnValues`.
    pub return_values: ReturnValues,
}

/// `ReturnValues` of `UpdateItem`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are DynamoDB's")]
pub enum ReturnValues {
    #[default]
    None,
    AllOld,
    UpdatedOld,
    AllNew,
    UpdatedNew,
}

/// Reads one page of items in key order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeRead {
    /// First key that may be returned.
    pub start: StorageKey,
    /// First key past the range; none: to the end of the table's key space.
    pub end: Option<StorageKey>,
    /// Key order, or its reverse.
    pub forward: bool,
    /// Strongly consistent or eventually.
    pub consistent: bool,
    /// At most so many items evaluated (`Limit`).
    pub limit: Option<u32>,
    /// Stop after the item with which the evaluated sizes reach this many bytes (1 MB).
    pub max_bytes: u64,
    /// `FilterExpression`.
    pub filter: Option<ExpressionText>,
    /// `ProjectionExpression`.
    pub projection: Option<ExpressionText>,
    /// Names and values of both.
    pub bindings: Bindings,
    /// `Select: COUNT`: count, and return no items.
    pub count_only: bool,
    /// Names of the table's key attributes: what `Page::last_key` consists of.
    pub key_attributes: Vec<String>,
}

/// What came of an operation. Expected outcomes are values: a failed condition is not an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The answer to a `Get`.
    Item(Option<EncodedItem>),
    /// A write took place.
    Written(Written),
    /// The condition did not hold; nothing changed.
    ConditionFailed {
        /// The current item, if asked for.
        item: Option<EncodedItem>,
        /// Size in bytes that the failed write is charged for (the current item's; at least 1).
        charged_size: u64,
    },
    /// The answer to a `RangeRead`.
    Page(Page),
    /// The operation was invalid against the current item (wrong operand type, item too large, …).
    Invalid(ApiError),
}

/// A write that took place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// The attributes that `ReturnValues` asked for.
    pub attributes: Option<EncodedItem>,
    /// Item size before, in bytes by DynamoDB's rules; 0 when there was none.
    pub old_size: u64,
    /// Item size after; 0 when deleted.
    pub new_size: u64,
}

/// One page of a range read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Items that passed the filter, projected; empty when only counting.
    pub items: Vec<EncodedItem>,
    /// How many passed the filter.
    pub count: u32,
    /// How many were evaluated.
    pub scanned: u32,
    /// Bytes evaluated, by DynamoDB's size rules: what the read costs.
    pub scanned_bytes: u64,
    /// The last evaluated item's key attributes, when the page ended before the range did (limit or
    /// size reached). None: the range of this partition is exhausted.
    pub last_key: Option<EncodedItem>,
}
