//! The command line of operators: what `weir quota --help` and its siblings teach.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::failure::{EXIT_CODES, with_exit_codes};
use super::fleet::Reach;

/// Arguments of `weir quota`.
#[derive(Debug, Args)]
pub(crate) struct QuotaArgs {
    /// Which fleet to ask.
    #[command(flatten)]
    pub reach: Reach,

    /// What to do.
    #[command(subcommand)]
    pub command: QuotaCommand,
}

/// What a quota is for, as commands name it.
const SUBJECT: &str = "table/NAME, principal/NAME, or account";

/// What to do with quotas.
#[derive(Debug, Subcommand)]
pub(crate) enum QuotaCommand {
    /// Show every quota: rates, burst, version, what is special about it.
    #[command(after_help = EXIT_CODES)]
    List,

    /// Show one quota.
    #[command(after_help = EXIT_CODES)]
    Get {
        /// What it is for.
        #[arg(value_name = "SUBJECT", help = SUBJECT)]
        subject: String,
    },

    /// Change a quota, and wait until the change is in force.
    ///
    /// Shows what will change, asks (on a terminal, unless --yes), writes a new version of the quota's
    /// record, and reports when every GAC server that owns part of it has it. What is not named stays as it
    /// is. A table's rates are the ones that `UpdateTable` sets: both write the same record.
    #[command(after_help = with_exit_codes("Examples:\n  \
        weir quota set table/orders --write 2000 --reason 'sale on Friday'\n  \
        weir quota set table/orders --read 500 --burst-seconds 60\n  \
        weir quota set account --write 50000 --reason 'contract of 2026'\n  \
        weir quota set principal/batch --write 200 --shadow on   count, do not refuse\n  \
        weir quota set table/orders --weight 4 --floor 100       its claim on the account's quota\n  \
        weir quota set principal/batch --write none              remove the limit"))]
    Set(Box<SetArgs>),

    /// Show what changed between two versions of a quota: by default, by the last change.
    #[command(after_help = EXIT_CODES)]
    Diff {
        /// What it is for.
        #[arg(value_name = "SUBJECT", help = SUBJECT)]
        subject: String,
        /// The older version. Default: the one before `--to`.
        #[arg(long, value_name = "VERSION")]
        from: Option<u64>,
        /// The newer version. Default: the current one.
        #[arg(long, value_name = "VERSION")]
        to: Option<u64>,
        /// Which capacity. Default: both.
        #[arg(long, value_enum, value_name = "read|write")]
        kind: Option<Kind>,
    },

    /// Show a quota's versions: when, by whom, why, and what changed.
    #[command(after_help = EXIT_CODES)]
    History {
        /// What it is for.
        #[arg(value_name = "SUBJECT", help = SUBJECT)]
        subject: String,
    },

    /// Make an earlier version the current one again, as a new version.
    #[command(after_help = EXIT_CODES)]
    Rollback {
        /// What it is for.
        #[arg(value_name = "SUBJECT", help = SUBJECT)]
        subject: String,
        /// Which version to go back to. Default: the newest that said something else, boosts aside.
        #[arg(long, value_name = "VERSION", requires = "kind")]
        to: Option<u64>,
        /// Which capacity. Default: both; the one that `--to` is for must be named.
        #[arg(long, value_enum, value_name = "read|write")]
        kind: Option<Kind>,
        /// Who, why, and whether to ask.
        #[command(flatten)]
        change: ChangeArgs,
    },

    /// Raise a quota for a while; it returns by itself.
    #[command(after_help = with_exit_codes("Examples:\n  \
        weir quota boost table/orders --write 5000 --for 2h --reason 'flash sale'\n  \
        weir quota boost table/orders --factor 2 --for 90m\n  \
        weir quota boost table/orders --end              back now"))]
    Boost {
        /// What it is for.
        #[arg(value_name = "SUBJECT", help = SUBJECT)]
        subject: String,
        /// What to raise, and for how long.
        #[command(flatten)]
        wanted: BoostArgs,
        /// Who, why, and whether to ask.
        #[command(flatten)]
        change: ChangeArgs,
    },

    /// Print quotas' changes as they happen, until Ctrl-C.
    #[command(after_help = EXIT_CODES)]
    Watch {
        /// Print those since this point too, which an earlier `weir quota watch -o json` printed as `next`.
        #[arg(long, value_name = "POINT")]
        since: Option<u64>,
        /// End after the first ones.
        #[arg(long)]
        once: bool,
    },
}

