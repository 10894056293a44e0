//! Key conditions of `Query`: a condition of a restricted form, resolved against a table's keys.

use std::fmt::{self, Display, Formatter};

use super::ExpressionKind;
use super::ast::{Comparator, ConditionTree, Operand, Path};
use super::condition::Condition;
use super::scope::Scope;
use crate::error::ApiError;
use crate::item::ValueRef;
use crate::key::SortCondition;
use crate::operation::{Bindings, ExpressionText};
use crate::table::{KeyAttribute, KeySchema};
use crate::value::ValueKind;

const KIND: ExpressionKind = ExpressionKind::KeyCondition;

/// A parsed `KeyConditionExpression`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyConditionExpression {
    condition: Condition,
    clauses: Vec<Clause>,
}

/// One condition on one attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Clause {
    path: Path,
    operator: KeyOperator,
}

/// With the placeholders that the attribute is compared to.
#[derive(Clone, Debug, PartialEq, Eq)]
enum KeyOperator {
    Compare(Comparator, String),
    Between(String, String),
    BeginsWith(String),
}

/// What a query asks of the keys; the values are in the request's bindings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyCondition<'a> {
    /// The partition key's value.
    pub partition: ValueRef<'a>,
    /// The condition on the sort key.
    pub sort: Option<SortCondition<'a>>,
}

impl KeyConditionExpression {
    /// Reads `text`.
    ///
    /// # Errors
    /// `ValidationException` with DynamoDB's message.
    pub fn parse(text: &str) -> Result<Self, ApiError> {
        let condition = Condition::parse(KIND, text)?;
        let mut clauses = Vec::new();
        collect_clauses(condition.tree(), &mut clauses)?;
        Ok(Self { condition, clauses })
    }

    /// The text that it was parsed from.
    #[must_use]
    pub fn text(&self) -> &ExpressionText {
        self.condition.text()
    }

    /// It, as the condition that it also is.
    pub(super) const fn condition(&self) -> &Condition {
        &self.condition
    }

    /// Checks what needs bindings but no table: one condition per attribute, none on what is nested.
    pub(super) fn check_names(&self, bindings: &Bindings) -> Result<(), ApiError> {
        let mut seen: Vec<&str> = Vec::new();
        for clause in &self.clauses {
            if clause.path.depth() > 1 {
                return Err(ApiError::validation(
                    "KeyConditionExpressions cannot have conditions on nested attributes",
                ));
            }
            let name = clause.path.root.resolve(KIND, &bindings.names)?;
            if seen.contains(&name) {
                return Err(ApiError::validation(
                    "KeyConditionExpressions must only contain one condition per key",
                ));
            }
            seen.push(name);
        }
        Ok(())
    }

    /// What it asks of a table's keys.
    ///
    /// # Errors
    /// `ValidationException` with DynamoDB's message.
    pub fn resolve<'a>(
        &self,
        keys: &KeySchema,
        bindings: &'a Bindings,
    ) -> Result<KeyCondition<'a>, ApiError> {
        self.check_names(bindings)?;
        let defined = 1 + usize::from(keys.sort.is_some());
        if self.clauses.len() > defined {
            return Err(ApiError::validation(format!(
                "The number of query conditions ({}) exceeds the number of key attributes defined in the schema \
                 ({defined})",
                self.clauses.len()
            )));
        }
        let partition = self.clause_on(&keys.partition.name, bindings)?;
        let KeyOperator::Compare(Comparator::Equal, value) =
            &partition.ok_or_else(|| missing(&keys.partition.name))?.operator
        else {
            return Err(ApiError::validation("Query key condition not supported"));
        };
        let scope = Scope::new(KIND, None, bindings);
        let partition = key_value(&scope, &keys.partition, value)?;
        let Some(attribute) = &keys.sort else { return Ok(KeyCondition { partition, sort: None }) };
        let sort = match self.clause_on(&attribute.name, bindings)? {
            Some(clause) => Some(sort_condition(&scope, attribute, &clause.operator)?),
            None if self.clauses.len() > 1 => return Err(missing(&attribute.name)),
            None => None,
        };
        Ok(KeyCondition { partition, sort })
    }

    /// The attributes that must equal a value, as far as they can be named: with the values.
    pub(super) fn equalities<'a>(&'a self, bindings: &'a Bindings) -> Vec<(&'a str, ValueRef<'a>)> {
        let scope = Scope::new(KIND, None, bindings);
        let equality = |clause: &'a Clause| {
            let KeyOperator::Compare(Comparator::Equal, value) = &clause.operator else { return None };
            let name = clause.path.root.resolve(KIND, &bindings.names).ok()?;
            Some((name, scope.value(value).ok()?))
        };
        self.clauses.iter().filter(|clause| clause.path.depth() == 1).filter_map(equality).collect()
    }

    fn clause_on(&self, attribute: &str, bindings: &Bindings) -> Result<Option<&Clause>, ApiError> {
        for clause in &self.clauses {
            if clause.path.root.resolve(KIND, &bindings.names)? == attribute {
                return Ok(Some(clause));
            }
        }
        Ok(None)
    }
}

/// Prints a text that parses back to the same condition.
impl Display for KeyConditionExpression {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.condition)
    }
}

