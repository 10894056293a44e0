//! Execution of operations on the current items: pure, and the same in every engine.
//!
//! A write is evaluated once, against the newest item, and becomes an [`Effect`]: what replicas apply.
//! A range read is fed items in order and says when its page is full.

use std::sync::Arc;

use crate::error::ApiError;
use crate::expression::{Condition, ExpressionCache, ExpressionKind, Projection};
use crate::item::ItemView;
use crate::item_builder::{BuildError, ItemBuilder};
use crate::json::MAX_LEVELS;
use crate::operation::{
    Delete, EncodedItem, Operation, Outcome, Page, Put, RangeRead, ReturnValues, Update, WriteOptions,
    Written,
};
use crate::size::MAX_ITEM_BYTES;

const TOO_LARGE: &str = "Item size has exceeded the maximum allowed size";
const TOO_LARGE_UPDATE: &str = "Item size to update has exceeded the maximum allowed size";
const TOO_DEEP: &str = "Nesting Levels have exceeded supported limits";

/// What a write does to the item under its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing: refused, or the item already is as it shall be.
    None,
    /// Replaces or creates the item.
    Put(EncodedItem),
    /// Removes the item.
    Delete,
}

/// What came of evaluating a write: the answer, which goes out once the effect is committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The answer.
    pub outcome: Outcome,
    /// The change.
    pub effect: Effect,
}

impl Decision {
    fn unchanged(outcome: Outcome) -> Self {
        Self { outcome, effect: Effect::None }
    }
}

/// Evaluates a write against the current item.
///
/// # Panics
/// When `operation` is a read.
#[must_use]
pub fn execute_write(
    operation: &Operation,
    current: Option<&EncodedItem>,
    expressions: &ExpressionCache,
) -> Decision {
    let decided = match operation {
        Operation::Put(put) => decide_put(put, current, expressions),
        Operation::Delete(delete) => decide_delete(delete, current, expressions),
        Operation::Update(update) => decide_update(update, current, expressions),
        Operation::Get(_) | Operation::Range(_) => unreachable!("reads change nothing"),
    };
    decided.unwrap_or_else(|error| Decision::unchanged(Outcome::Invalid(error)))
}

fn decide_put(
    put: &Put,
    current: Option<&EncodedItem>,
    expressions: &ExpressionCache,
) -> Result<Decision, ApiError> {
    let new_size = put.item.view().size();
    if new_size > MAX_ITEM_BYTES {
        return Err(ApiError::validation(TOO_LARGE));
    }
    if let Some(failed) = check_condition(&put.options, current, expressions)? {
        return Ok(Decision::unchanged(failed));
    }
    let attributes = current.filter(|_| put.return_old).cloned();
    let written = Written { attributes, old_size: size_of(current), new_size };
    Ok(Decision { outcome: Outcome::Written(written), effect: Effect::Put(put.item.clone()) })
}

fn decide_delete(
    delete: &Delete,
    current: Option<&EncodedItem>,
    expressions: &ExpressionCache,
) -> Result<Decision, ApiError> {
    if let Some(failed) = check_condition(&delete.options, current, expressions)? {
        return Ok(Decision::unchanged(failed));
    }
    let attributes = current.filter(|_| delete.return_old).cloned();
    let written = Written { attributes, old_size: size_of(current), new_size: 0 };
    let effect = if current.is_some() { Effect::Delete } else { Effect::None };
    Ok(Decision { outcome: Outcome::Written(written), effect })
}

fn decide_update(
    update: &Update,
    current: Option<&EncodedItem>,
    expressions: &ExpressionCache,
) -> Result<Decision, ApiError> {
    if let Some(failed) = check_condition(&update.options, current, expressions)? {
        return Ok(Decision::unchanged(failed));
    }
    let before = current.unwrap_or(&update.key_item);
    let Some(text) = &update.update else {
        let attributes = match update.return_values {
            ReturnValues::AllOld => current.cloned(),
            ReturnValues::AllNew => Some(before.clone()),
            _ => None,
        };
        return Ok(updated(current, before.clone(), attributes));
    };

    // The encoding holds no longer names; an update could create one by a placeholder.
    if update.options.bindings.names.values().any(|name| u16::try_from(name.len()).is_err()) {
        return Err(ApiError::validation(BuildError::NameTooLong.to_string()));
    }
    let result = expressions.update(text)?.apply(before.view(), &update.options.bindings)?;
    let after = EncodedItem::encode(&result.item);
    check_updated(update, after.view())?;
    let touched =
        |item: &EncodedItem| Some(result.touched.project(item.view())).filter(|part| !part.view().is_empty());
    let attributes = match update.return_values {
        ReturnValues::None => None,
        ReturnValues::AllOld => current.cloned(),
        ReturnValues::AllNew => Some(after.clone()),
        ReturnValues::UpdatedOld => current.and_then(touched),
        ReturnValues::UpdatedNew => touched(&after),
    };
    Ok(updated(current, after, attributes))
}

