//! Connects, and connects again: one stream after the other, for as long as there are handles.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use units::Timestamp;

use super::client::Client;
use super::client_link::ClientLink;
use super::framing::{Framed, StreamError};
use super::local::{self, LocalLink};
use crate::clock;

/// One attempt to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Back-off between attempts: doubles from the first to the last, with up to half of it as jitter.
const MIN_BACKOFF: Duration = Duration::from_millis(10);
/// See [`MIN_BACKOFF`].
const MAX_BACKOFF: Duration = Duration::from_secs(1);
/// A stream that lived this long resets the back-off.
const STABLE_AFTER: Duration = Duration::from_secs(1);
/// Keeps a stream up until the future is dropped.
pub(super) async fn keep_connected(client: &Arc<Client>) {
    let mut backoff = MIN_BACKOFF;
    loop {
        let started = clock::now();
        run_stream(client).await;
        if clock::now().since(started) >= STABLE_AFTER {
            backoff = MIN_BACKOFF;
        }
        tokio::time::sleep(with_jitter(backoff, clock::now())).await;
        backoff = (backoff * 2).min(MAX_BACKOFF);
    }
}

/// One stream, from the attempt to connect to its end.
async fn run_stream(client: &Arc<Client>) {
    let ended = match local::find(client.address()) {
        Some(requests) => {
            client.came_up();
            LocalLink::new(Arc::clone(client), requests).await;
            Ok(())
        }
        None => match tokio::time::timeout(CONNECT_TIMEOUT, open_stream(client.address())).await {
            Ok(Ok(framed)) => {
                client.came_up();
                ClientLink::new(Arc::clone(client), framed).await
            }
            Ok(Err(error)) => {
                tracing::debug!(address = client.address(), error = %chain(&error), "could not connect");
                return client.give_up_waiting_for_the_first();
            }
            Err(_elapsed) => {
                tracing::debug!(address = client.address(), "connecting took too long");
                return client.give_up_waiting_for_the_first();
            }
        },
    };
    if let Err(error) = ended {
        tracing::debug!(address = client.address(), error = %chain(&error), "the stream broke");
    }
    client.disconnect();
}

async fn open_stream(address: &str) -> Result<Framed<TcpStream>, StreamError> {
    let socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    Framed::meet_server(socket).await
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
