//! `weir load canary`: small steady traffic, and availability by windows.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::args::{DurationArgs, PreparationArgs, RateArgs, SendingArgs, TargetArgs, TrafficArgs};
use super::failure::Failure;
use super::output::print;
use super::prepare::{Preparing, prepare};
use super::session::{Fleets, Session};
use super::spec_of::{Flags, OWN_TABLE, spec_of};
use crate::canary::{Availability, Place, Sample, Window};
use crate::engine::{Client, classify};
use crate::outcome::Outcome;
use crate::report::figure;
use crate::spec::{Protocol, RunSpec, StreamSpec};
use crate::workload::{Operation, Planned, Rate, RequestSource};

/// What is sent at each tick, to each table through each endpoint.
const OPERATIONS: [Operation; 3] = [Operation::GetItem, Operation::GetItemEventual, Operation::PutItem];
const USUAL_TIMEOUT: Duration = Duration::from_secs(1);
/// Ends of requests that wait to be counted: far more than ticks of any rate make in a moment.
const QUEUE: usize = 10_000;
/// The error of a request that nobody could be made to send.
const NO_CLIENT: &str = "NoClient";
/// Keys of a table of its own.
const USUAL_KEYS: &str = "uniform:1000";
/// At most so many requests per second and operation: a canary is no load.
const MOST_RATE: f64 = 1000.0;

/// Arguments of `weir load canary`.
#[derive(Debug, Clone, Args)]
pub struct CanaryArgs {
    /// Where requests go: one endpoint per zone, each with a label if wanted: zone-a=http://10.0.0.1:8000.
    /// Repeatable. Default: AWS_ENDPOINT_URL_DYNAMODB or AWS_ENDPOINT_URL.
    #[arg(long = "endpoint", value_name = "[LABEL=]URL", value_delimiter = ',')]
    endpoints: Vec<String>,
    /// Folder of the `weir cluster` or `weir dev` that runs here: its proxies, and the credentials it accepts.
    #[arg(long, value_name = "DIR", alias = "cluster")]
    dir: Option<PathBuf>,
    /// Table; repeatable. Default: weir-load, which is created and filled if missing.
    #[arg(long = "table", value_name = "NAME")]
    tables: Vec<String>,
    /// Requests per second of each kind (strong get, eventual get, put), to each table through each endpoint.
    #[arg(long, value_name = "RATE", default_value = "5/s")]
    rate: Rate,
    /// Availability is reckoned by windows of this length.
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = humantime::parse_duration)]
    window: Duration,
    /// End after this time. Default: at Ctrl-C.
    #[arg(long = "for", value_name = "DURATION", value_parser = humantime::parse_duration)]
    lasts: Option<Duration>,
    /// The exit code is 99 if a window was less available than this.
    #[arg(long, value_name = "PERCENT", default_value = "99.9%", value_parser = availability)]
    availability: f64,
    /// Append each window as a line of JSON; `-` prints them instead of the table.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Print nothing but what --json - prints.
    #[arg(long, short)]
    quiet: bool,
    /// Region in signatures.
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
    /// Profile of ~/.aws/credentials that signs.
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// How long a request may take before it counts as failed. Default: 1s.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    attempt_timeout: Option<Duration>,
    /// Speak HTTP/2.
    #[arg(long)]
    http2: bool,
    #[command(flatten)]
    preparation: PreparationArgs,
}

/// `weir load canary`.
pub(super) async fn run(
    args: CanaryArgs,
    fleets: &impl Fleets,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    if args.window.is_zero() || args.rate.get() <= 0.0 || args.rate.get() > MOST_RATE {
        return Err(Failure::Usage(format!(
            "--window must be above zero, and --rate above 0/s and at most {MOST_RATE}/s"
        )));
    }
    let labelled: Vec<_> = args.endpoints.iter().map(|endpoint| label(endpoint)).collect();
    let target = TargetArgs {
        endpoints: labelled.iter().map(|(_, url)| url.clone()).collect(),
        dir: args.dir.clone(),
        region: args.region.clone(),
        profile: args.profile.clone(),
    };
    let session = Session::open(&target, fleets).await?;
    let spec = args.spec(&session)?;
    let own = args.tables.is_empty();
    let through = answering(&session, &spec, &args).await?;
    let preparing = RunSpec { endpoints: vec![through], ..spec.clone() };
    prepare(&session, &preparing, Preparing::of(&args.preparation, own, args.quiet), stop).await?;

    let names: BTreeMap<_, _> = labelled.into_iter().map(|(label, url)| (url, label)).collect();
    let canary = Canary { args: &args, session: &session, spec: &spec, names };
    let (worst, count) = canary.run(stop).await?;
    match worst {
        Some(window) if !window.holds(args.availability) => Err(Failure::Missed(format!(
            "{} of {} was {} available in the window that began at {}: less than {}",
            window.place.table,
            window.place.endpoint,
            figure::percent(window.availability),
            figure::date(window.began_unix_ms),
            figure::percent(args.availability)
        ))),
        _ if count == 0 => Err(Failure::Stopped("stopped before anything was counted".into())),
        _ => Ok(()),
    }
}

