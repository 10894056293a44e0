//! The client's side: a handle to one server that connects, and reconnects, on its own.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use parking_lot::Mutex;
use prost::Message as _;
use tokio::sync::{Notify, watch};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::transport::Endpoint;
use units::Timestamp;

use super::calls::{Answer, CallId, Calls, Completion, Waiter};
use super::frame::{
    CONNECTION_WINDOW_BYTES, HTTP2_FRAME_BYTES, MAX_ENCODED_FRAME_BYTES, MAX_PAYLOAD_BYTES, Outbox,
    STREAM_WINDOW_BYTES,
};
use super::metrics::TransportMetrics;
use super::{CallError, Failure};
use crate::clock;
use crate::method::{Method, Notice};
use crate::proto::transport::transport_client::TransportClient;
use crate::proto::transport::{Frame, Kind, Message};

/// How long calls wait for the very first stream, counted from `open`; later they fail at once while
/// there is none. Covers servers that start together.
const FIRST_CONNECT_WAIT: Duration = Duration::from_secs(1);
/// One attempt to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Back-off between attempts: doubles from the first to the last, with up to half of it as jitter.
const MIN_BACKOFF: Duration = Duration::from_millis(10);
/// See [`MIN_BACKOFF`].
const MAX_BACKOFF: Duration = Duration::from_secs(1);
/// A stream that lived this long resets the back-off.
const STABLE_AFTER: Duration = Duration::from_secs(1);
/// How often deadlines are looked at while calls wait: a call ends at most this late. Looking at a
/// thousand slots takes about a microsecond, far less than a timer per call.
const DEADLINE_TICK: Duration = Duration::from_millis(10);
/// HTTP/2 pings, also while idle: a peer that vanished without a word is noticed within their sum.
const PING_INTERVAL: Duration = Duration::from_secs(2);
/// See [`PING_INTERVAL`]. Long enough for a server that is starved of CPU.
const PING_TIMEOUT: Duration = Duration::from_secs(5);
/// Payload bytes that may wait to be sent: two of the largest payloads.
const MAX_QUEUED_BYTES: usize = 2 * MAX_PAYLOAD_BYTES;

/// Bounds of one connection.
#[derive(Clone, Debug)]
pub struct ConnectionConfig {
    /// Who we are, for the server's logs and metrics.
    pub name: String,
    /// Requests and notices that may wait to be sent.
    pub queue: usize,
    /// Calls that may wait for their answers.
    pub in_flight: usize,
}

impl ConnectionConfig {
    /// The usual bounds: 8,192 queued, 8,192 in flight. At 1 ms per answer that is eight million
    /// requests a second, and 0.5 MB when full.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), queue: 8192, in_flight: 8192 }
    }
}

/// A cloneable handle to one server. Connects on its own, reconnects with back-off; the stream ends
/// when the last handle is dropped.
#[derive(Clone, Debug)]
pub struct Connection {
    shared: Arc<Shared>,
    streams: watch::Receiver<u64>,
    _open: Arc<DropGuard>,
}

#[derive(Debug)]
struct Shared {
    address: String,
    config: ConnectionConfig,
    opened_at: Timestamp,
    state: Mutex<State>,
    /// Wakes the task that looks at deadlines.
    watch_deadlines: Notify,
    /// Counts the streams that came up.
    streams: watch::Sender<u64>,
    metrics: TransportMetrics,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Before the first stream: calls queue.
    First,
    Up,
    /// The server is stopping: what is in flight is still answered, nothing new is sent.
    Leaving,
    Down,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    outbox: Outbox,
    calls: Calls,
    sender: Option<Waker>,
    deadlines_watched: bool,
}

