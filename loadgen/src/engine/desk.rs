//! What one sending thread knows and decides: which requests are due, what they ask, what their answers mean, and
//! what is told of them. It reads no clock and sends nothing.

use std::borrow::Cow;
use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use units::Timestamp;

use super::answer::{classify, reported_units};
use super::due_times::DueTimes;
use super::exchange::{Exchange, MOST_WAITING, Offered};
use super::request::{Due, Job, Request};
use super::sample::{Attempt, Batch, Ended};
use super::sums::add_units;
use crate::outcome::Outcome;
use crate::result::Units;
use crate::retry::Retrier;
use crate::spec::RunSpec;
use crate::workload::RequestSource;

/// The first of those that the retry model holds back asks so often at least whether it may go: the rate may have
/// risen since it was told how long to wait.
const LONGEST_HOLD: Duration = Duration::from_millis(50);
/// Keeps the retries' random numbers apart from the arrivals'.
const OF_RETRIES: u64 = 0x5245_5452;
/// The error of a request for which there is no connection, nor a reason why.
const NO_CONNECTION: &str = "NoConnection";

/// One thread's requests.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) exchange: Exchange<Job>,
    batch: Batch,
    due: DueTimes,
    again: BinaryHeap<Reverse<Later>>,
    /// By stream, what its retry model holds back, in order.
    held: Vec<Held>,
    sources: Vec<RequestSource>,
    retriers: Vec<Retrier>,
    rng: ChaCha8Rng,
    /// When the run's warm-up begins, and its measured part.
    start: Timestamp,
    measured: Timestamp,
    return_capacity: bool,
    /// Sent so long after it was due though a connection was free, a request is late.
    late_after: Duration,
    part: usize,
    /// Requests between due and ended.
    open: u64,
    /// Attempts without an answer as yet.
    pub(super) in_flight: u64,
    /// Whether failed requests are still tried again.
    retrying: bool,
    /// Why the last connection could not be made.
    pub(super) unreachable: &'static str,
    later: u64,
}

/// Requests that a retry model holds back.
#[derive(Debug, Default)]
struct Held {
    requests: VecDeque<Box<Request>>,
    /// When the first asks again.
    until: Timestamp,
}

/// A request that waits for its next attempt.
#[derive(Debug)]
struct Later {
    at: Timestamp,
    /// In their order, if at the same time.
    number: u64,
    request: Box<Request>,
}

/// What came of an attempt.
#[derive(Debug, Clone, Copy)]
pub(super) struct Came<'a> {
    /// When it was sent; none: it was not.
    pub(super) sent: Option<Timestamp>,
    /// When its answer was complete, or it failed.
    pub(super) at: Timestamp,
    /// The answer's status and body, or the failure with its name.
    pub(super) answer: Result<(u16, &'a [u8]), (Outcome, &'static str)>,
}

/// What is next with a request.
#[derive(Debug)]
pub(super) enum Next {
    /// It has ended.
    Done,
    /// Another attempt, after a pause.
    After(Duration, Box<Request>),
}

impl Desk {
    pub(super) fn new(spec: &RunSpec, due: DueTimes, lanes: usize, part: usize, of: usize) -> Self {
        let source = |stream| RequestSource::new(stream, spec.return_capacity, spec.seed, part, of);
        Self {
            exchange: Exchange::new(lanes),
            batch: Batch::default(),
            due,
            again: BinaryHeap::new(),
            held: spec.streams.iter().map(|_| Held::default()).collect(),
            sources: spec.streams.iter().map(source).collect(),
            retriers: spec.streams.iter().map(|_| Retrier::new(&spec.retry)).collect(),
            rng: ChaCha8Rng::seed_from_u64(spec.seed.wrapping_add(part as u64) ^ OF_RETRIES),
            start: Timestamp::default(),
            measured: Timestamp::default(),
            return_capacity: spec.return_capacity,
            late_after: spec.late_after,
            part,
            open: 0,
            in_flight: 0,
            retrying: true,
            unreachable: NO_CONNECTION,
            later: 0,
        }
    }

    /// Says when the warm-up begins, and the measured part.
    pub(super) const fn begin(&mut self, start: Timestamp, measured: Timestamp) {
        self.start = start;
        self.measured = measured;
    }

    /// When something is to be done next.
    pub(super) fn next_wake(&self) -> Option<Timestamp> {
        let due = self.due.peek().map(|at| self.start + at);
        let again = self.again.peek().map(|Reverse(later)| later.at);
        let held = self.held.iter().filter(|held| !held.requests.is_empty()).map(|held| held.until);
        held.chain(due).chain(again).min()
    }

    /// Whether requests will become due.
    pub(super) fn has_due(&self) -> bool {
        self.due.peek().is_some()
    }

    /// Whether requests are between due and ended.
    pub(super) const fn has_open(&self) -> bool {
        self.open > 0
    }