fn updated(current: Option<&EncodedItem>, after: EncodedItem, attributes: Option<EncodedItem>) -> Decision {
    let (old_size, new_size) = (size_of(current), after.view().size());
    let outcome = Outcome::Written(Written { attributes, old_size, new_size });
    let effect = if current == Some(&after) { Effect::None } else { Effect::Put(after) };
    Decision { outcome, effect }
}

/// Refuses an updated item that is too large or too deep, or whose key attributes changed.
fn check_updated(update: &Update, after: ItemView<'_>) -> Result<(), ApiError> {
    for (name, value) in update.key_item.view().iter() {
        if after.get(name) != Some(value) {
            return Err(ApiError::validation(format!(
                "One or more parameter values were invalid: Cannot update attribute {name}. \
                 This attribute is part of the key"
            )));
        }
    }
    if after.depth() >= MAX_LEVELS {
        return Err(ApiError::validation(TOO_DEEP));
    }
    if after.size() > MAX_ITEM_BYTES {
        return Err(ApiError::validation(TOO_LARGE_UPDATE));
    }
    Ok(())
}

/// The outcome of a condition that does not hold; none when it holds or there is none.
fn check_condition(
    options: &WriteOptions,
    current: Option<&EncodedItem>,
    expressions: &ExpressionCache,
) -> Result<Option<Outcome>, ApiError> {
    let Some(text) = &options.condition else { return Ok(None) };
    let condition = expressions.condition(ExpressionKind::Condition, text)?;
    if condition.evaluate(current.map(EncodedItem::view), &options.bindings)? {
        return Ok(None);
    }
    Ok(Some(Outcome::ConditionFailed {
        item: current.filter(|_| options.return_item_on_failure).cloned(),
        charged_size: size_of(current).max(1),
    }))
}

fn size_of(item: Option<&EncodedItem>) -> u64 {
    item.map_or(0, |item| item.view().size())
}

/// Whether a page takes more items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Feed it the next item.
    Continue,
    /// The page is full.
    Stop,
}

/// Evaluates a range read over items that it is fed in the read's order.
#[derive(Debug)]
pub struct PageBuilder<'r> {
    read: &'r RangeRead,
    filter: Option<Arc<Condition>>,
    projection: Option<Arc<Projection>>,
    page: Page,
}

impl<'r> PageBuilder<'r> {
    /// An empty page.
    ///
    /// # Errors
    /// The filter or the projection is not well-formed.
    pub fn new(read: &'r RangeRead, expressions: &ExpressionCache) -> Result<Self, ApiError> {
        let filter = read.filter.as_ref();
        let filter = filter.map(|text| expressions.condition(ExpressionKind::Filter, text));
        let projection = read.projection.as_ref().map(|text| expressions.projection(text));
        Ok(Self {
            read,
            filter: filter.transpose()?,
            projection: projection.transpose()?,
            page: Page::default(),
        })
    }

    /// Evaluates the next item of the range.
    ///
    /// # Errors
    /// The filter or the projection cannot be evaluated: the answer is [`Outcome::Invalid`].
    pub fn push(&mut self, item: &EncodedItem) -> Result<Flow, ApiError> {
        let view = item.view();
        self.page.scanned += 1;
        self.page.scanned_bytes += view.size();
        let passes = match &self.filter {
            Some(filter) => filter.evaluate(Some(view), &self.read.bindings)?,
            None => true,
        };
        if passes {
            self.page.count += 1;
            if !self.read.count_only {
                self.page.items.push(match &self.projection {
                    Some(projection) => projection.apply(view, &self.read.bindings)?,
                    None => item.clone(),
                });
            }
        }
        let full = self.read.limit.is_some_and(|limit| self.page.scanned >= limit)
            || self.page.scanned_bytes >= self.read.max_bytes;
        if !full {
            return Ok(Flow::Continue);
        }
        self.page.last_key = Some(key_attributes(view, &self.read.key_attributes));
        Ok(Flow::Stop)
    }

    /// The page, once it is full or the range has no more items.
    #[must_use]
    pub fn finish(self) -> Page {
        self.page
    }
}

/// The attributes called `names`, as an item.
fn key_attributes(item: ItemView<'_>, names: &[String]) -> EncodedItem {
    let mut builder = ItemBuilder::with_capacity(64);
    for name in names {
        if let Some(value) = item.get(name) {
            builder.name(name).expect("a name that the item has is short enough");
            builder.value_ref(value);
        }
    }
    builder.finish().unwrap_or_else(|_| EncodedItem::empty())
}

#[cfg(test)]
mod tests;
