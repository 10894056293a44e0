//! Accepts connections, turns what arrives into requests, and drains when asked to stop.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Version};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulConnection;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use units::Timestamp;

use dynamodb::error::ErrorKind;

use super::body::{self, BodyError, BodyLimits};
use super::framing_guard::{GuardedStream, HeadLimits, PhaseDeadlines};
use super::in_flight::BytesInFlight;
use super::request_id::{RequestId, RequestIds};
use super::response::{self, ContentType, HttpResponse};
use super::self_wake;
use super::sources::{Place, Sources};
use super::{Handler, Received};
use crate::config::HttpConfig;
use crate::metrics as names;

/// Wait after `accept` failed, which it does when descriptors run out: trying at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Streams of one HTTP/2 connection at a time. Small, so that one connection cannot take the place of a
/// hundred, and refused streams are retried by every client.
const HTTP2_STREAMS: u32 = 32;

/// HTTP/2 windows: what one stream and one connection may send ahead of our reading.
const HTTP2_STREAM_WINDOW: u32 = 256 * 1024;
const HTTP2_CONNECTION_WINDOW: u32 = 1024 * 1024;

/// A server around one handler.
pub(crate) struct Server<H> {
    handler: Arc<H>,
    config: HttpConfig,
    region: String,
    ids: RequestIds,
    bytes: Arc<BytesInFlight>,
    working: Semaphore,
}

impl<H: Handler> Server<H> {
    pub(crate) fn new(handler: Arc<H>, config: HttpConfig, region: String, process: u128) -> Arc<Self> {
        Arc::new(Self {
            handler,
            region,
            ids: RequestIds::new(process),
            bytes: BytesInFlight::new(config.max_bytes_in_flight),
            working: Semaphore::new(config.max_concurrent_requests),
            config,
        })
    }

    /// Serves until `shutdown`; then accepts nothing more, and gives what is in progress the drain
    /// deadline.
    pub(crate) async fn serve(self: Arc<Self>, listener: TcpListener, shutdown: CancellationToken) {
        let mut connections = JoinSet::new();
        let slots = Arc::new(Semaphore::new(self.config.max_connections));
        let sources = Sources::new(self.config.max_connections_per_source);
        loop {
            let accepted = tokio::select! {
                accepted = accept(&listener, &slots, &shutdown) => accepted,
                Some(_ended) = connections.join_next() => continue,
            };
            let Some((stream, peer, slot)) = accepted else { break };
            let Some(place) = sources.admit(peer.ip()) else {
                metrics::counter!(names::CONNECTIONS_REFUSED).increment(1);
                continue;
            };
            connections.spawn(Arc::clone(&self).connection(stream, shutdown.clone(), (slot, place)));
        }
        drop(listener);
        let drain = Duration::from_millis(self.config.drain_deadline_ms);
        let drained = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(drain, drained).await.is_err() {
            tracing::warn!(connections = connections.len(), "requests abandoned at shutdown");
            connections.shutdown().await;
        }
    }

    async fn connection(
        self: Arc<Self>,
        stream: TcpStream,
        draining: CancellationToken,
        held: (OwnedSemaphorePermit, Place),
    ) {
        let _open = OpenConnection::count();
        // Answers are one write each: waiting to fill a packet would only add latency.
        let _ = stream.set_nodelay(true);
        let idle = Duration::from_millis(self.config.idle_deadline_ms);
        let beginning = tokio::time::timeout(idle, Beginning::of(&stream));
        let Some(Ok(beginning)) = draining.run_until_cancelled(beginning).await else { return };
        let guarded = TokioIo::new(GuardedStream::new(stream, self.deadlines(), self.head_limits()));
        let server = Arc::clone(&self);
        // HTTP/2 answers its streams in tasks of their own, which keep the server alive.
        let service = service_fn(move |request| Arc::clone(&server).respond(request));
        let served = match beginning {
            Beginning::Http1 => {
                let connection = self.http1().serve_connection(guarded, service);
                serve_until(connection, beginning, &draining).await.map_err(Into::into)
            }
            Beginning::Unclear => {
                // Boxed: rare, and so large that every other connection would hold its size, too.
                let builder = self.builder();
                let connection = builder.serve_connection(guarded, service);
                Box::pin(serve_until(connection, beginning, &draining)).await
            }
        };
        if let Err(error) = served {
            tracing::debug!(error = %error, "connection ended");
        }
        drop(held);
    }

    fn deadlines(&self) -> PhaseDeadlines {
        PhaseDeadlines {
            head: Duration::from_millis(self.config.head_deadline_ms),
            idle: Duration::from_millis(self.config.idle_deadline_ms),
        }
    }

    fn head_limits(&self) -> HeadLimits {
        HeadLimits { bytes: self.config.max_head_bytes, headers: self.config.max_headers }
    }

