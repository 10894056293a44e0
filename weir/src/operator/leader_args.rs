//! The command line of `weir leaders`.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::args::ChangeArgs;
use super::failure::with_exit_codes;
use super::fleet::Reach;

/// Arguments of `weir leaders`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct LeadersArgs {
    /// Only this table's partitions.
    #[arg(long, value_name = "NAME|NUMBER")]
    pub table: Option<String>,
    /// Which fleet to ask.
    #[command(flatten)]
    pub reach: Reach,
    /// What to do; shows who leads when absent.
    #[command(subcommand)]
    pub command: Option<LeadersCommand>,
}

/// What to do with leaderships.
#[derive(Debug, Subcommand)]
pub(crate) enum LeadersCommand {
    /// Move leaderships away from a node, while it serves.
    ///
    /// Each partition takes no writes for the few round trips of its own move; they wait, and are sent on
    /// to the new leader. Says what moved, what did not and why.
    #[command(after_help = with_exit_codes("Examples:\n  \
        weir leaders move --from 1                      all, to the members that lead least\n  \
        weir leaders move --from storage-1 --to 2       all that node 2 has a replica of, to it\n  \
        weir leaders move --from 1 --count 50 --within 10s\n  \
        weir leaders move --from 1 --table orders --dry-run"))]
    Move(Box<MoveArgs>),
}

/// Arguments of `weir leaders move`.
#[derive(Debug, Args)]
pub(crate) struct MoveArgs {
    /// Away from which storage node: its number, or its process's name where one process is one node.
    #[arg(long, value_name = "NODE")]
    pub from: String,
    /// To which node. Default: each to the member of its partition that leads least.
    #[arg(long, value_name = "NODE")]
    pub to: Option<String>,
    /// How many at most. Default: all.
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// Only this table's partitions.
    #[arg(long, value_name = "NAME|NUMBER")]
    pub table: Option<String>,
    /// The time over which they are spread, up to 30s; 0s: all at once.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = spread)]
    pub within: Duration,
    /// Who, why, and whether to ask.
    #[command(flatten)]
    pub change: ChangeArgs,
    /// Which fleet to ask.
    #[command(flatten)]
    pub reach: Reach,
}

/// Nodes take no longer one, since the caller waits for the answer.
fn spread(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    match time <= Duration::from_secs(30) {
        true => Ok(time),
        false => Err("leaderships are moved within 30 seconds at most".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    #[test]
    fn leaders_are_shown_or_moved() {
        let shown = Cli::try_parse_from(["weir", "leaders", "--table", "orders", "-o", "json"]).unwrap();
        assert!(matches!(shown.command, Command::Leaders(LeadersArgs { command: None, table: Some(_), .. })));
        let line = ["weir", "leaders", "move", "--from", "1", "--to", "2", "--within", "250ms", "--dir", "x"];
        let moves = Cli::try_parse_from(line).unwrap();
        let Command::Leaders(LeadersArgs { command: Some(LeadersCommand::Move(wanted)), .. }) = moves.command
        else {
            panic!("not a move");
        };
        assert_eq!((wanted.within, wanted.count), (Duration::from_millis(250), None));
        assert_eq!(wanted.reach.dir.as_deref(), Some(std::path::Path::new("x")));
    }

    #[test]
    fn a_move_says_from_where_and_takes_half_a_minute_at_most() {
        let parses =
            |words: &[&str]| Cli::try_parse_from(["weir", "leaders", "move"].iter().chain(words)).is_ok();
        assert!(parses(&["--from", "1"]) && parses(&["--from", "storage-1", "--within", "30s"]));
        assert!(!parses(&[]) && !parses(&["--to", "2"]));
        assert!(
            !parses(&["--from", "1", "--within", "31s"]) && !parses(&["--from", "1", "--within", "soon"])
        );
        assert!(!parses(&["--from", "1", "--count", "-1"]));
    }
}
