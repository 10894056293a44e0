//! Claims about the API that the differential tests do not make: batches that are partly done, errors'
//! bodies, unsupported parameters, table operations.

use serde_json::{Value, json};
use units::MilliUnits;

use super::*;
use crate::error::{ApiError, ErrorKind};
use crate::expression::ExpressionCache;
use crate::operation::{EncodedItem, Operation, Outcome, Written};
use crate::table::{Billing, NewTable, TableChange, TableDescriptor, TableStatus};
use crate::value::{AttributeValue, Item};

#[test]
fn throttled_gets_of_a_batch_are_unprocessed_keys_with_their_options() {
    let body = json!({ "RequestItems": { "orders": {
        "Keys": [{ "pk": { "S": "a" } }, { "pk": { "S": "b" } }],
        "ConsistentRead": true,
        "ProjectionExpression": "#p",
        "ExpressionAttributeNames": { "#p": "pk" },
    } }, "ReturnConsumedCapacity": "TOTAL" });
    let Request::BatchGet(request) = decoded(ApiOperation::BatchGetItem, &body) else { unreachable!() };
    let (operations, reply) = request.plan(&[&orders()]).unwrap();
    assert_eq!(operations.len(), 2);

    let answer = reply.answer(vec![Ok(Outcome::Item(Some(item("a")))), Err(throttled())]);

    assert_eq!(answer.consumed, MilliUnits::from_units(1));
    let asked = &body["RequestItems"]["orders"];
    assert_eq!(
        answered(&answer),
        json!({
            "Responses": { "orders": [{ "pk": { "S": "a" } }] },
            "UnprocessedKeys": { "orders": {
                "Keys": [{ "pk": { "S": "b" } }],
                "ConsistentRead": true,
                "ProjectionExpression": "#p",
                "ExpressionAttributeNames": asked["ExpressionAttributeNames"],
            } },
            "ConsumedCapacity": [{ "TableName": "orders", "CapacityUnits": 1.0 }],
        })
    );
}

#[test]
fn throttled_writes_of_a_batch_are_unprocessed_items_as_they_were_sent() {
    let writes = json!([
        { "PutRequest": { "Item": { "pk": { "S": "a" } } } },
        { "DeleteRequest": { "Key": { "pk": { "S": "b" } } } },
    ]);
    let body = json!({ "RequestItems": { "orders": writes } });
    let Request::BatchWrite(request) = decoded(ApiOperation::BatchWriteItem, &body) else { unreachable!() };
    let (_, reply) = request.plan(&[&orders()]).unwrap();

    let answer = reply.answer(vec![Ok(Outcome::Written(Written::default())), Err(throttled())]);

    assert_eq!(answered(&answer), json!({ "UnprocessedItems": { "orders": [writes[1]] } }));
}

#[test]
fn a_batch_of_which_nothing_was_done_answers_its_first_error() {
    let body =
        json!({ "RequestItems": { "orders": [{ "PutRequest": { "Item": { "pk": { "S": "a" } } } }] } });
    let Request::BatchWrite(request) = decoded(ApiOperation::BatchWriteItem, &body) else { unreachable!() };
    let (_, reply) = request.plan(&[&orders()]).unwrap();

    let answer = reply.answer(vec![Err(throttled())]);

    assert_eq!(answer.error, Some(ErrorKind::ProvisionedThroughputExceeded));
}

#[test]
fn a_batch_answers_no_more_than_16_mb() {
    let keys: Vec<Value> = (0..50).map(|index| json!({ "pk": { "S": format!("k{index}") } })).collect();
    let body = json!({ "RequestItems": { "orders": { "Keys": keys } } });
    let Request::BatchGet(request) = decoded(ApiOperation::BatchGetItem, &body) else { unreachable!() };
    let (operations, reply) = request.plan(&[&orders()]).unwrap();
    let large = EncodedItem::encode(&Item::from([
        ("pk".to_owned(), "k".into()),
        ("data".to_owned(), AttributeValue::B(vec![0; 400_000])),
    ]));

    let answer = reply.answer(operations.iter().map(|_| Ok(Outcome::Item(Some(large.clone())))).collect());

    let answered = answered(&answer);
    let found = answered["Responses"]["orders"].as_array().unwrap().len();
    let left = answered["UnprocessedKeys"]["orders"]["Keys"].as_array().unwrap().len();
    assert_eq!((found, left), (16 * 1024 * 1024 / 400_006, 50 - found));
}

#[test]
fn batches_have_their_limits() {
    let gets: Vec<Value> = (0..101).map(|index| json!({ "pk": { "S": format!("{index}") } })).collect();
    let writes: Vec<Value> = (0..26)
        .map(|index| json!({ "DeleteRequest": { "Key": { "pk": { "S": format!("{index}") } } } }))
        .collect();
    for (operation, body) in [
        (ApiOperation::BatchGetItem, json!({ "RequestItems": { "orders": { "Keys": gets } } })),
        (ApiOperation::BatchWriteItem, json!({ "RequestItems": { "orders": writes } })),
    ] {
        assert_eq!(refused(operation, &body).kind, ErrorKind::Validation);
    }
}

