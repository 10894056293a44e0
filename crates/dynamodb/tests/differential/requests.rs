//! Random requests.

use dynamodb::api::ApiOperation;
use rand::Rng;
use serde_json::{Map, Value, json};

use crate::expressions::Writer;
use crate::mutation;
use crate::schema::{TABLES, Table};
use crate::values::{self, ATTRIBUTES};
use crate::{chance, pick};

type Body = Map<String, Value>;

/// One request in so many percent is spoilt.
const SPOILT: u32 = 18;

/// A random request.
pub(crate) fn request(rng: &mut impl Rng) -> (ApiOperation, String) {
    let table = pick(rng, &TABLES);
    let (operation, mut body) = match rng.random_range(0..100) {
        0..=24 => (ApiOperation::PutItem, put(rng, table)),
        25..=49 => (ApiOperation::UpdateItem, update(rng, table)),
        50..=57 => (ApiOperation::DeleteItem, delete(rng, table)),
        58..=67 => (ApiOperation::GetItem, get(rng, table)),
        68..=81 => (ApiOperation::Query, query(rng, table)),
        82..=89 => (ApiOperation::Scan, scan(rng, table)),
        90..=93 => (ApiOperation::BatchGetItem, batch_get(rng)),
        94..=97 => (ApiOperation::BatchWriteItem, batch_write(rng)),
        _ => (ApiOperation::CreateTable, create_table(rng)),
    };
    if !matches!(
        operation,
        ApiOperation::BatchGetItem | ApiOperation::BatchWriteItem | ApiOperation::CreateTable
    ) {
        body.insert("TableName".to_owned(), table.name.into());
    }
    if chance(rng, SPOILT) {
        mutation::spoil(rng, &mut body);
    }
    let mut text = Value::from(body).to_string();
    if chance(rng, 1) {
        text.truncate(text.floor_char_boundary(rng.random_range(0..text.len())));
    }
    (operation, text)
}

fn return_capacity(rng: &mut impl Rng, body: &mut Body) {
    if chance(rng, 25) {
        let mode = *pick(rng, &["TOTAL", "INDEXES", "NONE"]);
        body.insert("ReturnConsumedCapacity".to_owned(), mode.into());
    }
}

fn set(body: &mut Body, member: &str, value: impl Into<Value>) {
    body.insert(member.to_owned(), value.into());
}

fn write_parameters(rng: &mut impl Rng, body: &mut Body, return_values: &[&str]) {
    return_capacity(rng, body);
    if chance(rng, 40) {
        set(body, "ReturnValues", *pick(rng, return_values));
    }
    if chance(rng, 25) {
        set(body, "ReturnValuesOnConditionCheckFailure", *pick(rng, &["ALL_OLD", "NONE"]));
    }
    if chance(rng, 5) {
        set(body, "ReturnItemCollectionMetrics", *pick(rng, &["SIZE", "NONE"]));
    }
}

/// A condition: an expression, the older form, or none.
fn condition(rng: &mut impl Rng, body: &mut Body, writer: &mut Writer) {
    if chance(rng, 40) {
        let text = writer.condition(rng, 2);
        set(body, "ConditionExpression", text);
    }
}

fn expected(rng: &mut impl Rng, body: &mut Body) {
    let count = rng.random_range(1..3);
    let entries: Body = (0..count)
        .map(|_| {
            let entry = match rng.random_range(0..5) {
                0 => json!({ "Exists": false }),
                1 => json!({ "Value": values::value(rng, 1) }),
                2 => json!({ "Exists": true, "Value": values::value(rng, 1) }),
                _ => comparison(rng),
            };
            ((*pick(rng, &ATTRIBUTES)).to_owned(), entry)
        })
        .collect();
    operator(rng, body, entries.len());
    set(body, "Expected", entries);
}

