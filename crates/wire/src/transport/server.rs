//! The server's side: accepts streams until it is told to stop, then drains them.

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};

use super::Service;
use super::frame::{
    CONNECTION_WINDOW_BYTES, HTTP2_FRAME_BYTES, MAX_ENCODED_FRAME_BYTES, STREAM_WINDOW_BYTES, ServerLimits,
};
use super::metrics::TransportMetrics;
use super::server_stream::{ServerFrames, ServerStream, read_requests};
use crate::proto::transport::Frame;
use crate::proto::transport::transport_server::{Transport, TransportServer};

/// Streams that one connection may carry: clients open one.
const STREAMS_PER_CONNECTION: u32 = 4;
/// Streams of one server: ten thousand clients, and some that are just being replaced.
const MAX_STREAMS: usize = 12_000;
/// A client that vanished without a word is noticed within the sum of these.
const PING_INTERVAL: std::time::Duration = std::time::Duration::from_secs(5);
/// See [`PING_INTERVAL`].
const PING_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(5);
/// After streams were cut: for their connections to close.
const CLOSE_TIMEOUT: std::time::Duration = std::time::Duration::from_millis(250);

/// Serves `service` on `listener` until `shutdown`, then drains within a deadline. Dropping the future
/// cuts every stream.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    service: Arc<dyn Service>,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    serve_with(listener, service, shutdown, ServerLimits::default()).await
}

/// [`serve`], with bounds other than the usual.
///
/// # Errors
/// When the listener fails.
pub async fn serve_with(
    listener: TcpListener,
    service: Arc<dyn Service>,
    shutdown: CancellationToken,
    limits: ServerLimits,
) -> std::io::Result<()> {
    let kill = CancellationToken::new();
    let _cut_streams_when_dropped = kill.clone().drop_guard();
    let streams = TaskTracker::new();
    let transport = StreamAcceptor {
        service,
        limits,
        stop: shutdown.clone(),
        kill: kill.clone(),
        streams: streams.clone(),
        metrics: TransportMetrics::of("server"),
    };
    let transport = TransportServer::new(transport)
        .max_decoding_message_size(MAX_ENCODED_FRAME_BYTES)
        .max_encoding_message_size(MAX_ENCODED_FRAME_BYTES);
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let accepting =
        builder().serve_with_incoming_shutdown(transport, incoming, shutdown.clone().cancelled_owned());
    let drained = async {
        shutdown.cancelled().await;
        streams.close();
        if tokio::time::timeout(limits.drain, streams.wait()).await.is_err() {
            tracing::warn!(streams = streams.len(), "streams did not drain in time and are cut");
        }
        kill.cancel();
        streams.wait().await;
        tokio::time::sleep(CLOSE_TIMEOUT).await;
    };
    tokio::select! {
        served = accepting => served.map_err(std::io::Error::other),
        () = drained => Ok(()),
    }
}

fn builder() -> Server {
    Server::builder()
        .tcp_nodelay(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(STREAMS_PER_CONNECTION)
        .max_frame_size(HTTP2_FRAME_BYTES)
        .http2_keepalive_interval(Some(PING_INTERVAL))
        .http2_keepalive_timeout(Some(PING_TIMEOUT))
}

struct StreamAcceptor {
    service: Arc<dyn Service>,
    limits: ServerLimits,
    stop: CancellationToken,
    kill: CancellationToken,
    streams: TaskTracker,
    metrics: TransportMetrics,
}

#[tonic::async_trait]
impl Transport for StreamAcceptor {
    type OpenStream = ServerFrames;

    async fn open(&self, request: Request<Streaming<Frame>>) -> Result<Response<ServerFrames>, Status> {
        if self.stop.is_cancelled() {
            return Err(Status::unavailable("stopping"));
        }
        if self.streams.len() >= MAX_STREAMS {
            return Err(Status::resource_exhausted("too many streams"));
        }
        let stream = ServerStream::new(self.limits, self.metrics.clone());
        self.metrics.connects.increment(1);
        self.streams.spawn(read_requests(
            Arc::clone(&stream),
            request.into_inner(),
            Arc::clone(&self.service),
            self.stop.clone(),
            self.kill.clone(),
        ));
        Ok(Response::new(ServerFrames(stream)))
    }
}