/// The first endpoint that answers at all. The others need not: that they do not is what a canary is there to see.
async fn answering(session: &Session, spec: &RunSpec, args: &CanaryArgs) -> Result<String, Failure> {
    let mut failures = Vec::new();
    for endpoint in &spec.endpoints {
        let client = session.client(endpoint, &spec.region, args.profile.as_deref(), spec.protocol)?;
        let answer = client.with_timeout(spec.attempt_timeout).call("ListTables", "{}".into()).await;
        match answer {
            Ok(answer) if answer.status < 500 => {
                for failure in failures.iter().filter(|_| !args.quiet) {
                    eprintln!("{failure}; it counts as unavailable");
                }
                return Ok(endpoint.clone());
            }
            Ok(answer) => failures.push(format!("{endpoint} answers HTTP {}", answer.status)),
            Err(error) => failures.push(error.to_string()),
        }
    }
    let why = failures.join("; ");
    Err(Failure::Other(anyhow::anyhow!(
        "no endpoint answers: {why}. Is the endpoint right, and does it run?"
    )))
}

impl CanaryArgs {
    /// One stream per table; what is sent and when the canary decides itself.
    fn spec(&self, session: &Session) -> Result<RunSpec, Failure> {
        let traffic = TrafficArgs {
            keys: Some(USUAL_KEYS.parse().expect("it is a distribution")),
            ..TrafficArgs::default()
        };
        let sending = SendingArgs {
            http2: self.http2,
            attempt_timeout: Some(self.attempt_timeout.unwrap_or(USUAL_TIMEOUT)),
            ..SendingArgs::default()
        };
        let rate = RateArgs { rate: Some(crate::workload::Arrivals::constant(self.rate)), closed: false };
        let duration = DurationArgs { duration: Some(self.window), warm_up: None };
        let flags = Flags { traffic: &traffic, sending: &sending, rate: &rate, duration: &duration };
        let mut spec = spec_of(&session.place, flags, None)?;
        let usual = spec.streams.remove(0);
        let usually = [OWN_TABLE.to_owned()];
        let tables = if self.tables.is_empty() { &usually[..] } else { &self.tables };
        spec.streams = tables
            .iter()
            .map(|table| StreamSpec { name: table.clone(), table: table.clone(), ..usual.clone() })
            .collect();
        Ok(spec)
    }
}

/// A canary that runs.
struct Canary<'a> {
    args: &'a CanaryArgs,
    session: &'a Session,
    spec: &'a RunSpec,
    /// Labels of endpoints.
    names: BTreeMap<String, String>,
}