/// Arguments of `weir quota set`.
#[derive(Debug, Args)]
pub(crate) struct SetArgs {
    /// What it is for.
    #[arg(value_name = "SUBJECT", help = SUBJECT)]
    pub subject: String,
    /// Read units per second for the whole fleet; `none`: no limit (the account's, a principal's).
    #[arg(long, value_name = "N|none")]
    pub read: Option<Limit>,
    /// Write units per second for the whole fleet; `none`: no limit (the account's, a principal's).
    #[arg(long, value_name = "N|none")]
    pub write: Option<Limit>,
    /// Which capacity the following are for. Default: those whose rate is named, both when none is.
    #[arg(long, value_enum, value_name = "read|write")]
    pub kind: Option<Kind>,
    /// Where a table's rate comes from: `provisioned` (its provisioned throughput), `on-demand` (twice its
    /// previous peak), `operator` (set here, whatever its billing says).
    #[arg(long, value_enum, value_name = "MODE")]
    pub mode: Option<Mode>,
    /// How many seconds of unused rate are banked. DynamoDB's, and the default, are 300.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub burst_seconds: Option<u64>,
    /// A table's weight in its account's quota, among tables of its priority.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub weight: Option<u32>,
    /// Units per second of its account's quota that a table gets before anything is divided.
    #[arg(long, value_name = "N")]
    pub floor: Option<u64>,
    /// Units per second of its account's quota that a table gets at most; `none`: no cap.
    #[arg(long, value_name = "N|none")]
    pub cap: Option<Limit>,
    /// A table's priority in its account's quota: higher ones are served first.
    #[arg(long, value_name = "N")]
    pub priority: Option<u8>,
    /// What proxies do when no GAC server answers for longer than a lease: `strict` keeps the fleet within
    /// the quota, `static` keeps each proxy's last rate, `open` admits everything.
    #[arg(long, value_enum, value_name = "POLICY")]
    pub outage: Option<Outage>,
    /// Count what would be refused, and refuse nothing.
    #[arg(long, value_enum, value_name = "on|off")]
    pub shadow: Option<Switch>,
    /// Who, why, and whether to ask.
    #[command(flatten)]
    pub change: ChangeArgs,
}

/// What a boost raises, and for how long.
#[derive(Debug, Clone, Args)]
#[command(group(
    clap::ArgGroup::new("rate").required(true).multiple(true).args(["read", "write", "factor", "end"])
))]
pub(crate) struct BoostArgs {
    /// Read units per second meanwhile.
    #[arg(long, value_name = "N")]
    pub read: Option<u64>,
    /// Write units per second meanwhile.
    #[arg(long, value_name = "N")]
    pub write: Option<u64>,
    /// So many times both rates instead.
    #[arg(long, value_name = "X", value_parser = factor, conflicts_with_all = ["read", "write"])]
    pub factor: Option<f64>,
    /// For how long: 15s, 90m, 2h, "1h 30m", 3days.
    #[arg(
        long = "for",
        value_name = "TIME",
        value_parser = boost_time,
        required_unless_present = "end"
    )]
    pub lasting: Option<Duration>,
    /// End the boost now, before its time.
    #[arg(long, conflicts_with_all = ["read", "write", "factor", "lasting"])]
    pub end: bool,
}

fn factor(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(factor) if factor.is_finite() && factor > 1.0 => Ok(factor),
        _ => Err("a number above 1 is needed".to_owned()),
    }
}

/// The control plane allows no other.
fn boost_time(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    match (Duration::from_secs(1)..=Duration::from_secs(30 * 86_400)).contains(&time) {
        true => Ok(time),
        false => Err("a boost lasts from one second to 30 days".to_owned()),
    }
}

/// What every change has.
#[derive(Debug, Clone, Args)]
pub(crate) struct ChangeArgs {
    /// Why: recorded with the change.
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub reason: String,
    /// Who: recorded with the change.
    #[arg(long, env = "USER", value_name = "NAME", default_value = "unknown")]
    pub author: String,
    /// Show what would change, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask. Without a terminal nothing is asked anyway.
    #[arg(long, short)]
    pub yes: bool,
}

/// A rate, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    /// Units per second.
    To(u64),
    /// No limit.
    None,
}

impl std::str::FromStr for Limit {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.eq_ignore_ascii_case("none") {
            true => Ok(Self::None),
            false => text.replace('_', "").parse().map(Self::To),
        }
    }
}

/// Which capacity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Read capacity units.
    Read,
    /// Write capacity units.
    Write,
}

/// Where a table's rate comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// Its provisioned throughput.
    Provisioned,
    /// Twice its previous peak.
    OnDemand,
    /// An operator.
    Operator,
}

/// What proxies do when no GAC server answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Outage {
    /// Each proxy takes its equal part of the quota.
    Strict,
    /// Each proxy keeps its last rate.
    Static,
    /// Everything is admitted.
    Open,
}

