//! Expressions against naive models: generated trees printed and parsed back, conditions and projections
//! on encoded items against trees, updates against a rebuilding model, and any text at all.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::cmp::Ordering;
use std::collections::BTreeMap;

use dynamodb::expression::ast::{Action, Comparator, ConditionTree, Name, Operand, Path, SetValue, Step};
use dynamodb::expression::{
    Condition, ExpressionCache, ExpressionKind, KeyConditionExpression, Projection, RequestExpressions,
    UpdateExpression,
};
use dynamodb::number::Number;
use dynamodb::operation::{Bindings, EncodedItem};
use dynamodb::value::{AttributeValue, Item};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_printed_condition_parses_back_to_itself(tree in condition_tree()) {
        let parsed = Condition::parse(ExpressionKind::Condition, &tree.to_string()).unwrap();
        prop_assert_eq!(parsed.tree(), &tree);
    }

    #[test]
    fn a_printed_update_parses_back_to_itself(actions in vec(action(), 1..5)) {
        let parsed = UpdateExpression::parse(&update_text(&actions)).unwrap();
        prop_assert_eq!(parsed.actions(), by_clause(&actions));
        let again = UpdateExpression::parse(&parsed.to_string()).unwrap();
        prop_assert_eq!(again.actions(), parsed.actions());
    }

    #[test]
    fn a_condition_holds_where_the_naive_evaluator_says(
        tree in condition_tree(), item in item(), values in values()
    ) {
        let bindings = bindings(&values);
        let condition = Condition::parse(ExpressionKind::Filter, &tree.to_string()).unwrap();
        let encoded = EncodedItem::encode(&item);
        let expected = naive::holds(&tree, &item, &values);
        prop_assert_eq!(condition.evaluate(Some(encoded.view()), &bindings), Ok(expected));
        let expected = naive::holds(&tree, &Item::new(), &values);
        prop_assert_eq!(condition.evaluate(None, &bindings), Ok(expected), "without an item");
    }

    #[test]
    fn a_projection_takes_what_the_naive_one_takes(paths in vec(path(), 1..4), item in item()) {
        let text = paths.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let bindings = bindings(&Item::new());
        prop_assume!(no_overlap(RequestExpressions { projection: Some(&text), ..Default::default() }, &paths));
        let projected = Projection::parse(&text).unwrap().apply(EncodedItem::encode(&item).view(), &bindings);
        let steps: Vec<_> = paths.iter().map(naive::steps).collect();
        let expected = naive::project(&AttributeValue::M(item), &steps).map_or_else(Item::new, naive::into_map);
        prop_assert_eq!(projected.unwrap().decode(), expected);
    }

    #[test]
    fn an_update_makes_what_the_naive_one_makes(
        actions in vec(action(), 1..5), item in item(), values in values()
    ) {
        let text = update_text(&actions);
        let paths: Vec<Path> = actions.iter().map(|action| action.path().clone()).collect();
        let as_projection = paths.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        prop_assume!(no_overlap(
            RequestExpressions { projection: Some(&as_projection), ..Default::default() }, &paths
        ));
        let update = UpdateExpression::parse(&text).unwrap();
        let updated = update.apply(EncodedItem::encode(&item).view(), &bindings(&values));
        match (naive::update(&actions, &item, &values), updated) {
            (Some(expected), Ok(updated)) => prop_assert_eq!(updated.item, expected, "{}", text),
            (None, Err(_)) => {}
            (expected, updated) => prop_assert!(false, "{}: {:?} instead of {:?}", text, updated, expected),
        }
    }

    #[test]
    fn no_text_makes_anything_panic(text in any_text(), item in item(), values in values()) {
        let bindings = bindings(&values);
        let encoded = EncodedItem::encode(&item);
        if let Ok(condition) = Condition::parse(ExpressionKind::Condition, &text) {
            let _ = condition.evaluate(Some(encoded.view()), &bindings);
        }
        if let Ok(projection) = Projection::parse(&text) {
            let _ = projection.apply(encoded.view(), &bindings);
        }
        if let Ok(update) = UpdateExpression::parse(&text) {
            let _ = update.apply(encoded.view(), &bindings);
        }
        let _ = KeyConditionExpression::parse(&text);
        let request = RequestExpressions {
            condition: Some(&text), update: Some(&text), filter: Some(&text), key_condition: Some(&text),
            projection: Some(&text), names: Some(&bindings.names), values: bindings.values.as_ref(), accepted: &[],
        };
        let _ = request.check(&ExpressionCache::new());
    }
}

