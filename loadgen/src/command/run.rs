//! `weir load run` and `weir load ycsb`.

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::args::{CommonArgs, DurationArgs, MeasureArgs, RateArgs, TrafficArgs, letter};
use super::failure::Failure;
use super::measure::Measurement;
use super::session::{Fleets, Session};
use super::spec_of::{Flags, spec_of};

/// Arguments of `weir load run`.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    #[command(flatten)]
    traffic: TrafficArgs,
    #[command(flatten)]
    paced: PacedArgs,
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
    paced: PacedArgs,
}

/// All but what is sent.
#[derive(Debug, Clone, Args)]
struct PacedArgs {
    #[command(flatten)]
    rate: RateArgs,
    #[command(flatten)]
    duration: DurationArgs,
    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    measure: MeasureArgs,
}

/// `weir load run`.
pub(super) async fn run(
    args: RunArgs,
    fleets: &impl Fleets,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    args.paced.measurement(&args.traffic, fleets).await?.run(stop).await
}

/// `weir load ycsb`.
pub(super) async fn run_ycsb(
    args: YcsbArgs,
    fleets: &impl Fleets,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    let traffic = TrafficArgs::ycsb(args.workload, args.records, args.table.clone());
    let mut measurement = args.paced.measurement(&traffic, fleets).await?.of_own_table();
    measurement.spec.streams[0].name = format!("ycsb-{}", args.workload.to_ascii_lowercase());
    measurement.run(stop).await
}

impl PacedArgs {
    async fn measurement(
        &self,
        traffic: &TrafficArgs,
        fleets: &impl Fleets,
    ) -> Result<Measurement<'_>, Failure> {
        let session = Session::open(&self.common.target, fleets).await?;
        let flags =
            Flags { traffic, sending: &self.common.sending, rate: &self.rate, duration: &self.duration };
        let spec = spec_of(&session.place, flags, traffic.read_scenario()?.as_deref())?;
        Ok(Measurement::of(session, spec, traffic.is_own(), &self.common, &self.measure))
    }
}
