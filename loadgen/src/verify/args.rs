//! Flags of `weir load verify`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

/// What is called, for how long, and what is written.
#[derive(Debug, Clone, Args)]
#[group(skip)]
pub struct VerifyArgs {
    /// Table; its only key must be a string `pk`. It is created if it is missing. Keys of earlier runs stay and are
    /// not used again.
    #[arg(long, value_name = "NAME", default_value = "weir-verify", help_heading = "What")]
    pub table: String,

    /// Keys: the fewer, the more calls meet on each.
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=1_000_000),
        help_heading = "What")]
    pub keys: u32,

    /// Clients, in turn by endpoint; each has a connection, and one call under way.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1_000),
        help_heading = "How")]
    pub clients: u32,

    /// Calls per second, all clients together. Default: as fast as answers come.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), help_heading = "How")]
    pub rate: Option<u32>,

    /// How long clients call.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = humantime::parse_duration,
        help_heading = "When")]
    pub duration: Duration,

    /// How long a call may take; a write that takes longer may take place at any later time.
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = humantime::parse_duration,
        help_heading = "How")]
    pub timeout: Duration,

    /// How long the keys are tried to be read in the end, while nodes come back.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = humantime::parse_duration,
        help_heading = "When")]
    pub settle: Duration,

    /// The same seed draws the same calls.
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "How")]
    pub seed: u64,

    /// Write the history: a line of JSON per call.
    #[arg(long, value_name = "FILE", help_heading = "Results")]
    pub history: Option<PathBuf>,

    /// Call nothing: check a history that was written before.
    #[arg(long, value_name = "FILE", conflicts_with = "history", help_heading = "What")]
    pub check: Option<PathBuf>,

    /// No progress lines.
    #[arg(long, short, help_heading = "Results")]
    pub quiet: bool,
}
