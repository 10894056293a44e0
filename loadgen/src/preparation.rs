//! Whether a run's tables can be used, and what has to be done first. Pure: what is done is in `command::prepare`.
//!
//! A table that `weir load` created holds one more item, the marker, which says so and what was loaded. Any other
//! table is somebody's: it is used as it is, and filled only when that is asked for.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::spec::{RunSpec, StreamSpec};
use crate::workload::{ItemSize, KeyDistribution, Operation};

/// The partition key that generated requests name.
pub const PARTITION_KEY: &str = "pk";
/// The sort key, where items share a partition key.
pub const SORT_KEY: &str = "sk";
/// The marker's keys: no generated key is the same.
const MARKER: &str = "weir-load: made by the load generator";

/// What a run needs of one table.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    /// Its name.
    pub table: String,
    /// Whose credentials reach it: the first stream's that uses it.
    pub profile: Option<String>,
    /// Keys that must exist: the most that any stream asks for.
    pub keys: KeyDistribution,
    /// How large items are when they are loaded.
    pub item_size: ItemSize,
}

impl Wanted {
    /// Whether the table needs a sort key.
    #[must_use]
    pub const fn sorted(&self) -> bool {
        self.keys.items_per_partition.is_some()
    }
}

/// What the tables of a run need, in the order of their first stream.
///
/// # Errors
/// When two streams want different forms of one table.
pub fn wanted(spec: &RunSpec) -> Result<Vec<Wanted>, PreparationError> {
    let mut tables: Vec<Wanted> = Vec::new();
    for stream in &spec.streams {
        match tables.iter_mut().find(|wanted| wanted.table == stream.table) {
            Some(wanted) => wanted.join(stream)?,
            None => tables.push(Wanted {
                table: stream.table.clone(),
                profile: stream.profile.clone(),
                keys: stream.keys.for_mix(&stream.mix),
                item_size: stream.item_size,
            }),
        }
    }
    Ok(tables)
}

impl Wanted {
    fn join(&mut self, stream: &StreamSpec) -> Result<(), PreparationError> {
        let keys = stream.keys.for_mix(&stream.mix);
        // With a sort key, the number of keys decides which of them share a partition key.
        let sorted_alike = self.keys.items_per_partition == keys.items_per_partition
            && (!self.sorted() || self.keys.keys == keys.keys);
        if !sorted_alike {
            return Err(PreparationError::TwoForms { table: self.table.clone() });
        }
        self.keys.keys = self.keys.keys.max(keys.keys);
        Ok(())
    }
}

/// What is there.
#[derive(Debug, Clone, PartialEq)]
pub enum Found {
    /// No such table.
    Missing,
    /// A table.
    Table(Description),
}

/// A table, as `DescribeTable` says it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Description {
    /// `CREATING`, `ACTIVE`, …
    pub status: String,
    /// Names of partition and sort key, with their types.
    pub partition_key: (String, String),
    /// The sort key, if it has one.
    pub sort_key: Option<(String, String)>,
    /// What the marker says; none: there is none.
    pub loaded: Option<Loaded>,
}

/// What a marker says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// Items that were loaded; zero: loading has not been finished.
    pub keys: u64,
    /// How large.
    pub item_size: String,
}

/// What may be done to tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// Nothing: they are used as they are.
    Use,
    /// Missing ones are created, and what `weir load` created is filled.
    Prepare,
    /// The same, and what others created is filled, too.
    Fill,
}

/// What must be done before a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// Nothing.
    Ready,
    /// Create it, then fill it.
    Create,
    /// Fill it.
    Fill {
        /// Whether it is ours: a marker says what was loaded.
        ours: bool,
    },
}

