//! A run from its spec to its result: starts the sending threads, adds up what they tell, and watches their CPU.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};
use units::Timestamp;

use super::clock;
use super::due_times::Recorded;
use super::endpoint::{Endpoint, InvalidEndpoint};
use super::link::Dialer;
use super::progress::Progress;
use super::sample::Batch;
use super::sender::{self, MOST_STREAMS, Orders, Report};
use super::tally::Tally;
use super::usage::Usage;
use crate::credentials::{Credentials, CredentialsError, Places};
use crate::result::{RunResult, SCHEMA};
use crate::signer::Signer;
use crate::spec::{Protocol, RunSpec};
use crate::trace::TraceWriter;
use crate::validity::{self, Conduct, judge};
use crate::workload::cost_warnings;

/// From everything being ready to the first request.
const LEAD: Duration = Duration::from_millis(20);
/// A second is shown when its threads have told of it.
const SHOWN_AFTER: Duration = Duration::from_millis(250);
/// Reports of threads that may wait to be added up.
const MOST_REPORTS: usize = 64;
/// Threads that may send: more than any machine's cores.
const MOST_THREADS: usize = 256;
/// Connections of one machine to one port: there are no more ports to have.
const MOST_CONNECTIONS: usize = 60_000;

/// What a run may do besides.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// Processes on this machine whose CPU is to be accounted, by name and id.
    pub processes: Vec<(String, u32)>,
    /// Due times in place of the streams' arrivals.
    pub recorded: Option<Recorded>,
    /// Where to record what was sent when.
    pub trace_to: Option<PathBuf>,
    /// Credentials that were found already, by profile, for streams whose profile is among them (`None`: those of
    /// the environment).
    pub credentials: BTreeMap<Option<String>, Credentials>,
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The spec asks for what cannot be done.
    #[error("{0}")]
    Spec(String),
    /// An endpoint is none.
    #[error(transparent)]
    Endpoint(#[from] InvalidEndpoint),
    /// TLS is not possible here.
    #[error("{0}")]
    Tls(String),
    /// A stream's requests cannot be signed.
    #[error("stream `{stream}`")]
    Credentials {
        /// The stream.
        stream: String,
        /// Why.
        source: CredentialsError,
    },
    /// There is nobody at the endpoints.
    #[error("cannot connect to {endpoints}: {why}")]
    Unreachable {
        /// All of them.
        endpoints: String,
        /// The last failure.
        why: String,
    },
    /// A thread could not start, or broke.
    #[error("a sending thread failed: {0}")]
    Thread(String),
    /// The trace cannot be written.
    #[error("cannot write the trace {path}")]
    Trace {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The sending threads.
struct Threads {
    handles: Vec<JoinHandle<io::Result<()>>>,
    begin: Vec<oneshot::Sender<(Timestamp, Timestamp)>>,
    reports: mpsc::Receiver<Report>,
    stop: CancellationToken,
    /// Ends the threads also when the run itself is given up.
    _stop: DropGuard,
    leave: CancellationToken,
    _leave: DropGuard,
}

/// A run in progress.
struct Run<'a, P> {
    spec: &'a RunSpec,
    tally: Tally,
    usage: Usage,
    trace: Option<Trace>,
    progress: P,
    /// By thread, in flight and waiting when it last told.
    last: Vec<(u64, u64)>,
    measured: Timestamp,
    /// When the measured part ends; earlier than planned if it was stopped.
    end: Timestamp,
    shown: u64,
}

/// The file to which is recorded what was sent when.
struct Trace {
    path: PathBuf,
    writer: TraceWriter<BufWriter<File>>,
}

/// Sends what the spec says and measures. `progress` is told of each second of the measured part. When `stop` is
/// cancelled, nothing more becomes due, and the result is of what there was.
///
/// # Errors
/// When the run cannot begin, or a thread breaks. A service that fails, or fails to keep up, is a result.
pub async fn run(
    spec: &RunSpec,
    options: RunOptions,
    progress: impl FnMut(&Progress),
    stop: CancellationToken,
) -> Result<RunResult, RunError> {
    check(spec)?;
    let RunOptions { processes, recorded, trace_to, credentials } = options;
    let trace = trace_to.map(|path| Trace::begin(path, spec)).transpose()?;
    let mut threads = Threads::start(spec, recorded, &credentials)?;
    let accounts = threads.wait_until_ready(spec).await?;
    let start = clock::now() + LEAD;
    let measured = start + spec.warm_up;
    let began_unix_ms = clock::unix_millis() + (LEAD + spec.warm_up).as_millis() as u64;
    threads.begin(start, measured);
    let mut run = Run {
        spec,
        tally: Tally::new(spec.streams.len()),
        usage: Usage::new(accounts, processes),
        trace,
        progress,
        last: vec![(0, 0); threads.handles.len()],
        measured,
        end: measured + spec.duration,
        shown: 0,
    };
    run.watch(&mut threads, stop).await?;
    run.result(threads, began_unix_ms)
}

fn check(spec: &RunSpec) -> Result<(), RunError> {
    let wrong = |why: &str| Err(RunError::Spec(why.to_owned()));
    if spec.endpoints.is_empty() {
        return wrong("the run has no endpoint to send to");
    }
    if spec.streams.is_empty() {
        return wrong("the run has no stream of requests");
    }
    if spec.duration < Duration::from_millis(1) {
        return wrong("the run must last at least 1 ms");
    }
    if !(1..=MOST_THREADS).contains(&spec.threads) {
        return Err(RunError::Spec(format!("the run needs from 1 to {MOST_THREADS} sending threads")));
    }
    if !(1..=MOST_CONNECTIONS).contains(&spec.connections) {
        return Err(RunError::Spec(format!("the run needs from 1 to {MOST_CONNECTIONS} connections")));
    }
    if spec.attempt_timeout.is_zero() {
        return wrong("the time for one attempt must be above zero");
    }
    Ok(())
}

impl Threads {
    fn start(
        spec: &RunSpec,
        recorded: Option<Recorded>,
        credentials: &BTreeMap<Option<String>, Credentials>,
    ) -> Result<Self, RunError> {
        let endpoints: Vec<Endpoint> =
            spec.endpoints.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
        let dialers: Vec<Dialer> = endpoints
            .iter()
            .map(|endpoint| Dialer::new(endpoint.clone(), spec.protocol, spec.attempt_timeout))
            .collect::<Result<_, _>>()
            .map_err(|fault| RunError::Tls(fault.to_string()))?;
        let credentials = credentials_of(spec, credentials)?;
        let of = spec.threads.min(spec.connections);
        let (stop, leave) = (CancellationToken::new(), CancellationToken::new());
        let (sender, reports) = mpsc::channel(MOST_REPORTS);
        let (spec, recorded) = (Arc::new(spec.clone()), recorded.map(Arc::new));
        let (mut handles, mut begins) = (Vec::new(), Vec::new());
        for part in 0..of {
            let (begin_sender, begin) = oneshot::channel();
            let signer = |credentials: &Credentials, endpoint: &Endpoint| {
                Signer::of(credentials.clone(), &spec.region, &endpoint.authority())
            };
            let signers = credentials
                .iter()
                .map(|credentials| endpoints.iter().map(|endpoint| signer(credentials, endpoint)).collect())
                .collect();
            let orders = Orders {
                spec: Arc::clone(&spec),
                recorded: recorded.clone(),
                part,
                of,
                dialers: dialers.clone(),
                signers,
                reports: sender.clone(),
                begin,
                stop: stop.clone(),
                leave: leave.clone(),
            };
            let thread = std::thread::Builder::new().name(format!("sender-{part}"));
            let handle = thread.spawn(move || sender::send(orders));
            handles.push(handle.map_err(|error| RunError::Thread(error.to_string()))?);
            begins.push(begin_sender);
        }
        let (stop_guard, leave_guard) = (stop.clone().drop_guard(), leave.clone().drop_guard());
        Ok(Self { handles, begin: begins, reports, stop, _stop: stop_guard, leave, _leave: leave_guard })
    }

    /// Waits until each has tried its connections; returns the directories of their accounts.
    async fn wait_until_ready(&mut self, spec: &RunSpec) -> Result<Vec<PathBuf>, RunError> {
        let (mut all, mut connections, mut why) = (Vec::new(), 0, None);
        while all.len() < self.handles.len() {
            match self.reports.recv().await {
                Some(Report::Ready { accounts, connected, fault }) => {
                    all.push(accounts);
                    connections += connected;
                    why = fault.or(why);
                }
                Some(Report::Batch(_) | Report::Done) => {}
                None => return Err(self.failure()),
            }
        }
        if connections == 0 {
            let why = why.unwrap_or_else(|| "no answer in time".to_owned());
            return Err(RunError::Unreachable { endpoints: spec.endpoints.join(", "), why });
        }
        Ok(all)
    }

    fn begin(&mut self, start: Timestamp, measured: Timestamp) {
        for begin in self.begin.drain(..) {
            // A thread that is no longer there is noticed by its silence.
            _ = begin.send((start, measured));
        }
    }

    /// Lets the threads go.
    fn join(mut self) -> Result<(), RunError> {
        self.leave.cancel();
        for handle in self.handles.drain(..) {
            ended(handle)?;
        }
        Ok(())
    }

    /// Why threads have gone silent.
    fn failure(&mut self) -> RunError {
        self.leave.cancel();
        let failed = self.handles.drain(..).filter_map(|handle| ended(handle).err()).next();
        failed.unwrap_or_else(|| RunError::Thread("it ended early".to_owned()))
    }
}

fn ended(thread: JoinHandle<io::Result<()>>) -> Result<(), RunError> {
    match thread.join() {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(RunError::Thread(error.to_string())),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// The credentials of each stream.
fn credentials_of(
    spec: &RunSpec,
    given: &BTreeMap<Option<String>, Credentials>,
) -> Result<Vec<Credentials>, RunError> {
    let mut known = given.clone();
    let mut all = Vec::new();
    for stream in &spec.streams {
        if !known.contains_key(&stream.profile) {
            let found = Credentials::find(stream.profile.as_deref(), &Places::of_process())
                .map_err(|source| RunError::Credentials { stream: stream.name.clone(), source })?;
            known.insert(stream.profile.clone(), found);
        }
        all.extend(known.get(&stream.profile).cloned());
    }
    Ok(all)
}

impl<P: FnMut(&Progress)> Run<'_, P> {
    /// Adds up what the threads tell until each has told everything.
    async fn watch(&mut self, threads: &mut Threads, stop: CancellationToken) -> Result<(), RunError> {
        let mut working = threads.handles.len();
        while working > 0 {
            let next = self.next_look();
            tokio::select! {
                report = threads.reports.recv() => match report {
                    Some(Report::Batch(batch)) => self.add(&batch)?,
                    Some(Report::Done) => working -= 1,
                    Some(Report::Ready { .. }) => {}
                    None => return Err(threads.failure()),
                },
                () = tokio::time::sleep(next.since(clock::now())) => self.look(clock::now()),
                () = stop.cancelled(), if !threads.stop.is_cancelled() => {
                    threads.stop.cancel();
                    self.end = self.end.min(clock::now());
                    self.look(clock::now());
                }
            }
        }
        // All CPU until the end, even if the threads were quicker than the clock here.
        self.look(clock::now().max(self.end));
        self.show(u64::MAX);
        Ok(())
    }

    /// When a second ends, or is shown.
    fn next_look(&self) -> Timestamp {
        let show = self.measured + Duration::from_secs(self.shown + 1) + SHOWN_AFTER;
        match self.usage.next_look(self.measured, self.end) {
            Some(look) => look.min(show),
            None => show,
        }
    }

    fn look(&mut self, now: Timestamp) {
        self.usage.look(now, self.measured, self.end);
        let since = now.since(self.measured + SHOWN_AFTER);
        self.show(since.as_secs());
        self.tally.pack(now.since(self.measured).as_secs());
    }

    /// Shows the seconds that have passed up to `until`.
    fn show(&mut self, until: u64) {
        let lasted = self.end.since(self.measured);
        let of = lasted.as_secs() + u64::from(lasted.subsec_nanos() > 0);
        while self.shown < until.min(of) {
            let mut streams = self.tally.rows(self.shown);
            let own_cpu = self.usage.busiest(self.shown);
            for row in &mut streams {
                row.own_cpu = own_cpu;
            }
            self.shown += 1;
            let in_flight = self.last.iter().map(|(in_flight, _)| in_flight).sum();
            let waiting = self.last.iter().map(|(_, waiting)| waiting).sum();
            let of = of.max(self.spec.duration.as_secs());
            (self.progress)(&Progress { second: self.shown, of, streams, in_flight, waiting });
        }
    }

    fn add(&mut self, batch: &Batch) -> Result<(), RunError> {
        self.tally.add(batch, clock::now().since(self.measured).as_secs());
        self.last[batch.part] = (batch.in_flight, batch.waiting);
        if let Some(trace) = &mut self.trace {
            trace.add(batch, self.spec)?;
        }
        Ok(())
    }

    fn result(self, threads: Threads, began_unix_ms: u64) -> Result<RunResult, RunError> {
        let Self { spec, tally, usage, trace, measured, end, .. } = self;
        threads.join()?;
        let traced = trace.is_some();
        trace.map_or(Ok(()), Trace::finish)?;
        let attempts = tally.attempts();
        let (not_sent, held_back, unanswered) = (tally.not_sent(), tally.held_back(), tally.unanswered());
        let mut conduct = Conduct {
            offered: tally.offered(),
            sent: tally.sent(),
            late_sends: tally.late_sends(),
            late_after: spec.late_after,
            stolen: usage.stolen(),
            not_sent,
            held_back,
            unanswered,
            connections: spec.connections,
            places: match spec.protocol {
                Protocol::Http1 => spec.connections,
                Protocol::Http2 => spec.connections * MOST_STREAMS,
            },
            lasted: end.since(measured).min(spec.duration),
            service_us: (0, 0),
            attempts,
            threads: usage.shares(),
            own_cpu_us: usage.own_cpu_us(),
        };
        let busiest: Vec<f64> = (0..usage.seconds()).map(|second| usage.busiest(second)).collect();
        let tallied = tally.finish(spec, &busiest);
        conduct.service_us = (tallied.total.service.min_us, tallied.total.service.p50_us);
        let lasted = conduct.lasted;
        let mut warnings: Vec<_> = spec.streams.iter().flat_map(cost_warnings).collect();
        warnings.extend(validity::warnings(&conduct));
        if traced && not_sent > 0 {
            warnings.push(format!(
                "the trace leaves out {not_sent} requests that were due and never sent: a replay offers that much less"
            ));
        }
        Ok(RunResult {
            schema: SCHEMA.to_owned(),
            weir: env!("CARGO_PKG_VERSION").to_owned(),
            spec: spec.clone(),
            began_unix_ms,
            lasted_us: u64::try_from(lasted.as_micros()).unwrap_or(u64::MAX),
            validity: judge(&conduct),
            warnings,
            total: tallied.total,
            streams: tallied.streams,
            processes: usage.processes(attempts),
            operators: None,
        })
    }
}

impl Trace {
    fn begin(path: PathBuf, spec: &RunSpec) -> Result<Self, RunError> {
        let begun = File::create(&path).and_then(|file| TraceWriter::begin(BufWriter::new(file), spec));
        match begun {
            Ok(writer) => Ok(Self { path, writer }),
            Err(source) => Err(RunError::Trace { path, source }),
        }
    }

    fn add(&mut self, batch: &Batch, spec: &RunSpec) -> Result<(), RunError> {
        for ended in &batch.ended {
            let Some(operation) = ended.operation else { continue };
            let at = Duration::from_micros(ended.due_us);
            self.writer
                .record(at, &spec.streams[ended.stream].name, operation)
                .map_err(|source| RunError::Trace { path: self.path.clone(), source })?;
        }
        Ok(())
    }

    fn finish(self) -> Result<(), RunError> {
        let path = self.path;
        self.writer.finish().map_err(|source| RunError::Trace { path, source })
    }
}
