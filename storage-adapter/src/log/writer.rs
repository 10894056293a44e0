//! The log's one writer thread. While one sync runs, batches gather; the next sync covers them all: so
//! group commit emerges, and an idle log costs nothing.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};
use replication::wal::{Log, LogError, SegmentStore};
use replication::{PersistBatch, PersistSequence};
use units::PartitionId;

use crate::metrics;

/// What the writer tells the node's loop.
pub(crate) trait LogEvents: Send + 'static {
    /// Everything up to this batch is durable; `bytes` were written for it, roughly.
    fn persisted(&self, up_to: PersistSequence, bytes: u64);
    /// Segments were reclaimed; these groups' checkpoints hold the next one back.
    fn reclaimed(&self, pinned_by: Vec<PartitionId>);
    /// A file failed: it is never tried again, and the node must stop.
    fn failed(&self, error: &(dyn std::error::Error + 'static));
}

/// An action that must follow the sync of what was pushed before it.
pub(crate) type AfterSync = Box<dyn FnOnce() -> io::Result<()> + Send>;

enum Job {
    Batch(PersistBatch),
    AfterSync(AfterSync),
    Reclaim,
}

/// The handle of the writer thread. What is pushed is bounded by the bytes that the groups may have
/// proposed and not committed.
pub(crate) struct LogWriter {
    queue: Arc<Queue>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Queue {
    state: Mutex<QueueState>,
    pushed: Condvar,
}

#[derive(Default)]
struct QueueState {
    jobs: Vec<Job>,
    closed: bool,
}

impl std::fmt::Debug for LogWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogWriter").finish_non_exhaustive()
    }
}

impl LogWriter {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub(crate) fn start<S>(log: Log<S>, events: impl LogEvents) -> io::Result<Self>
    where
        S: SegmentStore<File: Send> + Send + 'static,
    {
        let queue = Arc::<Queue>::default();
        let thread = std::thread::Builder::new().name("weir-log".to_owned()).spawn({
            let queue = Arc::clone(&queue);
            move || run(log, &queue, &events)
        })?;
        Ok(Self { queue, thread: Some(thread) })
    }

    /// Has `batch` made durable.
    pub(crate) fn append(&self, batch: PersistBatch) {
        self.push(Job::Batch(batch));
    }

    /// Has `action` done once everything pushed before is durable.
    pub(crate) fn after_sync(&self, action: AfterSync) {
        self.push(Job::AfterSync(action));
    }

    /// Has segments removed that no group needs, once everything pushed before is durable.
    pub(crate) fn reclaim(&self) {
        self.push(Job::Reclaim);
    }

    fn push(&self, job: Job) {
        self.queue.state.lock().jobs.push(job);
        self.queue.pushed.notify_one();
    }

    /// Writes what was pushed, and ends the thread.
    pub(crate) fn close(&mut self) {
        self.queue.state.lock().closed = true;
        self.queue.pushed.notify_one();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the log's writer thread panicked");
        }
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        self.close();
    }
}

impl Queue {
    /// Everything that is queued; none: closed.
    fn take(&self) -> Option<Vec<Job>> {
        let mut state = self.state.lock();
        loop {
            if !state.jobs.is_empty() {
                return Some(std::mem::take(&mut state.jobs));
            }
            if state.closed {
                return None;
            }
            self.pushed.wait(&mut state);
        }
    }
}

fn run<S: SegmentStore>(mut log: Log<S>, queue: &Queue, events: &impl LogEvents) {
    while let Some(jobs) = queue.take() {
        if let Err(error) = write(&mut log, jobs, events) {
            events.failed(&error);
            // Never again: what reached the disk is unknown.
            return;
        }
    }
}

fn write<S: SegmentStore>(log: &mut Log<S>, jobs: Vec<Job>, events: &impl LogEvents) -> Result<(), LogError> {
    let mut durable = None;
    let mut bytes = 0;
    let mut batches = 0_u32;
    let mut later = Vec::new();
    for job in jobs {
        match job {
            Job::Batch(batch) => {
                log.append(&batch.records)?;
                bytes += super::weight(&batch.records);
                durable = Some(batch.sequence);
                batches += 1;
            }
            other => later.push(other),
        }
    }
    if let Some(sequence) = durable {
        let started = wire::clock::now();
        log.sync()?;
        metrics::log_synced(wire::clock::now().since(started), bytes, batches);
        events.persisted(sequence, bytes);
    }
    for job in later {
        match job {
            Job::AfterSync(action) => action().map_err(|error| LogError::Io("followed up", error))?,
            Job::Reclaim => {
                log.reclaim()?;
                events.reclaimed(log.pinned_by());
            }
            Job::Batch(_) => unreachable!("batches were written above"),
        }
    }
    Ok(())
}
