//! Spoils valid requests: what clients get wrong, and what attackers send.

use rand::Rng;
use serde_json::{Map, Value, json};

use crate::{chance, pick};

/// Changes one thing somewhere.
pub(crate) fn spoil(rng: &mut impl Rng, body: &mut Map<String, Value>) {
    match rng.random_range(0..10) {
        0 => remove_member(rng, body),
        1 => replace_member(rng, body),
        2 | 3 => spoil_text(rng, body),
        4 => add_member(rng, body),
        5 => spoil_placeholders(rng, body),
        6 => spoil_key(rng, body),
        7 | 8 => spoil_value(rng, body),
        _ => spoil_enumeration(rng, body),
    }
}

/// Changes, removes, doubles or swaps some bytes.
pub(crate) fn change_bytes(rng: &mut impl Rng, bytes: &mut Vec<u8>) {
    if bytes.is_empty() {
        return;
    }
    let at = rng.random_range(0..bytes.len());
    let end = (at + rng.random_range(1..20)).min(bytes.len());
    match rng.random_range(0..5) {
        0 => bytes[at] = rng.random(),
        1 => bytes[at] = *pick(rng, b"{}[]\",:\\0-e \xFF"),
        2 => {
            bytes.drain(at..end);
        }
        3 => {
            let copy = bytes[at..end].to_vec();
            bytes.splice(at..at, copy);
        }
        _ => {
            let other = rng.random_range(0..bytes.len());
            bytes.swap(at, other);
        }
    }
}

fn member<'b>(rng: &mut impl Rng, body: &'b mut Map<String, Value>) -> Option<&'b mut Value> {
    let count = body.len();
    if count == 0 {
        return None;
    }
    body.values_mut().nth(rng.random_range(0..count))
}

fn remove_member(rng: &mut impl Rng, body: &mut Map<String, Value>) {
    if let Some(name) = body.keys().nth(rng.random_range(0..body.len().max(1))).cloned() {
        body.remove(&name);
    }
}

fn replace_member(rng: &mut impl Rng, body: &mut Map<String, Value>) {
    let others = [json!(5), json!("text"), json!(true), json!(null), json!([]), json!({}), json!("")];
    let other = pick(rng, &others).clone();
    if let Some(member) = member(rng, body) {
        *member = other;
    }
}

/// Deletes, doubles or replaces a character of an expression.
fn spoil_text(rng: &mut impl Rng, body: &mut Map<String, Value>) {
    let texts: Vec<&mut Value> =
        body.iter_mut().filter(|(name, _)| name.ends_with("Expression")).map(|(_, text)| text).collect();
    for text in texts {
        let Value::String(old) = text else { continue };
        let mut characters: Vec<char> = old.chars().collect();
        if characters.is_empty() {
            continue;
        }
        let at = rng.random_range(0..characters.len());
        match rng.random_range(0..4) {
            0 => {
                characters.remove(at);
            }
            1 => characters.insert(at, characters[at]),
            2 => {
                characters[at] =
                    *pick(rng, &['(', ')', ',', '.', '[', ' ', '#', ':', '=', '1', '+', 'é', '$'])
            }
            _ => {
                let words =
                    [" status", " AND", " NOT", " SET", " :undefined", " #undefined", " a", ")", "[0]"];
                characters.extend(pick(rng, &words).chars());
            }
        }
        *text = characters.into_iter().collect::<String>().into();
    }
}

fn add_member(rng: &mut impl Rng, body: &mut Map<String, Value>) {
    let members = [
        ("Unknown", json!({ "what": [1] })),
        ("ExpressionAttributeNames", json!({ "#unused": "a" })),
        ("ExpressionAttributeNames", json!({})),
        ("ExpressionAttributeValues", json!({ ":unused": { "S": "a" } })),
        ("ExpressionAttributeValues", json!({})),
        ("ExpressionAttributeValues", json!({ "unused": { "S": "a" } })),
        ("ExpressionAttributeNames", json!({ "unused": "a" })),
        ("Expected", json!({ "a": { "Exists": false } })),
        ("ConditionalOperator", json!("OR")),
        ("AttributesToGet", json!(["a"])),
        ("AttributesToGet", json!(["a", "a"])),
        ("ScanFilter", json!({ "a": { "ComparisonOperator": "NOT_NULL" } })),
        ("QueryFilter", json!({ "a": { "ComparisonOperator": "NOT_NULL" } })),
        ("AttributeUpdates", json!({ "a": { "Action": "DELETE" } })),
        ("AttributeUpdates", json!({ "pk": { "Action": "DELETE" } })),
        ("IndexName", json!("absent")),
        ("Limit", json!(0)),
        ("Limit", json!(-3)),
        ("Limit", json!(2.5)),
        ("Segment", json!(0)),
        ("TotalSegments", json!(0)),
        ("TotalSegments", json!(2)),
        ("Select", json!("COUNT")),
        ("ConditionExpression", json!("")),
        ("ProjectionExpression", json!("")),
        ("FilterExpression", json!("pk = pk")),
        ("UpdateExpression", json!("REMOVE pk")),
        ("ProjectionExpression", json!("a, a.b")),
        ("ProjectionExpression", json!("a, b, a")),
        ("ConditionExpression", json!("attribute_exists(pk.a)")),
        ("ExclusiveStartKey", json!({ "pk": { "S": "a" } })),
        ("ExclusiveStartKey", json!({})),
    ];
    let (name, value) = pick(rng, &members).clone();
    body.insert(name.to_owned(), value);
}

