//! The expressions of one request, checked together, with DynamoDB's messages.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::ast::{Action, Comparator, ConditionTree, Name, Operand, Path, SetValue};
use super::overlap::check_overlaps;
use super::scope::Scope;
use super::{
    Condition, ExpressionCache, ExpressionKind, KeyCondition, KeyConditionExpression, MAX_EXPRESSION_BYTES,
    MAX_OPERATORS, Projection, UpdateExpression,
};
use crate::error::ApiError;
use crate::item::{ItemView, ValueRef};
use crate::operation::{Bindings, EncodedItem};
use crate::table::KeySchema;
use crate::value::ValueKind;

/// DynamoDB: a placeholder has at most 255 characters.
const MAX_PLACEHOLDER_BYTES: usize = 255;
/// DynamoDB: an attribute name has at most 64 KB.
const MAX_NAME_BYTES: usize = 65_535;
/// DynamoDB: a request's names, and its values, have at most 2 MB together.
const MAX_BINDINGS_BYTES: usize = 2 << 20;

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
        self.check_with(cache, Limits { bytes: usize::MAX, operators: usize::MAX })
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
            checked.condition =
                Some(usage.check_condition(cache, limits, ExpressionKind::Condition, text)?);
        }
        if let Some(text) = limits.text(ExpressionKind::Filter, self.filter)? {
            checked.filter = Some(usage.check_condition(cache, limits, ExpressionKind::Filter, text)?);
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
            usage.kind = ExpressionKind::KeyCondition;
            usage.condition(condition.tree())?;
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
            visit_paths(condition.tree(), &mut |path| check_scalar(ExpressionKind::Condition, path));
        }
        if let Some(filter) = &self.filter {
            visit_paths(filter.tree(), &mut |path| check_scalar(ExpressionKind::Filter, path));
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
        visit_paths(filter.tree(), &mut |path| {
            let root = path.root.resolve(ExpressionKind::Filter, &self.bindings.names);
            if let Some(name) = root.ok().filter(|name| keys.is_key(name)) {
                used.get_or_insert_with(|| name.to_owned());
            }
        });
        match used {
            None => Ok(()),
            Some(name) => Err(ApiError::validation(format!(
                "Filter Expression can only contain non-primary key attributes: Primary key attribute: {name}"
            ))),
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

    fn check_operators(self, kind: ExpressionKind, count: usize) -> Result<(), ApiError> {
        if count <= self.operators { Ok(()) } else { Err(kind.too_many_operators()) }
    }
}

fn check_names(names: &BTreeMap<String, String>) -> Result<(), ApiError> {
    const MAP: &str = "ExpressionAttributeNames";
    if names.is_empty() {
        return Err(ApiError::validation("ExpressionAttributeNames must not be empty"));
    }
    let mut bytes = 0;
    for (placeholder, name) in names {
        check_placeholder(MAP, placeholder, '#')?;
        if name.is_empty() {
            return Err(ApiError::validation(format!(
                "{MAP} contains invalid value: Empty attribute name for key {placeholder}"
            )));
        }
        if name.len() > MAX_NAME_BYTES {
            return Err(ApiError::validation("Attribute name is too large, must be less than 65536 bytes"));
        }
        bytes += placeholder.len() + name.len();
    }
    check_total(MAP, bytes)
}

fn check_values(values: &EncodedItem) -> Result<(), ApiError> {
    const MAP: &str = "ExpressionAttributeValues";
    if values.view().is_empty() {
        return Err(ApiError::validation("ExpressionAttributeValues must not be empty"));
    }
    for (placeholder, _) in values.view().iter() {
        check_placeholder(MAP, placeholder, ':')?;
    }
    check_total(MAP, values.as_bytes().len())
}

fn check_placeholder(map: &str, placeholder: &str, sigil: char) -> Result<(), ApiError> {
    if placeholder.len() > MAX_PLACEHOLDER_BYTES {
        return Err(ApiError::validation(format!(
            "{map} contains invalid key: The expression attribute map contains a key that is too long; size of \
             key: {}",
            placeholder.len()
        )));
    }
    let well_formed = placeholder.strip_prefix(sigil).is_some_and(|name| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    });
    if well_formed {
        return Ok(());
    }
    Err(ApiError::validation(format!("{map} contains invalid key: Syntax error; key: \"{placeholder}\"")))
}

fn check_total(map: &str, bytes: usize) -> Result<(), ApiError> {
    if bytes <= MAX_BINDINGS_BYTES {
        return Ok(());
    }
    Err(ApiError::validation(format!(
        "{map} exceeds max size: the total size of all substitution variables must not exceed \
         {MAX_BINDINGS_BYTES} bytes"
    )))
}

