//! Paths of one update or projection must not touch each other.

use std::borrow::Borrow;
use std::collections::BTreeMap;

use super::ExpressionKind;
use super::ast::{Path, ResolvedPath, ResolvedStep};
use crate::error::ApiError;

/// How two paths are at odds.
#[derive(Clone, Copy)]
enum Clash {
    /// One leads to or through where the other leads.
    Overlap,
    /// They take one value for a map and for a list.
    Conflict,
}

/// Refuses paths of which one is inside another, or which take one value for a map and for a list.
pub(super) fn check_overlaps<P: Borrow<Path>>(
    kind: ExpressionKind,
    paths: impl IntoIterator<Item = P>,
    names: &BTreeMap<String, String>,
) -> Result<(), ApiError> {
    let paths = paths
        .into_iter()
        .map(|path| path.borrow().resolve(kind, names))
        .collect::<Result<Vec<ResolvedPath>, _>>()?;

    // In order, paths that begin alike are neighbours, so that any clash has one between neighbours.
    let mut ordered: Vec<&ResolvedPath> = paths.iter().collect();
    ordered.sort_unstable();
    if ordered.windows(2).all(|pair| clash(pair[0], pair[1]).is_none()) {
        return Ok(());
    }

    // The message names the first two as written.
    for (index, one) in paths.iter().enumerate() {
        for other in &paths[index + 1..] {
            if let Some(clash) = clash(one, other) {
                let verb = match clash {
                    Clash::Overlap => "overlap",
                    Clash::Conflict => "conflict",
                };
                return Err(kind.invalid(format_args!(
                    "Two document paths {verb} with each other; must remove or rewrite one of these paths; path \
                     one: {one}, path two: {other}"
                )));
            }
        }
    }
    Ok(())
}

fn clash(one: &ResolvedPath, other: &ResolvedPath) -> Option<Clash> {
    if one.root != other.root {
        return None;
    }
    let differing = one.steps.iter().zip(&other.steps).find(|(one, other)| one != other);
    match differing {
        None => Some(Clash::Overlap),
        Some(
            (ResolvedStep::Field(_), ResolvedStep::Index(_))
            | (ResolvedStep::Index(_), ResolvedStep::Field(_)),
        ) => Some(Clash::Conflict),
        Some(_) => None,
    }
}
