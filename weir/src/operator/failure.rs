//! How a command fails: what scripts see as its exit code, and people as one line.

use std::process::ExitCode;

use crate::admin::ProblemKind;

/// What `--help` says about exit codes.
pub(crate) const EXIT_CODES: &str = "Exit codes:\n  \
    0  done\n  \
    1  failed\n  \
    2  wrong usage\n  \
    3  there is no such thing: quota, version, request, server, table, partition\n  \
    4  refused: invalid, not allowed, or changed meanwhile\n  \
    5  nobody answers who could";

/// `help` and the exit codes.
pub(crate) fn with_exit_codes(help: &str) -> String {
    format!("{help}\n\n{EXIT_CODES}")
}

/// Why a command failed. The exit codes are stable.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// There is no such thing: 3.
    #[error("{0}")]
    NotFound(String),
    /// Invalid, not allowed, or changed meanwhile: 4.
    #[error("{0}")]
    Refused(String),
    /// Nobody answers who could: 5.
    #[error("{0}")]
    Unreachable(String),
    /// Everything else: 1.
    #[error("{0:#}")]
    Other(#[from] anyhow::Error),
}

impl Failure {
    /// A server's refusal.
    pub(crate) fn of(kind: ProblemKind, message: String) -> Self {
        match kind {
            ProblemKind::NotFound => Self::NotFound(message),
            ProblemKind::Invalid
            | ProblemKind::Unauthorized
            | ProblemKind::Forbidden
            | ProblemKind::BadMethod
            | ProblemKind::Conflict => Self::Refused(message),
            ProblemKind::NotLeader | ProblemKind::Unavailable => Self::Unreachable(message),
        }
    }

    /// What the process ends with.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Other(_) => 1,
            Self::NotFound(_) => 3,
            Self::Refused(_) => 4,
            Self::Unreachable(_) => 5,
        })
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Other(error.into())
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::Other(error.into())
    }
}
