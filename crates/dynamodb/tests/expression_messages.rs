//! DynamoDB's words for what is wrong with a request's expressions, one row each.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::collections::BTreeMap;

use dynamodb::expression::{ExpressionCache, ExpressionKind, RequestExpressions};
use dynamodb::operation::EncodedItem;
use dynamodb::table::{KeyAttribute, KeySchema, KeyType};
use dynamodb::value::{AttributeValue, Item};

/// A condition, its values (`:name=type:text`), and the message without its first words.
const CONDITIONS: &[(&str, &[&str], &str)] = &[
    ("attribute_not_exists(", &[], r#"Syntax error; token: "<EOF>", near: "(""#),
    ("attribute_exists(pk", &[], r#"Syntax error; token: "<EOF>", near: "pk""#),
    ("a =", &[], r#"Syntax error; token: "<EOF>", near: "=""#),
    ("a = :v AND", &[":v=S:x"], r#"Syntax error; token: "<EOF>", near: "AND""#),
    ("a BETWEEN :v", &[":v=S:x"], r#"Syntax error; token: "<EOF>", near: ":v""#),
    ("(a = :v", &[":v=S:x"], r#"Syntax error; token: "<EOF>", near: ":v""#),
    ("a.", &[], r#"Syntax error; token: "<EOF>", near: ".""#),
    ("a[", &[], r#"Syntax error; token: "<EOF>", near: "[""#),
    ("attribute_exists(pk) x", &[], r#"Syntax error; token: "x", near: ") x""#),
    ("attribute_exists(pk) x y", &[], r#"Syntax error; token: "x", near: ") x y""#),
    ("a = :v :w x", &[":v=S:x"], r#"Syntax error; token: ":w", near: ":v :w x""#),
    ("a = :v)", &[":v=S:x"], r#"Syntax error; token: ")", near: ":v)""#),
    ("a :v", &[":v=S:x"], r#"Syntax error; token: ":v", near: "a :v""#),
    ("a = = :v", &[":v=S:x"], r#"Syntax error; token: "=", near: "= = :v""#),
    ("= :v", &[":v=S:x"], r#"Syntax error; token: "=", near: "= :v""#),
    ("AND a = :v", &[":v=S:x"], r#"Syntax error; token: "AND", near: "AND a""#),
    ("attribute_exists pk", &[], r#"Syntax error; token: "pk", near: "attribute_exists pk""#),
    ("attribute_exists(pk,)", &[], r#"Syntax error; token: ")", near: ",)""#),
    ("begins_with(a :v)", &[":v=S:x"], r#"Syntax error; token: ":v", near: "a :v)""#),
    ("a IN :v", &[":v=S:x"], r#"Syntax error; token: ":v", near: "IN :v""#),
    ("a IN ()", &[], r#"Syntax error; token: ")", near: "()""#),
    ("a BETWEEN :v OR :w", &[":v=S:x"], r#"Syntax error; token: "OR", near: ":v OR :w""#),
    ("NOT", &[], r#"Syntax error; token: "<EOF>", near: "NOT""#),
    ("a[x] = :v", &[":v=S:x"], r#"Syntax error; token: "x", near: "[x]""#),
    ("a[1 = :v", &[":v=S:x"], r#"Syntax error; token: "=", near: "1 = :v""#),
    ("l[007] = :v", &[":v=S:x"], r#"Syntax error; token: "0", near: "007""#),
    ("a ! b", &[], r#"Syntax error; token: "!", near: "a ! b""#),
    ("_a = :v", &[":v=S:x"], r#"Syntax error; token: "_", near: "_a""#),
    ("a = :v \u{a0}", &[":v=S:x"], "Syntax error; token: \"\u{a0}\", near: \":v \u{a0}\""),
    ("   ", &[], r#"Syntax error; token: "<EOF>", near: "   ""#),
    ("size(a)", &[], "The function is not allowed to be used this way in an expression; function: size"),
    ("(a AND b = :v)", &[":v=S:x"], r#"Syntax error; token: "AND", near: "a AND b""#),
    ("(a)", &[], r#"Syntax error; token: "<EOF>", near: ")""#),
    ("", &[], "The expression can not be empty;"),
    ("((a = :v))", &[":v=S:x"], "The expression has redundant parentheses;"),
    ("((a)) = :v", &[":v=S:x"], "The expression has redundant parentheses;"),
    ("a = ((:v))", &[":v=S:x"], "The expression has redundant parentheses;"),
    ("((attribute_exists(a)))", &[], "The expression has redundant parentheses;"),
    ("foo(pk)", &[], "Invalid function name; function: foo"),
    ("Attribute_exists(pk)", &[], "Invalid function name; function: Attribute_exists"),
    (
        "if_not_exists(a, :v)",
        &[":v=S:x"],
        "The function is not allowed in a condition expression; function: if_not_exists",
    ),
    (
        "a = attribute_exists(b)",
        &[],
        "The function is not allowed to be used this way in an expression; function: attribute_exists",
    ),
    ("data = :v", &[":v=S:x"], "Attribute name is a reserved keyword; reserved keyword: data"),
    ("a.Status = :v", &[":v=S:x"], "Attribute name is a reserved keyword; reserved keyword: Status"),
    ("a[2147483648] = :v", &[":v=S:x"], "List index is not within the allowable range; index: [2147483648]"),
    (
        "#n = :v",
        &[":v=S:x"],
        "An expression attribute name used in the document path is not defined; attribute name: #n",
    ),
    (
        "a = :nope",
        &[],
        "An expression attribute value used in expression is not defined; attribute value: :nope",
    ),
    (
        "begins_with(a)",
        &[],
        "Incorrect number of operands for operator or function; operator or function: begins_with, number of operands: 1",
    ),
    (
        "attribute_exists(a, b)",
        &[],
        "Incorrect number of operands for operator or function; operator or function: attribute_exists, number of operands: 2",
    ),
    (
        "begins_with(a, :n)",
        &[":n=N:1"],
        "Incorrect operand type for operator or function; operator or function: begins_with, operand type: N",
    ),
    (
        "size(:n) > :n",
        &[":n=N:1"],
        "Incorrect operand type for operator or function; operator or function: size, operand type: N",
    ),
    (
        "a < :b",
        &[":b=BOOL:true"],
        "Incorrect operand type for operator or function; operator or function: <, operand type: BOOL",
    ),
    (
        "attribute_type(a, b)",
        &[],
        "Incorrect operand type for operator or function; operator or function: attribute_type, operand type: {SS,M,DECIMAL,DOUBLESET,HDS,N,B,DICT,INTSET,BOOL,HD,BS,INT,DECIMALSET,NULL,FLOAT,FS,S,L,NS,DOUBLE}",
    ),
    (
        "attribute_type(a, :t)",
        &[":t=S:X"],
        "Invalid attribute type name found; type: X, valid types: {B,NULL,SS,BOOL,L,BS,N,NS,S,M}",
    ),
    (
        "attribute_exists(:v)",
        &[":v=S:x"],
        "Operator or function requires a document path; operator or function: attribute_exists",
    ),
    (
        "a = a",
        &[],
        "The first operand must be distinct from the remaining operands for this operator or function; operator: =, first operand: [a]",
    ),
    (
        "contains(a.b[1], a.b[1])",
        &[],
        "The first operand must be distinct from the remaining operands for this operator or function; operator: contains, first operand: [a, b, [1]]",
    ),
    (
        "a BETWEEN :hi AND :lo",
        &[":hi=S:b", ":lo=S:a"],
        "The BETWEEN operator requires upper bound to be greater than or equal to lower bound; lower bound operand: AttributeValue: {S:b}, upper bound operand: AttributeValue: {S:a}",
    ),
    (
        "a BETWEEN :s AND :n",
        &[":s=S:a", ":n=N:1"],
        "The BETWEEN operator requires same data type for lower and upper bounds; lower bound operand: AttributeValue: {S:a}, upper bound operand: AttributeValue: {N:1}",
    ),
];

/// An update, its values, and the message without its first words.
const UPDATES: &[(&str, &[&str], &str)] = &[
    ("SET a =", &[], r#"Syntax error; token: "<EOF>", near: "=""#),
    ("SET", &[], r#"Syntax error; token: "<EOF>", near: "SET""#),
    ("SET a = :v x", &[":v=S:x"], r#"Syntax error; token: "x", near: ":v x""#),
    ("SET a = :v,", &[":v=S:x"], r#"Syntax error; token: "<EOF>", near: ",""#),
    ("ADD a", &[], r#"Syntax error; token: "<EOF>", near: "a""#),
    ("REMOVE a :v", &[":v=S:x"], r#"Syntax error; token: ":v", near: "a :v""#),
    ("INVALID SYNTAX HERE", &[], r#"Syntax error; token: "INVALID", near: "INVALID SYNTAX""#),
    ("set _something = :v", &[":v=S:x"], r#"Syntax error; token: "_", near: "set _something""#),
    ("SET a = b + c + d", &[], r#"Syntax error; token: "+", near: "c + d""#),
    ("SET a = ((:v))", &[":v=S:x"], "The expression has redundant parentheses;"),
    (
        "SET a = :v SET b = :v",
        &[":v=S:x"],
        r#"The "SET" section can only be used once in an update expression;"#,
    ),
    ("SET a = size(b)", &[], "The function is not allowed in an update expression; function: size"),
    (
        "SET a = if_not_exists(a)",
        &[],
        "Incorrect number of operands for operator or function; operator or function: if_not_exists, number of operands: 1",
    ),
    (
        "SET a = if_not_exists(:v, :v)",
        &[":v=S:x"],
        "Operator or function requires a document path; operator or function: if_not_exists",
    ),
    (
        "SET a = list_append(b, :v)",
        &[":v=S:x"],
        "Incorrect operand type for operator or function; operator or function: list_append, operand type: S",
    ),
    (
        "SET a = b + :v",
        &[":v=S:x"],
        "Incorrect operand type for operator or function; operator or function: +, operand type: S",
    ),
    (
        "ADD a :v",
        &[":v=S:x"],
        "Incorrect operand type for operator or function; operator: ADD, operand type: STRING, typeSet: ALLOWED_FOR_ADD_OPERAND",
    ),
    (
        "DELETE a :v",
        &[":v=N:1"],
        "Incorrect operand type for operator or function; operator: DELETE, operand type: NUMBER, typeSet: ALLOWED_FOR_DELETE_OPERAND",
    ),
    (
        "SET a = :v REMOVE a.b",
        &[":v=S:x"],
        "Two document paths overlap with each other; must remove or rewrite one of these paths; path one: [a], path two: [a, b]",
    ),
    (
        "SET a.b = :v, a[1] = :v",
        &[":v=S:x"],
        "Two document paths conflict with each other; must remove or rewrite one of these paths; path one: [a, b], path two: [a, [1]]",
    ),
    (
        "SET a = :v, b = :w",
        &[":v=S:x"],
        "An expression attribute value used in expression is not defined; attribute value: :w",
    ),
];

/// A projection, and the message without its first words.
const PROJECTIONS: &[(&str, &str)] = &[
    ("a,", r#"Syntax error; token: "<EOF>", near: ",""#),
    ("a b", r#"Syntax error; token: "b", near: "a b""#),
    ("a, name", "Attribute name is a reserved keyword; reserved keyword: name"),
    (
        "a, a.b",
        "Two document paths overlap with each other; must remove or rewrite one of these paths; path one: [a], path two: [a, b]",
    ),
    (
        "x, b[1], a, b[1]",
        "Two document paths overlap with each other; must remove or rewrite one of these paths; path one: [b, [1]], path two: [b, [1]]",
    ),
    ("#n", "An expression attribute name used in the document path is not defined; attribute name: #n"),
];

/// A key condition on `pk` (S) and `sk` (N), and the whole message.
const KEY_CONDITIONS: &[(&str, &str)] = &[
    ("pk = :s x", r#"Invalid KeyConditionExpression: Syntax error; token: "x", near: ":s x""#),
    ("sk = :n", "Query condition missed key schema element: pk"),
    ("pk > :s", "Query key condition not supported"),
    ("pk = :s AND a = :n", "Query condition missed key schema element: sk"),
    ("pk = :s OR sk = :n", "Invalid operator used in KeyConditionExpression: OR"),
    ("pk = :s AND sk <> :n", "Invalid operator used in KeyConditionExpression: <>"),
    ("pk = :s AND contains(sk, :n)", "Invalid operator used in KeyConditionExpression: contains"),
    ("pk = :s AND pk = :s", "KeyConditionExpressions must only contain one condition per key"),
    ("pk = :s AND sk > :n AND sk < :m", "KeyConditionExpressions must only contain one condition per key"),
    (
        "pk = :s AND sk > :n AND a < :m",
        "The number of query conditions (3) exceeds the number of key attributes defined in the schema (2)",
    ),
    ("pk = :s AND sk.a = :n", "KeyConditionExpressions cannot have conditions on nested attributes"),
    ("pk = :s AND size(sk) = :n", "KeyConditionExpressions cannot contain nested operations"),
    (
        "pk = :n",
        "One or more parameter values were invalid: Condition parameter type does not match schema type",
    ),
    (
        "pk = :s AND sk = :s",
        "One or more parameter values were invalid: Condition parameter type does not match schema type",
    ),
    (
        "pk = :e",
        "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty string value. Key: pk",
    ),
];

#[test]
fn conditions_and_filters_are_refused_in_dynamodbs_words() {
    for (text, values, message) in CONDITIONS {
        let values = encoded(values);
        let condition =
            RequestExpressions { condition: Some(text), values: values.as_ref(), ..Default::default() };
        assert_eq!(refusal(&condition), format!("Invalid ConditionExpression: {message}"), "{text}");
        let filter = RequestExpressions { filter: Some(text), values: values.as_ref(), ..Default::default() };
        assert_eq!(refusal(&filter), format!("Invalid FilterExpression: {message}"), "{text}");
    }
}

#[test]
fn updates_are_refused_in_dynamodbs_words() {
    for (text, values, message) in UPDATES {
        let values = encoded(values);
        let update = RequestExpressions { update: Some(text), values: values.as_ref(), ..Default::default() };
        assert_eq!(refusal(&update), format!("Invalid UpdateExpression: {message}"), "{text}");
    }
}

#[test]
fn projections_are_refused_in_dynamodbs_words() {
    for (text, message) in PROJECTIONS {
        let projection = RequestExpressions { projection: Some(text), ..Default::default() };
        assert_eq!(refusal(&projection), format!("Invalid ProjectionExpression: {message}"), "{text}");
    }
}

#[test]
fn key_conditions_are_refused_in_dynamodbs_words() {
    for (text, message) in KEY_CONDITIONS {
        let mut used: Vec<&str> = [":s=S:x", ":n=N:1", ":m=N:2", ":e=S:"].to_vec();
        used.retain(|value| text.contains(&value[..2]));
        let values = encoded(&used);
        let request =
            RequestExpressions { key_condition: Some(text), values: values.as_ref(), ..Default::default() };
        let cache = ExpressionCache::new();
        let refused = match request.check(&cache) {
            Err(error) => error,
            Ok(checked) => checked.key_condition(&keys()).expect_err(text),
        };
        assert_eq!(refused.message, *message, "{text}");
    }
}

#[test]
fn what_is_wrong_with_names_and_values_is_said_in_dynamodbs_words() {
    let empty = BTreeMap::new();
    let no_values = EncodedItem::empty();
    let names = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(key, name)| ((*key).to_owned(), (*name).to_owned())).collect()
    };
    let (used, bad, spare) =
        (names(&[("#a", "x")]), names(&[("a", "x")]), names(&[("#a", "x"), ("#b", "y"), ("#c", "z")]));
    let long = names(&[(&format!("#{}", "x".repeat(255)), "x")]);
    let none = names(&[("#a", "")]);
    let (v, bad_v, spare_v) = (encoded(&[":v=S:x"]), encoded(&["v=S:x"]), encoded(&[":v=S:x", ":w=S:y"]));
    let base = RequestExpressions::default();
    let condition =
        RequestExpressions { condition: Some("#a = :v"), names: Some(&used), values: v.as_ref(), ..base };
    let cases = [
        (
            RequestExpressions { names: Some(&used), ..base },
            "ExpressionAttributeNames can only be specified when using expressions",
        ),
        (
            RequestExpressions { values: v.as_ref(), ..base },
            "ExpressionAttributeValues can only be specified when using expressions",
        ),
        (
            RequestExpressions { values: v.as_ref(), accepted: &[ExpressionKind::Condition], ..base },
            "ExpressionAttributeValues can only be specified when using expressions: ConditionExpression is null",
        ),
        (
            RequestExpressions {
                values: v.as_ref(),
                accepted: &[ExpressionKind::Filter, ExpressionKind::KeyCondition],
                ..base
            },
            "ExpressionAttributeValues can only be specified when using expressions: FilterExpression is null and KeyConditionExpression is null",
        ),
        (
            RequestExpressions { names: Some(&empty), ..condition },
            "ExpressionAttributeNames must not be empty",
        ),
        (
            RequestExpressions { values: Some(&no_values), ..condition },
            "ExpressionAttributeValues must not be empty",
        ),
        (
            RequestExpressions { names: Some(&bad), ..condition },
            "ExpressionAttributeNames contains invalid key: Syntax error; key: \"a\"",
        ),
        (
            RequestExpressions { values: bad_v.as_ref(), ..condition },
            "ExpressionAttributeValues contains invalid key: Syntax error; key: \"v\"",
        ),
        (
            RequestExpressions { names: Some(&long), ..condition },
            "ExpressionAttributeNames contains invalid key: The expression attribute map contains a key that is too long; size of key: 256",
        ),
        (
            RequestExpressions { names: Some(&none), ..condition },
            "ExpressionAttributeNames contains invalid value: Empty attribute name for key #a",
        ),
        (
            RequestExpressions { names: Some(&spare), ..condition },
            "Value provided in ExpressionAttributeNames unused in expressions: keys: {#b, #c}",
        ),
        (
            RequestExpressions { values: spare_v.as_ref(), ..condition },
            "Value provided in ExpressionAttributeValues unused in expressions: keys: {:w}",
        ),
    ];
    assert!(condition.check(&ExpressionCache::new()).is_ok());
    for (request, message) in cases {
        assert_eq!(refusal(&request), message);
    }
}

#[test]
fn names_and_values_may_be_used_by_any_of_the_expressions() {
    let names = BTreeMap::from([("#a".to_owned(), "x".to_owned()), ("#b".to_owned(), "y".to_owned())]);
    let values = encoded(&[":v=S:x", ":w=N:1"]);
    let request = RequestExpressions {
        update: Some("SET #a = :v"),
        condition: Some("#b = :w"),
        names: Some(&names),
        values: values.as_ref(),
        ..Default::default()
    };
    request.check(&ExpressionCache::new()).unwrap();
}

#[test]
fn expressions_that_are_too_long_or_have_too_many_operators_are_refused() {
    let long = format!("a = {}:v", " ".repeat(4096));
    let values = encoded(&[":v=S:x"]);
    let request =
        RequestExpressions { condition: Some(&long), values: values.as_ref(), ..Default::default() };
    assert_eq!(
        refusal(&request),
        format!(
            "Invalid ConditionExpression: Expression size has exceeded the maximum allowed size; expression size: {}",
            long.len()
        )
    );

    // n comparisons have n - 1 ANDs: 150 of them are 299 operators.
    let operators = |comparisons: usize| vec!["a = :v"; comparisons].join(" AND ");
    for (comparisons, accepted) in [(150, true), (151, false)] {
        let text = operators(comparisons);
        let request =
            RequestExpressions { filter: Some(&text), values: values.as_ref(), ..Default::default() };
        let result = request.check(&ExpressionCache::new());
        assert_eq!(result.is_ok(), accepted, "{comparisons}");
        if let Err(error) = result {
            assert_eq!(
                error.message,
                "Invalid FilterExpression: The expression contains too many operators; operator count: 301"
            );
        }
    }

    let list = |operands: usize| format!("a IN ({})", vec![":v"; operands].join(","));
    for (operands, accepted) in [(100, true), (101, false)] {
        let text = list(operands);
        let request =
            RequestExpressions { filter: Some(&text), values: values.as_ref(), ..Default::default() };
        let result = request.check(&ExpressionCache::new());
        assert_eq!(result.is_ok(), accepted, "{operands}");
    }

    let path = |depth: usize| vec!["a"; depth].join(".");
    for (depth, accepted) in [(32, true), (33, false)] {
        let text = path(depth);
        let request = RequestExpressions { projection: Some(&text), ..Default::default() };
        assert_eq!(request.check(&ExpressionCache::new()).is_ok(), accepted, "{depth}");
    }
}

#[test]
fn key_attributes_are_neither_updated_nor_filtered_nor_stepped_into() {
    let values = encoded(&[":v=S:x"]);
    let names = BTreeMap::from([("#k".to_owned(), "pk".to_owned())]);
    let base = RequestExpressions { values: values.as_ref(), ..Default::default() };
    let cases = [
        (
            RequestExpressions { update: Some("SET #k = :v"), names: Some(&names), ..base },
            "One or more parameter values were invalid: Cannot update attribute pk. This attribute is part of the key",
        ),
        (
            RequestExpressions { key_condition: Some("pk = :v"), filter: Some("sk = :v"), ..base },
            "Filter Expression can only contain non-primary key attributes: Primary key attribute: sk",
        ),
        (
            RequestExpressions { condition: Some("a = :v OR pk.x = :v"), ..base },
            "Key attributes must be scalars; list random access '[]' and map lookup '.' are not allowed: Key: pk",
        ),
        (
            RequestExpressions { projection: Some("sk[1]"), ..Default::default() },
            "Key attributes must be scalars; list random access '[]' and map lookup '.' are not allowed: Key: sk",
        ),
    ];
    for (request, message) in cases {
        let checked = request.check(&ExpressionCache::new()).unwrap();
        assert_eq!(checked.check_keys(&keys()).unwrap_err().message, message);
    }
    // A scan's filter may name keys.
    let scan = RequestExpressions { filter: Some("sk = :v"), ..base };
    scan.check(&ExpressionCache::new()).unwrap().check_keys(&keys()).unwrap();
}

fn refusal(request: &RequestExpressions<'_>) -> String {
    match request.check(&ExpressionCache::new()) {
        Ok(_) => panic!("accepted: {request:?}"),
        Err(error) => error.message.into_owned(),
    }
}

fn keys() -> KeySchema {
    KeySchema {
        partition: KeyAttribute { name: "pk".into(), kind: KeyType::S },
        sort: Some(KeyAttribute { name: "sk".into(), kind: KeyType::N }),
    }
}

/// Values written as `:name=type:text`.
fn encoded(values: &[&str]) -> Option<EncodedItem> {
    let item: Item = values
        .iter()
        .map(|written| {
            let (name, value) = written.split_once('=').unwrap();
            let (kind, text) = value.split_once(':').unwrap();
            let value = match kind {
                "S" => AttributeValue::from(text),
                "N" => AttributeValue::N(text.parse().unwrap()),
                _ => AttributeValue::Bool(text == "true"),
            };
            (name.to_owned(), value)
        })
        .collect();
    (!item.is_empty()).then(|| EncodedItem::encode(&item))
}