/// Which bindings the expressions checked so far have used.
struct Usage<'a> {
    kind: ExpressionKind,
    bindings: &'a Bindings,
    values: Option<ItemView<'a>>,
    used_names: BTreeSet<&'a str>,
    used_values: BTreeSet<String>,
}

impl<'a> Usage<'a> {
    fn new(bindings: &'a Bindings) -> Self {
        Self {
            kind: ExpressionKind::Condition,
            bindings,
            values: bindings.values.as_ref().map(EncodedItem::view),
            used_names: BTreeSet::new(),
            used_values: BTreeSet::new(),
        }
    }

    fn check_condition(
        &mut self,
        cache: &ExpressionCache,
        limits: Limits,
        kind: ExpressionKind,
        text: &str,
    ) -> Result<Arc<Condition>, ApiError> {
        let condition = cache.condition(kind, text)?;
        limits.check_operators(kind, condition.operators())?;
        self.kind = kind;
        self.condition(condition.tree())?;
        Ok(condition)
    }

    fn check_projection(&mut self, paths: &[Path]) -> Result<(), ApiError> {
        self.kind = ExpressionKind::Projection;
        paths.iter().try_for_each(|path| self.path(path))?;
        check_overlaps(self.kind, paths, &self.bindings.names)
    }

    /// Paths first, then everything from the last action to the first.
    fn check_update(&mut self, actions: &[Action]) -> Result<(), ApiError> {
        self.kind = ExpressionKind::Update;
        actions.iter().try_for_each(|action| self.path(action.path()))?;
        let paths: Vec<&Path> = actions.iter().map(Action::path).collect();
        check_overlaps(self.kind, paths, &self.bindings.names)?;
        for action in actions.iter().rev() {
            match action {
                Action::Set { value, .. } => {
                    self.set_value(value)?;
                }
                Action::Remove { .. } => {}
                Action::Add { value, .. } => {
                    let kind = self.value(value)?.kind();
                    if kind != ValueKind::N && !kind.is_set() {
                        return Err(self.wrong_section_operand("ADD", kind));
                    }
                }
                Action::Delete { value, .. } => {
                    let kind = self.value(value)?.kind();
                    if !kind.is_set() {
                        return Err(self.wrong_section_operand("DELETE", kind));
                    }
                }
            }
        }
        Ok(())
    }

    fn wrong_section_operand(&self, section: &str, kind: ValueKind) -> ApiError {
        let long_name = match kind {
            ValueKind::S => "STRING",
            ValueKind::N => "NUMBER",
            ValueKind::B => "BINARY",
            ValueKind::Bool => "BOOLEAN",
            ValueKind::Null => "NULL",
            ValueKind::L => "LIST",
            ValueKind::M => "MAP",
            ValueKind::SS => "STRING_SET",
            ValueKind::NS => "NUMBER_SET",
            ValueKind::BS => "BINARY_SET",
        };
        self.kind.invalid(format_args!(
            "Incorrect operand type for operator or function; operator: {section}, operand type: {long_name}, \
             typeSet: ALLOWED_FOR_{section}_OPERAND"
        ))
    }

    /// The value's type, where the text alone tells it.
    fn set_value(&mut self, value: &SetValue) -> Result<Option<ValueKind>, ApiError> {
        match value {
            SetValue::Value(placeholder) => Ok(Some(self.value(placeholder)?.kind())),
            SetValue::Path(path) => self.path(path).map(|()| None),
            SetValue::Plus(left, right) => self.set_operands("+", left, right, ValueKind::N),
            SetValue::Minus(left, right) => self.set_operands("-", left, right, ValueKind::N),
            SetValue::ListAppend(first, second) => {
                self.set_operands("list_append", first, second, ValueKind::L)
            }
            SetValue::IfNotExists(path, fallback) => {
                self.path(path)?;
                self.set_value(fallback)?;
                if let SetValue::Path(other) = fallback.as_ref() {
                    self.distinct("if_not_exists", path, other)?;
                }
                Ok(None)
            }
        }
    }

    fn set_operands(
        &mut self,
        operator: &str,
        left: &SetValue,
        right: &SetValue,
        wanted: ValueKind,
    ) -> Result<Option<ValueKind>, ApiError> {
        for operand in [left, right] {
            if let Some(kind) = self.set_value(operand)?.filter(|kind| *kind != wanted) {
                return Err(self.kind.incorrect_operand(operator, kind.name()));
            }
        }
        Ok(Some(wanted))
    }

