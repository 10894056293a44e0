//! Updates: parsed, and applied to an item. Everything that an update reads, it reads from the item as it
//! was before.

use std::fmt::{self, Display, Formatter};

use super::ast::{Action, ResolvedPath, ResolvedStep, SetValue};
use super::lower::Lowering;
use super::print::write_actions;
use super::projection::PathSelection;
use super::scope::Scope;
use super::{ExpressionKind, grammar, read};
use crate::error::ApiError;
use crate::item::{ItemView, ValueRef};
use crate::number::Number;
use crate::operation::{Bindings, EncodedItem, ExpressionText};
use crate::value::{AttributeValue, Item};

const INVALID_PATH: &str = "The document path provided in the update expression is invalid for update";
const MISSING_ATTRIBUTE: &str =
    "The provided expression refers to an attribute that does not exist in the item";
const WRONG_OPERAND: &str = "An operand in the update expression has an incorrect data type";
const ITEM_TOO_LARGE: &str = "Item size to update has exceeded the maximum allowed size";

/// How much an update's values may be together, encoded: an item has at most 400 KB, which is less than
/// twice that when encoded. Without it, 4 KB of `list_append`s would make gigabytes of a list.
const MAX_PRODUCED_BYTES: usize = 2 << 20;

/// A parsed `UpdateExpression`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdateExpression {
    text: ExpressionText,
    actions: Vec<Action>,
    operators: usize,
}

/// What an update made of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Updated {
    /// The new item.
    pub item: Item,
    /// The paths that the update named.
    pub touched: TouchedPaths,
}

/// The paths that an update named, resolved: what `UPDATED_OLD` and `UPDATED_NEW` return.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TouchedPaths(Vec<ResolvedPath>);

impl UpdateExpression {
    /// Reads `text`.
    ///
    /// # Errors
    /// `ValidationException` with DynamoDB's message.
    pub fn parse(text: &str) -> Result<Self, ApiError> {
        let kind = ExpressionKind::Update;
        let written = read(kind, text, grammar::update)?;
        let mut lowering = Lowering::new(kind);
        let actions = lowering.update(written)?;
        Ok(Self { text: text.into(), actions, operators: lowering.operators })
    }

    /// The text that it was parsed from.
    #[must_use]
    pub fn text(&self) -> &ExpressionText {
        &self.text
    }

    /// Its actions; those of one clause are adjacent.
    #[must_use]
    pub fn actions(&self) -> &[Action] {
        &self.actions
    }

    /// How many operators and functions it has.
    pub(super) const fn operators(&self) -> usize {
        self.operators
    }

    /// Applies it to the current item, or to the key attributes where there is none yet.
    ///
    /// # Errors
    /// `ValidationException` when an operand or a path does not fit the item.
    pub fn apply(&self, current: ItemView<'_>, bindings: &Bindings) -> Result<Updated, ApiError> {
        let before = Before {
            scope: Scope::new(ExpressionKind::Update, Some(current), bindings),
            produced: std::cell::Cell::new(0),
        };
        let paths = self
            .actions
            .iter()
            .map(|action| action.path().resolve(ExpressionKind::Update, &bindings.names))
            .collect::<Result<Vec<_>, _>>()?;
        let actions = || self.actions.iter().zip(&paths);

        // Operands that do not fit what is there are reported before any path or missing attribute.
        let combined =
            actions().map(|(action, path)| before.combine(action, path)).collect::<Result<Vec<_>, _>>()?;
        let mut changes = Vec::with_capacity(self.actions.len());
        for ((action, path), combined) in actions().zip(combined) {
            let change = match action {
                Action::Set { value, .. } => Change::Write(before.evaluate(value)?),
                Action::Remove { .. } => Change::Remove,
                Action::Add { .. } | Action::Delete { .. } => combined,
            };
            changes.push((path, change));
        }

        let mut item = current.to_item();
        before.write(&mut item, changes)?;
        Ok(Updated { item, touched: TouchedPaths(paths) })
    }
}

/// Prints a text that parses back to the same actions.
impl Display for UpdateExpression {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write_actions(f, &self.actions)
    }
}

impl TouchedPaths {
    /// The touched parts of `item` (the item before for `UPDATED_OLD`, after for `UPDATED_NEW`);
    /// empty when it has none of them. A path into a list stands for its whole top-level attribute.
    #[must_use]
    pub fn project(&self, item: ItemView<'_>) -> EncodedItem {
        let into_list =
            |path: &&ResolvedPath| path.steps.iter().any(|step| matches!(step, ResolvedStep::Index(_)));
        let mut selection = PathSelection::default();
        for path in self.0.iter().filter(into_list) {
            selection.add(&ResolvedPath { root: path.root.clone(), steps: Vec::new() });
        }
        for path in self.0.iter().filter(|path| !into_list(path)) {
            if !self.0.iter().filter(into_list).any(|other| other.root == path.root) {
                selection.add(path);
            }
        }
        selection.apply(item)
    }

