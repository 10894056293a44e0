//! The expression parameters of a request, and the older ones that they replaced.

use std::collections::BTreeMap;

use super::body::Text;
use super::legacy::Older;
use crate::error::ApiError;
use crate::expression::{CheckedExpressions, ExpressionCache, ExpressionKind, RequestExpressions};
use crate::operation::EncodedItem;

/// The expressions of a request, as given.
#[derive(Debug, Default)]
pub(super) struct Expressions<'a> {
    pub(super) condition: Option<Text<'a>>,
    pub(super) filter: Option<Text<'a>>,
    pub(super) key_condition: Option<Text<'a>>,
    pub(super) projection: Option<Text<'a>>,
    pub(super) update: Option<Text<'a>>,
    pub(super) names: Option<BTreeMap<String, String>>,
    pub(super) values: Option<EncodedItem>,
    /// Which expression parameters the operation has.
    pub(super) accepted: &'static [ExpressionKind],
}

impl Expressions<'_> {
    /// Refuses a request that mixes expressions with older parameters: `older` are the names of those
    /// that it has, in DynamoDB's order.
    ///
    /// # Errors
    /// `ValidationException` that lists both kinds.
    pub(super) fn refuse_mixture(&self, older: &[(&'static str, bool)]) -> Result<(), ApiError> {
        let expressions = [
            ("ProjectionExpression", self.projection.is_some()),
            ("UpdateExpression", self.update.is_some()),
            ("FilterExpression", self.filter.is_some()),
            ("ConditionExpression", self.condition.is_some()),
            ("KeyConditionExpression", self.key_condition.is_some()),
        ];
        let older = given(older);
        let expressions = given(&expressions);
        if older.is_empty() || expressions.is_empty() {
            return Ok(());
        }
        Err(ApiError::validation(format!(
            "Can not use both expression and non-expression parameters in the same request: \
             Non-expression parameters: {{{}}} Expression parameters: {{{}}}",
            older.join(", "),
            expressions.join(", ")
        )))
    }

    /// Checks all that needs no table, with what the older parameters stand for.
    ///
    /// # Errors
    /// `ValidationException` with DynamoDB's message.
    pub(super) fn check(
        mut self,
        older: &Older<'_, '_>,
        cache: &ExpressionCache,
    ) -> Result<CheckedExpressions, ApiError> {
        if !older.are_given() {
            older.check_operator()?;
            return self.request().check(cache);
        }
        // Names and values of expressions that are not there are refused before the older parameters
        // are looked at.
        self.request().check(cache)?;
        older.translate_into(&mut self)?;
        self.request().check_translated(cache)
    }

    fn request(&self) -> RequestExpressions<'_> {
        RequestExpressions {
            condition: self.condition.as_deref(),
            filter: self.filter.as_deref(),
            key_condition: self.key_condition.as_deref(),
            projection: self.projection.as_deref(),
            update: self.update.as_deref(),
            names: self.names.as_ref(),
            values: self.values.as_ref(),
            accepted: self.accepted,
        }
    }
}

fn given(parameters: &[(&'static str, bool)]) -> Vec<&'static str> {
    parameters.iter().filter(|(_, given)| *given).map(|(name, _)| *name).collect()
}
