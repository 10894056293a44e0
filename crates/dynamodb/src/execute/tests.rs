use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::operation::{Bindings, StorageKey};
use crate::value::{AttributeValue, Item};

fn item(attributes: &[(&str, AttributeValue)]) -> EncodedItem {
    let pairs = attributes.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
    EncodedItem::encode(&pairs.collect::<Item>())
}

fn key() -> StorageKey {
    StorageKey(Bytes::from_static(b"k"))
}

fn put(item: EncodedItem) -> Put {
    Put { key: key(), item, options: WriteOptions::default(), return_old: false }
}

fn update(return_values: ReturnValues) -> Update {
    let key_item = item(&[("pk", "p".into())]);
    let options = WriteOptions::default();
    Update { key: key(), key_item, update: None, options, return_values }
}

fn execute(operation: Operation, current: Option<&EncodedItem>) -> Decision {
    execute_write(&operation, current, &ExpressionCache::default())
}

fn written(decision: &Decision) -> &Written {
    match &decision.outcome {
        Outcome::Written(written) => written,
        other => panic!("{other:?}"),
    }
}

fn range(limit: Option<u32>, max_bytes: u64) -> RangeRead {
    RangeRead {
        start: key(),
        end: None,
        forward: true,
        consistent: true,
        limit,
        max_bytes,
        filter: None,
        projection: None,
        bindings: Default::default(),
        count_only: false,
        key_attributes: vec!["pk".into()],
    }
}

#[test]
fn a_put_replaces_the_item_and_returns_the_old_one_if_asked() {
    let (old, new) = (item(&[("pk", "p".into())]), item(&[("pk", "p".into()), ("a", 12.into())]));
    let mut operation = put(new.clone());

    let silent = execute(Operation::Put(operation.clone()), Some(&old));
    assert_eq!(silent.effect, Effect::Put(new.clone()));
    assert_eq!(*written(&silent), Written { attributes: None, old_size: 3, new_size: 6 });

    operation.return_old = true;
    let telling = execute(Operation::Put(operation.clone()), Some(&old));
    assert_eq!(written(&telling).attributes, Some(old));
    assert_eq!(written(&execute(Operation::Put(operation), None)).attributes, None);
}

#[test]
fn an_item_of_400_kb_is_stored_and_a_byte_more_is_not() {
    let of_size = |size: usize| item(&[("pk", "p".into()), ("a", "x".repeat(size - 4).into())]);

    let largest = execute(Operation::Put(put(of_size(400 * 1024))), None);
    assert_eq!(written(&largest).new_size, 400 * 1024);

    let larger = execute(Operation::Put(put(of_size(400 * 1024 + 1))), None);
    assert_eq!(larger.effect, Effect::None);
    assert_eq!(larger.outcome, Outcome::Invalid(ApiError::validation(TOO_LARGE)));
}

#[test]
fn a_delete_of_nothing_changes_nothing() {
    let operation = Delete { key: key(), options: WriteOptions::default(), return_old: true };
    let old = item(&[("pk", "p".into())]);

    let deleted = execute(Operation::Delete(operation.clone()), Some(&old));
    assert_eq!((deleted.effect.clone(), written(&deleted).old_size), (Effect::Delete, 3));
    assert_eq!(written(&deleted).attributes, Some(old));

    let absent = execute(Operation::Delete(operation), None);
    assert_eq!((absent.effect.clone(), written(&absent)), (Effect::None, &Written::default()));
}

#[test]
fn an_update_without_an_expression_creates_the_item_from_its_key() {
    let key_item = item(&[("pk", "p".into())]);
    let created = execute(Operation::Update(update(ReturnValues::AllNew)), None);
    assert_eq!(created.effect, Effect::Put(key_item.clone()));
    assert_eq!(written(&created).attributes, Some(key_item));

    let old = item(&[("pk", "p".into()), ("a", true.into())]);
    let touched = execute(Operation::Update(update(ReturnValues::AllOld)), Some(&old));
    assert_eq!(touched.effect, Effect::None);
    assert_eq!(*written(&touched), Written { attributes: Some(old), old_size: 5, new_size: 5 });
}