#[test]
fn no_nesting_exhausts_half_of_a_threads_stack() {
    let texts = [
        "(".repeat(4096),
        format!("{}a = :v", "NOT ".repeat(1000)),
        format!("{}a = :v{}", "(".repeat(2000), ")".repeat(2000)),
        format!("{}a = :v{}", "(NOT ".repeat(800), ")".repeat(800)),
        format!("{}a = :v{}", "NOT(".repeat(99), ")".repeat(99)),
        format!("{}a = :v{}", "(a = :v AND ".repeat(290), ")".repeat(290)),
        format!("{}a = :v{}", "(a = :v AND ".repeat(99), ")".repeat(99)),
        format!("{}a{} = :v", "size(".repeat(680), ")".repeat(680)),
        format!("{}a{} = :v", "size(".repeat(99), ")".repeat(99)),
        format!("SET a = {}", "(".repeat(4000)),
        format!("SET a = {}:v{}", "(a + ".repeat(680), ")".repeat(680)),
        format!("SET a = {}:v{}", "(a + ".repeat(99), ")".repeat(99)),
        format!("SET a = {}:v{}", "list_append(a,".repeat(99), ")".repeat(99)),
        format!("SET a = {}:v{}", "if_not_exists(b,".repeat(99), ")".repeat(99)),
        format!("a{}", ".a".repeat(2000)),
    ];
    let parsed = std::thread::Builder::new()
        .stack_size(1 << 20)
        .spawn(move || texts.iter().map(|text| parse_and_use(text)).filter(|parses| *parses).count())
        .unwrap()
        .join()
        .unwrap();
    // The ones that stay within the bounds.
    assert_eq!(parsed, 5);
}

/// Whether `text` is an expression of any kind.
fn parse_and_use(text: &str) -> bool {
    let bindings = bindings(&Item::from([(":v".to_owned(), AttributeValue::from(1))]));
    let item = EncodedItem::encode(&Item::from([("a".to_owned(), AttributeValue::from(1))]));
    let mut parses = Projection::parse(text).is_ok();
    if let Ok(condition) = Condition::parse(ExpressionKind::Condition, text) {
        parses = true;
        condition.evaluate(Some(item.view()), &bindings).unwrap();
        let again = Condition::parse(ExpressionKind::Condition, &condition.to_string()).unwrap();
        assert_eq!(again.tree(), condition.tree());
    }
    if let Ok(update) = UpdateExpression::parse(text) {
        parses = true;
        let _ = update.apply(item.view(), &bindings);
        assert_eq!(UpdateExpression::parse(&update.to_string()).unwrap().actions(), update.actions());
    }
    parses
}

#[test]
fn an_update_cannot_multiply_a_list_without_bounds() {
    let list = AttributeValue::L(vec![AttributeValue::from("x".repeat(1000)); 300]);
    let item = EncodedItem::encode(&Item::from([("a".to_owned(), list)]));
    let mut text = "a".to_owned();
    for _ in 0..7 {
        text = format!("list_append({text},{text})");
    }
    let update = UpdateExpression::parse(&format!("SET b = {text}")).unwrap();
    let refused = update.apply(item.view(), &Bindings::default()).unwrap_err();
    assert_eq!(refused.message, "Item size to update has exceeded the maximum allowed size");
}

