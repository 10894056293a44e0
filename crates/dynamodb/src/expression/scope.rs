//! What paths and placeholders stand for while an expression is evaluated.

use super::ExpressionKind;
use super::ast::{Path, ResolvedPath, ResolvedStep, Step};
use crate::error::ApiError;
use crate::item::{ItemView, ValueRef};
use crate::operation::Bindings;

/// An item, and a request's bindings.
pub(super) struct Scope<'a> {
    kind: ExpressionKind,
    item: Option<ItemView<'a>>,
    values: Option<ItemView<'a>>,
    bindings: &'a Bindings,
}

impl<'a> Scope<'a> {
    pub(super) fn new(kind: ExpressionKind, item: Option<ItemView<'a>>, bindings: &'a Bindings) -> Self {
        let values = bindings.values.as_ref().map(|values| values.view());
        Self { kind, item, values, bindings }
    }

    /// The value that `placeholder` stands for.
    pub(super) fn value(&self, placeholder: &str) -> Result<ValueRef<'a>, ApiError> {
        self.values.and_then(|values| values.get(placeholder)).ok_or_else(|| {
            self.kind.invalid(format_args!(
                "An expression attribute value used in expression is not defined; attribute value: {placeholder}"
            ))
        })
    }

    /// What the item has at `path`.
    pub(super) fn path(&self, path: &Path) -> Result<Option<ValueRef<'a>>, ApiError> {
        let names = &self.bindings.names;
        let mut found = self.item.and_then(|item| match path.root.resolve(self.kind, names) {
            Ok(name) => item.get(name).map(Ok),
            Err(undefined) => Some(Err(undefined)),
        });
        for step in &path.steps {
            let Some(value) = found.transpose()? else { return Ok(None) };
            found = match step {
                Step::Field(name) => {
                    let name = name.resolve(self.kind, names)?;
                    value.as_map().and_then(|map| map.get(name)).map(Ok)
                }
                Step::Index(index) => element(value, *index).map(Ok),
            };
        }
        found.transpose()
    }

    /// What the item has at the resolved `path`.
    pub(super) fn resolved_path(&self, path: &ResolvedPath) -> Option<ValueRef<'a>> {
        path.steps.iter().try_fold(self.item?.get(&path.root)?, |value, step| match step {
            ResolvedStep::Field(name) => value.as_map()?.get(name),
            ResolvedStep::Index(index) => element(value, *index),
        })
    }
}

fn element(value: ValueRef<'_>, index: u32) -> Option<ValueRef<'_>> {
    value.as_list()?.get(usize::try_from(index).ok()?)
}
