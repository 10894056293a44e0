//! From flags and scenario files to what a run is. Pure: what the environment says is an argument.

use std::time::Duration;

use toml::{Table, Value};

use super::args::{DurationArgs, RateArgs, SendingArgs, TrafficArgs};
use super::failure::Failure;
use crate::retry::RetryModel;
use crate::spec::{Pacing, Protocol, RunSpec, StreamSpec, usual_late_after};
use crate::workload::{Arrivals, ItemSize, KeyDistribution, Rate};

/// The table that `weir load` makes for itself.
pub(super) const OWN_TABLE: &str = "weir-load";
const USUAL_KEYS: u64 = 10_000;
const USUAL_ITEM_BYTES: u32 = 900;
const USUAL_MIX: &str = "get=90,put=10";
const USUAL_DURATION: Duration = Duration::from_secs(30);
const USUAL_WARM_UP: Duration = Duration::from_secs(2);
const USUAL_ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);
/// One request in flight on each.
const USUAL_HTTP1_CONNECTIONS: usize = 64;
/// Many requests in flight on each.
const USUAL_HTTP2_CONNECTIONS: usize = 4;
const USUAL_SEED: u64 = 1;
/// The most of either: beyond, a process runs out of file descriptors or a machine out of cores.
const MOST_CONNECTIONS: usize = 50_000;
const MOST_THREADS: usize = 256;

/// Endpoints, region and profile, looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// At least one, unless a scenario names them.
    pub endpoints: Vec<String>,
    pub region: String,
    pub profile: Option<String>,
}

/// The flags that a spec is made of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flags<'a> {
    pub traffic: &'a TrafficArgs,
    pub sending: &'a SendingArgs,
    pub rate: &'a RateArgs,
    pub duration: &'a DurationArgs,
}

/// The spec of these flags, over the text of the scenario file if there is one.
pub(super) fn spec_of(place: &Place, flags: Flags<'_>, scenario: Option<&str>) -> Result<RunSpec, Failure> {
    let mut spec = usual(place);
    if let Some(text) = scenario {
        spec = of_scenario(&spec, text)?;
    }
    flags.apply(&mut spec, scenario.is_some())?;
    check(&spec)?;
    Ok(spec)
}

/// What holds when nothing is said.
fn usual(place: &Place) -> RunSpec {
    RunSpec {
        endpoints: place.endpoints.clone(),
        region: place.region.clone(),
        protocol: Protocol::Http1,
        pacing: Pacing::Open,
        duration: USUAL_DURATION,
        warm_up: USUAL_WARM_UP,
        threads: 1,
        connections: USUAL_HTTP1_CONNECTIONS,
        attempt_timeout: USUAL_ATTEMPT_TIMEOUT,
        late_after: usual_late_after(),
        retry: RetryModel::None,
        return_capacity: false,
        seed: USUAL_SEED,
        streams: vec![StreamSpec {
            name: OWN_TABLE.to_owned(),
            table: OWN_TABLE.to_owned(),
            profile: place.profile.clone(),
            arrivals: Arrivals::poisson(Rate::per_second(0.0)),
            mix: USUAL_MIX.parse().expect("it is well-formed"),
            keys: KeyDistribution::uniform(USUAL_KEYS),
            item_size: ItemSize::Fixed(USUAL_ITEM_BYTES),
            from: Duration::ZERO,
            to: None,
        }],
    }
}

/// A scenario file over the usual: it says only what differs, of the run and of each stream.
fn of_scenario(usual: &RunSpec, text: &str) -> Result<RunSpec, Failure> {
    let wrong = |why: String| Failure::Usage(format!("the scenario file: {why}"));
    let given: Table = text.parse().map_err(|error: toml::de::Error| wrong(error.to_string()))?;
    let mut merged = Table::try_from(usual).expect("a spec is a table");
    let stream = merged.remove("streams").and_then(|streams| streams.as_array()?.first().cloned());
    let names_endpoints = given.contains_key("endpoints");
    if given.get("protocol").and_then(Value::as_str) == Some("http2") {
        merged.insert("connections".into(), count(USUAL_HTTP2_CONNECTIONS));
    }
    merged.extend(given);
    if names_endpoints && !usual.endpoints.is_empty() {
        // The command line wins.
        let endpoints = usual.endpoints.iter().cloned().map(Value::String).collect();
        merged.insert("endpoints".into(), Value::Array(endpoints));
    }
    let streams = match merged.remove("streams") {
        Some(Value::Array(streams)) if !streams.is_empty() => streams,
        Some(_) => return Err(wrong("`streams` must be tables: write [[streams]] before each".into())),
        None => return Err(wrong("it has no stream: write [[streams]] and what is sent".into())),
    };
    let stream = stream.as_ref().and_then(Value::as_table);
    let open = merged.get("pacing").and_then(Value::as_str) == Some("open");
    if open && streams.iter().any(|stream| stream.get("arrivals").is_none()) {
        return Err(wrong("a stream has no `arrivals`: write arrivals = \"500/s\"".into()));
    }
    let streams: Vec<_> = streams.into_iter().map(|given| over(stream, given)).collect();
    merged.insert("streams".into(), Value::Array(streams));
    merged.try_into::<RunSpec>().map_err(|error| wrong(error.message().to_owned()))
}

