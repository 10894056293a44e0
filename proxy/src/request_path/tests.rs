//! Every operation through the whole request path, over tiers that live in the test: signed requests
//! in, responses out.

mod fuzz;
mod tiers;

use admission::{BurstState, CapacityKind, HotKey, KeyHash, StorageLayer, StorageRefusal};
use dynamodb::error::ErrorKind;
use serde_json::{Value, json};
use std::time::Duration;
use storage_adapter::StoreError;
use units::{MilliUnits, MilliUnitsPerSecond, Term};

use crate::http::RetryHint;
use tiers::{Weir, new_weir};

async fn with_table(weir: &Weir, name: &str) {
    let create = json!({
        "TableName": name,
        "KeySchema": [
            {"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"},
        ],
        "AttributeDefinitions": [
            {"AttributeName": "pk", "AttributeType": "S"}, {"AttributeName": "sk", "AttributeType": "N"},
        ],
        "BillingMode": "PAY_PER_REQUEST",
    });
    let answer = weir.ok("CreateTable", &create).await;
    assert_eq!(answer["TableDescription"]["TableName"], name);
}

/// What a storage node says when a partition has used up its allocation.
fn hot_partition(kind: CapacityKind) -> StoreError {
    StoreError::Throttled(Box::new(StorageRefusal {
        layer: StorageLayer::Partition,
        kind,
        retry_after: Duration::from_millis(7),
        quota: MilliUnitsPerSecond::from_units(1_000),
        level: MilliUnits::ZERO,
        banked: MilliUnits::ZERO,
        burst: BurstState::Empty,
        hot_key: Some(HotKey { hash: KeyHash::new(0xfeed), permille: 900 }),
    }))
}

fn item(pk: &str, sk: u32) -> Value {
    json!({"pk": {"S": pk}, "sk": {"N": sk.to_string()}, "v": {"N": (sk * 10).to_string()}})
}

fn key(pk: &str, sk: u32) -> Value {
    json!({"pk": {"S": pk}, "sk": {"N": sk.to_string()}})
}

/// The request path with table `t`, over four partitions.
async fn weir_with_t() -> Weir {
    let weir = new_weir(4);
    with_table(&weir, "tab").await;
    weir
}

async fn fill(weir: &Weir, partition_keys: u32, each: u32) {
    for pk in 0..partition_keys {
        for sk in 0..each {
            weir.ok("PutItem", &json!({"TableName": "tab", "Item": item(&format!("p{pk}"), sk)})).await;
        }
    }
}

#[tokio::test]
async fn an_item_put_is_got_updated_and_deleted() {
    let weir = weir_with_t().await;
    weir.ok("PutItem", &json!({"TableName": "tab", "Item": item("a", 1)})).await;
    let get = json!({"TableName": "tab", "Key": key("a", 1), "ConsistentRead": true});
    assert_eq!(weir.ok("GetItem", &get).await["Item"], item("a", 1));
    let update = json!({
        "TableName": "tab", "Key": key("a", 1), "UpdateExpression": "ADD v :one",
        "ExpressionAttributeValues": {":one": {"N": "1"}}, "ReturnValues": "UPDATED_NEW",
    });
    assert_eq!(weir.ok("UpdateItem", &update).await["Attributes"]["v"]["N"], "11");
    let delete = json!({"TableName": "tab", "Key": key("a", 1), "ReturnValues": "ALL_OLD"});
    assert_eq!(weir.ok("DeleteItem", &delete).await["Attributes"]["v"]["N"], "11");
    assert_eq!(weir.ok("GetItem", &get).await, json!({}));
}

#[tokio::test]
async fn a_condition_that_fails_changes_nothing_and_can_return_the_item() {
    let weir = weir_with_t().await;
    weir.ok("PutItem", &json!({"TableName": "tab", "Item": item("a", 1)})).await;
    let again = json!({
        "TableName": "tab", "Item": {"pk": {"S": "a"}, "sk": {"N": "1"}},
        "ConditionExpression": "attribute_not_exists(pk)",
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    });
    let (status, answer) = weir.send("PutItem", &again).await;
    assert_eq!(status, 400);
    assert!(answer["__type"].as_str().unwrap().ends_with("#ConditionalCheckFailedException"));
    assert_eq!(answer["Item"], item("a", 1));
}