impl Canary<'_> {
    /// Runs until it is stopped; returns the window that was available least, and how many there were.
    async fn run(&self, stop: &CancellationToken) -> Result<(Option<Window>, usize), Failure> {
        let mut file = self.file()?;
        let (ended, mut ends) = mpsc::channel(QUEUE);
        let done = stop.child_token();
        let mut places = Vec::new();
        let mut senders = tokio::task::JoinSet::new();
        for (number, (endpoint, stream)) in self.pairs().enumerate() {
            let name = self.names.get(endpoint).cloned().unwrap_or_else(|| endpoint.clone());
            let place = Arc::new(Place { endpoint: name, table: stream.table.clone() });
            places.push((*place).clone());
            for (kind, operation) in OPERATIONS.into_iter().enumerate() {
                let stream = StreamSpec { mix: crate::workload::Mix::only(operation), ..stream.clone() };
                let seed = self.spec.seed.wrapping_add((number * OPERATIONS.len() + kind) as u64);
                let sender = Sender {
                    place: Arc::clone(&place),
                    source: RequestSource::new(&stream, false, seed, 0, 1),
                    clients: Clients { idle: Vec::new(), new: self.clients(endpoint)? },
                    every: Duration::from_secs_f64(1.0 / self.args.rate.get()),
                    ended: ended.clone(),
                };
                senders.spawn(sender.run(done.clone()));
            }
        }
        drop(ended);
        let (began, began_unix_ms) = (wire::clock::now(), wire::clock::unix_now().get());
        let mut availability = Availability::new(places, self.args.window);
        let (mut worst, mut count) = (None::<Window>, 0);
        self.head();
        loop {
            let elapsed = wire::clock::now().since(began);
            let until = self.args.lasts.map_or(availability.ends(), |lasts| lasts.min(availability.ends()));
            let turn = tokio::time::sleep(until.saturating_sub(elapsed));
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = turn => {
                    let at = wire::clock::now().since(began);
                    if self.args.lasts.is_some_and(|lasts| at >= lasts) {
                        break;
                    }
                    self.report(availability.turn(at, began_unix_ms), &mut file, &mut worst, &mut count)?;
                }
                Some((place, sample)) = ends.recv() => availability.record(&place, sample),
            }
        }
        // What was sent is answered, or times out: both count.
        done.cancel();
        let last = async {
            while let Some((place, sample)) = ends.recv().await {
                availability.record(&place, sample);
            }
        };
        last.await;
        while senders.join_next().await.is_some() {}
        let at = wire::clock::now().since(began);
        self.report(availability.turn(at, began_unix_ms), &mut file, &mut worst, &mut count)?;
        Ok((worst, count))
    }

    fn pairs(&self) -> impl Iterator<Item = (&String, &StreamSpec)> {
        self.spec
            .endpoints
            .iter()
            .flat_map(|endpoint| self.spec.streams.iter().map(move |stream| (endpoint, stream)))
    }

    /// Makes clients of an endpoint.
    fn clients(&self, endpoint: &str) -> Result<impl Fn() -> Option<Client> + Send + 'static, Failure> {
        let credentials = self.session.credentials(self.args.profile.as_deref())?;
        let (endpoint, region, protocol) =
            (endpoint.to_owned(), self.spec.region.clone(), self.spec.protocol);
        let timeout = self.spec.attempt_timeout;
        // The first one says whether there can be any.
        new_client(&endpoint, &region, &credentials, protocol).map_err(anyhow::Error::from)?;
        Ok(move || {
            new_client(&endpoint, &region, &credentials, protocol)
                .ok()
                .map(|client| client.with_timeout(timeout))
        })
    }

    fn file(&self) -> Result<Option<File>, Failure> {
        let Some(path) = self.args.json.as_ref().filter(|path| path.as_os_str() != "-") else {
            return Ok(None);
        };
        let file = File::options().create(true).append(true).open(path);
        Ok(Some(file.with_context(|| format!("cannot write {}", path.display()))?))
    }

    fn prints_json(&self) -> bool {
        self.args.json.as_ref().is_some_and(|path| path.as_os_str() == "-")
    }

    fn head(&self) {
        if !self.args.quiet && !self.prints_json() {
            _ = print(&format!(
                "{:<20} {:>12} {:>9} {:>7} {:>9} {:>9} {:>9}  TABLE AND ENDPOINT\n",
                "WINDOW SINCE", "AVAILABILITY", "REQUESTS", "FAILED", "THROTTLED", "P50", "P99"
            ));
        }
    }

    fn report(
        &self,
        windows: Vec<Window>,
        file: &mut Option<File>,
        worst: &mut Option<Window>,
        count: &mut usize,
    ) -> Result<(), Failure> {
        for window in windows.into_iter().filter(|window| window.requests > 0) {
            let json = serde_json::to_string(&window).map_err(anyhow::Error::from)?;
            if let Some(file) = file {
                writeln!(file, "{json}")?;
            }
            match (self.prints_json(), self.args.quiet) {
                (true, _) => print(&format!("{json}\n"))?,
                (false, false) => print(&line(&window))?,
                (false, true) => {}
            }
            *count += 1;
            if worst.as_ref().is_none_or(|worst| window.availability < worst.availability) {
                *worst = Some(window);
            }
        }
        Ok(())
    }
}

