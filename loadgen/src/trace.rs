//! Recorded traffic: when which request was due, and how it is read and written.
//!
//! A trace that a run records (`--trace FILE`) is lines of JSON: the run's spec, and then one line per request. A
//! trace from elsewhere may be the same without the spec, a CSV file with a header, or only a list of times.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::spec::RunSpec;
use crate::workload::Operation;

/// Requests that a trace may have: their times alone are 16 bytes each.
pub const MOST_EVENTS: usize = 100_000_000;
/// A number of seconds from here on is a Unix time (September 2001), not an offset.
const UNIX_SECONDS: f64 = 1e9;
/// And from here on it is one in milliseconds.
const UNIX_MILLISECONDS: f64 = 1e12;
/// The stream of requests for which the trace names none.
pub(crate) const ANY_STREAM: &str = "trace";

/// Recorded traffic.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    /// What the run was that recorded it, if one of ours did.
    pub spec: Option<RunSpec>,
    /// The times of each stream and operation, ascending.
    pub parts: BTreeMap<Part, Arc<[Duration]>>,
}

/// Requests that are alike.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Part {
    /// The stream, or the table.
    pub stream: String,
    /// What they do, if the trace says it.
    pub operation: Option<Operation>,
}

/// Why a file is no trace.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// There is no request in it.
    #[error("the trace has no requests")]
    Empty,
    /// A line says nothing that is known.
    #[error("line {line} of the trace: {why}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        why: String,
    },
    /// It is longer than [`MOST_EVENTS`].
    #[error("the trace has more than {MOST_EVENTS} requests")]
    TooLong,
}

/// The first line of a recorded trace.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    spec: RunSpec,
}

/// Every other line.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    /// Microseconds after the run's begin.
    at_us: u64,
    #[serde(default, alias = "table", skip_serializing_if = "Option::is_none")]
    stream: Option<String>,
    #[serde(default, alias = "operation", skip_serializing_if = "Option::is_none")]
    op: Option<String>,
}

/// Writes a trace.
#[derive(Debug)]
pub struct TraceWriter<W: Write> {
    to: W,
}

impl<W: Write> TraceWriter<W> {
    /// Begins it with the spec of the run.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn begin(mut to: W, spec: &RunSpec) -> io::Result<Self> {
        serde_json::to_writer(&mut to, &Header { spec: spec.clone() })?;
        to.write_all(b"\n")?;
        Ok(Self { to })
    }

    /// Adds a request. The order does not matter.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn record(&mut self, at: Duration, stream: &str, operation: Operation) -> io::Result<()> {
        let at_us = u64::try_from(at.as_micros()).unwrap_or(u64::MAX);
        let line = Line { at_us, stream: Some(stream.to_owned()), op: Some(operation.word().to_owned()) };
        serde_json::to_writer(&mut self.to, &line)?;
        self.to.write_all(b"\n")
    }

    /// Ends it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(mut self) -> io::Result<()> {
        self.to.flush()
    }
}

impl Trace {
    /// Reads a trace in any of its forms.
    ///
    /// # Errors
    /// [`TraceError`], with the line.
    pub fn read(text: &str) -> Result<Self, TraceError> {
        let mut lines =
            (1..).zip(text.lines().map(str::trim)).filter(|(_, line)| is_content(line)).peekable();
        let Some((_, first)) = lines.peek() else { return Err(TraceError::Empty) };
        let spec = match first.starts_with('{').then(|| serde_json::from_str::<Header>(first)) {
            Some(Ok(header)) => Some(header.spec),
            _ => None,
        };
        if spec.is_some() {
            lines.next();
        }
        let json = lines.peek().is_some_and(|(_, line)| line.starts_with('{'));
        let columns = if json { None } else { lines.next_if(|(_, line)| Columns::is_header(line)) };
        let columns = columns.map_or(Ok(Columns::default()), |(number, line)| {
            Columns::of_header(line).map_err(|why| TraceError::Line { line: number, why })
        })?;
        let mut read = Vec::new();
        for (number, line) in lines {
            let event = if json { of_json(line) } else { columns.event(line) };
            read.push(event.map_err(|why| TraceError::Line { line: number, why })?);
            if read.len() > MOST_EVENTS {
                return Err(TraceError::TooLong);
            }
        }
        Self::of(spec, read)
    }

