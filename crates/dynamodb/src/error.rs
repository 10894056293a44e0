//! DynamoDB's exceptions: type, message, HTTP status. One home for the names.

use std::borrow::Cow;

/// An exception as the API answers it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind:?}: {message}")]
pub struct ApiError {
    /// Which exception.
    pub kind: ErrorKind,
    /// DynamoDB's message.
    pub message: Cow<'static, str>,
}

/// The exceptions that Weir answers with. Source: DynamoDB API, "Common Errors" and each operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are DynamoDB's")]
pub enum ErrorKind {
    AccessDenied,
    ConditionalCheckFailed,
    ExpiredToken,
    IncompleteSignature,
    InternalServerError,
    InvalidSignature,
    ItemCollectionSizeLimitExceeded,
    LimitExceeded,
    MissingAuthenticationToken,
    ProvisionedThroughputExceeded,
    RequestEntityTooLarge,
    RequestLimitExceeded,
    RequestTimeout,
    ResourceInUse,
    ResourceNotFound,
    Serialization,
    ServiceUnavailable,
    Throttling,
    TransactionConflict,
    UnknownOperation,
    UnrecognizedClient,
    Validation,
}

impl ErrorKind {
    /// The full `__type` of the response body.
    #[must_use]
    pub const fn type_name(self) -> &'static str {
        match self {
            Self::AccessDenied => "com.amazon.coral.service#AccessDeniedException",
            Self::ConditionalCheckFailed => {
                "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException"
            }
            Self::ExpiredToken => "com.amazon.coral.service#ExpiredTokenException",
            Self::IncompleteSignature => "com.amazon.coral.service#IncompleteSignatureException",
            Self::InternalServerError => "com.amazonaws.dynamodb.v20120810#InternalServerError",
            Self::InvalidSignature => "com.amazon.coral.service#InvalidSignatureException",
            Self::ItemCollectionSizeLimitExceeded => {
                "com.amazonaws.dynamodb.v20120810#ItemCollectionSizeLimitExceededException"
            }
            Self::LimitExceeded => "com.amazonaws.dynamodb.v20120810#LimitExceededException",
            Self::MissingAuthenticationToken => {
                "com.amazon.coral.service#MissingAuthenticationTokenException"
            }
            Self::ProvisionedThroughputExceeded => {
                "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException"
            }
            Self::RequestEntityTooLarge => "com.amazon.coral.service#RequestEntityTooLargeException",
            Self::RequestLimitExceeded => "com.amazonaws.dynamodb.v20120810#RequestLimitExceeded",
            Self::RequestTimeout => "com.amazon.coral.service#RequestTimeoutException",
            Self::ResourceInUse => "com.amazonaws.dynamodb.v20120810#ResourceInUseException",
            Self::ResourceNotFound => "com.amazonaws.dynamodb.v20120810#ResourceNotFoundException",
            Self::Serialization => "com.amazon.coral.service#SerializationException",
            Self::ServiceUnavailable => "com.amazon.coral.service#ServiceUnavailableException",
            Self::Throttling => "com.amazon.coral.availability#ThrottlingException",
            Self::TransactionConflict => "com.amazonaws.dynamodb.v20120810#TransactionConflictException",
            Self::UnknownOperation => "com.amazon.coral.service#UnknownOperationException",
            Self::UnrecognizedClient => "com.amazon.coral.service#UnrecognizedClientException",
            Self::Validation => "com.amazon.coral.validate#ValidationException",
        }
    }

    /// The HTTP status that carries it.
    #[must_use]
    pub const fn http_status(self) -> u16 {
        match self {
            Self::InternalServerError => 500,
            Self::ServiceUnavailable => 503,
            Self::RequestEntityTooLarge => 413,
            Self::RequestTimeout => 408,
            _ => 400,
        }
    }

    /// The key that carries the message: `SerializationException` and its like spell it `Message`.
    #[must_use]
    pub const fn message_key(self) -> &'static str {
        match self {
            Self::Serialization => "Message",
            _ => "message",
        }
    }
}

impl ApiError {
    /// An exception of `kind` with DynamoDB's `message`.
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, message: message.into() }
    }

    /// `ValidationException`.
    pub fn validation(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Validation, message)
    }

    /// `SerializationException`.
    pub fn serialization(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Serialization, message)
    }

    /// `ResourceNotFoundException` as the data operations word it.
    #[must_use]
    pub fn table_not_found() -> Self {
        Self::new(ErrorKind::ResourceNotFound, "Requested resource not found")
    }
}
