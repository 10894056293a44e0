//! Requests, one after the other: operations by their shares, for keys by their popularity.

use std::time::Duration;

use bytes::Bytes;
use dynamodb::capacity::write_cost;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::item::ItemLayout;
use super::key::{KeySpace, scramble};
use super::key_chooser::KeyChooser;
use super::mix::Mix;
use super::operation::Operation;
use super::request_body::{Condition, RequestBodies};
use super::unit_rule::{Rule, UnitRule};
use crate::spec::StreamSpec;

/// A batch's items must differ; a key that was drawn twice is drawn again so often, then the next free one is taken.
const MOST_DRAWS: u32 = 4;

/// The requests of one stream from one sending part (thread). The same arguments and times give the same requests.
#[derive(Debug)]
pub struct RequestSource {
    mix: Mix,
    chooser: KeyChooser,
    bodies: RequestBodies,
    rng: ChaCha8Rng,
    /// The keys of a batch, kept for its memory.
    numbers: Vec<u64>,
}

/// A request that is ready to be signed and sent.
#[derive(Debug, Clone)]
pub struct Planned {
    /// What it counts as in reports.
    pub operation: Operation,
    /// The value of `X-Amz-Target`.
    pub target: &'static str,
    /// The JSON.
    pub body: Bytes,
    /// What it costs, given its answer.
    pub units: UnitRule,
    /// The number of its (first) key.
    key: u64,
}

impl RequestSource {
    /// The source of part `part` (from 0) of `of`. Parts draw differently and insert different keys.
    #[must_use]
    pub fn new(stream: &StreamSpec, return_capacity: bool, seed: u64, part: usize, of: usize) -> Self {
        let keys = KeySpace::of(&stream.keys, &stream.mix);
        let layout = ItemLayout::new(stream.item_size, &keys);
        let (part, of) = (part as u64, of as u64);
        // Streams of one run, and parts of one stream, draw independently.
        let own_seed =
            stream.name.bytes().fold(scramble(seed), |hash, byte| scramble(hash ^ u64::from(byte)));
        Self {
            mix: stream.mix.clone(),
            chooser: KeyChooser::new(&stream.keys, part, of),
            bodies: RequestBodies::new(&stream.table, return_capacity, keys, layout),
            rng: ChaCha8Rng::seed_from_u64(scramble(own_seed ^ part)),
            numbers: Vec::new(),
        }
    }

    /// The next request, due `at` after the run's begin.
    pub fn next(&mut self, at: Duration) -> Planned {
        let (operation, items) = self.mix.draw(&mut self.rng);
        match operation {
            Operation::GetItem | Operation::ReadModifyWrite => self.get(operation, at, true),
            Operation::GetItemEventual => self.get(operation, at, false),
            Operation::PutItem | Operation::PutItemIfPresent | Operation::PutItemIfAbsent => {
                self.put(operation, at)
            }
            Operation::UpdateItem => {
                let key = self.choose(at);
                self.update(operation, key)
            }
            Operation::Increment => {
                let key = self.choose(at);
                let rule = Rule::Increment { bytes: self.bodies.layout.bytes(key) };
                planned(operation, key, self.bodies.increment(key), rule)
            }
            Operation::DeleteItem => {
                let key = self.choose(at);
                planned(operation, key, self.bodies.delete(key), Rule::Delete)
            }
            Operation::Query => self.query(at, items),
            Operation::Scan => {
                let key = self.choose(at);
                planned(operation, key, self.bodies.scan(key, items), Rule::Range { consistent: false })
            }
            Operation::BatchGetItem => self.batch_get(at, items),
            Operation::BatchWriteItem => self.batch_write(at, items),
        }
    }

    /// What follows an answer that was a success: the write of a read-modify-write. None for all other requests. It
    /// belongs to the same request: its latency counts from that one's intended time.
    pub fn follow_up(&mut self, of: &Planned, _answer: &[u8]) -> Option<Planned> {
        let reads = of.target == Operation::ReadModifyWrite.target();
        (of.operation == Operation::ReadModifyWrite && reads).then(|| self.update(of.operation, of.key))
    }

