//! Where the catalog's records are kept: conditional writes, reads, and who leads.

use std::future::Future;

use bytes::Bytes;
use storage_adapter::Leadership;
use tokio::sync::watch;

/// A record as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredRecord {
    /// `KIND/NAME`.
    pub key: String,
    /// Counts the writes of this record, from 1.
    pub version: u64,
    /// Its value as JSON.
    pub json: Bytes,
}

/// Why a write did not (certainly) take place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WriteError {
    /// The record is not at the expected version: nothing was written.
    #[error("the record has changed since it was read")]
    Conflict,
    /// No leader, no quorum, or not in time: it may or may not have been written.
    #[error("the catalog cannot be written: {0}")]
    Unavailable(String),
}

/// The catalog's records cannot be read now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the catalog cannot be read: {0}")]
pub(crate) struct ReadError(pub String);

/// The replicated group that holds the catalog, as its members use it.
pub(crate) trait CatalogStore: Send + Sync + 'static {
    /// One record, as this member has it: possibly behind the leader.
    fn get_local(&self, key: &str) -> impl Future<Output = Result<Option<StoredRecord>, ReadError>> + Send;

    /// One record, certainly the newest. Only the leader can.
    fn get(&self, key: &str) -> impl Future<Output = Result<Option<StoredRecord>, ReadError>> + Send;

    /// All records, certainly the newest, ordered by key. Only the leader can.
    fn scan(&self) -> impl Future<Output = Result<Vec<StoredRecord>, ReadError>> + Send;

    /// Writes `record` if the stored one is at version `record.version - 1` (1: if there is none).
    fn put(&self, record: &StoredRecord) -> impl Future<Output = Result<(), WriteError>> + Send;

    /// Deletes the record if it is at `version`.
    fn delete(&self, key: &str, version: u64) -> impl Future<Output = Result<(), WriteError>> + Send;

    /// Follows who leads.
    fn leadership(&self) -> watch::Receiver<Leadership>;
}
