//! The figures that an objective can be about.

use std::fmt;
use std::str::FromStr;

use super::MalformedObjective;
use crate::report::figure;
use crate::result::{Latency, RunResult, Second, Summary};

/// A figure of a result. Its base unit is microseconds, percent, per second or a plain ratio.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// A figure of a distribution of times: `p99`, `service.p99`, `delay.max`.
    Time(Timing, LatencyFigure),
    /// Requests that succeeded, in percent of those offered: `success`.
    Success,
    /// Requests that ended throttled, likewise: `throttled`.
    Throttled,
    /// Requests that ended in any other failure, likewise: `errors`.
    Errors,
    /// Successful requests per second: `rate`.
    Rate,
    /// Attempts per request offered: `amplification`.
    Amplification,
    /// The most that a sending thread used of its core in any second, in percent: `own.cpu`. Always of the run.
    OwnCpu,
}

/// From when to when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timing {
    /// From the intended time to the last byte of the last answer.
    Latency,
    /// From the send to the last byte, per attempt: `service.`.
    Service,
    /// From the intended time to the first byte sent: `delay.`.
    SendDelay,
}

/// One figure of a distribution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LatencyFigure {
    /// The median.
    P50,
    /// The 90th percentile.
    P90,
    /// The 99th.
    P99,
    /// The 99.9th.
    P999,
    /// The most.
    Max,
    /// The arithmetic mean.
    Mean,
}

/// What kind of value a metric takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Time,
    Percent,
    PerSecond,
    Ratio,
}

/// Units of time that are read, and what they are in microseconds; suffixes of others stand later.
const TIME_UNITS: [(&str, f64); 4] = [("µs", 1.0), ("us", 1.0), ("ms", 1e3), ("s", 1e6)];

impl Metric {
    /// Of all metrics, for messages and help.
    pub const NAMES: &'static str = "p50, p90, p99, p99.9, max and mean (latency from the intended time), the \
        same with service. in front (each attempt from its send) or delay. (until the first byte was sent), \
        success, throttled and errors (percent of requests), rate (successes per second), amplification \
        (attempts per request), own.cpu (percent of a core)";

    /// What `result` says of it, in the base unit; none when there is nothing to say.
    #[must_use]
    pub fn measured(self, result: &RunResult, stream: Option<&str>) -> Option<f64> {
        let of = match stream {
            None => None,
            Some(name) => Some(result.streams.iter().position(|stream| stream.name == name)?),
        };
        let summary = of.map_or(&result.total, |index| &result.streams[index].summary);
        match self {
            Self::Time(timing, figure) => figure.of(timing.of(summary)),
            Self::Success => summary.share_of(summary.successes()),
            Self::Throttled => summary.share_of(summary.throttled()),
            Self::Errors => summary.share_of(summary.failures()),
            Self::Rate => Some(result.successes_per_second(of)),
            Self::Amplification => summary.amplification(),
            Self::OwnCpu => Some(result.validity.busiest_thread.max(busiest(result)) * 100.0),
        }
    }

    /// A value as people read it, rounded.
    #[must_use]
    pub fn shown(self, value: f64) -> String {
        match self.unit() {
            Unit::Time => figure::time(value),
            Unit::Percent => figure::percent(value),
            Unit::PerSecond => format!("{}/s", figure::number(value)),
            Unit::Ratio => figure::ratio(value),
        }
    }

    /// A value as it is written in an objective: what is parsed from it is the same value.
    pub(super) fn exact(self, value: f64) -> String {
        match self.unit() {
            Unit::Time => exact_time(value),
            Unit::Percent => format!("{value}%"),
            Unit::PerSecond => format!("{value}/s"),
            Unit::Ratio => value.to_string(),
        }
    }

    /// Reads a value with its unit.
    pub(super) fn parse_value(self, text: &str) -> Option<f64> {
        match self.unit() {
            Unit::Time => TIME_UNITS
                .iter()
                .find_map(|(suffix, scale)| number(text.strip_suffix(suffix)?).map(|value| value * scale)),
            Unit::Percent => number(text.strip_suffix('%')?),
            Unit::PerSecond => number(text.strip_suffix("/s")?),
            Unit::Ratio => number(text),
        }
    }