// Generators: few names and values, so that paths and comparisons hit.

const NAMES: [(&str, &str); 3] = [("#x", "a"), ("#y", "b"), ("#dotted", "a.b")];
const VALUES: [&str; 6] = [":v0", ":v1", ":v2", ":number", ":list", ":set"];

fn name() -> impl Strategy<Value = Name> {
    prop_oneof![
        proptest::sample::select(vec!["a", "b", "c"]).prop_map(|name| Name::Literal(name.to_owned())),
        proptest::sample::select(NAMES.to_vec()).prop_map(|(name, _)| Name::Placeholder(name.to_owned())),
    ]
}

fn path() -> impl Strategy<Value = Path> {
    let step = prop_oneof![name().prop_map(Step::Field), (0..4_u32).prop_map(Step::Index)];
    let steps = prop_oneof![2 => Just(Vec::new()), 3 => vec(step, 1..3)];
    (name(), steps).prop_map(|(root, steps)| Path { root, steps })
}

fn value_placeholder() -> impl Strategy<Value = String> {
    proptest::sample::select(VALUES.to_vec()).prop_map(str::to_owned)
}

fn operand() -> impl Strategy<Value = Operand> {
    prop_oneof![
        3 => value_placeholder().prop_map(Operand::Value),
        3 => path().prop_map(Operand::Path),
        1 => path().prop_map(|path| Operand::Size(Box::new(Operand::Path(path)))),
    ]
}

fn condition_tree() -> impl Strategy<Value = ConditionTree> {
    let comparator = proptest::sample::select(vec![
        Comparator::Equal,
        Comparator::NotEqual,
        Comparator::Less,
        Comparator::LessOrEqual,
        Comparator::Greater,
        Comparator::GreaterOrEqual,
    ]);
    let leaf = prop_oneof![
        4 => (operand(), comparator, operand())
            .prop_map(|(left, comparator, right)| ConditionTree::Compare { left, comparator, right }),
        1 => (operand(), operand(), operand())
            .prop_map(|(operand, lower, upper)| ConditionTree::Between { operand, lower, upper }),
        1 => (operand(), vec(operand(), 1..4)).prop_map(|(operand, list)| ConditionTree::In { operand, list }),
        1 => path().prop_map(ConditionTree::AttributeExists),
        1 => path().prop_map(ConditionTree::AttributeNotExists),
        1 => (path(), value_placeholder()).prop_map(|(path, value)| ConditionTree::AttributeType(path, value)),
        1 => (operand(), operand()).prop_map(|(one, other)| ConditionTree::BeginsWith(one, other)),
        2 => (operand(), operand()).prop_map(|(one, other)| ConditionTree::Contains(one, other)),
    ];
    leaf.prop_recursive(4, 16, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 2..4).prop_map(ConditionTree::And),
            vec(inner.clone(), 2..4).prop_map(ConditionTree::Or),
            inner.prop_map(|term| ConditionTree::Not(Box::new(term))),
        ]
    })
}

/// Mostly operands that fit, lest nearly every update be refused.
fn set_value() -> impl Strategy<Value = SetValue> {
    let value = |placeholder: &str| Just(SetValue::Value(placeholder.to_owned()));
    let any = prop_oneof![
        3 => value_placeholder().prop_map(SetValue::Value),
        1 => path().prop_map(SetValue::Path),
    ];
    let number = prop_oneof![
        3 => value(":number"),
        1 => (path(), value(":number"))
            .prop_map(|(path, fallback)| SetValue::IfNotExists(path, Box::new(fallback))),
        1 => any.clone(),
    ];
    let sum = prop_oneof![
        2 => number.clone(),
        1 => (number.clone(), number.clone())
            .prop_map(|(left, right)| SetValue::Minus(Box::new(left), Box::new(right))),
    ];
    let list = prop_oneof![
        3 => value(":list"),
        1 => (path(), value(":list")).prop_map(|(path, fallback)| SetValue::IfNotExists(path, Box::new(fallback))),
        1 => any.clone(),
    ];
    prop_oneof![
        4 => any,
        1 => (sum.clone(), sum).prop_map(|(left, right)| SetValue::Plus(Box::new(left), Box::new(right))),
        1 => (list.clone(), list).prop_map(|(one, other)| SetValue::ListAppend(Box::new(one), Box::new(other))),
    ]
}

