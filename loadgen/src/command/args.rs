//! Flags that several commands share. Every one may be absent: what then holds is said where a spec is made of
//! them (`spec_of`), so that the two sides of a comparison can share some and differ in others.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::failure::Failure;
use crate::objective::Objective;
use crate::retry::RetryModel;
use crate::workload::{Arrivals, ItemSize, KeyDistribution, Mix, YcsbWorkload, ycsb};

/// The table that YCSB calls so.
const YCSB_TABLE: &str = "usertable";

/// Where requests go, and who signs them.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Where")]
pub(super) struct TargetArgs {
    /// Where requests go, such as http://127.0.0.1:8000 or https://dynamodb.eu-west-1.amazonaws.com; repeatable, for
    /// the proxies of one fleet. Default: AWS_ENDPOINT_URL_DYNAMODB or AWS_ENDPOINT_URL.
    #[arg(long = "endpoint", value_name = "URL", value_delimiter = ',')]
    pub endpoints: Vec<String>,

    /// Folder of the `weir cluster` or `weir dev` that runs here: says where its proxies and operators' endpoints
    /// are, which credentials it accepts, and which processes to account CPU for.
    #[arg(long, value_name = "DIR", alias = "cluster")]
    pub dir: Option<PathBuf>,

    /// Region in signatures. Default: the endpoint's, if it is Amazon's; AWS_REGION; us-east-1.
    #[arg(long, value_name = "REGION")]
    pub region: Option<String>,

    /// Profile of ~/.aws/credentials that signs. Default: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE,
    /// the default profile.
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
}

/// What is sent.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "What")]
pub(super) struct TrafficArgs {
    /// Table. Its partition key must be a string `pk`. Default: weir-load, which is created and filled if missing.
    #[arg(long, value_name = "NAME")]
    pub table: Option<String>,

    /// Operations and their shares: get, get-eventual, put, insert, put-if-present, update, delete, query, scan,
    /// batch-get, batch-write, read-modify-write. Default: get=90,put=10.
    #[arg(long, value_name = "MIX", allow_hyphen_values = true)]
    pub mix: Option<Mix>,

    /// Keys: a number of them, or a distribution: zipf:10000:0.99, latest:10000, hotspot:10000:0.2:0.8,
    /// sequential:10000, 'moving:10000:0.5 every 10s'. Default: 10000, all equally.
    #[arg(long, value_name = "KEYS", allow_hyphen_values = true, value_parser = keys)]
    pub keys: Option<KeyDistribution>,

    /// Bytes of an item by DynamoDB's rule: 900, uniform:100-2000, lognormal:900:0.5. Default: 900.
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    pub item_size: Option<ItemSize>,

    /// File (TOML) that says what is sent: several streams, tables and principals.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["table", "mix", "keys", "item_size"])]
    pub scenario: Option<PathBuf>,
}

/// How it is sent.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "How")]
pub(super) struct SendingArgs {
    /// Connections, over all threads. Default: 64; with --http2 4.
    #[arg(long, value_name = "N")]
    pub connections: Option<usize>,

    /// Threads that send. Default: 1; it is enough for tens of thousands of requests per second.
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,

    /// Speak HTTP/2: with prior knowledge over plain TCP, by ALPN over TLS.
    #[arg(long)]
    pub http2: bool,

    /// What happens after a failed attempt: none, standard, adaptive or naive, as in standard:3 for three attempts
    /// at most. Default: none.
    #[arg(long, value_name = "MODEL", allow_hyphen_values = true)]
    pub retry: Option<RetryModel>,

    /// How long an attempt may take. Default: 5s.
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true, value_parser = humantime::parse_duration)]
    pub attempt_timeout: Option<Duration>,

    /// What counts as sent late: a run with over 0.1 % of such requests is invalid. No percentile up to p99.9 of a valid
    /// run is wrong by more than this. Virtual machines whose host takes their CPU away may need 5ms. Default: 1ms.
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true, value_parser = humantime::parse_duration)]
    pub late_after: Option<Duration>,

    /// Ask the service what each request cost, and add it up beside what it must cost.
    #[arg(long)]
    pub return_capacity: bool,

    /// The same seed sends the same. Default: 1.
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
}

/// When it is sent.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "When")]
pub(super) struct RateArgs {
    /// When requests are due: 500/s (random gaps, as independent callers), 'constant:500/s' (even gaps),
    /// 'ramp:100/s..2000/s', 'step:100/s..1000/s by 100/s every 10s', 'spike:500/s to 5000/s at 20s for 5s',
    /// 'sine:500/s +-300/s every 60s', 'onoff:1000/s on 5s off 5s'.
    #[arg(long, value_name = "RATE", allow_hyphen_values = true, visible_alias = "arrivals")]
    pub rate: Option<Arrivals>,

