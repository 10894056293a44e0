//! `AttributesToGet`: the older form of a projection; only whole top-level attributes.

use super::body::Text;
use super::constraint::Constraints;

/// Refuses an empty list.
pub(super) fn check_length(names: Option<&[Text<'_>]>, constraints: &mut Constraints) {
    if names.is_some_and(<[_]>::is_empty) {
        constraints.broken("[]", "attributesToGet", "have length greater than or equal to 1");
    }
}

/// Which parameter names the attributes to return.
pub(super) const fn parameter(older: bool, expression: bool) -> Option<&'static str> {
    match (older, expression) {
        (true, _) => Some("AttributesToGet"),
        (false, true) => Some("ProjectionExpression"),
        (false, false) => None,
    }
}
