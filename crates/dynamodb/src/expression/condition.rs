//! Conditions and filters: parsed, and evaluated on encoded items without decoding them.

use std::cmp::Ordering;
use std::fmt::{self, Display, Formatter};

use super::ast::{Comparator, ConditionTree, Operand, Path};
use super::lower::Lowering;
use super::scope::Scope;
use super::{ExpressionKind, grammar, read};
use crate::error::ApiError;
use crate::item::{ItemView, ValueRef};
use crate::number::Number;
use crate::operation::{Bindings, ExpressionText};
use crate::value::ValueKind;

/// A parsed `ConditionExpression` or `FilterExpression`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    text: ExpressionText,
    kind: ExpressionKind,
    tree: ConditionTree,
    operators: usize,
}

impl Condition {
    /// Reads `text`; `kind` words the errors.
    ///
    /// # Errors
    /// `ValidationException` with DynamoDB's message.
    pub fn parse(kind: ExpressionKind, text: &str) -> Result<Self, ApiError> {
        let written = read(kind, text, grammar::condition)?;
        let mut lowering = Lowering::new(kind);
        let tree = lowering.condition(written)?;
        Ok(Self { text: text.into(), kind, tree, operators: lowering.operators })
    }

    /// The text that it was parsed from.
    #[must_use]
    pub fn text(&self) -> &ExpressionText {
        &self.text
    }

    /// The tree.
    #[must_use]
    pub const fn tree(&self) -> &ConditionTree {
        &self.tree
    }

    /// How many operators and functions it has.
    pub(super) const fn operators(&self) -> usize {
        self.operators
    }

    /// Whether `item` (none: there is no item) satisfies the condition.
    ///
    /// # Errors
    /// `ValidationException` when a placeholder has no binding.
    pub fn evaluate(&self, item: Option<ItemView<'_>>, bindings: &Bindings) -> Result<bool, ApiError> {
        holds(&self.tree, &Scope::new(self.kind, item, bindings))
    }
}

/// Prints a text that parses back to the same tree.
impl Display for Condition {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.tree)
    }
}

/// What an operand is for one item.
#[derive(Clone, Copy)]
enum Evaluated<'a> {
    Value(ValueRef<'a>),
    /// What `size` returned.
    Size(Number),
}

impl Evaluated<'_> {
    fn kind(&self) -> ValueKind {
        match self {
            Self::Value(value) => value.kind(),
            Self::Size(_) => ValueKind::N,
        }
    }

    fn scalar_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Value(value) => value.scalar_bytes(),
            Self::Size(number) => Some(number.as_bytes()),
        }
    }

    /// DynamoDB's equality; values of different types differ.
    fn equals(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Value(one), Self::Value(other)) => one == other,
            _ => self.compare(other) == Some(Ordering::Equal),
        }
    }

    /// The order of two strings, two numbers or two binaries; other values have none.
    fn compare(&self, other: &Self) -> Option<Ordering> {
        if self.kind() != other.kind() {
            return None;
        }
        Some(self.scalar_bytes()?.cmp(other.scalar_bytes()?))
    }
}

