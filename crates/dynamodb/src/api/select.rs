//! `Select`: what a `Query` or `Scan` returns of each item.

use super::constraint::Constraints;
use crate::error::ApiError;

/// `Select`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Select {
    AllAttributes,
    AllProjectedAttributes,
    Count,
    SpecificAttributes,
}

impl Select {
    /// Reads the parameter.
    pub(super) fn read(given: Option<&str>, constraints: &mut Constraints) -> Option<Self> {
        constraints.choice(
            given,
            "select",
            &[
                ("SPECIFIC_ATTRIBUTES", Self::SpecificAttributes),
                ("COUNT", Self::Count),
                ("ALL_ATTRIBUTES", Self::AllAttributes),
                ("ALL_PROJECTED_ATTRIBUTES", Self::AllProjectedAttributes),
            ],
        )
    }

    const fn name(self) -> &'static str {
        match self {
            Self::AllAttributes => "ALL_ATTRIBUTES",
            Self::AllProjectedAttributes => "ALL_PROJECTED_ATTRIBUTES",
            // DynamoDB says it so.
            Self::Count => "only the Count",
            Self::SpecificAttributes => "SPECIFIC_ATTRIBUTES",
        }
    }

    /// Checks it against what else the request says: `projected` is the parameter that names
    /// attributes, if there is one.
    ///
    /// # Errors
    /// `ValidationException` when they contradict each other.
    pub(super) fn check(
        select: Option<Self>,
        projected: Option<&'static str>,
        on_index: bool,
    ) -> Result<(), ApiError> {
        let Some(select) = select else {
            return Ok(());
        };
        let message = match (select, projected) {
            (Self::SpecificAttributes, Some(_)) => return Ok(()),
            (Self::SpecificAttributes, None) => "Must specify the AttributesToGet or \
                 ProjectionExpression when choosing to get SPECIFIC_ATTRIBUTES"
                .to_owned(),
            (select, Some(parameter)) => {
                format!("Cannot specify the {parameter} when choosing to get {}", select.name())
            }
            (Self::AllProjectedAttributes, None) if !on_index => {
                "ALL_PROJECTED_ATTRIBUTES can be used only when Querying using an IndexName".to_owned()
            }
            (_, None) => return Ok(()),
        };
        Err(ApiError::validation(format!("1 validation error detected: {message}")))
    }
}
