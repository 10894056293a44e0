//! A thread that sends: one runtime, some connections, and one desk that decides.
//!
//! In an open loop, a pacing task wakes for each due time by a precise timer, and so does whoever has just got an
//! answer: at high rates most requests are handed out without waking for them. Lanes take them in turn.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use units::Timestamp;

use super::clock;
use super::desk::{Came, Desk, Next};
use super::due_times::{DueTimes, Recorded};
use super::exchange::Connection;
use super::fault::Fault;
use super::line::{Deadline, Line, Shared};
use super::link::Dialer;
use super::request::{Due, Job, Request};
use super::sample::Batch;
use super::timer::Timer;
use crate::outcome::Outcome;
use crate::signer::Signer;
use crate::spec::{Pacing, Protocol, RunSpec};

/// Requests in flight at once on one HTTP/2 connection, if the server takes as many.
pub(super) const MOST_STREAMS: usize = 32;
/// What was due before the end has so long to be sent.
const DRAIN_WITHIN: Duration = Duration::from_secs(5);
/// How often the end looks whether everything is answered.
const DRAIN_STEP: Duration = Duration::from_millis(2);
/// How often a thread tells what it has measured.
const TELL_EVERY: Duration = Duration::from_millis(100);
/// How often what is due is handed out while no lane is free: at many times what the connections carry, to wake for
/// each would take more CPU than to send.
const BUSY_STEP: Duration = Duration::from_micros(500);
/// How often a lane looks whether the server takes more requests at once.
const LIMIT_EVERY: Duration = Duration::from_millis(100);
/// How often a lane of a closed loop looks whether a stream has begun.
const IDLE_STEP: Duration = Duration::from_millis(5);
/// Connections are opened ahead of the run; whatever takes longer is opened during it.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// What a thread is told before it begins.
#[derive(Debug)]
pub(super) struct Orders {
    pub(super) spec: Arc<RunSpec>,
    pub(super) recorded: Option<Arc<Recorded>>,
    /// This thread's number, and how many there are.
    pub(super) part: usize,
    pub(super) of: usize,
    pub(super) dialers: Vec<Dialer>,
    /// Of each stream, by endpoint.
    pub(super) signers: Vec<Vec<Signer>>,
    pub(super) reports: mpsc::Sender<Report>,
    /// When the warm-up begins, and the measured part.
    pub(super) begin: oneshot::Receiver<(Timestamp, Timestamp)>,
    /// Ends the run early.
    pub(super) stop: CancellationToken,
    /// Lets the thread go after its last report; until then its CPU can be read.
    pub(super) leave: CancellationToken,
}

/// What a thread tells.
#[derive(Debug)]
pub(super) enum Report {
    /// Its connections are open.
    Ready {
        /// The directory of the thread's accounts.
        accounts: PathBuf,
        /// Lanes with a connection.
        connected: usize,
        /// Why the last of the others has none.
        fault: Option<String>,
    },
    /// What it measured since the last.
    Batch(Box<Batch>),
    /// Everything is told.
    Done,
}

/// What the tasks of one thread share.
struct Hall {
    spec: Arc<RunSpec>,
    desk: RefCell<Desk>,
    signers: RefCell<Vec<Vec<Signer>>>,
    timer: Timer,
    armed: Cell<Option<Timestamp>>,
    /// When the measured part begins; none before the run does.
    measured: Cell<Option<Timestamp>>,
    ended: Cell<bool>,
    /// Whoever still pauses then is given up.
    abandoned: CancellationToken,
    /// Lanes that have tried to connect, and those that have.
    tried: Cell<usize>,
    connected: Cell<usize>,
    fault: RefCell<Option<String>>,
}

/// One lane's place.
struct Lane {
    number: usize,
    endpoint: usize,
    line: Line,
    deadline: Deadline,
}

/// Runs the thread to its end.
///
/// # Errors
/// When the kernel gives no runtime or timer.
pub(super) fn send(orders: Orders) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(tokio::runtime::LocalOptions::default())?;
    runtime.block_on(run(orders))
}

