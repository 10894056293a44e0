//! Requests, one after the other.

use std::time::Duration;

use bytes::Bytes;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::operation::Operation;
use super::unit_rule::{Rule, UnitRule};
use crate::spec::StreamSpec;

/// The requests of one stream from one sending part (thread).
#[derive(Debug)]
pub struct RequestSource {
    stream: StreamSpec,
    rng: ChaCha8Rng,
}

/// A request that is ready to be signed and sent.
#[derive(Debug, Clone)]
pub struct Planned {
    /// What it counts as in reports.
    pub operation: Operation,
    /// `X-Amz-Target`.
    pub target: &'static str,
    /// The JSON.
    pub body: Bytes,
    /// What it costs, given its answer.
    pub units: UnitRule,
    /// The number of its key.
    key: u64,
}

impl RequestSource {
    /// The source of part `part` (from 0) of `of`. Parts insert different keys and draw differently.
    #[must_use]
    pub fn new(stream: &StreamSpec, _return_capacity: bool, seed: u64, part: usize, _of: usize) -> Self {
        Self { stream: stream.clone(), rng: ChaCha8Rng::seed_from_u64(seed.wrapping_add(part as u64)) }
    }

    /// The next request, due `at` after the run's begin.
    pub fn next(&mut self, _at: Duration) -> Planned {
        let key = self.rng.random_range(0..self.stream.keys.keys);
        let table = &self.stream.table;
        let body = format!(r#"{{"TableName":"{table}","Key":{{"pk":{{"S":"user{key:020}"}}}}}}"#);
        Planned {
            operation: Operation::GetItemEventual,
            target: Operation::GetItemEventual.target(),
            body: body.into(),
            units: UnitRule(Rule::Get { consistent: false }),
            key,
        }
    }

    /// What follows an answered request: the write of a read-modify-write. None for all others. It belongs to the
    /// request `of`: its latency counts from that one's intended time.
    pub fn follow_up(&mut self, of: &Planned, _answer: &[u8]) -> Option<Planned> {
        (of.operation == Operation::ReadModifyWrite && of.key == u64::MAX).then(|| of.clone())
    }
}
