//! Prints trees: as texts that parse back to them, and paths as DynamoDB's messages show them.

use std::fmt::{self, Display, Formatter};

use super::ast::{Action, ConditionTree, Name, Operand, Path, ResolvedPath, ResolvedStep, SetValue, Step};

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