    /// Hands out what is due.
    pub(super) fn release(&mut self, now: Timestamp) {
        let since = now.since(self.start);
        while let Some((at, stream)) = self.due.pop_until(since) {
            let punctual = self.exchange.has_idle();
            let due = Due { stream, at: self.start + at, punctual };
            self.open(due);
            self.offer(Job::First(due), now);
        }
        while self.again.peek().is_some_and(|Reverse(later)| later.at <= now) {
            let Some(Reverse(later)) = self.again.pop() else { break };
            self.offer(Job::Again(later.request), now);
        }
        for stream in 0..self.held.len() {
            self.release_held(stream, now);
        }
    }

    /// Lets go what the stream's retry model holds back no longer.
    fn release_held(&mut self, stream: usize, now: Timestamp) {
        while !self.held[stream].requests.is_empty() && self.held[stream].until <= now {
            let hold = self.retriers[stream].before_send(now);
            if !hold.is_zero() {
                self.held[stream].until = now + hold.min(LONGEST_HOLD);
                return;
            }
            if let Some(mut request) = self.held[stream].requests.pop_front() {
                request.held = true;
                self.offer(Job::Again(request), now);
            }
        }
    }

    /// Counts a request that is due; its first attempt is made by [`Self::plan`].
    pub(super) fn open(&mut self, due: Due) {
        self.open += 1;
        if due.at >= self.measured {
            self.batch.add_due(due.stream, due.at.since(self.measured).as_secs());
        }
    }

    /// Makes a request of what is due.
    pub(super) fn plan(&mut self, job: Job) -> Box<Request> {
        match job {
            Job::Again(request) => request,
            Job::First(due) => {
                let planned = self.sources[due.stream].next(due.at.since(self.measured));
                Box::new(Request::new(due, planned))
            }
        }
    }

    /// How long the retry model holds an attempt back; then it is to be asked again. Zero: it goes now.
    pub(super) fn hold(&mut self, request: &mut Request, now: Timestamp) -> Duration {
        if request.held {
            return Duration::ZERO;
        }
        let held = &self.held[request.due.stream];
        // Nobody overtakes those that are held already.
        let hold = if held.requests.is_empty() {
            self.retriers[request.due.stream].before_send(now).min(LONGEST_HOLD)
        } else {
            held.until.since(now).max(Duration::from_micros(1))
        };
        request.held = hold.is_zero();
        // The client it stands for is to send later: that is no lateness of ours.
        request.due.punctual &= hold.is_zero();
        hold
    }

    /// Keeps a request until the retry model lets it go; says when it asks again.
    pub(super) fn hold_back(&mut self, request: Box<Request>, hold: Duration, now: Timestamp) -> Timestamp {
        let stream = request.due.stream;
        if self.kept() >= MOST_WAITING {
            self.give_up(Job::Again(request), now);
        } else {
            let held = &mut self.held[stream];
            if held.requests.is_empty() {
                held.until = now + hold;
            }
            held.requests.push_back(request);
        }
        self.held[stream].until
    }

    /// Requests that are kept for later.
    fn kept(&self) -> usize {
        self.again.len() + self.held.iter().map(|held| held.requests.len()).sum::<usize>()
    }

    /// Keeps a request for later.
    pub(super) fn postpone(&mut self, request: Box<Request>, at: Timestamp, now: Timestamp) {
        if self.kept() >= MOST_WAITING {
            return self.give_up(Job::Again(request), now);
        }
        self.later += 1;
        self.again.push(Reverse(Later { at, number: self.later, request }));
    }

    /// Takes what came of an attempt, and tells of it.
    pub(super) fn conclude(&mut self, mut request: Box<Request>, came: Came<'_>) -> Next {
        if request.first_sent.is_none() {
            request.first_sent = came.sent;
        }
        let (outcome, error, received, body) = match came.answer {
            Ok((status, body)) => {
                let (outcome, error) = classify(status, body);
                (outcome, error, body.len(), body)
            }
            Err((outcome, name)) => (outcome, Some(Cow::Borrowed(name)), 0, &[][..]),
        };
        let answered = came.answer.is_ok();
        self.tell_attempt(&request, came, answered, received, error);
        if answered && self.return_capacity {
            add_units(&mut request.reported, reported_units(request.operation, request.follow_up, body));
        }
        let stream = request.due.stream;
        if outcome.is_success() {
            add_units(&mut request.units, request.planned.units.units(body));
        }
        if outcome == Outcome::Ok {
            self.retriers[stream].after_success(request.last_failure, came.at);
            if let Some(planned) = self.sources[stream].follow_up(&request.planned, body) {
                request.follow(planned);
                return Next::After(Duration::ZERO, request);
            }
        } else {
            let again = self.retriers[stream].after_failure(request.attempt, outcome, came.at, &mut self.rng);
            if let Some(pause) = again.filter(|_| self.retrying) {
                request.try_again(outcome);
                return Next::After(pause, request);
            }
        }
        self.end(&request, outcome, came.at);
        Next::Done
    }

