//! CPU of the sending threads by second, and of processes over the measured part, as the kernel accounts it.

use std::path::PathBuf;
use std::time::Duration;

use units::Timestamp;

use crate::process_cpu::{cpu_time, resident_bytes, stolen_time, thread_cpu_time};
use crate::result::ProcessCpu;

/// A last part of a second counts for a thread's share if it is at least so long: the kernel accounts in steps of
/// milliseconds.
const LEAST_SPAN: Duration = Duration::from_millis(200);

/// Readings of CPU accounts.
#[derive(Debug)]
pub(super) struct Usage {
    threads: Vec<PathBuf>,
    processes: Vec<Process>,
    /// At the begin of the measured part, at the end of each of its seconds, and at its end.
    readings: Vec<Reading>,
    own: Span,
    stolen: Span,
}

#[derive(Debug)]
struct Reading {
    at: Timestamp,
    threads: Vec<Duration>,
}

#[derive(Debug)]
struct Process {
    name: String,
    pid: u32,
    cpu: Span,
    rss_bytes: u64,
}

/// CPU at the first reading and at the last.
#[derive(Debug, Clone, Copy, Default)]
struct Span {
    first: Duration,
    last: Duration,
}

impl Usage {
    pub(super) fn new(threads: Vec<PathBuf>, processes: Vec<(String, u32)>) -> Self {
        let process = |(name, pid)| Process { name, pid, cpu: Span::default(), rss_bytes: 0 };
        let processes = processes.into_iter().map(process).collect();
        Self { threads, processes, readings: Vec::new(), own: Span::default(), stolen: Span::default() }
    }

    /// When to read next, if ever.
    pub(super) fn next_look(&self, measured: Timestamp, end: Timestamp) -> Option<Timestamp> {
        match self.readings.last() {
            None => Some(measured),
            Some(last) if last.at >= end => None,
            Some(_) => Some((measured + Duration::from_secs(self.seconds() + 1)).min(end)),
        }
    }

    /// Reads, if it is time.
    pub(super) fn look(&mut self, now: Timestamp, measured: Timestamp, end: Timestamp) {
        if self.next_look(measured, end).is_none_or(|next| now < next) {
            return;
        }
        let first = self.readings.is_empty();
        let threads = self.threads.iter().map(|thread| thread_cpu_time(thread)).collect();
        self.readings.push(Reading { at: now, threads });
        self.own.read(cpu_time(std::process::id()), first);
        self.stolen.read(stolen_time(), first);
        for process in &mut self.processes {
            process.cpu.read(cpu_time(process.pid), first);
            process.rss_bytes = resident_bytes(process.pid);
        }
    }

    /// Seconds that were read, the last perhaps a part of one.
    pub(super) fn seconds(&self) -> u64 {
        (self.readings.len() as u64).saturating_sub(1)
    }

    /// The share of a core that the busiest thread used in a second.
    pub(super) fn busiest(&self, second: u64) -> f64 {
        let at = usize::try_from(second).unwrap_or(usize::MAX);
        (0..self.threads.len()).map(|thread| self.share(thread, at)).fold(0.0, f64::max)
    }

    /// The share of a core that each thread used, by second.
    pub(super) fn shares(&self) -> Vec<Vec<f64>> {
        let seconds = self.readings.len().saturating_sub(1);
        (0..self.threads.len())
            .map(|thread| (0..seconds).map(|second| self.share(thread, second)).collect())
            .collect()
    }

    /// CPU time that the machine's host took away in the measured part.
    pub(super) fn stolen(&self) -> Duration {
        Duration::from_micros(self.stolen.us())
    }

    /// CPU of this process in the measured part, in microseconds.
    pub(super) fn own_cpu_us(&self) -> u64 {
        self.own.us()
    }

    /// CPU of the others.
    #[expect(clippy::cast_precision_loss, reason = "a mean")]
    pub(super) fn processes(&self, attempts: u64) -> Vec<ProcessCpu> {
        let of = |process: &Process| ProcessCpu {
            name: process.name.clone(),
            pid: process.pid,
            cpu_us: process.cpu.us(),
            cpu_us_per_attempt: process.cpu.us() as f64 / attempts.max(1) as f64,
            rss_bytes: process.rss_bytes,
        };
        self.processes.iter().map(of).collect()
    }

    fn share(&self, thread: usize, second: usize) -> f64 {
        let (Some(from), Some(to)) = (self.readings.get(second), self.readings.get(second + 1)) else {
            return 0.0;
        };
        let span = to.at.since(from.at);
        if span < LEAST_SPAN {
            return 0.0;
        }
        to.threads[thread].saturating_sub(from.threads[thread]).as_secs_f64() / span.as_secs_f64()
    }
}

impl Span {
    const fn read(&mut self, cpu: Duration, first: bool) {
        if first {
            self.first = cpu;
        }
        self.last = cpu;
    }

    fn us(self) -> u64 {
        u64::try_from(self.last.saturating_sub(self.first).as_micros()).unwrap_or(u64::MAX)
    }
}
