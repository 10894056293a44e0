//! Attribute values as a tree: what tests, tools and update evaluation work on. The request path works
//! on encoded items (`item.rs`) instead.

use std::collections::BTreeMap;

use crate::number::Number;

#[cfg(test)]
pub(crate) mod arbitrary;

/// An item: attribute name → value.
pub type Item = BTreeMap<String, AttributeValue>;

/// A value of any of DynamoDB's ten types.
///
/// Sets are sorted and without duplicates, so that equality is DynamoDB's; build them with
/// [`AttributeValue::string_set`] and its like.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are DynamoDB's")]
pub enum AttributeValue {
    S(String),
    N(Number),
    B(Vec<u8>),
    Bool(bool),
    Null,
    L(Vec<AttributeValue>),
    M(BTreeMap<String, AttributeValue>),
    SS(Vec<String>),
    NS(Vec<Number>),
    BS(Vec<Vec<u8>>),
}

/// The ten types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names are DynamoDB's")]
pub enum ValueKind {
    S,
    N,
    B,
    Bool,
    Null,
    L,
    M,
    SS,
    NS,
    BS,
}

impl ValueKind {
    /// As DynamoDB writes it: `S`, `N`, `BOOL`, …
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::S => "S",
            Self::N => "N",
            Self::B => "B",
            Self::Bool => "BOOL",
            Self::Null => "NULL",
            Self::L => "L",
            Self::M => "M",
            Self::SS => "SS",
            Self::NS => "NS",
            Self::BS => "BS",
        }
    }

    /// The type that DynamoDB writes as `name`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "S" => Self::S,
            "N" => Self::N,
            "B" => Self::B,
            "BOOL" => Self::Bool,
            "NULL" => Self::Null,
            "L" => Self::L,
            "M" => Self::M,
            "SS" => Self::SS,
            "NS" => Self::NS,
            "BS" => Self::BS,
            _ => return None,
        })
    }

    /// Whether it is one of the three set types.
    #[must_use]
    pub const fn is_set(self) -> bool {
        matches!(self, Self::SS | Self::NS | Self::BS)
    }
}

impl AttributeValue {
    /// The value's type.
    #[must_use]
    pub const fn kind(&self) -> ValueKind {
        match self {
            Self::S(_) => ValueKind::S,
            Self::N(_) => ValueKind::N,
            Self::B(_) => ValueKind::B,
            Self::Bool(_) => ValueKind::Bool,
            Self::Null => ValueKind::Null,
            Self::L(_) => ValueKind::L,
            Self::M(_) => ValueKind::M,
            Self::SS(_) => ValueKind::SS,
            Self::NS(_) => ValueKind::NS,
            Self::BS(_) => ValueKind::BS,
        }
    }

    /// The type as DynamoDB writes it: `S`, `N`, `BOOL`, …
    #[must_use]
    pub const fn type_name(&self) -> &'static str {
        self.kind().name()
    }

    /// A string set of `elements`, sorted and without duplicates.
    pub fn string_set(elements: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self::SS(sorted_unique(elements.into_iter().map(Into::into).collect()))
    }

    /// A number set of `elements`, sorted and without duplicates.
    pub fn number_set(elements: impl IntoIterator<Item = Number>) -> Self {
        Self::NS(sorted_unique(elements.into_iter().collect()))
    }

    /// A binary set of `elements`, sorted and without duplicates.
    pub fn binary_set(elements: impl IntoIterator<Item = impl Into<Vec<u8>>>) -> Self {
        Self::BS(sorted_unique(elements.into_iter().map(Into::into).collect()))
    }
}

impl From<&str> for AttributeValue {
    fn from(text: &str) -> Self {
        Self::S(text.to_owned())
    }
}

impl From<String> for AttributeValue {
    fn from(text: String) -> Self {
        Self::S(text)
    }
}

impl From<Number> for AttributeValue {
    fn from(number: Number) -> Self {
        Self::N(number)
    }
}

impl From<i64> for AttributeValue {
    fn from(number: i64) -> Self {
        Self::N(number.into())
    }
}

impl From<bool> for AttributeValue {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

fn sorted_unique<T: Ord>(mut elements: Vec<T>) -> Vec<T> {
    elements.sort_unstable();
    elements.dedup();
    elements
}