fn collect_clauses(tree: &ConditionTree, clauses: &mut Vec<Clause>) -> Result<(), ApiError> {
    let clause = match tree {
        ConditionTree::And(terms) => {
            return terms.iter().try_for_each(|term| collect_clauses(term, clauses));
        }
        ConditionTree::Compare { left, comparator, right } => compare_clause(left, *comparator, right)?,
        ConditionTree::Between { operand, lower, upper } => {
            let operator = KeyOperator::Between(value_of(lower)?, value_of(upper)?);
            Clause { path: path_of(operand)?, operator }
        }
        ConditionTree::BeginsWith(operand, prefix) => {
            Clause { path: path_of(operand)?, operator: KeyOperator::BeginsWith(value_of(prefix)?) }
        }
        ConditionTree::Or(_) => return Err(invalid_operator("OR")),
        ConditionTree::Not(_) => return Err(invalid_operator("NOT")),
        ConditionTree::In { .. } => return Err(invalid_operator("IN")),
        ConditionTree::AttributeExists(_) => return Err(invalid_operator("attribute_exists")),
        ConditionTree::AttributeNotExists(_) => return Err(invalid_operator("attribute_not_exists")),
        ConditionTree::AttributeType(..) => return Err(invalid_operator("attribute_type")),
        ConditionTree::Contains(..) => return Err(invalid_operator("contains")),
    };
    clauses.push(clause);
    Ok(())
}

/// The value may stand on the left, too.
fn compare_clause(left: &Operand, comparator: Comparator, right: &Operand) -> Result<Clause, ApiError> {
    if comparator == Comparator::NotEqual {
        return Err(invalid_operator("<>"));
    }
    let mirrored = match comparator {
        Comparator::Less => Comparator::Greater,
        Comparator::LessOrEqual => Comparator::GreaterOrEqual,
        Comparator::Greater => Comparator::Less,
        Comparator::GreaterOrEqual => Comparator::LessOrEqual,
        Comparator::Equal | Comparator::NotEqual => comparator,
    };
    let (path, comparator, value) = match left {
        Operand::Value(_) => (path_of(right)?, mirrored, value_of(left)?),
        _ => (path_of(left)?, comparator, value_of(right)?),
    };
    Ok(Clause { path, operator: KeyOperator::Compare(comparator, value) })
}

fn path_of(operand: &Operand) -> Result<Path, ApiError> {
    match operand {
        Operand::Path(path) => Ok(path.clone()),
        Operand::Size(_) => Err(nested_operation()),
        Operand::Value(_) => Err(KIND.invalid(format_args!("No key attribute specified"))),
    }
}

fn value_of(operand: &Operand) -> Result<String, ApiError> {
    match operand {
        Operand::Value(name) => Ok(name.clone()),
        Operand::Size(_) => Err(nested_operation()),
        Operand::Path(_) => Err(KIND.invalid(format_args!("Multiple attributes used in one condition"))),
    }
}

fn nested_operation() -> ApiError {
    ApiError::validation("KeyConditionExpressions cannot contain nested operations")
}

fn invalid_operator(operator: &str) -> ApiError {
    ApiError::validation(format!("Invalid operator used in KeyConditionExpression: {operator}"))
}

fn missing(attribute: &str) -> ApiError {
    ApiError::validation(format!("Query condition missed key schema element: {attribute}"))
}

fn sort_condition<'a>(
    scope: &Scope<'a>,
    attribute: &KeyAttribute,
    operator: &KeyOperator,
) -> Result<SortCondition<'a>, ApiError> {
    let value = |placeholder: &str| key_value(scope, attribute, placeholder);
    Ok(match operator {
        KeyOperator::Compare(Comparator::Equal, placeholder) => SortCondition::Equal(value(placeholder)?),
        KeyOperator::Compare(Comparator::Less, placeholder) => SortCondition::Less(value(placeholder)?),
        KeyOperator::Compare(Comparator::LessOrEqual, placeholder) => {
            SortCondition::LessOrEqual(value(placeholder)?)
        }
        KeyOperator::Compare(Comparator::Greater, placeholder) => SortCondition::Greater(value(placeholder)?),
        KeyOperator::Compare(Comparator::GreaterOrEqual, placeholder) => {
            SortCondition::GreaterOrEqual(value(placeholder)?)
        }
        KeyOperator::Compare(Comparator::NotEqual, _) => return Err(invalid_operator("<>")),
        KeyOperator::Between(lower, upper) => SortCondition::Between(value(lower)?, value(upper)?),
        KeyOperator::BeginsWith(prefix) if attribute.kind.kind() == ValueKind::N => {
            value(prefix)?;
            return Err(KIND.incorrect_operand("begins_with", "N"));
        }
        KeyOperator::BeginsWith(prefix) => SortCondition::BeginsWith(value(prefix)?),
    })
}

/// A value that a key attribute is compared to: of the attribute's type, and not empty.
fn key_value<'a>(
    scope: &Scope<'a>,
    attribute: &KeyAttribute,
    placeholder: &str,
) -> Result<ValueRef<'a>, ApiError> {
    let value = scope.value(placeholder)?;
    if value.kind() != attribute.kind.kind() {
        return Err(ApiError::validation(
            "One or more parameter values were invalid: Condition parameter type does not match schema type",
        ));
    }
    if value.scalar_bytes().is_some_and(<[u8]>::is_empty) {
        let kind = if value.kind() == ValueKind::B { "binary" } else { "string" };
        return Err(ApiError::validation(format!(
            "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain \
             an empty {kind} value. Key: {}",
            attribute.name
        )));
    }
    Ok(value)
}
