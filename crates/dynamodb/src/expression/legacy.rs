//! The parameters that expressions replaced, translated into expressions: `Expected`,
//! `AttributeUpdates`, `KeyConditions`, `QueryFilter`, `ScanFilter`, `AttributesToGet`.
//!
//! Every attribute gets a placeholder: in these parameters a name is one attribute's, dots and all.
//! Texts that come out may be longer than DynamoDB allows for written ones; check them with
//! [`RequestExpressions::check_translated`](super::RequestExpressions::check_translated).

use std::collections::BTreeMap;

use crate::error::ApiError;
use crate::operation::EncodedItem;
use crate::value::{AttributeValue, Item, ValueKind};

/// One entry of `Expected`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ExpectedAttribute<'a> {
    /// `Value`.
    pub value: Option<&'a AttributeValue>,
    /// `Exists`.
    pub exists: Option<bool>,
    /// `ComparisonOperator`.
    pub operator: Option<&'a str>,
    /// `AttributeValueList`.
    pub list: Option<&'a [AttributeValue]>,
}

/// One entry of `KeyConditions`, `QueryFilter` or `ScanFilter`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AttributeCondition<'a> {
    /// `ComparisonOperator`.
    pub operator: &'a str,
    /// `AttributeValueList`; absent is empty.
    pub list: &'a [AttributeValue],
}

/// One entry of `AttributeUpdates`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AttributeUpdate<'a> {
    /// `Action`; absent is `PUT`.
    pub action: Option<&'a str>,
    /// `Value`.
    pub value: Option<&'a AttributeValue>,
}

/// `ConditionalOperator`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are DynamoDB's")]
pub enum ConditionalOperator {
    #[default]
    And,
    Or,
}

/// Translates the older parameters of one request; its expressions share its names and values.
#[derive(Clone, Debug, Default)]
pub struct Translation {
    names: BTreeMap<String, String>,
    values: Item,
}

/// `ComparisonOperator`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    In,
    LessOrEqual,
    Less,
    GreaterOrEqual,
    Greater,
    Between,
    NotNull,
    Null,
    Contains,
    NotContains,
    BeginsWith,
}

/// DynamoDB: at most 100 operands in one `IN`; a longer list is several joined by `OR`.
const IN_OPERANDS: usize = 100;