#[test]
fn a_failed_condition_changes_nothing_and_is_charged_for_the_current_item() {
    let old = item(&[("pk", "p".into()), ("a", 12.into())]);
    let condition = Some("attribute_not_exists(pk)".into());
    for return_item_on_failure in [false, true] {
        let options =
            WriteOptions { condition: condition.clone(), return_item_on_failure, ..Default::default() };
        let expected =
            Outcome::ConditionFailed { item: return_item_on_failure.then(|| old.clone()), charged_size: 6 };
        for operation in [
            Operation::Put(Put { options: options.clone(), ..put(old.clone()) }),
            Operation::Delete(Delete { key: key(), options: options.clone(), return_old: true }),
            Operation::Update(Update { options: options.clone(), ..update(ReturnValues::AllNew) }),
        ] {
            let failed = execute(operation, Some(&old));
            assert_eq!((failed.effect, failed.outcome), (Effect::None, expected.clone()));
        }
    }
}

#[test]
fn a_condition_on_an_absent_item_sees_no_attributes_not_even_the_keys() {
    let condition = Some("attribute_exists(pk)".into());
    let operation =
        Update { options: WriteOptions { condition, ..Default::default() }, ..update(ReturnValues::None) };
    let failed = execute(Operation::Update(operation), None);
    assert_eq!(failed.outcome, Outcome::ConditionFailed { item: None, charged_size: 1 });
}

#[test]
fn an_update_returns_what_return_values_asks_for() {
    let old = item(&[("pk", "p".into()), ("a", 1.into()), ("b", 2.into()), ("c", 3.into())]);
    let new = item(&[("pk", "p".into()), ("a", 11.into()), ("c", 3.into()), ("d", 10.into())]);
    let text = "SET a = a + :ten, d = :ten REMOVE b";
    for (return_values, expected) in [
        (ReturnValues::None, None),
        (ReturnValues::AllOld, Some(old.clone())),
        (ReturnValues::AllNew, Some(new.clone())),
        (ReturnValues::UpdatedOld, Some(item(&[("a", 1.into()), ("b", 2.into())]))),
        (ReturnValues::UpdatedNew, Some(item(&[("a", 11.into()), ("d", 10.into())]))),
    ] {
        let done = execute(updating(text, &[(":ten", 10.into())], return_values), Some(&old));
        assert_eq!(done.effect, Effect::Put(new.clone()));
        assert_eq!(written(&done).attributes, expected, "{return_values:?}");
    }
}

#[test]
fn what_an_update_touched_is_not_returned_where_there_is_nothing() {
    let old = item(&[("pk", "p".into()), ("a", 1.into())]);
    let removed = execute(updating("REMOVE a", &[], ReturnValues::UpdatedNew), Some(&old));
    assert_eq!(written(&removed).attributes, None);
    for return_values in [ReturnValues::AllOld, ReturnValues::UpdatedOld] {
        let created = execute(updating("SET a = :v", &[(":v", 1.into())], return_values), None);
        assert_eq!(created.effect, Effect::Put(old.clone()));
        assert_eq!(written(&created).attributes, None);
    }
}

#[test]
fn an_update_that_breaks_a_rule_changes_nothing() {
    let old = item(&[("pk", "p".into()), ("a", "x".into())]);
    let deep = (0..31).fold(AttributeValue::Null, |inner, _| AttributeValue::L(vec![inner]));
    let long = || AttributeValue::S("x".repeat(300 * 1024));
    let key_changed = "One or more parameter values were invalid: Cannot update attribute pk. \
                       This attribute is part of the key";
    for (text, values, message) in [
        ("SET pk = :v", vec![(":v", "q".into())], key_changed),
        ("REMOVE pk", vec![], key_changed),
        ("SET b = :v, c = :v", vec![(":v", long())], TOO_LARGE_UPDATE),
        ("SET b = list_append(:v, :v)", vec![(":v", AttributeValue::L(vec![deep]))], TOO_DEEP),
    ] {
        let done = execute(updating(text, &values, ReturnValues::None), Some(&old));
        assert_eq!(done.outcome, Outcome::Invalid(ApiError::validation(message)), "{text}");
        assert_eq!(done.effect, Effect::None);
    }
    let wrong = execute(updating("SET a = a + :v", &[(":v", 1.into())], ReturnValues::None), Some(&old));
    assert!(matches!(wrong.outcome, Outcome::Invalid(_)));
}

