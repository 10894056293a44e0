//! The command line: what `weir --help` teaches.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand};
use serde::{Deserialize, Serialize};

use crate::operator::args::{ExplainArgs, GacArgs, QuotaArgs, TopArgs};
use crate::operator::failure::{EXIT_CODES, with_exit_codes};
use crate::operator::leader_args::LeadersArgs;
use crate::operator::metadata_args::{CacheArgs, MemdsArgs, RoutesArgs};

/// Weir: the front door of a DynamoDB-compatible database.
///
/// A fleet of request routers speaks the DynamoDB API to unmodified AWS SDKs, admits requests against
/// quotas that hold for the whole fleet, and routes them to partitions replicated over three zones.
///
/// Start here:  weir dev
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// What to log: a level (error, warn, info, debug) or `target=level,…`. Default: info for a tier as its own
    /// process; warn for everything whose output people read.
    #[arg(long, global = true, env = "WEIR_LOG", value_name = "FILTER")]
    pub log: Option<String>,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run every tier in this one process: the embedded default, for development and tests.
    ///
    /// Three storage nodes in three pretend availability zones, two MemDS servers, a GAC server, the
    /// control plane and a proxy. Prints how to point an SDK and the AWS CLI at it. Stops gracefully on
    /// SIGINT (Ctrl-C) and SIGTERM.
    #[command(after_help = "Examples:\n  \
        weir dev                                 keep data in ./weir-data, listen on port 8000\n  \
        weir dev --ephemeral --port 0            keep nothing, listen on any free port\n  \
        weir dev --replicas 1                    one storage node, one copy of everything: cheapest\n  \
        weir dev --accept-any-credentials        drop-in for DynamoDB Local (loopback only)")]
    Dev(Box<DevArgs>),

    /// Run one request router (proxy) as its own process.
    Proxy(TierArgs),

    /// Run one global admission controller (GAC) server as its own process; ask or change the running ones.
    #[command(after_help = "Examples:\n  \
        weir gac --config gac.toml               run a server\n  \
        weir gac status                          servers, ring, buckets\n  \
        weir gac status --table orders           one table's pool, mode, and shares by proxy\n  \
        weir gac add 10.0.2.3:7200               put a running server into the ring\n  \
        weir gac drain 10.0.0.3:7200             take one out, so that it can be stopped")]
    Gac(GacArgs),

    /// Run one metadata (MemDS) server as its own process; ask the running ones.
    #[command(after_help = "Examples:\n  \
        weir memds --config memds.toml           run a server\n  \
        weir memds status                        what each holds, serves and lags behind; whether they agree\n  \
        weir memds status --nodes                the lag behind each storage node")]
    Memds(MemdsArgs),

    /// Run one storage node as its own process.
    Storage(TierArgs),

    /// Run one member of the control plane as its own process.
    Control(TierArgs),

    /// Show and change quotas: versioned, with author and reason, in force fleet-wide within a second.
    #[command(after_help = "Examples:\n  \
        weir quota list                                          every quota\n  \
        weir quota get table/orders                              one of them\n  \
        weir quota set table/orders --write 2000 --reason sale   change it; waits until it is in force\n  \
        weir quota boost table/orders --write 5000 --for 2h      raise it for a while\n  \
        weir quota history table/orders                          who changed what, when, why\n  \
        weir quota rollback table/orders                         undo the last change\n  \
        weir quota get table/orders --dir weir-cluster           ask another fleet than `weir dev`")]
    Quota(QuotaArgs),

    /// Show tables and principals by what they ask for: offered, admitted, refused and why; live.
    #[command(after_help = EXIT_CODES)]
    Top(TopArgs),

    /// Say why a request was refused: every level that was checked, in plain words.
    ///
    /// Proxies remember their last refusals. Which request: SDKs show its id in their errors; the answer's
    /// header `x-amzn-RequestId` has it.
    #[command(after_help = EXIT_CODES)]
    Explain(ExplainArgs),

    /// Show where a table's partitions are: key ranges, replicas, leader, version, and which MemDS servers agree.
    #[command(after_help = with_exit_codes("Examples:\n  \
        weir routes orders                                   every partition\n  \
        weir routes orders --key '{\"pk\": {\"S\": \"a\"}}'      the one that holds this key\n  \
        weir routes orders --partition 17 --wide             one of them, with whole keys"))]
    Routes(RoutesArgs),

    /// Show which storage node leads how many partitions, and move leaderships from one to others.
    #[command(after_help = with_exit_codes("Examples:\n  \
        weir leaders                             nodes, zones, how many each leads\n  \
        weir leaders --table orders              of one table\n  \
        weir leaders move --from 1               relieve node 1 of all, while it serves\n  \
        weir leaders move --from 1 --to 2 --count 20"))]
    Leaders(LeadersArgs),

    /// Show or empty the proxies' caches of tables and routes.
    ///
    /// Proxies need no flush: what they have cached is corrected by every answer of MemDS, and by the storage
    /// nodes. It is there to show that MemDS has the same work whatever the caches hold, and for the day on which
    /// somebody does not believe a cache.
    #[command(after_help = "Examples:\n  \
        weir cache status                        what each proxy has, and how MemDS servers answer it\n  \
        weir cache flush                         all proxies at once; asks first on a terminal\n  \
        weir cache flush --yes --reason 'drill'")]
    Cache(CacheArgs),

    /// Run a whole local fleet of separate processes, for trying failures.
    ///
    /// Two proxies, two GAC servers, two MemDS servers, three storage nodes in three zones, three
    /// control-plane members. Without a subcommand it starts the fleet in the foreground; the
    /// subcommands talk to the fleet that runs from the same --dir. An environment variable
    /// `WEIR_<TIER>_<FIELD>` sets a field of all configurations of a tier (WEIR_PROXY_CACHED_ROUTES=1000).
    #[command(after_help = "Examples:\n  \
        weir cluster                             start the fleet (Ctrl-C stops all of it)\n  \
        weir cluster status                      who runs, where it listens\n  \
        weir cluster kill storage-1              kill -9 one process\n  \
        weir cluster pause memds-1               freeze one: connected, and silent (SIGSTOP)\n  \
        weir cluster slow memds-1 --ms 40        let it run for 10 ms after every 40\n  \
        weir cluster resume memds-1              end that\n  \
        weir cluster wipe storage-1              delete a stopped node's data\n  \
        weir cluster start storage-1             start it again\n  \
        weir cluster add gac                     start one more GAC server\n  \
        weir quota list --dir weir-cluster       operators' commands find the fleet by its folder")]
    Cluster(ClusterArgs),

    /// Send load to an endpoint and measure what comes of it: latency, capacity, availability, comparisons.
    ///
    /// To Weir, Amazon DynamoDB, or any compatible endpoint. Credentials come from the usual AWS variables and
    /// profiles. docs/load-generator.md says what is measured and how.
    #[command(after_help = "Examples:\n  \
        weir load run --endpoint http://127.0.0.1:8000 --rate 500/s       latency at a rate\n  \
        weir load ycsb B --dir weir-cluster --rate 1k/s --html b.html     a known workload, on a local fleet\n  \
        weir load search --endpoint URL --objective 'p99<10ms'            the highest rate that meets it\n  \
        weir load compare --a URL --b URL --rate 500/s                    is there a difference?\n  \
        weir load canary --endpoint URL                                   availability per five minutes")]
    Load(loadgen::command::LoadArgs),
}

