//! What the operators' endpoint answers when it cannot do what it was asked.

use std::time::Duration;

use axum::Json;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

/// How long a request may take: a change waits for a quorum of the control plane, a watch for a change.
const DEADLINE: Duration = Duration::from_secs(40);

/// Why a request was not done; the status is chosen by its kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Problem {
    /// What programs go by.
    pub error: ProblemKind,
    /// What people read.
    pub message: String,
}

/// What programs go by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ProblemKind {
    /// The request makes no sense: 400.
    Invalid,
    /// No token, or a wrong one: 401.
    Unauthorized,
    /// Changes are not allowed here: 403.
    Forbidden,
    /// There is no such thing: 404.
    NotFound,
    /// The path is right, the method is not: 405.
    BadMethod,
    /// It changed meanwhile: 409.
    Conflict,
    /// Another member of the control plane must be asked: 421.
    NotLeader,
    /// It may work later: 503.
    Unavailable,
}

impl Problem {
    /// A problem of `kind`.
    pub(crate) fn new(kind: ProblemKind, message: impl Into<String>) -> Self {
        Self { error: kind, message: message.into() }
    }

    /// There is no such thing.
    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(ProblemKind::NotFound, message)
    }

    /// The path is right, the method is not.
    pub(crate) fn bad_method() -> Self {
        Self::new(ProblemKind::BadMethod, "this path does not take this method")
    }
}

impl ProblemKind {
    fn status(self) -> StatusCode {
        match self {
            Self::Invalid => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::BadMethod => StatusCode::METHOD_NOT_ALLOWED,
            Self::Conflict => StatusCode::CONFLICT,
            Self::NotLeader => StatusCode::MISDIRECTED_REQUEST,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        (self.error.status(), Json(self)).into_response()
    }
}

/// Answers in time, whatever happens behind it.
pub(super) async fn within_deadline(request: Request, next: Next) -> Response {
    match tokio::time::timeout(DEADLINE, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::new(ProblemKind::Unavailable, "this took too long").into_response(),
    }
}
