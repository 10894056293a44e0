//! One stream of a run: what is asked of which tables at which endpoint, how often, and when.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use rand::Rng;

/// Tables at one endpoint at one rate for a part of the run.
#[derive(Debug, Clone)]
pub(crate) struct Stream {
    pub(crate) name: String,
    pub(crate) endpoint: String,
    /// Requests spread evenly over them.
    pub(crate) tables: Vec<String>,
    /// Requests per second.
    pub(crate) rate: f64,
    pub(crate) from: Duration,
    pub(crate) to: Duration,
    pub(crate) connections: usize,
    operation: Operation,
    keys: Keys,
    arrivals: Arrivals,
}

#[derive(Debug, Clone, Copy)]
enum Operation {
    Put,
    StrongGet,
    EventualGet,
}

#[derive(Debug, Clone)]
enum Keys {
    Uniform(u64),
    One(String),
}

#[derive(Debug, Clone, Copy)]
enum Arrivals {
    Poisson,
    /// All the same time apart: any window has the same number but one, and what varies is the servers' doing.
    Constant,
}

impl Stream {
    /// From the stream's begin to its first arrival: somewhere within a gap, so that streams of one rate do
    /// not all send at the same moment.
    pub(crate) fn first_gap(&self, rng: &mut impl Rng) -> Duration {
        match self.arrivals {
            Arrivals::Poisson => self.gap(rng),
            Arrivals::Constant => Duration::from_secs_f64(rng.random::<f64>() / self.rate),
        }
    }

    /// From one arrival to the next.
    pub(crate) fn gap(&self, rng: &mut impl Rng) -> Duration {
        let gaps = match self.arrivals {
            Arrivals::Poisson => -rng.random::<f64>().max(1e-12).ln(),
            Arrivals::Constant => 1.0,
        };
        Duration::from_secs_f64(gaps / self.rate)
    }

    /// The next request: DynamoDB's operation and its body.
    pub(crate) fn request(&self, rng: &mut impl Rng) -> (&'static str, Bytes) {
        let table = &self.tables[rng.random_range(0..self.tables.len())];
        let key = match &self.keys {
            Keys::Uniform(keys) => format!("user{:020}", rng.random_range(0..*keys)),
            Keys::One(key) => key.clone(),
        };
        let get = |consistent: bool| {
            format!(
                r#"{{"TableName":"{table}","Key":{{"pk":{{"S":"{key}"}}}},"ConsistentRead":{consistent}}}"#
            )
        };
        match self.operation {
            Operation::StrongGet => ("GetItem", get(true).into()),
            Operation::EventualGet => ("GetItem", get(false).into()),
            Operation::Put => (
                "PutItem",
                format!(r#"{{"TableName":"{table}","Item":{{"pk":{{"S":"{key}"}},"v":{{"S":"1"}}}}}}"#)
                    .into(),
            ),
        }
    }
}

impl FromStr for Stream {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let mut fields: BTreeMap<&str, &str> =
            text.split(',').filter_map(|field| field.trim().split_once('=')).collect();
        let mut take = |name: &str| fields.remove(name);
        let seconds = |text: Option<&str>, usual: f64| -> anyhow::Result<Duration> {
            Ok(Duration::from_secs_f64(text.map(str::parse).transpose()?.unwrap_or(usual)))
        };
        let tables = take("table").context("a stream needs table=")?;
        let stream = Self {
            name: take("name").unwrap_or(tables).to_owned(),
            endpoint: take("endpoint").context("a stream needs endpoint=")?.to_owned(),
            tables: tables.split('+').map(str::to_owned).collect(),
            rate: take("rate").context("a stream needs rate=")?.parse()?,
            from: seconds(take("from"), 0.0)?,
            to: seconds(take("to"), 10.0)?,
            connections: take("connections").unwrap_or("32").parse()?,
            operation: match take("op").unwrap_or("put") {
                "get" => Operation::StrongGet,
                "eventual" => Operation::EventualGet,
                "put" => Operation::Put,
                other => bail!("op={other}: put, get or eventual"),
            },
            keys: match take("key") {
                Some(key) => Keys::One(key.to_owned()),
                None => Keys::Uniform(take("keys").unwrap_or("10000").parse()?),
            },
            arrivals: match take("arrivals").unwrap_or("poisson") {
                "poisson" => Arrivals::Poisson,
                "constant" => Arrivals::Constant,
                other => bail!("arrivals={other}: poisson or constant"),
            },
        };
        ensure!(fields.is_empty(), "unknown: {fields:?}");
        ensure!(stream.rate > 0.0, "rate= must be above 0");
        Ok(stream)
    }
}