    /// The paths.
    #[must_use]
    pub fn paths(&self) -> &[ResolvedPath] {
        &self.0
    }
}

/// The item before the update, and how much has been read from it.
struct Before<'a> {
    scope: Scope<'a>,
    produced: std::cell::Cell<usize>,
}

/// What becomes of one path.
enum Change {
    Write(AttributeValue),
    Remove,
    /// Only the path is checked.
    Nothing,
}

impl<'a> Before<'a> {
    /// What `ADD` or `DELETE` makes of the value at `path`.
    fn combine(&self, action: &Action, path: &ResolvedPath) -> Result<Change, ApiError> {
        let current = self.scope.resolved_path(path);
        match action {
            Action::Add { value, .. } => {
                let operand = self.take(self.scope.value(value)?)?;
                match current {
                    None if can_be_added(&operand) => Ok(Change::Write(operand)),
                    None => Err(wrong_operand()),
                    Some(current) => add(self.take(current)?, operand).map(Change::Write),
                }
            }
            Action::Delete { value, .. } => {
                let operand = self.take(self.scope.value(value)?)?;
                match current {
                    None => Ok(Change::Nothing),
                    Some(current) => Ok(match delete(self.take(current)?, &operand)? {
                        Some(rest) => Change::Write(rest),
                        None => Change::Remove,
                    }),
                }
            }
            Action::Set { .. } | Action::Remove { .. } => Ok(Change::Nothing),
        }
    }

    fn evaluate(&self, value: &SetValue) -> Result<AttributeValue, ApiError> {
        match value {
            SetValue::Value(name) => self.take(self.scope.value(name)?),
            SetValue::Path(path) => match self.scope.path(path)? {
                Some(current) => self.take(current),
                None => Err(ApiError::validation(MISSING_ATTRIBUTE)),
            },
            SetValue::Plus(left, right) => {
                let (left, right) = (self.number(left)?, self.number(right)?);
                Ok(AttributeValue::N(left.checked_add(&right)?))
            }
            SetValue::Minus(left, right) => {
                let (left, right) = (self.number(left)?, self.number(right)?);
                Ok(AttributeValue::N(left.checked_sub(&right)?))
            }
            SetValue::IfNotExists(path, fallback) => match self.scope.path(path)? {
                Some(current) => self.take(current),
                None => self.evaluate(fallback),
            },
            SetValue::ListAppend(first, second) => match (self.evaluate(first)?, self.evaluate(second)?) {
                (AttributeValue::L(mut list), AttributeValue::L(mut more)) => {
                    list.append(&mut more);
                    Ok(AttributeValue::L(list))
                }
                _ => Err(wrong_operand()),
            },
        }
    }

    fn number(&self, value: &SetValue) -> Result<Number, ApiError> {
        match self.evaluate(value)? {
            AttributeValue::N(number) => Ok(number),
            _ => Err(wrong_operand()),
        }
    }

    /// Decodes a value, unless too much has been decoded already.
    fn take(&self, value: ValueRef<'a>) -> Result<AttributeValue, ApiError> {
        self.produced.set(self.produced.get() + value.encoded().len());
        if self.produced.get() > MAX_PRODUCED_BYTES {
            return Err(ApiError::validation(ITEM_TOO_LARGE));
        }
        Ok(value.to_value())
    }

    /// Writes in the order of the paths, so that what is appended to a list keeps the order of its
    /// indexes; then removes from the last path to the first, so that no removal moves another one's
    /// element. All indexes are those of the item before.
    fn write(&self, item: &mut Item, mut changes: Vec<(&ResolvedPath, Change)>) -> Result<(), ApiError> {
        changes.sort_by_key(|(path, _)| *path);
        let mut removals = Vec::new();
        for (path, change) in changes {
            if !self.has_parent(path) {
                return Err(ApiError::validation(INVALID_PATH));
            }
            match change {
                Change::Write(value) => put(item, path, value)?,
                Change::Remove if self.scope.resolved_path(path).is_some() => removals.push(path),
                Change::Remove | Change::Nothing => {}
            }
        }
        removals.into_iter().rev().for_each(|path| remove(item, path));
        Ok(())
    }