fn operator(rng: &mut impl Rng, body: &mut Body, conditions: usize) {
    if conditions > 1 && chance(rng, 50) {
        set(body, "ConditionalOperator", *pick(rng, &["AND", "OR"]));
    }
}

/// A comparison of the older form.
fn comparison(rng: &mut impl Rng) -> Value {
    let operators = [
        "EQ",
        "NE",
        "LE",
        "LT",
        "GE",
        "GT",
        "NOT_NULL",
        "NULL",
        "CONTAINS",
        "NOT_CONTAINS",
        "BEGINS_WITH",
        "IN",
        "BETWEEN",
    ];
    let operator = *pick(rng, &operators);
    let list: Vec<Value> = match operator {
        "NOT_NULL" | "NULL" => return json!({ "ComparisonOperator": operator }),
        "BETWEEN" => vec![values::number(rng), values::number(rng)],
        "IN" => {
            let kind = *pick(rng, &["S", "N"]);
            (0..rng.random_range(1..4)).map(|_| values::key_value(rng, kind)).collect()
        }
        "EQ" | "NE" => vec![values::value(rng, 1)],
        "BEGINS_WITH" => vec![json!({ "S": "a" })],
        _ => vec![values::scalar(rng)],
    };
    json!({ "ComparisonOperator": operator, "AttributeValueList": list })
}

fn filter(rng: &mut impl Rng, body: &mut Body, member: &str) {
    let count = rng.random_range(1..3);
    let entries: Body = (0..count).map(|_| ((*pick(rng, &ATTRIBUTES)).to_owned(), comparison(rng))).collect();
    operator(rng, body, entries.len());
    set(body, member, entries);
}

fn put(rng: &mut impl Rng, table: &Table) -> Body {
    let mut body = Body::new();
    set(&mut body, "Item", values::item(rng, table));
    if chance(rng, 12) {
        expected(rng, &mut body);
    } else {
        let mut writer = Writer::default();
        condition(rng, &mut body, &mut writer);
        writer.finish(&mut body);
    }
    write_parameters(rng, &mut body, &["NONE", "ALL_OLD"]);
    body
}

fn delete(rng: &mut impl Rng, table: &Table) -> Body {
    let mut body = Body::new();
    set(&mut body, "Key", values::key(rng, table));
    if chance(rng, 12) {
        expected(rng, &mut body);
    } else {
        let mut writer = Writer::default();
        condition(rng, &mut body, &mut writer);
        writer.finish(&mut body);
    }
    write_parameters(rng, &mut body, &["NONE", "ALL_OLD"]);
    body
}

fn update(rng: &mut impl Rng, table: &Table) -> Body {
    let mut body = Body::new();
    set(&mut body, "Key", values::key(rng, table));
    if chance(rng, 15) {
        attribute_updates(rng, &mut body);
        if chance(rng, 40) {
            expected(rng, &mut body);
        }
    } else {
        let mut writer = Writer::default();
        if chance(rng, 96) {
            let text = writer.update(rng);
            set(&mut body, "UpdateExpression", text);
        }
        condition(rng, &mut body, &mut writer);
        writer.finish(&mut body);
    }
    write_parameters(rng, &mut body, &["NONE", "ALL_OLD", "UPDATED_OLD", "ALL_NEW", "UPDATED_NEW"]);
    body
}

fn attribute_updates(rng: &mut impl Rng, body: &mut Body) {
    let count = rng.random_range(1..4);
    let entries: Body = (0..count)
        .map(|_| {
            let entry = match rng.random_range(0..6) {
                0 | 1 => json!({ "Action": "PUT", "Value": values::value(rng, 1) }),
                2 => json!({ "Value": values::value(rng, 1) }),
                3 => json!({ "Action": "DELETE" }),
                4 => json!({ "Action": "DELETE", "Value": values::set(rng) }),
                _ if chance(rng, 50) => json!({ "Action": "ADD", "Value": values::number(rng) }),
                _ => json!({ "Action": "ADD", "Value": values::set(rng) }),
            };
            ((*pick(rng, &ATTRIBUTES)).to_owned(), entry)
        })
        .collect();
    set(body, "AttributeUpdates", entries);
}

