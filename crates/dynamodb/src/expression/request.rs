//! The expressions of one request, checked together, with DynamoDB's messages.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::ast::Path;
use super::bindings::{check_names, check_values};
use super::usage::Usage;
use super::{
    Condition, ExpressionCache, ExpressionKind, KeyCondition, KeyConditionExpression, MAX_EXPRESSION_BYTES,
    MAX_OPERATORS, Projection, UpdateExpression,
};
use crate::error::ApiError;
use crate::item::ValueRef;
use crate::operation::{Bindings, EncodedItem};
use crate::table::KeySchema;

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
    /// The expressions to name in "ExpressionAttributeValues can only be specified when using
    /// expressions: … is null". Empty: none is named.
    pub accepted: &'a [ExpressionKind],
}

/// The checked expressions of one request, with its bindings.
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
    /// Whether older parameters stood for them: words an error.
    translated: bool,
}

impl RequestExpressions<'_> {
    /// Checks all that needs no table: syntax, names, values, operand types, limits, unused bindings.
    ///
    /// # Errors
    /// `ValidationException` with DynamoDB's message.
    pub fn check(&self, cache: &ExpressionCache) -> Result<CheckedExpressions, ApiError> {
        self.check_with(cache, Limits { bytes: MAX_EXPRESSION_BYTES, operators: MAX_OPERATORS })
    }

    /// The same for texts that [`Translation`](super::legacy::Translation) made of older parameters: they
    /// may be of any length.
    ///
    /// # Errors
    /// `ValidationException` with DynamoDB's message.
    pub fn check_translated(&self, cache: &ExpressionCache) -> Result<CheckedExpressions, ApiError> {
        let checked = self.check_with(cache, Limits { bytes: usize::MAX, operators: usize::MAX })?;
        Ok(CheckedExpressions { translated: true, ..checked })
    }

    fn check_with(&self, cache: &ExpressionCache, limits: Limits) -> Result<CheckedExpressions, ApiError> {
        self.check_bindings()?;
        let bindings =
            Bindings { names: self.names.cloned().unwrap_or_default(), values: self.values.cloned() };
        let mut checked = CheckedExpressions::default();
        let mut usage = Usage::new(&bindings);

        if let Some(text) = limits.text(ExpressionKind::Update, self.update)? {
            let update = cache.update(text)?;
            limits.check_operators(ExpressionKind::Update, update.operators())?;
            usage.check_update(update.actions())?;
            checked.update = Some(update);
        }
        if let Some(text) = limits.text(ExpressionKind::Condition, self.condition)? {
            let condition = limits.condition(cache, ExpressionKind::Condition, text)?;
            usage.check_condition(ExpressionKind::Condition, condition.tree())?;
            checked.condition = Some(condition);
        }
        if let Some(text) = limits.text(ExpressionKind::Filter, self.filter)? {
            let filter = limits.condition(cache, ExpressionKind::Filter, text)?;
            usage.check_condition(ExpressionKind::Filter, filter.tree())?;
            checked.filter = Some(filter);
        }
        if let Some(text) = limits.text(ExpressionKind::Projection, self.projection)? {
            let projection = cache.projection(text)?;
            usage.check_projection(projection.paths())?;
            checked.projection = Some(projection);
        }
        if let Some(text) = limits.text(ExpressionKind::KeyCondition, self.key_condition)? {
            let key_condition = cache.key_condition(text)?;
            let condition = key_condition.condition();
            limits.check_operators(ExpressionKind::KeyCondition, condition.operators())?;
            usage.check_condition(ExpressionKind::KeyCondition, condition.tree())?;
            key_condition.check_names(&bindings)?;
            checked.key_condition = Some(key_condition);
        }

        usage.check_unused()?;
        checked.bindings = bindings;
        Ok(checked)
    }

    /// Checks names and values by themselves.
    fn check_bindings(&self) -> Result<(), ApiError> {
        let texts = [self.condition, self.filter, self.key_condition, self.projection, self.update];
        let no_expression = texts.iter().all(Option::is_none);
        if self.names.is_some() && no_expression {
            return Err(ApiError::validation(
                "ExpressionAttributeNames can only be specified when using expressions",
            ));
        }
        if self.values.is_some() && no_expression {
            let absent: Vec<String> =
                self.accepted.iter().map(|kind| format!("{} is null", kind.parameter())).collect();
            let list = if absent.is_empty() { String::new() } else { format!(": {}", absent.join(" and ")) };
            return Err(ApiError::validation(format!(
                "ExpressionAttributeValues can only be specified when using expressions{list}"
            )));
        }
        if let Some(names) = self.names {
            check_names(names)?;
        }
        if let Some(values) = self.values {
            check_values(values)?;
        }
        Ok(())
    }
}

