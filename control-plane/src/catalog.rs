//! The catalog in memory: all records, as the leader last read or wrote them. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use dynamodb::table::TableStatus;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::catalog_store::StoredRecord;
use crate::record::{
    CounterRecord, CredentialRecord, NodeRecord, QuotaRecord, Record, RingRecord, TableRecord, Versioned,
};

/// Records that versions before the one of quotas' histories wrote, and that nothing reads any more: what
/// they said follows from the tables.
const SUPERSEDED: &str = "quota/";

/// All records. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Catalog {
    pub(crate) tables: Kind<TableRecord>,
    pub(crate) quotas: Kind<QuotaRecord>,
    pub(crate) credentials: Kind<CredentialRecord>,
    pub(crate) nodes: Kind<NodeRecord>,
    pub(crate) counters: Kind<CounterRecord>,
    pub(crate) rings: Kind<RingRecord>,
    /// Counts the changes of this copy: what watchers compare.
    pub(crate) revision: u64,
}

/// The records of one kind, by their name (the key without its prefix).
#[derive(Clone, Debug)]
pub(crate) struct Kind<T> {
    records: BTreeMap<String, Arc<Versioned<T>>>,
}

/// A stored record that cannot be read: the catalog is damaged, or written by a newer version.
#[derive(Debug, thiserror::Error)]
#[error("the catalog's record {key} cannot be read")]
pub(crate) struct Unreadable {
    key: String,
    source: Option<serde_json::Error>,
}

impl<T> Default for Kind<T> {
    fn default() -> Self {
        Self { records: BTreeMap::new() }
    }
}

impl<T> Kind<T> {
    pub(crate) fn get(&self, name: &str) -> Option<&Arc<Versioned<T>>> {
        self.records.get(name)
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &T> {
        self.records.values().map(|record| &record.value)
    }

    pub(crate) fn names_after(&self, start_after: Option<&str>) -> impl Iterator<Item = &String> {
        use std::ops::Bound;
        let from = start_after.map_or(Bound::Unbounded, Bound::Excluded);
        self.records.range::<str, _>((from, Bound::Unbounded)).map(|(name, _)| name)
    }

    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }
}

/// Which part of a catalog keeps a kind of record.
pub(crate) trait Kept: Record {
    fn kind(catalog: &mut Catalog) -> &mut Kind<Self>;
    fn of(catalog: &Catalog) -> &Kind<Self>;
}

macro_rules! kept {
    ($($record:ty => $field:ident;)*) => {$(
        impl Kept for $record {
            fn kind(catalog: &mut Catalog) -> &mut Kind<Self> {
                &mut catalog.$field
            }
            fn of(catalog: &Catalog) -> &Kind<Self> {
                &catalog.$field
            }
        }
    )*};
}

kept! {
    TableRecord => tables;
    QuotaRecord => quotas;
    CredentialRecord => credentials;
    NodeRecord => nodes;
    CounterRecord => counters;
    RingRecord => rings;
}

impl Catalog {
    /// The catalog that these records make.
    ///
    /// # Errors
    /// When one cannot be read: nothing must be decided on half a catalog.
    pub(crate) fn load(records: &[StoredRecord]) -> Result<Self, Unreadable> {
        let mut catalog = Self::default();
        for record in records {
            let taken = catalog.load_as::<TableRecord>(record)?
                || catalog.load_as::<QuotaRecord>(record)?
                || catalog.load_as::<CredentialRecord>(record)?
                || catalog.load_as::<NodeRecord>(record)?
                || catalog.load_as::<CounterRecord>(record)?
                || catalog.load_as::<RingRecord>(record)?;
            if !taken && !record.key.starts_with(SUPERSEDED) {
                return Err(Unreadable { key: record.key.clone(), source: None });
            }
        }
        Ok(catalog)
    }

    /// The record that `value` would replace, or be.
    pub(crate) fn version_of<T: Kept>(&self, value: &T) -> u64 {
        T::of(self).get(&value.name()).map_or(0, |record| record.version)
    }

    /// Takes in what was written.
    pub(crate) fn put<T: Kept>(&mut self, version: u64, value: T) {
        self.revision += 1;
        let record = Versioned { version, revision: self.revision, value };
        T::kind(self).records.insert(record.value.name(), Arc::new(record));
    }

    /// Takes in what was deleted.
    pub(crate) fn remove<T: Kept>(&mut self, name: &str) {
        T::kind(self).records.remove(name);
        self.revision += 1;
    }

    /// The numbers to give out next.
    pub(crate) fn counter(&self) -> CounterRecord {
        self.counters.values().next().cloned().unwrap_or_default()
    }

    /// Which GAC servers own the buckets; none before a leader has recorded it.
    pub(crate) fn ring(&self) -> Option<&RingRecord> {
        self.rings.get(RingRecord::NAME).map(|record| &record.value)
    }

