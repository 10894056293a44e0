//! The server's side: accepts streams until it is told to stop, then drains them.

use std::io;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Service;
use super::frame::ServerLimits;
use super::framing::{Framed, StreamError};
use super::local;
use super::metrics::TransportMetrics;
use super::server_link::ServerLink;
use super::server_stream::{Requests, ServerStream};

/// Streams of one server: ten thousand clients, and some that are just being replaced.
pub(super) const MAX_STREAMS: usize = 12_000;
/// With fewer streams than this, those that ended are not looked for.
const LEAST_TIDIED: usize = 16;
/// Connections that have not yet said that they are one of ours; more wait in the listener's backlog. One of ours
/// says it at once.
pub(super) const MAX_UNMET: usize = 256;
/// How long a client may take to say that it is one of ours.
const MEET_WITHIN: Duration = Duration::from_secs(5);
/// How often a stopping server looks whether its streams have ended.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// When no connection can be accepted (no file descriptors are left, say), how long until the next attempt.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);

/// Serves `service` on `listener` until `shutdown`, then drains within a deadline. Dropping the future
/// cuts every stream.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    service: Arc<dyn Service>,
    shutdown: CancellationToken,
) -> io::Result<()> {
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
) -> io::Result<()> {
    let acceptor = Arc::new(Acceptor::new(service, limits));
    let _cut_when_dropped = Cut(Arc::clone(&acceptor));
    let tasks = TaskTracker::new();
    let listed = local::list(listener.local_addr()?, &acceptor);
    shutdown.run_until_cancelled(accept(listener, &acceptor, &tasks, &shutdown)).await;
    drop(listed);
    acceptor.stop();
    tasks.close();
    let drained = async {
        tasks.wait().await;
        acceptor.drained().await;
    };
    if tokio::time::timeout(limits.drain, drained).await.is_err() {
        tracing::warn!(streams = tasks.len(), "streams did not drain in time and are cut");
        acceptor.cut();
        tasks.wait().await;
    }
    Ok(())
}

async fn accept(
    listener: TcpListener,
    acceptor: &Arc<Acceptor>,
    tasks: &TaskTracker,
    shutdown: &CancellationToken,
) {
    let unmet = Arc::new(Semaphore::new(MAX_UNMET));
    loop {
        let place = Arc::clone(&unmet).acquire_owned().await.expect("it is never closed");
        match listener.accept().await {
            Ok((socket, _)) => {
                let (acceptor, shutdown) = (Arc::clone(acceptor), shutdown.clone());
                tasks.spawn(async move {
                    let ended = run(socket, place, acceptor, shutdown).await;
                    if let Err(error) = ended {
                        tracing::debug!(%error, "a client's stream broke");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection cannot be accepted");
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}

/// One client, from its connection to its end.
async fn run(
    socket: TcpStream,
    unmet: OwnedSemaphorePermit,
    acceptor: Arc<Acceptor>,
    shutdown: CancellationToken,
) -> Result<(), StreamError> {
    socket.set_nodelay(true)?;
    let meeting = tokio::time::timeout(MEET_WITHIN, Framed::meet_client(socket));
    // A stopping server does not wait for somebody who says nothing.
    let Some(met) = shutdown.run_until_cancelled(meeting).await else { return Ok(()) };
    let framed = met.map_err(|_elapsed| StreamError::Silent)??;
    drop(unmet);
    match acceptor.welcome(framed) {
        Some(link) => link.await,
        None => Ok(()),
    }
}

/// What all streams of a server share.
pub(super) struct Acceptor {
    service: Arc<dyn Service>,
    limits: ServerLimits,
    streams: Mutex<Streams>,
    metrics: TransportMetrics,
}

#[derive(Default)]
struct Streams {
    /// Also some that have ended: they are left out when there are twice as many as there were, and
    /// before any is refused.
    all: Vec<Weak<ServerStream>>,
    tidy_at: usize,
    stopping: bool,
}

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Acceptor").finish_non_exhaustive()
    }
}

impl Acceptor {
    pub(super) fn new(service: Arc<dyn Service>, limits: ServerLimits) -> Self {
        Self { service, limits, streams: Mutex::default(), metrics: TransportMetrics::of("server") }
    }

    /// Accepts the stream of a client that was met; none: it is refused. Only an accepted client hears our preface:
    /// one that is refused knows that nothing of what it has queued was executed.
    pub(super) fn welcome<S>(&self, mut framed: Framed<S>) -> Option<ServerLink<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let requests = self.accept()?;
        framed.welcome();
        Some(ServerLink::new(requests, framed))
    }

    /// A new stream; none: the server is stopping, or has too many.
    pub(super) fn accept(&self) -> Option<Requests> {
        let mut streams = self.streams.lock();
        if streams.all.len() >= streams.tidy_at {
            streams.all.retain(|stream| stream.strong_count() > 0);
            streams.tidy_at = (2 * streams.all.len()).clamp(LEAST_TIDIED, MAX_STREAMS);
        }
        if streams.stopping || streams.all.len() >= MAX_STREAMS {
            return None;
        }
        let stream = ServerStream::new(self.limits, self.metrics.clone());
        streams.all.push(Arc::downgrade(&stream));
        Some(Requests::new(stream, Arc::clone(&self.service)))
    }

    /// Takes no more streams, and asks the clients of all to finish.
    pub(super) fn stop(&self) {
        self.streams.lock().stopping = true;
        self.each(ServerStream::stop);
    }

    /// Ends every stream at once.
    fn cut(&self) {
        self.streams.lock().stopping = true;
        self.each(ServerStream::end);
    }

    fn each(&self, act: impl Fn(&ServerStream)) {
        let all = self.streams.lock().all.clone();
        all.iter().filter_map(Weak::upgrade).for_each(|stream| act(&stream));
    }

    /// Resolves when every stream has ended, those within the process, too.
    async fn drained(&self) {
        let is_open =
            |stream: &Weak<ServerStream>| stream.upgrade().is_some_and(|stream| !stream.has_ended());
        while self.streams.lock().all.iter().any(is_open) {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// Cuts the streams when the server is dropped.
struct Cut(Arc<Acceptor>);

impl Drop for Cut {
    fn drop(&mut self) {
        self.0.cut();
    }
}