/// Why a table cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PreparationError {
    /// It is not there.
    #[error(
        "there is no table `{table}` in {region} at {endpoint}. Say --prepare to have it created and filled with \
         {keys} items"
    )]
    Missing {
        /// Its name.
        table: String,
        /// The region in signatures: tables are by region.
        region: String,
        /// Who was asked.
        endpoint: String,
        /// How many it would get.
        keys: u64,
    },
    /// It has other keys than ours.
    #[error(
        "table `{table}` has the key {found}, and generated requests need {needed}. Name another table; one that is \
         missing is created by --prepare"
    )]
    Keys {
        /// Its name.
        table: String,
        /// What it has.
        found: String,
        /// What it should have.
        needed: String,
    },
    /// It is not ours.
    #[error(
        "table `{table}` was not created by `weir load`, so --prepare does not write into it. Say --into-existing \
         to fill it all the same (items under generated keys are replaced), or leave --prepare out to use it as it is"
    )]
    NotOurs {
        /// Its name.
        table: String,
    },
    /// One with and one without a sort key, or with other numbers.
    #[error(
        "two streams use the table `{table}` with different keys: where one queries or has items that share a \
         partition key (`by N`), all need the same number of keys and the same `by N` (queries alone: by 100)"
    )]
    TwoForms {
        /// Its name.
        table: String,
    },
}

/// What must be done for one table.
///
/// # Errors
/// When it cannot be used, or what it needs is not allowed.
pub fn plan(
    wanted: &Wanted,
    found: &Found,
    permission: Permission,
    spec: &RunSpec,
) -> Result<Plan, PreparationError> {
    let table = match (found, permission) {
        (Found::Missing, Permission::Use) => {
            return Err(PreparationError::Missing {
                table: wanted.table.clone(),
                region: spec.region.clone(),
                endpoint: spec.endpoints.first().cloned().unwrap_or_default(),
                keys: wanted.keys.keys,
            });
        }
        (Found::Missing, _) => return Ok(Plan::Create),
        (Found::Table(table), _) => table,
    };
    table.check_keys(wanted)?;
    let enough =
        |loaded: &Loaded| loaded.keys >= wanted.keys.keys && loaded.item_size == wanted.item_size.to_string();
    match (permission, &table.loaded) {
        (Permission::Use, _) => Ok(Plan::Ready),
        (_, Some(loaded)) if enough(loaded) => Ok(Plan::Ready),
        (_, Some(_)) => Ok(Plan::Fill { ours: true }),
        (Permission::Fill, None) => Ok(Plan::Fill { ours: false }),
        (Permission::Prepare, None) => Err(PreparationError::NotOurs { table: wanted.table.clone() }),
    }
}

impl Description {
    /// Reads the answer of `DescribeTable` or `CreateTable`; none when it is something else.
    #[must_use]
    pub fn of_answer(answer: &Value) -> Option<Self> {
        let table = answer.get("Table").or_else(|| answer.get("TableDescription"))?;
        let types: BTreeMap<_, _> = table["AttributeDefinitions"]
            .as_array()?
            .iter()
            .filter_map(|definition| {
                Some((definition["AttributeName"].as_str()?, definition["AttributeType"].as_str()?))
            })
            .collect();
        let key = |kind: &str| {
            let mut schema = table["KeySchema"].as_array()?.iter();
            let name = schema.find(|key| key["KeyType"] == kind)?["AttributeName"].as_str()?;
            Some((name.to_owned(), (*types.get(name)?).to_owned()))
        };
        Some(Self {
            status: table["TableStatus"].as_str()?.to_owned(),
            partition_key: key("HASH")?,
            sort_key: key("RANGE"),
            loaded: None,
        })
    }

    /// Whether requests can be served.
    #[must_use]
    pub fn is_active(&self) -> bool {
        matches!(self.status.as_str(), "ACTIVE" | "UPDATING")
    }

    fn check_keys(&self, wanted: &Wanted) -> Result<(), PreparationError> {
        let is = |key: &(String, String), name| key.0 == name && key.1 == "S";
        let partition = is(&self.partition_key, PARTITION_KEY);
        let sort = match (&self.sort_key, wanted.sorted()) {
            (None, false) => true,
            (Some(key), true) => is(key, SORT_KEY),
            _ => false,
        };
        if partition && sort {
            return Ok(());
        }
        let shown = |(name, kind): &(String, String)| format!("{name} ({kind})");
        let found: Vec<_> =
            [Some(&self.partition_key), self.sort_key.as_ref()].into_iter().flatten().map(shown).collect();
        let needed = if wanted.sorted() { "pk (S), sk (S)" } else { "pk (S) alone" };
        Err(PreparationError::Keys {
            table: wanted.table.clone(),
            found: found.join(", "),
            needed: needed.to_owned(),
        })
    }
}

