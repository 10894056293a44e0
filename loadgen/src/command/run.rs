//! `weir load run` and `weir load ycsb`.

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::args::{
    DurationArgs, MeasureArgs, OutputArgs, PreparationArgs, RateArgs, SendingArgs, TargetArgs, TrafficArgs,
    WatchArgs,
};
use super::failure::Failure;
use super::measure::Measurement;
use super::prepare::Preparing;
use super::session::{Fleets, Session};
use super::spec_of::{Flags, spec_of};
use crate::workload::{YcsbWorkload, ycsb};

/// The table that YCSB calls so.
const YCSB_TABLE: &str = "usertable";

/// Arguments of `weir load run`.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    traffic: TrafficArgs,
    #[command(flatten)]
    rate: RateArgs,
    #[command(flatten)]
    duration: DurationArgs,
    #[command(flatten)]
    sending: SendingArgs,
    #[command(flatten)]
    preparation: PreparationArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    measure: MeasureArgs,
    #[command(flatten)]
    watch: WatchArgs,
}

/// Arguments of `weir load ycsb`.
#[derive(Debug, Clone, Args)]
pub struct YcsbArgs {
    /// Which core workload: A (half reads, half updates), B (5 % updates), C (reads), D (reads of the latest, 5 %
    /// inserts), E (short ranges, 5 % inserts), F (half read-modify-writes).
    #[arg(value_name = "A-F", value_parser = letter)]
    workload: char,
    /// Records in the table, each of ten fields of 100 bytes.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    records: u64,
    /// Table. It is created and filled if it is missing. Default: usertable; of E, which needs a sort key,
    /// usertable-e.
    #[arg(long, value_name = "NAME")]
    table: Option<String>,
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    rate: RateArgs,
    #[command(flatten)]
    duration: DurationArgs,
    #[command(flatten)]
    sending: SendingArgs,
    #[command(flatten)]
    preparation: PreparationArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    measure: MeasureArgs,
    #[command(flatten)]
    watch: WatchArgs,
}

/// `weir load run`.
pub(super) async fn run(
    args: RunArgs,
    fleets: &impl Fleets,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    let session = Session::open(&args.target, fleets).await?;
    let scenario = read_scenario(&args.traffic)?;
    let flags =
        Flags { traffic: &args.traffic, sending: &args.sending, rate: &args.rate, duration: &args.duration };
    let spec = spec_of(&session.place, flags, scenario.as_deref())?;
    let own = args.traffic.table.is_none() && scenario.is_none();
    let measurement = Measurement {
        session: &session,
        spec,
        preparing: Preparing::of(&args.preparation, own, args.output.quiet),
        output: &args.output,
        measure: &args.measure,
        watch: &args.watch,
        recorded: None,
    };
    measurement.run(stop).await
}

/// `weir load ycsb`.
pub(super) async fn run_ycsb(
    args: YcsbArgs,
    fleets: &impl Fleets,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    let session = Session::open(&args.target, fleets).await?;
    let traffic = ycsb_traffic(args.workload, args.records, args.table.clone());
    let flags =
        Flags { traffic: &traffic, sending: &args.sending, rate: &args.rate, duration: &args.duration };
    let mut spec = spec_of(&session.place, flags, None)?;
    spec.streams[0].name = format!("ycsb-{}", args.workload.to_ascii_lowercase());
    let measurement = Measurement {
        session: &session,
        spec,
        preparing: Preparing::of(&args.preparation, true, args.output.quiet),
        output: &args.output,
        measure: &args.measure,
        watch: &args.watch,
        recorded: None,
    };
    measurement.run(stop).await
}

/// What a core workload sends.
pub(super) fn ycsb_traffic(letter: char, records: u64, table: Option<String>) -> TrafficArgs {
    let YcsbWorkload { mix, keys, item_size } = ycsb(letter, records).expect("the letter was checked");
    let usual =
        || if keys.items_per_partition.is_some() { format!("{YCSB_TABLE}-e") } else { YCSB_TABLE.to_owned() };
    TrafficArgs {
        table: Some(table.unwrap_or_else(usual)),
        mix: Some(mix),
        keys: Some(keys),
        item_size: Some(item_size),
        scenario: None,
    }
}

/// The scenario file's text, if one is named.
pub(super) fn read_scenario(traffic: &TrafficArgs) -> Result<Option<String>, Failure> {
    let Some(path) = &traffic.scenario else { return Ok(None) };
    let text = std::fs::read_to_string(path);
    text.map(Some)
        .map_err(|error| Failure::Usage(format!("cannot read the scenario {}: {error}", path.display())))
}

/// The letter of a core workload.
pub(super) fn letter(text: &str) -> Result<char, String> {
    let mut letters = text.chars();
    match (letters.next().map(|letter| letter.to_ascii_uppercase()), letters.next()) {
        (Some(letter), None) if ycsb(letter, 1).is_some() => Ok(letter),
        _ => Err(format!("`{text}` is no core workload of YCSB: there are A, B, C, D, E and F")),
    }
}
