//! The coalesced stream transport: one bidirectional stream per (client, server) pair, many requests
//! per frame, deadlines, cancellation, bounded queues, back-pressure.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::method::{Method, Notice};

/// Why a call has no answer. `Timeout` and `Disconnected` after sending are *indefinite*: the server may
/// have executed it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// Not sent: the queue to that server is full.
    #[error("the queue to the server is full")]
    QueueFull,
    /// Not sent: there is no connection now.
    #[error("not connected")]
    NotConnected,
    /// Sent, and the connection broke before the answer.
    #[error("the connection broke before the answer came")]
    Disconnected,
    /// Sent, and no answer came within the deadline.
    #[error("no answer within the deadline")]
    Timeout,
    /// The server answered with a failure.
    #[error("the server failed: {0:?}")]
    Failed(Failure),
    /// The answer could not be decoded.
    #[error("the answer was malformed")]
    Malformed,
}

/// What a server answers when it has no response message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Failure {
    /// Not a method of this server.
    UnknownMethod = 1,
    /// The request could not be decoded, or makes no sense.
    Malformed = 2,
    /// The server has too much to do; not executed.
    Overloaded = 3,
    /// The server is stopping or not ready; not executed.
    Unavailable = 4,
    /// The deadline passed before execution; not executed.
    DeadlineExceeded = 5,
    /// Something broke inside; may have been executed.
    Internal = 6,
}

/// A cloneable handle to one server. Connects on its own, reconnects with back-off.
#[derive(Clone, Debug)]
pub struct Connection {
    inner: Arc<()>,
}

impl Connection {
    /// A handle to the server at `address` (`host:port`); connecting starts at once in the background.
    #[must_use]
    pub fn open(address: &str, config: ConnectionConfig) -> Self {
        let _ = (address, config);
        unimplemented!()
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
        let _ = (request, deadline, &self.inner);
        unimplemented!()
    }

    /// Sends a one-way message.
    ///
    /// # Errors
    /// `QueueFull` or `NotConnected`: not sent.
    pub fn notify<N: Notice>(&self, message: &N::Message) -> Result<(), CallError> {
        let _ = message;
        unimplemented!()
    }

    /// Whether a stream is up now.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        unimplemented!()
    }

    /// Resolves when the next stream comes up: what must be told anew after a reconnect waits for this.
    pub async fn reconnected(&mut self) {
        unimplemented!()
    }
}

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

/// A server's side: what it does with what arrives. Called on the connection's task: answer at once
/// what is cheap, move the `Responder` elsewhere for what is not.
pub trait Service: Send + Sync + 'static {
    /// A request arrived; the answer goes through `responder`, now or later.
    fn call(&self, request: Incoming, responder: Responder);

    /// A one-way message arrived.
    fn notice(&self, method: u32, payload: Bytes) {
        let _ = (method, payload);
    }
}

/// A request as it arrived.
#[derive(Debug)]
pub struct Incoming {
    /// `Method::NUMBER`.
    pub method: u32,
    /// The encoded request.
    pub payload: Bytes,
    /// Time that the caller had left when it sent it.
    pub deadline: Duration,
}

impl Incoming {
    /// Decodes the request of `M`.
    ///
    /// # Errors
    /// When it is malformed; answer `Failure::Malformed`.
    pub fn decode<M: Method>(&self) -> Result<M::Request, prost::DecodeError> {
        prost::Message::decode(self.payload.clone())
    }
}

/// Answers one request; dropping it unanswered answers `Failure::Internal`.
#[derive(Debug)]
pub struct Responder {
    inner: (),
}

impl Responder {
    /// Answers with `M`'s response.
    pub fn answer<M: Method>(self, response: &M::Response) {
        let _ = (response, self.inner);
        unimplemented!()
    }

    /// Answers with a failure.
    pub fn fail(self, failure: Failure) {
        let _ = failure;
        unimplemented!()
    }

    /// Whether the caller has cancelled or gone: the work may be dropped if it has not begun.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        unimplemented!()
    }
}

/// Serves `service` on `listener` until `shutdown`, then drains within a deadline.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: tokio::net::TcpListener,
    service: Arc<dyn Service>,
    shutdown: tokio_util::sync::CancellationToken,
) -> std::io::Result<()> {
    let _ = (listener, service, shutdown);
    unimplemented!()
}
