//! `ExclusiveStartKey`: where a page begins.

use crate::error::ApiError;
use crate::expression::KeyCondition;
use crate::item::ItemView;
use crate::key::KeyBounds;
use crate::operation::StorageKey;
use crate::table::TableDescriptor;

const INVALID: &str = "The provided starting key is invalid";

/// The storage key that a start key stands for.
///
/// # Errors
/// `ValidationException` when it is not exactly the table's key.
pub(super) fn storage_key(key: ItemView<'_>, table: &TableDescriptor) -> Result<StorageKey, ApiError> {
    if key.len() != table.keys.attributes().count() {
        return Err(ApiError::validation(INVALID));
    }
    for attribute in table.keys.attributes() {
        match key.get(&attribute.name) {
            Some(value) if value.kind() == attribute.kind.kind() => {}
            _ => return Err(ApiError::validation(INVALID)),
        }
    }
    table.keys.storage_key_of_key(key, table.hash_seed)
}

/// The part of `bounds` that comes after the start key in the order of reading.
///
/// # Errors
/// `ValidationException` when it is not exactly the table's key.
pub(super) fn after(
    mut bounds: KeyBounds,
    start_key: ItemView<'_>,
    forward: bool,
    table: &TableDescriptor,
) -> Result<KeyBounds, ApiError> {
    let key = storage_key(start_key, table)?;
    if forward {
        bounds.start = bounds.start.max(key.successor());
    } else {
        bounds.end = Some(bounds.end.map_or_else(|| key.clone(), |end| end.min(key.clone())));
    }
    Ok(bounds)
}

/// Refuses a start key that the query's key condition could not have produced.
///
/// # Errors
/// `ValidationException` in DynamoDB's words.
pub(super) fn check_in_query(
    start_key: ItemView<'_>,
    condition: KeyCondition<'_>,
    table: &TableDescriptor,
) -> Result<(), ApiError> {
    let key = storage_key(start_key, table)?;
    let Some(partition) = start_key.get(&table.keys.partition.name) else {
        return Err(ApiError::validation(INVALID));
    };
    if !table.keys.bounds(partition, condition.sort, table.hash_seed)?.contains(&key) {
        return Err(ApiError::validation("The provided starting key does not match the range key predicate"));
    }
    if partition == condition.partition {
        return Ok(());
    }
    Err(ApiError::validation(if condition.sort.is_some() {
        "The query can return at most one row and cannot be restarted"
    } else if table.keys.sort.is_none() {
        "The provided exclusive start key is invalid"
    } else {
        "The provided starting key is outside query boundaries based on provided conditions"
    }))
}

/// Refuses an index: tables have none yet.
///
/// # Errors
/// `ValidationException` as DynamoDB words it for an index that the table does not have.
pub(super) fn refuse_index(index: Option<&str>) -> Result<(), ApiError> {
    index.map_or(Ok(()), |index| {
        Err(ApiError::validation(format!("The table does not have the specified index: {index}")))
    })
}
