//! Parameters that DynamoDB has and Weir has not: refused by name, never silently ignored.

use crate::error::ApiError;

/// Refuses `parameter` when it is asked for.
///
/// # Errors
/// `ValidationException` that names it.
pub(super) fn refuse_if(asked: bool, parameter: &str) -> Result<(), ApiError> {
    if asked {
        return Err(ApiError::validation(format!(
            "One or more parameter values were invalid: {parameter} is not supported by this server"
        )));
    }
    Ok(())
}
