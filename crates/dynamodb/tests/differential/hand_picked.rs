//! Requests that are worth asking every time: limits and what lies just past them, and what a random
//! request seldom is.

use dynamodb::api::ApiOperation::{self, *};
use serde_json::{Value, json};

type Asked = (ApiOperation, String);

/// In order: later ones see what earlier ones wrote.
pub(crate) fn requests() -> Vec<Asked> {
    let mut requests = bodies();
    requests.extend(sizes());
    requests.extend(pages());
    requests.extend(expression_limits());
    requests.extend(batches());
    requests.extend(updates());
    requests.extend(numbers());
    requests
}

fn bodies() -> Vec<Asked> {
    let requests = [
        (PutItem, r#"{"TableName":"strings","Item":{"pk":{"S":"a"},"a":{"N":"1"}}}"#),
        (
            PutItem,
            r#"{"TableName":"strings","Item":{"pk":{"S":"a"},"a":{"N":"1"}},
               "ConditionExpression":"attribute_not_exists(pk)",
               "ReturnValuesOnConditionCheckFailure":"ALL_OLD"}"#,
        ),
        (GetItem, r#"{"TableName":"strings","Key":{"pk":{"S":"a"}},"ReturnConsumedCapacity":"TOTAL"}"#),
        (
            GetItem,
            r#"{"TableName":"strings","Key":{"pk":{"S":"zz"}},"ReturnConsumedCapacity":"INDEXES",
               "ConsistentRead":true}"#,
        ),
        (GetItem, r#"{"TableName":"strings","Key":{"pk":{"S":"a"}},"ConsistentRead":"yes"}"#),
        (GetItem, r#"{"TableName":"strings","Key":{"pk":{"S":"a"}},"ConsistentRead":"maybe"}"#),
        (UpdateItem, r#"{"TableName":"strings","Key":{"pk":{"S":"new"}}}"#),
        (Query, r#"{"TableName":"strings"}"#),
        (
            Query,
            r#"{"TableName":"strings","KeyConditionExpression":"pk = :p",
               "ExpressionAttributeValues":{":p":{"S":"a"}},"Select":"COUNT"}"#,
        ),
        (Scan, r#"{"TableName":"strings"}"#),
        (Scan, r#"{"TableName":"strings","Segment":2,"TotalSegments":2}"#),
        (Scan, r#"{"TableName":"strings","TotalSegments":1000001,"Segment":0}"#),
        (Scan, r#"{"TableName":"strings","TotalSegments":1000000,"Segment":999999}"#),
        (GetItem, "{}"),
        (GetItem, "[]"),
        (GetItem, "null"),
        (GetItem, ""),
        (GetItem, r#"{"TableName":"strings","Key":{"pk":{"S":"a"}}} trailing"#),
        (GetItem, r#"{"TableName":"strings","TableName":"strings","Key":{"pk":{"S":"a"}}}"#),
        (GetItem, r#"{"TableName":"strings","Key":{"pk":{"S":"\ud800"}}}"#),
        (GetItem, r#"{"TableName":"strings","Key":{"pk":{"S":"\u0061"}}}"#),
        (DeleteItem, r#"{"TableName":"strings","Key":{"pk":{"S":"a"}},"ReturnValues":"ALL_OLD"}"#),
        (DeleteItem, r#"{"TableName":"strings","Key":{"pk":{"S":"a"}},"ReturnValues":"ALL_OLD"}"#),
    ];
    requests.into_iter().map(|(operation, body)| (operation, body.to_owned())).collect()
}

/// Items and keys at their largest, and one byte more.
fn sizes() -> Vec<Asked> {
    let mut requests = Vec::new();
    let mut put = |table: &str, item: Value| {
        requests.push(ask(
            PutItem,
            json!({ "TableName": table, "Item": item, "ReturnConsumedCapacity": "TOTAL" }),
        ));
    };
    // "pk", "k" and "data" are 7 bytes of the 409,600.
    for length in [1017, 1018, 409_593, 409_594] {
        put("strings", json!({ "pk": { "S": "k" }, "data": { "S": "x".repeat(length) } }));
    }
    for length in [2048, 2049] {
        put("strings", json!({ "pk": { "S": "k".repeat(length) } }));
    }
    for length in [1024, 1025] {
        put("string_string", json!({ "pk": { "S": "long" }, "sk": { "S": "k".repeat(length) } }));
    }
    for levels in [31, 32, 33] {
        let deep = (1..levels).fold(json!({ "S": "x" }), |inner, _| json!({ "M": { "m": inner } }));
        put("strings", json!({ "pk": { "S": "deep" }, "d": deep }));
    }
    requests.push(ask(
        UpdateItem,
        json!({
            "TableName": "strings",
            "Key": { "pk": { "S": "k" } },
            "UpdateExpression": "SET more = :x",
            "ExpressionAttributeValues": { ":x": { "S": "x".repeat(100) } },
        }),
    ));
    requests
}

/// Pages of more than 1 MB.
fn pages() -> Vec<Asked> {
    let mut requests: Vec<Asked> = (0..6)
        .map(|index| {
            let item = json!({
                "pk": { "S": "pages" },
                "sk": { "N": index.to_string() },
                "data": { "S": "x".repeat(300_000) },
            });
            ask(PutItem, json!({ "TableName": "string_number", "Item": item }))
        })
        .collect();
    for forward in [true, false] {
        for (member, value) in [
            ("Select", json!("COUNT")),
            ("Limit", json!(2)),
            ("ExclusiveStartKey", json!({ "pk": { "S": "pages" }, "sk": { "N": "2" } })),
        ] {
            let mut body = json!({
                "TableName": "string_number",
                "KeyConditionExpression": "pk = :p",
                "ExpressionAttributeValues": { ":p": { "S": "pages" } },
                "ProjectionExpression": "sk",
                "ScanIndexForward": forward,
                "ReturnConsumedCapacity": "TOTAL",
            });
            if member == "Select" {
                body.as_object_mut().expect("it is an object").remove("ProjectionExpression");
            }
            body[member] = value;
            requests.push(ask(Query, body));
        }
    }
    requests
}

fn expression_limits() -> Vec<Asked> {
    let condition = |text: String| {
        ask(
            PutItem,
            json!({
                "TableName": "strings",
                "Item": { "pk": { "S": "limits" } },
                "ConditionExpression": text,
                "ExpressionAttributeValues": { ":v": { "S": "v" } },
            }),
        )
    };
    let operands = |count: usize| format!("a IN ({})", vec![":v"; count].join(", "));
    let joined = |count: usize| vec!["a = :v"; count].join(" OR ");
    vec![
        condition(operands(100)),
        condition(operands(101)),
        condition(joined(150)),
        condition(joined(151)),
        condition(format!("a = :v{}", " ".repeat(4090))),
        condition(format!("a = :v{}", " ".repeat(4091))),
        condition("((a = :v))".to_owned()),
        // No deeper: the reference's parser takes exponential time for parentheses and negations.
        condition(format!("{}a = :v", "NOT ".repeat(3))),
        condition(format!("{} = :v", vec!["a"; 33].join("."))),
        condition("a[0][1][2].b[3] <> :v".to_owned()),
        condition("size(a) > :v".to_owned()),
        condition("attribute_exists(:v)".to_owned()),
        condition("begins_with(a, :v, :v)".to_owned()),
        condition("unknown(a, :v)".to_owned()),
        condition("ABSOLUTE = :v".to_owned()),
        condition("a between :v and :v or not b in (:v)".to_owned()),
        condition("a[99999999999] = :v".to_owned()),
        condition("a[-1] = :v".to_owned()),
        condition("1a = :v".to_owned()),
        condition("a =:v AND".to_owned()),
    ]
}

fn batches() -> Vec<Asked> {
    let keys = |count: usize| -> Vec<Value> {
        (0..count).map(|index| json!({ "pk": { "S": format!("k{index}") } })).collect()
    };
    let puts = |count: usize| -> Vec<Value> {
        keys(count).into_iter().map(|item| json!({ "PutRequest": { "Item": item } })).collect()
    };
    let mut requests = vec![
        ask(
            BatchWriteItem,
            json!({ "RequestItems": { "strings": puts(25) }, "ReturnConsumedCapacity": "TOTAL" }),
        ),
        ask(BatchWriteItem, json!({ "RequestItems": { "strings": puts(26) } })),
        ask(
            BatchGetItem,
            json!({ "RequestItems": { "strings": { "Keys": keys(100) } }, "ReturnConsumedCapacity": "INDEXES" }),
        ),
        ask(BatchGetItem, json!({ "RequestItems": { "strings": { "Keys": keys(101) } } })),
    ];
    for body in [
        json!({}),
        json!({ "RequestItems": {} }),
        json!({ "RequestItems": { "strings": [] } }),
        json!({ "RequestItems": { "strings": [{}] } }),
        json!({ "RequestItems": { "x": [{ "PutRequest": { "Item": {} } }] } }),
        json!({ "RequestItems": { "absent": [{ "PutRequest": { "Item": { "pk": { "S": "a" } } } }] } }),
        json!({ "RequestItems": { "strings": [{ "PutRequest": { "Item": { "a": { "S": "a" } } } }] } }),
        json!({ "RequestItems": { "strings": [
            { "DeleteRequest": { "Key": { "pk": { "S": "a" } } } },
            { "PutRequest": { "Item": { "pk": { "S": "a" } } } },
        ] } }),
    ] {
        requests.push(ask(BatchWriteItem, body));
    }
    for body in [
        json!({ "RequestItems": {} }),
        json!({ "RequestItems": { "strings": { "Keys": [] } } }),
        json!({ "RequestItems": { "strings": { "Keys": [{ "pk": { "S": "a" } }, { "pk": { "S": "a" } }] } } }),
        json!({ "RequestItems": { "absent": { "Keys": [{ "pk": { "S": "a" } }] } } }),
        json!({ "RequestItems": { "strings": { "Keys": [{ "pk": { "N": "1" } }] } } }),
    ] {
        requests.push(ask(BatchGetItem, body));
    }
    requests
}

/// Every clause on every kind of attribute.
fn updates() -> Vec<Asked> {
    let item = json!({
        "pk": { "S": "updates" },
        "n": { "N": "5" },
        "s": { "S": "text" },
        "l": { "L": [{ "N": "1" }, { "N": "2" }, { "N": "3" }] },
        "m": { "M": { "x": { "N": "1" } } },
        "set": { "SS": ["a", "b"] },
    });
    let mut requests = Vec::new();
    for text in [
        "SET n = n + :n, m.y = :n, l[1] = :n, l[9] = :n",
        "SET l = list_append(l, :l), n = if_not_exists(absent, :n)",
        "SET s = s + :n",
        "SET absent.x = :n",
        "SET absent[0] = :n",
        "SET n = absent",
        "SET m.x = m.x - :n, s = n",
        "SET n = if_not_exists(n, :n) + :n",
        "SET n = list_append(n, :l)",
        "SET a = :n SET b = :n",
        "SET m = :n, m.x = :n",
        "SET l[0] = :n, l[0] = :n",
        "REMOVE l[0], l[2], m.x",
        "REMOVE absent, m.absent, l[7]",
        "REMOVE absent.x.y",
        "ADD n :n, fresh :n, set :set, others :set",
        "ADD s :n",
        "ADD n :set",
        "ADD m.x :n",
        "DELETE set :set",
        "DELETE absent :set",
        "DELETE s :set",
        "SET n = :n REMOVE s ADD set :set DELETE others :set",
        "SET pk = :n",
        "REMOVE pk",
        "SET n = :n + :n + :n",
        "SET n = (:n + :n)",
        "SET n :n",
        "set n = :n remove s",
        "",
        " ",
    ] {
        requests.push(ask(PutItem, json!({ "TableName": "strings", "Item": item })));
        for values in ["ALL_NEW", "UPDATED_OLD", "UPDATED_NEW"] {
            let all = [
                (":n", json!({ "N": "2" })),
                (":l", json!({ "L": [{ "S": "last" }] })),
                (":set", json!({ "SS": ["a", "c"] })),
            ];
            let used: Value = all
                .iter()
                .filter(|(name, _)| text.split([' ', ',', ')', '(']).any(|word| word == *name))
                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect();
            let mut body = json!({
                "TableName": "strings",
                "Key": { "pk": { "S": "updates" } },
                "UpdateExpression": text,
                "ReturnValues": values,
            });
            if used != json!({}) {
                body["ExpressionAttributeValues"] = used;
            }
            requests.push(ask(UpdateItem, body));
        }
    }
    requests
}

fn numbers() -> Vec<Asked> {
    [
        "0",
        "-0",
        "0.0",
        "00012",
        "1.50",
        "+7",
        "1e0",
        "1E+5",
        ".5",
        "5.",
        "1e125",
        "9.9e125",
        "1e126",
        "1e-130",
        "1e-131",
        "99999999999999999999999999999999999999",
        "999999999999999999999999999999999999999",
        "0.00000000000000000000000000000000000001",
        "123456789012345678901234567890.12345678",
        "0x10",
        "NaN",
        "Infinity",
        "1_000",
        "١",
        "1e",
        "--1",
        "1.2.3",
        "1e99999999999",
    ]
    .iter()
    .flat_map(|number| {
        let item = json!({ "pk": { "N": number }, "n": { "N": number }, "set": { "NS": [number, "77"] } });
        [
            ask(PutItem, json!({ "TableName": "numbers", "Item": item })),
            ask(GetItem, json!({ "TableName": "numbers", "Key": { "pk": { "N": number } } })),
        ]
    })
    .collect()
}

fn ask(operation: ApiOperation, body: Value) -> Asked {
    (operation, body.to_string())
}