/// On or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Switch {
    /// On.
    On,
    /// Off.
    Off,
}

/// Arguments of `weir top`.
#[derive(Debug, Args)]
pub(crate) struct TopArgs {
    /// Print once instead of every second. Without a terminal it is always once.
    #[arg(long)]
    pub once: bool,
    /// Rows of each table.
    #[arg(long, short = 'n', value_name = "N", default_value_t = 15)]
    pub rows: usize,
    /// Which fleet to ask.
    #[command(flatten)]
    pub reach: Reach,
}

/// Arguments of `weir explain`.
#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// The request's id (`x-amzn-RequestId`, which SDKs put into their errors) or its explain token.
    #[arg(value_name = "TOKEN|REQUEST-ID")]
    pub request: String,
    /// Which fleet to ask.
    #[command(flatten)]
    pub reach: Reach,
}

/// Arguments of `weir gac`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, arg_required_else_help = true)]
pub(crate) struct GacArgs {
    /// How to run one as its own process.
    #[command(flatten)]
    pub server: Option<crate::cli::TierArgs>,
    /// What to ask or change of those that run.
    #[command(subcommand)]
    pub command: Option<GacCommand>,
}

/// What to do with running GAC servers.
#[derive(Debug, Subcommand)]
pub(crate) enum GacCommand {
    /// Show the servers, the ring, and the buckets: pool, shares, mode, Σout/R, over-admission and its bound.
    #[command(after_help = EXIT_CODES)]
    Status {
        /// Only this table's buckets, with each proxy's share.
        #[arg(long, value_name = "NAME")]
        table: Option<String>,
        /// How many buckets of each server, those with the highest demand for their quota first.
        #[arg(long, value_name = "N", default_value_t = 20)]
        limit: u32,
        /// Which fleet to ask.
        #[command(flatten)]
        reach: Reach,
    },
    /// Put a running server into the ring: it takes its part of the buckets over from the others.
    #[command(after_help = EXIT_CODES)]
    Add {
        /// `host:port` where it serves proxies, or its name in a `weir cluster`.
        address: String,
        /// Who, why, and whether to ask.
        #[command(flatten)]
        change: ChangeArgs,
        /// Which fleet to ask.
        #[command(flatten)]
        reach: Reach,
    },
    /// Take a server out of the ring: it hands its buckets over, and can be stopped then.
    #[command(after_help = EXIT_CODES)]
    Drain {
        /// `host:port` where it serves proxies, or its name in a `weir cluster`.
        address: String,
        /// Who, why, and whether to ask.
        #[command(flatten)]
        change: ChangeArgs,
        /// Which fleet to ask.
        #[command(flatten)]
        reach: Reach,
    },
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn gac_runs_a_server_or_talks_to_the_running_ones() {
        let serves = Cli::try_parse_from(["weir", "gac", "--config", "gac.toml"]).unwrap();
        assert!(matches!(serves.command, Command::Gac(GacArgs { server: Some(_), command: None })));
        let asks = Cli::try_parse_from(["weir", "gac", "drain", "gac-1", "--dir", "x", "-y"]).unwrap();
        let Command::Gac(GacArgs { server: None, command: Some(GacCommand::Drain { reach, .. }) }) =
            asks.command
        else {
            panic!("not a drain");
        };
        assert_eq!(reach.dir.as_deref(), Some(std::path::Path::new("x")));
        assert!(Cli::try_parse_from(["weir", "gac"]).is_err());
    }

    #[test]
    fn a_boost_needs_a_time_and_a_rate() {
        let boost = |words: &[&str]| {
            let line = ["weir", "quota", "boost", "table/orders"].iter().chain(words).copied();
            Cli::try_parse_from(line).is_ok()
        };
        assert!(boost(&["--write", "5000", "--for", "1h 30m"]));
        assert!(!boost(&["--write", "5000"]));
        assert!(!boost(&["--for", "2h"]));
        assert!(!boost(&["--write", "5000", "--for", "soon"]));
        assert!(!boost(&["--write", "5000", "--for", "31d"]) && !boost(&["--write", "5000", "--for", "0s"]));
        assert!(boost(&["--read", "5", "--write", "5", "--for", "1s"]) && boost(&["--end"]));
        assert!(boost(&["--factor", "1.5", "--for", "30d"]));
        assert!(!boost(&["--factor", "2", "--write", "5", "--for", "1s"]));
        for factor in ["1", "0", "nan", "inf", "-2", "x"] {
            assert!(!boost(&["--factor", factor, "--for", "1h"]), "{factor}");
        }
    }
}
