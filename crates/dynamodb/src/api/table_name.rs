//! `TableName`: a name, or the ARN of a table, which DynamoDB accepts in its place.

use std::borrow::Cow;

use super::body::Text;
use super::constraint::Constraints;
use crate::error::ApiError;

/// Shortest and longest name.
const LENGTHS: std::ops::RangeInclusive<usize> = 3..=255;

/// A valid table name, taken out of the ARN when the request gave one.
pub(super) type TableName<'a> = Cow<'a, str>;

/// Checks the `TableName` of an item operation, and adds what is wrong with it to `constraints`. The
/// name is empty when anything is.
///
/// # Errors
/// An empty name is reported at once, before every other constraint.
pub(super) fn check<'a>(
    given: Option<Text<'a>>,
    constraints: &mut Constraints,
) -> Result<TableName<'a>, ApiError> {
    let Some(Text(given)) = given else {
        constraints.missing("tableName");
        return Ok(TableName::default());
    };
    if given.is_empty() {
        return Err(ApiError::validation(
            "1 validation error detected: Value at 'TableName' failed to satisfy constraint: Member must \
             have length greater than or equal to 1",
        ));
    }
    let name = without_arn(given);
    if name.len() < *LENGTHS.start() {
        constraints.broken(&name, "tableName", TOO_SHORT);
    } else if name.len() > *LENGTHS.end() {
        constraints.broken(&name, "tableName", TOO_LONG);
    } else if !has_only_legal_characters(&name) {
        constraints.broken(&name, "tableName", PATTERN);
    }
    Ok(name)
}

/// Checks a name that names or creates a table for the control plane, at `path`.
pub(super) fn check_strictly(name: &str, path: &str, constraints: &mut Constraints) {
    if name.is_empty() || !has_only_legal_characters(name) {
        constraints.broken(name, path, PATTERN);
    }
    if name.len() < *LENGTHS.start() {
        constraints.broken(name, path, TOO_SHORT);
    }
    if name.len() > *LENGTHS.end() {
        constraints.broken(name, path, TOO_LONG);
    }
}

/// The `TableName` of a table operation, taken out of its ARN; not checked any further.
///
/// # Errors
/// `ValidationException` when there is none.
pub(super) fn required<'a>(given: Option<&Text<'a>>) -> Result<TableName<'a>, ApiError> {
    let Text(given) = given.ok_or_else(|| {
        ApiError::validation("The parameter 'TableName' is required but was not present in the request")
    })?;
    Ok(without_arn(given.clone()))
}

/// Whether a name may be a table's.
pub(super) fn is_valid(name: &str) -> bool {
    LENGTHS.contains(&name.len()) && has_only_legal_characters(name)
}

/// `arn:aws:dynamodb:REGION:ACCOUNT:table/NAME` → `NAME`; anything else as it is.
pub(super) fn without_arn(given: Cow<'_, str>) -> Cow<'_, str> {
    if !given.starts_with("arn:") {
        return given;
    }
    let Some(at) = given.find(":table/").map(|at| at + ":table/".len()) else {
        return given;
    };
    match given {
        Cow::Borrowed(text) => Cow::Borrowed(&text[at..]),
        Cow::Owned(text) => Cow::Owned(text[at..].to_owned()),
    }
}

const PATTERN: &str = "satisfy regular expression pattern: [a-zA-Z0-9_.-]+";
const TOO_SHORT: &str = "have length greater than or equal to 3";
const TOO_LONG: &str = "have length less than or equal to 255";

fn has_only_legal_characters(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arn_stands_for_the_name_in_it() {
        let arn = Text(Cow::Borrowed("arn:aws:dynamodb:eu-west-1:123456789012:table/orders"));
        let mut constraints = Constraints::default();
        assert_eq!(check(Some(arn), &mut constraints).unwrap(), "orders");
        assert_eq!(constraints.finish(), Ok(()));
    }

    #[test]
    fn a_name_must_have_three_to_255_legal_characters() {
        for (name, rule) in [("ab", TOO_SHORT), ("a b c", PATTERN), (&*"n".repeat(256), TOO_LONG)] {
            let mut constraints = Constraints::default();
            check(Some(Text(Cow::Borrowed(name))), &mut constraints).unwrap();
            assert_eq!(
                constraints.finish().unwrap_err().message,
                format!(
                    "1 validation error detected: Value '{name}' at 'tableName' failed to satisfy \
                     constraint: Member must {rule}"
                )
            );
        }
    }
}
