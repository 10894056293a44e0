//! What a connection's handles, its stream and its tasks share: the queue, the calls in flight, and
//! whether there is a stream.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use units::Timestamp;

use super::calls::{Answer, CallId, Calls, Completion, Waiter};
use super::connection::ConnectionConfig;
use super::frame::{MAX_PAYLOAD_BYTES, Outbox};
use super::metrics::TransportMetrics;
use super::silence::Silence;
use super::{CallError, Failure};
use crate::clock;
use crate::proto::transport::{Frame, Kind, Message};

/// How long calls wait for the very first stream, counted from `open`; later they fail at once while
/// there is none. Covers servers that start together.
const FIRST_CONNECT_WAIT: Duration = Duration::from_secs(1);
/// How often deadlines are looked at while calls wait: a call ends at most this late. Looking at a
/// thousand slots takes about a microsecond, far less than a timer per call.
const DEADLINE_TICK: Duration = Duration::from_millis(10);
/// A call refused as too late that has this long left by our clock: the server takes our frames for older than
/// they are. Less may be the ages' own inaccuracy.
const CLEARLY_IN_TIME: Duration = Duration::from_millis(20);
/// Payload bytes that may wait to be sent: two of the largest payloads.
const MAX_QUEUED_BYTES: usize = 2 * MAX_PAYLOAD_BYTES;

/// One server, as its clients' tasks share it.
#[derive(Debug)]
pub(super) struct Client {
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
    silence: Silence,
    sender: Option<Waker>,
    deadlines_watched: bool,
    /// Our clock lost time (a paused machine, say), so that all that we send looks old to the server: from then
    /// on this stream's frames do not say when they were sent.
    ages_mislead: bool,
}

/// A request to be sent.
pub(super) struct Start {
    pub(super) method: u32,
    pub(super) payload: Bytes,
    pub(super) deadline: Duration,
}

impl Client {
    /// A client without a stream, and the count of streams that came up.
    pub(super) fn new(address: &str, config: ConnectionConfig) -> (Arc<Self>, watch::Receiver<u64>) {
        let (streams, counted) = watch::channel(0);
        let state = State {
            phase: Phase::First,
            outbox: Outbox::default(),
            calls: Calls::with_limit(config.in_flight),
            silence: Silence::default(),
            sender: None,
            deadlines_watched: false,
            ages_mislead: false,
        };
        let client = Self {
            address: address.to_owned(),
            opened_at: clock::now(),
            state: Mutex::new(state),
            config,
            watch_deadlines: Notify::new(),
            streams,
            metrics: TransportMetrics::of("client"),
        };
        (Arc::new(client), counted)
    }

    pub(super) fn is_up(&self) -> bool {
        self.state.lock().phase == Phase::Up
    }

    pub(super) fn in_flight(&self) -> usize {
        self.state.lock().calls.len()
    }