fn spoil_placeholders(rng: &mut impl Rng, body: &mut Map<String, Value>) {
    let which = *pick(rng, &["ExpressionAttributeNames", "ExpressionAttributeValues"]);
    let Some(map) = body.get_mut(which).and_then(Value::as_object_mut) else {
        return;
    };
    if chance(rng, 50) {
        remove_member(rng, map);
    } else if which.ends_with("Names") {
        map.insert("#unused".to_owned(), "a".into());
    } else {
        map.insert(":unused".to_owned(), json!({ "N": "1" }));
    }
}

fn spoil_key(rng: &mut impl Rng, body: &mut Map<String, Value>) {
    let Some(which) = ["Key", "Item", "ExclusiveStartKey"].into_iter().find(|name| body.contains_key(*name))
    else {
        return;
    };
    let Some(map) = body.get_mut(which).and_then(Value::as_object_mut) else {
        return;
    };
    let name = *pick(rng, &["pk", "sk"]);
    match rng.random_range(0..8) {
        0 => {
            map.remove(name);
        }
        1 => {
            map.insert("another".to_owned(), json!({ "S": "a" }));
        }
        2 => {
            map.insert(name.to_owned(), json!({ "S": "" }));
        }
        3 => {
            map.insert(name.to_owned(), json!({ "B": "" }));
        }
        4 => {
            map.insert(name.to_owned(), json!({ "BOOL": true }));
        }
        5 => {
            map.insert(name.to_owned(), json!({ "S": "k".repeat(rng.random_range(1020..2060)) }));
        }
        6 => {
            map.insert(name.to_owned(), json!({ "N": "1" }));
        }
        _ => map.clear(),
    }
}

/// Puts a wrong attribute value somewhere.
fn spoil_value(rng: &mut impl Rng, body: &mut Map<String, Value>) {
    let wrong = [
        json!({}),
        json!({ "S": "a", "N": "1" }),
        json!({ "N": "" }),
        json!({ "N": "abc" }),
        json!({ "N": "1e400" }),
        json!({ "N": "1e-400" }),
        json!({ "N": "123456789012345678901234567890123456789" }),
        json!({ "N": " 1" }),
        json!({ "N": 1 }),
        json!({ "S": 1 }),
        json!({ "BOOL": "x" }),
        json!({ "BOOL": "true" }),
        json!({ "NULL": false }),
        json!({ "SS": [] }),
        json!({ "SS": ["a", "a"] }),
        json!({ "NS": ["1", "1.0"] }),
        json!({ "NS": ["x"] }),
        json!({ "BS": ["YQ==", "YQ=="] }),
        json!({ "BS": [] }),
        json!({ "B": "*" }),
        json!({ "L": {} }),
        json!({ "M": [] }),
        json!({ "L": [{}] }),
        json!({ "M": { "a": {} } }),
        json!({ "X": "a" }),
        json!(null),
        json!("a"),
        json!([]),
        deep(40),
        deep(31),
        json!({ "S": "x".repeat(410_000) }),
    ];
    let value = if chance(rng, 6) { wrong[wrong.len() - 1].clone() } else { pick(rng, &wrong[..30]).clone() };
    for which in ["Item", "Key", "ExpressionAttributeValues"] {
        if let Some(map) = body.get_mut(which).and_then(Value::as_object_mut) {
            if which == "Item" && chance(rng, 70) {
                map.insert("wrong".to_owned(), value);
            } else if let Some(member) = member(rng, map) {
                *member = value;
            }
            return;
        }
    }
}

fn deep(levels: usize) -> Value {
    (0..levels).fold(json!({ "S": "deep" }), |inner, _| json!({ "L": [inner] }))
}

fn spoil_enumeration(rng: &mut impl Rng, body: &mut Map<String, Value>) {
    let members = [
        ("ReturnValues", "ALL"),
        ("ReturnValues", "UPDATED_NEW"),
        ("ReturnValues", ""),
        ("ReturnConsumedCapacity", "SOME"),
        ("ReturnItemCollectionMetrics", "ALL"),
        ("ReturnValuesOnConditionCheckFailure", "ALL_NEW"),
        ("Select", "NOTHING"),
        ("TableName", "ab"),
        ("TableName", ""),
        ("TableName", "absent"),
        ("TableName", "with space"),
    ];
    let (name, value) = *pick(rng, &members);
    body.insert(name.to_owned(), value.into());
}
