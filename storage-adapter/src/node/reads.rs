//! Reads from a replica that may answer them.

use std::sync::Arc;

use dynamodb::operation::Operation;
use units::{LogIndex, PartitionId};

use super::request::Request;
use super::shared::Shared;
use super::unavailable;
use crate::engine::{EngineError, Replica};
use crate::{StoreError, evaluate};

/// Reads and answers: one item at once; a range, which takes CPU, on a blocking thread.
pub(crate) fn read(shared: &Arc<Shared>, request: Request) {
    match &request.operation {
        Operation::Get(get) => {
            let replica = request.hosted.replica();
            match replica.get(&get.key.0) {
                Ok(found) => {
                    request.admitted.settle_get(found.as_ref(), get.consistent);
                    request.reply.item(found, shown(&replica, get.consistent));
                }
                Err(error) => refuse(shared, request, &error),
            }
        }
        Operation::Range(_) => {
            let shared = Arc::clone(shared);
            let runtime = shared.runtime.clone();
            drop(runtime.spawn(read_range(shared, request)));
        }
        Operation::Put(_) | Operation::Update(_) | Operation::Delete(_) => {
            unreachable!("writes go through the loop")
        }
    }
}

async fn read_range(shared: Arc<Shared>, request: Request) {
    let Ok(permit) = Arc::clone(&shared.range_reads).acquire_owned().await else {
        return request.reply.refuse(unavailable("the node is stopping"));
    };
    if request.reply.is_abandoned(wire::clock::now()) {
        return;
    }
    // Those before it may have read much more than they were charged.
    if let Err(refusal) = request.admitted.recheck() {
        return request.reply.refuse(StoreError::Throttled(Box::new(refusal)));
    }
    let work = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        let Operation::Range(read) = &request.operation else { unreachable!("it is a range read") };
        let (range, replica) = (&request.hosted.assignment().range, request.hosted.replica());
        match evaluate::page(&replica, read, range, &shared.expressions) {
            Ok(outcome) => {
                request.admitted.settle(&request.operation, &outcome);
                request.reply.page(outcome, shown(&replica, read.consistent));
            }
            Err(error) => refuse(&shared, request, &error),
        }
    });
    // A panic there has dropped the reply, which answers it.
    if let Err(error) = work.await {
        tracing::error!(%error, "a range read panicked");
    }
}

/// The newest state that a read that just ended may have seen, of an eventually consistent one: read after it,
/// so that it is not older than what was seen.
fn shown(replica: &Replica, consistent: bool) -> LogIndex {
    if consistent { LogIndex::default() } else { replica.applied().position.index }
}

/// What a caller is told when the engine cannot read what an operation needs.
pub(super) fn unreadable(shared: &Shared, partition: PartitionId, error: &EngineError) -> StoreError {
    tracing::error!(%partition, %error, "a replica could not be read");
    if !matches!(error, EngineError::Damaged(_)) {
        shared.fail("a replica's file cannot be read");
    }
    StoreError::Corrupt
}

fn refuse(shared: &Shared, request: Request, error: &EngineError) {
    let error = unreadable(shared, request.hosted.partition(), error);
    request.reply.refuse(error);
}
