//! One client's stream at the server: the requests that wait for answers, and the answers that wait
//! to be sent.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use parking_lot::Mutex;
use prost::Message as _;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};
use units::Timestamp;

use super::frame::{MAX_PAYLOAD_BYTES, Outbox, ServerLimits};
use super::frame_age::FrameAge;
use super::metrics::TransportMetrics;
use super::{Failure, Incoming, Service};
use crate::clock;
use crate::method::Method;
use crate::proto::transport::{Frame, Kind, Message};

/// What the stream's reader, its sender and its responders share.
#[derive(Debug)]
pub(super) struct ServerStream {
    state: Mutex<State>,
    limits: ServerLimits,
    /// Wakes the reader when there is room again, and when the last answer was given.
    reader: Notify,
    metrics: TransportMetrics,
}

#[derive(Debug)]
struct State {
    outbox: Outbox,
    /// Requests without an answer, and whether the caller has given up. Never iterated.
    unanswered: HashMap<u64, Cancelled, foldhash::fast::RandomState>,
    sender: Option<Waker>,
    reader_waits: bool,
    end: End,
}

type Cancelled = bool;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    NotYet,
    /// What is queued still goes out.
    AfterQueue,
    /// The client is gone, or has waited long enough.
    Now,
}

impl ServerStream {
    pub(super) fn new(limits: ServerLimits, metrics: TransportMetrics) -> Arc<Self> {
        let state = State {
            outbox: Outbox::default(),
            unanswered: HashMap::with_hasher(foldhash::fast::RandomState::default()),
            sender: None,
            reader_waits: false,
            end: End::NotYet,
        };
        Arc::new(Self { state: Mutex::new(state), limits, reader: Notify::new(), metrics })
    }

    fn has_room(&self, state: &State) -> bool {
        state.unanswered.len() < self.limits.outstanding && state.outbox.bytes() < self.limits.queued_bytes
    }

    /// Resolves when another request may be read.
    async fn wait_for_room(&self) {
        loop {
            {
                let mut state = self.state.lock();
                state.reader_waits = !self.has_room(&state);
                if !state.reader_waits {
                    return;
                }
            }
            self.reader.notified().await;
        }
    }

    /// Resolves when every request has its answer.
    async fn wait_until_answered(&self) {
        loop {
            {
                let mut state = self.state.lock();
                state.reader_waits = !state.unanswered.is_empty();
                if !state.reader_waits {
                    return;
                }
            }
            self.reader.notified().await;
        }
    }

    fn queue(&self, message: Message) {
        let mut state = self.state.lock();
        if state.end != End::NotYet {
            return;
        }
        state.outbox.push(message);
        let sender = state.sender.take();
        drop(state);
        if let Some(sender) = sender {
            sender.wake();
        }
    }

    fn answer(&self, id: u64, status: u32, payload: Bytes) {
        let mut state = self.state.lock();
        // Absent: the stream has ended.
        let Some(cancelled) = state.unanswered.remove(&id) else { return };
        let notify_reader = std::mem::take(&mut state.reader_waits);
        let mut sender = None;
        if !cancelled && state.end != End::Now {
            let kind = Kind::Response.into();
            state.outbox.push(Message { id, kind, status, payload, ..Message::default() });
            sender = state.sender.take();
        }
        drop(state);
        if let Some(sender) = sender {
            sender.wake();
        }
        if notify_reader {
            self.reader.notify_one();
        }
    }

    fn is_cancelled(&self, id: u64) -> bool {
        self.state.lock().unanswered.get(&id).copied().unwrap_or(true)
    }

