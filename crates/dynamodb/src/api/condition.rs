//! The condition of a write: a `ConditionExpression`, or the older `Expected`.

use super::constraint::enveloped;
use super::expression_parameters::Expressions;
use super::legacy::Older;
use crate::error::ApiError;
use crate::expression::{CheckedExpressions, ExpressionCache};
use crate::operation::WriteOptions;
use crate::table::KeySchema;

/// The checked expressions of a write, with the condition among them.
#[derive(Debug)]
pub(super) struct Condition(CheckedExpressions);

impl Condition {
    /// Checks the expressions, with what the older parameters stand for.
    ///
    /// # Errors
    /// `ValidationException`: the parameters are mixed or wrong.
    pub(super) fn check(
        expressions: Expressions<'_>,
        older: &Older<'_, '_>,
        cache: &ExpressionCache,
    ) -> Result<Self, ApiError> {
        expressions
            .refuse_mixture(&[
                ("AttributeUpdates", older.updates.is_some()),
                ("Expected", older.expected.is_some()),
                ("ConditionalOperator", older.operator.is_some()),
            ])
            .and_then(|()| expressions.check(older, cache))
            .map(Self)
            .map_err(enveloped)
    }

    /// Checks what the expressions say of key attributes.
    ///
    /// # Errors
    /// `ValidationException`.
    pub(super) fn check_keys(&self, keys: &KeySchema) -> Result<(), ApiError> {
        self.0.check_keys(keys)
    }

    /// The `UpdateExpression`'s text, when there is one.
    pub(super) fn update(&self) -> Option<crate::operation::ExpressionText> {
        self.0.update.as_ref().map(|update| update.text().clone())
    }

    /// What an operation carries of it.
    pub(super) fn into_options(self, return_item_on_failure: bool) -> WriteOptions {
        WriteOptions {
            condition: self.0.condition.map(|condition| condition.text().clone()),
            bindings: self.0.bindings,
            return_item_on_failure,
        }
    }
}
