//! The tables of a run: every type of partition key, with and without every type of sort key.

use serde_json::{Value, json};

pub(crate) struct Table {
    pub(crate) name: &'static str,
    pub(crate) partition: (&'static str, &'static str),
    pub(crate) sort: Option<(&'static str, &'static str)>,
}

pub(crate) const TABLES: [Table; 8] = [
    Table { name: "strings", partition: ("pk", "S"), sort: None },
    Table { name: "numbers", partition: ("pk", "N"), sort: None },
    Table { name: "binaries", partition: ("pk", "B"), sort: None },
    Table { name: "string_string", partition: ("pk", "S"), sort: Some(("sk", "S")) },
    Table { name: "string_number", partition: ("pk", "S"), sort: Some(("sk", "N")) },
    Table { name: "string_binary", partition: ("pk", "S"), sort: Some(("sk", "B")) },
    Table { name: "number_string", partition: ("pk", "N"), sort: Some(("sk", "S")) },
    Table { name: "binary_number", partition: ("pk", "B"), sort: Some(("sk", "N")) },
];

impl Table {
    pub(crate) fn keys(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        std::iter::once(self.partition).chain(self.sort)
    }
}

/// The `CreateTable` of each.
pub(crate) fn create_requests() -> Vec<String> {
    TABLES
        .iter()
        .map(|table| {
            let key_types = ["HASH", "RANGE"];
            let schema: Vec<Value> = table
                .keys()
                .zip(key_types)
                .map(|((name, _), kind)| json!({ "AttributeName": name, "KeyType": kind }))
                .collect();
            let definitions: Vec<Value> = table
                .keys()
                .map(|(name, kind)| json!({ "AttributeName": name, "AttributeType": kind }))
                .collect();
            json!({
                "TableName": table.name,
                "KeySchema": schema,
                "AttributeDefinitions": definitions,
                "BillingMode": "PAY_PER_REQUEST",
            })
            .to_string()
        })
        .collect()
}
