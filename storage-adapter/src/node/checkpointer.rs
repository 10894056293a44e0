//! The thread that checkpoints replicas, one round at a time.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use admission::CapacityKind;
use dynamodb::capacity;
use units::PartitionId;

use super::inbox::Input;
use super::shared::Shared;
use crate::engine::{EngineError, Replica};
use crate::metrics;

/// How long a replica waits behind customers' writes at most: the log grows meanwhile, and with it what a
/// restart replays.
const PATIENCE: Duration = Duration::from_secs(10);

/// The replicas of one round.
pub(super) type Round = Vec<(PartitionId, Arc<Replica>)>;

/// The thread's handle.
#[derive(Debug)]
pub(super) struct Checkpointer {
    rounds: Option<Sender<Round>>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpointer {
    pub(super) fn start(shared: Arc<Shared>) -> io::Result<Self> {
        let (rounds, queue) = channel();
        let thread = std::thread::Builder::new()
            .name("weir-checkpoint".to_owned())
            .spawn(move || run(&shared, &queue))?;
        Ok(Self { rounds: Some(rounds), thread: Some(thread) })
    }

    /// Begins a round; its end comes to the inbox. There is one at a time.
    pub(super) fn begin(&self, round: Round) {
        if let Some(rounds) = &self.rounds
            && rounds.send(round).is_err()
        {
            tracing::error!("the checkpoint thread has ended");
        }
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        drop(self.rounds.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the checkpoint thread panicked");
        }
    }
}

fn run(shared: &Shared, queue: &Receiver<Round>) {
    while let Ok(round) = queue.recv() {
        for (partition, replica) in round {
            if shared.stopping.is_cancelled() || shared.failed.is_cancelled() {
                return;
            }
            let stopping = || shared.stopping.is_cancelled() || shared.failed.is_cancelled();
            let cost = capacity::write_cost(replica.weight());
            shared.throughput.background_blocking(CapacityKind::Write, cost, PATIENCE, stopping);
            let started = wire::clock::now();
            match replica.checkpoint() {
                Ok(position) => shared.inbox.push(Input::Checkpointed(partition, position)),
                Err(error) => {
                    tracing::error!(%partition, %error, "a checkpoint failed");
                    if matches!(error, EngineError::Damaged(_))
                        && let Err(error) = replica.set_aside()
                    {
                        tracing::error!(%partition, %error, "the damaged file could not be set aside");
                    }
                    return shared.fail("a checkpoint failed");
                }
            }
            metrics::checkpointed(wire::clock::now().since(started));
        }
        shared.inbox.push(Input::CheckpointRoundDone);
    }
}