fn holds(tree: &ConditionTree, scope: &Scope<'_>) -> Result<bool, ApiError> {
    match tree {
        ConditionTree::And(terms) => {
            for term in terms {
                if !holds(term, scope)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        ConditionTree::Or(terms) => {
            for term in terms {
                if holds(term, scope)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        ConditionTree::Not(term) => Ok(!holds(term, scope)?),
        ConditionTree::Compare { left, comparator, right } => {
            Ok(compares(evaluate(left, scope)?, *comparator, evaluate(right, scope)?))
        }
        ConditionTree::Between { operand, lower, upper } => {
            let operand = evaluate(operand, scope)?;
            let (lower, upper) = (evaluate(lower, scope)?, evaluate(upper, scope)?);
            Ok(compares(operand, Comparator::GreaterOrEqual, lower)
                && compares(operand, Comparator::LessOrEqual, upper))
        }
        ConditionTree::In { operand, list } => {
            let operand = evaluate(operand, scope)?;
            for candidate in list {
                if compares(operand, Comparator::Equal, evaluate(candidate, scope)?) {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        ConditionTree::AttributeExists(path) => Ok(scope.path(path)?.is_some()),
        ConditionTree::AttributeNotExists(path) => Ok(scope.path(path)?.is_none()),
        ConditionTree::AttributeType(path, wanted) => {
            let wanted = scope.value(wanted)?.as_str();
            Ok(scope.path(path)?.is_some_and(|value| Some(value.type_name()) == wanted))
        }
        ConditionTree::BeginsWith(operand, prefix) => {
            Ok(begins_with(evaluate(operand, scope)?, evaluate(prefix, scope)?))
        }
        ConditionTree::Contains(operand, part) => {
            Ok(contains(evaluate(operand, scope)?, evaluate(part, scope)?))
        }
    }
}

fn evaluate<'a>(operand: &Operand, scope: &Scope<'a>) -> Result<Option<Evaluated<'a>>, ApiError> {
    match operand {
        Operand::Value(name) => scope.value(name).map(|value| Some(Evaluated::Value(value))),
        Operand::Path(path) => present(path, scope),
        Operand::Size(of) => Ok(evaluate(of, scope)?.and_then(|value| size(&value)).map(Evaluated::Size)),
    }
}

fn present<'a>(path: &Path, scope: &Scope<'a>) -> Result<Option<Evaluated<'a>>, ApiError> {
    Ok(scope.path(path)?.map(Evaluated::Value))
}

/// A missing operand equals nothing, and so is unequal to everything; it has no order.
fn compares(left: Option<Evaluated<'_>>, comparator: Comparator, right: Option<Evaluated<'_>>) -> bool {
    let (Some(left), Some(right)) = (left, right) else {
        return comparator == Comparator::NotEqual;
    };
    match comparator {
        Comparator::Equal => left.equals(&right),
        Comparator::NotEqual => !left.equals(&right),
        Comparator::Less => left.compare(&right).is_some_and(Ordering::is_lt),
        Comparator::LessOrEqual => left.compare(&right).is_some_and(Ordering::is_le),
        Comparator::Greater => left.compare(&right).is_some_and(Ordering::is_gt),
        Comparator::GreaterOrEqual => left.compare(&right).is_some_and(Ordering::is_ge),
    }
}

/// What `size` returns: UTF-16 units of a string, bytes of a binary, elements of anything else that has
/// some.
fn size(value: &Evaluated<'_>) -> Option<Number> {
    let Evaluated::Value(value) = value else { return None };
    let size = match value.kind() {
        ValueKind::S => value.as_str()?.encode_utf16().count(),
        ValueKind::B => value.as_bytes()?.len(),
        ValueKind::L => value.as_list()?.len(),
        ValueKind::M => value.as_map()?.len(),
        ValueKind::SS | ValueKind::NS | ValueKind::BS => value.as_set()?.len(),
        ValueKind::N | ValueKind::Bool | ValueKind::Null => return None,
    };
    Some(Number::from(i64::try_from(size).expect("an item is smaller than 2^63 bytes")))
}

fn begins_with(operand: Option<Evaluated<'_>>, prefix: Option<Evaluated<'_>>) -> bool {
    let (Some(Evaluated::Value(operand)), Some(Evaluated::Value(prefix))) = (operand, prefix) else {
        return false;
    };
    match (operand.kind(), prefix.kind()) {
        (ValueKind::S, ValueKind::S) | (ValueKind::B, ValueKind::B) => operand
            .scalar_bytes()
            .zip(prefix.scalar_bytes())
            .is_some_and(|(operand, prefix)| operand.starts_with(prefix)),
        _ => false,
    }
}

fn contains(operand: Option<Evaluated<'_>>, part: Option<Evaluated<'_>>) -> bool {
    let (Some(Evaluated::Value(operand)), Some(part)) = (operand, part) else { return false };
    if let Some(list) = operand.as_list() {
        return list.iter().any(|element| Evaluated::Value(element).equals(&part));
    }
    if let Some(set) = operand.as_set() {
        return set.element_kind() == part.kind()
            && part.scalar_bytes().is_some_and(|bytes| set.contains_bytes(bytes));
    }
    let Evaluated::Value(part) = part else { return false };
    if let (Some(text), Some(part)) = (operand.as_str(), part.as_str()) {
        return text.contains(part);
    }
    if let (Some(bytes), Some(part)) = (operand.as_bytes(), part.as_bytes()) {
        return contains_bytes(bytes, part);
    }
    false
}

/// In linear time, whatever the bytes: the standard library searches only texts so, hence each byte as
/// the character of its number.
fn contains_bytes(bytes: &[u8], part: &[u8]) -> bool {
    let text = |bytes: &[u8]| bytes.iter().copied().map(char::from).collect::<String>();
    part.len() <= bytes.len() && text(bytes).contains(&text(part))
}