async fn run(orders: Orders) -> std::io::Result<()> {
    let Orders { spec, recorded, part, of, dialers, signers, reports, begin, stop, leave } = orders;
    let due = match spec.pacing {
        Pacing::Open => DueTimes::new(&spec, recorded.as_deref(), part, of),
        Pacing::Closed => DueTimes::none(),
    };
    let dialers: Vec<_> = dialers.into_iter().map(Rc::new).collect();
    let lines = lines(&spec, &dialers, part, of);
    let lanes = lines.len();
    let hall = Rc::new(Hall {
        desk: RefCell::new(Desk::new(&spec, due, lanes, part, of)),
        signers: RefCell::new(signers),
        timer: Timer::new()?,
        armed: Cell::new(None),
        measured: Cell::new(None),
        ended: Cell::new(false),
        abandoned: CancellationToken::new(),
        tried: Cell::new(0),
        connected: Cell::new(0),
        fault: RefCell::new(None),
        spec,
    });
    for (number, (endpoint, line)) in lines.into_iter().enumerate() {
        let deadline = Deadline::new(hall.spec.attempt_timeout, clock::now());
        let lane = Lane { number, endpoint, line, deadline };
        // Lanes end with the runtime, which ends when every request has.
        tokio::task::spawn_local(match hall.spec.pacing {
            Pacing::Open => futures(open_lane(Rc::clone(&hall), lane)),
            Pacing::Closed => futures(closed_lane(Rc::clone(&hall), lane)),
        });
    }
    hall.wait_until_connected(lanes).await;
    let accounts = std::fs::read_link("/proc/thread-self")?;
    let fault = hall.fault.borrow_mut().take();
    let ready = Report::Ready {
        accounts: PathBuf::from("/proc").join(accounts),
        connected: hall.connected.get(),
        fault,
    };
    if reports.send(ready).await.is_err() {
        return Ok(());
    }
    let Ok((start, measured)) = begin.await else { return Ok(()) };
    hall.desk.borrow_mut().begin(start, measured);
    hall.measured.set(Some(measured));
    tokio::task::spawn_local(tell(Rc::clone(&hall), reports.clone()));
    match hall.spec.pacing {
        Pacing::Open => hall.pace(&stop).await,
        Pacing::Closed => hall.wait_for_the_end(measured, &stop).await,
    }
    hall.drain().await;
    let last = hall.desk.borrow_mut().take_batch();
    // Whoever no longer listens has no use for it.
    _ = reports.send(Report::Batch(Box::new(last))).await;
    _ = reports.send(Report::Done).await;
    leave.cancelled().await;
    Ok(())
}

/// The lanes of a part, each with the number of its endpoint: of all connections the part has each `of`-th.
fn lines(spec: &RunSpec, dialers: &[Rc<Dialer>], part: usize, of: usize) -> Vec<(usize, Line)> {
    let mut lines = Vec::new();
    for connection in (part..spec.connections).step_by(of) {
        let endpoint = connection % dialers.len();
        let dialer = &dialers[endpoint];
        match spec.protocol {
            Protocol::Http1 => lines.push((endpoint, Line::new(Rc::clone(dialer), None, 0))),
            Protocol::Http2 => {
                let shared = Rc::new(Shared::default());
                lines.extend(
                    (0..MOST_STREAMS).map(|place| {
                        (endpoint, Line::new(Rc::clone(dialer), Some(Rc::clone(&shared)), place))
                    }),
                );
            }
        }
    }
    lines
}

/// One type for both kinds of lanes.
fn futures(lane: impl Future<Output = ()> + 'static) -> std::pin::Pin<Box<dyn Future<Output = ()>>> {
    Box::pin(lane)
}

/// Takes what is due, one after the other.
async fn open_lane(hall: Rc<Hall>, mut lane: Lane) {
    let mut tried = false;
    loop {
        if !lane.line.is_open().await {
            let opened = lane.line.open().await;
            let failed = opened.is_err();
            hall.take_word(&lane, opened);
            if !std::mem::replace(&mut tried, true) {
                hall.tried.set(hall.tried.get() + 1);
            }
            if failed {
                tokio::time::sleep(lane.line.pause()).await;
                continue;
            }
        }
        if lane.line.is_beyond_limit() {
            tokio::time::sleep(LIMIT_EVERY).await;
            continue;
        }
        let job = poll_fn(|cx| hall.desk.borrow_mut().exchange.poll_next(lane.number, cx)).await;
        hall.serve(job, &mut lane).await;
    }
}

