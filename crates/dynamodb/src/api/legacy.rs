//! The parameters that expressions replaced: read here, translated into expressions at the edge.

use std::collections::BTreeMap;

use super::body::{Text, body};
use super::constraint::Constraints;
use super::expression_parameters::Expressions;
use crate::error::ApiError;
use crate::expression::legacy::{
    AttributeCondition, AttributeUpdate, ConditionalOperator, ExpectedAttribute, Translation,
};
use crate::value::AttributeValue;

body! {
    /// One entry of `Expected`.
    pub(super) struct ExpectedEntry<'a> {
        value: AttributeValue = "Value",
        exists: bool = "Exists",
        comparison_operator: Text<'a> = "ComparisonOperator",
        attribute_value_list: Vec<AttributeValue> = "AttributeValueList",
    }
}

body! {
    /// One entry of `AttributeUpdates`.
    pub(super) struct UpdateEntry<'a> {
        value: AttributeValue = "Value",
        action: Text<'a> = "Action",
    }
}

body! {
    /// One entry of `KeyConditions`, `QueryFilter` or `ScanFilter`.
    pub(super) struct ConditionEntry<'a> {
        comparison_operator: Text<'a> = "ComparisonOperator",
        attribute_value_list: Vec<AttributeValue> = "AttributeValueList",
    }
}

/// `Expected`.
pub(super) type Expected<'a> = BTreeMap<String, ExpectedEntry<'a>>;
/// `AttributeUpdates`.
pub(super) type AttributeUpdates<'a> = BTreeMap<String, UpdateEntry<'a>>;
/// `KeyConditions`, `QueryFilter`, `ScanFilter`.
pub(super) type Conditions<'a> = BTreeMap<String, ConditionEntry<'a>>;

/// The older parameters of one request that stand for expressions.
#[derive(Debug, Default)]
pub(super) struct Older<'r, 'a> {
    pub(super) expected: Option<&'r Expected<'a>>,
    pub(super) updates: Option<&'r AttributeUpdates<'a>>,
    pub(super) key_conditions: Option<&'r Conditions<'a>>,
    pub(super) filter: Option<&'r Conditions<'a>>,
    pub(super) attributes_to_get: Option<&'r [Text<'a>]>,
    /// `ConditionalOperator`.
    pub(super) operator: Option<&'r str>,
}

impl Older<'_, '_> {
    /// Whether there are any.
    pub(super) const fn are_given(&self) -> bool {
        self.expected.is_some()
            || self.updates.is_some()
            || self.key_conditions.is_some()
            || self.filter.is_some()
            || self.attributes_to_get.is_some()
    }

    /// Puts the expressions that they stand for into `expressions`, which has none of its own.
    ///
    /// # Errors
    /// `ValidationException` with DynamoDB's message.
    pub(super) fn translate_into(&self, expressions: &mut Expressions<'_>) -> Result<(), ApiError> {
        self.check_operator()?;
        let joined_by = match self.operator {
            Some("OR") => ConditionalOperator::Or,
            _ => ConditionalOperator::And,
        };
        let mut translation = Translation::new();
        if let Some(updates) = self.updates {
            let updates = updates.iter().map(|(name, entry)| (&**name, entry.as_update()));
            expressions.update = text(translation.attribute_updates(updates)?);
        }
        if let Some(expected) = self.expected {
            let expected = expected.iter().map(|(name, entry)| (&**name, entry.as_expected()));
            expressions.condition = text(translation.expected(expected, joined_by)?);
        }
        if let Some(conditions) = self.key_conditions {
            let conditions = conditions.iter().map(|(name, entry)| (&**name, entry.as_condition()));
            expressions.key_condition = text(translation.key_conditions(conditions)?);
        }
        if let Some(filter) = self.filter {
            let filter = filter.iter().map(|(name, entry)| (&**name, entry.as_condition()));
            expressions.filter = text(translation.filter(filter, joined_by)?);
        }
        if let Some(names) = self.attributes_to_get {
            expressions.projection = text(translation.attributes_to_get(names.iter().map(|name| &**name))?);
        }
        (expressions.names, expressions.values) = translation.finish();
        Ok(())
    }

    /// Checks `ConditionalOperator`, which only joins two conditions or more.
    ///
    /// # Errors
    /// `ValidationException`.
    pub(super) fn check_operator(&self) -> Result<(), ApiError> {
        let conditions = self.expected.map_or(0, BTreeMap::len) + self.filter.map_or(0, BTreeMap::len);
        check_operator(self.operator, conditions)
    }
}

impl ExpectedEntry<'_> {
    fn as_expected(&self) -> ExpectedAttribute<'_> {
        ExpectedAttribute {
            value: self.value.as_ref(),
            exists: self.exists,
            operator: self.comparison_operator.as_deref(),
            list: self.attribute_value_list.as_deref(),
        }
    }
}

impl UpdateEntry<'_> {
    fn as_update(&self) -> AttributeUpdate<'_> {
        AttributeUpdate { action: self.action.as_deref(), value: self.value.as_ref() }
    }
}

impl ConditionEntry<'_> {
    fn as_condition(&self) -> AttributeCondition<'_> {
        AttributeCondition {
            operator: self.comparison_operator.as_deref().unwrap_or_default(),
            list: self.attribute_value_list.as_deref().unwrap_or_default(),
        }
    }
}

/// Adds the conditions without a `ComparisonOperator` to `constraints`.
pub(super) fn check_operators(
    conditions: Option<&Conditions<'_>>,
    parameter: &str,
    constraints: &mut Constraints,
) {
    for (name, condition) in conditions.into_iter().flatten() {
        if condition.comparison_operator.is_none() {
            constraints.missing(format_args!("{parameter}.{name}.member.comparisonOperator"));
        }
    }
}

fn text(translated: Option<String>) -> Option<Text<'static>> {
    translated.map(|text| Text(text.into()))
}

/// Checks `ConditionalOperator`, which only joins two conditions or more.
///
/// # Errors
/// `ValidationException`.
fn check_operator(operator: Option<&str>, conditions: usize) -> Result<(), ApiError> {
    let Some(operator) = operator else {
        return Ok(());
    };
    match conditions {
        0 => Err(ApiError::validation("ConditionalOperator cannot be used without Filter or Expected")),
        1 => Err(ApiError::validation(
            "ConditionalOperator can only be used when Filter or Expected has two or more elements",
        )),
        _ if !["AND", "OR"].contains(&operator) => Err(ApiError::validation(
            "Failed to satisfy constraint: Member must satisfy enum value set: [ALL, OR]",
        )),
        _ => Ok(()),
    }
}