    fn choose(&mut self, at: Duration) -> u64 {
        self.chooser.choose(at, &mut self.rng)
    }

    fn get(&mut self, operation: Operation, at: Duration, consistent: bool) -> Planned {
        let key = self.choose(at);
        planned(operation, key, self.bodies.get(key, consistent), Rule::Get { consistent })
    }

    fn put(&mut self, operation: Operation, at: Duration) -> Planned {
        let (key, condition) = match operation {
            Operation::PutItemIfAbsent => (self.chooser.insert(at), Condition::IfAbsent),
            Operation::PutItemIfPresent => (self.choose(at), Condition::IfPresent),
            _ => (self.choose(at), Condition::Always),
        };
        let bytes = self.bodies.layout.bytes(key);
        // An item that should be absent is there in its size; one that should be present is not there.
        let bytes_if_refused = if condition == Condition::IfAbsent { bytes } else { 0 };
        let body = self.bodies.put(key, condition, &mut self.rng);
        planned(operation, key, body, Rule::Write { bytes, bytes_if_refused })
    }

    fn update(&mut self, operation: Operation, key: u64) -> Planned {
        let bytes = self.bodies.layout.bytes(key);
        let body = self.bodies.update(key, &mut self.rng);
        let rule = Rule::Write { bytes, bytes_if_refused: bytes };
        Planned { target: Operation::UpdateItem.target(), ..planned(operation, key, body, rule) }
    }

    /// From a random sort key of the key's partition key, such that the limit can be reached.
    fn query(&mut self, at: Duration, limit: u32) -> Planned {
        let key = self.choose(at);
        let keys = self.bodies.keys;
        let last_begin = keys.items_per_partition().saturating_sub(u64::from(limit));
        let first = self.rng.random_range(0..=last_begin);
        let body = self.bodies.query(&keys.key(key), first, limit);
        planned(Operation::Query, key, body, Rule::Range { consistent: false })
    }

    fn batch_get(&mut self, at: Duration, items: u32) -> Planned {
        self.choose_several(at, items);
        let (key, items) = (self.numbers[0], self.numbers.len() as u32);
        let body = self.bodies.batch_get(&self.numbers);
        planned(Operation::BatchGetItem, key, body, Rule::BatchGet { consistent: false, items })
    }

    fn batch_write(&mut self, at: Duration, items: u32) -> Planned {
        self.choose_several(at, items);
        let cost = |number: &u64| write_cost(u64::from(self.bodies.layout.bytes(*number))).get();
        let milli = self.numbers.iter().map(cost).sum();
        let body = self.bodies.batch_write(&self.numbers, &mut self.rng);
        planned(Operation::BatchWriteItem, self.numbers[0], body, Rule::BatchWrite { milli })
    }

    /// Draws the keys of a batch into `numbers`, all different: as many as asked for, or as there are.
    fn choose_several(&mut self, at: Duration, items: u32) {
        self.numbers.clear();
        let keys = self.bodies.keys.len();
        for _ in 0..u64::from(items.max(1)).min(keys) {
            let mut number = self.chooser.choose(at, &mut self.rng);
            for _ in 0..MOST_DRAWS {
                if !self.numbers.contains(&number) {
                    break;
                }
                number = self.chooser.choose(at, &mut self.rng);
            }
            // One of the existing keys is free: fewer have been taken than there are.
            while self.numbers.contains(&number) {
                number = (number + 1) % keys;
            }
            self.numbers.push(number);
        }
    }
}

fn planned(operation: Operation, key: u64, body: Bytes, rule: Rule) -> Planned {
    Planned { operation, target: operation.target(), body, units: UnitRule(rule), key }
}

#[cfg(test)]
mod tests;
