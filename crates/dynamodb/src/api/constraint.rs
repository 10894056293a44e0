//! The validation framework's constraints on members, collected and reported together:
//! `2 validation errors detected: Value '' at 'a' failed to satisfy constraint: …; Value …`.

use std::fmt::{Display, Write as _};

use crate::error::{ApiError, ErrorKind};

/// DynamoDB reports no more than so many.
const MAX_REPORTED: usize = 10;

/// Puts a refusal into the framework's words, as the writes of one item do with nearly all that they
/// refuse before they look at the table.
pub(super) fn enveloped(error: ApiError) -> ApiError {
    let bare = error.message.contains(" contains invalid key: Syntax error");
    match error.kind {
        ErrorKind::Validation if !bare && !error.message.starts_with("1 validation error detected: ") => {
            ApiError::validation(format!("1 validation error detected: {}", error.message))
        }
        _ => error,
    }
}

/// The violations found so far.
#[derive(Debug, Default)]
pub(super) struct Constraints {
    violations: Vec<String>,
}

impl Constraints {
    /// Reports everything found.
    ///
    /// # Errors
    /// `ValidationException` when anything was found.
    pub(super) fn finish(mut self) -> Result<(), ApiError> {
        self.violations.truncate(MAX_REPORTED);
        let mut message = match self.violations.len() {
            0 => return Ok(()),
            1 => String::from("1 validation error detected: "),
            many => format!("{many} validation errors detected: "),
        };
        for (index, violation) in self.violations.iter().enumerate() {
            if index > 0 {
                message.push_str("; ");
            }
            message.push_str(violation);
        }
        Err(ApiError::validation(message))
    }

    /// A required member is missing.
    pub(super) fn missing(&mut self, path: impl Display) {
        self.violations
            .push(format!("Value null at '{path}' failed to satisfy constraint: Member must not be null"));
    }

    /// `value` at `path` breaks `rule`.
    pub(super) fn broken(&mut self, value: impl Display, path: impl Display, rule: impl Display) {
        self.violations
            .push(format!("Value '{value}' at '{path}' failed to satisfy constraint: Member must {rule}"));
    }

    /// A violation in words of its own.
    pub(super) fn other(&mut self, violation: String) {
        self.violations.push(violation);
    }

    /// `value`, when given, must be at least `least`.
    pub(super) fn at_least(&mut self, value: i64, path: impl Display, least: i64) {
        if value < least {
            self.broken(value, path, format_args!("have value greater than or equal to {least}"));
        }
    }

    /// `value`, when given, must be at most `most`.
    pub(super) fn at_most(&mut self, value: i64, path: impl Display, most: i64) {
        if value > most {
            self.broken(value, path, format_args!("have value less than or equal to {most}"));
        }
    }

    /// `value`, when given, must be one of `choices`; they are listed in DynamoDB's order.
    pub(super) fn choice<T: Copy>(
        &mut self,
        value: Option<&str>,
        path: impl Display,
        choices: &[(&str, T)],
    ) -> Option<T> {
        let value = value?;
        let found = choices.iter().find(|(name, _)| *name == value).map(|(_, choice)| *choice);
        if found.is_none() {
            let mut set = String::new();
            for (index, (name, _)) in choices.iter().enumerate() {
                let separator = if index == 0 { "" } else { ", " };
                write!(set, "{separator}{name}").expect("a String takes every write");
            }
            self.broken(value, path, format_args!("satisfy enum value set: [{set}]"));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn violations_are_counted_and_joined() {
        let mut constraints = Constraints::default();
        constraints.missing("key");
        constraints.at_least(0, "limit", 1);

        let message = constraints.finish().unwrap_err().message;

        assert_eq!(
            message,
            "2 validation errors detected: Value null at 'key' failed to satisfy constraint: Member must \
             not be null; Value '0' at 'limit' failed to satisfy constraint: Member must have value \
             greater than or equal to 1"
        );
    }

    #[test]
    fn a_choice_outside_its_set_lists_the_set() {
        let mut constraints = Constraints::default();
        let choices = [("SIZE", 1), ("NONE", 2)];

        assert_eq!(constraints.choice(Some("NONE"), "m", &choices), Some(2));
        assert_eq!(constraints.choice(Some("none"), "m", &choices), None);

        assert_eq!(
            constraints.finish().unwrap_err().message,
            "1 validation error detected: Value 'none' at 'm' failed to satisfy constraint: Member must \
             satisfy enum value set: [SIZE, NONE]"
        );
    }
}
