//! The catalog's records as items of partition 0, executed like any other partition's operations.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dynamodb::item::ItemView;
use dynamodb::number::Number;
use dynamodb::operation::{
    Bindings, Delete, EncodedItem, Get, Operation, Outcome, Put, RangeRead, StorageKey, WriteOptions,
};
use dynamodb::table::{KeyAttribute, KeySchema, KeyType};
use dynamodb::value::{AttributeValue, Item};
use storage_adapter::{Leadership, ReplicatedNode, StoreError};
use tokio::sync::watch;
use units::PartitionId;

use crate::catalog_store::{CatalogStore, ReadError, StoredRecord, WriteError};

/// The group of partition 0, as one of its members reaches it.
pub(crate) trait CatalogGroup: Send + Sync + 'static {
    /// Executes on this member's replica: writes and consistent reads only while it leads.
    fn execute(
        &self,
        operation: Operation,
        deadline: Duration,
    ) -> impl Future<Output = Result<Outcome, StoreError>> + Send;

    /// Follows who leads.
    fn leadership(&self) -> watch::Receiver<Leadership>;
}

/// The partition that holds the catalog.
pub(crate) const CATALOG: PartitionId = PartitionId::new(0);

impl CatalogGroup for ReplicatedNode {
    async fn execute(&self, operation: Operation, deadline: Duration) -> Result<Outcome, StoreError> {
        Self::execute(self, CATALOG, operation, deadline).await
    }

    fn leadership(&self) -> watch::Receiver<Leadership> {
        Self::leadership(self, CATALOG).expect("a member of the control plane hosts the catalog")
    }
}

/// [`CatalogStore`] over a [`CatalogGroup`].
#[derive(Debug)]
pub(crate) struct GroupStore<G> {
    group: G,
    keys: KeySchema,
}

/// How long one operation may take: an election and a lease's end fit into it.
const DEADLINE: Duration = Duration::from_secs(5);
/// The record's key.
const KEY: &str = "k";
/// The record's version.
const VERSION: &str = "v";
/// The record's value as JSON.
const JSON: &str = "j";
/// Orders nothing that anyone sees: the catalog is one partition.
const HASH_SEED: u64 = 0;
/// Bytes of records read at once.
const PAGE_BYTES: u64 = 1 << 20;

impl<G: CatalogGroup> GroupStore<G> {
    /// The records in `group`.
    pub(crate) fn new(group: G) -> Self {
        let partition = KeyAttribute { name: KEY.into(), kind: KeyType::S };
        Self { group, keys: KeySchema { partition, sort: None } }
    }

    fn key(&self, key: &str) -> StorageKey {
        let item = EncodedItem::encode(&Item::from([(KEY.to_owned(), AttributeValue::S(key.into()))]));
        self.keys
            .storage_key(item.view(), HASH_SEED)
            .expect("the catalog's keys are neither empty nor longer than a key may be")
    }

    async fn read(&self, key: &str, consistent: bool) -> Result<Option<StoredRecord>, ReadError> {
        let get = Operation::Get(Get { key: self.key(key), consistent });
        match self.group.execute(get, DEADLINE).await {
            Ok(Outcome::Item(None)) => Ok(None),
            Ok(Outcome::Item(Some(item))) => record(item.view()).map(Some),
            Ok(other) => Err(unexpected(&other)),
            Err(error) => Err(ReadError(error.to_string())),
        }
    }

    async fn write(&self, operation: Operation) -> Result<(), WriteError> {
        match self.group.execute(operation, DEADLINE).await {
            Ok(Outcome::Written(_)) => Ok(()),
            Ok(Outcome::ConditionFailed { .. }) => Err(WriteError::Conflict),
            Ok(other) => Err(WriteError::Unavailable(unexpected(&other).0)),
            Err(error) => Err(WriteError::Unavailable(error.to_string())),
        }
    }
}

impl<G: CatalogGroup> CatalogStore for GroupStore<G> {
    async fn get_local(&self, key: &str) -> Result<Option<StoredRecord>, ReadError> {
        self.read(key, false).await
    }

    async fn get(&self, key: &str) -> Result<Option<StoredRecord>, ReadError> {
        self.read(key, true).await
    }

    async fn scan(&self) -> Result<Vec<StoredRecord>, ReadError> {
        let mut records = BTreeMap::new();
        let mut start = StorageKey(Bytes::new());
        loop {
            let page = match self.group.execute(page_from(start), DEADLINE).await {
                Ok(Outcome::Page(page)) => page,
                Ok(other) => return Err(unexpected(&other)),
                Err(error) => return Err(ReadError(error.to_string())),
            };
            for item in &page.items {
                let record = record(item.view())?;
                records.insert(record.key.clone(), record);
            }
            let Some(last) = page.last_key else { return Ok(records.into_values().collect()) };
            let last = self.keys.storage_key(last.view(), HASH_SEED);
            start = last.map_err(|error| ReadError(error.to_string()))?.successor();
        }
    }

    async fn put(&self, record: &StoredRecord) -> Result<(), WriteError> {
        let json = std::str::from_utf8(&record.json).expect("JSON is UTF-8");
        let item = EncodedItem::encode(&Item::from([
            (KEY.to_owned(), AttributeValue::S(record.key.clone())),
            (VERSION.to_owned(), AttributeValue::N(Number::from(record.version))),
            (JSON.to_owned(), AttributeValue::S(json.to_owned())),
        ]));
        let options = match record.version.checked_sub(1) {
            Some(0) | None => condition(&format!("attribute_not_exists({KEY})"), None),
            Some(before) => at_version(before),
        };
        self.write(Operation::Put(Put { key: self.key(&record.key), item, options, return_old: false })).await
    }

    async fn delete(&self, key: &str, version: u64) -> Result<(), WriteError> {
        let options = at_version(version);
        self.write(Operation::Delete(Delete { key: self.key(key), options, return_old: false })).await
    }

    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.group.leadership()
    }
}

fn at_version(version: u64) -> WriteOptions {
    condition(&format!("{VERSION} = :version"), Some(version))
}

fn condition(text: &str, version: Option<u64>) -> WriteOptions {
    let values = version.map(|version| {
        let version = AttributeValue::N(Number::from(version));
        EncodedItem::encode(&Item::from([(":version".to_owned(), version)]))
    });
    WriteOptions {
        condition: Some(Arc::from(text)),
        bindings: Bindings { names: BTreeMap::new(), values },
        return_item_on_failure: false,
    }
}

fn page_from(start: StorageKey) -> Operation {
    Operation::Range(RangeRead {
        start,
        end: None,
        forward: true,
        consistent: true,
        limit: None,
        max_bytes: PAGE_BYTES,
        filter: None,
        projection: None,
        bindings: Bindings::default(),
        count_only: false,
        key_attributes: vec![KEY.to_owned()],
    })
}

fn record(item: ItemView<'_>) -> Result<StoredRecord, ReadError> {
    let read = || {
        let key = item.get(KEY)?.as_str()?.to_owned();
        let version = item.get(VERSION)?.as_number()?.to_string().parse().ok()?;
        let json = Bytes::copy_from_slice(item.get(JSON)?.as_str()?.as_bytes());
        Some(StoredRecord { key, version, json })
    };
    read().ok_or_else(|| ReadError("an item of the catalog is no record".into()))
}

fn unexpected(outcome: &Outcome) -> ReadError {
    ReadError(format!("the catalog's group answered with {outcome:?}"))
}
