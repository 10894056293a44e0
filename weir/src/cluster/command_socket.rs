//! How `weir cluster kill` and its siblings reach the running fleet: one JSON line each way over a Unix
//! socket in the fleet's folder, which only its owner can open.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use super::process::State;
use crate::cli::GrowingTier;

/// A graceful stop of the fleet may take this long.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// What the fleet is asked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "request")]
pub(super) enum Request {
    Status,
    Kill { node: String },
    Pause { node: String },
    Slow { node: String, pause_ms: u64 },
    Resume { node: String },
    Start { node: String },
    Wipe { node: String },
    Add { tier: GrowingTier },
    Stop,
}

/// What it answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "answer")]
pub(super) enum Answer {
    Done { message: String },
    Status { rows: Vec<StatusRow> },
    Failed { reason: String },
}

/// One process of the fleet.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StatusRow {
    /// Such as `storage-1`.
    pub name: String,
    /// What it does.
    pub state: State,
    /// Its process id, while it runs.
    pub pid: Option<u32>,
    /// Where it serves.
    pub listen: String,
    /// Where its operators' endpoint is.
    pub admin: String,
}

/// Where the socket of the fleet in `dir` is.
pub(super) fn path(dir: &Path) -> PathBuf {
    dir.join("fleet.sock")
}

/// Asks the fleet that runs from `dir`.
pub(super) async fn ask(dir: &Path, request: &Request) -> anyhow::Result<Answer> {
    let mut stream = UnixStream::connect(path(dir)).await?;
    send(&mut stream, request).await?;
    let mut line = String::new();
    tokio::time::timeout(ANSWER_WITHIN, BufReader::new(&mut stream).read_line(&mut line)).await??;
    Ok(serde_json::from_str(&line)?)
}

/// Reads the one request of a caller.
pub(super) async fn receive(stream: &mut UnixStream) -> anyhow::Result<Request> {
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).await?;
    Ok(serde_json::from_str(&line)?)
}

/// Sends one line of JSON.
pub(super) async fn send(stream: &mut UnixStream, message: &impl Serialize) -> anyhow::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    stream.write_all(&line).await?;
    Ok(())
}
