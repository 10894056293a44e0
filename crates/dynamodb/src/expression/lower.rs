//! From what is written to what is meant: names, indexes and functions are checked here, in the order in
//! which they are written, as far as that needs no bindings.

use super::ast::{Action, ConditionTree, Name, Operand, Path, Section, SetValue, Step};
use super::grammar::{PathPart, WrittenCall, WrittenClause, WrittenCondition, WrittenOperand, WrittenPath};
use super::reserved::is_reserved;
use super::{ExpressionKind, MAX_PATH_DEPTH};
use crate::error::ApiError;
use crate::value::ValueKind;

/// DynamoDB: at most 100 operands in an `IN`.
const MAX_IN_OPERANDS: usize = 100;
/// Longest list index that DynamoDB takes.
const MAX_INDEX: u32 = i32::MAX.unsigned_abs();
/// How DynamoDB lists the types that a document path may have.
const ANY_TYPE: &str =
    "{SS,M,DECIMAL,DOUBLESET,HDS,N,B,DICT,INTSET,BOOL,HD,BS,INT,DECIMALSET,NULL,FLOAT,FS,S,L,NS,DOUBLE}";

/// Lowers one expression and counts its operators.
pub(super) struct Lowering {
    pub(super) kind: ExpressionKind,
    /// Comparators, logical and arithmetic operators, functions.
    pub(super) operators: usize,
}

/// The functions of conditions and updates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Function {
    AttributeExists,
    AttributeNotExists,
    AttributeType,
    BeginsWith,
    Contains,
    Size,
    IfNotExists,
    ListAppend,
}

/// Where a function may stand.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Condition,
    ConditionOperand,
    UpdateOperand,
}

impl Function {
    /// Function names are case-sensitive.
    fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "attribute_exists" => Self::AttributeExists,
            "attribute_not_exists" => Self::AttributeNotExists,
            "attribute_type" => Self::AttributeType,
            "begins_with" => Self::BeginsWith,
            "contains" => Self::Contains,
            "size" => Self::Size,
            "if_not_exists" => Self::IfNotExists,
            "list_append" => Self::ListAppend,
            _ => return None,
        })
    }

    const fn arity(self) -> usize {
        match self {
            Self::AttributeExists | Self::AttributeNotExists | Self::Size => 1,
            _ => 2,
        }
    }

    const fn place(self) -> Place {
        match self {
            Self::IfNotExists | Self::ListAppend => Place::UpdateOperand,
            Self::Size => Place::ConditionOperand,
            _ => Place::Condition,
        }
    }
}

impl Lowering {
    pub(super) const fn new(kind: ExpressionKind) -> Self {
        Self { kind, operators: 0 }
    }

    pub(super) fn condition(&mut self, written: WrittenCondition<'_>) -> Result<ConditionTree, ApiError> {
        Ok(match written {
            WrittenCondition::And(terms) => {
                self.operators += terms.len() - 1;
                ConditionTree::And(self.conditions(terms)?)
            }
            WrittenCondition::Or(terms) => {
                self.operators += terms.len() - 1;
                ConditionTree::Or(self.conditions(terms)?)
            }
            WrittenCondition::Not(term) => {
                self.operators += 1;
                ConditionTree::Not(Box::new(self.condition(*term)?))
            }
            WrittenCondition::Compare { left, comparator, right } => {
                self.operators += 1;
                let (left, right) = (self.operand(left)?, self.operand(right)?);
                ConditionTree::Compare { left, comparator, right }
            }
            WrittenCondition::Between { operand, lower, upper } => {
                self.operators += 1;
                let (operand, lower) = (self.operand(operand)?, self.operand(lower)?);
                ConditionTree::Between { operand, lower, upper: self.operand(upper)? }
            }
            WrittenCondition::In { operand, list } => self.in_list(operand, list)?,
            WrittenCondition::Call(call) => self.condition_function(call)?,
        })
    }

    pub(super) fn paths(&mut self, written: Vec<WrittenPath<'_>>) -> Result<Vec<Path>, ApiError> {
        written.into_iter().map(|path| self.path(path)).collect()
    }

    /// Clauses are looked at in the order in which their keyword first appears.
    pub(super) fn update(&mut self, clauses: Vec<WrittenClause<'_>>) -> Result<Vec<Action>, ApiError> {
        let mut actions = Vec::new();
        let mut pending = clauses;
        while !pending.is_empty() {
            let section = pending[0].section;
            let (same, others): (Vec<_>, Vec<_>) =
                pending.into_iter().partition(|clause| clause.section == section);
            let repeated = same.len() > 1;
            for (path, operand) in same.into_iter().flat_map(|clause| clause.actions) {
                let path = self.path(path)?;
                actions.push(self.action(section, path, operand)?);
            }
            if repeated {
                return Err(self.kind.invalid(format_args!(
                    "The \"{}\" section can only be used once in an update expression;",
                    section.keyword()
                )));
            }
            pending = others;
        }
        Ok(actions)
    }