#[tokio::test]
async fn a_query_reads_one_partition_key_in_both_directions_and_in_pages() {
    let weir = weir_with_t().await;
    fill(&weir, 3, 5).await;
    let query = |forward: bool, start: Option<Value>| {
        let mut query = json!({
            "TableName": "tab", "KeyConditionExpression": "pk = :p AND sk >= :low", "Limit": 3,
            "ExpressionAttributeValues": {":p": {"S": "p1"}, ":low": {"N": "1"}},
            "ScanIndexForward": forward,
        });
        if let Some(start) = start {
            query["ExclusiveStartKey"] = start;
        }
        query
    };
    for (forward, expected) in [(true, ["1", "2", "3", "4"]), (false, ["4", "3", "2", "1"])] {
        let first = weir.ok("Query", &query(forward, None)).await;
        let second = weir.ok("Query", &query(forward, Some(first["LastEvaluatedKey"].clone()))).await;
        let pages = [&first["Items"], &second["Items"]];
        let found: Vec<&str> = pages
            .iter()
            .flat_map(|page| page.as_array().unwrap())
            .map(|item| item["sk"]["N"].as_str().unwrap())
            .collect();
        assert_eq!(found, expected);
        assert_eq!(second.get("LastEvaluatedKey"), None);
    }
}

#[tokio::test]
async fn a_scan_sees_every_item_of_every_partition_once() {
    let weir = weir_with_t().await;
    fill(&weir, 20, 3).await;
    for (segments, limit) in [(1, None), (1, Some(7)), (3, None), (5, Some(2))] {
        let mut seen = std::collections::BTreeSet::new();
        let mut count = 0;
        for segment in 0..segments {
            let mut start = None;
            loop {
                let mut scan = json!({"TableName": "tab", "ReturnConsumedCapacity": "TOTAL"});
                if segments > 1 {
                    scan["Segment"] = json!(segment);
                    scan["TotalSegments"] = json!(segments);
                }
                if let Some(limit) = limit {
                    scan["Limit"] = json!(limit);
                }
                if let Some(start) = start.take() {
                    scan["ExclusiveStartKey"] = start;
                }
                let page = weir.ok("Scan", &scan).await;
                for item in page["Items"].as_array().unwrap() {
                    count += 1;
                    seen.insert(item.to_string());
                }
                match page.get("LastEvaluatedKey") {
                    Some(last) => start = Some(last.clone()),
                    None => break,
                }
            }
        }
        assert_eq!((count, seen.len()), (60, 60), "{segments} segments, limit {limit:?}");
    }
}

#[tokio::test]
async fn batches_write_and_read_many_items() {
    let weir = weir_with_t().await;
    let puts: Vec<Value> =
        (0..25).map(|n| json!({"PutRequest": {"Item": item(&format!("b{n}"), n)}})).collect();
    let written = weir.ok("BatchWriteItem", &json!({"RequestItems": {"tab": puts}})).await;
    assert_eq!(written["UnprocessedItems"], json!({}));
    let keys: Vec<Value> = (0..30).map(|n| key(&format!("b{n}"), n)).collect();
    let read = weir.ok("BatchGetItem", &json!({"RequestItems": {"tab": {"Keys": keys}}})).await;
    assert_eq!(read["Responses"]["tab"].as_array().unwrap().len(), 25);
    assert_eq!(read["UnprocessedKeys"], json!({}));
}

