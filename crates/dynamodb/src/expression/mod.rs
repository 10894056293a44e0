//! The expression languages: conditions and filters, key conditions, projections, updates.
//!
//! A text is parsed once into a tree that keeps its placeholders (`#name`, `:value`), and the tree is
//! cached under its text: [`ExpressionCache`]. Names and values are bound when it is evaluated, from the
//! request's [`Bindings`].
//!
//! The proxy checks a request's expressions with [`RequestExpressions`], with DynamoDB's messages; a
//! storage node evaluates them, on encoded items, and trusts the proxy for everything but its own
//! safety: no text, however wrong, makes it panic or exhaust its stack.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::ApiError;
use crate::item::{ItemView, ValueRef};
use crate::key::SortCondition;
use crate::operation::{Bindings, EncodedItem, ExpressionText};
use crate::table::KeySchema;
use crate::value::Item;

/// Which parameter of a request holds an expression; it words the errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names are DynamoDB's")]
pub enum ExpressionKind {
    Condition,
    Filter,
    KeyCondition,
    Projection,
    Update,
}

/// A parsed `ConditionExpression` or `FilterExpression`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    text: ExpressionText,
}

impl Condition {
    /// The text that it was parsed from.
    #[must_use]
    pub fn text(&self) -> &ExpressionText {
        &self.text
    }

    /// Whether `item` (none: there is no item) satisfies the condition.
    ///
    /// # Errors
    /// `ValidationException` when a placeholder has no binding.
    pub fn evaluate(&self, _item: Option<ItemView<'_>>, _bindings: &Bindings) -> Result<bool, ApiError> {
        unimplemented!()
    }
}

/// A parsed `ProjectionExpression`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Projection {
    text: ExpressionText,
}

impl Projection {
    /// The text that it was parsed from.
    #[must_use]
    pub fn text(&self) -> &ExpressionText {
        &self.text
    }

    /// The parts of `item` that the paths name.
    ///
    /// # Errors
    /// `ValidationException` when a placeholder has no binding.
    pub fn apply(&self, _item: ItemView<'_>, _bindings: &Bindings) -> Result<EncodedItem, ApiError> {
        unimplemented!()
    }
}

/// A parsed `UpdateExpression`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdateExpression {
    text: ExpressionText,
}

/// What an update made of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Updated {
    /// The new item.
    pub item: Item,
    /// The paths that the update named.
    pub touched: TouchedPaths,
}

/// The paths that an update named, resolved: what `UPDATED_OLD` and `UPDATED_NEW` return.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TouchedPaths(Vec<String>);

impl TouchedPaths {
    /// The touched parts of `item` (the item before for `UPDATED_OLD`, after for `UPDATED_NEW`);
    /// empty when it has none of them.
    #[must_use]
    pub fn project(&self, _item: &Item) -> Item {
        unimplemented!()
    }
}

impl UpdateExpression {
    /// The text that it was parsed from.
    #[must_use]
    pub fn text(&self) -> &ExpressionText {
        &self.text
    }

    /// Applies it to the current item, or to the key attributes where there is none yet.
    ///
    /// # Errors
    /// `ValidationException` when an operand or a path does not fit the item.
    pub fn apply(&self, _current: &Item, _bindings: &Bindings) -> Result<Updated, ApiError> {
        unimplemented!()
    }
}

/// A parsed `KeyConditionExpression`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyConditionExpression {
    text: ExpressionText,
}

/// What a query asks of the keys; the values are in the request's bindings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyCondition<'a> {
    /// The partition key's value.
    pub partition: ValueRef<'a>,
    /// The condition on the sort key.
    pub sort: Option<SortCondition<'a>>,
}

/// Parsed expressions under their texts; bounded, shared by threads, without a clock.
#[derive(Debug, Default)]
pub struct ExpressionCache {}

impl ExpressionCache {
    /// The parse of a `ConditionExpression` or `FilterExpression`.
    ///
    /// # Errors
    /// `ValidationException` with DynamoDB's message.
    pub fn condition(&self, _kind: ExpressionKind, _text: &str) -> Result<Arc<Condition>, ApiError> {
        unimplemented!()
    }

    /// The parse of a `ProjectionExpression`.
    ///
    /// # Errors
    /// `ValidationException` with DynamoDB's message.
    pub fn projection(&self, _text: &str) -> Result<Arc<Projection>, ApiError> {
        unimplemented!()
    }

    /// The parse of an `UpdateExpression`.
    ///
    /// # Errors
    /// `ValidationException` with DynamoDB's message.
    pub fn update(&self, _text: &str) -> Result<Arc<UpdateExpression>, ApiError> {
        unimplemented!()
    }

    /// The parse of a `KeyConditionExpression`.
    ///
    /// # Errors
    /// `ValidationException` with DynamoDB's message.
    pub fn key_condition(&self, _text: &str) -> Result<Arc<KeyConditionExpression>, ApiError> {
        unimplemented!()
    }
}

/// The expression parameters of one request, as given. Absent and empty differ.
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestExpressions<'a> {
    /// `ConditionExpression`.
    pub condition: Option<&'a str>,
    /// `FilterExpression`.
    pub filter: Option<&'a str>,
    /// `KeyConditionExpression`.
    pub key_condition: Option<&'a str>,
    /// `ProjectionExpression`.
    pub projection: Option<&'a str>,
    /// `UpdateExpression`.
    pub update: Option<&'a str>,
    /// `ExpressionAttributeNames`.
    pub names: Option<&'a BTreeMap<String, String>>,
    /// `ExpressionAttributeValues`, their values already validated.
    pub values: Option<&'a EncodedItem>,
    /// Which expression parameters the operation has: words "… can only be specified when using
    /// expressions: ConditionExpression is null".
    pub accepted: &'a [ExpressionKind],
}

/// The checked expressions of one request, with their bindings encoded.
#[derive(Clone, Debug, Default)]
pub struct CheckedExpressions {
    /// `ConditionExpression`.
    pub condition: Option<Arc<Condition>>,
    /// `FilterExpression`.
    pub filter: Option<Arc<Condition>>,
    /// `KeyConditionExpression`.
    pub key_condition: Option<Arc<KeyConditionExpression>>,
    /// `ProjectionExpression`.
    pub projection: Option<Arc<Projection>>,
    /// `UpdateExpression`.
    pub update: Option<Arc<UpdateExpression>>,
    /// The names and values that operations carry.
    pub bindings: Bindings,
}

impl RequestExpressions<'_> {
    /// Checks all that needs no table: syntax, names, values, operand types, limits, unused bindings.
    ///
    /// # Errors
    /// `ValidationException` with DynamoDB's message.
    pub fn check(&self, _cache: &ExpressionCache) -> Result<CheckedExpressions, ApiError> {
        unimplemented!()
    }
}

impl CheckedExpressions {
    /// Resolves the key condition against the table's keys.
    ///
    /// # Errors
    /// `ValidationException` with DynamoDB's message; also when there is no key condition.
    pub fn key_condition(&self, _keys: &KeySchema) -> Result<KeyCondition<'_>, ApiError> {
        unimplemented!()
    }

    /// Checks what the other expressions say of key attributes: an update must not name one, a query's
    /// filter must not either, and no path may step into one.
    ///
    /// # Errors
    /// `ValidationException` with DynamoDB's message.
    pub fn check_keys(&self, _keys: &KeySchema) -> Result<(), ApiError> {
        unimplemented!()
    }
}