fn action() -> impl Strategy<Value = Action> {
    let added = proptest::sample::select(vec![":number", ":set", ":v0"]).prop_map(str::to_owned);
    let deleted = proptest::sample::select(vec![":set", ":set", ":v0"]).prop_map(str::to_owned);
    prop_oneof![
        4 => (path(), set_value()).prop_map(|(path, value)| Action::Set { path, value }),
        3 => path().prop_map(|path| Action::Remove { path }),
        2 => (path(), added).prop_map(|(path, value)| Action::Add { path, value }),
        2 => (path(), deleted).prop_map(|(path, value)| Action::Delete { path, value }),
    ]
}

fn scalar() -> impl Strategy<Value = AttributeValue> {
    let number = proptest::sample::select(vec!["0", "1", "2", "-1", "1.5", "10"])
        .prop_map(|text| AttributeValue::N(text.parse().unwrap()));
    prop_oneof![
        3 => proptest::sample::select(vec!["", "a", "b", "ab", "S", "N", "é𝄞"]).prop_map(AttributeValue::from),
        3 => number,
        1 => vec(0..2_u8, 0..3).prop_map(AttributeValue::B),
        1 => any::<bool>().prop_map(AttributeValue::Bool),
        1 => Just(AttributeValue::Null),
        1 => vec(proptest::sample::select(vec!["a", "b", "ab"]), 1..3).prop_map(AttributeValue::string_set),
        1 => vec(0..3_i64, 1..3).prop_map(|set| AttributeValue::number_set(set.into_iter().map(Number::from))),
        1 => vec(vec(0..2_u8, 0..2), 1..3).prop_map(AttributeValue::binary_set),
    ]
}

fn attribute_value() -> impl Strategy<Value = AttributeValue> {
    scalar().prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(AttributeValue::L),
            btree_map(attribute_name(), inner, 0..4).prop_map(AttributeValue::M),
        ]
    })
}

fn attribute_name() -> impl Strategy<Value = String> {
    proptest::sample::select(vec!["a", "b", "c", "a.b"]).prop_map(str::to_owned)
}

fn item() -> impl Strategy<Value = Item> {
    btree_map(attribute_name(), attribute_value(), 0..5)
}

fn values() -> impl Strategy<Value = Item> {
    let set = vec(proptest::sample::select(vec!["a", "b", "ab"]), 1..3).prop_map(AttributeValue::string_set);
    let list = vec(attribute_value(), 0..3).prop_map(AttributeValue::L);
    let number = (-3..3_i64).prop_map(AttributeValue::from);
    (vec(attribute_value(), 3), number, list, set).prop_map(|(mut values, number, list, set)| {
        values.extend([number, list, set]);
        VALUES.iter().map(|name| (*name).to_owned()).zip(values).collect()
    })
}

/// Anything, and lexemes in any order.
fn any_text() -> impl Strategy<Value = String> {
    let lexeme = proptest::sample::select(vec![
        "a",
        "b",
        "#x",
        "#y",
        ":v0",
        ":v1",
        "(",
        ")",
        "[",
        "]",
        "0",
        "12",
        ".",
        ",",
        "=",
        "<>",
        "<",
        "<=",
        ">",
        ">=",
        "+",
        "-",
        "AND",
        "or",
        "NOT",
        "BETWEEN",
        "IN",
        "SET",
        "REMOVE",
        "ADD",
        "DELETE",
        "size",
        "contains",
        "attribute_exists",
        "list_append",
        "if_not_exists",
        "name",
        "é",
        "_",
        "#",
        ":",
        "\n",
    ]);
    prop_oneof![".*", vec(lexeme, 0..16).prop_map(|lexemes| lexemes.join(" "))]
}

