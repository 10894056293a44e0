//! The HTTP front door: what reaches a [`Handler`] is one complete, well-framed `POST /`, and what it
//! answers goes out with DynamoDB's headers.
//!
//! hyper parses; everything here only refuses. Four parts: a guard under hyper that refuses what hyper
//! would repair silently, the server with its caps and its drain, the body with its deadlines, and the
//! responses.

mod body;
mod framing_guard;
mod in_flight;
mod request_id;
mod response;
mod self_wake;
mod server;
mod sources;

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use hyper::HeaderMap;
use hyper::header::HeaderValue;
use units::Timestamp;

pub(crate) use request_id::RequestId;
#[cfg(test)]
pub(crate) use request_id::RequestIds;
pub(crate) use response::exception;
pub(crate) use server::Server;
#[cfg(test)]
mod tests;

/// One complete request.
#[derive(Debug)]
pub(crate) struct Received {
    /// The headers, as they came.
    pub(crate) headers: HeaderMap,
    /// `Host` of HTTP/1.1, `:authority` of HTTP/2.
    pub(crate) host: HeaderValue,
    /// The whole body.
    pub(crate) body: Bytes,
    /// When its last byte had arrived; the request's only reading of the clock.
    pub(crate) arrived: Timestamp,
    /// What the answer, the logs and `weir explain` call it.
    pub(crate) id: RequestId,
}

/// What goes back: DynamoDB's JSON with its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// HTTP status.
    pub(crate) status: u16,
    /// JSON.
    pub(crate) body: Bytes,
    /// Some of it, or all, was refused for want of capacity: what the headers say of that.
    pub(crate) throttled: Option<RetryHint>,
}

/// When to come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RetryHint {
    /// In so long; none: not while the quota is what it is.
    pub(crate) after: Option<Duration>,
}

/// Answers requests.
pub(crate) trait Handler: Send + Sync + 'static {
    /// Answers one request. A panic in it costs this request only.
    fn handle(&self, request: Received) -> impl Future<Output = Answer> + Send;
}
