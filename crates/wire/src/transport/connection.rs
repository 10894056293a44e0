//! The client's handle to one server, and a call as a future.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use units::Timestamp;

use super::CallError;
use super::calls::{Answer, CallId, Waiter};
use super::client::{Client, Start, watch_deadlines};
use super::connecting::keep_connected;
use crate::method::{Method, Notice};

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
    client: Arc<Client>,
    streams: watch::Receiver<u64>,
    _open: Arc<DropGuard>,
}

impl Connection {
    /// A handle to the server at `address` (`host:port`); connecting starts at once in the background.
    /// Must be called within a tokio runtime.
    #[must_use]
    pub fn open(address: &str, config: ConnectionConfig) -> Self {
        let (client, streams) = Client::new(address, config);
        let closed = CancellationToken::new();
        // Both tasks end with the last handle; nothing outlives them that would need joining.
        tokio::spawn(closed.clone().run_until_cancelled_owned(watch_deadlines(Arc::clone(&client))));
        tokio::spawn({
            let (client, closed) = (Arc::clone(&client), closed.clone());
            async move {
                closed.run_until_cancelled(keep_connected(&client)).await;
                client.disconnect();
            }
        });
        Self { client, streams, _open: Arc::new(closed.drop_guard()) }
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
        let answer = PendingCall { client: &self.client, stage: Stage::Unsent(start) }.await?;
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
        self.call_detached_encoded::<M>(request, deadline, move |answer| {
            on_answer(
                answer.and_then(|payload| {
                    M::Response::decode(payload).map_err(|_malformed| CallError::Malformed)
                }),
            );
        })
    }

    /// The same with the answer as it came: for who reads it in place.
    ///
    /// # Errors
    /// `QueueFull` or `NotConnected`: not sent, and `on_answer` will not run.
    pub fn call_detached_encoded<M: Method>(
        &self,
        request: &M::Request,
        deadline: Duration,
        on_answer: impl FnOnce(Result<Bytes, CallError>) + Send + 'static,
    ) -> Result<(), CallError> {
        let payload = Bytes::from(request.encode_to_vec());
        let start = Start { method: M::NUMBER, payload, deadline };
        self.client.start(start, Waiter::Detached(Box::new(on_answer))).map(drop)
    }

    /// Sends a one-way message. Before the first stream it waits in the queue; lost when the
    /// connection breaks.
    ///
    /// # Errors
    /// `QueueFull` or `NotConnected`: not sent.
    pub fn notify<N: Notice>(&self, message: &N::Message) -> Result<(), CallError> {
        let payload = Bytes::from(message.encode_to_vec());
        self.client.send_notice(N::NUMBER, payload)
    }

    /// Whether a stream is up now.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.client.is_up()
    }

    /// The server's address, as given to `open`.
    #[must_use]
    pub fn address(&self) -> &str {
        self.client.address()
    }

    /// Calls that wait for their answers now.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.client.in_flight()
    }

    /// How long calls have waited without any answer on the stream: in a server that works it stays near the
    /// time of one answer. Calls whose deadlines passed count, until an answer comes; those whose callers gave
    /// them up (dropped the future) only while others wait; time in which nothing waited does not. None:
    /// nothing is unanswered.
    #[must_use]
    pub fn silent_for(&self, now: Timestamp) -> Option<Duration> {
        self.client.silent_for(now)
    }

    /// Resolves when the next stream comes up: what must be told anew after a reconnect waits for this.
    /// On a fresh handle the first stream counts, even if it is already up.
    pub async fn reconnected(&mut self) {
        self.streams.changed().await.expect("the handle keeps the sender");
    }
}

enum Stage {
    Unsent(Start),
    Waiting(CallId),
    Done,
}

/// A call as a future: registered at its first poll, cancelled when dropped before its answer.
struct PendingCall<'a> {
    client: &'a Client,
    stage: Stage,
}

impl Future for PendingCall<'_> {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Answer> {
        match std::mem::replace(&mut self.stage, Stage::Done) {
            Stage::Unsent(start) => match self.client.start(start, Waiter::Task(context.waker().clone())) {
                Ok(id) => {
                    self.stage = Stage::Waiting(id);
                    Poll::Pending
                }
                Err(error) => Poll::Ready(Err(error)),
            },
            Stage::Waiting(id) => {
                let answer = self.client.poll(id, context.waker());
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
            self.client.abandon(id);
        }
    }
}