fn bindings(values: &Item) -> Bindings {
    let names =
        NAMES.iter().map(|(name, stands_for)| ((*name).to_owned(), (*stands_for).to_owned())).collect();
    Bindings { names, values: (!values.is_empty()).then(|| EncodedItem::encode(values)) }
}

/// Whether a projection of `paths` is accepted, given the names that they use.
fn no_overlap(request: RequestExpressions<'_>, paths: &[Path]) -> bool {
    let text = paths.iter().map(ToString::to_string).collect::<String>();
    let mut names = bindings(&Item::new()).names;
    names.retain(|name, _| text.contains(name.as_str()));
    let names = (!names.is_empty()).then_some(&names);
    RequestExpressions { names, ..request }.check(&ExpressionCache::new()).is_ok()
}

fn by_clause(actions: &[Action]) -> Vec<Action> {
    let mut ordered = actions.to_vec();
    ordered.sort_by_key(Action::section);
    ordered
}

fn update_text(actions: &[Action]) -> String {
    let mut clauses: BTreeMap<_, Vec<String>> = BTreeMap::new();
    for action in actions {
        clauses.entry(action.section()).or_default().push(action.to_string());
    }
    let clauses: Vec<String> = clauses
        .into_iter()
        .map(|(section, actions)| format!("{} {}", section.keyword(), actions.join(", ")))
        .collect();
    clauses.join(" ")
}

/// The same languages on trees, as directly as can be.
mod naive {
    use super::*;

