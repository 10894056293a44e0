//! One client's stream at the server: the requests that wait for answers, and the answers that wait
//! to be sent.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use prost::Message as _;
use units::Timestamp;

use super::frame::{MAX_PAYLOAD_BYTES, Outbox, ServerLimits};
use super::frame_age::FrameAge;
use super::metrics::TransportMetrics;
use super::{Failure, Incoming, Service};
use crate::clock;
use crate::method::Method;
use crate::proto::transport::{Frame, Kind, Message};

/// What the stream's task and its responders share.
#[derive(Debug)]
pub(super) struct ServerStream {
    state: Mutex<State>,
    limits: ServerLimits,
    metrics: TransportMetrics,
}

#[derive(Debug)]
struct State {
    outbox: Outbox,
    /// Requests without an answer, and whether the caller has given up. Never iterated.
    unanswered: HashMap<u64, Cancelled, foldhash::fast::RandomState>,
    /// The stream's task, while it waits.
    task: Option<Waker>,
    /// It reads no further until there is room.
    reader_waits: bool,
    /// The server stops: nothing new is started.
    stopping: bool,
    /// The client has finished its side.
    finished: bool,
    /// The client is gone, or has waited long enough.
    ended: bool,
}

/// What the stream's task does next.
#[derive(Debug)]
pub(super) enum Next {
    /// Send this.
    Frame(Frame),
    /// Wait: it is woken.
    Nothing,
    /// End the stream: all has gone.
    End,
    /// End it at once.
    Cut,
}

type Cancelled = bool;

impl ServerStream {
    pub(super) fn new(limits: ServerLimits, metrics: TransportMetrics) -> Arc<Self> {
        let state = State {
            outbox: Outbox::default(),
            unanswered: HashMap::with_hasher(foldhash::fast::RandomState::default()),
            task: None,
            reader_waits: false,
            stopping: false,
            finished: false,
            ended: false,
        };
        Arc::new(Self { state: Mutex::new(state), limits, metrics })
    }

    fn has_room(&self, state: &State) -> bool {
        state.unanswered.len() < self.limits.outstanding && state.outbox.bytes() < self.limits.queued_bytes
    }

    /// Everything that is queued, or what to do instead.
    pub(super) fn next(&self, context: &Context<'_>) -> Next {
        let mut state = self.state.lock();
        if state.ended {
            return Next::Cut;
        }
        if let Some(frame) = state.outbox.next_frame(|_| true) {
            drop(state);
            self.metrics.frames_sent.increment(1);
            self.metrics.messages_sent.increment(frame.messages.len() as u64);
            return Next::Frame(frame);
        }
        // The client has finished its side, as asked: nothing new can come.
        if state.finished && state.unanswered.is_empty() {
            return Next::End;
        }
        state.task = Some(context.waker().clone());
        Next::Nothing
    }

    /// Resolves when the stream is to end at once: for a task that waits for its socket.
    pub(super) fn poll_cut(&self, context: &Context<'_>) -> Poll<()> {
        let mut state = self.state.lock();
        if state.ended {
            return Poll::Ready(());
        }
        state.task = Some(context.waker().clone());
        Poll::Pending
    }

    /// The client has finished its side: as asked when the server stops; otherwise it is gone.
    pub(super) fn client_finished(&self) {
        let mut state = self.state.lock();
        state.finished = true;
        if !state.stopping {
            drop(state);
            self.end();
        }
    }

    /// The server stops: the client is asked to finish its side.
    pub(super) fn stop(&self) {
        let mut state = self.state.lock();
        if !state.ended && !std::mem::replace(&mut state.stopping, true) {
            state.outbox.push(Message { kind: Kind::Leaving.into(), ..Message::default() });
            wake(state.task.take());
        }
    }

    fn answer(&self, id: u64, status: u32, payload: Bytes) {
        let mut state = self.state.lock();
        // Absent: the stream has ended.
        let Some(cancelled) = state.unanswered.remove(&id) else { return };
        let mut is_news = std::mem::take(&mut state.reader_waits) || state.finished;
        if !cancelled {
            let kind = Kind::Response.into();
            state.outbox.push(Message { id, kind, status, payload, ..Message::default() });
            is_news = true;
        }
        let task = if is_news { state.task.take() } else { None };
        drop(state);
        wake(task);
    }

    /// Whether it is over.
    pub(super) fn has_ended(&self) -> bool {
        self.state.lock().ended
    }

    fn is_cancelled(&self, id: u64) -> bool {
        self.state.lock().unanswered.get(&id).copied().unwrap_or(true)
    }

    /// Ends the stream at once; the requests still at work answer into the void.
    pub(super) fn end(&self) {
        let mut state = self.state.lock();
        state.ended = true;
        state.unanswered = HashMap::default();
        state.outbox.take_all();
        let task = state.task.take();
        drop(state);
        wake(task);
    }
}

fn wake(task: Option<Waker>) {
    if let Some(task) = task {
        task.wake();
    }
}

/// Answers one request; dropping it unanswered answers `Failure::Internal`.
#[derive(Debug)]
pub struct Responder {
    stream: Arc<ServerStream>,
    id: u64,
    expires: Timestamp,
    answered: bool,
}

