//! `weir load`: its command line, and what each command does.

mod args;
mod call;
mod canary;
mod compare;
mod failure;
mod measure;
mod output;
mod prepare;
mod replay;
mod report_files;
mod run;
mod search;
mod session;
mod spec_of;
mod verify;

use clap::{Args, Subcommand};
use tokio_util::sync::CancellationToken;

pub use failure::Failure;
pub use session::{Fleets, LocalFleet};

use canary::CanaryArgs;
use compare::CompareArgs;
use failure::with_exit_codes;
use replay::ReplayArgs;
use report_files::ReportArgs;
use run::{RunArgs, YcsbArgs};
use search::SearchArgs;
use verify::VerifyArgs;

/// Arguments of `weir load`.
#[derive(Debug, Clone, Args)]
pub struct LoadArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: LoadCommand,
}

/// What to do.
#[derive(Debug, Clone, Subcommand)]
pub enum LoadCommand {
    /// Send load, and report latency from the time at which each request was due.
    ///
    /// Open loop: requests are sent at their intended times, whatever the answers do, so that a stall of the
    /// service counts against every request that had to wait for it. The run says itself when it is not to be
    /// believed: when it fell behind, or its own CPU was the limit.
    #[command(after_help = with_exit_codes("Examples:\n  \
        weir load run --endpoint http://127.0.0.1:8000 --rate 500/s\n  \
        weir load run --dir weir-cluster --rate 'ramp:100/s..2000/s' --duration 2m --html report.html\n  \
        weir load run --endpoint URL --table orders --prepare --keys zipf:100000 --item-size lognormal:900:0.5 \\\n      \
            --mix get=80,put=15,query=5 --rate 1k/s --threshold 'p99<10ms' --threshold 'throttled<1%'\n  \
        weir load run --endpoint URL --scenario shop.toml --json shop.json --hdr shop.hdr\n  \
        weir load run --endpoint URL --closed --connections 1       how fast is one caller?\n  \
        weir load run --endpoint URL --rate 200/s --retry adaptive  as a client in the SDK's adaptive mode"))]
    Run(Box<RunArgs>),

    /// Send a core workload of YCSB, A to F; the table is created and filled if it is missing.
    #[command(after_help = with_exit_codes("Examples:\n  \
        weir load ycsb B --endpoint http://127.0.0.1:8000 --rate 500/s --duration 5s --json b.json --html b.html\n  \
        weir load ycsb A --dir weir-cluster --records 100000 --rate 2k/s --duration 1m --threshold 'p99<20ms'\n  \
        weir load ycsb C --endpoint URL --closed                    as many as are answered"))]
    Ycsb(Box<YcsbArgs>),

    /// Find the highest rate that meets objectives.
    ///
    /// Short runs: the rate doubles until an objective is missed, then the middle is tried until the two are close;
    /// the best must hold again. A run that was invalid misses nothing: then the generator is the limit, and that
    /// is said.
    #[command(after_help = with_exit_codes("Examples:\n  \
        weir load search --endpoint http://127.0.0.1:8000 --objective 'p99<10ms'\n  \
        weir load search --endpoint URL --table orders --objective 'p99<10ms' --objective 'throttled<1%' \\\n      \
            --from 500/s --probe 20s --resolution 2% --html knee.html\n  \
        weir load search --dir weir-cluster --ycsb B --objective 'p99<10ms' --confirm 5 --all"))]
    Search(Box<SearchArgs>),

    /// Compare two sides: endpoints, flags or results; ratios with confidence intervals.
    ///
    /// Runs come in pairs, one of each side, in an order that is drawn; what the machine does to one it does to the
    /// other. A ratio is a pair's; its interval is Student's t on the logarithms of the ratios, wide enough for all
    /// rows together (Bonferroni). Where it allows that both are equal, no difference is detectable.
    #[command(after_help = with_exit_codes("Examples:\n  \
        weir load compare --a http://127.0.0.1:8000 --b http://127.0.0.1:8001 --rate 500/s\n  \
        weir load compare --endpoint URL --rate 500/s --a '--label h1' --b '--http2 --label h2' --pairs 20\n  \
        weir load compare --ycsb B --rate 1k/s --process proxy:4711 --a URL --b URL --html compared.html\n  \
        weir load compare --a a1.json,a2.json,a3.json --b b1.json,b2.json,b3.json\n  \
        weir load compare --a URL --rate 200/s --pairs 4 --duration 1s --self-check 100    is it to be believed?"))]
    Compare(Box<CompareArgs>),

    /// Send recorded traffic again, at a speed.
    #[command(after_help = with_exit_codes("Examples:\n  \
        weir load run --endpoint URL --rate 'onoff:1k/s on 5s off 5s' --trace bursts.jsonl     record\n  \
        weir load replay bursts.jsonl --endpoint URL --speed 2x                                twice as fast\n  \
        weir load replay access-times.txt --endpoint URL --table orders --mix get=1            times from elsewhere"))]
    Replay(Box<ReplayArgs>),