    #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub(super) enum Key {
        Field(String),
        Index(usize),
    }

    pub(super) fn steps(path: &Path) -> Vec<Key> {
        let name = |name: &Name| match name {
            Name::Literal(name) => name.clone(),
            Name::Placeholder(name) => NAMES.iter().find(|(known, _)| known == name).unwrap().1.to_owned(),
        };
        let mut keys = vec![Key::Field(name(&path.root))];
        keys.extend(path.steps.iter().map(|step| match step {
            Step::Field(field) => Key::Field(name(field)),
            Step::Index(index) => Key::Index(*index as usize),
        }));
        keys
    }

    pub(super) fn into_map(value: AttributeValue) -> Item {
        match value {
            AttributeValue::M(map) => map,
            other => panic!("{other:?} is no map"),
        }
    }

    fn child<'v>(value: &'v AttributeValue, key: &Key) -> Option<&'v AttributeValue> {
        match (value, key) {
            (AttributeValue::M(map), Key::Field(name)) => map.get(name),
            (AttributeValue::L(list), Key::Index(index)) => list.get(*index),
            _ => None,
        }
    }

    fn at(item: &Item, path: &Path) -> Option<AttributeValue> {
        let mut value = AttributeValue::M(item.clone());
        for key in steps(path) {
            value = child(&value, &key)?.clone();
        }
        Some(value)
    }

    fn operand(operand: &Operand, item: &Item, values: &Item) -> Option<AttributeValue> {
        match operand {
            Operand::Value(name) => Some(values[name].clone()),
            Operand::Path(path) => at(item, path),
            Operand::Size(of) => {
                let size = match self::operand(of, item, values)? {
                    AttributeValue::S(text) => text.chars().map(char::len_utf16).sum(),
                    AttributeValue::B(bytes) => bytes.len(),
                    AttributeValue::L(list) => list.len(),
                    AttributeValue::M(map) => map.len(),
                    AttributeValue::SS(set) => set.len(),
                    AttributeValue::NS(set) => set.len(),
                    AttributeValue::BS(set) => set.len(),
                    _ => return None,
                };
                Some(AttributeValue::from(i64::try_from(size).unwrap()))
            }
        }
    }

    fn order(one: &AttributeValue, other: &AttributeValue) -> Option<Ordering> {
        match (one, other) {
            (AttributeValue::S(one), AttributeValue::S(other)) => Some(one.cmp(other)),
            (AttributeValue::N(one), AttributeValue::N(other)) => {
                Some(one.to_big_decimal().cmp(&other.to_big_decimal()))
            }
            (AttributeValue::B(one), AttributeValue::B(other)) => Some(one.cmp(other)),
            _ => None,
        }
    }

    pub(super) fn holds(tree: &ConditionTree, item: &Item, values: &Item) -> bool {
        let of = |each: &Operand| operand(each, item, values);
        match tree {
            ConditionTree::And(terms) => terms.iter().all(|term| holds(term, item, values)),
            ConditionTree::Or(terms) => terms.iter().any(|term| holds(term, item, values)),
            ConditionTree::Not(term) => !holds(term, item, values),
            ConditionTree::Compare { left, comparator, right } => {
                let (Some(left), Some(right)) = (of(left), of(right)) else {
                    return *comparator == Comparator::NotEqual;
                };
                match (comparator, order(&left, &right)) {
                    (Comparator::Equal, _) => left == right,
                    (Comparator::NotEqual, _) => left != right,
                    (_, None) => false,
                    (Comparator::Less, Some(order)) => order == Ordering::Less,
                    (Comparator::LessOrEqual, Some(order)) => order != Ordering::Greater,
                    (Comparator::Greater, Some(order)) => order == Ordering::Greater,
                    (Comparator::GreaterOrEqual, Some(order)) => order != Ordering::Less,
                }
            }
            ConditionTree::Between { operand, lower, upper } => {
                let (Some(operand), Some(lower), Some(upper)) = (of(operand), of(lower), of(upper)) else {
                    return false;
                };
                matches!(order(&lower, &operand), Some(Ordering::Less | Ordering::Equal))
                    && matches!(order(&operand, &upper), Some(Ordering::Less | Ordering::Equal))
            }
            ConditionTree::In { operand, list } => {
                of(operand).is_some_and(|operand| list.iter().any(|each| of(each).as_ref() == Some(&operand)))
            }
            ConditionTree::AttributeExists(path) => at(item, path).is_some(),
            ConditionTree::AttributeNotExists(path) => at(item, path).is_none(),
            ConditionTree::AttributeType(path, wanted) => {
                at(item, path).is_some_and(|value| values[wanted] == AttributeValue::from(value.type_name()))
            }
            ConditionTree::BeginsWith(one, prefix) => match (of(one), of(prefix)) {
                (Some(AttributeValue::S(text)), Some(AttributeValue::S(prefix))) => text.starts_with(&prefix),
                (Some(AttributeValue::B(text)), Some(AttributeValue::B(prefix))) => text.starts_with(&prefix),
                _ => false,
            },
            ConditionTree::Contains(one, part) => contains(of(one), of(part)),
        }
    }

    fn contains(value: Option<AttributeValue>, part: Option<AttributeValue>) -> bool {
        let (Some(value), Some(part)) = (value, part) else { return false };
        match (value, part) {
            (AttributeValue::L(list), part) => list.contains(&part),
            (AttributeValue::S(text), AttributeValue::S(part)) => text.contains(&part),
            (AttributeValue::B(bytes), AttributeValue::B(part)) => {
                part.is_empty() || bytes.windows(part.len()).any(|window| window == part)
            }
            (AttributeValue::SS(set), AttributeValue::S(part)) => set.contains(&part),
            (AttributeValue::NS(set), AttributeValue::N(part)) => set.contains(&part),
            (AttributeValue::BS(set), AttributeValue::B(part)) => set.contains(&part),
            _ => false,
        }
    }

    /// What of `value` lies on the paths; none when nothing does.
    pub(super) fn project(value: &AttributeValue, paths: &[Vec<Key>]) -> Option<AttributeValue> {
        if paths.iter().any(Vec::is_empty) {
            return Some(value.clone());
        }
        let below = |key: &Key| -> Vec<Vec<Key>> {
            paths.iter().filter(|path| path[0] == *key).map(|path| path[1..].to_vec()).collect()
        };
        let mut keys: Vec<&Key> = paths.iter().map(|path| &path[0]).collect();
        keys.sort();
        keys.dedup();
        let parts: Vec<(Key, AttributeValue)> = keys
            .into_iter()
            .filter_map(|key| Some((key.clone(), project(child(value, key)?, &below(key))?)))
            .collect();
        if parts.is_empty() {
            return None;
        }
        Some(match value {
            AttributeValue::L(_) => AttributeValue::L(parts.into_iter().map(|(_, part)| part).collect()),
            _ => AttributeValue::M(
                parts
                    .into_iter()
                    .map(|(key, part)| match key {
                        Key::Field(name) => (name, part),
                        Key::Index(_) => panic!("only lists have indexes"),
                    })
                    .collect(),
            ),
        })
    }

    #[derive(Clone, Debug)]
    enum Change {
        Write(AttributeValue),
        Remove,
    }

    /// The item after the update, rebuilt from the root; none when the update is refused.
    pub(super) fn update(actions: &[Action], item: &Item, values: &Item) -> Option<Item> {
        let mut changes = Vec::new();
        for action in actions {
            let path = steps(action.path());
            let current = at(item, action.path());
            let change = match action {
                Action::Set { value, .. } => Some(Change::Write(evaluate(value, item, values)?)),
                Action::Remove { .. } => Some(Change::Remove),
                Action::Add { value, .. } => Some(Change::Write(add(current, values[value].clone())?)),
                Action::Delete { value, .. } => match current {
                    None => None,
                    Some(current) => Some(delete(current, &values[value])?),
                },
            };
            parent_fits(item, &path)?;
            changes.extend(change.map(|change| (path, change)));
        }
        rebuild(Some(&AttributeValue::M(item.clone())), &changes).map(into_map)
    }

    fn parent_fits(item: &Item, path: &[Key]) -> Option<()> {
        let mut value = AttributeValue::M(item.clone());
        let (last, parents) = path.split_last()?;
        for key in parents {
            value = child(&value, key)?.clone();
        }
        match (value, last) {
            (AttributeValue::M(_), Key::Field(_)) | (AttributeValue::L(_), Key::Index(_)) => Some(()),
            _ => None,
        }
    }

    fn rebuild(value: Option<&AttributeValue>, changes: &[(Vec<Key>, Change)]) -> Option<AttributeValue> {
        if let Some((_, change)) = changes.iter().find(|(path, _)| path.is_empty()) {
            return match change {
                Change::Write(new) => Some(new.clone()),
                Change::Remove => None,
            };
        }
        let below = |key: &Key| -> Vec<(Vec<Key>, Change)> {
            let concerned = changes.iter().filter(|(path, _)| path[0] == *key);
            concerned.map(|(path, change)| (path[1..].to_vec(), change.clone())).collect()
        };
        let mut keys: Vec<Key> = changes.iter().map(|(path, _)| path[0].clone()).collect();
        keys.sort();
        keys.dedup();
        match value? {
            AttributeValue::M(map) => {
                let mut all: Vec<Key> = map.keys().cloned().map(Key::Field).collect();
                all.extend(keys);
                all.sort();
                all.dedup();
                let rebuilt = all.into_iter().filter_map(|key| {
                    let Key::Field(name) = &key else { panic!("a map has names") };
                    let new = rebuild(map.get(name), &below(&key))?;
                    Some((name.clone(), new))
                });
                Some(AttributeValue::M(rebuilt.collect()))
            }
            AttributeValue::L(list) => {
                let mut all: Vec<Key> = (0..list.len()).map(Key::Index).collect();
                all.extend(keys);
                all.sort();
                all.dedup();
                let rebuilt = all.into_iter().filter_map(|key| {
                    let Key::Index(index) = &key else { panic!("a list has indexes") };
                    rebuild(list.get(*index), &below(&key))
                });
                Some(AttributeValue::L(rebuilt.collect()))
            }
            other => Some(other.clone()),
        }
    }

    fn evaluate(value: &SetValue, item: &Item, values: &Item) -> Option<AttributeValue> {
        let of = |each: &SetValue| evaluate(each, item, values);
        Some(match value {
            SetValue::Value(name) => values[name].clone(),
            SetValue::Path(path) => at(item, path)?,
            SetValue::IfNotExists(path, fallback) => match at(item, path) {
                Some(current) => current,
                None => of(fallback)?,
            },
            SetValue::ListAppend(one, other) => match (of(one)?, of(other)?) {
                (AttributeValue::L(one), AttributeValue::L(other)) => {
                    AttributeValue::L([one, other].concat())
                }
                _ => return None,
            },
            SetValue::Plus(one, other) => match (of(one)?, of(other)?) {
                (AttributeValue::N(one), AttributeValue::N(other)) => {
                    let sum = one.to_big_decimal() + other.to_big_decimal();
                    AttributeValue::N(Number::from_big_decimal(&sum).ok()?)
                }
                _ => return None,
            },
            SetValue::Minus(one, other) => match (of(one)?, of(other)?) {
                (AttributeValue::N(one), AttributeValue::N(other)) => {
                    let difference = one.to_big_decimal() - other.to_big_decimal();
                    AttributeValue::N(Number::from_big_decimal(&difference).ok()?)
                }
                _ => return None,
            },
        })
    }

    fn add(current: Option<AttributeValue>, operand: AttributeValue) -> Option<AttributeValue> {
        match (current, operand) {
            (
                None,
                operand @ (AttributeValue::N(_)
                | AttributeValue::SS(_)
                | AttributeValue::NS(_)
                | AttributeValue::BS(_)),
            ) => Some(operand),
            (Some(AttributeValue::N(one)), AttributeValue::N(other)) => {
                one.checked_add(&other).ok().map(AttributeValue::N)
            }
            (Some(AttributeValue::SS(one)), AttributeValue::SS(other)) => {
                Some(AttributeValue::string_set([one, other].concat()))
            }
            (Some(AttributeValue::NS(one)), AttributeValue::NS(other)) => {
                Some(AttributeValue::number_set([one, other].concat()))
            }
            (Some(AttributeValue::BS(one)), AttributeValue::BS(other)) => {
                Some(AttributeValue::binary_set([one, other].concat()))
            }
            _ => None,
        }
    }

    fn delete(current: AttributeValue, operand: &AttributeValue) -> Option<Change> {
        fn minus<T: Clone + PartialEq>(one: &[T], other: &[T]) -> Vec<T> {
            one.iter().filter(|element| !other.contains(element)).cloned().collect()
        }
        let (rest, is_empty) = match (&current, operand) {
            (AttributeValue::SS(one), AttributeValue::SS(other)) => {
                let rest = minus(one, other);
                (AttributeValue::SS(rest.clone()), rest.is_empty())
            }
            (AttributeValue::NS(one), AttributeValue::NS(other)) => {
                let rest = minus(one, other);
                (AttributeValue::NS(rest.clone()), rest.is_empty())
            }
            (AttributeValue::BS(one), AttributeValue::BS(other)) => {
                let rest = minus(one, other);
                (AttributeValue::BS(rest.clone()), rest.is_empty())
            }
            _ => return None,
        };
        Some(if is_empty { Change::Remove } else { Change::Write(rest) })
    }
}