    fn action(
        &mut self,
        section: Section,
        path: Path,
        operand: Option<WrittenOperand<'_>>,
    ) -> Result<Action, ApiError> {
        Ok(match (section, operand) {
            (Section::Add, Some(WrittenOperand::Value(value))) => {
                Action::Add { path, value: value.to_owned() }
            }
            (Section::Delete, Some(WrittenOperand::Value(value))) => {
                Action::Delete { path, value: value.to_owned() }
            }
            (_, Some(operand)) => Action::Set { path, value: self.set_value(operand)? },
            (_, None) => Action::Remove { path },
        })
    }

    fn conditions(&mut self, terms: Vec<WrittenCondition<'_>>) -> Result<Vec<ConditionTree>, ApiError> {
        let mut conditions = Vec::with_capacity(terms.len());
        for term in terms {
            conditions.push(self.condition(term)?);
        }
        Ok(conditions)
    }

    fn in_list(
        &mut self,
        operand: WrittenOperand<'_>,
        list: Vec<WrittenOperand<'_>>,
    ) -> Result<ConditionTree, ApiError> {
        self.operators += 1;
        let operand = self.operand(operand)?;
        let list: Vec<Operand> = list.into_iter().map(|each| self.operand(each)).collect::<Result<_, _>>()?;
        if list.len() > MAX_IN_OPERANDS {
            return Err(self.kind.invalid(format_args!(
                "The IN operator is provided with too many operands; number of operands: {}",
                list.len()
            )));
        }
        Ok(ConditionTree::In { operand, list })
    }

    fn operand(&mut self, written: WrittenOperand<'_>) -> Result<Operand, ApiError> {
        match written {
            WrittenOperand::Value(name) => Ok(Operand::Value(name.to_owned())),
            WrittenOperand::Path(path) => self.path(path).map(Operand::Path),
            WrittenOperand::Call(call) => {
                let function = self.function(&call, Place::ConditionOperand)?;
                let [operand] = self.operands(function, call)?;
                if let Operand::Size(_) = operand {
                    return Err(self.wrong_type("size", ValueKind::N.name()));
                }
                Ok(Operand::Size(Box::new(operand)))
            }
            WrittenOperand::Arithmetic { .. } => unreachable!("the grammar has arithmetic only in updates"),
        }
    }

    fn condition_function(&mut self, call: WrittenCall<'_>) -> Result<ConditionTree, ApiError> {
        let function = self.function(&call, Place::Condition)?;
        let name = call.function.to_owned();
        Ok(match function {
            Function::AttributeExists => {
                let [operand] = self.operands(function, call)?;
                ConditionTree::AttributeExists(self.path_operand(&name, operand)?)
            }
            Function::AttributeNotExists => {
                let [operand] = self.operands(function, call)?;
                ConditionTree::AttributeNotExists(self.path_operand(&name, operand)?)
            }
            Function::AttributeType => {
                let [operand, wanted] = self.operands(function, call)?;
                let path = self.path_operand(&name, operand)?;
                match wanted {
                    Operand::Value(value) => ConditionTree::AttributeType(path, value),
                    Operand::Path(_) => return Err(self.wrong_type(&name, ANY_TYPE)),
                    Operand::Size(_) => return Err(self.wrong_type(&name, ValueKind::N.name())),
                }
            }
            Function::BeginsWith => {
                let [operand, prefix] = self.operands(function, call)?;
                ConditionTree::BeginsWith(operand, prefix)
            }
            _ => {
                let [operand, part] = self.operands(function, call)?;
                ConditionTree::Contains(operand, part)
            }
        })
    }

    fn set_value(&mut self, written: WrittenOperand<'_>) -> Result<SetValue, ApiError> {
        match written {
            WrittenOperand::Value(name) => Ok(SetValue::Value(name.to_owned())),
            WrittenOperand::Path(path) => self.path(path).map(SetValue::Path),
            WrittenOperand::Arithmetic { plus, left, right } => {
                self.operators += 1;
                let (left, right) = (Box::new(self.set_value(*left)?), Box::new(self.set_value(*right)?));
                Ok(if plus { SetValue::Plus(left, right) } else { SetValue::Minus(left, right) })
            }
            WrittenOperand::Call(call) => self.update_function(call),
        }
    }

