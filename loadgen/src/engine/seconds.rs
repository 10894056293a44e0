//! The seconds of a stream: counted while answers come, packed once none has come for a while, so that a long run
//! takes little memory.

use std::collections::BTreeMap;

use super::distribution::Distribution;
use super::sample::{Attempt, Ended};
use super::sums::add_units;
use crate::outcome::Outcome;
use crate::result::{Second, Units};

/// A second is packed when nothing about it has come for so many seconds. Whatever comes later unpacks it.
const PACK_AFTER: u64 = 5;

/// The seconds of one stream.
#[derive(Debug, Default)]
pub(super) struct Seconds {
    open: BTreeMap<u64, Open>,
    packed: BTreeMap<u64, Packed>,
}

/// One that is still being counted.
#[derive(Debug, Default)]
struct Open {
    offered: u64,
    attempts: u64,
    outcomes: BTreeMap<Outcome, u64>,
    units: Units,
    latency: Distribution,
    service: Distribution,
    /// The second of the run in which something was last counted.
    touched: u64,
}

/// One that is at rest; its row has the histogram of latencies.
#[derive(Debug)]
struct Packed {
    row: Second,
    service: String,
}

impl Seconds {
    pub(super) fn offer(&mut self, second: u64, count: u64, now: u64) {
        self.open(second, now).offered += count;
    }

    pub(super) fn attempt(&mut self, attempt: &Attempt, now: u64) {
        let open = self.open(attempt.second, now);
        open.attempts += 1;
        if let Some(us) = attempt.service_us {
            open.service.record(us);
        }
    }

    pub(super) fn end(&mut self, ended: &Ended, now: u64) {
        let open = self.open(ended.second(), now);
        *open.outcomes.entry(ended.outcome).or_default() += 1;
        if ended.outcome.is_success() {
            open.latency.record(ended.latency_us);
        }
        add_units(&mut open.units, ended.units);
    }

    /// Packs what is at rest.
    pub(super) fn pack(&mut self, now: u64) {
        let resting: Vec<u64> = self
            .open
            .iter()
            .filter(|(second, open)| now >= open.touched.max(**second) + PACK_AFTER)
            .map(|(second, _)| *second)
            .collect();
        for second in resting {
            let open = self.open.remove(&second).expect("it was just found");
            let packed = Packed { row: open.row(second, true), service: open.service.packed() };
            self.packed.insert(second, packed);
        }
    }

    /// One second's row as far as it has come, without its histogram.
    pub(super) fn row(&self, second: u64) -> Second {
        match (self.open.get(&second), self.packed.get(&second)) {
            (Some(open), _) => open.row(second, false),
            (None, Some(packed)) => packed.row.clone(),
            (None, None) => Open::default().row(second, false),
        }
    }

    /// All rows from 0 to the last with a request.
    pub(super) fn into_rows(mut self, own_cpu: &[f64]) -> Vec<Second> {
        self.pack(u64::MAX);
        let count = self.packed.last_key_value().map_or(0, |(second, _)| second + 1);
        (0..count)
            .zip(own_cpu.iter().copied().chain(std::iter::repeat(0.0)))
            .map(|(second, own_cpu)| {
                let packed = self.packed.remove(&second);
                let row = packed.map_or_else(|| Open::default().row(second, false), |packed| packed.row);
                Second { own_cpu, ..row }
            })
            .collect()
    }

    fn open(&mut self, second: u64, now: u64) -> &mut Open {
        let packed = &mut self.packed;
        let open = self
            .open
            .entry(second)
            .or_insert_with(|| packed.remove(&second).map_or_else(Open::default, |packed| packed.unpack()));
        open.touched = now;
        open
    }
}

impl Open {
    fn row(&self, at: u64, with_histogram: bool) -> Second {
        Second {
            at,
            offered: self.offered,
            attempts: self.attempts,
            outcomes: self.outcomes.clone(),
            latency: if with_histogram { self.latency.latency() } else { self.latency.figures() },
            service_p99_us: self.service.p99(),
            units: self.units,
            own_cpu: 0.0,
        }
    }
}

impl Packed {
    fn unpack(self) -> Open {
        Open {
            offered: self.row.offered,
            attempts: self.row.attempts,
            outcomes: self.row.outcomes,
            units: self.row.units,
            latency: Distribution::unpacked(&self.row.latency.histogram),
            service: Distribution::unpacked(&self.service),
            touched: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::Operation;

    fn count(seconds: &mut Seconds, second: u64, us: u64, now: u64) {
        seconds.offer(second, 1, now);
        let operation = Operation::GetItem;
        let attempt = Attempt {
            stream: 0,
            operation,
            second,
            service_us: Some(us),
            bytes_sent: 1,
            bytes_received: 1,
            error: None,
        };
        seconds.attempt(&attempt, now);
        let ended = Ended {
            stream: 0,
            operation: Some(operation),
            due_us: second * 1_000_000 + 5,
            outcome: Outcome::Ok,
            latency_us: us + 10,
            send_delay_us: None,
            late: false,
            units: Units { read_milli: 500, write_milli: 0 },
            reported: Units::default(),
        };
        seconds.end(&ended, now);
    }

    #[test]
    fn packing_and_unpacking_between_changes_nothing() {
        let (mut packing, mut plain) = (Seconds::default(), Seconds::default());
        for (second, us, now) in [(0, 100, 0), (2, 200, 2), (0, 900, 9), (2, 150, 20), (0, 50, 21)] {
            for seconds in [&mut packing, &mut plain] {
                count(seconds, second, us, now);
            }
            packing.pack(now + 6);
        }
        let rows = packing.into_rows(&[0.25]);
        assert_eq!(rows, plain.into_rows(&[0.25]));
        assert_eq!(
            rows.iter().map(|row| (row.at, row.offered)).collect::<Vec<_>>(),
            [(0, 3), (1, 0), (2, 2)]
        );
        assert_eq!(rows[0].latency.max_us, 910);
        assert_eq!(rows.iter().map(|row| row.own_cpu).collect::<Vec<_>>(), [0.25, 0.0, 0.0]);
    }

    #[test]
    fn what_is_at_rest_is_packed_and_what_is_not_is_not() {
        let mut seconds = Seconds::default();
        count(&mut seconds, 0, 100, 0);
        count(&mut seconds, 1, 100, 1);
        count(&mut seconds, 0, 100, 4);
        seconds.pack(7);
        assert_eq!((seconds.open.len(), seconds.packed.len()), (1, 1));
        assert_eq!(seconds.row(1).offered, 1);
    }
}
