//! The command line of what looks at routing: `weir routes`, `weir memds`, `weir cache`.

use clap::{Args, Subcommand};

use super::args::ChangeArgs;
use super::failure::EXIT_CODES;
use super::fleet::Reach;

/// Arguments of `weir routes`.
#[derive(Debug, Args)]
pub(crate) struct RoutesArgs {
    /// Which table.
    #[arg(value_name = "TABLE")]
    pub table: String,
    /// Only this partition.
    #[arg(long, value_name = "N", conflicts_with = "key")]
    pub partition: Option<u64>,
    /// Only the partition that holds this key: key attributes as the API's JSON, `{"pk": {"S": "a"}}`. Without
    /// the sort key: where the partition key's items begin.
    #[arg(long, value_name = "JSON")]
    pub key: Option<String>,
    /// Print the ranges' keys whole, not their first four bytes.
    #[arg(long)]
    pub wide: bool,
    /// Which fleet to ask.
    #[command(flatten)]
    pub reach: Reach,
}

/// Arguments of `weir memds`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, arg_required_else_help = true)]
pub(crate) struct MemdsArgs {
    /// How to run one as its own process.
    #[command(flatten)]
    pub server: Option<crate::cli::TierArgs>,
    /// What to ask those that run.
    #[command(subcommand)]
    pub command: Option<MemdsCommand>,
}

/// What to ask running MemDS servers.
#[derive(Debug, Subcommand)]
pub(crate) enum MemdsCommand {
    /// Show the servers: what they hold, lookups per second, lag behind pushes, whether they agree.
    #[command(after_help = EXIT_CODES)]
    Status {
        /// The lag behind each storage node too, not only the longest.
        #[arg(long)]
        nodes: bool,
        /// Which fleet to ask.
        #[command(flatten)]
        reach: Reach,
    },
}

/// Arguments of `weir cache`.
#[derive(Debug, Args)]
pub(crate) struct CacheArgs {
    /// Which fleet to ask.
    #[command(flatten)]
    pub reach: Reach,
    /// What to do.
    #[command(subcommand)]
    pub command: CacheCommand,
}

/// What to do with the proxies' caches of routes and tables.
#[derive(Debug, Subcommand)]
pub(crate) enum CacheCommand {
    /// Show what each proxy has cached, and how the MemDS servers answer it.
    #[command(after_help = EXIT_CODES)]
    Status,
    /// Empty the caches of all proxies at once: the next requests wait for MemDS, and cost it what they always
    /// cost.
    #[command(after_help = EXIT_CODES)]
    Flush {
        /// Who, why, and whether to ask.
        #[command(flatten)]
        change: ChangeArgs,
    },
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    #[test]
    fn memds_runs_a_server_or_asks_the_running_ones() {
        let serves = Cli::try_parse_from(["weir", "memds", "--config", "memds.toml"]).unwrap();
        assert!(matches!(serves.command, Command::Memds(MemdsArgs { server: Some(_), command: None })));
        let asks = Cli::try_parse_from(["weir", "memds", "status", "--nodes", "--dir", "x"]).unwrap();
        let Command::Memds(MemdsArgs { server: None, command: Some(MemdsCommand::Status { nodes, .. }) }) =
            asks.command
        else {
            panic!("not a status");
        };
        assert!(nodes);
        assert!(Cli::try_parse_from(["weir", "memds"]).is_err());
        assert!(Cli::try_parse_from(["weir", "memds", "--config", "memds.toml", "status"]).is_err());
    }

    #[test]
    fn routes_are_of_one_table_and_one_filter() {
        let parses = |words: &[&str]| Cli::try_parse_from(["weir", "routes"].iter().chain(words)).is_ok();
        assert!(parses(&["orders"]) && parses(&["orders", "--partition", "7", "--wide"]));
        assert!(parses(&["orders", "--key", "{}"]));
        assert!(!parses(&[]) && !parses(&["orders", "users"]));
        assert!(!parses(&["orders", "--partition", "7", "--key", "{}"]));
        assert!(!parses(&["orders", "--partition", "x"]));
    }
}
