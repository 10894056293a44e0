//! The rules for `ExpressionAttributeNames` and `ExpressionAttributeValues` by themselves.

use std::collections::BTreeMap;

use crate::error::ApiError;
use crate::operation::EncodedItem;

/// DynamoDB: a placeholder has at most 255 characters.
const MAX_PLACEHOLDER_BYTES: usize = 255;
/// DynamoDB: an attribute name has at most 64 KB.
const MAX_NAME_BYTES: usize = 65_535;
/// DynamoDB: a request's names, and its values, have at most 2 MB together.
const MAX_BINDINGS_BYTES: usize = 2 << 20;

/// Checks `ExpressionAttributeNames`.
pub(super) fn check_names(names: &BTreeMap<String, String>) -> Result<(), ApiError> {
    const MAP: &str = "ExpressionAttributeNames";
    if names.is_empty() {
        return Err(ApiError::validation("ExpressionAttributeNames must not be empty"));
    }
    let mut bytes = 0;
    for (placeholder, name) in names {
        check_placeholder(MAP, placeholder, '#')?;
        if name.is_empty() {
            return Err(ApiError::validation(format!(
                "{MAP} contains invalid value: Empty attribute name for key {placeholder}"
            )));
        }
        if name.len() > MAX_NAME_BYTES {
            return Err(ApiError::validation("Attribute name is too large, must be less than 65536 bytes"));
        }
        bytes += placeholder.len() + name.len();
    }
    check_total(MAP, bytes)
}

/// Checks `ExpressionAttributeValues`.
pub(super) fn check_values(values: &EncodedItem) -> Result<(), ApiError> {
    const MAP: &str = "ExpressionAttributeValues";
    if values.view().is_empty() {
        return Err(ApiError::validation("ExpressionAttributeValues must not be empty"));
    }
    for (placeholder, _) in values.view().iter() {
        check_placeholder(MAP, placeholder, ':')?;
    }
    check_total(MAP, values.as_bytes().len())
}

fn check_placeholder(map: &str, placeholder: &str, sigil: char) -> Result<(), ApiError> {
    if placeholder.len() > MAX_PLACEHOLDER_BYTES {
        return Err(ApiError::validation(format!(
            "{map} contains invalid key: The expression attribute map contains a key that is too long; size of \
             key: {}",
            placeholder.len()
        )));
    }
    let well_formed = placeholder.strip_prefix(sigil).is_some_and(|name| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    });
    if well_formed {
        return Ok(());
    }
    Err(ApiError::validation(format!("{map} contains invalid key: Syntax error; key: \"{placeholder}\"")))
}

fn check_total(map: &str, bytes: usize) -> Result<(), ApiError> {
    if bytes <= MAX_BINDINGS_BYTES {
        return Ok(());
    }
    Err(ApiError::validation(format!(
        "{map} exceeds max size: the total size of all substitution variables must not exceed \
         {MAX_BINDINGS_BYTES} bytes"
    )))
}
