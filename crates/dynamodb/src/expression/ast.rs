//! The trees that expressions parse to; placeholders stay in them.

use std::collections::BTreeMap;

use super::ExpressionKind;
use crate::error::ApiError;

/// One name in a document path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Name {
    /// An attribute name as written.
    Literal(String),
    /// A placeholder, with its `#`.
    Placeholder(String),
}

/// One step of a document path past its first name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// `.name`
    Field(Name),
    /// `[index]`
    Index(u32),
}

/// A document path: `a.b[3].#c`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Path {
    /// The top-level attribute.
    pub root: Name,
    /// What follows it.
    pub steps: Vec<Step>,
}

/// What a condition compares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operand {
    /// A placeholder of a value, with its `:`.
    Value(String),
    /// What the item has there.
    Path(Path),
    /// `size(…)`, of a path or a value.
    Size(Box<Operand>),
}

/// How a condition compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Comparator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// A condition. `And` and `Or` hold at least two terms.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are DynamoDB's")]
pub enum ConditionTree {
    And(Vec<ConditionTree>),
    Or(Vec<ConditionTree>),
    Not(Box<ConditionTree>),
    Compare { left: Operand, comparator: Comparator, right: Operand },
    Between { operand: Operand, lower: Operand, upper: Operand },
    In { operand: Operand, list: Vec<Operand> },
    AttributeExists(Path),
    AttributeNotExists(Path),
    AttributeType(Path, String),
    BeginsWith(Operand, Operand),
    Contains(Operand, Operand),
}

/// What a `SET` action assigns.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are DynamoDB's")]
pub enum SetValue {
    /// A placeholder of a value, with its `:`.
    Value(String),
    /// What the item had there before the update.
    Path(Path),
    Plus(Box<SetValue>, Box<SetValue>),
    Minus(Box<SetValue>, Box<SetValue>),
    IfNotExists(Path, Box<SetValue>),
    ListAppend(Box<SetValue>, Box<SetValue>),
}

/// One action of an update.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are DynamoDB's")]
pub enum Action {
    Set { path: Path, value: SetValue },
    Remove { path: Path },
    Add { path: Path, value: String },
    Delete { path: Path, value: String },
}

/// The clauses of an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are DynamoDB's")]
pub enum Section {
    Set,
    Remove,
    Add,
    Delete,
}

/// A path whose names are attribute names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ResolvedPath {
    /// The top-level attribute.
    pub root: String,
    /// What follows it.
    pub steps: Vec<ResolvedStep>,
}

/// One step of a resolved path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ResolvedStep {
    /// Into a map.
    Field(String),
    /// Into a list.
    Index(u32),
}

impl Name {
    /// The attribute name: itself, or what its placeholder stands for.
    pub(super) fn resolve<'b>(
        &'b self,
        kind: ExpressionKind,
        names: &'b BTreeMap<String, String>,
    ) -> Result<&'b str, ApiError> {
        match self {
            Self::Literal(name) => Ok(name),
            Self::Placeholder(placeholder) => match names.get(placeholder) {
                Some(name) => Ok(name),
                None => Err(kind.invalid(format_args!(
                    "An expression attribute name used in the document path is not defined; attribute name: \
                     {placeholder}"
                ))),
            },
        }
    }
}

impl Path {
    /// How many names and indexes it has.
    pub(super) fn depth(&self) -> usize {
        1 + self.steps.len()
    }

    /// Its names, in order.
    pub(super) fn names(&self) -> impl Iterator<Item = &Name> {
        std::iter::once(&self.root).chain(self.steps.iter().filter_map(|step| match step {
            Step::Field(name) => Some(name),
            Step::Index(_) => None,
        }))
    }

    /// The path with attribute names in place of its placeholders.
    pub(super) fn resolve(
        &self,
        kind: ExpressionKind,
        names: &BTreeMap<String, String>,
    ) -> Result<ResolvedPath, ApiError> {
        let root = self.root.resolve(kind, names)?.to_owned();
        let steps = self
            .steps
            .iter()
            .map(|step| {
                Ok(match step {
                    Step::Field(name) => ResolvedStep::Field(name.resolve(kind, names)?.to_owned()),
                    Step::Index(index) => ResolvedStep::Index(*index),
                })
            })
            .collect::<Result<_, ApiError>>()?;
        Ok(ResolvedPath { root, steps })
    }
}

impl ConditionTree {
    /// Calls `visit` with every path in it.
    pub(super) fn for_each_path(&self, visit: &mut impl FnMut(&Path)) {
        fn operand(of: &Operand, visit: &mut impl FnMut(&Path)) {
            match of {
                Operand::Value(_) => {}
                Operand::Path(path) => visit(path),
                Operand::Size(of) => operand(of, visit),
            }
        }
        match self {
            Self::And(terms) | Self::Or(terms) => {
                terms.iter().for_each(|term| term.for_each_path(visit));
            }
            Self::Not(term) => term.for_each_path(visit),
            Self::Compare { left, right, .. } => {
                operand(left, visit);
                operand(right, visit);
            }
            Self::Between { operand: of, lower, upper } => {
                [of, lower, upper].into_iter().for_each(|each| operand(each, visit));
            }
            Self::In { operand: of, list } => {
                operand(of, visit);
                list.iter().for_each(|each| operand(each, visit));
            }
            Self::AttributeExists(path) | Self::AttributeNotExists(path) | Self::AttributeType(path, _) => {
                visit(path)
            }
            Self::BeginsWith(of, other) | Self::Contains(of, other) => {
                operand(of, visit);
                operand(other, visit);
            }
        }
    }
}

impl Comparator {
    /// As it is written.
    #[must_use]
    pub const fn symbol(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "<>",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }
}

impl Action {
    /// The path that it writes.
    #[must_use]
    pub const fn path(&self) -> &Path {
        match self {
            Self::Set { path, .. }
            | Self::Remove { path }
            | Self::Add { path, .. }
            | Self::Delete { path, .. } => path,
        }
    }

    /// The clause that it belongs to.
    #[must_use]
    pub const fn section(&self) -> Section {
        match self {
            Self::Set { .. } => Section::Set,
            Self::Remove { .. } => Section::Remove,
            Self::Add { .. } => Section::Add,
            Self::Delete { .. } => Section::Delete,
        }
    }
}

impl Section {
    /// Its keyword.
    #[must_use]
    pub const fn keyword(self) -> &'static str {
        match self {
            Self::Set => "SET",
            Self::Remove => "REMOVE",
            Self::Add => "ADD",
            Self::Delete => "DELETE",
        }
    }
}