impl Connection {
    /// A handle to the server at `address` (`host:port`); connecting starts at once in the background.
    /// Must be called within a tokio runtime.
    #[must_use]
    pub fn open(address: &str, config: ConnectionConfig) -> Self {
        let (streams_sender, streams) = watch::channel(0);
        let shared = Arc::new(Shared {
            address: address.to_owned(),
            opened_at: clock::now(),
            state: Mutex::new(State {
                phase: Phase::First,
                outbox: Outbox::default(),
                calls: Calls::with_limit(config.in_flight),
                sender: None,
                deadlines_watched: false,
            }),
            config,
            watch_deadlines: Notify::new(),
            streams: streams_sender,
            metrics: TransportMetrics::of("client"),
        });
        let closed = CancellationToken::new();
        // Both tasks end with the last handle; nothing outlives them that would need joining.
        tokio::spawn(closed.clone().run_until_cancelled_owned(watch_deadlines(Arc::clone(&shared))));
        tokio::spawn({
            let (shared, closed) = (Arc::clone(&shared), closed.clone());
            async move {
                closed.run_until_cancelled(keep_connected(&shared)).await;
                shared.disconnect();
            }
        });
        Self { shared, streams, _open: Arc::new(closed.drop_guard()) }
    }

    /// Calls `M` and waits for its answer, `deadline` at most.
    ///
    /// Dropping the future cancels the call at the server.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn call<M: Method>(
        &self,
        request: &M::Request,
        deadline: Duration,
    ) -> Result<M::Response, CallError> {
        let payload = Bytes::from(request.encode_to_vec());
        let start = Start { method: M::NUMBER, payload, deadline };
        let answer = PendingCall { shared: &self.shared, stage: Stage::Unsent(start) }.await?;
        M::Response::decode(answer).map_err(|_malformed| CallError::Malformed)
    }

    /// Calls `M` without a task that waits: `on_answer` runs with the answer on the connection's task,
    /// so it must be short and must not block.
    ///
    /// # Errors
    /// `QueueFull` or `NotConnected`: not sent, and `on_answer` will not run.
    pub fn call_detached<M: Method>(
        &self,
        request: &M::Request,
        deadline: Duration,
        on_answer: impl FnOnce(Result<M::Response, CallError>) + Send + 'static,
    ) -> Result<(), CallError> {
        let payload = Bytes::from(request.encode_to_vec());
        let start = Start { method: M::NUMBER, payload, deadline };
        let decode_then =
            move |answer: Answer| {
                on_answer(answer.and_then(|payload| {
                    M::Response::decode(payload).map_err(|_malformed| CallError::Malformed)
                }));
            };
        self.shared.start(start, Waiter::Detached(Box::new(decode_then))).map(drop)
    }

    /// Sends a one-way message. Before the first stream it waits in the queue; lost when the
    /// connection breaks.
    ///
    /// # Errors
    /// `QueueFull` or `NotConnected`: not sent.
    pub fn notify<N: Notice>(&self, message: &N::Message) -> Result<(), CallError> {
        let payload = Bytes::from(message.encode_to_vec());
        self.shared.send_notice(N::NUMBER, payload)
    }

    /// Whether a stream is up now.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.shared.state.lock().phase == Phase::Up
    }

    /// The server's address, as given to `open`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.shared.address
    }

    /// Calls that wait for their answers now.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.shared.state.lock().calls.len()
    }

    /// Resolves when the next stream comes up: what must be told anew after a reconnect waits for this.
    /// On a fresh handle the first stream counts, even if it is already up.
    pub async fn reconnected(&mut self) {
        self.streams.changed().await.expect("the handle keeps the sender");
    }
}

struct Start {
    method: u32,
    payload: Bytes,
    deadline: Duration,
}

enum Stage {
    Unsent(Start),
    Waiting(CallId),
    Done,
}

/// A call as a future: registered at its first poll, cancelled when dropped before its answer.
struct PendingCall<'a> {
    shared: &'a Shared,
    stage: Stage,
}

impl Future for PendingCall<'_> {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Answer> {
        match std::mem::replace(&mut self.stage, Stage::Done) {
            Stage::Unsent(start) => match self.shared.start(start, Waiter::Task(context.waker().clone())) {
                Ok(id) => {
                    self.stage = Stage::Waiting(id);
                    Poll::Pending
                }
                Err(error) => Poll::Ready(Err(error)),
            },
            Stage::Waiting(id) => {
                let answer = self.shared.state.lock().calls.poll(id, context.waker());
                if answer.is_pending() {
                    self.stage = Stage::Waiting(id);
                }
                answer
            }
            Stage::Done => unreachable!("an answered call is not polled again"),
        }
    }
}

