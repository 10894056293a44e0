//! Random mutations of valid requests: the right exception, never a panic, never a 500.

use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use super::{key, weir_with_t};

const MUTATIONS: usize = 10_000;

#[tokio::test]
async fn ten_thousand_mutations_of_valid_requests_are_answered_with_200_or_400() {
    let weir = weir_with_t().await;
    let valid: Vec<(&str, String)> =
        valid_requests().into_iter().map(|(operation, body)| (operation, body.to_string())).collect();
    for (operation, body) in &valid {
        let (status, answer) = weir.send_bytes(operation, body.clone().into_bytes()).await;
        assert_eq!(status, 200, "{operation} {body}: {answer}");
    }
    let mut dice = ChaCha8Rng::seed_from_u64(20_221_122);
    let (mut accepted, mut refused) = (0, 0);
    for number in 0..MUTATIONS {
        let (operation, body) = valid.choose(&mut dice).unwrap();
        let body = mutated(&mut dice, body.as_bytes());
        let shown = String::from_utf8_lossy(&body).into_owned();
        let (status, answer) = weir.send_bytes(operation, body).await;
        match status {
            200 => accepted += 1,
            400 => {
                refused += 1;
                assert!(answer["__type"].is_string(), "{number} {operation} {shown}: {answer}");
            }
            _ => panic!("{number} {operation} {shown}: {status} {answer}"),
        }
    }
    // Both must happen, or the mutations are too gentle or too rough to prove anything.
    assert!(accepted > MUTATIONS / 50 && refused > MUTATIONS / 4, "{accepted} and {refused}");
}

fn valid_requests() -> Vec<(&'static str, Value)> {
    let (a, t) = (key("a", 1), "tab");
    let item = json!({
        "pk": {"S": "a"}, "sk": {"N": "1"}, "b": {"B": "AAEC"}, "n": {"NULL": true}, "t": {"BOOL": false},
        "m": {"M": {"l": {"L": [{"N": "1"}, {"SS": ["x", "y"]}, {"NS": ["1", "-2.5e3"]}]}}},
    });
    vec![
        ("PutItem", json!({"TableName": t, "Item": item, "ReturnValues": "ALL_OLD"})),
        (
            "GetItem",
            json!({"TableName": t, "Key": a, "ProjectionExpression": "m.l[0], #n",
            "ExpressionAttributeNames": {"#n": "name"}, "ReturnConsumedCapacity": "TOTAL"}),
        ),
        (
            "UpdateItem",
            json!({"TableName": t, "Key": a,
            "UpdateExpression": "SET x = if_not_exists(x, :z) + :z, ml = list_append(:l, :l) REMOVE r ADD c :z DELETE s :s",
            "ConditionExpression": "attribute_exists(pk) AND (NOT size(m) > :big OR x BETWEEN :z AND :big)",
            "ExpressionAttributeValues": {":z": {"N": "1"}, ":big": {"N": "99"}, ":l": {"L": []}, ":s": {"SS": ["x"]}}}),
        ),
        (
            "Query",
            json!({"TableName": t, "KeyConditionExpression": "pk = :p AND sk BETWEEN :a AND :b",
            "FilterExpression": "contains(x, :p) OR x IN (:a, :b) OR attribute_type(m, :p)", "Limit": 5,
            "ExpressionAttributeValues": {":p": {"S": "S"}, ":a": {"N": "0"}, ":b": {"N": "9"}}}),
        ),
        (
            "Query",
            json!({"TableName": t, "KeyConditions": {"pk": {"ComparisonOperator": "EQ",
            "AttributeValueList": [{"S": "a"}]}}, "ScanIndexForward": false, "AttributesToGet": ["pk"]}),
        ),
        ("Scan", json!({"TableName": t, "Segment": 0, "TotalSegments": 2, "Select": "COUNT"})),
        (
            "Scan",
            json!({"TableName": t, "ExclusiveStartKey": a, "FilterExpression": "begins_with(pk, :p)",
            "ExpressionAttributeValues": {":p": {"S": "a"}}}),
        ),
        (
            "DeleteItem",
            json!({"TableName": t, "Key": key("z", 9),
            "Expected": {"pk": {"Exists": false}}}),
        ),
        (
            "BatchWriteItem",
            json!({"RequestItems": {t: [{"PutRequest": {"Item": a}},
            {"DeleteRequest": {"Key": key("z", 9)}}]}}),
        ),
        ("BatchGetItem", json!({"RequestItems": {t: {"Keys": [a], "ConsistentRead": true}}})),
        ("DescribeTable", json!({"TableName": t})),
        ("ListTables", json!({"Limit": 10, "ExclusiveStartTableName": "sss"})),
    ]
}

/// What mutations put in: JSON and expressions that are likely to matter.
const INSERTIONS: [&str; 16] = [
    "null",
    "{}",
    "[]",
    "1e999",
    "true",
    "\"\"",
    "-1",
    "\\u0000",
    "((((",
    ")",
    "#n",
    ":z",
    " AND ",
    "\"pk\":",
    "99999999999999999999999999999999999999999",
    "\\ud800",
];

fn mutated(dice: &mut ChaCha8Rng, text: &[u8]) -> Vec<u8> {
    let mut bytes = text.to_vec();
    for _ in 0..*[1, 1, 1, 2, 4].choose(dice).unwrap() {
        if bytes.is_empty() {
            bytes.extend_from_slice(b"{}");
        }
        let at = dice.random_range(0..bytes.len());
        let end = (at + dice.random_range(1..30)).min(bytes.len());
        match dice.random_range(0..6) {
            0 => bytes[at] = dice.random(),
            1 => bytes[at] = dice.random_range(b' '..=b'~'),
            2 => drop(bytes.drain(at..(at + dice.random_range(1..12)).min(end))),
            3 => {
                let copied = bytes[at..end].to_vec();
                bytes.splice(at..at, copied);
            }
            4 => {
                let insertion = INSERTIONS.choose(dice).unwrap();
                bytes.splice(at..=at, insertion.bytes());
            }
            _ => bytes[at..end].reverse(),
        }
    }
    bytes
}
