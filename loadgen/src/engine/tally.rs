//! Everything that the sending threads tell, added up.

use std::collections::BTreeMap;

use super::sample::{Batch, Ended};
use super::seconds::Seconds;
use super::sums::Sums;
use crate::outcome::Outcome;
use crate::result::{Second, StreamResult, Summary};
use crate::spec::RunSpec;
use crate::workload::Operation;

/// The figures of a run, of its measured part.
#[derive(Debug)]
pub(super) struct Tally {
    streams: Vec<OfStream>,
    late_sends: u64,
    sent: u64,
}

#[derive(Debug, Default)]
struct OfStream {
    /// What belongs to no operation: requests that were due, and those never sent.
    itself: Sums,
    operations: BTreeMap<Operation, Sums>,
    seconds: Seconds,
}

/// The figures of a run that is over.
#[derive(Debug)]
pub(super) struct Tallied {
    pub(super) total: Summary,
    pub(super) streams: Vec<StreamResult>,
}

impl Tally {
    pub(super) fn new(streams: usize) -> Self {
        let streams = (0..streams).map(|_| OfStream::default()).collect();
        Self { streams, late_sends: 0, sent: 0 }
    }

    /// Adds what a thread told, in the run's second `now`.
    pub(super) fn add(&mut self, batch: &Batch, now: u64) {
        for due in &batch.due {
            let stream = &mut self.streams[due.stream];
            stream.itself.offer(due.count);
            stream.seconds.offer(due.second, due.count, now);
        }
        for attempt in &batch.attempts {
            let stream = &mut self.streams[attempt.stream];
            stream.operations.entry(attempt.operation).or_default().attempt(attempt);
            stream.seconds.attempt(attempt, now);
        }
        for ended in &batch.ended {
            self.end(ended, now);
        }
    }

    fn end(&mut self, ended: &Ended, now: u64) {
        let stream = &mut self.streams[ended.stream];
        match ended.operation {
            Some(operation) => {
                let sums = stream.operations.entry(operation).or_default();
                sums.offer(1);
                sums.end(ended);
            }
            None => stream.itself.end(ended),
        }
        stream.seconds.end(ended, now);
        self.sent += u64::from(ended.send_delay_us.is_some());
        self.late_sends += u64::from(ended.late);
    }

    /// Packs seconds that are at rest.
    pub(super) fn pack(&mut self, now: u64) {
        for stream in &mut self.streams {
            stream.seconds.pack(now);
        }
    }

    /// A second of each stream, as far as it has come.
    pub(super) fn rows(&self, second: u64) -> Vec<Second> {
        self.streams.iter().map(|stream| stream.seconds.row(second)).collect()
    }

    /// Requests that were sent.
    pub(super) const fn sent(&self) -> u64 {
        self.sent
    }

    /// Those of them that were sent late though a connection was free.
    pub(super) const fn late_sends(&self) -> u64 {
        self.late_sends
    }

    /// Requests that were due.
    pub(super) fn offered(&self) -> u64 {
        self.streams.iter().map(|stream| stream.itself.offered()).sum()
    }

    /// Requests that were never sent: no connection became free.
    pub(super) fn not_sent(&self) -> u64 {
        self.streams.iter().map(|stream| stream.itself.ended_as(Outcome::NotSent)).sum()
    }

    /// Requests that were never sent because the retry model held them back: they were made, and have an operation.
    pub(super) fn held_back(&self) -> u64 {
        self.operations().map(|sums| sums.ended_as(Outcome::NotSent)).sum()
    }

    /// Attempts without an answer.
    pub(super) fn unanswered(&self) -> u64 {
        self.operations().map(Sums::unanswered).sum()
    }

    fn operations(&self) -> impl Iterator<Item = &Sums> {
        self.streams.iter().flat_map(|stream| stream.operations.values())
    }

    /// Attempts of all requests.
    pub(super) fn attempts(&self) -> u64 {
        self.operations().map(Sums::attempts).sum()
    }

    /// The figures, with the CPU of the busiest sending thread by second.
    pub(super) fn finish(self, spec: &RunSpec, own_cpu: &[f64]) -> Tallied {
        let mut total = Sums::default();
        let mut streams = Vec::new();
        for (stream, of) in self.streams.into_iter().zip(&spec.streams) {
            // A request's due time was counted for the stream already.
            let OfStream { itself: mut sums, operations, seconds } = stream;
            let offered = sums.offered();
            for operation in operations.values() {
                sums.add(operation);
            }
            sums.set_offered(offered);
            total.add(&sums);
            streams.push(StreamResult {
                name: of.name.clone(),
                table: of.table.clone(),
                summary: sums.summary(),
                operations: operations
                    .iter()
                    .map(|(operation, sums)| (operation.api_name().to_owned(), sums.summary()))
                    .collect(),
                seconds: seconds.into_rows(own_cpu),
            });
        }
        Tallied { total: total.summary(), streams }
    }
}