    /// Closed loop: each connection sends when its last request was answered, as fast as that is. Such a run hides
    /// what users feel when a service stalls.
    #[arg(long, conflicts_with = "rate")]
    pub closed: bool,
}

/// How long.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "When")]
pub(super) struct DurationArgs {
    /// How long is measured.
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true, value_parser = humantime::parse_duration)]
    pub duration: Option<Duration>,

    /// What is sent before that and left out of every figure.
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true, value_parser = humantime::parse_duration)]
    pub warm_up: Option<Duration>,
}

/// What every command that sends shares.
#[derive(Debug, Clone, Args)]
pub(super) struct CommonArgs {
    #[command(flatten)]
    pub target: TargetArgs,
    #[command(flatten)]
    pub sending: SendingArgs,
    #[command(flatten)]
    pub preparation: PreparationArgs,
    #[command(flatten)]
    pub output: OutputArgs,
    #[command(flatten)]
    pub watch: WatchArgs,
}

/// What is sent: flags, or a core workload by its letter.
#[derive(Debug, Clone, Args)]
pub(super) struct WorkArgs {
    /// A core workload of YCSB, A to F, instead of --mix, --keys and --item-size.
    #[arg(long, value_name = "A-F", value_parser = letter, conflicts_with_all = ["mix", "keys", "item_size", "scenario"])]
    pub ycsb: Option<char>,
    /// Its records.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub records: u64,
    #[command(flatten)]
    pub traffic: TrafficArgs,
}

impl WorkArgs {
    /// What is sent: `traffic` (these flags' or what a side has over them), unless a core workload is named.
    pub(super) fn over(&self, traffic: TrafficArgs) -> TrafficArgs {
        match self.ycsb {
            Some(letter) => TrafficArgs::ycsb(letter, self.records, traffic.table),
            None => traffic,
        }
    }
}

/// Where results go.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Results")]
pub(super) struct OutputArgs {
    /// Write the result as JSON; `-` prints it instead of the summary.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,

    /// Write a report as one HTML page that needs nothing else.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,

    /// Print neither progress nor summary.
    #[arg(long, short)]
    pub quiet: bool,
}

/// What is judged and looked at besides.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Results")]
pub(super) struct MeasureArgs {
    /// What must hold, or the exit code is 99; repeatable: 'p99<10ms', 'success>=99.9%', 'throttled<1%',
    /// 'rate>=4900/s', of one stream 'p99.9<=50ms@NAME'.
    #[arg(long = "threshold", value_name = "OBJECTIVE", allow_hyphen_values = true)]
    pub thresholds: Vec<Objective>,

    /// Write latencies as an HDR interval log, which HdrHistogram's tools and `weir load report` merge.
    #[arg(long, value_name = "FILE")]
    pub hdr: Option<PathBuf>,

    /// Record when which request was due, for `weir load replay`.
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
}

/// What is watched on this machine and in the fleet.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Results")]
pub(super) struct WatchArgs {
    /// Account the CPU and memory of a process on this machine; repeatable.
    #[arg(long = "process", value_name = "NAME:PID", value_parser = process)]
    pub processes: Vec<(String, u32)>,

    /// Operators' endpoint of a proxy, such as http://127.0.0.1:9901; repeatable, for all proxies of the fleet: the
    /// report then shows what was admitted against the quota, and what was refused and why.
    #[arg(long = "operators", value_name = "URL", value_delimiter = ',')]
    pub operators: Vec<String>,

    /// The operators' token, if the endpoint is on another machine.
    #[arg(long, env = "WEIR_OPERATOR_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub operator_token: Option<String>,
}

/// How tables come to be.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Table")]
pub(super) struct PreparationArgs {
    /// Create the table if it is missing, and fill it with the keys. What `weir load` created it remembers in the
    /// table; of others it asks for --into-existing.
    #[arg(long)]
    pub prepare: bool,

    /// Fill a table that something else created: items under our keys are replaced.
    #[arg(long)]
    pub into_existing: bool,

    /// Create it with these read and write capacity units, such as 1000,500. Default: on demand.
    #[arg(long, value_name = "READ,WRITE", value_parser = throughput)]
    pub provisioned: Option<(u64, u64)>,
}

impl TargetArgs {
    /// These flags where they are given, `common` otherwise.
    pub(super) fn over(self, common: &Self) -> Self {
        let own_place = !self.endpoints.is_empty() || self.dir.is_some();
        Self {
            endpoints: if own_place { self.endpoints } else { common.endpoints.clone() },
            dir: if own_place { self.dir } else { common.dir.clone() },
            region: self.region.or_else(|| common.region.clone()),
            profile: self.profile.or_else(|| common.profile.clone()),
        }
    }
}