impl Responder {
    /// Answers with `M`'s response.
    pub fn answer<M: Method>(self, response: &M::Response) {
        self.answer_encoded(Bytes::from(response.encode_to_vec()));
    }

    /// Answers with a response that is already encoded.
    pub fn answer_encoded(mut self, payload: Bytes) {
        self.answered = true;
        if payload.len() > MAX_PAYLOAD_BYTES {
            tracing::error!(bytes = payload.len(), "answer too large to send");
            return self.stream.answer(self.id, Failure::Internal as u32, Bytes::new());
        }
        self.stream.answer(self.id, 0, payload);
    }

    /// Answers with a failure.
    pub fn fail(mut self, failure: Failure) {
        self.answered = true;
        self.stream.answer(self.id, failure as u32, Bytes::new());
    }

    /// Whether the caller has cancelled or gone: the work may be dropped if it has not begun.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.stream.is_cancelled(self.id)
    }

    /// When the caller stops waiting: work that has not begun by then is for nothing.
    #[must_use]
    pub const fn expires(&self) -> Timestamp {
        self.expires
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        if !self.answered {
            self.stream.answer(self.id, Failure::Internal as u32, Bytes::new());
        }
    }
}

/// When a frame arrived, and how long it had waited on the way.
#[derive(Clone, Copy)]
struct Arrival {
    at: Timestamp,
    age: Duration,
}

/// What one client asks: its frames go in, its answers come out of `stream`. Dropped, the stream is over.
pub(super) struct Requests {
    pub(super) stream: Arc<ServerStream>,
    service: Arc<dyn Service>,
    ages: FrameAge,
    stopping: bool,
}

impl std::fmt::Debug for Requests {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Requests").field("stream", &self.stream).finish_non_exhaustive()
    }
}

impl Drop for Requests {
    fn drop(&mut self) {
        self.stream.end();
        self.stream.metrics.disconnects.increment(1);
    }
}

impl Requests {
    pub(super) fn new(stream: Arc<ServerStream>, service: Arc<dyn Service>) -> Self {
        stream.metrics.connects.increment(1);
        Self { stream, service, ages: FrameAge::default(), stopping: false }
    }

    /// Whether another frame may be read now; if not, the task is woken when there is room.
    pub(super) fn may_receive(&mut self) -> bool {
        let mut state = self.stream.state.lock();
        self.stopping = state.stopping;
        state.reader_waits = !self.stream.has_room(&state);
        !state.reader_waits && !state.ended
    }

    /// Begins what a frame asks for.
    pub(super) fn receive(&mut self, frame: Frame) {
        let arrived = clock::now();
        let age = self.ages.of(frame.sent_us, arrived);
        self.stream.metrics.frames_received.increment(1);
        self.stream.metrics.messages_received.increment(frame.messages.len() as u64);
        self.register(&frame);
        let mut now = arrived;
        for message in frame.messages {
            match message.kind() {
                Kind::Request => {
                    self.start(message, Arrival { at: arrived, age }, now);
                    now = clock::now();
                }
                Kind::Notice => self.notice(message),
                _ => {}
            }
        }
    }

    /// All that had arrived was received.
    pub(super) fn received(&self) {
        if std::panic::catch_unwind(AssertUnwindSafe(|| self.service.frame_ended())).is_err() {
            tracing::error!("a handler panicked at the end of a frame");
        }
    }

    /// One lock for the whole frame: its requests are unanswered from now on, its cancellations hold,
    /// also for requests of the same frame.
    fn register(&self, frame: &Frame) {
        let mut cancelled = 0;
        let mut state = self.stream.state.lock();
        for message in &frame.messages {
            match message.kind() {
                Kind::Request => {
                    state.unanswered.insert(message.id, false);
                }
                Kind::Cancel => {
                    if let Some(given_up) = state.unanswered.get_mut(&message.id) {
                        *given_up = true;
                        cancelled += 1;
                    }
                }
                _ => {}
            }
        }
        drop(state);
        self.stream.metrics.cancellations.increment(cancelled);
    }

    fn start(&self, message: Message, arrival: Arrival, now: Timestamp) {
        let deadline = Duration::from_micros(message.deadline_us).saturating_sub(arrival.age);
        let expires = arrival.at + deadline;
        let responder =
            Responder { stream: Arc::clone(&self.stream), id: message.id, expires, answered: false };
        if self.stopping {
            return responder.fail(Failure::Unavailable);
        }
        if expires <= now {
            self.stream.metrics.timeouts.increment(1);
            return responder.fail(Failure::DeadlineExceeded);
        }
        let request = Incoming { method: message.method, payload: message.payload, deadline };
        // A panic costs one request (its responder answers `Internal` as it is dropped), never the
        // stream and the requests that share it.
        let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| self.service.call(request, responder)));
        if outcome.is_err() {
            tracing::error!(method = message.method, "a request's handler panicked");
        }
    }

    fn notice(&self, message: Message) {
        let method = message.method;
        let outcome =
            std::panic::catch_unwind(AssertUnwindSafe(|| self.service.notice(method, message.payload)));
        if outcome.is_err() {
            tracing::error!(method, "a notice's handler panicked");
        }
    }
}
