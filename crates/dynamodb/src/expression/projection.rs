//! Projections: parsed, and applied to encoded items.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

use super::ast::{Path, ResolvedPath, ResolvedStep};
use super::lower::Lowering;
use super::print::write_paths;
use super::{ExpressionKind, grammar, read};
use crate::error::ApiError;
use crate::item::{ItemView, ValueRef};
use crate::item_builder::ItemBuilder;
use crate::operation::{Bindings, EncodedItem, ExpressionText};

/// A parsed `ProjectionExpression`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Projection {
    text: ExpressionText,
    paths: Vec<Path>,
}

impl Projection {
    /// Reads `text`.
    ///
    /// # Errors
    /// `ValidationException` with DynamoDB's message.
    pub fn parse(text: &str) -> Result<Self, ApiError> {
        let kind = ExpressionKind::Projection;
        let written = read(kind, text, grammar::projection)?;
        Ok(Self { text: text.into(), paths: Lowering::new(kind).paths(written)? })
    }

    /// The text that it was parsed from.
    #[must_use]
    pub fn text(&self) -> &ExpressionText {
        &self.text
    }

    /// The paths, as written.
    #[must_use]
    pub fn paths(&self) -> &[Path] {
        &self.paths
    }

    /// The paths with attribute names for placeholders, ready to be applied to many items.
    ///
    /// # Errors
    /// `ValidationException` when a placeholder has no binding.
    pub fn bind(&self, bindings: &Bindings) -> Result<PathSelection, ApiError> {
        let mut selection = PathSelection::default();
        for path in &self.paths {
            selection.add(&path.resolve(ExpressionKind::Projection, &bindings.names)?);
        }
        Ok(selection)
    }

    /// The parts of `item` that the paths name. See [`bind`](Self::bind) for many items.
    ///
    /// # Errors
    /// `ValidationException` when a placeholder has no binding.
    pub fn apply(&self, item: ItemView<'_>, bindings: &Bindings) -> Result<EncodedItem, ApiError> {
        Ok(self.bind(bindings)?.apply(item))
    }
}

/// Prints a text that parses back to the same paths.
impl Display for Projection {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write_paths(f, &self.paths)
    }
}

/// Paths merged into a tree: which parts of an item to take.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathSelection {
    root: Selection,
}

/// Which parts of one value to take. One that names none takes it whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Selection {
    fields: BTreeMap<String, Selection>,
    elements: BTreeMap<u32, Selection>,
}

impl PathSelection {
    pub(super) fn add(&mut self, path: &ResolvedPath) {
        let mut node = self.root.fields.entry(path.root.clone()).or_default();
        for step in &path.steps {
            node = match step {
                ResolvedStep::Field(name) => node.fields.entry(name.clone()).or_default(),
                ResolvedStep::Index(index) => node.elements.entry(*index).or_default(),
            };
        }
    }

    /// The selected parts of `item`. List elements keep their order and close up.
    #[must_use]
    pub fn apply(&self, item: ItemView<'_>) -> EncodedItem {
        let mut builder = ItemBuilder::new();
        self.root.write_fields(item, &mut builder);
        builder.finish().expect("a selection names each attribute once")
    }
}

impl Selection {
    fn is_whole(&self) -> bool {
        self.fields.is_empty() && self.elements.is_empty()
    }

    /// Whether `value` has any of the selected parts.
    fn finds_any(&self, value: ValueRef<'_>) -> bool {
        self.is_whole()
            || value.as_map().is_some_and(|map| {
                self.fields
                    .iter()
                    .any(|(name, part)| map.get(name).is_some_and(|value| part.finds_any(value)))
            })
            || value.as_list().is_some_and(|list| {
                self.elements.iter().any(|(index, part)| {
                    list.get(position(*index)).is_some_and(|value| part.finds_any(value))
                })
            })
    }

    fn write(&self, value: ValueRef<'_>, builder: &mut ItemBuilder) {
        if self.is_whole() {
            builder.value_ref(value);
        } else if let Some(map) = value.as_map() {
            builder.begin_map();
            self.write_fields(map, builder);
            builder.end().expect("a selection names each field once");
        } else if let Some(list) = value.as_list() {
            builder.begin_list();
            for (index, part) in &self.elements {
                if let Some(element) = list.get(position(*index)).filter(|value| part.finds_any(*value)) {
                    part.write(element, builder);
                }
            }
            builder.end().expect("a list has no names");
        }
    }

    fn write_fields(&self, map: ItemView<'_>, builder: &mut ItemBuilder) {
        for (name, part) in &self.fields {
            if let Some(value) = map.get(name).filter(|value| part.finds_any(*value)) {
                builder.name(name).expect("the item has an attribute of this name");
                part.write(value, builder);
            }
        }
    }
}

fn position(index: u32) -> usize {
    usize::try_from(index).unwrap_or(usize::MAX)
}
