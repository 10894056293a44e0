//! Sends the lookups that wait for one MemDS server, many in one message, and hands on the answers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use routing::LatencyWindow;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::warn;
use units::Timestamp;
use wire::clock;
use wire::lookup_answers;
use wire::method::LookUp;
use wire::proto::routing::LookupBatch;
use wire::transport::{CallError, Connection};

use super::Inner;
use super::lookup::{Lookup, Sent};
use super::lookup_queue::{Batch, LookupQueue, Next, Patience, Urgency};
use super::metrics::ServerMetrics;

/// A server that lets calls wait for so long without any answer is silent: as long as a background lookup's
/// answer is of use.
const SILENT: Duration = Duration::from_millis(100);

/// One MemDS server, as a proxy asks it.
#[derive(Debug)]
pub(super) struct LookupSender {
    pub(super) connection: Connection,
    queue: Mutex<LookupQueue<Lookup>>,
    /// The queue is to be looked at.
    wake: Notify,
    /// Of whole batches.
    pub(super) latencies: LatencyWindow,
    pub(super) metrics: ServerMetrics,
}

impl LookupSender {
    pub(super) fn to(connection: Connection, patience: Patience) -> Self {
        Self {
            queue: Mutex::new(LookupQueue::with_patience(patience)),
            wake: Notify::new(),
            latencies: LatencyWindow::new(),
            metrics: ServerMetrics::of(connection.address()),
            connection,
        }
    }

    /// Queues a lookup: a short lock and no more.
    pub(super) fn push(&self, lookup: Lookup, urgency: Urgency, now: Timestamp) {
        let pushed = self.queue.lock().push(lookup, urgency, now);
        if pushed.wake {
            self.wake.notify_one();
        }
        if pushed.dropped.is_some() {
            self.metrics.full.increment(1);
        }
    }

    /// What to do now, and what became too old.
    fn next(&self, now: Timestamp) -> (Next<Lookup>, Vec<Lookup>) {
        let silent = self.is_silent(now);
        let mut queue = self.queue.lock();
        queue.server_is_silent(silent);
        queue.next(now)
    }

    /// Whether calls have waited for long without any answer.
    pub(super) fn is_silent(&self, now: Timestamp) -> bool {
        self.connection.silent_for(now).is_some_and(|silent| silent >= SILENT)
    }

    /// A batch ended.
    fn answered(&self) {
        let look = self.queue.lock().answered();
        if look {
            self.wake.notify_one();
        }
    }
}

/// Sends what is queued for `server`, until `shutdown`.
pub(super) async fn send_lookups(inner: Arc<Inner>, server: Arc<LookupSender>, shutdown: CancellationToken) {
    let sending = async {
        loop {
            let (next, expired) = server.next(clock::now());
            server.metrics.expired.increment(expired.len() as u64);
            match next {
                Next::Send(batch) => send(&inner, &server, batch),
                Next::Wait => server.wake.notified().await,
                Next::Linger(left) => {
                    let _woken = tokio::time::timeout(left, server.wake.notified()).await;
                }
            }
        }
    };
    shutdown.run_until_cancelled(sending).await;
}

fn send(inner: &Arc<Inner>, server: &Arc<LookupSender>, batch: Batch<Lookup>) {
    let count = batch.lookups.len();
    let mut message = LookupBatch { lookups: Vec::with_capacity(count) };
    let mut sent = Vec::with_capacity(count);
    for Lookup { asked, for_whom } in batch.lookups {
        sent.push(Sent { table: asked.table(), for_whom });
        message.lookups.push(asked.into_entry());
    }
    let at = clock::now();
    let (caches, asked) = (Arc::clone(inner), Arc::clone(server));
    let on_answer = move |answer: Result<Bytes, CallError>| {
        let took = clock::now().since(at);
        if tells_latency(&answer) {
            asked.latencies.record(took, at + took);
        }
        asked.answered();
        // No answer is not news: the other server's is.
        let Ok(answers) = answer else { return asked.metrics.failed.increment(1) };
        asked.metrics.answered.increment(1);
        asked.metrics.round_trip.record(took);
        let mut answers = lookup_answers::read(&answers);
        for sent in sent {
            match answers.next() {
                Some(Ok(answer)) => caches.absorb(sent, answer),
                None | Some(Err(_)) => return warn!("MemDS did not answer each lookup of a batch"),
            }
        }
    };
    if server.connection.call_detached_encoded::<LookUp>(&message, batch.deadline, on_answer).is_ok() {
        server.metrics.sent.increment(count as u64);
        server.metrics.batch_size.record(count as f64);
    } else {
        server.metrics.unreachable.increment(count as u64);
        server.answered();
    }
}

/// Whether the end of a batch says how quick its server is: a refusal may come at once, and a broken connection
/// at any time.
const fn tells_latency(answer: &Result<Bytes, CallError>) -> bool {
    matches!(answer, Ok(_) | Err(CallError::Timeout))
}

#[cfg(test)]
mod tests {
    use wire::transport::Failure;

    use super::*;

    #[test]
    fn answers_and_timeouts_tell_a_servers_latency_and_other_failures_do_not() {
        assert!(tells_latency(&Ok(Bytes::new())));
        assert!(tells_latency(&Err(CallError::Timeout)));
        for error in [
            CallError::Disconnected,
            CallError::NotConnected,
            CallError::Failed(Failure::Overloaded),
            CallError::Failed(Failure::DeadlineExceeded),
        ] {
            assert!(!tells_latency(&Err(error)));
        }
    }
}