impl Drop for PendingCall<'_> {
    fn drop(&mut self) {
        if let Stage::Waiting(id) = self.stage {
            self.shared.abandon(id);
        }
    }
}

impl Shared {
    fn start(&self, start: Start, waiter: Waiter) -> Result<CallId, CallError> {
        if start.payload.len() > MAX_PAYLOAD_BYTES {
            tracing::error!(method = start.method, bytes = start.payload.len(), "request too large to send");
            return Err(CallError::Failed(Failure::Malformed));
        }
        let now = clock::now();
        let mut state = self.state.lock();
        self.check_room(&state, start.payload.len(), now)?;
        let Some(id) = state.calls.begin(waiter, now + start.deadline) else {
            self.metrics.queue_full.increment(1);
            return Err(CallError::QueueFull);
        };
        let watch = !std::mem::replace(&mut state.deadlines_watched, true);
        let sender = state.send(Message {
            id: id.0,
            kind: Kind::Request.into(),
            method: start.method,
            payload: start.payload,
            ..Message::default()
        });
        drop(state);
        if watch {
            self.watch_deadlines.notify_one();
        }
        wake(sender);
        Ok(id)
    }

    fn send_notice(&self, method: u32, payload: Bytes) -> Result<(), CallError> {
        if payload.len() > MAX_PAYLOAD_BYTES {
            tracing::error!(method, bytes = payload.len(), "notice too large to send");
            return Err(CallError::Failed(Failure::Malformed));
        }
        let mut state = self.state.lock();
        self.check_room(&state, payload.len(), clock::now())?;
        let sender = state.send(Message { kind: Kind::Notice.into(), method, payload, ..Message::default() });
        drop(state);
        wake(sender);
        Ok(())
    }

    fn check_room(&self, state: &State, bytes: usize, now: Timestamp) -> Result<(), CallError> {
        let connected = match state.phase {
            Phase::Up => true,
            Phase::First => now.since(self.opened_at) < FIRST_CONNECT_WAIT,
            Phase::Leaving | Phase::Down => false,
        };
        if !connected {
            return Err(CallError::NotConnected);
        }
        let outbox = &state.outbox;
        let too_many_bytes = !outbox.is_empty() && outbox.bytes() + bytes > MAX_QUEUED_BYTES;
        if outbox.len() >= self.config.queue || too_many_bytes {
            self.metrics.queue_full.increment(1);
            return Err(CallError::QueueFull);
        }
        Ok(())
    }

    /// The caller no longer waits: tells the server, unless the answer is already here.
    fn abandon(&self, id: CallId) {
        let mut state = self.state.lock();
        let sender = state.calls.abandon(id).then(|| state.send_cancel(id)).flatten();
        drop(state);
        self.metrics.cancellations.increment(1);
        wake(sender);
    }

    /// Ends the calls whose deadline has passed; false: none wait, stop looking.
    fn expire(&self, now: Timestamp) -> bool {
        let mut ended = Vec::new();
        let mut state = self.state.lock();
        if state.calls.len() == 0 {
            state.deadlines_watched = false;
            return false;
        }
        // Before the first stream nothing was sent, and the caller may be sure of that.
        let answer =
            Err(if state.phase == Phase::First { CallError::NotConnected } else { CallError::Timeout });
        state.calls.expire(now, &answer, |id, completion| ended.push((id, completion)));
        let mut sender = None;
        for (id, _) in &ended {
            sender = state.send_cancel(*id).or(sender);
        }
        drop(state);
        wake(sender);
        self.metrics.timeouts.increment(ended.len() as u64);
        for (_, completion) in ended {
            completion.run();
        }
        true
    }

    fn came_up(&self) {
        let mut state = self.state.lock();
        state.phase = Phase::Up;
        let sender = state.sender.take();
        drop(state);
        wake(sender);
        self.metrics.connects.increment(1);
        self.streams.send_modify(|count| *count += 1);
        tracing::debug!(address = self.address, name = self.config.name, "connected");
    }