fn attributes_to_get(rng: &mut impl Rng) -> Value {
    let count = rng.random_range(1..4);
    (0..count).map(|_| Value::from(*pick(rng, &ATTRIBUTES))).collect()
}

fn projection(rng: &mut impl Rng, body: &mut Body, writer: &mut Writer) {
    if chance(rng, 35) {
        let text = writer.projection(rng);
        set(body, "ProjectionExpression", text);
    }
}

fn get(rng: &mut impl Rng, table: &Table) -> Body {
    let mut body = Body::new();
    set(&mut body, "Key", values::key(rng, table));
    if chance(rng, 30) {
        set(&mut body, "ConsistentRead", chance(rng, 50));
    }
    if chance(rng, 12) {
        set(&mut body, "AttributesToGet", attributes_to_get(rng));
    } else {
        let mut writer = Writer::default();
        projection(rng, &mut body, &mut writer);
        writer.finish(&mut body);
    }
    return_capacity(rng, &mut body);
    body
}

fn page_parameters(rng: &mut impl Rng, body: &mut Body) {
    if chance(rng, 30) {
        set(body, "ConsistentRead", chance(rng, 50));
    }
    if chance(rng, 15) {
        let select =
            *pick(rng, &["COUNT", "ALL_ATTRIBUTES", "SPECIFIC_ATTRIBUTES", "ALL_PROJECTED_ATTRIBUTES"]);
        set(body, "Select", select);
    }
    return_capacity(rng, body);
}

fn query(rng: &mut impl Rng, table: &Table) -> Body {
    let mut body = Body::new();
    if chance(rng, 15) {
        let (partition, kind) = table.partition;
        let mut conditions = Body::new();
        let equal = json!({
            "ComparisonOperator": "EQ",
            "AttributeValueList": [values::key_value(rng, kind)],
        });
        set(&mut conditions, partition, equal);
        if let Some((sort, kind)) = table.sort.filter(|_| chance(rng, 60)) {
            let operator = *pick(rng, &["EQ", "LE", "LT", "GE", "GT", "BEGINS_WITH", "BETWEEN"]);
            let count = if operator == "BETWEEN" { 2 } else { 1 };
            let list: Vec<Value> = (0..count).map(|_| values::key_value(rng, kind)).collect();
            set(&mut conditions, sort, json!({ "ComparisonOperator": operator, "AttributeValueList": list }));
        }
        set(&mut body, "KeyConditions", conditions);
        if chance(rng, 40) {
            filter(rng, &mut body, "QueryFilter");
        }
        if chance(rng, 20) {
            set(&mut body, "AttributesToGet", attributes_to_get(rng));
        }
    } else {
        let mut writer = Writer::default();
        let text = writer.key_condition(rng, table);
        set(&mut body, "KeyConditionExpression", text);
        if chance(rng, 40) {
            let text = writer.condition(rng, 2);
            set(&mut body, "FilterExpression", text);
        }
        projection(rng, &mut body, &mut writer);
        writer.finish(&mut body);
    }
    if chance(rng, 40) {
        set(&mut body, "ScanIndexForward", chance(rng, 40));
    }
    if chance(rng, 30) {
        set(&mut body, "Limit", rng.random_range(1..4));
    }
    if chance(rng, 15) {
        set(&mut body, "ExclusiveStartKey", values::key(rng, table));
    }
    page_parameters(rng, &mut body);
    body
}