/// The body of `CreateTable`. None of `provisioned`: on demand.
#[must_use]
pub fn create_table(wanted: &Wanted, provisioned: Option<(u64, u64)>) -> Value {
    let names = if wanted.sorted() { vec![PARTITION_KEY, SORT_KEY] } else { vec![PARTITION_KEY] };
    let definitions: Vec<_> =
        names.iter().map(|name| json!({ "AttributeName": name, "AttributeType": "S" })).collect();
    let schema: Vec<_> = names
        .iter()
        .zip(["HASH", "RANGE"])
        .map(|(name, kind)| json!({ "AttributeName": name, "KeyType": kind }))
        .collect();
    let mut body =
        json!({ "TableName": wanted.table, "AttributeDefinitions": definitions, "KeySchema": schema });
    match provisioned {
        None => body["BillingMode"] = json!("PAY_PER_REQUEST"),
        Some((read, write)) => {
            body["BillingMode"] = json!("PROVISIONED");
            body["ProvisionedThroughput"] = json!({ "ReadCapacityUnits": read, "WriteCapacityUnits": write });
        }
    }
    body
}

fn marker_key(wanted: &Wanted) -> Value {
    let mut key = json!({ PARTITION_KEY: { "S": MARKER } });
    if wanted.sorted() {
        key[SORT_KEY] = json!({ "S": MARKER });
    }
    key
}

/// The body of the `GetItem` that reads the marker.
#[must_use]
pub fn read_marker(wanted: &Wanted) -> Value {
    json!({ "TableName": wanted.table, "Key": marker_key(wanted), "ConsistentRead": true })
}

/// The body of the `PutItem` that writes it: `keys` items are there, none while they are being loaded.
#[must_use]
pub fn write_marker(wanted: &Wanted, keys: u64) -> Value {
    let mut item = marker_key(wanted);
    item["keys"] = json!({ "N": keys.to_string() });
    item["item_size"] = json!({ "S": wanted.item_size.to_string() });
    json!({ "TableName": wanted.table, "Item": item })
}

impl Loaded {
    /// Reads the answer to [`read_marker`]; none: there is no marker.
    #[must_use]
    pub fn of_answer(answer: &Value) -> Option<Self> {
        let item = answer.get("Item")?;
        Some(Self {
            keys: item["keys"]["N"].as_str()?.parse().ok()?,
            item_size: item["item_size"]["S"].as_str()?.to_owned(),
        })
    }
}

/// Items of one `BatchWriteItem`: its limit.
const BATCH: u64 = 25;

