//! The catalog's records, one file per stored key kind. Each is one item of partition 0: its key, its
//! version, and its value as JSON.

mod counter;
mod credential;
mod node;
mod quota;
mod ring;
mod table;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub(crate) use counter::{CounterRecord, Identifiers};
pub use credential::CredentialRecord;
pub(crate) use node::NodeRecord;
pub(crate) use quota::{QuotaOwner, QuotaRecord, bucket_of, to_wire};
pub(crate) use ring::RingRecord;
pub(crate) use table::{CurrentQuotas, OnDemandHistories, PartitionRecord, TableRecord, capacity_kind};

/// A kind of record.
pub(crate) trait Record: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {
    /// What its keys start with, and no other kind's.
    const PREFIX: &'static str;

    /// The part of its key after the prefix.
    fn name(&self) -> String;

    /// Its key.
    fn key(&self) -> String {
        format!("{}{}", Self::PREFIX, self.name())
    }

    /// The record as it would be written today, from one that an earlier version of this program wrote.
    fn upgraded(self) -> Self {
        self
    }
}

/// A record as it was last read or written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Versioned<T> {
    /// Counts the writes of this record; the next write is conditional on it.
    pub version: u64,
    /// The revision of this member's copy of the catalog that brought it; 0: it was there at the start.
    pub revision: u64,
    /// What it says.
    pub value: T,
}