impl Translation {
    /// A translation of nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The `ConditionExpression` of `Expected`; none when it is empty.
    ///
    /// # Errors
    /// `ValidationException` with DynamoDB's message.
    pub fn expected<'a>(
        &mut self,
        expected: impl IntoIterator<Item = (&'a str, ExpectedAttribute<'a>)>,
        joined_by: ConditionalOperator,
    ) -> Result<Option<String>, ApiError> {
        let mut conditions = Vec::new();
        for (name, entry) in expected {
            let (operator, values) = entry.read(name)?;
            conditions.push(self.condition(name, operator, values));
        }
        Ok(joined(&conditions, joined_by))
    }

    /// The `FilterExpression` of `QueryFilter` or `ScanFilter`; none when it is empty.
    ///
    /// # Errors
    /// `ValidationException` with DynamoDB's message.
    pub fn filter<'a>(
        &mut self,
        filter: impl IntoIterator<Item = (&'a str, AttributeCondition<'a>)>,
        joined_by: ConditionalOperator,
    ) -> Result<Option<String>, ApiError> {
        let mut conditions = Vec::new();
        for (name, entry) in filter {
            let operator = Operator::from_name(entry.operator)?;
            operator.check_values(entry.list)?;
            conditions.push(self.condition(name, operator, entry.list));
        }
        Ok(joined(&conditions, joined_by))
    }

    /// The `KeyConditionExpression` of `KeyConditions`; none when it is empty.
    ///
    /// # Errors
    /// `ValidationException` with DynamoDB's message.
    pub fn key_conditions<'a>(
        &mut self,
        conditions: impl IntoIterator<Item = (&'a str, AttributeCondition<'a>)>,
    ) -> Result<Option<String>, ApiError> {
        let mut texts = Vec::new();
        for (name, entry) in conditions {
            let operator = Operator::from_name(entry.operator)?;
            operator.check_values(entry.list)?;
            if !operator.orders_keys() {
                return Err(ApiError::validation(format!(
                    "Attempted conditional constraint is not an indexable operation: {}",
                    entry.operator
                )));
            }
            texts.push(self.condition(name, operator, entry.list));
        }
        Ok(joined(&texts, ConditionalOperator::And))
    }

    /// The `UpdateExpression` of `AttributeUpdates`; none when it is empty.
    ///
    /// # Errors
    /// `ValidationException` with DynamoDB's message.
    pub fn attribute_updates<'a>(
        &mut self,
        updates: impl IntoIterator<Item = (&'a str, AttributeUpdate<'a>)>,
    ) -> Result<Option<String>, ApiError> {
        let (mut set, mut remove, mut add, mut delete) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (name, update) in updates {
            let name = self.name(name);
            match (update.action.unwrap_or("PUT"), update.value) {
                ("PUT", Some(value)) => set.push(format!("{name} = {}", self.value(value))),
                ("DELETE", None) => remove.push(name),
                ("DELETE", Some(value)) => {
                    if !value.kind().is_set() {
                        return Err(unsupported("DELETE action with value", value));
                    }
                    delete.push(format!("{name} {}", self.value(value)));
                }
                ("ADD", Some(AttributeValue::L(list))) => set.push(self.appended(&name, list)),
                ("ADD", Some(value)) => {
                    if value.kind() != ValueKind::N && !value.kind().is_set() {
                        return Err(unsupported("ADD action", value));
                    }
                    add.push(format!("{name} {}", self.value(value)));
                }
                ("PUT" | "ADD", None) => {
                    return Err(ApiError::validation(
                        "One or more parameter values were invalid: Only DELETE action is allowed when no \
                         attribute value is specified",
                    ));
                }
                _ => {
                    return Err(ApiError::validation(
                        "1 validation error detected: Member must satisfy enum value set: [ADD, DELETE, PUT]' for Action",
                    ));
                }
            }
        }
        let clauses = [("SET", set), ("REMOVE", remove), ("ADD", add), ("DELETE", delete)];
        let text: Vec<String> = clauses
            .into_iter()
            .filter(|(_, actions)| !actions.is_empty())
            .map(|(keyword, actions)| format!("{keyword} {}", actions.join(", ")))
            .collect();
        Ok((!text.is_empty()).then(|| text.join(" ")))
    }

    /// The `ProjectionExpression` of `AttributesToGet`; none when it is empty.
    ///
    /// # Errors
    /// `ValidationException` when a name is given twice.
    pub fn attributes_to_get<'a>(
        &mut self,
        attributes: impl IntoIterator<Item = &'a str>,
    ) -> Result<Option<String>, ApiError> {
        let mut seen = std::collections::BTreeSet::new();
        let mut paths = Vec::new();
        for attribute in attributes {
            if !seen.insert(attribute) {
                return Err(invalid(format_args!("Duplicate value in attribute name: {attribute}")));
            }
            paths.push(self.name(attribute));
        }
        Ok((!paths.is_empty()).then(|| paths.join(", ")))
    }

    /// The names and values that the translated expressions use; none when they use none.
    #[must_use]
    pub fn finish(self) -> (Option<BTreeMap<String, String>>, Option<EncodedItem>) {
        let names = (!self.names.is_empty()).then_some(self.names);
        let values = (!self.values.is_empty()).then(|| EncodedItem::encode(&self.values));
        (names, values)
    }

    fn name(&mut self, attribute: &str) -> String {
        let placeholder = format!("#_l{}", self.names.len());
        self.names.insert(placeholder.clone(), attribute.to_owned());
        placeholder
    }

    fn value(&mut self, value: &AttributeValue) -> String {
        let placeholder = format!(":_l{}", self.values.len());
        self.values.insert(placeholder.clone(), value.clone());
        placeholder
    }

    /// `ADD` of a list appends to it.
    fn appended(&mut self, name: &str, list: &[AttributeValue]) -> String {
        let none = self.value(&AttributeValue::L(Vec::new()));
        let list = self.value(&AttributeValue::L(list.to_vec()));
        format!("{name} = list_append(if_not_exists({name}, {none}), {list})")
    }

    /// One condition on one attribute; the values' number is right.
    fn condition(&mut self, attribute: &str, operator: Operator, values: &[AttributeValue]) -> String {
        let name = self.name(attribute);
        let values: Vec<String> = values.iter().map(|value| self.value(value)).collect();
        let compared = |symbol: &str| format!("{name} {symbol} {}", values[0]);
        match operator {
            Operator::Equal => compared("="),
            Operator::NotEqual => compared("<>"),
            Operator::LessOrEqual => compared("<="),
            Operator::Less => compared("<"),
            Operator::GreaterOrEqual => compared(">="),
            Operator::Greater => compared(">"),
            Operator::Between => format!("{name} BETWEEN {} AND {}", values[0], values[1]),
            Operator::NotNull => format!("attribute_exists({name})"),
            Operator::Null => format!("attribute_not_exists({name})"),
            Operator::Contains => format!("contains({name}, {})", values[0]),
            Operator::NotContains => format!("NOT contains({name}, {})", values[0]),
            Operator::BeginsWith => format!("begins_with({name}, {})", values[0]),
            Operator::In => {
                let lists: Vec<String> = values
                    .chunks(IN_OPERANDS)
                    .map(|part| format!("{name} IN ({})", part.join(", ")))
                    .collect();
                if lists.len() == 1 { lists.concat() } else { format!("({})", lists.join(" OR ")) }
            }
        }
    }
}