    fn http1(&self) -> http1::Builder {
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            // The guard's deadlines count from a head's first byte; hyper's would count idle time too.
            .header_read_timeout(None)
            .max_buf_size(READ_BUFFER)
            // Answers are small: to copy them behind their heads costs less than the kernel's look at two pieces.
            .writev(false);
        builder
    }

    fn builder(&self) -> auto::Builder<TokioExecutor> {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(None)
            .max_buf_size(READ_BUFFER)
            .writev(false);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(HTTP2_STREAMS)
            .initial_stream_window_size(HTTP2_STREAM_WINDOW)
            .initial_connection_window_size(HTTP2_CONNECTION_WINDOW)
            .max_header_list_size(u32::try_from(self.config.max_head_bytes).unwrap_or(u32::MAX));
        builder
    }

    /// Answers one request, whatever happens in it.
    async fn respond(self: Arc<Self>, request: Request<Incoming>) -> Result<HttpResponse, Infallible> {
        let id = self.ids.next();
        let from_browser = request.headers().contains_key(header::ORIGIN);
        let answered = together(AssertUnwindSafe(self.answer(request, id)).catch_unwind()).await;
        let mut response = answered.unwrap_or_else(|_| {
            // The panic hook has said where.
            tracing::error!(request = %id, "a request panicked");
            metrics::counter!(names::PANICS).increment(1);
            response::refusal(ErrorKind::InternalServerError, "Internal server error", &id)
        });
        if from_browser {
            response::allow_any_origin(response.headers_mut());
        }
        Ok(response)
    }

    async fn answer(&self, request: Request<Incoming>, id: RequestId) -> HttpResponse {
        // Cheap refusals first: what is no request for DynamoDB waits for nothing and reads no body.
        let Some(host) = single_host(&request) else {
            return response::bad_request(&id);
        };
        if let Some(answer) = self.without_operation(&request, &id) {
            return answer;
        }
        let Some(content_type) = ContentType::of(request.headers()) else {
            return response::closing(response::unknown_operation(&id));
        };
        // Then a place to work in. Waiting here stops reading from this connection, so the kernel's
        // buffers push back on the sender; who has waited past the target is shed before any of the
        // expensive steps.
        let Some(_working) = self.place().await else {
            metrics::counter!(names::SHED, "reason" => "queue").increment(1);
            return response::refusal(ErrorKind::ServiceUnavailable, "Service is too busy", &id);
        };
        let begun = wire::clock::now();
        let (parts, incoming) = request.into_parts();
        let mut held = self.bytes.hold();
        let body = match body::read(incoming, &self.body_limits(), &mut held, begun).await {
            Ok(body) => body,
            Err(error) => return refused_body(error, &id),
        };
        let arrived = self.arrival(begun, &body);
        let received = Received { headers: parts.headers, host, body, arrived, id };
        response::json(self.handler.handle(received).await, &id, content_type)
    }

    /// The answer to what names no operation.
    fn without_operation(&self, request: &Request<Incoming>, id: &RequestId) -> Option<HttpResponse> {
        let root = request.uri().path() == "/" && request.uri().query().is_none_or(str::is_empty);
        match *request.method() {
            Method::POST if root => None,
            Method::GET | Method::HEAD if root => Some(response::healthy(&self.region, id)),
            Method::OPTIONS if root => Some(response::preflight(request.headers(), id)),
            _ => Some(response::closing(response::unknown_operation(id))),
        }
    }

    async fn place(&self) -> Option<SemaphorePermit<'_>> {
        if let Ok(place) = self.working.try_acquire() {
            return Some(place);
        }
        let target = Duration::from_millis(self.config.queue_delay_target_ms);
        tokio::time::timeout(target, self.working.acquire()).await.ok()?.ok()
    }

    fn body_limits(&self) -> BodyLimits {
        BodyLimits {
            max_bytes: self.config.max_body_bytes,
            deadline: Duration::from_millis(self.config.body_deadline_ms),
            min_rate: self.config.min_body_bytes_per_second,
        }
    }

    /// Now, for the request's own deadline. The clock is read again only for a body large enough to have
    /// taken time.
    fn arrival(&self, begun: Timestamp, body: &[u8]) -> Timestamp {
        if body.len() <= SMALL_BODY { begun } else { wire::clock::now() }
    }
}

/// What hyper may read ahead, per connection: a body of 64 KiB comes in one piece, and 10,000 connections
/// hold at most 640 MB, which the bytes in flight bound once they are requests.
const READ_BUFFER: usize = 64 * 1024;

/// What a connection's first bytes say of its protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Beginning {
    /// HTTP/1, for sure.
    Http1,
    /// HTTP/2, or too few bytes to tell.
    Unclear,
}

/// How every HTTP/2 connection begins (RFC 9113 §3.4), and no request that we answer.
const HTTP2_BEGINS: &[u8] = b"PRI * HTTP/2.0";