    /// Requests in any order. Unix times become offsets from the first; offsets stay as they are.
    fn of(spec: Option<RunSpec>, read: Vec<(f64, Part)>) -> Result<Self, TraceError> {
        let earliest = read.iter().map(|(at, _)| *at).fold(f64::INFINITY, f64::min);
        let (zero, per_second) = match earliest {
            none if none.is_infinite() => return Err(TraceError::Empty),
            milliseconds if milliseconds >= UNIX_MILLISECONDS => (milliseconds, 1e3),
            seconds if seconds >= UNIX_SECONDS => (seconds, 1.0),
            _ => (0.0, 1.0),
        };
        let mut parts: BTreeMap<Part, Vec<Duration>> = BTreeMap::new();
        for (at, part) in read {
            // Microseconds: what is recorded; the rest would be noise of the conversion.
            let micros = ((at - zero) / per_second * 1e6).round();
            parts.entry(part).or_default().push(Duration::from_micros(micros as u64));
        }
        let parts = parts
            .into_iter()
            .map(|(part, mut times)| {
                times.sort_unstable();
                (part, times.into())
            })
            .collect();
        Ok(Self { spec, parts })
    }

    /// How many requests it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.parts.values().map(|times| times.len()).sum()
    }

    /// Whether it has none; one that was read has some.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// When its last request is due.
    #[must_use]
    pub fn end(&self) -> Duration {
        self.parts.values().filter_map(|times| times.last()).max().copied().unwrap_or_default()
    }

    /// The same at another speed: 2 sends twice as fast.
    #[must_use]
    pub fn at_speed(&self, speed: f64) -> Self {
        let faster = |times: &Arc<[Duration]>| times.iter().map(|at| at.div_f64(speed)).collect();
        let parts = self.parts.iter().map(|(part, times)| (part.clone(), faster(times))).collect();
        Self { spec: self.spec.clone(), parts }
    }
}

/// Comments and empty lines are none.
fn is_content(line: &str) -> bool {
    !line.is_empty() && !line.starts_with('#')
}

fn of_json(line: &str) -> Result<(f64, Part), String> {
    let line: Line = serde_json::from_str(line).map_err(|error| {
        format!("{error}; expected {{\"at_us\": MICROSECONDS, \"stream\": NAME, \"op\": OPERATION}}")
    })?;
    Ok((line.at_us as f64 / 1e6, part(line.stream.as_deref(), line.op.as_deref())?))
}

fn part(stream: Option<&str>, operation: Option<&str>) -> Result<Part, String> {
    let named = |text: Option<&str>| text.map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned);
    let operation = named(operation).map(|text| operation_of(&text)).transpose()?;
    Ok(Part { stream: named(stream).unwrap_or_else(|| ANY_STREAM.to_owned()), operation })
}

/// By the mix's word or by DynamoDB's name.
fn operation_of(text: &str) -> Result<Operation, String> {
    let by_name =
        Operation::ALL.into_iter().find(|operation| operation.api_name().eq_ignore_ascii_case(text));
    match by_name {
        Some(operation) => Ok(operation),
        None => text.parse().map_err(|error: crate::workload::InvalidText| error.to_string()),
    }
}

/// Where what stands in a line of CSV.
#[derive(Debug, Clone, Copy)]
struct Columns {
    at: usize,
    /// Of one second, in the column's unit.
    per_second: f64,
    stream: Option<usize>,
    operation: Option<usize>,
}

impl Default for Columns {
    /// Without a header: times alone, or `at,stream,operation`.
    fn default() -> Self {
        Self { at: 0, per_second: 1.0, stream: Some(1), operation: Some(2) }
    }
}

impl Columns {
    /// A header has a first field that is no time.
    fn is_header(line: &str) -> bool {
        line.split(',')
            .next()
            .is_some_and(|field| time(field).is_none() && field.starts_with(char::is_alphabetic))
    }

    fn of_header(line: &str) -> Result<Self, String> {
        let names: Vec<_> = line.split(',').map(|name| name.trim().to_ascii_lowercase()).collect();
        let find = |known: &[&str]| names.iter().position(|name| known.contains(&name.as_str()));
        let found =
            [("at_us", 1e6), ("at_ms", 1e3), ("at", 1.0), ("time", 1.0), ("timestamp", 1.0), ("offset", 1.0)]
                .into_iter()
                .find_map(|(name, per_second)| Some((find(&[name])?, per_second)));
        let Some((at, per_second)) = found else {
            return Err(format!(
                "`{line}` has no column of times: name one at, at_ms, at_us, time or timestamp"
            ));
        };
        Ok(Self { at, per_second, stream: find(&["stream", "table"]), operation: find(&["operation", "op"]) })
    }

    fn event(&self, line: &str) -> Result<(f64, Part), String> {
        let fields: Vec<_> = line.split(',').collect();
        let text = fields.get(self.at).copied().unwrap_or_default();
        let at = time(text).ok_or_else(|| {
            format!("`{text}` is no time: expected seconds since the begin, Unix seconds or milliseconds, or RFC 3339")
        })?;
        let field = |column: Option<usize>| column.and_then(|column| fields.get(column).copied());
        Ok((at / self.per_second, part(field(self.stream), field(self.operation))?))
    }
}