impl<'a> ExpectedAttribute<'a> {
    /// What it asks for: the operator and its values, checked.
    fn read(self, name: &str) -> Result<(Operator, &'a [AttributeValue]), ApiError> {
        if self.exists.is_some() && self.operator.is_some() {
            return Err(invalid(format_args!(
                "Exists and ComparisonOperator cannot be used together for Attribute: {name}"
            )));
        }
        if self.value.is_some() && self.list.is_some() {
            return Err(invalid(format_args!(
                "Value and AttributeValueList cannot be used together for Attribute: {name}"
            )));
        }
        match (self.operator, self.list) {
            (None, Some(_)) => Err(invalid(format_args!(
                "AttributeValueList can only be used with a ComparisonOperator for Attribute: {name}"
            ))),
            (None, None) => self.read_existence(name),
            (Some(operator), _) => self.read_comparison(name, operator),
        }
    }

    fn read_existence(self, name: &str) -> Result<(Operator, &'a [AttributeValue]), ApiError> {
        match (self.exists, self.value) {
            (Some(false), None) => Ok((Operator::Null, &[])),
            (Some(false), Some(_)) => {
                Err(invalid(format_args!("Value cannot be used when Exists is false for Attribute: {name}")))
            }
            (Some(true), None) => {
                Err(invalid(format_args!("Value must be provided when Exists is true for Attribute: {name}")))
            }
            (None, None) => {
                Err(invalid(format_args!("Value must be provided when Exists is null for Attribute: {name}")))
            }
            (Some(true) | None, Some(value)) => Ok((Operator::Equal, std::slice::from_ref(value))),
        }
    }

    fn read_comparison(
        self,
        name: &str,
        operator_name: &str,
    ) -> Result<(Operator, &'a [AttributeValue]), ApiError> {
        let operator = Operator::from_name(operator_name)?;
        let values = match (self.value, self.list) {
            (Some(value), _) => std::slice::from_ref(value),
            (None, Some(list)) => list,
            (None, None) if operator.value_counts().contains(&0) => &[],
            (None, None) => {
                return Err(invalid(format_args!(
                    "Value or AttributeValueList must be used with ComparisonOperator: {operator_name} for \
                     Attribute: {name}"
                )));
            }
        };
        operator.check_values(values)?;
        Ok((operator, values))
    }
}