    /// What there is to tell since this was last asked.
    pub(super) fn take_batch(&mut self) -> Batch {
        let batch = std::mem::take(&mut self.batch);
        let waiting = self.exchange.waiting() as u64;
        Batch { part: self.part, in_flight: self.in_flight, waiting, ..batch }
    }

    /// Stops making requests due.
    pub(super) fn stop(&mut self) {
        self.due.stop();
    }

    /// Ends what has waited for too long: the time for what was due before the end is over.
    pub(super) fn abandon(&mut self, now: Timestamp) {
        self.retrying = false;
        for job in self.exchange.take_waiting() {
            self.give_up(job, now);
        }
        for Reverse(later) in std::mem::take(&mut self.again) {
            self.give_up(Job::Again(later.request), now);
        }
        for request in
            self.held.iter_mut().flat_map(|held| std::mem::take(&mut held.requests)).collect::<Vec<_>>()
        {
            self.give_up(Job::Again(request), now);
        }
    }

    /// Takes a lane's word that it cannot connect; whatever waits for lanes that all cannot fails.
    pub(super) fn fail_unreachable(&mut self, now: Timestamp) {
        if self.exchange.is_unreachable() {
            for job in self.exchange.take_waiting() {
                self.fail(job, now);
            }
        }
    }

    fn offer(&mut self, job: Job, now: Timestamp) {
        match self.exchange.offer(job) {
            Offered::Assigned | Offered::Waits => {}
            Offered::Full(job) => self.give_up(job, now),
            Offered::Unreachable(job) => self.fail(job, now),
        }
    }

    /// An attempt without a connection to send it on.
    fn fail(&mut self, job: Job, now: Timestamp) {
        let request = self.plan(job);
        let came = Came { sent: None, at: now, answer: Err((Outcome::Broken, self.unreachable)) };
        if let Next::After(pause, request) = self.conclude(request, came) {
            self.postpone(request, now + pause, now);
        }
    }

    /// Ends a request that will not be sent, or not once more.
    pub(super) fn give_up(&mut self, job: Job, now: Timestamp) {
        match job {
            Job::First(due) => {
                let operation = None;
                self.tell_end(due, operation, Outcome::NotSent, now, None, [Units::default(); 2]);
            }
            Job::Again(request) => {
                // Without a failure, a read-modify-write was read and not written: the time for it is over.
                let unfinished =
                    if request.first_sent.is_some() { Outcome::TimedOut } else { Outcome::NotSent };
                self.end(&request, request.last_failure.unwrap_or(unfinished), now);
            }
        }
    }

    fn end(&mut self, request: &Request, outcome: Outcome, now: Timestamp) {
        let units = [request.units, request.reported];
        self.tell_end(request.due, Some(request.operation), outcome, now, request.first_sent, units);
    }

    fn tell_attempt(
        &mut self,
        request: &Request,
        came: Came<'_>,
        answered: bool,
        bytes_received: usize,
        error: Option<Cow<'static, str>>,
    ) {
        if request.due.at < self.measured {
            return;
        }
        let service = came.sent.filter(|_| answered).map(|sent| micros(came.at.since(sent)));
        self.batch.attempts.push(Attempt {
            stream: request.due.stream,
            operation: request.operation,
            second: request.due.at.since(self.measured).as_secs(),
            service_us: service,
            bytes_sent: if came.sent.is_some() { request.planned.body.len() } else { 0 },
            bytes_received,
            error,
        });
    }

    fn tell_end(
        &mut self,
        due: Due,
        operation: Option<crate::workload::Operation>,
        outcome: Outcome,
        now: Timestamp,
        first_sent: Option<Timestamp>,
        [units, reported]: [Units; 2],
    ) {
        self.open = self.open.checked_sub(1).expect("a request ends once");
        if due.at < self.measured {
            return;
        }
        let delay = first_sent.map(|sent| sent.since(due.at));
        self.batch.ended.push(Ended {
            stream: due.stream,
            operation,
            due_us: micros(due.at.since(self.measured)),
            outcome,
            latency_us: micros(now.since(due.at)),
            send_delay_us: delay.map(micros),
            late: due.punctual && delay.is_some_and(|delay| delay > self.late_after),
            units,
            reported,
        });
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl Later {
    const fn order(&self) -> (Timestamp, u64) {
        (self.at, self.number)
    }
}

impl PartialEq for Later {
    fn eq(&self, other: &Self) -> bool {
        self.order() == other.order()
    }
}

impl Eq for Later {}

impl PartialOrd for Later {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Later {
    fn cmp(&self, other: &Self) -> Ordering {
        self.order().cmp(&other.order())
    }
}
