//! `ReturnConsumedCapacity`, and what operations cost.

use std::io::Write as _;

use units::MilliUnits;

use super::constraint::Constraints;
use crate::capacity;
use crate::operation::{Operation, Outcome};

/// `ReturnConsumedCapacity`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum ReturnConsumedCapacity {
    #[default]
    None,
    Total,
    Indexes,
}

impl ReturnConsumedCapacity {
    /// Reads the parameter.
    pub(super) fn read(given: Option<&str>, constraints: &mut Constraints) -> Self {
        constraints
            .choice(
                given,
                "returnConsumedCapacity",
                &[("INDEXES", Self::Indexes), ("TOTAL", Self::Total), ("NONE", Self::None)],
            )
            .unwrap_or_default()
    }

    /// Appends `,"ConsumedCapacity":{…}` (or without the comma, to an object just opened) when asked.
    pub(super) fn write_member(self, body: &mut Vec<u8>, table: &str, consumed: MilliUnits) {
        if self == Self::None {
            return;
        }
        if body.last() != Some(&b'{') {
            body.push(b',');
        }
        body.extend_from_slice(b"\"ConsumedCapacity\":");
        self.write(body, table, consumed);
    }

    /// Appends the object that describes `consumed`.
    pub(super) fn write(self, body: &mut Vec<u8>, table: &str, consumed: MilliUnits) {
        let units = consumed.as_units();
        // Table names consist of letters, digits, `_`, `-` and `.`: nothing to escape.
        write!(body, "{{\"TableName\":\"{table}\",\"CapacityUnits\":{units:?}").expect(MEMORY);
        if self == Self::Indexes {
            write!(body, ",\"Table\":{{\"CapacityUnits\":{units:?}}}").expect(MEMORY);
        }
        body.push(b'}');
    }
}

const MEMORY: &str = "memory takes every write";

/// An amount of capacity of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cost {
    /// Read capacity.
    Read(MilliUnits),
    /// Write capacity.
    Write(MilliUnits),
}

impl Cost {
    /// The amount, of whichever kind.
    #[must_use]
    pub const fn amount(self) -> MilliUnits {
        match self {
            Self::Read(amount) | Self::Write(amount) => amount,
        }
    }
}

/// The least that `operation` costs as far as is known before it is executed: what admission takes
/// at first. [`charge`] says the whole once the outcome is known.
#[must_use]
pub fn estimate(operation: &Operation) -> Cost {
    match operation {
        Operation::Get(get) => Cost::Read(capacity::read_cost(0, get.consistent)),
        Operation::Range(range) => Cost::Read(capacity::read_cost(0, range.consistent)),
        Operation::Put(put) => Cost::Write(capacity::write_cost(put.item.view().size())),
        Operation::Update(_) | Operation::Delete(_) => Cost::Write(capacity::write_cost(0)),
    }
}

/// What `operation` cost, given its outcome.
#[must_use]
pub fn charge(operation: &Operation, outcome: &Outcome) -> Cost {
    match (operation, outcome) {
        (Operation::Get(get), Outcome::Item(item)) => {
            let size = item.as_ref().map_or(0, |item| item.view().size());
            Cost::Read(capacity::read_cost(size, get.consistent))
        }
        (Operation::Range(range), Outcome::Page(page)) => {
            Cost::Read(capacity::read_cost(page.scanned_bytes, range.consistent))
        }
        (Operation::Get(_) | Operation::Range(_), _) => Cost::Read(MilliUnits::ZERO),
        (_, outcome) => Cost::Write(write_charge(outcome)),
    }
}

/// What a write with this outcome cost: the larger of the item before and after, and at least one
/// unit, also when its condition failed.
pub(super) fn write_charge(outcome: &Outcome) -> MilliUnits {
    match outcome {
        Outcome::Written(written) => capacity::write_cost(written.old_size.max(written.new_size)),
        Outcome::ConditionFailed { charged_size, .. } => capacity::write_cost(*charged_size),
        Outcome::Item(_) | Outcome::Page(_) | Outcome::Invalid(_) => MilliUnits::ZERO,
    }
}
