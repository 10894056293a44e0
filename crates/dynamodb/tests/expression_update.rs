//! What updates do, case by case, and what the older parameters become.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::collections::BTreeMap;

use dynamodb::expression::legacy::{
    AttributeCondition, AttributeUpdate, ConditionalOperator, ExpectedAttribute, Translation,
};
use dynamodb::expression::{ExpressionCache, RequestExpressions, UpdateExpression, Updated};
use dynamodb::operation::{Bindings, EncodedItem};
use dynamodb::value::{AttributeValue, Item};

#[test]
fn operands_are_read_from_the_item_before_the_update() {
    let updated = update("SET a = b, b = a", &item([("a", s("1")), ("b", s("2"))]), &[]).unwrap();
    assert_eq!(updated.item, item([("a", s("2")), ("b", s("1"))]));
}

#[test]
fn indexes_past_the_end_append_in_the_order_of_the_indexes() {
    let before = item([("l", list(["0", "1"]))]);
    let updated = update(
        "SET l[9] = :b, l[5] = :a, l[0] = :c",
        &before,
        &[(":a", s("a")), (":b", s("b")), (":c", s("c"))],
    );
    assert_eq!(updated.unwrap().item, item([("l", list(["c", "1", "a", "b"]))]));
}

#[test]
fn removals_name_the_positions_before_the_update() {
    let before = item([("l", list(["0", "1", "2", "3"]))]);
    let updated = update("REMOVE l[0], l[2] SET l[3] = :v", &before, &[(":v", s("x"))]).unwrap();
    assert_eq!(updated.item, item([("l", list(["1", "x"]))]));
}

#[test]
fn a_set_that_becomes_empty_is_removed() {
    let before = item([("s", AttributeValue::string_set(["a"])), ("n", n(1))]);
    let updated = update(
        "DELETE s :s ADD n :n",
        &before,
        &[(":s", AttributeValue::string_set(["a", "b"])), (":n", n(2))],
    );
    assert_eq!(updated.unwrap().item, item([("n", n(3))]));
}

#[test]
fn what_does_not_fit_the_item_is_refused_in_dynamodbs_words() {
    const PATH: &str = "The document path provided in the update expression is invalid for update";
    const MISSING: &str = "The provided expression refers to an attribute that does not exist in the item";
    const OPERAND: &str = "An operand in the update expression has an incorrect data type";
    let before = item([("s", s("x")), ("l", list(["0"])), ("n", n(1))]);
    let cases = [
        ("SET gone.x = :n", PATH),
        ("SET s.x = :n", PATH),
        ("SET l.x = :n", PATH),
        ("SET n[0] = :n", PATH),
        ("REMOVE gone.x", PATH),
        ("REMOVE l[7].x", PATH),
        ("ADD gone.x :n", PATH),
        ("SET a = gone", MISSING),
        ("SET a = gone + :n", MISSING),
        ("SET a = list_append(gone, l)", MISSING),
        ("SET a = s + :n", OPERAND),
        ("SET a = list_append(l, n)", OPERAND),
        ("ADD s :n", OPERAND),
        ("DELETE n :set", OPERAND),
        ("ADD s :n SET gone.x = :n", OPERAND),
    ];
    for (text, message) in cases {
        let values = [(":n", n(1)), (":set", AttributeValue::string_set(["a"]))];
        assert_eq!(update(text, &before, &values).unwrap_err(), message, "{text}");
    }
}

#[test]
fn arithmetic_beyond_a_numbers_range_is_refused() {
    let values = [(":v", AttributeValue::N("9E+125".parse().unwrap()))];
    let before = item([("a", values[0].1.clone())]);
    let overflow = "Number overflow. Attempting to store a number with magnitude larger than supported range";
    assert_eq!(update("SET a = a + :v", &before, &values).unwrap_err(), overflow);
    assert_eq!(update("ADD a :v", &before, &values).unwrap_err(), overflow);
}

#[test]
fn only_touched_paths_are_returned_and_a_path_into_a_list_brings_its_whole_attribute() {
    let nested = |value: &str| AttributeValue::M(item([("x", s(value)), ("y", s("same"))]));
    let before = item([("m", nested("old")), ("l", list(["0", "1"])), ("other", s("same"))]);
    let updated =
        update("SET m.x = :v, l[1] = :v, fresh = :v REMOVE gone", &before, &[(":v", s("new"))]).unwrap();
    let touched = |item: &Item| updated.touched.project(EncodedItem::encode(item).view()).decode();

    let only_x = |value: &str| AttributeValue::M(item([("x", s(value))]));
    assert_eq!(touched(&before), item([("m", only_x("old")), ("l", list(["0", "1"]))]));
    assert_eq!(
        touched(&updated.item),
        item([("m", only_x("new")), ("l", list(["0", "new"])), ("fresh", s("new"))])
    );
}

