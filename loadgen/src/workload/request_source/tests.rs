use std::collections::{BTreeMap, BTreeSet};

use dynamodb::json::decode_item;
use serde_json::Value;

use super::*;

fn stream(mix: &str, keys: &str, size: &str) -> StreamSpec {
    StreamSpec {
        name: "orders".to_owned(),
        table: "orders".to_owned(),
        profile: None,
        arrivals: "100/s".parse().unwrap(),
        mix: mix.parse().unwrap(),
        keys: keys.parse().unwrap(),
        item_size: size.parse().unwrap(),
        from: Duration::ZERO,
        to: None,
    }
}

fn source(mix: &str, keys: &str, size: &str) -> RequestSource {
    RequestSource::new(&stream(mix, keys, size), false, 1, 0, 1)
}

fn json(planned: &Planned) -> Value {
    serde_json::from_slice(&planned.body).expect("a body is JSON")
}

fn one(mix: &str) -> (Planned, Value) {
    let planned = source(mix, "uniform:1000", "900").next(Duration::ZERO);
    let body = json(&planned);
    assert_eq!(planned.target, planned.operation.target());
    (planned, body)
}

/// The item of a put, in bytes by the product's own rule.
fn bytes_of(item: &Value) -> u64 {
    decode_item(item.to_string().as_bytes()).unwrap().view().size()
}

fn write_milli(planned: &Planned, answer: &str) -> u64 {
    planned.units.units(answer.as_bytes()).write_milli
}

#[test]
fn reads_name_the_table_the_key_and_their_consistency() {
    let (_, body) = one("get=1");
    assert_eq!((body["TableName"].as_str(), body["ConsistentRead"].as_bool()), (Some("orders"), Some(true)));
    assert_eq!(body["Key"].as_object().unwrap().len(), 1);
    assert_eq!(body["Key"]["pk"]["S"].as_str().unwrap().len(), 24);

    let (_, body) = one("get-eventual=1");
    assert!(body.get("ConsistentRead").is_none());
}

#[test]
fn puts_have_an_item_of_exactly_the_size_and_cost_its_units() {
    for (size, milli) in [("900", 1000), ("1024", 1000), ("1025", 2000), ("409600", 400_000)] {
        for mix in ["put=1", "put-if-present=1", "insert=1"] {
            let planned = source(mix, "uniform:1000", size).next(Duration::ZERO);
            assert_eq!(bytes_of(&json(&planned)["Item"]).to_string(), size);
            assert_eq!(write_milli(&planned, "{}"), milli);
        }
    }
}

#[test]
fn conditional_puts_state_their_condition_and_cost_what_is_there_when_refused() {
    let refusal = r#"{"__type":"com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException"}"#;
    for (mix, condition, milli) in
        [("insert=1", "attribute_not_exists(pk)", 2000), ("put-if-present=1", "attribute_exists(pk)", 1000)]
    {
        let planned = source(mix, "uniform:1000", "1500").next(Duration::ZERO);
        assert_eq!(json(&planned)["ConditionExpression"], condition);
        assert_eq!(write_milli(&planned, refusal), milli);
    }
    assert!(one("put=1").1.get("ConditionExpression").is_none());
}

#[test]
fn updates_set_one_attribute_and_leave_the_items_size() {
    let planned = source("update=1", "uniform:1000", "1500").next(Duration::ZERO);
    let body = json(&planned);
    assert_eq!(body["UpdateExpression"], "SET v = :v");
    let value = body["ExpressionAttributeValues"][":v"]["S"].as_str().unwrap();
    assert_eq!(value.len(), 1500 - 26 - 1);
    assert_eq!(write_milli(&planned, "{}"), 2000);

    let planned = source("update=1", "uniform:1000", "fields:10x100").next(Duration::ZERO);
    let body = json(&planned);
    assert!(body["UpdateExpression"].as_str().unwrap().starts_with("SET field"));
    assert_eq!(body["ExpressionAttributeValues"][":v"]["S"].as_str().unwrap().len(), 100);
    assert_eq!(write_milli(&planned, "{}"), 2000);
}