    /// How a value is written, for messages.
    pub(super) const fn example(self) -> &'static str {
        match self.unit() {
            Unit::Time => "a time with its unit, µs (or us), ms or s, such as 10ms",
            Unit::Percent => "a share in percent, such as 99.9%",
            Unit::PerSecond => "a rate per second, such as 4900/s",
            Unit::Ratio => "a plain number, such as 1.2",
        }
    }

    const fn unit(self) -> Unit {
        match self {
            Self::Time(..) => Unit::Time,
            Self::Success | Self::Throttled | Self::Errors | Self::OwnCpu => Unit::Percent,
            Self::Rate => Unit::PerSecond,
            Self::Amplification => Unit::Ratio,
        }
    }
}

impl Timing {
    fn of(self, summary: &Summary) -> &Latency {
        match self {
            Self::Latency => &summary.latency,
            Self::Service => &summary.service,
            Self::SendDelay => &summary.send_delay,
        }
    }

    const fn prefix(self) -> &'static str {
        match self {
            Self::Latency => "",
            Self::Service => "service.",
            Self::SendDelay => "delay.",
        }
    }
}

impl LatencyFigure {
    /// Every one.
    pub const ALL: [Self; 6] = [Self::P50, Self::P90, Self::P99, Self::P999, Self::Max, Self::Mean];

    const fn name(self) -> &'static str {
        match self {
            Self::P50 => "p50",
            Self::P90 => "p90",
            Self::P99 => "p99",
            Self::P999 => "p99.9",
            Self::Max => "max",
            Self::Mean => "mean",
        }
    }

    /// In microseconds; none of an empty distribution, whose zeros would hold any bound.
    #[expect(clippy::cast_precision_loss, reason = "2^53 µs are 285 years")]
    fn of(self, latency: &Latency) -> Option<f64> {
        (latency.count > 0).then_some(match self {
            Self::P50 => latency.p50_us as f64,
            Self::P90 => latency.p90_us as f64,
            Self::P99 => latency.p99_us as f64,
            Self::P999 => latency.p999_us as f64,
            Self::Max => latency.max_us as f64,
            Self::Mean => latency.mean_us,
        })
    }
}

impl FromStr for Metric {
    type Err = MalformedObjective;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = match text {
            "success" => Self::Success,
            "throttled" => Self::Throttled,
            "errors" => Self::Errors,
            "rate" => Self::Rate,
            "amplification" => Self::Amplification,
            "own.cpu" => Self::OwnCpu,
            _ => {
                let (timing, figure) = [Timing::Service, Timing::SendDelay]
                    .into_iter()
                    .find_map(|timing| Some((timing, text.strip_prefix(timing.prefix())?)))
                    .unwrap_or((Timing::Latency, text));
                let unknown = || MalformedObjective::UnknownMetric(text.to_owned());
                let figure = LatencyFigure::ALL.into_iter().find(|known| known.name() == figure);
                Self::Time(timing, figure.ok_or_else(unknown)?)
            }
        };
        Ok(plain)
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time(timing, figure) => write!(f, "{}{}", timing.prefix(), figure.name()),
            Self::Success => f.write_str("success"),
            Self::Throttled => f.write_str("throttled"),
            Self::Errors => f.write_str("errors"),
            Self::Rate => f.write_str("rate"),
            Self::Amplification => f.write_str("amplification"),
            Self::OwnCpu => f.write_str("own.cpu"),
        }
    }
}

/// A number that is finite and not negative.
fn number(text: &str) -> Option<f64> {
    let text = text.trim_end();
    // "inf", "nan" and "+1" are numbers to Rust, but not to readers.
    if !text.starts_with(|first: char| first.is_ascii_digit() || first == '.') {
        return None;
    }
    text.parse().ok().filter(|value: &f64| value.is_finite())
}

/// In the largest unit that gives the same value when it is read again.
fn exact_time(micros: f64) -> String {
    let units = [("s", 1e6), ("ms", 1e3)];
    let exact = units.into_iter().find(|(_, scale)| {
        let scaled = micros / scale;
        scaled >= 1.0 && (scaled * scale).to_bits() == micros.to_bits()
    });
    let (suffix, scale) = exact.unwrap_or(("µs", 1.0));
    format!("{}{suffix}", micros / scale)
}

/// The highest share of a core in any second of any stream.
fn busiest(result: &RunResult) -> f64 {
    let seconds = result.streams.iter().flat_map(|stream| &stream.seconds);
    seconds.map(|Second { own_cpu, .. }| *own_cpu).fold(0.0, f64::max)
}