/// A stream that says only what differs; its name is its table's unless it has one.
fn over(usual: Option<&Table>, given: Value) -> Value {
    let Value::Table(given) = given else { return given };
    let mut merged = usual.cloned().unwrap_or_default();
    if let Some(table) = given.get("table") {
        merged.insert("name".into(), table.clone());
    }
    merged.extend(given);
    Value::Table(merged)
}

fn count(number: usize) -> Value {
    Value::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}

impl Flags<'_> {
    /// Puts what was given over what is there. What streams do is not asked for beside a scenario.
    fn apply(&self, spec: &mut RunSpec, scenario: bool) -> Result<(), Failure> {
        let SendingArgs {
            connections,
            threads,
            http2,
            retry,
            attempt_timeout,
            late_after,
            return_capacity,
            seed,
        } = self.sending.clone();
        if http2 && spec.protocol != Protocol::Http2 {
            spec.protocol = Protocol::Http2;
            spec.connections = USUAL_HTTP2_CONNECTIONS;
        }
        spec.connections = connections.unwrap_or(spec.connections);
        spec.threads = threads.unwrap_or(spec.threads);
        spec.retry = retry.unwrap_or(spec.retry);
        spec.attempt_timeout = attempt_timeout.unwrap_or(spec.attempt_timeout);
        spec.late_after = late_after.unwrap_or(spec.late_after);
        spec.return_capacity |= return_capacity;
        spec.seed = seed.unwrap_or(spec.seed);
        spec.duration = self.duration.duration.unwrap_or(spec.duration);
        spec.warm_up = self.duration.warm_up.unwrap_or(spec.warm_up);
        if self.rate.closed {
            spec.pacing = Pacing::Closed;
        }
        if scenario {
            return match self.rate.rate {
                Some(_) => Err(Failure::Usage(
                    "--rate and --scenario exclude each other: the scenario's streams have `arrivals`".into(),
                )),
                None => Ok(()),
            };
        }
        self.apply_traffic(&mut spec.streams[0]);
        if spec.pacing == Pacing::Open && spec.streams[0].arrivals.peak_rate(spec.duration) == 0.0 {
            return Err(Failure::Usage(
                "how many requests per second? Say --rate 500/s; or --closed for as many as are answered"
                    .into(),
            ));
        }
        Ok(())
    }

    fn apply_traffic(&self, stream: &mut StreamSpec) {
        let TrafficArgs { table, mix, keys, item_size, scenario: _ } = self.traffic.clone();
        if let Some(table) = table {
            stream.name.clone_from(&table);
            stream.table = table;
        }
        stream.mix = mix.unwrap_or_else(|| stream.mix.clone());
        stream.keys = keys.unwrap_or(stream.keys);
        stream.item_size = item_size.unwrap_or(stream.item_size);
        if let Some(rate) = self.rate.rate {
            stream.arrivals = rate;
        }
    }
}

