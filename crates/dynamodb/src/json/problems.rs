//! What was wrong with a request's values, kept aside while its body is parsed.

use std::cell::RefCell;
use std::fmt::Display;

use crate::error::ApiError;

/// The first value that DynamoDB refuses in a body, and the first of a wrong JSON type.
///
/// Shared by every [`ItemSeed`](super::ItemSeed) of one body; [`resolve`](Self::resolve) says at the end what
/// the request is answered with.
#[derive(Debug, Default)]
pub struct ValueProblems {
    validation: RefCell<Option<ValueProblem>>,
    serialization: RefCell<Option<ApiError>>,
}

/// A value that DynamoDB refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueProblem {
    /// The `ValidationException`.
    pub error: ApiError,
    /// Whether `PutItem`, `UpdateItem` and `DeleteItem` say "1 validation error detected: " before its message.
    pub enveloped: bool,
}

impl ValueProblems {
    /// No problem yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The answer to a body: what was parsed, or the error that DynamoDB reports first: what is no JSON of
    /// the right shape, then the first refused value.
    ///
    /// # Errors
    /// As said.
    pub fn resolve<T>(&self, parsed: Result<T, impl Display>) -> Result<T, ApiError> {
        if let Some(error) = self.serialization.take() {
            return Err(error);
        }
        match parsed {
            Err(error) => Err(ApiError::serialization(error.to_string())),
            Ok(value) => match self.validation.take() {
                Some(problem) => Err(problem.error),
                None => Ok(value),
            },
        }
    }

    /// The first refused value so far.
    pub fn take_validation(&self) -> Option<ValueProblem> {
        self.validation.take()
    }

    /// The first value of a wrong JSON type, on which parsing stopped.
    pub fn take_serialization(&self) -> Option<ApiError> {
        self.serialization.take()
    }

    /// Keeps a refused value, unless one is kept already.
    pub fn refuse(&self, error: ApiError, enveloped: bool) {
        self.validation.borrow_mut().get_or_insert(ValueProblem { error, enveloped });
    }

    /// Keeps what is of a wrong JSON type, and makes the error that stops the parser.
    pub fn malformed<E: serde::de::Error>(&self, message: &'static str) -> E {
        self.serialization.borrow_mut().get_or_insert(ApiError::serialization(message));
        E::custom(message)
    }
}