fn new_client(
    endpoint: &str,
    region: &str,
    credentials: &crate::credentials::Credentials,
    protocol: Protocol,
) -> Result<Client, crate::engine::ClientError> {
    Client::new(endpoint, region, credentials.clone(), protocol)
}

/// A window as a line of the table.
fn line(window: &Window) -> String {
    let errors: Vec<_> = window.errors.iter().map(|(error, count)| format!("{error} {count}")).collect();
    let errors = if errors.is_empty() { String::new() } else { format!("  ({})", errors.join(", ")) };
    format!(
        "{:<20} {:>12} {:>9} {:>7} {:>9} {:>9} {:>9}  {} {}{errors}\n",
        figure::date(window.began_unix_ms),
        figure::percent(window.availability),
        window.requests,
        window.failed,
        window.throttled,
        figure::micros(window.p50_us),
        figure::micros(window.p99_us),
        window.place.table,
        window.place.endpoint,
    )
}

/// Sends one kind of request to one table through one endpoint.
struct Sender<F> {
    place: Arc<Place>,
    source: RequestSource,
    clients: Clients<F>,
    every: Duration,
    ended: mpsc::Sender<(Arc<Place>, Sample)>,
}

/// Clients that wait for work; another one is made when all are busy, so that a slow answer holds up nothing.
struct Clients<F> {
    idle: Vec<Client>,
    new: F,
}

impl<F: Fn() -> Option<Client> + Send + 'static> Sender<F> {
    async fn run(mut self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(self.every);
        let began = wire::clock::now();
        let mut calls = tokio::task::JoinSet::new();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(Ok(client)) = calls.join_next() => self.clients.idle.push(client),
                due = ticks.tick() => {
                    let (place, ended) = (Arc::clone(&self.place), self.ended.clone());
                    let planned = self.source.next(wire::clock::now().since(began));
                    match self.clients.idle.pop().or_else(|| (self.clients.new)()) {
                        Some(client) => _ = calls.spawn(one(client, planned, due, place, ended)),
                        None => {
                            let error = Some(NO_CLIENT.to_owned());
                            let sample = Sample { outcome: Outcome::NotSent, latency: due.elapsed(), error };
                            // Nobody counts any more: the canary has ended.
                            _ = ended.send((place, sample)).await;
                        }
                    }
                }
            }
        }
        while calls.join_next().await.is_some() {}
    }
}

/// Sends one request that was `due`, and tells how it ended.
async fn one(
    mut client: Client,
    planned: Planned,
    due: Instant,
    place: Arc<Place>,
    ended: mpsc::Sender<(Arc<Place>, Sample)>,
) -> Client {
    let (outcome, error) = match client.call(planned.target, planned.body).await {
        Ok(answer) => {
            let (outcome, error) = classify(answer.status, &answer.body);
            (outcome, error.map(std::borrow::Cow::into_owned))
        }
        Err(error) => {
            let outcome = if error.is_timeout() { Outcome::TimedOut } else { Outcome::Broken };
            (outcome, Some(error.name().to_owned()))
        }
    };
    let latency = due.elapsed();
    // Nobody counts any more: the canary has ended.
    _ = ended.send((place, Sample { outcome, latency, error })).await;
    client
}

/// The label and the URL; without a label, the URL is both.
fn label(text: &str) -> (String, String) {
    match text.split_once('=') {
        Some((label, url)) if !label.contains("://") => (label.to_owned(), url.to_owned()),
        _ => (text.to_owned(), text.to_owned()),
    }
}

fn availability(text: &str) -> Result<f64, String> {
    let number = text.trim().trim_end_matches('%').parse::<f64>().ok();
    number
        .filter(|percent| (0.0..=100.0).contains(percent))
        .ok_or_else(|| format!("`{text}` is no availability: expected 0% to 100%, such as 99.9%"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_may_have_a_label() {
        assert_eq!(label("zone-a=http://h:1"), ("zone-a".into(), "http://h:1".into()));
        assert_eq!(label("http://h:1"), ("http://h:1".into(), "http://h:1".into()));
    }

    #[test]
    fn availability_is_percent() {
        assert_eq!(availability("99.9%"), Ok(99.9));
        assert!(availability("101%").is_err() && availability("high").is_err());
    }
}