/// Arguments of `weir dev`.
#[derive(Debug, Args)]
pub(crate) struct DevArgs {
    /// Where data is kept: created if missing, found again at the next start.
    #[arg(long, env = "WEIR_DATA_DIR", value_name = "DIR", default_value = "weir-data")]
    pub data_dir: PathBuf,

    /// Keep nothing on disk: all data is gone when the process ends.
    #[arg(long, conflicts_with = "data_dir")]
    pub ephemeral: bool,

    /// Copies of every partition. 3: three storage nodes, and a write is answered once two of them have it on
    /// disk. 1: one storage node, and a write is answered once that one has: nothing survives the loss of its
    /// disk. Default: as the data folder was begun; 3 for a new one.
    #[arg(long, env = "WEIR_REPLICAS", value_name = "N", value_enum)]
    pub replicas: Option<Replicas>,

    /// Address that the DynamoDB endpoint binds to.
    #[arg(long, env = "WEIR_HOST", value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub host: std::net::IpAddr,

    /// Port of the DynamoDB endpoint; 0 takes a free one.
    #[arg(long, env = "WEIR_PORT", value_name = "PORT", default_value_t = 8000)]
    pub port: u16,

    /// Port of the operators' endpoint (probes, metrics, and what `weir quota` and its siblings ask), always
    /// on loopback; 0 takes a free one.
    #[arg(long, env = "WEIR_ADMIN_PORT", value_name = "PORT", default_value_t = 9901)]
    pub admin_port: u16,