fn scan(rng: &mut impl Rng, table: &Table) -> Body {
    let mut body = Body::new();
    if chance(rng, 15) {
        filter(rng, &mut body, "ScanFilter");
        if chance(rng, 30) {
            set(&mut body, "AttributesToGet", attributes_to_get(rng));
        }
    } else {
        let mut writer = Writer::default();
        if chance(rng, 60) {
            let text = writer.condition(rng, 2);
            set(&mut body, "FilterExpression", text);
        }
        projection(rng, &mut body, &mut writer);
        writer.finish(&mut body);
    }
    if chance(rng, 30) {
        set(&mut body, "Limit", rng.random_range(1..8));
    }
    if chance(rng, 10) {
        let total = rng.random_range(1..5);
        set(&mut body, "TotalSegments", total);
        set(&mut body, "Segment", rng.random_range(0..total));
    }
    if chance(rng, 3) {
        set(&mut body, "ExclusiveStartKey", values::key(rng, table));
    }
    page_parameters(rng, &mut body);
    body
}

fn batch_get(rng: &mut impl Rng) -> Body {
    let mut tables = Body::new();
    for _ in 0..rng.random_range(1..4) {
        let table = pick(rng, &TABLES);
        let count = rng.random_range(1..5);
        let keys: Vec<Value> = (0..count).map(|_| values::key(rng, table).into()).collect();
        let mut asked = Body::new();
        set(&mut asked, "Keys", keys);
        if chance(rng, 30) {
            set(&mut asked, "ConsistentRead", chance(rng, 50));
        }
        let mut writer = Writer::default();
        if chance(rng, 10) {
            set(&mut asked, "AttributesToGet", attributes_to_get(rng));
        } else {
            projection(rng, &mut asked, &mut writer);
        }
        writer.finish(&mut asked);
        set(&mut tables, table.name, asked);
    }
    let mut body = Body::new();
    set(&mut body, "RequestItems", tables);
    return_capacity(rng, &mut body);
    body
}

fn batch_write(rng: &mut impl Rng) -> Body {
    let mut tables = Body::new();
    for _ in 0..rng.random_range(1..4) {
        let table = pick(rng, &TABLES);
        let writes: Vec<Value> = (0..rng.random_range(1..5))
            .map(|_| {
                if chance(rng, 60) {
                    json!({ "PutRequest": { "Item": values::item(rng, table) } })
                } else {
                    json!({ "DeleteRequest": { "Key": values::key(rng, table) } })
                }
            })
            .collect();
        set(&mut tables, table.name, writes);
    }
    let mut body = Body::new();
    set(&mut body, "RequestItems", tables);
    return_capacity(rng, &mut body);
    body
}

/// A table that exists already, so that a valid one changes nothing; often invalid.
fn create_table(rng: &mut impl Rng) -> Body {
    let mut body = Body::new();
    set(&mut body, "TableName", pick(rng, &TABLES).name);
    let keys: Vec<Value> = (0..rng.random_range(0..4))
        .map(|index| {
            let kind = if chance(rng, 85) { ["HASH", "RANGE", "RANGE"][index] } else { "HASH" };
            json!({ "AttributeName": pick(rng, &["pk", "sk", "other"]), "KeyType": kind })
        })
        .collect();
    let definitions: Vec<Value> = (0..rng.random_range(0..4))
        .map(|_| {
            let kind = if chance(rng, 90) { *pick(rng, &["S", "N", "B"]) } else { "BOOL" };
            json!({ "AttributeName": pick(rng, &["pk", "sk", "other"]), "AttributeType": kind })
        })
        .collect();
    set(&mut body, "KeySchema", keys);
    set(&mut body, "AttributeDefinitions", definitions);
    if chance(rng, 60) {
        set(&mut body, "BillingMode", *pick(rng, &["PAY_PER_REQUEST", "PROVISIONED", "FREE"]));
    }
    if chance(rng, 50) {
        let (read, write) = (rng.random_range(0..3), rng.random_range(0..3));
        set(
            &mut body,
            "ProvisionedThroughput",
            json!({ "ReadCapacityUnits": read, "WriteCapacityUnits": write }),
        );
    }
    body
}
