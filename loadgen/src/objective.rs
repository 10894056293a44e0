//! What a run must keep to: `p99<10ms`, `success>=99.9%`, `rate>=4900/s@reads`.
//!
//! An objective is one figure of a result, a comparison and a bound with its unit. Whether it holds is read off
//! a [`RunResult`] and nothing else, so that it can be asked again of a stored one.

mod metric;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::result::RunResult;
use crate::spec::RunSpec;
pub use metric::{LatencyFigure, Metric, Timing};

/// One figure and its bound, of the whole run or of one stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Objective {
    /// Which figure.
    pub metric: Metric,
    /// How it is compared.
    pub relation: Relation,
    /// With what, in the metric's base unit: microseconds, percent, per second, or a plain ratio.
    pub bound: f64,
    /// Of which stream; none: of all.
    pub stream: Option<String>,
}

/// How a figure is compared with its bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    More,
    /// `>=`
    AtLeast,
}

/// What a result says of an objective.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// What was to hold.
    pub objective: Objective,
    /// The figure in the metric's base unit; none when nothing of it was measured.
    pub measured: Option<f64>,
    /// Whether it holds. What was not measured does not hold.
    pub held: bool,
}

/// Why a text is no objective.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MalformedObjective {
    /// There is no comparison in it.
    #[error("{0:?} compares nothing: write METRIC, one of < <= > >=, and a value, such as p99<10ms")]
    NoRelation(String),
    /// The metric is none of ours.
    #[error("there is no metric {0:?}; there are {names}", names = Metric::NAMES)]
    UnknownMetric(String),
    /// The value is no number with the metric's unit.
    #[error("{value:?} is no value of {metric}: write {example}")]
    Value {
        /// As given.
        value: String,
        /// Of this metric.
        metric: Metric,
        /// How it is written.
        example: &'static str,
    },
    /// Nothing stands behind the `@`.
    #[error("{0:?} names no stream after the @: write p99<10ms@NAME, or leave the @ out for all streams")]
    NoStream(String),
}

/// An objective names a stream that the run does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{objective} is about a stream {stream:?}; the run's streams are {streams}")]
pub struct UnknownStream {
    objective: String,
    stream: String,
    streams: String,
}

impl Objective {
    /// Fails when it is about a stream that `spec` lacks: better said before a run than after it.
    ///
    /// # Errors
    /// [`UnknownStream`].
    pub fn check(&self, spec: &RunSpec) -> Result<(), UnknownStream> {
        let Some(name) = &self.stream else { return Ok(()) };
        if spec.streams.iter().any(|stream| stream.name == *name) {
            return Ok(());
        }
        let streams: Vec<_> = spec.streams.iter().map(|stream| stream.name.as_str()).collect();
        Err(UnknownStream { objective: self.to_string(), stream: name.clone(), streams: streams.join(", ") })
    }

    /// What `result` says of it.
    #[must_use]
    pub fn holds(&self, result: &RunResult) -> Finding {
        let measured = self.metric.measured(result, self.stream.as_deref());
        let held = measured.is_some_and(|measured| self.relation.holds(measured, self.bound));
        Finding { objective: self.clone(), measured, held }
    }
}

impl Relation {
    /// Longer signs first: `<=` begins with `<`.
    const ALL: [Self; 4] = [Self::AtMost, Self::AtLeast, Self::Less, Self::More];

    /// As it is written.
    #[must_use]
    pub const fn sign(self) -> &'static str {
        match self {
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::More => ">",
            Self::AtLeast => ">=",
        }
    }

    fn holds(self, measured: f64, bound: f64) -> bool {
        match self {
            Self::Less => measured < bound,
            Self::AtMost => measured <= bound,
            Self::More => measured > bound,
            Self::AtLeast => measured >= bound,
        }
    }
}

impl FromStr for Objective {
    type Err = MalformedObjective;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let no_relation = || MalformedObjective::NoRelation(text.to_owned());
        let at = text.find(['<', '>']).ok_or_else(no_relation)?;
        let (metric, rest) = text.split_at(at);
        let relation = Relation::ALL
            .into_iter()
            .find(|relation| rest.starts_with(relation.sign()))
            .ok_or_else(no_relation)?;
        let metric: Metric = metric.trim().parse()?;
        let rest = &rest[relation.sign().len()..];
        let (value, stream) = match rest.split_once('@') {
            Some((value, stream)) => (value.trim(), Some(stream.trim().to_owned())),
            None => (rest.trim(), None),
        };
        if stream.as_deref() == Some("") {
            return Err(MalformedObjective::NoStream(text.to_owned()));
        }
        let bound = metric.parse_value(value).ok_or_else(|| MalformedObjective::Value {
            value: value.to_owned(),
            metric,
            example: metric.example(),
        })?;
        Ok(Self { metric, relation, bound, stream })
    }
}

impl fmt::Display for Objective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", self.metric, self.relation.sign(), self.metric.exact(self.bound))?;
        match &self.stream {
            Some(stream) => write!(f, "@{stream}"),
            None => Ok(()),
        }
    }
}

impl From<Objective> for String {
    fn from(objective: Objective) -> Self {
        objective.to_string()
    }
}

impl TryFrom<String> for Objective {
    type Error = MalformedObjective;

    fn try_from(text: String) -> Result<Self, MalformedObjective> {
        text.parse()
    }
}

impl Finding {
    /// The figure as people read it: `8.31 ms`; a dash when nothing was measured.
    #[must_use]
    pub fn measured_text(&self) -> String {
        self.measured.map_or_else(|| "not measured".to_owned(), |value| self.objective.metric.shown(value))
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = if self.held { "held" } else { "NOT HELD" };
        write!(f, "{held}: {} ({})", self.objective, self.measured_text())
    }
}