#[test]
fn a_failed_condition_carries_the_item_and_costs_what_it_read() {
    let body = json!({
        "TableName": "orders",
        "Key": { "pk": { "S": "a" } },
        "ConditionExpression": "attribute_not_exists(pk)",
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    });
    let Request::Point(request) = decoded(ApiOperation::DeleteItem, &body) else { unreachable!() };
    let plan = request.plan(&orders()).unwrap();

    let answer = plan.reply.answer(Outcome::ConditionFailed { item: Some(item("a")), charged_size: 2000 });

    assert_eq!((answer.http_status(), answer.consumed), (400, MilliUnits::from_units(2)));
    assert_eq!(
        answered(&answer),
        json!({
            "__type": "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException",
            "message": "The conditional request failed",
            "Item": { "pk": { "S": "a" } },
        })
    );
}

#[test]
fn an_answer_of_another_kind_is_an_internal_error() {
    let body = json!({ "TableName": "orders", "Key": { "pk": { "S": "a" } } });
    let Request::Point(request) = decoded(ApiOperation::GetItem, &body) else { unreachable!() };
    let plan = request.plan(&orders()).unwrap();

    let answer = plan.reply.answer(Outcome::Written(Written::default()));

    assert_eq!(answer.error, Some(ErrorKind::InternalServerError));
}

#[test]
fn costs_are_estimated_from_below_and_charged_in_full() {
    let body = json!({ "TableName": "orders", "Key": { "pk": { "S": "a" } } });
    let Request::Point(request) = decoded(ApiOperation::GetItem, &body) else { unreachable!() };
    let operation = request.plan(&orders()).unwrap().operation;
    let large = EncodedItem::encode(&Item::from([("data".to_owned(), AttributeValue::B(vec![0; 9000]))]));

    assert_eq!(estimate(&operation), Cost::Read(MilliUnits::new(500)));
    assert_eq!(charge(&operation, &Outcome::Item(Some(large))), Cost::Read(MilliUnits::new(1500)));
    assert_eq!(charge(&operation, &Outcome::Item(None)), Cost::Read(MilliUnits::new(500)));
}

#[test]
fn what_is_not_built_is_refused_by_name() {
    for (member, value) in [
        ("GlobalSecondaryIndexes", json!([{}])),
        ("LocalSecondaryIndexes", json!([{}])),
        ("StreamSpecification", json!({ "StreamEnabled": true })),
        ("SSESpecification", json!({ "Enabled": true })),
        ("ResourcePolicy", json!("{}")),
    ] {
        let mut body = create_orders();
        body[member] = value;
        let error = refused(ApiOperation::CreateTable, &body);
        assert_eq!(error.kind, ErrorKind::Validation);
        assert!(error.message.contains(member), "{error}");
    }
}

#[test]
fn a_table_is_described_as_it_was_created() {
    let described: Value = serde_json::from_slice(&table_body("Table", &orders())).unwrap();
    let table = &described["Table"];

    assert_eq!(table["TableName"], "orders");
    assert_eq!(table["TableStatus"], "ACTIVE");
    assert_eq!(table["KeySchema"], json!([{ "AttributeName": "pk", "KeyType": "HASH" }]));
    assert_eq!(table["AttributeDefinitions"], json!([{ "AttributeName": "pk", "AttributeType": "S" }]));
    assert_eq!(table["CreationDateTime"], json!(1.5));
    assert_eq!(
        table["ProvisionedThroughput"],
        json!({ "ReadCapacityUnits": 5, "WriteCapacityUnits": 2, "NumberOfDecreasesToday": 0 })
    );
    assert_eq!(table.get("BillingModeSummary"), None);
}

#[test]
fn an_on_demand_table_shows_zero_throughput_and_its_ceilings() {
    let mut table = orders();
    table.billing = Billing::OnDemand { max_read: Some(7), max_write: None, since_ms: 2000 };

    let described: Value = serde_json::from_slice(&table_body("Table", &table)).unwrap();

    let table = &described["Table"];
    assert_eq!(table["BillingModeSummary"]["BillingMode"], "PAY_PER_REQUEST");
    assert_eq!(table["ProvisionedThroughput"]["ReadCapacityUnits"], 0);
    assert_eq!(table["OnDemandThroughput"], json!({ "MaxReadRequestUnits": 7 }));
}