    pub(super) fn silent_for(&self, now: Timestamp) -> Option<Duration> {
        self.state.lock().silence.lasts(now)
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Takes a call's answer, or leaves the waker.
    pub(super) fn poll(&self, id: CallId, waker: &Waker) -> Poll<Answer> {
        self.state.lock().calls.poll(id, waker)
    }

    pub(super) fn start(&self, start: Start, waiter: Waiter) -> Result<CallId, CallError> {
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
        state.silence.call_began(now);
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

    pub(super) fn send_notice(&self, method: u32, payload: Bytes) -> Result<(), CallError> {
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
    pub(super) fn abandon(&self, id: CallId) {
        let mut state = self.state.lock();
        let sender = state.calls.abandon(id).then(|| state.send_cancel(id)).flatten();
        if state.calls.waiting() == 0 {
            state.silence.given_up();
        }
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
        if !ended.is_empty() {
            let waiting = state.calls.waiting() > 0;
            state.silence.expired(waiting, now);
        }
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

    pub(super) fn came_up(&self) {
        let mut state = self.state.lock();
        state.phase = Phase::Up;
        state.ages_mislead = false;
        // What waited for the stream did not wait for an answer.
        let waiting = state.calls.waiting() > 0;
        state.silence.answered(waiting, clock::now());
        let sender = state.sender.take();
        drop(state);
        wake(sender);
        self.metrics.connects.increment(1);
        self.streams.send_modify(|count| *count += 1);
        tracing::debug!(address = self.address, name = self.config.name, "connected");
    }

    /// The server is stopping: our side ends once what is queued has gone.
    pub(super) fn leave(&self) {
        let mut state = self.state.lock();
        if state.phase == Phase::Up {
            state.phase = Phase::Leaving;
        }
        let sender = state.sender.take();
        drop(state);
        wake(sender);
    }

    /// The stream is gone: every call ends. What was still queued was not sent, and says so.
    pub(super) fn disconnect(&self) {
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
        state.silence.forget();
        drop(state);
        wake(sender);
        if was_up {
            self.metrics.disconnects.increment(1);
            tracing::debug!(address = self.address, name = self.config.name, "disconnected");
        }
        completions.into_iter().for_each(Completion::run);
    }

    /// Once the first attempts have taken long enough, calls no longer wait for a stream.
    pub(super) fn give_up_waiting_for_the_first(&self) {
        if clock::now().since(self.opened_at) >= FIRST_CONNECT_WAIT {
            self.disconnect();
        }
    }

    /// Hands a frame's answers to their callers.
    pub(super) fn receive(&self, frame: Frame) {
        self.metrics.frames_received.increment(1);
        self.metrics.messages_received.increment(frame.messages.len() as u64);
        let mut completions = Vec::with_capacity(frame.messages.len());
        let mut leaving = false;
        let mut answered = false;
        let now = clock::now();
        let mut state = self.state.lock();
        for message in frame.messages {
            match message.kind() {
                Kind::Response => {
                    answered = true;
                    let id = CallId(message.id);
                    let answer = match message.status {
                        0 => Ok(message.payload),
                        status => Err(CallError::Failed(Failure::from_status(status))),
                    };
                    if answer == Err(CallError::Failed(Failure::DeadlineExceeded)) {
                        state.note_too_late(id, now, &self.address);
                    }
                    completions.extend(state.calls.complete(id, answer));
                }
                Kind::Leaving => leaving = true,
                // A server sends nothing else; what a newer one might send is not for us.
                _ => {}
            }
        }
        if answered {
            let waiting = state.calls.waiting() > 0;
            state.silence.answered(waiting, now);
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

    /// The server says that a call came too late. If that is not so, its clock and ours have parted.
    fn note_too_late(&mut self, id: CallId, now: Timestamp, address: &str) {
        let in_time = self.calls.waits_until(id).is_some_and(|expires| expires > now + CLEARLY_IN_TIME);
        if in_time && !std::mem::replace(&mut self.ages_mislead, true) {
            tracing::warn!(address, "the server takes our requests for older than they are");
        }
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
            let mut frame = self.outbox.next_frame(|message| {
                if message.kind() != Kind::Request {
                    return true;
                }
                // Given up, or about to be: the server need not hear of it.
                let Some(expires) = calls.waits_until(CallId(message.id)) else { return false };
                let left = expires.since(now);
                message.deadline_us = u64::try_from(left.as_micros()).unwrap_or(u64::MAX);
                message.deadline_us > 0
            });
            if let Some(frame) = &mut frame {
                frame.sent_us = if self.ages_mislead { 0 } else { now.as_nanos() / 1_000 };
            }
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

/// What a stream's task does next.
#[derive(Debug)]
pub(super) enum Next {
    /// Send this.
    Frame(Frame),
    /// Wait: it is woken.
    Nothing,
    /// Finish our side: the server is stopping.
    Finish,
}

impl Client {
    /// Everything that is queued, or what to do instead. What has just been queued first waits until `again` wakes
    /// the task: others may queue more for the same frame until then. `deferred` remembers that it did.
    pub(super) fn next(&self, deferred: &mut bool, again: fn(&Waker), context: &Context<'_>) -> Next {
        let mut state = self.state.lock();
        // Nothing goes out before the server has accepted the stream: what is queued when that fails
        // was certainly not sent.
        if matches!(state.phase, Phase::Up | Phase::Leaving) {
            if !state.outbox.is_empty() && !std::mem::replace(deferred, true) {
                again(context.waker());
                return Next::Nothing;
            }
            if let Some(frame) = state.next_frame(clock::now()) {
                drop(state);
                self.metrics.frames_sent.increment(1);
                self.metrics.messages_sent.increment(frame.messages.len() as u64);
                return Next::Frame(frame);
            }
            *deferred = false;
            if state.phase == Phase::Leaving {
                return Next::Finish;
            }
        }
        state.sender = Some(context.waker().clone());
        Next::Nothing
    }
}

/// Looks at deadlines while calls wait, and sleeps while none do.
pub(super) async fn watch_deadlines(client: Arc<Client>) {
    loop {
        client.watch_deadlines.notified().await;
        loop {
            tokio::time::sleep(DEADLINE_TICK).await;
            if !client.expire(clock::now()) {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    fn connected() -> Arc<Client> {
        let (client, _streams) = Client::new("nowhere", ConnectionConfig::named("test"));
        client.came_up();
        client
    }

    /// Sends a call; its number, and when its frame says that it was sent.
    fn send(client: &Client, deadline: Duration) -> (u64, u64) {
        let now = clock::now();
        let start = Start { method: 1, payload: Bytes::new(), deadline };
        let id = client.start(start, Waiter::Detached(Box::new(|_answer| {}))).expect("there is room");
        let frame = client.state.lock().next_frame(now).expect("a call is queued");
        (id.0, frame.sent_us)
    }

    fn refuse(client: &Client, id: u64, failure: Failure) {
        let kind = Kind::Response.into();
        let message = Message { id, kind, status: failure as u32, ..Message::default() };
        client.receive(Frame { messages: vec![message], sent_us: 0 });
    }

    #[test]
    fn a_refusal_as_too_late_in_time_ends_the_ages_until_the_next_stream() {
        let client = connected();
        let (id, sent_us) = send(&client, LONG);
        assert_ne!(sent_us, 0);

        refuse(&client, id, Failure::DeadlineExceeded);

        assert_eq!(send(&client, LONG).1, 0);
        client.disconnect();
        client.came_up();
        assert_ne!(send(&client, LONG).1, 0);
    }

    #[test]
    fn other_refusals_and_calls_that_are_nearly_over_leave_the_ages() {
        let client = connected();
        let (id, _) = send(&client, LONG);
        refuse(&client, id, Failure::Overloaded);
        let (id, _) = send(&client, CLEARLY_IN_TIME);
        refuse(&client, id, Failure::DeadlineExceeded);
        let given_up = u64::MAX;
        refuse(&client, given_up, Failure::DeadlineExceeded);

        assert_ne!(send(&client, LONG).1, 0);
    }
}
