//! `weir load replay`: recorded traffic again, at a speed.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::args::{CommonArgs, DurationArgs, MeasureArgs, RateArgs, TrafficArgs};
use super::failure::Failure;
use super::measure::Measurement;
use super::session::{Fleets, Session};
use super::spec_of::{Flags, OWN_TABLE, spec_of};
use crate::engine::Recorded;
use crate::spec::{Pacing, RunSpec, StreamSpec};
use crate::trace::{ANY_STREAM, Part, Trace};
use crate::workload::{Arrivals, Mix, Rate};

/// Speeds that make sense.
const SPEEDS: std::ops::RangeInclusive<f64> = 0.001..=1000.0;
/// After the last request is due: it must be sent within the run.
const AFTER_THE_LAST: Duration = Duration::from_millis(1);

/// Arguments of `weir load replay`.
#[derive(Debug, Clone, Args)]
pub struct ReplayArgs {
    /// The trace: what `weir load run --trace FILE` wrote; CSV with a header that names `at` (seconds), `at_ms`,
    /// `at_us`, `time` or `timestamp`, and maybe `table` and `operation`; or a list of times, one per line (seconds,
    /// Unix times, or RFC 3339).
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// How fast: 2x sends in half the time.
    #[arg(long, value_name = "FACTOR", default_value = "1x", value_parser = speed)]
    speed: f64,
    #[command(flatten)]
    traffic: TrafficArgs,
    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    measure: MeasureArgs,
}

/// `weir load replay`.
pub(super) async fn run(
    args: ReplayArgs,
    fleets: &impl Fleets,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    if args.traffic.scenario.is_some() {
        return Err(Failure::Usage("a trace says what is sent: leave --scenario out".into()));
    }
    let text = std::fs::read_to_string(&args.file)
        .map_err(|error| Failure::Usage(format!("cannot read the trace {}: {error}", args.file.display())))?;
    let trace =
        Trace::read(&text).map_err(|error| Failure::Usage(format!("{}: {error}", args.file.display())))?;
    let trace = trace.at_speed(args.speed);
    let session = Session::open(&args.common.target, fleets).await?;
    let duration =
        DurationArgs { duration: Some(trace.end() + AFTER_THE_LAST), warm_up: Some(Duration::ZERO) };
    // The rate is the trace's; this one only satisfies the form.
    let rate = RateArgs { rate: Some(Arrivals::poisson(Rate::per_second(1.0))), closed: false };
    let sending = &args.common.sending;
    let flags = Flags { traffic: &args.traffic, sending, rate: &rate, duration: &duration };
    let mut spec = spec_of(&session.place, flags, None)?;
    spec.pacing = Pacing::Open;
    let streams = streams_of(&trace, &args.traffic, &mut spec);
    let own = spec.streams.iter().all(|stream| stream.table == OWN_TABLE);
    let mut measurement = Measurement::of(session, spec, own, &args.common, &args.measure);
    measurement.recorded = Some(Recorded { streams });
    measurement.run(stop).await
}

/// Puts a stream for each part of the trace into the spec; returns when their requests are due.
///
/// What flags say comes first, then what the recording run's stream of that name was, then the usual.
fn streams_of(trace: &Trace, traffic: &TrafficArgs, spec: &mut RunSpec) -> Vec<Arc<[Duration]>> {
    let usual = spec.streams.remove(0);
    let seconds = spec.duration.as_secs_f64();
    let mut recorded_times = Vec::new();
    for (part, times) in &trace.parts {
        let recorded =
            trace.spec.as_ref().and_then(|spec| spec.streams.iter().find(|it| it.name == part.stream));
        let mut stream = stream_of(part, recorded, &usual, traffic);
        // For readers of the report: the trace's mean.
        stream.arrivals = Arrivals::poisson(Rate::per_second(times.len() as f64 / seconds));
        spec.streams.push(stream);
        recorded_times.push(Arc::clone(times));
    }
    recorded_times
}

fn stream_of(
    part: &Part,
    recorded: Option<&StreamSpec>,
    usual: &StreamSpec,
    traffic: &TrafficArgs,
) -> StreamSpec {
    let mut stream = recorded.unwrap_or(usual).clone();
    if let Some(table) = &traffic.table {
        stream.table.clone_from(table);
    } else if recorded.is_none() && part.stream != ANY_STREAM {
        stream.table.clone_from(&part.stream);
    }
    stream.keys = traffic.keys.unwrap_or(stream.keys);
    stream.item_size = traffic.item_size.unwrap_or(stream.item_size);
    stream.profile = usual.profile.clone().or(stream.profile);
    (stream.from, stream.to) = (Duration::ZERO, None);
    stream.name.clone_from(&part.stream);
    if let Some(operation) = part.operation {
        stream.name = format!("{}/{operation}", part.stream);
        // How many items a batch or a query asks for, the recording run's mix says.
        let entry = stream.mix.entries().iter().find(|entry| entry.operation == operation).copied();
        stream.mix = entry.map_or_else(|| Mix::only(operation), Mix::of_entry);
    } else if let Some(mix) = &traffic.mix {
        stream.mix = mix.clone();
    }
    stream
}

fn speed(text: &str) -> Result<f64, String> {
    let number = text.trim().trim_end_matches(['x', '×']).parse::<f64>().ok();
    number
        .filter(|speed| SPEEDS.contains(speed))
        .ok_or_else(|| format!("`{text}` is no speed: expected 0.001x to 1000x, such as 2x or 0.5x"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::Operation;

    #[test]
    fn speeds_are_written_with_and_without_the_x() {
        assert_eq!((speed("2x"), speed("0.5")), (Ok(2.0), Ok(0.5)));
        assert!(speed("0x").is_err() && speed("fast").is_err() && speed("-1x").is_err());
    }

    #[test]
    fn each_operation_of_a_table_becomes_a_stream_with_its_own_times() {
        let trace =
            Trace::read("at,table,operation\n0.1,music,put\n0.2,music,get\n0.3,orders,get\n").unwrap();
        let place = super::super::spec_of::Place {
            endpoints: vec!["http://a".into()],
            region: "r".into(),
            profile: None,
        };
        let rate = RateArgs { rate: Some("1/s".parse().unwrap()), closed: false };
        let (traffic, sending, duration) = Default::default();
        let flags = Flags { traffic: &traffic, sending: &sending, rate: &rate, duration: &duration };
        let mut spec = spec_of(&place, flags, None).unwrap();

        let all_times = streams_of(&trace, &traffic, &mut spec);

        let seen: Vec<_> = spec
            .streams
            .iter()
            .zip(all_times)
            .map(|(stream, times)| (stream.name.as_str(), stream.table.as_str(), times.len()))
            .collect();
        assert_eq!(seen, [("music/get", "music", 1), ("music/put", "music", 1), ("orders/get", "orders", 1)]);
        assert!(spec.streams[1].mix.has(Operation::PutItem));
    }
}