    fn condition(&mut self, tree: &ConditionTree) -> Result<(), ApiError> {
        match tree {
            ConditionTree::And(terms) | ConditionTree::Or(terms) => {
                terms.iter().try_for_each(|term| self.condition(term))
            }
            ConditionTree::Not(term) => self.condition(term),
            ConditionTree::Compare { left, comparator, right } => self.compare(left, *comparator, right),
            ConditionTree::Between { operand, lower, upper } => self.between(operand, lower, upper),
            ConditionTree::In { operand, list } => {
                self.operand(operand)?;
                list.iter().try_for_each(|each| self.operand(each).map(drop))?;
                list.iter().try_for_each(|each| self.distinct_operands("IN", operand, each))
            }
            ConditionTree::AttributeExists(path) | ConditionTree::AttributeNotExists(path) => self.path(path),
            ConditionTree::AttributeType(path, wanted) => self.attribute_type(path, wanted),
            ConditionTree::BeginsWith(operand, prefix) => {
                let kinds = [self.operand(operand)?, self.operand(prefix)?];
                self.distinct_operands("begins_with", operand, prefix)?;
                let wrong = |kind: &ValueKind| !matches!(kind, ValueKind::S | ValueKind::B);
                self.refuse("begins_with", &kinds, wrong)
            }
            ConditionTree::Contains(operand, part) => {
                self.operand(operand)?;
                self.operand(part)?;
                self.distinct_operands("contains", operand, part)
            }
        }
    }

    fn compare(&mut self, left: &Operand, comparator: Comparator, right: &Operand) -> Result<(), ApiError> {
        let kinds = [self.operand(left)?, self.operand(right)?];
        self.distinct_operands(comparator.symbol(), left, right)?;
        if matches!(comparator, Comparator::Equal | Comparator::NotEqual) {
            return Ok(());
        }
        self.refuse(comparator.symbol(), &kinds, is_unordered)
    }

    fn between(&mut self, operand: &Operand, lower: &Operand, upper: &Operand) -> Result<(), ApiError> {
        let kinds = [self.operand(operand)?, self.operand(lower)?, self.operand(upper)?];
        self.distinct_operands("BETWEEN", operand, lower)?;
        self.distinct_operands("BETWEEN", operand, upper)?;
        self.refuse("BETWEEN", &kinds, is_unordered)?;
        let (Operand::Value(lower), Operand::Value(upper)) = (lower, upper) else { return Ok(()) };
        let (lower, upper) = (self.value(lower)?, self.value(upper)?);
        let rule = match lower.compare(upper) {
            None => "same data type for lower and upper bounds",
            Some(order) if order.is_gt() => "upper bound to be greater than or equal to lower bound",
            Some(_) => return Ok(()),
        };
        Err(self.kind.invalid(format_args!(
            "The BETWEEN operator requires {rule}; lower bound operand: AttributeValue: {{{}}}, upper bound \
             operand: AttributeValue: {{{}}}",
            shown(lower),
            shown(upper)
        )))
    }

    fn attribute_type(&mut self, path: &Path, wanted: &str) -> Result<(), ApiError> {
        self.path(path)?;
        let wanted = self.value(wanted)?;
        let Some(name) = wanted.as_str() else {
            return Err(self.kind.incorrect_operand("attribute_type", wanted.type_name()));
        };
        if ValueKind::from_name(name).is_some() {
            return Ok(());
        }
        Err(self.kind.invalid(format_args!(
            "Invalid attribute type name found; type: {name}, valid types: {{B,NULL,SS,BOOL,L,BS,N,NS,S,M}}"
        )))
    }

    fn refuse(
        &self,
        operator: &str,
        kinds: &[Option<ValueKind>],
        wrong: impl Fn(&ValueKind) -> bool,
    ) -> Result<(), ApiError> {
        match kinds.iter().flatten().find(|kind| wrong(kind)) {
            Some(kind) => Err(self.kind.incorrect_operand(operator, kind.name())),
            None => Ok(()),
        }
    }

    /// The operand's type, where the text alone tells it.
    fn operand(&mut self, operand: &Operand) -> Result<Option<ValueKind>, ApiError> {
        match operand {
            Operand::Value(placeholder) => Ok(Some(self.value(placeholder)?.kind())),
            Operand::Path(path) => self.path(path).map(|()| None),
            Operand::Size(of) => {
                let kind = self.operand(of)?;
                let wrong =
                    |kind: &ValueKind| matches!(kind, ValueKind::N | ValueKind::Bool | ValueKind::Null);
                self.refuse("size", &[kind], wrong)?;
                Ok(Some(ValueKind::N))
            }
        }
    }

