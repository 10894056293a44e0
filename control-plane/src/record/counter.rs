//! `counter/identifiers`: the next number of each kind that is never reused.

use serde::{Deserialize, Serialize};

use super::Record;

/// The numbers to give out next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CounterRecord {
    /// The next table's number.
    pub next_table: u64,
    /// The next partition's number. 0 is the catalog's own.
    pub next_partition: u64,
}

impl Default for CounterRecord {
    fn default() -> Self {
        Self { next_table: 1, next_partition: 1 }
    }
}

impl Record for CounterRecord {
    const PREFIX: &'static str = "counter/";

    fn name(&self) -> String {
        "identifiers".into()
    }
}

/// Numbers that were taken and are nobody else's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identifiers {
    /// A table's number.
    pub table: u64,
    /// The first of its partitions' numbers.
    pub first_partition: u64,
}

impl CounterRecord {
    /// Takes a table's number and `partitions` partition numbers; what the record says next.
    ///
    /// # Panics
    /// When the 64-bit space is used up, which takes centuries.
    #[must_use]
    pub(crate) fn take(&self, partitions: u32) -> (Identifiers, Self) {
        let taken = Identifiers { table: self.next_table, first_partition: self.next_partition };
        let next = Self {
            next_table: self.next_table.checked_add(1).expect("64-bit counters do not wrap"),
            next_partition: self
                .next_partition
                .checked_add(u64::from(partitions))
                .expect("64-bit counters do not wrap"),
        };
        (taken, next)
    }
}