impl CheckedExpressions {
    /// Resolves the key condition against the table's keys.
    ///
    /// # Errors
    /// `ValidationException` with DynamoDB's message; also when there is no key condition.
    pub fn key_condition(&self, keys: &KeySchema) -> Result<KeyCondition<'_>, ApiError> {
        match &self.key_condition {
            Some(key_condition) => key_condition.resolve(keys, &self.bindings),
            None => Err(ApiError::validation(
                "Either the KeyConditions or KeyConditionExpression parameter must be specified in the request.",
            )),
        }
    }

    /// The attributes that the key condition wants to equal a value, with the values: what is known of the
    /// key before the table is.
    #[must_use]
    pub fn key_equalities(&self) -> Vec<(&str, ValueRef<'_>)> {
        self.key_condition.as_ref().map_or_else(Vec::new, |condition| condition.equalities(&self.bindings))
    }

    /// Checks what the other expressions say of key attributes: an update must not name one, a query's
    /// filter must not either, and no path may step into one.
    ///
    /// # Errors
    /// `ValidationException` with DynamoDB's message.
    pub fn check_keys(&self, keys: &KeySchema) -> Result<(), ApiError> {
        let names = &self.bindings.names;
        let mut failure = Ok(());
        let mut check_scalar = |kind: ExpressionKind, path: &Path| {
            if failure.is_ok()
                && path.depth() > 1
                && let Ok(root) = path.root.resolve(kind, names)
                && keys.is_key(root)
            {
                failure = Err(ApiError::validation(format!(
                    "Key attributes must be scalars; list random access '[]' and map lookup '.' are not allowed: \
                     Key: {root}"
                )));
            }
        };
        if let Some(condition) = &self.condition {
            condition.tree().for_each_path(&mut |path| check_scalar(ExpressionKind::Condition, path));
        }
        if let Some(filter) = &self.filter {
            filter.tree().for_each_path(&mut |path| check_scalar(ExpressionKind::Filter, path));
        }
        if let Some(projection) = &self.projection {
            projection.paths().iter().for_each(|path| check_scalar(ExpressionKind::Projection, path));
        }
        failure?;
        if let (Some(filter), Some(_)) = (&self.filter, &self.key_condition) {
            self.check_filter_keys(filter, keys)?;
        }
        self.check_update_keys(keys)
    }

    fn check_filter_keys(&self, filter: &Condition, keys: &KeySchema) -> Result<(), ApiError> {
        let mut used = None;
        filter.tree().for_each_path(&mut |path| {
            let root = path.root.resolve(ExpressionKind::Filter, &self.bindings.names);
            if let Some(name) = root.ok().filter(|name| keys.is_key(name)) {
                used.get_or_insert_with(|| name.to_owned());
            }
        });
        match used {
            None => Ok(()),
            Some(name) => {
                let parameter = if self.translated { "QueryFilter" } else { "Filter Expression" };
                Err(ApiError::validation(format!(
                    "{parameter} can only contain non-primary key attributes: Primary key attribute: {name}"
                )))
            }
        }
    }

    fn check_update_keys(&self, keys: &KeySchema) -> Result<(), ApiError> {
        let Some(update) = &self.update else { return Ok(()) };
        for action in update.actions() {
            let root = action.path().root.resolve(ExpressionKind::Update, &self.bindings.names)?;
            if keys.is_key(root) {
                return Err(ApiError::validation(format!(
                    "One or more parameter values were invalid: Cannot update attribute {root}. This attribute is \
                     part of the key"
                )));
            }
        }
        Ok(())
    }
}

/// How long an expression may be.
#[derive(Clone, Copy)]
struct Limits {
    bytes: usize,
    operators: usize,
}

impl Limits {
    /// An expression's text, if it is given: neither empty nor too long.
    fn text(self, kind: ExpressionKind, text: Option<&str>) -> Result<Option<&str>, ApiError> {
        match text {
            Some("") => Err(kind.invalid(format_args!("The expression can not be empty;"))),
            Some(text) if text.len() > self.bytes => Err(kind.invalid(format_args!(
                "Expression size has exceeded the maximum allowed size; expression size: {}",
                text.len()
            ))),
            _ => Ok(text),
        }
    }

    fn condition(
        self,
        cache: &ExpressionCache,
        kind: ExpressionKind,
        text: &str,
    ) -> Result<Arc<Condition>, ApiError> {
        let condition = cache.condition(kind, text)?;
        self.check_operators(kind, condition.operators())?;
        Ok(condition)
    }

    fn check_operators(self, kind: ExpressionKind, count: usize) -> Result<(), ApiError> {
        if count <= self.operators { Ok(()) } else { Err(kind.too_many_operators()) }
    }
}