    fn distinct_operands(&self, operator: &str, first: &Operand, other: &Operand) -> Result<(), ApiError> {
        match (first, other) {
            (Operand::Path(first), Operand::Path(other)) => self.distinct(operator, first, other),
            _ => Ok(()),
        }
    }

    fn distinct(&self, operator: &str, first: &Path, other: &Path) -> Result<(), ApiError> {
        let names = &self.bindings.names;
        let first = first.resolve(self.kind, names)?;
        if first != other.resolve(self.kind, names)? {
            return Ok(());
        }
        Err(self.kind.invalid(format_args!(
            "The first operand must be distinct from the remaining operands for this operator or function; \
             operator: {operator}, first operand: {first}"
        )))
    }

    /// Checks a path's placeholders and counts them as used.
    fn path(&mut self, path: &Path) -> Result<(), ApiError> {
        for name in path.names() {
            if let Name::Placeholder(placeholder) = name {
                name.resolve(self.kind, &self.bindings.names)?;
                if let Some((placeholder, _)) = self.bindings.names.get_key_value(placeholder) {
                    self.used_names.insert(placeholder);
                }
            }
        }
        Ok(())
    }

    /// The value that `placeholder` stands for; it counts as used.
    fn value(&mut self, placeholder: &str) -> Result<ValueRef<'a>, ApiError> {
        let value = Scope::new(self.kind, None, self.bindings).value(placeholder)?;
        if !self.used_values.contains(placeholder) {
            self.used_values.insert(placeholder.to_owned());
        }
        Ok(value)
    }

    fn check_unused(&self) -> Result<(), ApiError> {
        let names = self.bindings.names.keys().map(String::as_str);
        refuse_unused("ExpressionAttributeNames", names.filter(|name| !self.used_names.contains(*name)))?;
        let values = self.values.iter().flat_map(|values| values.iter().map(|(name, _)| name));
        refuse_unused("ExpressionAttributeValues", values.filter(|name| !self.used_values.contains(*name)))
    }
}

fn refuse_unused<'n>(map: &str, unused: impl Iterator<Item = &'n str>) -> Result<(), ApiError> {
    let unused: Vec<&str> = unused.collect();
    if unused.is_empty() {
        return Ok(());
    }
    Err(ApiError::validation(format!(
        "Value provided in {map} unused in expressions: keys: {{{}}}",
        unused.join(", ")
    )))
}

fn is_unordered(kind: &ValueKind) -> bool {
    !matches!(kind, ValueKind::S | ValueKind::N | ValueKind::B)
}

/// A scalar as DynamoDB's messages show it.
fn shown(value: ValueRef<'_>) -> String {
    if let Some(text) = value.as_str() {
        return format!("S:{text}");
    }
    if let Some(number) = value.as_number() {
        return format!("N:{number}");
    }
    let length = value.as_bytes().map_or(0, <[u8]>::len);
    format!("B:java.nio.HeapByteBuffer[pos=0 lim={length} cap={length}]")
}

/// Calls `visit` with every path of a condition.
fn visit_paths(tree: &ConditionTree, visit: &mut impl FnMut(&Path)) {
    fn operand(of: &Operand, visit: &mut impl FnMut(&Path)) {
        match of {
            Operand::Value(_) => {}
            Operand::Path(path) => visit(path),
            Operand::Size(of) => operand(of, visit),
        }
    }
    match tree {
        ConditionTree::And(terms) | ConditionTree::Or(terms) => {
            terms.iter().for_each(|term| visit_paths(term, visit));
        }
        ConditionTree::Not(term) => visit_paths(term, visit),
        ConditionTree::Compare { left, right, .. } => {
            operand(left, visit);
            operand(right, visit);
        }
        ConditionTree::Between { operand: of, lower, upper } => {
            [of, lower, upper].into_iter().for_each(|each| operand(each, visit));
        }
        ConditionTree::In { operand: of, list } => {
            operand(of, visit);
            list.iter().for_each(|each| operand(each, visit));
        }
        ConditionTree::AttributeExists(path)
        | ConditionTree::AttributeNotExists(path)
        | ConditionTree::AttributeType(path, _) => visit(path),
        ConditionTree::BeginsWith(of, other) | ConditionTree::Contains(of, other) => {
            operand(of, visit);
            operand(other, visit);
        }
    }
}