/// Seconds: since the begin, or Unix time.
fn time(text: &str) -> Option<f64> {
    let text = text.trim();
    if let Ok(number) = text.parse::<f64>() {
        return (number >= 0.0 && number.is_finite()).then_some(number);
    }
    let since = humantime::parse_rfc3339_weak(text).ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(since.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retry::RetryModel;
    use crate::spec::{Pacing, Protocol, StreamSpec};

    fn micros(times: &[u64]) -> Vec<Duration> {
        times.iter().copied().map(Duration::from_micros).collect()
    }

    fn spec() -> RunSpec {
        RunSpec {
            endpoints: vec!["http://127.0.0.1:8000".into()],
            region: "us-east-1".into(),
            protocol: Protocol::Http1,
            pacing: Pacing::Open,
            duration: Duration::from_secs(1),
            warm_up: Duration::ZERO,
            threads: 1,
            connections: 4,
            attempt_timeout: Duration::from_secs(1),
            late_after: Duration::from_millis(1),
            retry: RetryModel::None,
            return_capacity: false,
            seed: 1,
            streams: vec![StreamSpec {
                name: "orders".into(),
                table: "orders".into(),
                profile: None,
                arrivals: "500/s".parse().unwrap(),
                mix: "get=1".parse().unwrap(),
                keys: "uniform:10".parse().unwrap(),
                item_size: "900".parse().unwrap(),
                from: Duration::ZERO,
                to: None,
            }],
        }
    }

    fn named(stream: &str, operation: Option<Operation>) -> Part {
        Part { stream: stream.to_owned(), operation }
    }

    #[test]
    fn what_a_run_records_is_read_again_in_order_with_its_spec() {
        let spec = spec();
        let mut writer = TraceWriter::begin(Vec::new(), &spec).unwrap();
        writer.record(Duration::from_micros(2500), "orders", Operation::PutItem).unwrap();
        writer.record(Duration::from_micros(1), "orders", Operation::GetItemEventual).unwrap();
        writer.record(Duration::from_micros(40), "orders", Operation::PutItem).unwrap();
        let text = String::from_utf8(writer.to).unwrap();

        let trace = Trace::read(&text).unwrap();

        assert_eq!(trace.spec, Some(spec));
        assert_eq!(trace.len(), 3);
        assert_eq!(trace.parts[&named("orders", Some(Operation::PutItem))].to_vec(), micros(&[40, 2500]));
        assert_eq!(trace.end(), Duration::from_micros(2500));
    }

    #[test]
    fn a_list_of_times_is_a_trace() {
        for text in [
            "0.5\n1.5\n0.75\n",
            "# from the access log\nat_ms\n500\n1500\n750\n",
            "at_us,table\n500000,\n750000,\n1500000,\n",
        ] {
            let trace = Trace::read(text).unwrap();
            assert_eq!(
                trace.parts[&named("trace", None)].to_vec(),
                micros(&[500_000, 750_000, 1_500_000]),
                "{text}"
            );
        }
    }

    #[test]
    fn unix_times_count_from_the_first_request() {
        for text in [
            "1760000000.5\n1760000002\n",
            "1760000000500\n1760000002000\n",
            "2026-11-23T04:00:00.5Z\n2026-11-23T04:00:02Z\n",
        ] {
            let trace = Trace::read(text).unwrap();
            assert_eq!(trace.parts[&named("trace", None)].to_vec(), micros(&[0, 1_500_000]), "{text}");
        }
    }

    #[test]
    fn csv_with_a_header_may_have_other_columns_and_dynamodbs_names() {
        let trace =
            Trace::read("op,latency,timestamp,table\nGetItem,3,0.1,music\nput,4,0.2,music\n").unwrap();
        assert_eq!(trace.parts[&named("music", Some(Operation::GetItem))].to_vec(), micros(&[100_000]));
        assert_eq!(trace.parts[&named("music", Some(Operation::PutItem))].to_vec(), micros(&[200_000]));
    }

    #[test]
    fn at_twice_the_speed_everything_is_due_in_half_the_time() {
        let trace = Trace::read("1\n2\n4\n").unwrap().at_speed(2.0);
        assert_eq!(trace.parts[&named("trace", None)].to_vec(), micros(&[500_000, 1_000_000, 2_000_000]));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (text, expected) in [
            ("", "no requests"),
            ("# nothing\n\n", "no requests"),
            ("1\nsoon\n", "line 2 of the trace: `soon` is no time"),
            ("1,orders,frobnicate\n", "line 1 of the trace: `frobnicate` is no operation"),
            ("{\"at_us\": 1}\n{\"at\": 1}\n", "line 2 of the trace: missing field"),
            ("when,what\n1,2\n", "no column of times"),
            ("1\n-3\n", "line 2 of the trace: `-3` is no time"),
        ] {
            let error = Trace::read(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text:?}: {error}");
        }
    }
}