    /// Ends the stream; the requests still at work answer into the void.
    fn end(&self, end: End) {
        let mut state = self.state.lock();
        state.end = end;
        state.unanswered = HashMap::default();
        if end == End::Now {
            state.outbox.take_all();
        }
        let sender = state.sender.take();
        drop(state);
        if let Some(sender) = sender {
            sender.wake();
        }
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

/// Reads one client's stream until it ends, the server stops (then what is in flight is answered
/// first), or `kill`.
pub(super) async fn read_requests(
    stream: Arc<ServerStream>,
    inbound: Streaming<Frame>,
    service: Arc<dyn Service>,
    stop: CancellationToken,
    kill: CancellationToken,
) {
    let reader = Reader { stream: Arc::clone(&stream), inbound, service, ages: FrameAge::default() };
    let end = kill.run_until_cancelled(reader.run(stop)).await.unwrap_or(End::Now);
    stream.end(end);
    stream.metrics.disconnects.increment(1);
}

/// When a frame arrived, and how long it had waited on the way.
#[derive(Clone, Copy)]
struct Arrival {
    at: Timestamp,
    age: Duration,
}

struct Reader {
    stream: Arc<ServerStream>,
    inbound: Streaming<Frame>,
    service: Arc<dyn Service>,
    ages: FrameAge,
}

impl Reader {
    async fn run(mut self, stop: CancellationToken) -> End {
        let mut stopping = false;
        loop {
            let frame = tokio::select! {
                biased;
                () = stop.cancelled(), if !stopping => {
                    stopping = true;
                    self.stream.queue(Message { kind: Kind::Leaving.into(), ..Message::default() });
                    continue;
                }
                frame = Self::next_frame(&self.stream, &mut self.inbound) => frame,
            };
            match frame {
                Ok(Some(frame)) => self.receive(frame, stopping),
                // The client has finished its side, as asked: nothing new can come.
                Ok(None) if stopping => {
                    self.stream.wait_until_answered().await;
                    return End::AfterQueue;
                }
                Ok(None) => return End::Now,
                Err(status) => {
                    tracing::debug!(%status, "a client's stream broke");
                    return End::Now;
                }
            }
        }
    }

    /// Cancel-safe: what was not returned is not lost.
    async fn next_frame(
        stream: &ServerStream,
        inbound: &mut Streaming<Frame>,
    ) -> Result<Option<Frame>, Status> {
        stream.wait_for_room().await;
        inbound.message().await
    }

    fn receive(&mut self, frame: Frame, stopping: bool) {
        let arrived = clock::now();
        let age = self.ages.of(frame.sent_us, arrived);
        self.stream.metrics.frames_received.increment(1);
        self.stream.metrics.messages_received.increment(frame.messages.len() as u64);
        self.register(&frame);
        let mut now = arrived;
        for message in frame.messages {
            match message.kind() {
                Kind::Request => {
                    self.start(message, Arrival { at: arrived, age }, now, stopping);
                    now = clock::now();
                }
                Kind::Notice => self.notice(message),
                _ => {}
            }
        }
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

    fn start(&self, message: Message, arrival: Arrival, now: Timestamp, stopping: bool) {
        let deadline = Duration::from_micros(message.deadline_us).saturating_sub(arrival.age);
        let expires = arrival.at + deadline;
        let responder =
            Responder { stream: Arc::clone(&self.stream), id: message.id, expires, answered: false };
        if stopping {
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

/// What the stream sends: everything that is queued each time HTTP/2 can take more.
#[derive(Debug)]
pub(super) struct ServerFrames(pub(super) Arc<ServerStream>);

impl Stream for ServerFrames {
    type Item = Result<Frame, Status>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let stream = &*self.0;
        let mut state = stream.state.lock();
        let Some(frame) = state.outbox.next_frame(|_| true) else {
            if state.end != End::NotYet {
                return Poll::Ready(None);
            }
            state.sender = Some(context.waker().clone());
            return Poll::Pending;
        };
        let notify_reader = state.reader_waits && stream.has_room(&state);
        if notify_reader {
            state.reader_waits = false;
        }
        drop(state);
        if notify_reader {
            stream.reader.notify_one();
        }
        stream.metrics.frames_sent.increment(1);
        stream.metrics.messages_sent.increment(frame.messages.len() as u64);
        Poll::Ready(Some(Ok(frame)))
    }
}

impl Drop for ServerFrames {
    fn drop(&mut self) {
        self.0.end(End::Now);
    }
}
