//! `ExclusiveStartKey`: where a page begins.

use crate::error::ApiError;
use crate::item::ItemView;
use crate::key::KeyBounds;
use crate::operation::{EncodedItem, StorageKey};
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
/// `ValidationException` with `outside` when the start key is not within `bounds`.
pub(super) fn after(
    mut bounds: KeyBounds,
    start_key: Option<&EncodedItem>,
    forward: bool,
    table: &TableDescriptor,
    outside: &'static str,
) -> Result<KeyBounds, ApiError> {
    let Some(start_key) = start_key else {
        return Ok(bounds);
    };
    let key = storage_key(start_key.view(), table)?;
    check_within(&key, &bounds, outside)?;
    if forward {
        bounds.start = key.successor();
    } else {
        bounds.end = Some(key);
    }
    Ok(bounds)
}

/// Refuses a key that is not within `bounds`.
///
/// # Errors
/// `ValidationException` with `outside`.
pub(super) fn check_within(
    key: &StorageKey,
    bounds: &KeyBounds,
    outside: &'static str,
) -> Result<(), ApiError> {
    if *key < bounds.start || bounds.end.as_ref().is_some_and(|end| key >= end) {
        return Err(ApiError::validation(outside));
    }
    Ok(())
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