/// The stream whose requests, `requests` of them in turn, write every key once.
#[must_use]
pub fn filling(wanted: &Wanted) -> (StreamSpec, u64) {
    let keys = wanted.keys.keys;
    let batch = keys.min(BATCH);
    let mix = format!("{}({batch})=1", Operation::BatchWriteItem.word());
    let stream = StreamSpec {
        name: "filling".to_owned(),
        table: wanted.table.clone(),
        profile: wanted.profile.clone(),
        arrivals: crate::workload::Arrivals::poisson(crate::workload::Rate::per_second(0.0)),
        mix: mix.parse().expect("a batch of 1 to 25 is a mix"),
        keys: KeyDistribution { popularity: crate::workload::Popularity::Sequential, ..wanted.keys },
        item_size: wanted.item_size,
        from: std::time::Duration::ZERO,
        to: None,
    };
    (stream, keys.div_ceil(batch))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(keys: &str) -> Wanted {
        Wanted {
            table: "orders".into(),
            profile: None,
            keys: keys.parse().unwrap(),
            item_size: ItemSize::Fixed(900),
        }
    }

    fn spec() -> RunSpec {
        serde_json::from_value(json!({
            "endpoints": ["http://127.0.0.1:8000"], "region": "eu-west-1", "protocol": "http1", "pacing": "open",
            "duration": "1s", "warm_up": "0s", "threads": 1, "connections": 4, "attempt_timeout": "1s",
            "retry": "none", "return_capacity": false, "seed": 1,
            "streams": [
                { "name": "a", "table": "orders", "arrivals": "1/s", "mix": "get=1", "keys": "uniform:10", "item_size": "900" },
                { "name": "b", "table": "orders", "arrivals": "1/s", "mix": "put=1", "keys": "zipf:30", "item_size": "100" },
                { "name": "c", "table": "music", "arrivals": "1/s", "mix": "put=1", "keys": "uniform:5", "item_size": "100" },
            ],
        }))
        .unwrap()
    }

    /// As the service would describe what [`create_table`] makes.
    fn created(wanted: &Wanted, loaded: Option<Loaded>) -> Found {
        let mut description = create_table(wanted, None);
        description["TableStatus"] = json!("ACTIVE");
        let description = Description::of_answer(&json!({ "Table": description })).unwrap();
        Found::Table(Description { loaded, ..description })
    }

    fn loaded(keys: u64) -> Option<Loaded> {
        Some(Loaded { keys, item_size: "900".into() })
    }

    #[test]
    fn a_table_of_several_streams_gets_the_most_keys_that_one_asks_for() {
        let tables = wanted(&spec()).unwrap();
        let named: Vec<_> = tables.iter().map(|table| (table.table.as_str(), table.keys.keys)).collect();
        assert_eq!(named, [("orders", 30), ("music", 5)]);
    }

    #[test]
    fn a_missing_table_is_created_only_when_asked_and_the_error_says_how() {
        let orders = table("uniform:10");
        let error = plan(&orders, &Found::Missing, Permission::Use, &spec()).unwrap_err().to_string();
        assert!(error.contains("no table `orders` in eu-west-1") && error.contains("--prepare"), "{error}");
        assert_eq!(plan(&orders, &Found::Missing, Permission::Prepare, &spec()), Ok(Plan::Create));
    }

    #[test]
    fn what_was_loaded_is_not_loaded_again_unless_more_or_other_items_are_wanted() {
        let plan_with = |keys: &str, loaded| {
            plan(&table(keys), &created(&table(keys), loaded), Permission::Prepare, &spec())
        };
        assert_eq!(plan_with("uniform:10", loaded(10)), Ok(Plan::Ready));
        assert_eq!(plan_with("zipf:8", loaded(10)), Ok(Plan::Ready));
        assert_eq!(plan_with("uniform:11", loaded(10)), Ok(Plan::Fill { ours: true }));
        assert_eq!(plan_with("uniform:10", loaded(0)), Ok(Plan::Fill { ours: true }));
        let other = Some(Loaded { keys: 10, item_size: "100".into() });
        assert_eq!(plan_with("uniform:10", other), Ok(Plan::Fill { ours: true }));
    }

    #[test]
    fn somebody_elses_table_is_not_written_into_unless_asked() {
        let orders = table("uniform:10");
        let with = |permission| plan(&orders, &created(&orders, None), permission, &spec());
        assert_eq!(with(Permission::Use), Ok(Plan::Ready));
        assert!(matches!(with(Permission::Prepare), Err(PreparationError::NotOurs { .. })));
        assert_eq!(with(Permission::Fill), Ok(Plan::Fill { ours: false }));
    }

    #[test]
    fn a_table_with_other_keys_is_refused_with_both_forms() {
        let sorted = table("uniform:100 by 10");
        let found = created(&table("uniform:10"), loaded(1000));
        let error = plan(&sorted, &found, Permission::Use, &spec()).unwrap_err().to_string();
        assert!(error.contains("has the key pk (S)") && error.contains("need pk (S), sk (S)"), "{error}");
        assert!(plan(&sorted, &created(&sorted, None), Permission::Use, &spec()).is_ok());
    }

    #[test]
    fn the_marker_is_read_as_it_was_written() {
        let orders = table("uniform:10");
        let written = write_marker(&orders, 10);
        assert_eq!(Loaded::of_answer(&json!({ "Item": written["Item"] })), loaded(10));
        assert_eq!(Loaded::of_answer(&json!({})), None);
        assert_eq!(read_marker(&orders)["Key"], json!({ "pk": { "S": MARKER } }));
    }

    #[test]
    fn filling_asks_for_each_key_at_least_once_in_batches() {
        let (stream, requests) = filling(&table("zipf:60"));
        assert_eq!((stream.keys.to_string().as_str(), requests), ("sequential:60", 3));
        let (stream, requests) = filling(&table("uniform:7"));
        assert_eq!((stream.mix.to_string().as_str(), requests), ("batch-write(7)=1", 1));
    }
}
