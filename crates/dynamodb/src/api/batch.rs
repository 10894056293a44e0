//! What the two batch operations have in common.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use units::MilliUnits;

use super::constraint::Constraints;
use super::consumed_capacity::ReturnConsumedCapacity;
use super::table_name;
use crate::error::ApiError;
use crate::json;
use crate::operation::{Operation, Outcome};

/// One operation of a batch.
#[derive(Clone, Debug)]
pub struct BatchOperation {
    /// Which of the batch's tables: an index into `table_names()`.
    pub table: usize,
    /// What to do there.
    pub operation: Operation,
}

/// Checks that there are tables, and that their names may be tables' names.
pub(super) fn check_tables<T>(
    given: Option<BTreeMap<String, T>>,
    path: &str,
    constraints: &mut Constraints,
) -> BTreeMap<String, T> {
    let Some(tables) = given else {
        constraints.missing("requestItems");
        return BTreeMap::new();
    };
    if tables.is_empty() {
        constraints.other(format!(
            "Value at '{path}' failed to satisfy constraint: Member must have length greater than or \
             equal to 1"
        ));
    }
    for name in tables.keys().filter(|name| !table_name::is_valid(&table_name(name))) {
        constraints.broken(
            name,
            "requestItems",
            "satisfy constraint: [Member must have length less than or equal to 255, Member must have \
             length greater than or equal to 3, Member must satisfy regular expression pattern: \
             [a-zA-Z0-9_.-]+]",
        );
    }
    tables
}

/// The name in a name or ARN.
pub(super) fn table_name(given: &str) -> String {
    table_name::without_arn(Cow::Borrowed(given)).into_owned()
}

/// Refuses a batch that names an item twice.
///
/// # Errors
/// `ValidationException`.
pub(super) fn refuse_duplicates(operations: &[BatchOperation]) -> Result<(), ApiError> {
    let mut seen = BTreeSet::new();
    for BatchOperation { table, operation } in operations {
        if !seen.insert((table, operation.routing_key())) {
            return Err(ApiError::validation("Provided list of item keys contains duplicates"));
        }
    }
    Ok(())
}

/// A batch succeeds when any of its operations did; otherwise its answer is the first error.
///
/// # Errors
/// The first operation's error, when all failed.
pub(super) fn refuse_if_all_failed(results: &[Result<Outcome, ApiError>]) -> Result<(), ApiError> {
    if results.iter().any(Result::is_ok) {
        return Ok(());
    }
    match results.first() {
        Some(Err(error)) => Err(error.clone()),
        _ => Ok(()),
    }
}

/// Appends `"name":`, with a comma before it unless it is the first.
pub(super) fn begin_member(object: &mut Vec<u8>, name: &str) {
    if !object.is_empty() {
        object.push(b',');
    }
    json::write_string(name, object);
    object.push(b':');
}

/// What a batch consumed of each table.
#[derive(Debug, Default)]
pub(super) struct Charges(BTreeMap<String, MilliUnits>);

impl Charges {
    pub(super) fn add(&mut self, table: &str, cost: MilliUnits) {
        if cost > MilliUnits::ZERO {
            *self.0.entry(table.to_owned()).or_default() += cost;
        }
    }

    pub(super) fn total(&self) -> MilliUnits {
        self.0.values().copied().sum()
    }

    /// Appends `,"ConsumedCapacity":[…]` when asked for.
    pub(super) fn write(&self, asked: ReturnConsumedCapacity, body: &mut Vec<u8>) {
        if asked == ReturnConsumedCapacity::None {
            return;
        }
        body.extend_from_slice(b",\"ConsumedCapacity\":[");
        for (index, (table, consumed)) in self.0.iter().enumerate() {
            if index > 0 {
                body.push(b',');
            }
            asked.write(body, table, *consumed);
        }
        body.push(b']');
    }
}
