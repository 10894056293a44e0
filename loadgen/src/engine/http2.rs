//! HTTP/2 with hyper: many requests in flight on one connection.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper::{Request, Uri, Version};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};

use super::fault::Fault;
use super::message;
use super::socket::Socket;
use crate::signer::Signed;

/// Receive windows: a 16 MB answer must not wait for one round trip per 64 KB.
const STREAM_WINDOW: u32 = 1024 * 1024;
const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;
/// A connection on which nothing comes for so long is asked for a sign of life, and given up without one in time.
const PING_AFTER: Duration = Duration::from_secs(2);
const PONG_WITHIN: Duration = Duration::from_secs(3);

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
            .keep_alive_interval(PING_AFTER)
            .keep_alive_timeout(PONG_WITHIN)
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
        let mut request = message::request(&self.uri, target, signed, body);
        *request.version_mut() = Version::HTTP_2;
        self.prepared = Some(request);
    }

    pub(super) async fn exchange(&mut self) -> Result<u16, Fault> {
        let request = self.prepared.take().expect("a request is prepared before each exchange");
        self.sender.ready().await.map_err(Fault::Http2)?;
        let answer = self.sender.send_request(request).await.map_err(Fault::Http2)?;
        let status = answer.status().as_u16();
        self.body = message::collect(answer).await?;
        Ok(status)
    }

    pub(super) fn body(&self) -> &[u8] {
        &self.body
    }
}
