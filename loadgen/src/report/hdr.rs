//! HDR files: interval logs that HdrHistogram's own tools read, and that can be merged.
//!
//! Each stream's latencies are an interval per second under the stream's name as tag; of a result that kept no
//! histograms by second, one interval for the whole stream. Values are microseconds; the column of maxima is in
//! milliseconds, as the format's other writers have it.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::interval_log::{
    IntervalLogIterator, IntervalLogWriterBuilder, IntervalLogWriterError, LogEntry, LogIteratorError, Tag,
};
use hdrhistogram::serialization::{Deserializer, V2DeflateSerializeError, V2DeflateSerializer};

use super::file::{UnreadableResult, read_json};
use super::percentiles;
use crate::result::{Latency, RunResult, StreamResult};

/// Microseconds per millisecond, by which the maxima are divided.
const MICROS_PER_MILLI: f64 = 1000.0;

/// Why HDR files cannot be written or merged.
#[derive(Debug, thiserror::Error)]
pub enum HdrError {
    /// A file cannot be read or written.
    #[error("{path}")]
    Io {
        /// Which file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// A histogram cannot be written.
    #[error("{path}: a histogram cannot be written: {why}")]
    Unwritable {
        /// To which file.
        path: String,
        /// Why.
        why: String,
    },
    /// A file is no interval log.
    #[error("{path}: {why}")]
    Malformed {
        /// Which file.
        path: String,
        /// Where and how.
        why: String,
    },
    /// A JSON result cannot be read.
    #[error(transparent)]
    Result(#[from] UnreadableResult),
}

/// Latencies of several files together.
#[derive(Debug, Clone, PartialEq)]
pub struct MergedHdr {
    /// By tag, which is the stream's name; of untagged intervals, the empty name.
    pub by_tag: BTreeMap<String, Histogram<u64>>,
}

impl MergedHdr {
    /// All tags together.
    #[must_use]
    pub fn total(&self) -> Histogram<u64> {
        percentiles::merged(self.by_tag.values().cloned().collect()).unwrap_or_else(empty)
    }

    /// A line per tag, and one for all: for terminals. Ends with a line break.
    #[must_use]
    pub fn text(&self) -> String {
        use std::fmt::Write as _;
        let total = self.total();
        let name = |tag: &str| if tag.is_empty() { "(untagged)".to_owned() } else { tag.to_owned() };
        let rows = self.by_tag.iter().map(|(tag, histogram)| (name(tag), histogram));
        let rows: Vec<_> = rows.chain([("all".to_owned(), &total)]).collect();
        let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        let mut text = format!("{:<width$}", "");
        for head in ["count", "p50", "p90", "p99", "p99.9", "max"] {
            _ = write!(text, " {head:>11}");
        }
        for (name, histogram) in rows {
            _ = write!(text, "\n{name:<width$} {:>11}", super::figure::count(histogram.len()));
            for quantile in [0.5, 0.9, 0.99, 0.999, 1.0] {
                _ = write!(text, " {:>11}", super::figure::micros(histogram.value_at_quantile(quantile)));
            }
        }
        text.push('\n');
        text
    }

    /// Writes one interval per tag.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), HdrError> {
        let intervals = self.by_tag.iter().map(|(tag, histogram)| Interval {
            tag: tag.clone(),
            from: Duration::ZERO,
            lasted: Duration::ZERO,
            histogram: histogram.clone(),
        });
        write_log(path, 0, "merged", intervals)
    }
}

/// One line of a log.
struct Interval {
    tag: String,
    from: Duration,
    lasted: Duration,
    histogram: Histogram<u64>,
}

/// Writes a run's latencies from the intended time as an interval log (`.hlog`).
///
/// # Errors
/// When the file cannot be written.
pub fn write_hdr(result: &RunResult, path: &Path) -> Result<(), HdrError> {
    let lasted = Duration::from_micros(result.lasted_us);
    let mut intervals: Vec<_> = result.streams.iter().flat_map(|stream| intervals(stream, lasted)).collect();
    // Stable: streams keep their order within a second.
    intervals.sort_by_key(|interval| interval.from);
    let comment = format!("weir load {}: latency from the intended time, in microseconds", result.weir);
    write_log(path, result.began_unix_ms, &comment, intervals.into_iter())
}

/// A stream's intervals: by second if every second with a latency has its histogram, else the whole.
fn intervals(stream: &StreamResult, lasted: Duration) -> Vec<Interval> {
    let tag = tag(&stream.name);
    let interval = |latency: &Latency, from, lasted| {
        Some(Interval { tag: tag.clone(), from, lasted, histogram: percentiles::histogram(latency)? })
    };
    let seconds = stream.seconds.iter().filter(|second| second.latency.count > 0);
    let by_second: Option<Vec<_>> = seconds
        .map(|second| interval(&second.latency, Duration::from_secs(second.at), Duration::from_secs(1)))
        .collect();
    match by_second {
        Some(intervals) if !intervals.is_empty() => intervals,
        _ => interval(&stream.summary.latency, Duration::ZERO, lasted).into_iter().collect(),
    }
}

/// A name without what the format cannot hold.
fn tag(name: &str) -> String {
    name.chars().map(|char| if char == ',' || char.is_whitespace() { '_' } else { char }).collect()
}

fn write_log(
    path: &Path,
    began_unix_ms: u64,
    comment: &str,
    intervals: impl Iterator<Item = Interval>,
) -> Result<(), HdrError> {
    let shown = || path.display().to_string();
    let failed = |source| HdrError::Io { path: shown(), source };
    let mut file = BufWriter::new(std::fs::File::create(path).map_err(failed)?);
    let mut serializer = V2DeflateSerializer::new();
    let began = UNIX_EPOCH + Duration::from_millis(began_unix_ms);
    let mut log = IntervalLogWriterBuilder::new()
        .add_comment(comment)
        .with_start_time(began)
        .with_base_time(began)
        .with_max_value_divisor(MICROS_PER_MILLI)
        .begin_log_with(&mut file, &mut serializer)
        .map_err(failed)?;
    for interval in intervals {
        let written =
            log.write_histogram(&interval.histogram, interval.from, interval.lasted, Tag::new(&interval.tag));
        written.map_err(|error: IntervalLogWriterError<V2DeflateSerializeError>| match error {
            IntervalLogWriterError::IoError(source) => failed(source),
            IntervalLogWriterError::SerializeError(error) => {
                HdrError::Unwritable { path: shown(), why: error.to_string() }
            }
        })?;
    }
    file.flush().map_err(failed)
}

/// Adds up the latencies of interval logs and JSON results (`.json`), by stream.
///
/// # Errors
/// When a file cannot be read, or is neither.
pub fn merge_hdr(paths: &[PathBuf]) -> Result<MergedHdr, HdrError> {
    let mut merged = MergedHdr { by_tag: BTreeMap::new() };
    for path in paths {
        let malformed = |why: String| HdrError::Malformed { path: path.display().to_string(), why };
        if path.extension().is_some_and(|extension| extension == "json") {
            for stream in read_json(path)?.streams {
                let Some(histogram) = percentiles::histogram(&stream.summary.latency) else { continue };
                merged.add(&tag(&stream.name), &histogram).map_err(malformed)?;
            }
            continue;
        }
        let log = std::fs::read(path)
            .map_err(|source| HdrError::Io { path: path.display().to_string(), source })?;
        merged.add_log(&log).map_err(malformed)?;
    }
    Ok(merged)
}

impl MergedHdr {
    fn add_log(&mut self, log: &[u8]) -> Result<(), String> {
        let mut deserializer = Deserializer::new();
        for entry in IntervalLogIterator::new(log) {
            let interval = match entry {
                Ok(LogEntry::Interval(interval)) => interval,
                Ok(_) => continue,
                Err(LogIteratorError::ParseError { offset }) => {
                    return Err(format!(
                        "this is no interval log of HdrHistogram, nor JSON of `weir load` (*.json): byte {offset} is \
                         none of its lines"
                    ));
                }
            };
            let at = interval.start_timestamp().as_secs_f64();
            let unreadable = |why: String| format!("the histogram at {at} s cannot be read: {why}");
            let bytes =
                BASE64.decode(interval.encoded_histogram()).map_err(|error| unreadable(error.to_string()))?;
            let histogram: Histogram<u64> = deserializer
                .deserialize(&mut bytes.as_slice())
                .map_err(|error| unreadable(error.to_string()))?;
            self.add(interval.tag().map_or("", |tag| tag.as_str()), &histogram)?;
        }
        Ok(())
    }

    fn add(&mut self, tag: &str, histogram: &Histogram<u64>) -> Result<(), String> {
        let sum = self.by_tag.entry(tag.to_owned()).or_insert_with(empty);
        sum.add(histogram).map_err(|error| format!("histograms that do not go together: {error}"))
    }
}

/// Of three significant digits, as results have them; it grows as needed.
fn empty() -> Histogram<u64> {
    Histogram::new(3).expect("three digits are a precision that there is")
}