impl Beginning {
    /// Waits for the first bytes, and leaves them there. So that what serves the connection need not be able
    /// to become one or the other: HTTP/1 requests, which are most, would pay for that, each.
    async fn of(stream: &TcpStream) -> Self {
        let mut first = [0; HTTP2_BEGINS.len()];
        let peeked = stream.peek(&mut first).await.unwrap_or(0);
        Self::from_bytes(&first[..peeked])
    }

    fn from_bytes(first: &[u8]) -> Self {
        if HTTP2_BEGINS.starts_with(first) { Self::Unclear } else { Self::Http1 }
    }
}

/// Counts a connection as long as it lives.
struct OpenConnection(metrics::Gauge);

impl OpenConnection {
    fn count() -> Self {
        let gauge = metrics::gauge!(names::CONNECTIONS);
        gauge.increment(1);
        Self(gauge)
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}

/// Serves a connection; once `draining`, only to the end of the request that it is at.
async fn serve_until<C>(
    connection: C,
    beginning: Beginning,
    draining: &CancellationToken,
) -> Result<(), C::Error>
where
    C: GracefulConnection + Future<Output = Result<(), <C as GracefulConnection>::Error>>,
{
    let mut connection = pin!(connection);
    let served = async {
        match beginning {
            Beginning::Http1 => self_wake::listening(connection.as_mut()).await,
            // It must hear all: HTTP/2's windows are opened by whoever takes a piece.
            Beginning::Unclear => connection.as_mut().await,
        }
    };
    tokio::select! {
        biased;
        served = served => return served,
        () = draining.cancelled() => {}
    }
    connection.as_mut().graceful_shutdown();
    connection.await
}

/// What `answering` comes to; an answer that waited for nobody, a refusal mostly, lets the other connections of this
/// turn read and refuse first. Then they are written one after the other: one wakes the client, where each would.
async fn together<T>(answering: impl Future<Output = T>) -> T {
    let mut answering = pin!(answering);
    let mut waited = false;
    let answer = poll_fn(|context| {
        let polled = answering.as_mut().poll(context);
        waited |= polled.is_pending();
        polled
    })
    .await;
    if !waited {
        tokio::task::yield_now().await;
    }
    answer
}

/// A body that comes with its head's packet.
const SMALL_BODY: usize = 1024;

/// The next connection and its slot; none once shut down. While all slots are taken nothing is accepted:
/// clients wait in the kernel's queue, and then elsewhere.
async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
    shutdown: &CancellationToken,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let next = async {
        let slot = Arc::clone(slots).acquire_owned().await.expect("the semaphore is never closed");
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => return (stream, peer, slot),
                Err(error) => {
                    tracing::warn!(error = %error, "accept failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    shutdown.run_until_cancelled(next).await
}

/// The one host that the request names: what its signature covers.
fn single_host(request: &Request<Incoming>) -> Option<HeaderValue> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let header = hosts.next();
    if hosts.next().is_some() {
        return None;
    }
    let authority = request.uri().authority();
    match (request.version(), header, authority) {
        // The guard let no absolute-form target pass; this is the same rule for whoever removes it.
        (Version::HTTP_10 | Version::HTTP_11, Some(host), None) => Some(host.clone()),
        (Version::HTTP_2, None, Some(authority)) => HeaderValue::from_str(authority.as_str()).ok(),
        (Version::HTTP_2, Some(host), None) => Some(host.clone()),
        (Version::HTTP_2, Some(host), Some(authority)) => {
            (host.as_bytes() == authority.as_str().as_bytes()).then(|| host.clone())
        }
        _ => None,
    }
}

fn refused_body(error: BodyError, id: &RequestId) -> HttpResponse {
    let (kind, message, reason) = match error {
        BodyError::TooLarge => (ErrorKind::RequestEntityTooLarge, "", "body too large"),
        BodyError::TooSlow => (ErrorKind::RequestTimeout, "", "body too slow"),
        BodyError::NoRoom => (ErrorKind::ServiceUnavailable, "Service is too busy", "bytes in flight"),
        BodyError::Broken => (ErrorKind::Serialization, "", "body broken"),
    };
    metrics::counter!(names::SHED, "reason" => reason).increment(1);
    response::refusal(kind, message, id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_that_waited_for_nobody_lets_others_refuse_first() {
        let steps = std::cell::RefCell::new(Vec::new());
        let refuse = async || {
            together(async { steps.borrow_mut().push("refused") }).await;
            steps.borrow_mut().push("written");
        };
        tokio::join!(refuse(), refuse());
        assert_eq!(*steps.borrow(), ["refused", "refused", "written", "written"]);
    }

    #[test]
    fn whatever_may_still_become_http2_is_not_taken_for_http1() {
        for cut in 0..=HTTP2_BEGINS.len() {
            assert_eq!(Beginning::from_bytes(&HTTP2_BEGINS[..cut]), Beginning::Unclear);
        }
        for first in ["POST / HTTP/1.", "GET ", "PUT", "PROPFIND / HTT", "\0"] {
            assert_eq!(Beginning::from_bytes(first.as_bytes()), Beginning::Http1, "{first}");
        }
    }
}