#[test]
fn increments_add_one_and_ask_for_the_sum_because_it_is_part_of_the_size() {
    let (planned, body) = one("increment=1");
    assert_eq!(
        (&body["UpdateExpression"], &body["ReturnValues"]),
        (&"ADD hits :n".into(), &"UPDATED_NEW".into())
    );
    assert_eq!(write_milli(&planned, r#"{"Attributes":{"hits":{"N":"1"}}}"#), 1000);
}

#[test]
fn deletions_ask_for_the_old_item_because_it_says_the_cost() {
    let (planned, body) = one("delete=1");
    assert_eq!(body["ReturnValues"], "ALL_OLD");
    assert_eq!(write_milli(&planned, "{}"), 1000);
}

#[test]
fn queries_begin_where_their_limit_can_be_reached() {
    let mut source = source("query(1-40)=1", "uniform:1000 by 100", "900");
    let mut begins = BTreeSet::new();
    for _ in 0..2000 {
        let body = json(&source.next(Duration::ZERO));
        let limit = body["Limit"].as_u64().unwrap();
        let values = &body["ExpressionAttributeValues"];
        let first: u64 = values[":s"]["S"].as_str().unwrap().parse().unwrap();
        assert!((1..=40).contains(&limit) && first + limit <= 100, "{first}, {limit}");
        assert_eq!(values[":p"]["S"].as_str().unwrap().len(), 24);
        begins.insert(first);
    }
    assert!(begins.len() > 90, "{} different begins", begins.len());
}

#[test]
fn scans_begin_after_a_key_of_the_distribution() {
    let (_, body) = one("scan(50)=1");
    assert_eq!(body["Limit"], 50);
    assert_eq!(body["ExclusiveStartKey"]["pk"]["S"].as_str().unwrap().len(), 24);
}

#[test]
fn batches_have_as_many_different_keys_as_asked_for_or_as_there_are() {
    for (keys, expected) in [("zipf:1000:2", 25), ("uniform:25", 25), ("uniform:7", 7)] {
        let mut source = source("batch-get(25)=1,batch-write(25)=1", keys, "fields:2x10");
        for _ in 0..50 {
            let planned = source.next(Duration::ZERO);
            let body = json(&planned);
            let asked = &body["RequestItems"]["orders"];
            let keys: BTreeSet<String> = match planned.operation {
                Operation::BatchGetItem => asked["Keys"].as_array(),
                _ => asked.as_array(),
            }
            .unwrap()
            .iter()
            .map(|entry| entry.get("PutRequest").map_or(&entry["pk"], |put| &put["Item"]["pk"]).to_string())
            .collect();
            assert_eq!(keys.len(), expected);
        }
    }
}

#[test]
fn a_batch_of_writes_costs_each_item_by_itself() {
    let planned = source("batch-write(10)=1", "uniform:1000", "1100").next(Duration::ZERO);

    assert_eq!(write_milli(&planned, "{}"), 20_000);
}

#[test]
fn a_read_modify_write_writes_the_key_that_it_read_and_ends() {
    let mut source = source("read-modify-write=1", "zipf:1000:0.99", "900");
    let read = source.next(Duration::ZERO);
    let write = source.follow_up(&read, b"{}").expect("a write follows");

    assert_eq!((read.target, write.target), (Operation::GetItem.target(), Operation::UpdateItem.target()));
    assert_eq!(read.operation, write.operation);
    assert_eq!(json(&read)["Key"], json(&write)["Key"]);
    assert!(source.follow_up(&write, b"{}").is_none());
}

#[test]
fn nothing_follows_other_requests() {
    for operation in Operation::ALL.into_iter().filter(|other| *other != Operation::ReadModifyWrite) {
        let mut source = source(&format!("{operation}=1"), "uniform:1000", "900");
        let planned = source.next(Duration::ZERO);
        assert!(source.follow_up(&planned, b"{}").is_none());
    }
}

#[test]
fn the_capacity_is_asked_for_when_wanted() {
    for operation in Operation::ALL {
        let stream = stream(&format!("{operation}=1"), "uniform:1000", "900");
        for wanted in [false, true] {
            let planned = RequestSource::new(&stream, wanted, 1, 0, 1).next(Duration::ZERO);
            assert_eq!(json(&planned).get("ReturnConsumedCapacity").is_some(), wanted, "{operation}");
        }
    }
}

#[test]
fn all_of_a_streams_requests_have_the_sort_key_if_any_has() {
    for operation in Operation::ALL.into_iter().filter(|operation| *operation != Operation::Query) {
        let stream = stream(&format!("{operation}=1,query=1"), "uniform:1000", "900");
        let mut source = RequestSource::new(&stream, false, 1, 0, 1);
        for _ in 0..20 {
            let body = source.next(Duration::ZERO).body;
            let text = std::str::from_utf8(&body).unwrap();
            assert!(text.contains(r#""sk":{"S":""#) || text.contains("sk >= :s"), "{text}");
        }
    }
}

#[test]
fn operations_come_in_their_shares() {
    let mut source = source("get=70,put=20,update=10", "uniform:1000", "100");
    let mut seen = BTreeMap::<Operation, u32>::new();
    for _ in 0..50_000 {
        *seen.entry(source.next(Duration::ZERO).operation).or_default() += 1;
    }

    for (operation, share) in
        [(Operation::GetItem, 0.7), (Operation::PutItem, 0.2), (Operation::UpdateItem, 0.1)]
    {
        let found = f64::from(seen[&operation]) / 50_000.0;
        assert!(
            (found - share).abs() < 4.0 * (share * (1.0 - share) / 50_000.0_f64).sqrt(),
            "{operation}: {found}"
        );
    }
}

#[test]
fn the_same_seed_and_part_send_the_same_and_others_do_not() {
    let bodies = |name: &str, seed, part| -> Vec<Bytes> {
        let stream = StreamSpec { name: name.to_owned(), ..stream("get=1,put=1", "uniform:100000", "100") };
        let mut source = RequestSource::new(&stream, false, seed, part, 2);
        (0..20).map(|_| source.next(Duration::ZERO).body).collect()
    };

    assert_eq!(bodies("a", 1, 0), bodies("a", 1, 0));
    for other in [bodies("a", 2, 0), bodies("a", 1, 1), bodies("b", 1, 0)] {
        assert_ne!(bodies("a", 1, 0), other);
    }
}

#[test]
fn sequential_batches_put_every_key_once_in_the_size_that_other_streams_expect() {
    let reading = stream("get=1,query=1", "uniform:130", "lognormal:300:0.5");
    let layout = ItemLayout::new(reading.item_size, &KeySpace::of(&reading.keys, &reading.mix));
    let mut filling = source("batch-write(10)=1", "sequential:130 by 100", "lognormal:300:0.5");
    let (mut keys, mut number) = (BTreeSet::new(), 0);
    for _ in 0..13 {
        let body = json(&filling.next(Duration::ZERO));
        for put in body["RequestItems"]["orders"].as_array().unwrap() {
            let item = &put["PutRequest"]["Item"];
            assert_eq!(bytes_of(item), u64::from(layout.bytes(number)));
            assert!(keys.insert(format!("{}{}", item["pk"]["S"], item["sk"]["S"])));
            number += 1;
        }
    }
    assert_eq!(keys.len(), 130);
}

#[test]
fn a_table_name_that_needs_escapes_is_escaped() {
    let stream =
        StreamSpec { table: r#"a"b"#.to_owned(), ..stream("get=1,batch-get=1", "uniform:10", "100") };
    let mut source = RequestSource::new(&stream, false, 1, 0, 1);

    (0..20).for_each(|_| assert!(json(&source.next(Duration::ZERO)).is_object()));
}