#[test]
fn an_update_of_a_table_changes_only_what_it_names() {
    let body = json!({ "TableName": "orders", "DeletionProtectionEnabled": true });
    let Request::UpdateTable(change) = decoded(ApiOperation::UpdateTable, &body) else { unreachable!() };
    assert_eq!(
        *change,
        TableChange { name: "orders".to_owned(), deletion_protection: Some(true), ..TableChange::default() }
    );

    let nothing = json!({ "TableName": "orders" });
    assert_eq!(refused(ApiOperation::UpdateTable, &nothing).kind, ErrorKind::Validation);
}

#[test]
fn an_arn_names_a_table_everywhere() {
    let arn = "arn:aws:dynamodb:eu-west-1:123456789012:table/orders";
    let body = json!({ "TableName": arn, "Key": { "pk": { "S": "a" } } });
    let Request::Point(point) = decoded(ApiOperation::GetItem, &body) else { unreachable!() };
    assert_eq!(point.table_name(), "orders");

    let body = json!({ "RequestItems": { arn: { "Keys": [{ "pk": { "S": "a" } }] } } });
    let Request::BatchGet(batch) = decoded(ApiOperation::BatchGetItem, &body) else { unreachable!() };
    assert_eq!(batch.table_names().collect::<Vec<_>>(), ["orders"]);

    let Request::DescribeTable(name) = decoded(ApiOperation::DescribeTable, &json!({ "TableName": arn }))
    else {
        unreachable!()
    };
    assert_eq!(name, "orders");
}

#[test]
fn a_serialization_error_spells_its_message_with_a_capital() {
    let body = error_body(&ApiError::serialization("NUMBER_VALUE cannot be converted to String"), None);
    assert_eq!(
        String::from_utf8(body).unwrap(),
        r#"{"__type":"com.amazon.coral.service#SerializationException","Message":"NUMBER_VALUE cannot be converted to String"}"#
    );
}

#[test]
fn older_and_newer_parameters_do_not_mix() {
    let body = json!({
        "TableName": "orders",
        "KeyConditionExpression": "pk = :p",
        "ExpressionAttributeValues": { ":p": { "S": "a" } },
        "AttributesToGet": ["a"],
        "QueryFilter": { "a": { "ComparisonOperator": "NULL" } },
    });
    assert_eq!(
        refused(ApiOperation::Query, &body).message,
        "Can not use both expression and non-expression parameters in the same request: Non-expression \
         parameters: {AttributesToGet, QueryFilter} Expression parameters: {KeyConditionExpression}"
    );
}

#[test]
fn a_put_is_routed_by_its_key_and_carries_its_condition() {
    let body = json!({
        "TableName": "orders",
        "Item": { "pk": { "S": "a" }, "n": { "N": "1" } },
        "ConditionExpression": "attribute_not_exists(pk)",
    });
    let Request::Point(request) = decoded(ApiOperation::PutItem, &body) else { unreachable!() };
    let Operation::Put(put) = request.plan(&orders()).unwrap().operation else { unreachable!() };

    assert_eq!(put.options.condition.as_deref(), Some("attribute_not_exists(pk)"));
    assert_eq!(put.key, orders().keys.storage_key(put.item.view(), orders().hash_seed).unwrap());
}

fn decoded(operation: ApiOperation, body: &Value) -> Request<'static> {
    let text: &'static str = body.to_string().leak();
    decode(operation, text.as_bytes(), &ExpressionCache::new()).expect("the request is valid")
}

fn refused(operation: ApiOperation, body: &Value) -> ApiError {
    let text = body.to_string();
    decode(operation, text.as_bytes(), &ExpressionCache::new()).expect_err("the request is refused")
}

fn answered(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).expect("an answer is JSON")
}

fn throttled() -> ApiError {
    ApiError::new(ErrorKind::ProvisionedThroughputExceeded, "throttled")
}

fn item(key: &str) -> EncodedItem {
    EncodedItem::encode(&Item::from([("pk".to_owned(), key.into())]))
}

fn create_orders() -> Value {
    json!({
        "TableName": "orders",
        "KeySchema": [{ "AttributeName": "pk", "KeyType": "HASH" }],
        "AttributeDefinitions": [{ "AttributeName": "pk", "AttributeType": "S" }],
        "ProvisionedThroughput": { "ReadCapacityUnits": 5, "WriteCapacityUnits": 2 },
    })
}

fn orders() -> TableDescriptor {
    let Request::CreateTable(new) = decoded(ApiOperation::CreateTable, &create_orders()) else {
        unreachable!()
    };
    let NewTable { name, keys, attribute_definitions, billing, .. } = *new;
    TableDescriptor {
        id: 7,
        name,
        uuid: "uuid".to_owned(),
        arn: "arn".to_owned(),
        version: 1,
        status: TableStatus::Active,
        keys,
        attribute_definitions,
        billing,
        created_at_ms: 1500,
        hash_seed: 3,
        deletion_protection: false,
        table_class: None,
        tags: Vec::new(),
        partitions: 1,
        item_count: 0,
        size_bytes: 0,
        quotas: None,
    }
}