/// Sends one request after the other, of the streams in turn.
async fn closed_lane(hall: Rc<Hall>, mut lane: Lane) {
    let opened = lane.line.open().await;
    hall.take_word(&lane, opened);
    hall.tried.set(hall.tried.get() + 1);
    let mut turn = lane.number;
    while !hall.ended.get() {
        if lane.line.is_beyond_limit() {
            tokio::time::sleep(LIMIT_EVERY).await;
            continue;
        }
        let now = clock::now();
        let Some(stream) = hall.stream_at(now, turn) else {
            tokio::time::sleep(IDLE_STEP).await;
            continue;
        };
        turn = stream + 1;
        let due = Due { stream, at: now, punctual: false };
        hall.desk.borrow_mut().open(due);
        hall.serve(Job::First(due), &mut lane).await;
        if !lane.line.is_open().await && lane.line.open().await.is_err() {
            tokio::time::sleep(lane.line.pause()).await;
        }
    }
}

/// Tells from time to time what was measured.
async fn tell(hall: Rc<Hall>, reports: mpsc::Sender<Report>) {
    loop {
        tokio::time::sleep(TELL_EVERY).await;
        // A listener that is behind gets more at once later.
        if let Ok(place) = reports.try_reserve() {
            place.send(Report::Batch(Box::new(hall.desk.borrow_mut().take_batch())));
        }
    }
}

impl Hall {
    /// Waits until each lane has tried to connect.
    async fn wait_until_connected(&self, lanes: usize) {
        let all = async {
            while self.tried.get() < lanes {
                tokio::time::sleep(DRAIN_STEP).await;
            }
        };
        _ = tokio::time::timeout(CONNECT_WITHIN, all).await;
    }

    /// Hands out requests when they are due, until the last is or the run is stopped.
    async fn pace(&self, stop: &CancellationToken) {
        let stopped = stop.cancelled();
        tokio::pin!(stopped);
        loop {
            let now = clock::now();
            let next = {
                let mut desk = self.desk.borrow_mut();
                desk.release(now);
                if !desk.has_due() {
                    return;
                }
                // While no lane is free nobody is kept from sending; whoever gets an answer hands out what is due.
                let soonest = if desk.exchange.has_idle() { now } else { now + BUSY_STEP };
                desk.next_wake().map(|next| next.max(soonest))
            };
            self.armed.set(None);
            if let Some(next) = next {
                self.arm(next, clock::now());
            }
            tokio::select! {
                biased;
                () = &mut stopped => {
                    self.desk.borrow_mut().stop();
                    return;
                }
                () = self.timer.expired() => {}
            }
        }
    }

    async fn wait_for_the_end(&self, measured: Timestamp, stop: &CancellationToken) {
        let left = (measured + self.spec.duration).since(clock::now());
        tokio::select! {
            () = tokio::time::sleep(left) => {}
            () = stop.cancelled() => {}
        }
    }

    /// Waits until every request has ended, and sees to it that each does.
    async fn drain(&self) {
        self.ended.set(true);
        let until = clock::now() + DRAIN_WITHIN;
        loop {
            let now = clock::now();
            {
                let mut desk = self.desk.borrow_mut();
                if now >= until {
                    self.abandoned.cancel();
                    desk.abandon(now);
                }
                desk.release(now);
                if !desk.has_open() {
                    return;
                }
            }
            tokio::time::sleep(DRAIN_STEP).await;
        }
    }

    /// Makes the pacing task wake at `at`, if it would not before.
    fn arm(&self, at: Timestamp, now: Timestamp) {
        if self.armed.get().is_none_or(|armed| at < armed) {
            self.timer.set(at.since(now));
            self.armed.set(Some(at));
        }
    }

