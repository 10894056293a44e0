//! HTTP/2 with hyper: many requests in flight on one connection.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE as CONTENT_TYPE_HEADER, HeaderName, HeaderValue};
use hyper::{Request, Uri, Version};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};

use super::fault::Fault;
use super::socket::Socket;
use crate::signer::{CONTENT_TYPE, Signed};

/// Bytes that an answer's body may have, as over HTTP/1.1.
const MOST_BODY: usize = 64 * 1024 * 1024;
/// Receive windows: a 16 MB answer must not wait for one round trip per 64 KB.
const STREAM_WINDOW: u32 = 1024 * 1024;
const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;

/// One stream after the other of a connection that others share.
#[derive(Debug)]
pub(super) struct Http2 {
    sender: SendRequest<Full<Bytes>>,
    most_streams: Arc<AtomicUsize>,
    uri: Uri,
    prepared: Option<Request<Full<Bytes>>>,
    body: Bytes,
}

impl Http2 {
    /// Opens a connection; its task ends with the last sharer.
    pub(super) async fn open(socket: Socket, authority: &str) -> Result<Self, Fault> {
        if !socket.speaks_http2() {
            return Err(Fault::NoHttp2);
        }
        let scheme = if matches!(socket, Socket::Tls(_)) { "https" } else { "http" };
        let uri =
            format!("{scheme}://{authority}/").parse().map_err(|_| Fault::NoHttp("the host is no name"))?;
        let (sender, mut connection) = Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .handshake(TokioIo::new(socket))
            .await
            .map_err(Fault::Http2)?;
        let most_streams = Arc::new(AtomicUsize::new(connection.current_max_send_streams()));
        let current = Arc::clone(&most_streams);
        // Each request in flight is told of a failure itself.
        tokio::spawn(poll_fn(move |cx| {
            let polled = Pin::new(&mut connection).poll(cx).map(drop);
            current.store(connection.current_max_send_streams(), Ordering::Relaxed);
            polled
        }));
        Ok(Self { sender, most_streams, uri, prepared: None, body: Bytes::new() })
    }

    /// Another user of the same connection.
    pub(super) fn share(&self) -> Self {
        let most_streams = Arc::clone(&self.most_streams);
        Self {
            sender: self.sender.clone(),
            most_streams,
            uri: self.uri.clone(),
            prepared: None,
            body: Bytes::new(),
        }
    }

    pub(super) fn is_usable(&self) -> bool {
        !self.sender.is_closed()
    }

    /// How many requests the server takes at once on this connection.
    pub(super) fn most_streams(&self) -> usize {
        self.most_streams.load(Ordering::Relaxed)
    }

    /// Makes the request that [`Self::exchange`] sends.
    pub(super) fn prepare(&mut self, target: &str, signed: &Signed<'_>, body: Bytes) {
        self.prepared = Some(self.request(target, signed, body));
    }

    pub(super) async fn exchange(&mut self) -> Result<u16, Fault> {
        let request = self.prepared.take().expect("a request is prepared before each exchange");
        self.sender.ready().await.map_err(Fault::Http2)?;
        let answer = self.sender.send_request(request).await.map_err(Fault::Http2)?;
        let status = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), MOST_BODY).collect().await;
        self.body = body.map_err(|error| Fault::Broken(io::Error::other(error)))?.to_bytes();
        Ok(status)
    }

    pub(super) fn body(&self) -> &[u8] {
        &self.body
    }

    fn request(&self, target: &str, signed: &Signed<'_>, body: Bytes) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = hyper::Method::POST;
        *request.uri_mut() = self.uri.clone();
        *request.version_mut() = Version::HTTP_2;
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE_HEADER, HeaderValue::from_static(CONTENT_TYPE));
        headers.insert(HeaderName::from_static("x-amz-target"), value(target.as_bytes()));
        headers.insert(HeaderName::from_static("x-amz-date"), value(signed.date.as_bytes()));
        if let Some(token) = signed.token {
            headers.insert(HeaderName::from_static("x-amz-security-token"), value(token.as_bytes()));
        }
        let mut authorization = Vec::with_capacity(signed.authorization.len() + signed.signature.len());
        authorization.extend_from_slice(signed.authorization.as_bytes());
        authorization.extend_from_slice(&signed.signature);
        let mut authorization = value(&authorization);
        // It is different each time: not for the header table.
        authorization.set_sensitive(true);
        headers.insert(AUTHORIZATION, authorization);
        request
    }
}

fn value(bytes: &[u8]) -> HeaderValue {
    // Credentials come from files that people write: a character that no header may have must not end the run.
    HeaderValue::from_bytes(bytes).unwrap_or_else(|_| HeaderValue::from_static("invalid"))
}