/// What cannot be run at all.
fn check(spec: &RunSpec) -> Result<(), Failure> {
    let wrong = |why: String| Err(Failure::Usage(why));
    if spec.endpoints.is_empty() {
        return wrong(
            "where to? Say --endpoint http://127.0.0.1:8000, or --dir DIR for the `weir cluster` of that folder, or \
             set AWS_ENDPOINT_URL_DYNAMODB"
                .into(),
        );
    }
    if spec.duration.is_zero() {
        return wrong("a run needs a --duration above zero".into());
    }
    if !(1..=MOST_CONNECTIONS).contains(&spec.connections) {
        return wrong(format!("{} connections: expected 1 to {MOST_CONNECTIONS}", spec.connections));
    }
    if !(1..=MOST_THREADS).contains(&spec.threads) || spec.threads > spec.connections {
        return wrong(format!(
            "{} threads: expected 1 to {MOST_THREADS}, and at most one per connection ({})",
            spec.threads, spec.connections
        ));
    }
    if spec.streams.is_empty() {
        return wrong("a run needs a stream".into());
    }
    for (index, stream) in spec.streams.iter().enumerate() {
        if spec.streams[..index].iter().any(|other| other.name == stream.name) {
            return wrong(format!("two streams are named `{}`: give each a `name` of its own", stream.name));
        }
        if stream.from >= stream.to.unwrap_or(spec.duration + spec.warm_up) {
            return wrong(format!("stream `{}` ends before it begins", stream.name));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Place {
        Place { endpoints: vec!["http://127.0.0.1:8000".into()], region: "us-east-1".into(), profile: None }
    }

    #[derive(Default)]
    struct Given {
        traffic: TrafficArgs,
        sending: SendingArgs,
        rate: RateArgs,
        duration: DurationArgs,
    }

    fn made(given: &Given, scenario: Option<&str>) -> Result<RunSpec, Failure> {
        let Given { traffic, sending, rate, duration } = given;
        spec_of(&place(), Flags { traffic, sending, rate, duration }, scenario)
    }

    fn rate(text: &str) -> RateArgs {
        RateArgs { rate: Some(text.parse().unwrap()), closed: false }
    }

    #[test]
    fn an_endpoint_and_a_rate_are_enough() {
        let spec = made(&Given { rate: rate("500/s"), ..Given::default() }, None).unwrap();
        assert_eq!((spec.streams[0].table.as_str(), spec.connections), (OWN_TABLE, 64));
        assert_eq!(spec.streams[0].arrivals.to_string(), "500/s");
    }

    #[test]
    fn without_a_rate_it_is_said_what_to_give_unless_the_loop_is_closed() {
        let error = made(&Given::default(), None).unwrap_err();
        assert!(matches!(&error, Failure::Usage(why) if why.contains("--rate 500/s")), "{error}");
        let closed = RateArgs { rate: None, closed: true };
        assert_eq!(made(&Given { rate: closed, ..Given::default() }, None).unwrap().pacing, Pacing::Closed);
    }

    #[test]
    fn http2_needs_fewer_connections_unless_they_are_given() {
        let sending = SendingArgs { http2: true, ..SendingArgs::default() };
        let spec =
            made(&Given { rate: rate("1/s"), sending: sending.clone(), ..Given::default() }, None).unwrap();
        assert_eq!((spec.protocol, spec.connections), (Protocol::Http2, 4));
        let sending = SendingArgs { connections: Some(9), ..sending };
        assert_eq!(
            made(&Given { rate: rate("1/s"), sending, ..Given::default() }, None).unwrap().connections,
            9
        );
    }

    #[test]
    fn a_scenario_says_only_what_differs_and_flags_win() {
        let text = r#"
            duration = "1m"
            protocol = "http2"
            [[streams]]
            table = "orders"
            arrivals = "ramp:100/s..2000/s"
            mix = "get=50,put=50"
            [[streams]]
            name = "batch"
            table = "orders"
            profile = "nightly"
            arrivals = "50/s"
            from = "10s"
        "#;
        let duration = DurationArgs { duration: Some(Duration::from_secs(20)), warm_up: None };
        let spec = made(&Given { duration, ..Given::default() }, Some(text)).unwrap();
        assert_eq!((spec.duration, spec.connections), (Duration::from_secs(20), 4));
        let [orders, batch] = spec.streams.as_slice() else { panic!("{spec:?}") };
        assert_eq!((orders.name.as_str(), orders.keys), ("orders", KeyDistribution::uniform(10_000)));
        assert_eq!((batch.name.as_str(), batch.profile.as_deref()), ("batch", Some("nightly")));
        assert_eq!(batch.from, Duration::from_secs(10));
        assert_eq!(spec.endpoints, place().endpoints);
    }

    #[test]
    fn what_a_scenario_gets_wrong_is_said() {
        for (text, expected) in [
            ("duration = ", "scenario file"),
            ("duration = \"1m\"", "no stream"),
            ("[[streams]]\ntable = \"a\"", "no `arrivals`"),
            ("[[streams]]\narrivals = \"1/s\"\ncolour = 1", "colour"),
            ("pace = 1\n[[streams]]\narrivals = \"1/s\"", "pace"),
            ("[[streams]]\narrivals = \"1/s\"\n[[streams]]\narrivals = \"1/s\"", "two streams are named"),
            ("[[streams]]\narrivals = \"many\"", "`many` is no"),
            ("connections = 0\n[[streams]]\narrivals = \"1/s\"", "connections"),
        ] {
            let error = made(&Given::default(), Some(text)).unwrap_err();
            assert!(matches!(&error, Failure::Usage(why) if why.contains(expected)), "{text}: {error}");
        }
    }

    #[test]
    fn a_written_spec_is_a_scenario() {
        let spec = made(&Given { rate: rate("500/s"), ..Given::default() }, None).unwrap();
        let text = toml::to_string(&spec).unwrap();
        assert_eq!(made(&Given::default(), Some(&text)).unwrap(), spec);
    }
}
