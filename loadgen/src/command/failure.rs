//! How a command fails: what scripts see as its exit code, and people as one line.

/// What `--help` says about exit codes.
pub(super) const EXIT_CODES: &str = "Exit codes:\n  \
    0    done; every threshold held\n  \
    1    failed: endpoint, credentials, table, file\n  \
    2    wrong usage\n  \
    98   the run was invalid: the load generator was the limit, so it says nothing about the service\n  \
    99   a threshold did not hold\n  \
    130  stopped by Ctrl-C; what was measured until then is written";

/// `help` and the exit codes.
pub(super) fn with_exit_codes(help: &str) -> String {
    format!("{help}\n\n{EXIT_CODES}")
}

/// Why a command ended with another exit code than 0. The codes are stable.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The command line, or a file that it names, says nothing that can be done: 2.
    #[error("{0}")]
    Usage(String),
    /// A threshold did not hold: 99.
    #[error("{0}")]
    Missed(String),
    /// The run was invalid: 98. This counts for more than a threshold, which an invalid run says nothing about.
    #[error("{0}")]
    Invalid(String),
    /// Stopped by a signal: 130.
    #[error("{0}")]
    Stopped(String),
    /// Everything else: 1.
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

impl Failure {
    /// What the process ends with.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Other(_) => 1,
            Self::Usage(_) => 2,
            Self::Invalid(_) => 98,
            Self::Missed(_) => 99,
            Self::Stopped(_) => 130,
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Other(error.into())
    }
}