    /// Sees a request through: its attempts, their pauses, and what follows it.
    async fn serve(&self, job: Job, lane: &mut Lane) {
        let mut request = self.desk.borrow_mut().plan(job);
        loop {
            let now = clock::now();
            let hold = self.desk.borrow_mut().hold(&mut request, now);
            if !hold.is_zero() && self.spec.pacing == Pacing::Open {
                let until = self.desk.borrow_mut().hold_back(request, hold, now);
                return self.arm(until, now);
            }
            let next =
                if hold.is_zero() { self.attempt(request, lane).await } else { Next::After(hold, request) };
            request = match next {
                Next::Done => return,
                Next::After(Duration::ZERO, request) => request,
                Next::After(pause, request) if self.spec.pacing == Pacing::Closed => {
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = self.abandoned.cancelled() => {
                            return self.desk.borrow_mut().give_up(Job::Again(request), clock::now());
                        }
                    }
                    request
                }
                // Others may use the connection meanwhile.
                Next::After(pause, request) => {
                    let now = clock::now();
                    self.desk.borrow_mut().postpone(request, now + pause, now);
                    return self.arm(now + pause, now);
                }
            };
        }
    }

    async fn attempt(&self, mut request: Box<Request>, lane: &mut Lane) -> Next {
        if !lane.line.is_open().await {
            // The server had hung up: to connect again is no lateness of ours.
            request.due.punctual = false;
            let opened = lane.line.open().await;
            self.take_word(lane, opened);
        }
        let Some(link) = lane.line.link() else {
            let mut desk = self.desk.borrow_mut();
            let answer = Err((Outcome::Broken, desk.unreachable));
            return desk.conclude(request, Came { sent: None, at: clock::now(), answer });
        };
        {
            let signer = &mut self.signers.borrow_mut()[request.due.stream][lane.endpoint];
            let planned = &request.planned;
            let signed = signer.sign_at(planned.target, &planned.body, clock::unix_seconds());
            link.prepare(planned.target, &signed, &planned.body);
        }
        self.desk.borrow_mut().in_flight += 1;
        let sent = clock::now();
        lane.deadline.begin(sent);
        let exchanged = tokio::select! {
            biased;
            // First, and without a budget: a server that never stops sending is timed out, too.
            () = tokio::task::coop::unconstrained(lane.deadline.passed()) => Err(Fault::TimedOut),
            exchanged = link.exchange() => exchanged,
        };
        let at = clock::now();
        let mut desk = self.desk.borrow_mut();
        desk.in_flight -= 1;
        let answer = match &exchanged {
            Ok(status) => Ok((*status, link.body())),
            Err(fault @ Fault::TimedOut) => Err((Outcome::TimedOut, fault.name())),
            Err(fault) => Err((Outcome::Broken, fault.name())),
        };
        let next = desk.conclude(request, Came { sent: Some(sent), at, answer });
        // What has become due meanwhile need not wait for the timer.
        desk.release(at);
        if desk.exchange.waiting() == 0
            && self.spec.pacing == Pacing::Open
            && let Some(next) = desk.next_wake()
        {
            // This lane will be free: the pacing task, if it took its time, must be punctual again.
            self.arm(next, at);
        }
        drop(desk);
        if exchanged.is_err() {
            lane.line.failed();
        }
        next
    }

    /// Takes what came of a lane's try to connect.
    fn take_word(&self, lane: &Lane, opened: Result<(), Fault>) {
        let mut desk = self.desk.borrow_mut();
        match opened {
            Ok(()) => {
                desk.exchange.set_connection(lane.number, Connection::Hopeful);
                if self.measured.get().is_none() {
                    self.connected.set(self.connected.get() + 1);
                }
            }
            Err(fault) => {
                desk.unreachable = fault.name();
                desk.exchange.set_connection(lane.number, Connection::Failed);
                desk.fail_unreachable(clock::now());
                *self.fault.borrow_mut() = Some(super::client::with_cause(&fault));
            }
        }
    }

    /// The stream that a closed loop sends next: the first at or after `turn` that has begun and not ended.
    fn stream_at(&self, now: Timestamp, turn: usize) -> Option<usize> {
        let since = now.since(self.measured.get()?);
        let count = self.spec.streams.len();
        (turn..turn + count).map(|number| number % count).find(|number| {
            let stream = &self.spec.streams[*number];
            stream.from <= since && stream.to.is_none_or(|to| since < to)
        })
    }
}