    /// Access key to accept. Default: one made at the first start and kept with the data.
    #[arg(long, env = "WEIR_ACCESS_KEY", value_name = "KEY", requires = "secret_key")]
    pub access_key: Option<String>,

    /// Secret key that goes with --access-key.
    #[arg(
        long,
        env = "WEIR_SECRET_KEY",
        value_name = "SECRET",
        requires = "access_key",
        hide_env_values = true
    )]
    pub secret_key: Option<String>,

    /// Accept every request that looks signed, whatever the key, without checking the signature. Only on
    /// a loopback address.
    #[arg(long)]
    pub accept_any_credentials: bool,

    /// Region that the endpoint says it is in.
    #[arg(long, env = "WEIR_REGION", value_name = "REGION", default_value = "us-east-1")]
    pub region: String,
}

/// How many copies of every partition there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
pub(crate) enum Replicas {
    /// One: on one storage node.
    #[value(name = "1")]
    #[serde(rename = "1")]
    One,
    /// Three: on three storage nodes in three zones, with a quorum of two.
    #[default]
    #[value(name = "3")]
    #[serde(rename = "3")]
    Three,
}

impl Replicas {
    /// What operators must be told of a fleet with one copy.
    pub(crate) const WARNING: &'static str = concat!(
        "  WARNING     one copy of everything (--replicas 1): the loss of one disk is the loss of all data, and\n",
        "              while its storage node is down nothing is served",
    );

    /// As a number; also the number of storage nodes.
    pub(crate) const fn count(self) -> u8 {
        match self {
            Self::One => 1,
            Self::Three => 3,
        }
    }

    /// What a fleet begun with `begun` (none: a new one) runs with when `asked` is asked for.
    ///
    /// # Errors
    /// A number cannot be changed: the partitions that are there stay where they were placed.
    pub(crate) fn settle(asked: Option<Self>, begun: Option<Self>, place: &Path) -> anyhow::Result<Self> {
        match (asked, begun) {
            (Some(asked), Some(begun)) if asked != begun => anyhow::bail!(
                "{} was begun with --replicas {}, which cannot be changed: take another folder for --replicas {}",
                place.display(),
                begun.count(),
                asked.count()
            ),
            (asked, begun) => Ok(begun.or(asked).unwrap_or_default()),
        }
    }
}

/// Arguments of a tier that runs as its own process.
#[derive(Debug, Args)]
pub(crate) struct TierArgs {
    /// Configuration file (TOML). Environment variables `WEIR_<TIER>_<FIELD>` override its fields.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,

    /// Address of the operators' endpoint (/livez, /readyz, /metrics); overrides `admin.listen`.
    #[arg(long, value_name = "ADDRESS")]
    pub admin: Option<SocketAddr>,
}

