//! Checks an expression against a request's bindings: every placeholder has one, operands have fitting
//! types as far as the text tells, and in the end every binding has been used.

use std::collections::BTreeSet;

use super::ExpressionKind;
use super::ast::{Action, Comparator, ConditionTree, Name, Operand, Path, SetValue};
use super::overlap::check_overlaps;
use super::scope::Scope;
use crate::error::ApiError;
use crate::item::{ItemView, ValueRef};
use crate::operation::{Bindings, EncodedItem};
use crate::value::ValueKind;

/// Which bindings the expressions checked so far have used.
pub(super) struct Usage<'a> {
    kind: ExpressionKind,
    bindings: &'a Bindings,
    values: Option<ItemView<'a>>,
    used_names: BTreeSet<&'a str>,
    used_values: BTreeSet<String>,
}

impl<'a> Usage<'a> {
    pub(super) fn new(bindings: &'a Bindings) -> Self {
        Self {
            kind: ExpressionKind::Condition,
            bindings,
            values: bindings.values.as_ref().map(EncodedItem::view),
            used_names: BTreeSet::new(),
            used_values: BTreeSet::new(),
        }
    }

    pub(super) fn check_condition(
        &mut self,
        kind: ExpressionKind,
        tree: &ConditionTree,
    ) -> Result<(), ApiError> {
        self.kind = kind;
        self.condition(tree)
    }

    pub(super) fn check_projection(&mut self, paths: &[Path]) -> Result<(), ApiError> {
        self.kind = ExpressionKind::Projection;
        paths.iter().try_for_each(|path| self.path(path))?;
        check_overlaps(self.kind, paths, &self.bindings.names)
    }

    /// Paths first, then everything from the last action to the first.
    pub(super) fn check_update(&mut self, actions: &[Action]) -> Result<(), ApiError> {
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

    pub(super) fn check_unused(&self) -> Result<(), ApiError> {
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
