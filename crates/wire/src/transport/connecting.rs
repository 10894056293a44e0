//! Connects, and connects again: one stream after the other, for as long as there are handles.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tonic::transport::Endpoint;
use units::Timestamp;

use super::client::{Client, ClientFrames};
use super::frame::{
    CONNECTION_WINDOW_BYTES, HTTP2_FRAME_BYTES, MAX_ENCODED_FRAME_BYTES, STREAM_WINDOW_BYTES,
};
use crate::clock;
use crate::proto::transport::Frame;
use crate::proto::transport::transport_client::TransportClient;

/// One attempt to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Back-off between attempts: doubles from the first to the last, with up to half of it as jitter.
const MIN_BACKOFF: Duration = Duration::from_millis(10);
/// See [`MIN_BACKOFF`].
const MAX_BACKOFF: Duration = Duration::from_secs(1);
/// A stream that lived this long resets the back-off.
const STABLE_AFTER: Duration = Duration::from_secs(1);
/// HTTP/2 pings, also while idle: a peer that vanished without a word is noticed within their sum.
const PING_INTERVAL: Duration = Duration::from_secs(2);
/// See [`PING_INTERVAL`]. Long enough for a server that is starved of CPU.
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// Keeps a stream up until the future is dropped.
pub(super) async fn keep_connected(client: &Arc<Client>) {
    let endpoint = match endpoint(client.address()) {
        Ok(endpoint) => endpoint,
        Err(error) => {
            tracing::error!(address = client.address(), %error, "not an address to connect to");
            client.disconnect();
            return std::future::pending().await;
        }
    };
    let mut backoff = MIN_BACKOFF;
    loop {
        let started = clock::now();
        run_stream(client, &endpoint).await;
        if clock::now().since(started) >= STABLE_AFTER {
            backoff = MIN_BACKOFF;
        }
        tokio::time::sleep(with_jitter(backoff, clock::now())).await;
        backoff = (backoff * 2).min(MAX_BACKOFF);
    }
}

/// One stream, from the attempt to connect to its end.
async fn run_stream(client: &Arc<Client>, endpoint: &Endpoint) {
    let ended = CancellationToken::new();
    let end_our_side = ended.clone().drop_guard();
    let frames = ClientFrames { client: Arc::clone(client), ended };
    let connecting = tokio::time::timeout(CONNECT_TIMEOUT, open_stream(endpoint, frames));
    let mut inbound = match connecting.await {
        Ok(Ok(inbound)) => inbound,
        Ok(Err(error)) => {
            tracing::debug!(address = client.address(), error = %chain(&*error), "could not connect");
            return client.give_up_waiting_for_the_first();
        }
        Err(_elapsed) => {
            tracing::debug!(address = client.address(), "connecting took too long");
            return client.give_up_waiting_for_the_first();
        }
    };
    client.came_up();
    loop {
        match inbound.message().await {
            Ok(Some(frame)) => client.receive(frame),
            Ok(None) => break,
            Err(status) => {
                tracing::debug!(address = client.address(), %status, "the stream broke");
                break;
            }
        }
    }
    drop(end_our_side);
    client.disconnect();
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