#[test]
fn attribute_updates_do_what_their_actions_say() {
    let before = item([
        ("a.b", s("dotted")),
        ("n", n(1)),
        ("l", list(["0"])),
        ("s", AttributeValue::string_set(["a", "b"])),
        ("gone", s("x")),
    ]);
    let (put, three, more, gone) = (s("put"), n(3), list(["1"]), AttributeValue::string_set(["a"]));
    let entry = |action, value| AttributeUpdate { action, value };
    let after = legacy_update(
        &before,
        [
            ("a.b", entry(None, Some(&put))),
            ("n", entry(Some("ADD"), Some(&three))),
            ("l", entry(Some("ADD"), Some(&more))),
            ("fresh", entry(Some("ADD"), Some(&more))),
            ("s", entry(Some("DELETE"), Some(&gone))),
            ("gone", entry(Some("DELETE"), None)),
            ("never", entry(Some("DELETE"), None)),
        ],
    );
    let expected = item([
        ("a.b", s("put")),
        ("n", n(4)),
        ("l", list(["0", "1"])),
        ("fresh", list(["1"])),
        ("s", AttributeValue::string_set(["b"])),
    ]);
    assert_eq!(after, Ok(expected));
}

#[test]
fn attribute_updates_are_refused_in_dynamodbs_words() {
    let (text, map) = (s("x"), AttributeValue::M(Item::new()));
    let cases = [
        (
            AttributeUpdate { action: Some("PUT"), value: None },
            "One or more parameter values were invalid: Only DELETE action is allowed when no attribute value is specified",
        ),
        (
            AttributeUpdate { action: Some("ADD"), value: Some(&text) },
            "One or more parameter values were invalid: ADD action is not supported for the type S",
        ),
        (
            AttributeUpdate { action: Some("DELETE"), value: Some(&map) },
            "One or more parameter values were invalid: DELETE action with value is not supported for the type M",
        ),
    ];
    for (update, message) in cases {
        let refused = Translation::new().attribute_updates([("a", update)]).unwrap_err();
        assert_eq!(refused.message, message);
    }
}

#[test]
fn every_comparison_operator_means_its_expression() {
    let current = item([("a", s("m")), ("set", AttributeValue::string_set(["m"])), ("n", n(5))]);
    let cases: [(&str, &str, &[AttributeValue], bool); 20] = [
        ("a", "EQ", &[s("m")], true),
        ("a", "NE", &[s("m")], false),
        ("gone", "NE", &[s("m")], true),
        ("a", "LT", &[s("n")], true),
        ("a", "LE", &[s("m")], true),
        ("a", "GT", &[s("m")], false),
        ("a", "GE", &[s("m")], true),
        ("n", "BETWEEN", &[n(1), n(5)], true),
        ("n", "BETWEEN", &[n(6), n(9)], false),
        ("a", "IN", &[s("x"), s("m")], true),
        ("a", "IN", &[s("x")], false),
        ("a", "NULL", &[], false),
        ("gone", "NULL", &[], true),
        ("a", "NOT_NULL", &[], true),
        ("set", "CONTAINS", &[s("m")], true),
        ("set", "NOT_CONTAINS", &[s("m")], false),
        ("a", "CONTAINS", &[s("z")], false),
        ("a", "BEGINS_WITH", &[s("")], true),
        ("a", "BEGINS_WITH", &[s("mm")], false),
        ("n", "EQ", &[s("5")], false),
    ];
    for (name, operator, list, expected) in cases {
        assert_eq!(
            legacy_filter(&current, &[(name, operator, list)], ConditionalOperator::And),
            expected,
            "{name} {operator}"
        );
    }
    let both: &[(&str, &str, &[AttributeValue])] = &[("a", "EQ", &[s("m")]), ("n", "EQ", &[n(1)])];
    assert!(!legacy_filter(&current, both, ConditionalOperator::And));
    assert!(legacy_filter(&current, both, ConditionalOperator::Or));
}

#[test]
fn a_list_of_any_length_may_follow_in() {
    let many: Vec<AttributeValue> = (0..250).map(n).collect();
    for (value, expected) in [(249, true), (250, false)] {
        let current = item([("a", n(value))]);
        assert_eq!(legacy_filter(&current, &[("a", "IN", &many)], ConditionalOperator::And), expected);
    }
}