#[test]
fn a_name_that_no_item_can_hold_is_refused() {
    let Operation::Update(mut operation) = updating("SET #n = :v", &[(":v", 1.into())], ReturnValues::None)
    else {
        unreachable!("it is an update");
    };
    operation.options.bindings.names.insert("#n".into(), "x".repeat(65_536));
    assert!(matches!(execute(Operation::Update(operation), None).outcome, Outcome::Invalid(_)));
}

#[test]
fn a_filter_hides_items_but_they_are_evaluated_and_counted() {
    let items: Vec<_> = (0..6).map(|i| item(&[("pk", i.into()), ("a", (i % 2).into())])).collect();
    let bindings = bindings(&[(":one", 1.into())]);
    let read = RangeRead {
        filter: Some("a = :one".into()),
        projection: Some("pk".into()),
        bindings,
        ..range(Some(4), u64::MAX)
    };
    let page = page_of(&read, &items);
    assert_eq!((page.scanned, page.count), (4, 2));
    assert_eq!(page.items, [item(&[("pk", 1.into())]), item(&[("pk", 3.into())])]);
    assert_eq!(page.last_key, Some(item(&[("pk", 3.into())])));
    assert_eq!(page.scanned_bytes, items[..4].iter().map(|item| item.view().size()).sum::<u64>());
}

fn bindings(values: &[(&str, AttributeValue)]) -> Bindings {
    Bindings { names: Default::default(), values: (!values.is_empty()).then(|| item(values)) }
}

fn updating(text: &str, values: &[(&str, AttributeValue)], return_values: ReturnValues) -> Operation {
    let options = WriteOptions { bindings: bindings(values), ..Default::default() };
    Operation::Update(Update { update: Some(text.into()), options, ..update(return_values) })
}

#[test]
fn a_page_ends_with_the_item_that_reaches_a_limit_and_names_its_key() {
    let items: Vec<_> = (0..5).map(|i| item(&[("pk", i.into()), ("a", "x".repeat(10).into())])).collect();
    let size = items[1].view().size();
    for (read, scanned) in [
        (range(Some(2), u64::MAX), 2),
        (range(Some(5), u64::MAX), 5),
        (range(None, items[0].view().size() + size), 2),
        (range(None, 1), 1),
    ] {
        let page = page_of(&read, &items);
        assert_eq!((page.scanned, page.items.len()), (scanned, scanned as usize));
        let last = i64::from(scanned) - 1;
        assert_eq!(page.last_key, Some(item(&[("pk", last.into())])));
    }
    let whole = page_of(&range(None, u64::MAX), &items);
    assert_eq!((whole.count, whole.last_key), (5, None));
}

#[test]
fn a_count_returns_no_items() {
    let read = RangeRead { count_only: true, ..range(None, u64::MAX) };
    let page = page_of(&read, &[item(&[("pk", "p".into())])]);
    assert_eq!((page.count, page.scanned, page.scanned_bytes, page.items.len()), (1, 1, 3, 0));
}

proptest! {
    #[test]
    fn pages_that_follow_one_another_return_every_item_once(
        limit in 1_u32..7,
        max_bytes in 1_u64..200,
        lengths in prop::collection::vec(0_usize..60, 0..30),
    ) {
        let items: Vec<_> = lengths
            .iter()
            .zip(0_i64..)
            .map(|(length, i)| item(&[("pk", i.into()), ("a", "x".repeat(*length).into())]))
            .collect();
        let read = range(Some(limit), max_bytes);
        let (mut rest, mut returned) = (&items[..], Vec::new());
        loop {
            let page = page_of(&read, rest);
            prop_assert!(page.last_key.is_none() || page.scanned > 0);
            rest = &rest[page.scanned as usize..];
            returned.extend(page.items);
            if page.last_key.is_none() {
                break;
            }
        }
        prop_assert_eq!(returned, items);
    }
}

fn page_of(read: &RangeRead, items: &[EncodedItem]) -> Page {
    let mut builder = PageBuilder::new(read, &ExpressionCache::default()).unwrap();
    for item in items {
        if builder.push(item).unwrap() == Flow::Stop {
            break;
        }
    }
    builder.finish()
}
