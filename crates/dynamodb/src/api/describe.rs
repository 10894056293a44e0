//! `DescribeTable`, `DeleteTable`, `DescribeLimits`, `DescribeEndpoints`: what describes.

use serde_json::{Value, json};

use super::body::{self, Text, body};
use super::constraint::Constraints;
use super::table_name;
use crate::error::ApiError;
use crate::table::{Billing, KeyType, TABLE_MAX_UNITS, TableDescriptor, TableStatus};

/// DynamoDB's default quota for an account.
const ACCOUNT_MAX_UNITS: u32 = 80_000;

/// How long a client may keep an endpoint's address.
const ENDPOINT_CACHE_MINUTES: u32 = 1440;

body! {
    struct NameBody<'a> {
        table_name: Text<'a> = "TableName",
    }
}

/// Decodes a body that only names a table.
///
/// # Errors
/// As [`super::decode`].
pub(super) fn decode_name(bytes: &[u8]) -> Result<String, ApiError> {
    let (body, _): (NameBody<'_>, _) = body::read(bytes)?;
    let name = table_name::required(body.table_name.as_ref())?;
    let mut constraints = Constraints::default();
    table_name::check_strictly(&name, "tableName", &mut constraints);
    constraints.finish()?;
    Ok(name.into_owned())
}

body! {
    struct EmptyBody {
    }
}

/// Decodes a body without members.
///
/// # Errors
/// As [`super::decode`].
pub(super) fn decode_empty(bytes: &[u8]) -> Result<(), ApiError> {
    body::read(bytes).map(|(EmptyBody {}, _)| ())
}

/// The body that describes a table: `member` is `Table` for `DescribeTable`, `TableDescription` for
/// the operations that change it.
#[must_use]
pub fn table_body(member: &str, table: &TableDescriptor) -> Vec<u8> {
    json!({ member: description(table) }).to_string().into_bytes()
}

fn description(table: &TableDescriptor) -> Value {
    let mut key_schema = vec![json!({ "AttributeName": table.keys.partition.name, "KeyType": "HASH" })];
    if let Some(sort) = &table.keys.sort {
        key_schema.push(json!({ "AttributeName": sort.name, "KeyType": "RANGE" }));
    }
    let definitions: Vec<Value> = table
        .attribute_definitions
        .iter()
        .map(|definition| {
            json!({ "AttributeName": definition.name, "AttributeType": key_type(definition.kind) })
        })
        .collect();
    let mut shown = json!({
        "TableName": table.name,
        "TableId": table.uuid,
        "TableArn": table.arn,
        "TableStatus": status(table.status),
        "KeySchema": key_schema,
        "AttributeDefinitions": definitions,
        "CreationDateTime": seconds(table.created_at_ms),
        "ItemCount": table.item_count,
        "TableSizeBytes": table.size_bytes,
        "DeletionProtectionEnabled": table.deletion_protection,
    });
    describe_billing(&table.billing, &mut shown);
    if let Some(class) = &table.table_class {
        shown["TableClassSummary"] = json!({ "TableClass": class });
    }
    shown
}

fn describe_billing(billing: &Billing, shown: &mut Value) {
    match billing {
        Billing::Provisioned(throughput) => {
            let mut provisioned = json!({
                "ReadCapacityUnits": throughput.read,
                "WriteCapacityUnits": throughput.write,
                "NumberOfDecreasesToday": throughput.decreases_today,
            });
            if let Some(at) = throughput.last_increase_ms {
                provisioned["LastIncreaseDateTime"] = json!(seconds(at));
            }
            if let Some(at) = throughput.last_decrease_ms {
                provisioned["LastDecreaseDateTime"] = json!(seconds(at));
            }
            shown["ProvisionedThroughput"] = provisioned;
        }
        Billing::OnDemand { max_read, max_write, since_ms } => {
            let since = seconds(*since_ms);
            shown["BillingModeSummary"] = json!({
                "BillingMode": "PAY_PER_REQUEST",
                "LastUpdateToPayPerRequestDateTime": since,
            });
            shown["TableThroughputModeSummary"] = json!({
                "TableThroughputMode": "PAY_PER_REQUEST",
                "LastUpdateToPayPerRequestDateTime": since,
            });
            shown["ProvisionedThroughput"] = json!({
                "ReadCapacityUnits": 0,
                "WriteCapacityUnits": 0,
                "NumberOfDecreasesToday": 0,
            });
            let mut ceilings = serde_json::Map::new();
            if let Some(units) = max_read {
                ceilings.insert("MaxReadRequestUnits".to_owned(), json!(units));
            }
            if let Some(units) = max_write {
                ceilings.insert("MaxWriteRequestUnits".to_owned(), json!(units));
            }
            if !ceilings.is_empty() {
                shown["OnDemandThroughput"] = Value::Object(ceilings);
            }
        }
    }
}

/// The body of `DescribeLimits`: DynamoDB's default quotas.
#[must_use]
pub fn describe_limits_body() -> Vec<u8> {
    json!({
        "AccountMaxReadCapacityUnits": ACCOUNT_MAX_UNITS,
        "AccountMaxWriteCapacityUnits": ACCOUNT_MAX_UNITS,
        "TableMaxReadCapacityUnits": TABLE_MAX_UNITS,
        "TableMaxWriteCapacityUnits": TABLE_MAX_UNITS,
    })
    .to_string()
    .into_bytes()
}

/// The body of `DescribeEndpoints`: `host` is the address that the client used.
#[must_use]
pub fn describe_endpoints_body(host: &str) -> Vec<u8> {
    json!({ "Endpoints": [{ "Address": host, "CachePeriodInMinutes": ENDPOINT_CACHE_MINUTES }] })
        .to_string()
        .into_bytes()
}

/// `AttributeType`.
pub(super) const fn key_type(kind: KeyType) -> &'static str {
    match kind {
        KeyType::S => "S",
        KeyType::N => "N",
        KeyType::B => "B",
    }
}

const fn status(status: TableStatus) -> &'static str {
    match status {
        TableStatus::Creating => "CREATING",
        TableStatus::Active => "ACTIVE",
        TableStatus::Updating => "UPDATING",
        TableStatus::Deleting => "DELETING",
    }
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 stay far below 2^53")]
fn seconds(millis: u64) -> f64 {
    millis as f64 / 1000.0
}