    /// Tables that are being created, changed or deleted.
    pub(crate) fn tables_in_change(&self) -> usize {
        self.tables.values().filter(|table| table.descriptor.status != TableStatus::Active).count()
    }

    /// The partitions that must not exist any more, of the ones that `hosted` names: their numbers were
    /// given out, by this catalog's own counter, and no table has them, or only one that is being deleted.
    pub(crate) fn gone(&self, hosted: impl Iterator<Item = u64>) -> BTreeSet<u64> {
        let next = self.counter().next_partition;
        let kept: Vec<Range<u64>> = self
            .tables
            .values()
            .filter(|table| table.descriptor.status != TableStatus::Deleting)
            .map(TableRecord::partition_numbers)
            .collect();
        // A number past the counter was given out by a later leader: this copy is behind, and says nothing.
        let gone = |partition: &u64| {
            *partition != 0 && *partition < next && !kept.iter().any(|numbers| numbers.contains(partition))
        };
        hosted.filter(gone).collect()
    }

    fn load_as<T: Kept>(&mut self, record: &StoredRecord) -> Result<bool, Unreadable> {
        if !record.key.starts_with(T::PREFIX) {
            return Ok(false);
        }
        let value: T = serde_json::from_slice(&record.json)
            .map_err(|source| Unreadable { key: record.key.clone(), source: Some(source) })?;
        let value = Versioned { version: record.version, revision: 0, value: value.upgraded() };
        T::kind(self).records.insert(value.value.name(), Arc::new(value));
        Ok(true)
    }
}

/// A record in its stored form.
pub(crate) fn stored<T: Record>(version: u64, value: &T) -> StoredRecord {
    StoredRecord { key: value.key(), version, json: json(value) }
}

/// A value as JSON.
pub(crate) fn json<T: Serialize + DeserializeOwned>(value: &T) -> bytes::Bytes {
    serde_json::to_vec(value).expect("records are plain data, which JSON can always hold").into()
}

#[cfg(test)]
mod tests {
    use dynamodb::table::{
        Billing, KeyAttribute, KeySchema, KeyType, NewTable, ProvisionedThroughput, TableChange,
    };
    use serde_json::Value;
    use units::UnixMillis;

    use super::*;
    use crate::quota::QuotaKind;
    use crate::record::Identifiers;
    use crate::table_command::{self, Account, Chance, Request};

    #[test]
    fn a_catalog_of_before_quotas_had_versions_is_read_and_goes_on() {
        let mut table = serde_json::to_value(table()).unwrap();
        for new in ["quotas", "on_demand"] {
            table.as_object_mut().unwrap().remove(new);
        }
        table["descriptor"].as_object_mut().unwrap().remove("quotas");
        table["descriptor"]["version"] = 5.into();
        let old = |key: &str, value: &Value| StoredRecord {
            key: key.to_owned(),
            version: 1,
            json: value.to_string().into(),
        };
        let quota =
            serde_json::json!({ "table": 1, "direction": "read", "rate_milli": 1, "burst_milli": 300 });

        let mut catalog = Catalog::load(&[old("table/orders", &table), old("quota/1/read", &quota)]).unwrap();

        let read = &catalog.tables.get("orders").unwrap().value;
        assert_eq!((read.quota(QuotaKind::Read).version, read.quota(QuotaKind::Read).terms.rate), (5, 9));
        assert_eq!(read.descriptor.read_quota().version, 5, "no older than what proxies know");
        let provisioned = Some(ProvisionedThroughput { read: 10, write: 9, ..Default::default() });
        let change = TableChange { name: "orders".into(), provisioned, ..Default::default() };
        let updated = table_command::update(&catalog, &change, REQUEST).unwrap();
        assert_eq!(updated.quota(QuotaKind::Read).version, 6);
        catalog.put(2, updated);
    }

    #[test]
    fn a_record_that_nobody_knows_is_not_skipped() {
        let record = StoredRecord { key: "later/x".into(), version: 1, json: "{}".into() };
        assert!(Catalog::load(&[record]).is_err());
    }

    const REQUEST: Request<'static> = Request { principal: "ann", now: UnixMillis::new(0) };

    fn table() -> TableRecord {
        let new = NewTable {
            name: "orders".into(),
            keys: KeySchema { partition: KeyAttribute { name: "id".into(), kind: KeyType::S }, sort: None },
            attribute_definitions: vec![],
            billing: Billing::Provisioned(ProvisionedThroughput { read: 9, write: 9, ..Default::default() }),
            deletion_protection: false,
            table_class: None,
            tags: vec![],
        };
        let account = Account { region: "r", account: "000000000000", table_limit: 9 };
        let chance = Chance { uuid: "u".into(), hash_seed: 1 };
        let identifiers = Identifiers { table: 1, first_partition: 1 };
        let mut table = table_command::create(new, 1, identifiers, account, chance, REQUEST);
        table.descriptor.status = TableStatus::Active;
        table
    }
}
