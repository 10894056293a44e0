//! Results as JSON files.

use std::io;
use std::path::Path;

use serde::Deserialize;

use crate::result::{RunResult, SCHEMA};

/// Why a file is no result.
#[derive(Debug, thiserror::Error)]
pub enum UnreadableResult {
    /// It cannot be read at all.
    #[error("cannot read {path}")]
    Io {
        /// Which file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// It is not JSON, or something else in JSON.
    #[error("{path} is no result of `weir load`")]
    Malformed {
        /// Which file.
        path: String,
        /// Where it stops making sense.
        source: serde_json::Error,
    },
    /// It is a result of another form.
    #[error(
        "{path} is of the form {found:?}; this version of weir reads {SCHEMA:?}: render it with the version that wrote it"
    )]
    OtherSchema {
        /// Which file.
        path: String,
        /// What it says it is.
        found: String,
    },
}

#[derive(Deserialize)]
struct Form {
    schema: String,
}

/// A result as JSON, ending with a line break.
#[must_use]
pub fn to_json(result: &RunResult) -> String {
    // Numbers that JSON has no form for become null, and only then would reading fail; the engine makes none.
    let mut text = serde_json::to_string_pretty(result).expect("a result has string keys only");
    text.push('\n');
    text
}

/// Writes a result.
///
/// # Errors
/// When the file cannot be written.
pub fn write_json(result: &RunResult, path: &Path) -> io::Result<()> {
    std::fs::write(path, to_json(result))
}

/// Reads a result back.
///
/// # Errors
/// When there is no such file, or it is something else.
pub fn read_json(path: &Path) -> Result<RunResult, UnreadableResult> {
    let shown = || path.display().to_string();
    let text = std::fs::read(path).map_err(|source| UnreadableResult::Io { path: shown(), source })?;
    let malformed = |source| UnreadableResult::Malformed { path: shown(), source };
    // First what it is: another form's fields would be reported one by one otherwise.
    let Form { schema } = serde_json::from_slice(&text).map_err(malformed)?;
    if schema != SCHEMA {
        return Err(UnreadableResult::OtherSchema { path: shown(), found: schema });
    }
    serde_json::from_slice(&text).map_err(malformed)
}
