//! The expression languages: conditions and filters, key conditions, projections, updates.
//!
//! A text is parsed once into a tree that keeps its placeholders (`#name`, `:value`), and the tree is
//! cached under its text: [`ExpressionCache`]. Names and values are bound when it is evaluated, from the
//! request's [`Bindings`](crate::operation::Bindings).
//!
//! The proxy checks a request's expressions with [`RequestExpressions`], with DynamoDB's messages; a
//! storage node evaluates them, on encoded items, and trusts the proxy for everything but its own
//! safety: no text, however wrong, makes it panic or exhaust its stack.

pub mod ast;
mod bindings;
mod cache;
mod condition;
mod grammar;
mod key_condition;
pub mod legacy;
mod lexer;
mod lower;
mod overlap;
mod print;
mod projection;
mod request;
mod reserved;
mod scope;
mod update;
mod usage;

use std::fmt::Arguments;

pub use self::cache::ExpressionCache;
pub use self::condition::Condition;
pub use self::key_condition::{KeyCondition, KeyConditionExpression};
pub use self::projection::{PathSelection, Projection};
pub use self::request::{CheckedExpressions, RequestExpressions};
pub use self::update::{TouchedPaths, UpdateExpression, Updated};

use self::grammar::Failure;
use self::lexer::{Lexeme, lex, syntax_error};
use crate::error::ApiError;

/// DynamoDB: an expression has at most 4 KB.
pub const MAX_EXPRESSION_BYTES: usize = 4096;
/// DynamoDB: an expression has at most 300 operators and functions.
pub const MAX_OPERATORS: usize = 300;
/// DynamoDB: a document path has at most 32 names and indexes.
pub const MAX_PATH_DEPTH: usize = 32;

/// Which parameter of a request holds an expression; it words the errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names are DynamoDB's")]
pub enum ExpressionKind {
    Condition,
    Filter,
    KeyCondition,
    Projection,
    Update,
}

impl ExpressionKind {
    /// The parameter's name.
    #[must_use]
    pub const fn parameter(self) -> &'static str {
        match self {
            Self::Condition => "ConditionExpression",
            Self::Filter => "FilterExpression",
            Self::KeyCondition => "KeyConditionExpression",
            Self::Projection => "ProjectionExpression",
            Self::Update => "UpdateExpression",
        }
    }

    fn invalid(self, detail: Arguments<'_>) -> ApiError {
        ApiError::validation(format!("Invalid {}: {detail}", self.parameter()))
    }

    fn incorrect_operand(self, operator: &str, kind: &str) -> ApiError {
        self.invalid(format_args!(
            "Incorrect operand type for operator or function; operator or function: {operator}, operand type: {kind}"
        ))
    }

    /// DynamoDB counts no further than the first operator too many.
    fn too_many_operators(self) -> ApiError {
        self.invalid(format_args!(
            "The expression contains too many operators; operator count: {}",
            MAX_OPERATORS + 1
        ))
    }
}

/// Reads a text by `grammar`, and words its failure.
fn read<'t, T>(
    kind: ExpressionKind,
    text: &'t str,
    grammar: impl FnOnce(&[Lexeme<'t>]) -> Result<T, Failure>,
) -> Result<T, ApiError> {
    let lexemes = lex(text);
    grammar(&lexemes).map_err(|failure| match failure {
        Failure::Syntax { remaining } => {
            kind.invalid(format_args!("{}", syntax_error(text, &lexemes, lexemes.len() - remaining)))
        }
        Failure::RedundantParentheses => {
            kind.invalid(format_args!("The expression has redundant parentheses;"))
        }
        Failure::TooDeep => kind.too_many_operators(),
    })
}