impl TrafficArgs {
    /// What a core workload sends.
    pub(super) fn ycsb(letter: char, records: u64, table: Option<String>) -> Self {
        let YcsbWorkload { mix, keys, item_size } = ycsb(letter, records).expect("the letter was checked");
        let usual = match keys.items_per_partition {
            Some(_) => format!("{YCSB_TABLE}-e"),
            None => YCSB_TABLE.to_owned(),
        };
        let table = Some(table.unwrap_or(usual));
        Self { table, mix: Some(mix), keys: Some(keys), item_size: Some(item_size), scenario: None }
    }

    /// Whether it goes to `weir load`'s own table, which nobody has to ask for.
    pub(super) const fn is_own(&self) -> bool {
        self.table.is_none() && self.scenario.is_none()
    }

    /// The scenario file's text, if one is named.
    pub(super) fn read_scenario(&self) -> Result<Option<String>, Failure> {
        let Some(path) = &self.scenario else { return Ok(None) };
        let text = std::fs::read_to_string(path);
        text.map(Some)
            .map_err(|error| Failure::Usage(format!("cannot read the scenario {}: {error}", path.display())))
    }

    /// These flags where they are given, `common` otherwise.
    pub(super) fn over(self, common: &Self) -> Self {
        Self {
            table: self.table.or_else(|| common.table.clone()),
            mix: self.mix.or_else(|| common.mix.clone()),
            keys: self.keys.or(common.keys),
            item_size: self.item_size.or(common.item_size),
            scenario: self.scenario.or_else(|| common.scenario.clone()),
        }
    }
}

impl SendingArgs {
    /// These flags where they are given, `common` otherwise.
    pub(super) fn over(self, common: &Self) -> Self {
        Self {
            connections: self.connections.or(common.connections),
            threads: self.threads.or(common.threads),
            http2: self.http2 || common.http2,
            retry: self.retry.or(common.retry),
            attempt_timeout: self.attempt_timeout.or(common.attempt_timeout),
            late_after: self.late_after.or(common.late_after),
            return_capacity: self.return_capacity || common.return_capacity,
            seed: self.seed.or(common.seed),
        }
    }
}

/// A number alone is that many keys, all equally.
fn keys(text: &str) -> Result<KeyDistribution, crate::workload::InvalidText> {
    match text.trim().starts_with(|first: char| first.is_ascii_digit()) {
        true => format!("uniform:{}", text.trim()).parse(),
        false => text.parse(),
    }
}

/// The letter of a core workload.
pub(super) fn letter(text: &str) -> Result<char, String> {
    let mut letters = text.chars();
    match (letters.next().map(|letter| letter.to_ascii_uppercase()), letters.next()) {
        (Some(letter), None) if ycsb(letter, 1).is_some() => Ok(letter),
        _ => Err(format!("`{text}` is no core workload of YCSB: there are A, B, C, D, E and F")),
    }
}

fn process(text: &str) -> Result<(String, u32), String> {
    let wrong = || format!("`{text}` is no process: expected NAME:PID, such as proxy:4711");
    let (name, pid) = text.rsplit_once(':').ok_or_else(wrong)?;
    let pid = pid.parse().map_err(|_| wrong())?;
    match name.is_empty() {
        true => Err(wrong()),
        false => Ok((name.to_owned(), pid)),
    }
}

fn throughput(text: &str) -> Result<(u64, u64), String> {
    let wrong =
        || format!("`{text}` is no throughput: expected READ,WRITE in capacity units, such as 1000,500");
    let (read, write) = text.split_once(',').ok_or_else(wrong)?;
    let units = |text: &str| text.trim().parse::<u64>().ok().filter(|units| *units > 0).ok_or_else(wrong);
    Ok((units(read)?, units(write)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_keys_is_that_many_equally() {
        assert_eq!(keys("500").unwrap(), KeyDistribution::uniform(500));
        assert_eq!(keys("zipf:500:0.5").unwrap(), "zipf:500:0.5".parse().unwrap());
        assert!(keys("many").is_err());
    }

    #[test]
    fn a_process_has_a_name_and_a_number() {
        assert_eq!(process("a:b:7").unwrap(), ("a:b".to_owned(), 7));
        assert!(process("7").is_err() && process(":7").is_err() && process("proxy:x").is_err());
    }

    #[test]
    fn a_sides_endpoint_replaces_the_common_one_and_keeps_the_rest() {
        let common = TargetArgs {
            endpoints: vec!["http://a".into()],
            region: Some("eu-west-1".into()),
            ..TargetArgs::default()
        };
        let side = TargetArgs { endpoints: vec!["http://b".into()], ..TargetArgs::default() }.over(&common);
        assert_eq!(
            (side.endpoints, side.region),
            (vec!["http://b".to_owned()], Some("eu-west-1".to_owned()))
        );
    }
}