    /// The server is stopping: our side ends once what is queued has gone.
    fn leave(&self) {
        let mut state = self.state.lock();
        if state.phase == Phase::Up {
            state.phase = Phase::Leaving;
        }
        let sender = state.sender.take();
        drop(state);
        wake(sender);
    }

    /// The stream is gone: every call ends. What was still queued was not sent, and says so.
    fn disconnect(&self) {
        let mut state = self.state.lock();
        let was_up = matches!(state.phase, Phase::Up | Phase::Leaving);
        state.phase = Phase::Down;
        let sender = state.sender.take();
        let mut completions = Vec::new();
        for message in state.outbox.take_all() {
            if message.kind() == Kind::Request {
                completions.extend(state.calls.complete(CallId(message.id), Err(CallError::NotConnected)));
            }
        }
        let end_of_time = Timestamp::from_nanos(u64::MAX);
        state.calls.expire(end_of_time, &Err(CallError::Disconnected), |_, completion| {
            completions.push(completion);
        });
        drop(state);
        wake(sender);
        if was_up {
            self.metrics.disconnects.increment(1);
            tracing::debug!(address = self.address, name = self.config.name, "disconnected");
        }
        completions.into_iter().for_each(Completion::run);
    }

    /// Hands a frame's answers to their callers.
    fn receive(&self, frame: Frame) {
        self.metrics.frames_received.increment(1);
        self.metrics.messages_received.increment(frame.messages.len() as u64);
        let mut completions = Vec::with_capacity(frame.messages.len());
        let mut leaving = false;
        let mut state = self.state.lock();
        for message in frame.messages {
            match message.kind() {
                Kind::Response => {
                    let answer = match message.status {
                        0 => Ok(message.payload),
                        status => Err(CallError::Failed(Failure::from_status(status))),
                    };
                    completions.extend(state.calls.complete(CallId(message.id), answer));
                }
                Kind::Leaving => leaving = true,
                // A server sends nothing else; what a newer one might send is not for us.
                _ => {}
            }
        }
        drop(state);
        completions.into_iter().for_each(Completion::run);
        if leaving {
            self.leave();
        }
    }
}

impl State {
    /// Queues a message; the stream's waker, to be woken once the lock is released.
    fn send(&mut self, message: Message) -> Option<Waker> {
        self.outbox.push(message);
        self.sender.take()
    }

    /// Bounded by the calls that were in flight, so it needs no room in the queue.
    fn send_cancel(&mut self, id: CallId) -> Option<Waker> {
        if self.phase != Phase::Up {
            return None;
        }
        self.send(Message { id: id.0, kind: Kind::Cancel.into(), ..Message::default() })
    }

    fn next_frame(&mut self, now: Timestamp) -> Option<Frame> {
        let calls = &self.calls;
        while !self.outbox.is_empty() {
            let frame = self.outbox.next_frame(|message| {
                if message.kind() != Kind::Request {
                    return true;
                }
                // Given up, or about to be: the server need not hear of it.
                let Some(expires) = calls.waits_until(CallId(message.id)) else { return false };
                let left = expires.since(now);
                message.deadline_us = u64::try_from(left.as_micros()).unwrap_or(u64::MAX);
                message.deadline_us > 0
            });
            if frame.is_some() {
                return frame;
            }
        }
        None
    }
}

fn wake(sender: Option<Waker>) {
    if let Some(sender) = sender {
        sender.wake();
    }
}

/// What one stream sends: everything that is queued each time HTTP/2 can take more.
struct ClientFrames {
    shared: Arc<Shared>,
    ended: CancellationToken,
}

impl Stream for ClientFrames {
    type Item = Frame;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Frame>> {
        if self.ended.is_cancelled() {
            return Poll::Ready(None);
        }
        let mut state = self.shared.state.lock();
        // Nothing goes out before the server has accepted the stream: what is queued when that fails
        // was certainly not sent.
        if matches!(state.phase, Phase::Up | Phase::Leaving) {
            if let Some(frame) = state.next_frame(clock::now()) {
                drop(state);
                self.shared.metrics.frames_sent.increment(1);
                self.shared.metrics.messages_sent.increment(frame.messages.len() as u64);
                return Poll::Ready(Some(frame));
            }
            if state.phase == Phase::Leaving {
                return Poll::Ready(None);
            }
        }
        state.sender = Some(context.waker().clone());
        Poll::Pending
    }
}