    fn update_function(&mut self, call: WrittenCall<'_>) -> Result<SetValue, ApiError> {
        let function = self.function(&call, Place::UpdateOperand)?;
        let operands: Vec<SetValue> =
            call.operands.into_iter().map(|each| self.set_value(each)).collect::<Result<_, _>>()?;
        let [first, second] = <[SetValue; 2]>::try_from(operands)
            .map_err(|operands| self.wrong_count(call.function, operands.len()))?;
        if function == Function::ListAppend {
            return Ok(SetValue::ListAppend(Box::new(first), Box::new(second)));
        }
        match first {
            SetValue::Path(path) => Ok(SetValue::IfNotExists(path, Box::new(second))),
            _ => Err(self.requires_path(call.function)),
        }
    }

    /// The function that `call` names, if it may stand in `place`. An update's operands are counted
    /// after they have been looked at, a condition's before.
    fn function(&mut self, call: &WrittenCall<'_>, place: Place) -> Result<Function, ApiError> {
        self.operators += 1;
        let name = call.function;
        let Some(function) = Function::from_name(name) else {
            return Err(self.kind.invalid(format_args!("Invalid function name; function: {name}")));
        };
        let in_update = place == Place::UpdateOperand;
        if in_update && function.place() != place {
            return Err(self.kind.invalid(format_args!(
                "The function is not allowed in an update expression; function: {name}"
            )));
        }
        if !in_update && function.place() == Place::UpdateOperand {
            return Err(self.kind.invalid(format_args!(
                "The function is not allowed in a condition expression; function: {name}"
            )));
        }
        if function.place() != place {
            return Err(self.kind.invalid(format_args!(
                "The function is not allowed to be used this way in an expression; function: {name}"
            )));
        }
        if !in_update && call.operands.len() != function.arity() {
            return Err(self.wrong_count(name, call.operands.len()));
        }
        Ok(function)
    }

    /// A condition function's operands; [`function`](Self::function) has counted them.
    fn operands<const N: usize>(
        &mut self,
        function: Function,
        call: WrittenCall<'_>,
    ) -> Result<[Operand; N], ApiError> {
        debug_assert_eq!(function.arity(), N);
        let count = call.operands.len();
        let operands: Vec<Operand> =
            call.operands.into_iter().map(|each| self.operand(each)).collect::<Result<_, _>>()?;
        operands.try_into().map_err(|_| self.wrong_count(call.function, count))
    }

    fn path_operand(&self, function: &str, operand: Operand) -> Result<Path, ApiError> {
        match operand {
            Operand::Path(path) => Ok(path),
            Operand::Value(_) | Operand::Size(_) => Err(self.requires_path(function)),
        }
    }

    fn path(&mut self, written: WrittenPath<'_>) -> Result<Path, ApiError> {
        let depth = written.len();
        let mut parts = written.into_iter();
        let root = match parts.next() {
            Some(PathPart::Placeholder(name)) => Name::Placeholder(name.to_owned()),
            Some(PathPart::Name(name)) => self.literal(name)?,
            Some(PathPart::Index(_)) | None => unreachable!("the grammar begins a path with a name"),
        };
        let steps = parts
            .map(|part| {
                Ok(match part {
                    PathPart::Name(name) => Step::Field(self.literal(name)?),
                    PathPart::Placeholder(name) => Step::Field(Name::Placeholder(name.to_owned())),
                    PathPart::Index(digits) => Step::Index(self.index(digits)?),
                })
            })
            .collect::<Result<Vec<_>, ApiError>>()?;
        if depth > MAX_PATH_DEPTH {
            return Err(self.kind.invalid(format_args!(
                "The document path has too many nesting levels; nesting levels: {depth}"
            )));
        }
        Ok(Path { root, steps })
    }

    fn literal(&self, name: &str) -> Result<Name, ApiError> {
        if is_reserved(name) {
            return Err(self
                .kind
                .invalid(format_args!("Attribute name is a reserved keyword; reserved keyword: {name}")));
        }
        Ok(Name::Literal(name.to_owned()))
    }

    fn index(&self, digits: &str) -> Result<u32, ApiError> {
        digits.parse().ok().filter(|index| *index <= MAX_INDEX).ok_or_else(|| {
            self.kind.invalid(format_args!("List index is not within the allowable range; index: [{digits}]"))
        })
    }

    fn wrong_count(&self, function: &str, count: usize) -> ApiError {
        self.kind.invalid(format_args!(
            "Incorrect number of operands for operator or function; operator or function: {function}, \
             number of operands: {count}"
        ))
    }

    fn requires_path(&self, function: &str) -> ApiError {
        self.kind.invalid(format_args!(
            "Operator or function requires a document path; operator or function: {function}"
        ))
    }

    fn wrong_type(&self, operator: &str, kind: &str) -> ApiError {
        self.kind.incorrect_operand(operator, kind)
    }
}