impl Operator {
    const ALL: [(&'static str, Self); 13] = [
        ("EQ", Self::Equal),
        ("NE", Self::NotEqual),
        ("IN", Self::In),
        ("LE", Self::LessOrEqual),
        ("LT", Self::Less),
        ("GE", Self::GreaterOrEqual),
        ("GT", Self::Greater),
        ("BETWEEN", Self::Between),
        ("NOT_NULL", Self::NotNull),
        ("NULL", Self::Null),
        ("CONTAINS", Self::Contains),
        ("NOT_CONTAINS", Self::NotContains),
        ("BEGINS_WITH", Self::BeginsWith),
    ];

    fn from_name(name: &str) -> Result<Self, ApiError> {
        let found = Self::ALL.iter().find(|(known, _)| *known == name);
        found
            .map(|(_, operator)| *operator)
            .ok_or_else(|| invalid(format_args!("Invalid comparison operator")))
    }

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, operator)| *operator == self).map_or("", |(name, _)| name)
    }

    /// How many values it takes.
    const fn value_counts(self) -> std::ops::RangeInclusive<usize> {
        match self {
            Self::NotNull | Self::Null => 0..=0,
            Self::Between => 2..=2,
            Self::In => 1..=usize::MAX,
            _ => 1..=1,
        }
    }

    /// Whether a key condition may have it.
    const fn orders_keys(self) -> bool {
        matches!(
            self,
            Self::Equal
                | Self::LessOrEqual
                | Self::Less
                | Self::GreaterOrEqual
                | Self::Greater
                | Self::Between
                | Self::BeginsWith
        )
    }

    const fn takes(self, kind: ValueKind) -> bool {
        let scalar = matches!(kind, ValueKind::S | ValueKind::N | ValueKind::B);
        match self {
            Self::Less | Self::LessOrEqual | Self::Greater | Self::GreaterOrEqual => scalar,
            Self::In | Self::Between => scalar,
            Self::BeginsWith => matches!(kind, ValueKind::S | ValueKind::B),
            Self::Contains | Self::NotContains => scalar || matches!(kind, ValueKind::Bool | ValueKind::Null),
            Self::Equal | Self::NotEqual | Self::NotNull | Self::Null => true,
        }
    }

    fn check_values(self, values: &[AttributeValue]) -> Result<(), ApiError> {
        if !self.value_counts().contains(&values.len()) {
            return Err(invalid(format_args!(
                "Invalid number of argument(s) for the {} ComparisonOperator",
                self.name()
            )));
        }
        if let Some(value) = values.iter().find(|value| !self.takes(value.kind())) {
            return Err(invalid(format_args!(
                "ComparisonOperator {} is not valid for {} AttributeValue type",
                self.name(),
                value.type_name()
            )));
        }
        if values.windows(2).any(|pair| pair[0].kind() != pair[1].kind()) {
            return Err(invalid(format_args!(
                "AttributeValues inside AttributeValueList must be of same type"
            )));
        }
        if self == Self::Between && is_above(&values[0], &values[1]) {
            return Err(ApiError::validation(
                "The BETWEEN condition was provided a range where the lower bound is greater than the upper bound",
            ));
        }
        Ok(())
    }
}

fn is_above(one: &AttributeValue, other: &AttributeValue) -> bool {
    match (one, other) {
        (AttributeValue::S(one), AttributeValue::S(other)) => one > other,
        (AttributeValue::N(one), AttributeValue::N(other)) => one > other,
        (AttributeValue::B(one), AttributeValue::B(other)) => one > other,
        _ => false,
    }
}

fn joined(conditions: &[String], by: ConditionalOperator) -> Option<String> {
    let joiner = match by {
        ConditionalOperator::And => " AND ",
        ConditionalOperator::Or => " OR ",
    };
    (!conditions.is_empty()).then(|| conditions.join(joiner))
}

fn invalid(detail: std::fmt::Arguments<'_>) -> ApiError {
    ApiError::validation(format!("One or more parameter values were invalid: {detail}"))
}

fn unsupported(action: &str, value: &AttributeValue) -> ApiError {
    invalid(format_args!("{action} is not supported for the type {}", value.type_name()))
}
