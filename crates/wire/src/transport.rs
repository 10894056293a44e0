//! The coalesced stream transport: one bidirectional stream per (client, server) pair, many requests
//! per frame, deadlines, cancellation, bounded queues, back-pressure.
//!
//! How a call travels: the caller's task encodes it and puts it in the connection's queue under one
//! short lock; the connection's task, once the tasks that were ready have run too, takes everything that is
//! queued as one frame (no timer delays anything); the server's task for the stream hands each request to the
//! [`Service`] inline; the answer goes through a [`Responder`] into the stream's out-queue and home in the same way.
//! Frames travel over plain TCP, each behind its length ([decision 18](../../../docs/decisions/0018-frames-over-tcp.md)).
//!
//! What bounds it: the connection's `queue` and `in_flight`, the queues' bytes, the frames' size, the
//! requests that a server keeps unanswered per stream, and TCP's windows. A server whose answers
//! are not read stops reading requests; so a slow reader slows itself, and nothing grows.

mod calls;
mod client;
mod client_link;
mod connecting;
mod connection;
mod frame;
mod frame_age;
mod framing;
mod local;
mod metrics;
mod server;
mod server_link;
mod server_stream;
mod silence;

use std::time::Duration;

use bytes::Bytes;

use crate::method::Method;

pub use connection::{Connection, ConnectionConfig};
pub use local::connect_within_the_process;
pub use server::{serve, serve_with};
pub use server_stream::Responder;

pub use frame::{MAX_PAYLOAD_BYTES, ServerLimits};

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

impl Failure {
    /// Reads the status of a response that is not 0. What a newer server calls differently is internal.
    const fn from_status(status: u32) -> Self {
        match status {
            1 => Self::UnknownMethod,
            2 => Self::Malformed,
            3 => Self::Overloaded,
            4 => Self::Unavailable,
            5 => Self::DeadlineExceeded,
            _ => Self::Internal,
        }
    }
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

    /// Everything that one frame brought was handed over: time to do together what was only put aside. A service
    /// that wraps another must pass it on.
    fn frame_ended(&self) {}
}

/// A request as it arrived.
#[derive(Debug)]
pub struct Incoming {
    /// `Method::NUMBER`.
    pub method: u32,
    /// The encoded request.
    pub payload: Bytes,
    /// Time that the caller has left: what it had when it sent it, less what its frame waited on the way.
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

#[cfg(test)]
mod link_tests;
#[cfg(test)]
mod tests;