#[tokio::test]
async fn what_a_batch_could_not_do_is_unprocessed() {
    let weir = weir_with_t().await;
    fill(&weir, 2, 1).await;
    weir.fail_next([hot_partition(CapacityKind::Read)]);
    let get = json!({"RequestItems": {"tab": {"Keys": [key("p0", 0), key("p1", 0)]}}});
    let read = weir.ok("BatchGetItem", &get).await;
    assert_eq!(read["Responses"]["tab"].as_array().unwrap().len(), 1);
    assert_eq!(read["UnprocessedKeys"]["tab"]["Keys"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn tables_are_made_listed_described_changed_and_deleted() {
    let weir = weir_with_t().await;
    with_table(&weir, "uuu").await;
    assert_eq!(weir.ok("ListTables", &json!({})).await, json!({"TableNames": ["tab", "uuu"]}));
    let first = weir.ok("ListTables", &json!({"Limit": 1})).await;
    assert_eq!(first, json!({"TableNames": ["tab"], "LastEvaluatedTableName": "tab"}));
    let described = weir.ok("DescribeTable", &json!({"TableName": "tab"})).await;
    assert_eq!(described["Table"]["TableStatus"], "ACTIVE");
    let update = json!({
        "TableName": "tab", "BillingMode": "PROVISIONED",
        "ProvisionedThroughput": {"ReadCapacityUnits": 5, "WriteCapacityUnits": 6},
    });
    let updated = weir.ok("UpdateTable", &update).await;
    assert_eq!(updated["TableDescription"]["TableName"], "tab");
    weir.ok("DeleteTable", &json!({"TableName": "tab"})).await;
    assert_eq!(weir.ok("ListTables", &json!({})).await, json!({"TableNames": ["uuu"]}));
    for (operation, request) in [
        ("DescribeTable", json!({"TableName": "tab"})),
        ("GetItem", json!({"TableName": "tab", "Key": key("a", 1)})),
        ("Scan", json!({"TableName": "tab"})),
        ("BatchGetItem", json!({"RequestItems": {"tab": {"Keys": [key("a", 1)]}}})),
    ] {
        weir.refused(operation, &request, ErrorKind::ResourceNotFound).await;
    }
}

#[tokio::test]
async fn the_first_operation_on_an_unknown_table_is_routed_by_what_came_with_the_table() {
    let weir = weir_with_t().await;
    fill(&weir, 8, 1).await;
    weir.forget_tables();
    let _before = weir.routed();
    let query = json!({
        "TableName": "tab", "KeyConditionExpression": "pk = :p",
        "ExpressionAttributeValues": {":p": {"S": "p1"}},
    });
    let batch = json!({"RequestItems": {"tab": {"Keys": [key("p1", 0), key("p2", 0), key("p3", 0)]}}});
    for (operation, request, (brought, asked)) in [
        ("GetItem", json!({"TableName": "tab", "Key": key("p1", 0)}), (1, 0)),
        ("PutItem", json!({"TableName": "tab", "Item": item("p1", 0)}), (1, 0)),
        ("DeleteItem", json!({"TableName": "tab", "Key": key("p1", 0)}), (1, 0)),
        ("Query", query, (1, 0)),
        // One for each further key, and for each further partition.
        ("BatchGetItem", batch, (1, 2)),
        ("Scan", json!({"TableName": "tab"}), (1, 3)),
    ] {
        weir.ok(operation, &request).await;
        assert_eq!(weir.routed(), (brought, asked), "{operation}");
    }
}

#[tokio::test]
async fn limits_and_endpoints_are_described() {
    let weir = new_weir(1);
    let limits = weir.ok("DescribeLimits", &json!({})).await;
    assert!(limits["AccountMaxReadCapacityUnits"].as_u64().unwrap() > 0);
    let endpoints = weir.ok("DescribeEndpoints", &json!({})).await;
    assert_eq!(endpoints["Endpoints"][0]["Address"], "localhost:8000");
}

#[tokio::test]
async fn an_operation_that_is_not_there_is_unknown_and_junk_is_no_request() {
    let weir = new_weir(1);
    weir.refused("TransactWriteItems", &json!({}), ErrorKind::UnknownOperation).await;
    weir.refused("", &json!({}), ErrorKind::UnknownOperation).await;
    weir.refused("GetItem", &json!([1]), ErrorKind::Serialization).await;
    weir.refused("GetItem", &json!({"TableName": "none", "Key": key("a", 1)}), ErrorKind::ResourceNotFound)
        .await;
}

#[tokio::test(start_paused = true)]
async fn redirects_to_newer_routes_are_followed_at_once_and_learned() {
    let weir = weir_with_t().await;
    let newer = |term| {
        let mut route = weir.route_of("tab");
        route.version.term = Term::new(term);
        StoreError::Redirect(Box::new(route))
    };
    weir.fail_next([newer(2), newer(3), newer(4)]);
    let put = json!({"TableName": "tab", "Item": item("a", 1)});
    let put = weir.ok("PutItem", &put);
    tokio::time::timeout(Duration::from_millis(1), put).await.expect("there is no pause");
    assert_eq!(weir.learned(), 3);
}

#[tokio::test(start_paused = true)]
async fn nodes_that_name_each_other_are_given_time_to_settle_it() {
    let weir = weir_with_t().await;
    let same = || StoreError::Redirect(Box::new(weir.route_of("tab")));
    weir.fail_next([same(), same()]);
    let put = json!({"TableName": "tab", "Item": item("a", 1)});
    let put = weir.ok("PutItem", &put);
    let early = tokio::time::timeout(Duration::from_millis(149), put).await;
    assert!(early.is_err(), "50 and 100 ms are to pass");
}

#[tokio::test(start_paused = true)]
async fn an_operation_is_redirected_three_times_at_most() {
    let weir = weir_with_t().await;
    let executed = weir.executed();
    weir.fail_next((2..7).map(|term| {
        let mut route = weir.route_of("tab");
        route.version.term = Term::new(term);
        StoreError::Redirect(Box::new(route))
    }));
    let put = json!({"TableName": "tab", "Item": item("a", 1)});
    weir.refused("PutItem", &put, ErrorKind::ServiceUnavailable).await;
    assert_eq!(weir.executed() - executed, 4);
}

#[tokio::test(start_paused = true)]
async fn an_unavailable_partition_is_waited_for_and_then_given_up() {
    let weir = weir_with_t().await;
    let down =
        || StoreError::Unavailable { reason: "no leader".into(), retry_after: Duration::from_millis(20) };
    let put = json!({"TableName": "tab", "Item": item("a", 1)});
    weir.fail_next([down(), StoreError::Unknown, down()]);
    weir.ok("PutItem", &put).await;
    weir.fail_next([down(), down(), down(), down()]);
    weir.refused("PutItem", &put, ErrorKind::ServiceUnavailable).await;
    weir.ok("PutItem", &put).await;
}

#[tokio::test]
async fn an_indefinite_write_is_not_tried_again_but_a_read_is() {
    let weir = weir_with_t().await;
    weir.fail_next([StoreError::Indefinite]);
    weir.refused(
        "PutItem",
        &json!({"TableName": "tab", "Item": item("a", 1)}),
        ErrorKind::InternalServerError,
    )
    .await;
    weir.fail_next([StoreError::Indefinite, StoreError::Corrupt]);
    assert_eq!(weir.ok("GetItem", &json!({"TableName": "tab", "Key": key("a", 1)})).await, json!({}));
}

#[tokio::test]
async fn a_throttling_partition_is_named_and_costs_no_tokens() {
    let weir = weir_with_t().await;
    weir.fail_next([hot_partition(CapacityKind::Write)]);
    let (status, answer) = weir.send("PutItem", &json!({"TableName": "tab", "Item": item("a", 1)})).await;
    assert_eq!(status, 400);
    assert!(answer["__type"].as_str().unwrap().ends_with("#ThrottlingException"));
    assert_eq!(answer["throttlingReasons"][0]["reason"], "TableWriteKeyRangeThroughputExceeded");
    assert_eq!(weir.tokens_out(), 0);
}

#[tokio::test]
async fn a_table_without_capacity_refuses_before_any_partition_is_asked() {
    let weir = weir_with_t().await;
    weir.admit_only(0);
    let executed = weir.executed();
    let (status, answer) = weir.send("GetItem", &json!({"TableName": "tab", "Key": key("a", 1)})).await;
    assert_eq!(status, 400);
    assert_eq!(answer["throttlingReasons"][0]["reason"], "TableReadMaxOnDemandThroughputExceeded");
    assert_eq!(weir.last_hint(), Some(RetryHint { after: Some(Duration::from_millis(40)) }));
    assert_eq!(weir.executed(), executed);
}

#[tokio::test]
async fn a_batch_that_is_throttled_in_part_says_what_is_left_and_when_to_come_back() {
    let weir = weir_with_t().await;
    let puts: Vec<Value> = (0..5).map(|n| json!({"PutRequest": {"Item": item("a", n)}})).collect();
    weir.admit_only(2);
    let written = weir.ok("BatchWriteItem", &json!({"RequestItems": {"tab": puts}})).await;
    assert_eq!(written["UnprocessedItems"]["tab"].as_array().unwrap().len(), 3);
    assert_eq!(weir.last_hint(), Some(RetryHint { after: Some(Duration::from_millis(40)) }));

    weir.admit_only(1);
    let keys: Vec<Value> = (0..2).map(|n| key("a", n)).collect();
    let read = weir.ok("BatchGetItem", &json!({"RequestItems": {"tab": {"Keys": keys}}})).await;
    assert_eq!(read["UnprocessedKeys"]["tab"]["Keys"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_batch_of_which_nothing_is_admitted_is_throttled_with_its_reasons() {
    let weir = weir_with_t().await;
    weir.admit_only(0);
    let put = json!({"PutRequest": {"Item": item("a", 1)}});
    let get = json!({"RequestItems": {"tab": {"Keys": [key("a", 1), key("b", 1)]}}});
    for (operation, request, reason) in [
        (
            "BatchWriteItem",
            json!({"RequestItems": {"tab": [put]}}),
            "TableWriteMaxOnDemandThroughputExceeded",
        ),
        ("BatchGetItem", get, "TableReadMaxOnDemandThroughputExceeded"),
    ] {
        let (status, answer) = weir.send(operation, &request).await;
        assert_eq!((status, &answer["throttlingReasons"][0]["reason"]), (400, &json!(reason)));
        assert!(weir.last_hint().is_some());
    }
}

#[tokio::test]
async fn whoever_signed_is_who_asks_for_capacity() {
    let weir = weir_with_t().await;
    weir.ok("PutItem", &json!({"TableName": "tab", "Item": item("a", 1)})).await;
    assert_eq!(weir.asked(), ["alice"]);
}

#[tokio::test]
async fn a_deleted_tables_buckets_are_dropped() {
    let weir = weir_with_t().await;
    weir.ok("DeleteTable", &json!({"TableName": "tab"})).await;
    assert_eq!(weir.forgotten(), 1);
}

#[tokio::test]
async fn what_was_admitted_is_settled_to_what_it_cost() {
    let weir = weir_with_t().await;
    let large = "x".repeat(5000);
    let put = json!({
        "TableName": "tab", "Item": {"pk": {"S": "a"}, "sk": {"N": "1"}, "large": {"S": large}},
        "ReturnConsumedCapacity": "TOTAL",
    });
    let answer = weir.ok("PutItem", &put).await;
    assert_eq!(answer["ConsumedCapacity"]["CapacityUnits"], 5.0);
    assert_eq!(weir.tokens_out(), 5000);
}

#[tokio::test]
async fn a_wrong_signature_does_nothing() {
    let weir = weir_with_t().await;
    let executed = weir.executed();
    let put = json!({"TableName": "tab", "Item": item("a", 1)});
    let (status, answer) = weir.send_signed_with("wrong", "PutItem", put.to_string().into_bytes()).await;
    assert_eq!(status, 400);
    assert!(answer["__type"].as_str().unwrap().ends_with("#InvalidSignatureException"));
    assert_eq!(weir.executed(), executed);
}

#[tokio::test]
async fn a_table_that_replaced_another_is_found_behind_a_stale_cache() {
    let weir = weir_with_t().await;
    let put = json!({"TableName": "tab", "Item": item("a", 1)});
    let batch = json!({"RequestItems": {"tab": [{"PutRequest": {"Item": item("b", 1)}}]}});
    for (operation, request) in [("PutItem", &put), ("BatchWriteItem", &batch)] {
        weir.cache("tab");
        weir.ok("DeleteTable", &json!({"TableName": "tab"})).await;
        with_table(&weir, "tab").await;
        weir.fail_next([StoreError::Unknown]);
        weir.ok(operation, request).await;
        assert_eq!(weir.ok("Scan", &json!({"TableName": "tab"})).await["Count"], 1);
    }
    weir.cache("tab");
    weir.ok("DeleteTable", &json!({"TableName": "tab"})).await;
    weir.fail_next([StoreError::Unknown]);
    weir.refused("PutItem", &put, ErrorKind::ResourceNotFound).await;
}

#[tokio::test]
async fn a_request_that_fits_the_tables_new_keys_is_not_refused_for_the_old_ones() {
    let weir = weir_with_t().await;
    weir.cache("tab");
    weir.ok("DeleteTable", &json!({"TableName": "tab"})).await;
    let create = json!({
        "TableName": "tab", "BillingMode": "PAY_PER_REQUEST",
        "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
    });
    weir.ok("CreateTable", &create).await;
    weir.ok("PutItem", &json!({"TableName": "tab", "Item": {"id": {"S": "a"}}})).await;
    let unfit = json!({"TableName": "tab", "Item": item("a", 1)});
    weir.refused("PutItem", &unfit, ErrorKind::Validation).await;
}