    /// Send small steady traffic, and reckon availability by windows of five minutes, per table and endpoint.
    ///
    /// As DynamoDB's service level agreement reckons it: of the requests in a window, the part that the service did
    /// not fail (5xx, or no answer). Runs until Ctrl-C, or for a while.
    #[command(after_help = with_exit_codes("Examples:\n  \
        weir load canary --endpoint a=http://10.0.0.1:8000 --endpoint b=http://10.0.1.1:8000\n  \
        weir load canary --dir weir-cluster --table orders --json canary.jsonl\n  \
        weir load canary --endpoint URL --window 10s --for 1m --availability 99.99%"))]
    Canary(Box<CanaryArgs>),

    /// Check that the service keeps its promises, while nodes are killed, paused and cut off.
    ///
    /// Clients write, read and delete a few keys at once, with values that are never written twice, and write down
    /// what they were told. Then it is checked that one order explains all strong reads and writes of each key
    /// (linearizable), that eventually consistent reads through one endpoint do not go back, that a refused write is
    /// never seen, and that no acknowledged one is lost. Errors and timeouts are part of it: a write without an
    /// answer may take place later, or never.
    #[command(after_help = "Examples:\n  \
        weir load verify --dir weir-cluster --duration 60s          meanwhile: weir cluster kill storage-1\n  \
        weir load verify --endpoint URL --keys 8 --clients 32       many clients on few keys\n  \
        weir load verify --endpoint URL --history run.jsonl         keep what was told\n  \
        weir load verify --check run.jsonl                          check it again\n\n\
        Exit codes:\n  \
        0    every promise held\n  \
        1    failed: endpoint, credentials, table, file\n  \
        2    wrong usage\n  \
        98   nothing broken was seen, but too little was checked to say that all held\n  \
        99   a promise was broken: the report shows the calls")]
    Verify(Box<VerifyArgs>),

    /// Show results once more: as a page, beside each other, or with their histograms merged.
    #[command(after_help = with_exit_codes("Examples:\n  \
        weir load report monday.json --html monday.html\n  \
        weir load report monday.json tuesday.json --html both.html\n  \
        weir load report node1.hdr node2.hdr --hdr all.hdr"))]
    Report(ReportArgs),
}

/// Runs a command until it is done, or until `stop`: then it ends soon and reports what it has.
///
/// # Errors
/// [`Failure`], whose exit code is the command's.
pub async fn run(args: LoadArgs, fleets: &impl Fleets, stop: CancellationToken) -> Result<(), Failure> {
    match args.command {
        LoadCommand::Run(args) => run::run(*args, fleets, &stop).await,
        LoadCommand::Ycsb(args) => run::run_ycsb(*args, fleets, &stop).await,
        LoadCommand::Search(args) => search::run(*args, fleets, &stop).await,
        LoadCommand::Compare(args) => compare::run(*args, fleets, &stop).await,
        LoadCommand::Replay(args) => replay::run(*args, fleets, &stop).await,
        LoadCommand::Canary(args) => canary::run(*args, fleets, &stop).await,
        LoadCommand::Verify(args) => verify::run(*args, fleets, &stop).await,
        LoadCommand::Report(args) => report_files::run(&args),
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Debug, Parser)]
    #[command(name = "weir load")]
    struct Line {
        #[command(flatten)]
        load: LoadArgs,
    }

    fn parsed(line: &str) -> Result<LoadCommand, String> {
        let words = std::iter::once("weir load").chain(line.split(' '));
        Line::try_parse_from(words).map(|line| line.load.command).map_err(|error| error.to_string())
    }

    #[test]
    fn no_command_names_a_flag_twice() {
        Line::command().debug_assert();
    }

    #[test]
    fn the_command_lines_of_the_documentation_are_understood() {
        for line in [
            "run --endpoint http://127.0.0.1:8000 --rate 500/s",
            "run --dir weir-cluster --rate ramp:100/s..2000/s --duration 2m --html report.html",
            "run --endpoint http://a:1 --closed --connections 1",
            "run --endpoint http://a:1 --scenario shop.toml --json shop.json --hdr shop.hdr",
            "ycsb B --endpoint http://a:1 --rate 500/s --duration 5s --json FILE --html FILE",
            "search --endpoint http://a:1 --objective p99<10ms --objective throttled<1% --resolution 2%",
            "compare --a http://a:1 --b http://b:1 --ycsb B --rate 300/s",
            "compare --a a1.json,a2.json --b b1.json,b2.json",
            "compare --a http://a:1 --rate 200/s --self-check 100",
            "replay bursts.jsonl --endpoint http://a:1 --speed 2x",
            "canary --endpoint zone-a=http://a:1 --endpoint zone-b=http://b:1 --json canary.jsonl",
            "verify --dir weir-cluster",
            "report node1.hdr node2.hdr --hdr all.hdr",
        ] {
            assert!(parsed(line).is_ok(), "{line}: {}", parsed(line).unwrap_err());
        }
    }

    #[test]
    fn what_excludes_each_other_is_refused() {
        for line in [
            "run --rate 1/s --closed",
            "run --rate 1/s --scenario a.toml --table orders",
            "compare --a http://a:1 --rate 1/s",
            "compare --a http://a:1 --b http://b:1 --self-check 3",
            "search --endpoint http://a:1",
            "ycsb G",
        ] {
            assert!(parsed(line).is_err(), "{line}");
        }
    }
}