/// Arguments of `weir cluster`.
#[derive(Debug, Args)]
pub(crate) struct ClusterArgs {
    /// Where the fleet keeps its configuration, data and logs.
    #[arg(long, global = true, value_name = "DIR", default_value = "weir-cluster")]
    pub dir: PathBuf,

    /// Port of the first proxy; the second gets the next one. 0 takes free ones.
    #[arg(long, value_name = "PORT", default_value_t = 8000)]
    pub port: u16,

    /// Copies of every partition. 3: three storage nodes in three zones, and a write is answered once two of
    /// them have it on disk. 1: one storage node, and a write is answered once that one has: nothing survives
    /// the loss of its disk, and while it is down there is no service. Default: as the fleet in --dir was
    /// begun; 3 for a new one.
    #[arg(long, value_name = "N", value_enum)]
    pub replicas: Option<Replicas>,

    /// Keep no data on disk, for measuring: storage nodes and one control-plane member have all of it in memory.
    /// What a fleet from --dir had on disk stays there, untouched.
    #[arg(long)]
    pub ephemeral: bool,

    /// Number of proxies. Default: as at the last start from --dir; 2 at the first.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=16))]
    pub proxies: Option<u8>,

    /// Number of GAC servers. Default: as at the last start from --dir; 2 at the first.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=16))]
    pub gac: Option<u8>,

    /// Number of MemDS servers. Default: as at the last start from --dir; 2 at the first.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=16))]
    pub memds: Option<u8>,

    /// Access key to accept. Default: one made at the first start.
    #[arg(long, env = "WEIR_ACCESS_KEY", value_name = "KEY", requires = "secret_key")]
    pub access_key: Option<String>,

    /// Secret key that goes with --access-key.
    #[arg(
        long,
        env = "WEIR_SECRET_KEY",
        value_name = "SECRET",
        requires = "access_key",
        hide_env_values = true
    )]
    pub secret_key: Option<String>,

    /// What to do with the fleet; starts it when absent.
    #[command(subcommand)]
    pub command: Option<ClusterCommand>,
}

/// How a command prints what it found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum OutputFormat {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// What to do with a running fleet.
#[derive(Debug, Subcommand)]
pub(crate) enum ClusterCommand {
    /// Show every process: state, process id, addresses.
    Status {
        /// How to print it.
        #[arg(long, short, value_enum, default_value_t = OutputFormat::Table)]
        output: OutputFormat,
    },
    /// Kill one process at once (SIGKILL), as a crash would.
    Kill {
        /// Name as `weir cluster status` shows it, such as storage-1.
        node: String,
    },
    /// Freeze one process (SIGSTOP): its connections stay open, and nothing is answered, until `resume`.
    Pause {
        /// Name as `weir cluster status` shows it, such as memds-1.
        node: String,
    },
    /// Make one process slow: it stands still most of the time, until `resume`.
    Slow {
        /// Name as `weir cluster status` shows it, such as memds-1.
        node: String,
        /// How long it stands still at a time, in milliseconds. It runs for 10 ms in between.
        #[arg(long, value_name = "N", default_value_t = 40, value_parser = clap::value_parser!(u64).range(1..=10_000))]
        ms: u64,
    },
    /// Let a paused or slowed process run again.
    Resume {
        /// Name as `weir cluster status` shows it, such as memds-1.
        node: String,
    },
    /// Start a process that is not running.
    Start {
        /// Name as `weir cluster status` shows it, such as storage-1.
        node: String,
    },
    /// Delete the data of a process that is not running.
    Wipe {
        /// Name as `weir cluster status` shows it, such as storage-1.
        node: String,
    },
    /// Start one more process of a tier, and keep it for later starts. A GAC server then joins the ring
    /// by `weir gac add`.
    Add {
        /// Which tier.
        #[arg(value_enum)]
        tier: GrowingTier,
    },
    /// Stop the whole fleet gracefully.
    Stop,
}

/// A tier that `weir cluster add` can grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum GrowingTier {
    /// A GAC server.
    Gac,
    /// A proxy.
    Proxy,
}