#[test]
fn expected_is_refused_in_dynamodbs_words() {
    let (value, many) = (s("x"), [s("x"), n(1)]);
    let base = ExpectedAttribute::default();
    let cases = [
        (base, "Value must be provided when Exists is null for Attribute: a"),
        (
            ExpectedAttribute { exists: Some(true), ..base },
            "Value must be provided when Exists is true for Attribute: a",
        ),
        (
            ExpectedAttribute { exists: Some(false), value: Some(&value), ..base },
            "Value cannot be used when Exists is false for Attribute: a",
        ),
        (
            ExpectedAttribute { exists: Some(false), operator: Some("NULL"), ..base },
            "Exists and ComparisonOperator cannot be used together for Attribute: a",
        ),
        (
            ExpectedAttribute { list: Some(&many), value: Some(&value), operator: Some("IN"), ..base },
            "Value and AttributeValueList cannot be used together for Attribute: a",
        ),
        (
            ExpectedAttribute { list: Some(&many), ..base },
            "AttributeValueList can only be used with a ComparisonOperator for Attribute: a",
        ),
        (
            ExpectedAttribute { operator: Some("EQ"), ..base },
            "Value or AttributeValueList must be used with ComparisonOperator: EQ for Attribute: a",
        ),
        (
            ExpectedAttribute { operator: Some("EQ"), list: Some(&many), ..base },
            "Invalid number of argument(s) for the EQ ComparisonOperator",
        ),
        (
            ExpectedAttribute { operator: Some("IN"), list: Some(&many), ..base },
            "AttributeValues inside AttributeValueList must be of same type",
        ),
        (
            ExpectedAttribute { operator: Some("eq"), value: Some(&value), ..base },
            "Invalid comparison operator",
        ),
        (
            ExpectedAttribute { operator: Some("BEGINS_WITH"), list: Some(&many[1..]), ..base },
            "ComparisonOperator BEGINS_WITH is not valid for N AttributeValue type",
        ),
    ];
    for (expected, message) in cases {
        let refused = Translation::new().expected([("a", expected)], ConditionalOperator::And).unwrap_err();
        assert_eq!(refused.message, format!("One or more parameter values were invalid: {message}"));
    }
}

#[test]
fn expected_existence_and_value_are_conditions() {
    let value = s("x");
    let exists_not = ExpectedAttribute { exists: Some(false), ..Default::default() };
    let equals = ExpectedAttribute { value: Some(&value), ..Default::default() };
    let mut translation = Translation::new();
    let text =
        translation.expected([("new", exists_not), ("a.b", equals)], ConditionalOperator::And).unwrap();
    assert_eq!(text.as_deref(), Some("attribute_not_exists(#_l0) AND #_l1 = :_l0"));
    let (names, _) = translation.finish();
    let expected =
        BTreeMap::from([("#_l0".to_owned(), "new".to_owned()), ("#_l1".to_owned(), "a.b".to_owned())]);
    assert_eq!(names, Some(expected));
}

fn update(text: &str, before: &Item, values: &[(&str, AttributeValue)]) -> Result<Updated, String> {
    let values: Item = values.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    let bindings = Bindings { names: BTreeMap::new(), values: Some(EncodedItem::encode(&values)) };
    let update = UpdateExpression::parse(text).unwrap();
    update.apply(EncodedItem::encode(before).view(), &bindings).map_err(|error| error.message.into_owned())
}

fn legacy_update<'a>(
    before: &Item,
    updates: impl IntoIterator<Item = (&'a str, AttributeUpdate<'a>)>,
) -> Result<Item, String> {
    let mut translation = Translation::new();
    let text = translation.attribute_updates(updates).unwrap();
    let (names, values) = translation.finish();
    let request = RequestExpressions {
        update: text.as_deref(),
        names: names.as_ref(),
        values: values.as_ref(),
        ..Default::default()
    };
    let checked = request.check_translated(&ExpressionCache::new()).unwrap();
    let updated = checked.update.unwrap().apply(EncodedItem::encode(before).view(), &checked.bindings);
    updated.map(|updated| updated.item).map_err(|error| error.message.into_owned())
}

fn legacy_filter(
    current: &Item,
    conditions: &[(&str, &str, &[AttributeValue])],
    joined_by: ConditionalOperator,
) -> bool {
    let mut translation = Translation::new();
    let conditions =
        conditions.iter().map(|(name, operator, list)| (*name, AttributeCondition { operator, list }));
    let text = translation.filter(conditions, joined_by).unwrap();
    let (names, values) = translation.finish();
    let request = RequestExpressions {
        filter: text.as_deref(),
        names: names.as_ref(),
        values: values.as_ref(),
        ..Default::default()
    };
    let checked = request.check_translated(&ExpressionCache::new()).unwrap();
    checked.filter.unwrap().evaluate(Some(EncodedItem::encode(current).view()), &checked.bindings).unwrap()
}

fn item<const N: usize>(attributes: [(&str, AttributeValue); N]) -> Item {
    attributes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn s(text: &str) -> AttributeValue {
    AttributeValue::from(text)
}

fn n(number: i64) -> AttributeValue {
    AttributeValue::from(number)
}

fn list<const N: usize>(texts: [&str; N]) -> AttributeValue {
    AttributeValue::L(texts.into_iter().map(AttributeValue::from).collect())
}
