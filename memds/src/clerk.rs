//! What takes long is done by one task, a little at a time: lookups are answered on the same threads, and must not
//! wait for a push of ten thousand routes or for a page of a peer's questions.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use tokio::sync::mpsc;
use tracing::error;
use wire::clock;
use wire::transport::{Failure, Incoming, Responder};

use crate::service::MemdsService;

/// Requests that may wait for the clerk: a push from each of as many nodes at once. Further ones are refused, and
/// come again.
const WAITING: usize = 1_024;

/// A request and where its answer goes.
pub(crate) type Task = (Incoming, Responder);

/// Where requests wait for the clerk.
#[derive(Debug)]
pub(crate) struct Desk(mpsc::Sender<Task>);

impl Desk {
    /// A desk, and what the clerk takes from.
    pub(crate) fn new() -> (Self, mpsc::Receiver<Task>) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (Self(sender), receiver)
    }

    /// Leaves a request to the clerk, or refuses it.
    pub(crate) fn put(&self, request: Incoming, responder: Responder) {
        match self.0.try_send((request, responder)) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full((_, responder))) => responder.fail(Failure::Overloaded),
            Err(mpsc::error::TrySendError::Closed((_, responder))) => responder.fail(Failure::Unavailable),
        }
    }
}

/// Does what is on the desk, one after the other, until the future is dropped.
pub(crate) async fn run(mut waiting: mpsc::Receiver<Task>, service: Arc<MemdsService>) {
    while let Some((request, responder)) = waiting.recv().await {
        if responder.is_cancelled() || responder.expires() <= clock::now() {
            responder.fail(Failure::DeadlineExceeded);
            continue;
        }
        let method = request.method;
        // A panic costs one request: its responder answers as it is dropped.
        let done = AssertUnwindSafe(service.work(&request, responder)).catch_unwind().await;
        if done.is_err() {
            error!(method, "a request's handler panicked");
        }
    }
}
