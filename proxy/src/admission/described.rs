//! A table as its refusals name it.

use std::sync::{Arc, OnceLock};

use ::admission::CapacityKind;
use bytes::Bytes;
use dynamodb::table::{Billing, TableDescriptor};

/// Bodies that are kept: one for each limit that may refuse.
const BODIES: usize = 4;

/// What a refused client is told of the table, and the answers that were written with it.
#[derive(Clone, Debug)]
pub(crate) struct Described {
    /// `TableName`.
    pub(crate) name: Arc<str>,
    /// `TableArn`.
    pub(crate) arn: Arc<str>,
    /// Which capacity the refusals are about.
    pub(crate) capacity: CapacityKind,
    /// `PAY_PER_REQUEST`.
    pub(crate) on_demand: bool,
    /// An on-demand table with a ceiling of its own for this capacity.
    pub(crate) has_maximum: bool,
    /// The descriptor's version.
    pub(crate) version: u64,
    /// Written at their first use.
    pub(crate) bodies: [OnceLock<Bytes>; BODIES],
}

impl Described {
    pub(crate) fn of(table: &TableDescriptor, capacity: CapacityKind) -> Self {
        let maximum = match (&table.billing, capacity) {
            (Billing::Provisioned(_), _) => None,
            (Billing::OnDemand { max_read, .. }, CapacityKind::Read) => *max_read,
            (Billing::OnDemand { max_write, .. }, CapacityKind::Write) => *max_write,
        };
        Self {
            name: table.name.as_str().into(),
            arn: table.arn.as_str().into(),
            capacity,
            on_demand: matches!(table.billing, Billing::OnDemand { .. }),
            has_maximum: maximum.is_some(),
            version: table.version,
            bodies: Default::default(),
        }
    }

    /// The `place`-th body, written by `write` when it is needed first.
    pub(crate) fn prepared(&self, place: usize, write: impl FnOnce() -> Bytes) -> Bytes {
        match self.bodies.get(place) {
            Some(body) => body.get_or_init(write).clone(),
            None => write(),
        }
    }
}

#[cfg(test)]
impl Described {
    pub(crate) fn for_tests(capacity: CapacityKind) -> Self {
        Self {
            name: "table".into(),
            arn: "arn:aws:dynamodb:us-east-1:000000000000:table/table".into(),
            capacity,
            on_demand: false,
            has_maximum: false,
            version: 1,
            bodies: Default::default(),
        }
    }
}
