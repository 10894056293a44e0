//! Zeroing segments ahead of the writer, on a thread of its own.
//!
//! A sync of a file whose blocks are already written costs a fraction of one that must also record new
//! blocks, so every byte of a segment is written once (with zeros) before the log writes it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};

use crate::engine::sync_parent;

/// Bytes zeroed at a time. At the slowest disk that is of use (50 MB/s) a step takes 20 ms.
const STEP: usize = 1 << 20;

/// How far a file is zeroed; the log never writes beyond.
#[derive(Debug, Default)]
pub(super) struct Frontier {
    state: Mutex<FrontierState>,
    moved: Condvar,
}

#[derive(Debug, Default)]
struct FrontierState {
    zeroed: u64,
    failed: Option<io::ErrorKind>,
}

impl Frontier {
    /// Waits until everything before `end` is zeroed.
    pub(super) fn wait_for(&self, end: u64) -> io::Result<()> {
        let mut state = self.state.lock();
        while state.zeroed < end {
            if let Some(kind) = state.failed {
                return Err(io::Error::new(kind, "the segment could not be zeroed ahead"));
            }
            self.moved.wait(&mut state);
        }
        Ok(())
    }

    fn advance(&self, to: u64) {
        self.state.lock().zeroed = to;
        self.moved.notify_all();
    }

    fn fail(&self, error: &io::Error) {
        self.state.lock().failed = Some(error.kind());
        self.moved.notify_all();
    }
}

/// A file being zeroed, and how far it is.
#[derive(Clone, Debug)]
pub(super) struct Zeroing {
    pub(super) path: PathBuf,
    pub(super) file: Arc<File>,
    pub(super) frontier: Arc<Frontier>,
    pub(super) size: u64,
}

/// The thread that zeroes.
#[derive(Debug)]
pub(super) struct Zeroer {
    jobs: Option<Sender<Zeroing>>,
    thread: Option<JoinHandle<()>>,
}

impl Zeroer {
    pub(super) fn start() -> io::Result<Self> {
        let (jobs, queue) = channel();
        let thread =
            std::thread::Builder::new().name("weir-log-zeroing".to_owned()).spawn(move || run(&queue))?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    /// Creates a file of `size` at `path`, its name durable, and zeroes it in the background.
    pub(super) fn begin(&self, path: PathBuf, size: u64) -> io::Result<Zeroing> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path)?;
        file.set_len(size)?;
        file.sync_all()?;
        sync_parent(&path)?;
        let job = Zeroing { path, file: Arc::new(file), frontier: Arc::default(), size };
        let jobs = self.jobs.as_ref().expect("the channel lives as long as the zeroer");
        jobs.send(job.clone()).map_err(|_| io::Error::other("the zeroing thread has ended"))?;
        Ok(job)
    }
}

impl Drop for Zeroer {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the zeroing thread panicked");
        }
    }
}

fn run(queue: &Receiver<Zeroing>) {
    let zeros = vec![0; STEP];
    while let Ok(job) = queue.recv() {
        if let Err(error) = zero(&job, &zeros) {
            tracing::error!(%error, "a log segment could not be zeroed ahead");
            job.frontier.fail(&error);
        }
    }
}

fn zero(job: &Zeroing, zeros: &[u8]) -> io::Result<()> {
    let mut offset = 0;
    while offset < job.size {
        // Nobody else holds the file and nobody waits: it was given up.
        if Arc::strong_count(&job.file) == 1 {
            return Ok(());
        }
        let length = (job.size - offset).min(STEP as u64);
        job.file.write_all_at(&zeros[..length as usize], offset)?;
        job.file.sync_data()?;
        offset += length;
        job.frontier.advance(offset);
    }
    Ok(())
}
