//! The trees that expressions parse to. Placeholders stay; printing a tree gives a text that parses
//! back to it.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

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

impl Display for Name {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(name) | Self::Placeholder(name) => f.write_str(name),
        }
    }
}

impl Display for Path {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.root)?;
        self.steps.iter().try_for_each(|step| match step {
            Step::Field(name) => write!(f, ".{name}"),
            Step::Index(index) => write!(f, "[{index}]"),
        })
    }
}

/// As DynamoDB's messages show a path: `[a, [3], b]`.
impl Display for ResolvedPath {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "[{}", self.root)?;
        for step in &self.steps {
            match step {
                ResolvedStep::Field(name) => write!(f, ", {name}")?,
                ResolvedStep::Index(index) => write!(f, ", [{index}]")?,
            }
        }
        f.write_str("]")
    }
}

impl Display for Operand {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(name) => f.write_str(name),
            Self::Path(path) => write!(f, "{path}"),
            Self::Size(operand) => write!(f, "size({operand})"),
        }
    }
}

impl Display for ConditionTree {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::And(terms) => write_terms(f, terms, " AND "),
            Self::Or(terms) => write_terms(f, terms, " OR "),
            Self::Not(term) => {
                f.write_str("NOT ")?;
                write_term(f, term)
            }
            Self::Compare { left, comparator, right } => write!(f, "{left} {} {right}", comparator.symbol()),
            Self::Between { operand, lower, upper } => write!(f, "{operand} BETWEEN {lower} AND {upper}"),
            Self::In { operand, list } => {
                write!(f, "{operand} IN (")?;
                write_separated(f, list)?;
                f.write_str(")")
            }
            Self::AttributeExists(path) => write!(f, "attribute_exists({path})"),
            Self::AttributeNotExists(path) => write!(f, "attribute_not_exists({path})"),
            Self::AttributeType(path, value) => write!(f, "attribute_type({path}, {value})"),
            Self::BeginsWith(operand, prefix) => write!(f, "begins_with({operand}, {prefix})"),
            Self::Contains(operand, part) => write!(f, "contains({operand}, {part})"),
        }
    }
}

fn write_terms(f: &mut Formatter<'_>, terms: &[ConditionTree], joiner: &str) -> fmt::Result {
    for (index, term) in terms.iter().enumerate() {
        if index > 0 {
            f.write_str(joiner)?;
        }
        write_term(f, term)?;
    }
    Ok(())
}

fn write_term(f: &mut Formatter<'_>, term: &ConditionTree) -> fmt::Result {
    match term {
        ConditionTree::And(_) | ConditionTree::Or(_) => write!(f, "({term})"),
        _ => write!(f, "{term}"),
    }
}

fn write_separated(f: &mut Formatter<'_>, parts: &[impl Display]) -> fmt::Result {
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            f.write_str(", ")?;
        }
        write!(f, "{part}")?;
    }
    Ok(())
}

impl Display for SetValue {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(name) => f.write_str(name),
            Self::Path(path) => write!(f, "{path}"),
            Self::Plus(left, right) => {
                write!(f, "{} + {}", Grouped(left), Grouped(right))
            }
            Self::Minus(left, right) => {
                write!(f, "{} - {}", Grouped(left), Grouped(right))
            }
            Self::IfNotExists(path, fallback) => write!(f, "if_not_exists({path}, {})", Grouped(fallback)),
            Self::ListAppend(first, second) => {
                write!(f, "list_append({}, {})", Grouped(first), Grouped(second))
            }
        }
    }
}

/// An operand, in parentheses where it is arithmetic.
struct Grouped<'a>(&'a SetValue);

impl Display for Grouped<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            SetValue::Plus(..) | SetValue::Minus(..) => write!(f, "({})", self.0),
            _ => write!(f, "{}", self.0),
        }
    }
}

impl Display for Action {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Set { path, value } => write!(f, "{path} = {value}"),
            Self::Remove { path } => write!(f, "{path}"),
            Self::Add { path, value } | Self::Delete { path, value } => write!(f, "{path} {value}"),
        }
    }
}

/// Writes actions as one update expression; those of one section must be adjacent.
pub(super) fn write_actions(f: &mut Formatter<'_>, actions: &[Action]) -> fmt::Result {
    let mut section = None;
    for action in actions {
        match section {
            Some(current) if current == action.section() => f.write_str(", ")?,
            Some(_) => write!(f, " {} ", action.section().keyword())?,
            None => write!(f, "{} ", action.section().keyword())?,
        }
        section = Some(action.section());
        write!(f, "{action}")?;
    }
    Ok(())
}

/// Writes paths as one projection expression.
pub(super) fn write_paths(f: &mut Formatter<'_>, paths: &[Path]) -> fmt::Result {
    write_separated(f, paths)
}