/// Looks at deadlines while calls wait, and sleeps while none do.
async fn watch_deadlines(shared: Arc<Shared>) {
    loop {
        shared.watch_deadlines.notified().await;
        loop {
            tokio::time::sleep(DEADLINE_TICK).await;
            if !shared.expire(clock::now()) {
                break;
            }
        }
    }
}

async fn keep_connected(shared: &Arc<Shared>) {
    let endpoint = match endpoint(&shared.address) {
        Ok(endpoint) => endpoint,
        Err(error) => {
            tracing::error!(address = shared.address, %error, "not an address to connect to");
            shared.disconnect();
            return std::future::pending().await;
        }
    };
    let mut backoff = MIN_BACKOFF;
    loop {
        let started = clock::now();
        run_stream(shared, &endpoint).await;
        if clock::now().since(started) >= STABLE_AFTER {
            backoff = MIN_BACKOFF;
        }
        tokio::time::sleep(with_jitter(backoff, clock::now())).await;
        backoff = (backoff * 2).min(MAX_BACKOFF);
    }
}

/// One stream, from the attempt to connect to its end.
async fn run_stream(shared: &Arc<Shared>, endpoint: &Endpoint) {
    let ended = CancellationToken::new();
    let end_our_side = ended.clone().drop_guard();
    let frames = ClientFrames { shared: Arc::clone(shared), ended };
    let connecting = tokio::time::timeout(CONNECT_TIMEOUT, open_stream(endpoint, frames));
    let mut inbound = match connecting.await {
        Ok(Ok(inbound)) => inbound,
        Ok(Err(error)) => {
            tracing::debug!(address = shared.address, error = %chain(&*error), "could not connect");
            return shared.give_up_waiting_for_the_first();
        }
        Err(_elapsed) => {
            tracing::debug!(address = shared.address, "connecting took too long");
            return shared.give_up_waiting_for_the_first();
        }
    };
    shared.came_up();
    loop {
        match inbound.message().await {
            Ok(Some(frame)) => shared.receive(frame),
            Ok(None) => break,
            Err(status) => {
                tracing::debug!(address = shared.address, %status, "the stream broke");
                break;
            }
        }
    }
    drop(end_our_side);
    shared.disconnect();
}

impl Shared {
    /// Once the first attempts have taken long enough, calls no longer wait for a stream.
    fn give_up_waiting_for_the_first(&self) {
        if clock::now().since(self.opened_at) >= FIRST_CONNECT_WAIT {
            self.disconnect();
        }
    }
}

type ConnectError = Box<dyn std::error::Error + Send + Sync>;

async fn open_stream(
    endpoint: &Endpoint,
    frames: ClientFrames,
) -> Result<tonic::Streaming<Frame>, ConnectError> {
    let channel = endpoint.connect().await?;
    let mut client = TransportClient::new(channel)
        .max_decoding_message_size(MAX_ENCODED_FRAME_BYTES)
        .max_encoding_message_size(MAX_ENCODED_FRAME_BYTES);
    Ok(client.open(frames).await?.into_inner())
}

fn endpoint(address: &str) -> Result<Endpoint, tonic::transport::Error> {
    Ok(Endpoint::from_shared(format!("http://{address}"))?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(HTTP2_FRAME_BYTES)
        .http2_keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .keep_alive_while_idle(true))
}

/// Between half of `backoff` and all of it. The clock's nanoseconds at the moment of a failure are as
/// good as random for spreading clients out.
fn with_jitter(backoff: Duration, now: Timestamp) -> Duration {
    let half = u64::try_from(backoff.as_nanos() / 2).expect("the back-off is a second at most");
    Duration::from_nanos(half + now.as_nanos() % (half + 1))
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