    /// Whether the path's last step can be taken in the item before: from a map by a name, from a list by
    /// an index. What it leads to need not exist.
    fn has_parent(&self, path: &ResolvedPath) -> bool {
        let Some((last, steps)) = path.steps.split_last() else { return true };
        let parent = ResolvedPath { root: path.root.clone(), steps: steps.to_vec() };
        self.scope.resolved_path(&parent).is_some_and(|parent| match last {
            ResolvedStep::Field(_) => parent.as_map().is_some(),
            ResolvedStep::Index(_) => parent.as_list().is_some(),
        })
    }
}

fn wrong_operand() -> ApiError {
    ApiError::validation(WRONG_OPERAND)
}

fn can_be_added(operand: &AttributeValue) -> bool {
    operand.kind().is_set() || matches!(operand, AttributeValue::N(_))
}

fn add(current: AttributeValue, operand: AttributeValue) -> Result<AttributeValue, ApiError> {
    Ok(match (current, operand) {
        (AttributeValue::N(one), AttributeValue::N(other)) => AttributeValue::N(one.checked_add(&other)?),
        (AttributeValue::SS(one), AttributeValue::SS(other)) => {
            AttributeValue::string_set(one.into_iter().chain(other))
        }
        (AttributeValue::NS(one), AttributeValue::NS(other)) => {
            AttributeValue::number_set(one.into_iter().chain(other))
        }
        (AttributeValue::BS(one), AttributeValue::BS(other)) => {
            AttributeValue::binary_set(one.into_iter().chain(other))
        }
        _ => return Err(wrong_operand()),
    })
}

/// The set without the operand's elements; none when nothing is left.
fn delete(current: AttributeValue, operand: &AttributeValue) -> Result<Option<AttributeValue>, ApiError> {
    fn without<T: Ord>(mut set: Vec<T>, gone: &[T]) -> Vec<T> {
        set.retain(|element| gone.binary_search(element).is_err());
        set
    }
    let rest = match (current, operand) {
        (AttributeValue::SS(set), AttributeValue::SS(gone)) => AttributeValue::SS(without(set, gone)),
        (AttributeValue::NS(set), AttributeValue::NS(gone)) => AttributeValue::NS(without(set, gone)),
        (AttributeValue::BS(set), AttributeValue::BS(gone)) => AttributeValue::BS(without(set, gone)),
        _ => return Err(wrong_operand()),
    };
    let is_empty = match &rest {
        AttributeValue::SS(set) => set.is_empty(),
        AttributeValue::NS(set) => set.is_empty(),
        AttributeValue::BS(set) => set.is_empty(),
        _ => false,
    };
    Ok((!is_empty).then_some(rest))
}

/// Writes at `path`, whose parent exists; past a list's end it appends.
fn put(item: &mut Item, path: &ResolvedPath, value: AttributeValue) -> Result<(), ApiError> {
    let Some((last, steps)) = path.steps.split_last() else {
        item.insert(path.root.clone(), value);
        return Ok(());
    };
    match (descend(item, &path.root, steps), last) {
        (Some(AttributeValue::M(map)), ResolvedStep::Field(name)) => {
            map.insert(name.clone(), value);
        }
        (Some(AttributeValue::L(list)), ResolvedStep::Index(index)) => {
            match usize::try_from(*index).ok().and_then(|index| list.get_mut(index)) {
                Some(element) => *element = value,
                None => list.push(value),
            }
        }
        _ => return Err(ApiError::validation(INVALID_PATH)),
    }
    Ok(())
}

fn remove(item: &mut Item, path: &ResolvedPath) {
    let Some((last, steps)) = path.steps.split_last() else {
        item.remove(&path.root);
        return;
    };
    match (descend(item, &path.root, steps), last) {
        (Some(AttributeValue::M(map)), ResolvedStep::Field(name)) => {
            map.remove(name);
        }
        (Some(AttributeValue::L(list)), ResolvedStep::Index(index)) => {
            if let Some(index) = usize::try_from(*index).ok().filter(|index| *index < list.len()) {
                list.remove(index);
            }
        }
        _ => {}
    }
}

fn descend<'i>(item: &'i mut Item, root: &str, steps: &[ResolvedStep]) -> Option<&'i mut AttributeValue> {
    steps.iter().try_fold(item.get_mut(root)?, |value, step| match (value, step) {
        (AttributeValue::M(map), ResolvedStep::Field(name)) => map.get_mut(name),
        (AttributeValue::L(list), ResolvedStep::Index(index)) => list.get_mut(usize::try_from(*index).ok()?),
        _ => None,
    })
}
