//! Sends the lookups that wait for one MemDS server, many in one message, and hands on the answers.

use std::sync::Arc;

use parking_lot::Mutex;
use routing::LatencyWindow;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::warn;
use units::Timestamp;
use wire::clock;
use wire::method::LookUp;
use wire::proto::routing::{LookupAnswer, LookupAnswers, LookupBatch};
use wire::transport::{CallError, Connection};

use super::Inner;
use super::lookup::{Lookup, Sent};
use super::lookup_queue::{Batch, LookupQueue, Next, Patience, Urgency};
use super::metrics::ServerMetrics;

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
            let (next, expired) = server.queue.lock().next(clock::now());
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
    for Lookup { asked, waiter } in batch.lookups {
        sent.push(Sent { table: asked.table(), waiter });
        message.lookups.push(asked.into_entry());
    }
    let at = clock::now();
    let (caches, asked) = (Arc::clone(inner), Arc::clone(server));
    let on_answer = move |answer: Result<LookupAnswers, CallError>| {
        let took = clock::now().since(at);
        asked.latencies.record(took, at + took);
        asked.answered();
        match whole(answer, sent.len()) {
            Some(answers) => {
                asked.metrics.answered.increment(1);
                asked.metrics.round_trip.record(took);
                for (sent, answer) in sent.into_iter().zip(answers) {
                    caches.absorb(sent, answer);
                }
            }
            // No answer is not news: the other server's is.
            None => asked.metrics.failed.increment(1),
        }
    };
    if server.connection.call_detached::<LookUp>(&message, batch.deadline, on_answer).is_ok() {
        server.metrics.sent.increment(count as u64);
        server.metrics.batch_size.record(count as f64);
    } else {
        server.metrics.unreachable.increment(count as u64);
        server.answered();
    }
}

/// The answers, if there is one for each of `asked` lookups.
fn whole(answer: Result<LookupAnswers, CallError>, asked: usize) -> Option<Vec<LookupAnswer>> {
    let answers = answer.ok()?.answers;
    if answers.len() != asked {
        warn!(asked, answered = answers.len(), "MemDS did not answer each lookup of a batch");
        return None;
    }
    Some(answers)
}
