use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::item_builder::BuildError;
use crate::value::arbitrary;

proptest! {
    #[test]
    fn decoding_gives_back_what_was_encoded(item in arbitrary::item()) {
        let encoded = EncodedItem::encode(&item);
        prop_assert_eq!(EncodedItem::parse(encoded.0.clone()), Ok(encoded.clone()));
        prop_assert_eq!(encoded.decode(), item);
    }

    #[test]
    fn items_are_equal_exactly_when_their_bytes_are(a in arbitrary::item(), b in arbitrary::item()) {
        prop_assert_eq!(a == b, EncodedItem::encode(&a) == EncodedItem::encode(&b));
    }

    #[test]
    fn attributes_may_be_built_in_any_order(
        (item, order) in arbitrary::item().prop_flat_map(|item| {
            let names: Vec<String> = item.keys().cloned().collect();
            (Just(item), Just(names).prop_shuffle())
        })
    ) {
        let mut builder = ItemBuilder::new();
        for name in &order {
            builder.name(name).unwrap();
            builder.value(&item[name]);
        }
        prop_assert_eq!(builder.finish().unwrap(), EncodedItem::encode(&item));
    }

    #[test]
    fn an_attribute_is_found_exactly_when_the_item_has_it(item in arbitrary::item(), name in "[a-e]{0,2}") {
        let encoded = EncodedItem::encode(&item);
        for name in item.keys().chain([&name]) {
            let found = encoded.view().get(name).map(ValueRef::to_value);
            prop_assert_eq!(found.as_ref(), item.get(name));
        }
    }

    #[test]
    fn scalars_compare_as_their_values(a in arbitrary::value(), b in arbitrary::value()) {
        let expected = match (&a, &b) {
            (AttributeValue::S(a), AttributeValue::S(b)) => Some(a.as_bytes().cmp(b.as_bytes())),
            (AttributeValue::N(a), AttributeValue::N(b)) => {
                Some(a.to_big_decimal().cmp(&b.to_big_decimal()))
            }
            (AttributeValue::B(a), AttributeValue::B(b)) => Some(a.cmp(b)),
            _ => None,
        };
        let item = EncodedItem::encode(&Item::from([("a".into(), a), ("b".into(), b)]));
        let [a, b] = ["a", "b"].map(|name| item.view().get(name).unwrap());
        prop_assert_eq!(a.compare(b), expected);
    }

    #[test]
    fn a_size_is_the_sum_of_its_parts(item in arbitrary::item()) {
        let expected: usize = item.iter().map(|(name, value)| name.len() + naive_size(value)).sum();
        prop_assert_eq!(EncodedItem::encode(&item).view().size(), expected as u64);
    }

    #[test]
    fn foreign_bytes_are_refused_or_are_some_items_encoding(
        bytes in vec(prop_oneof![0_u8..12, any::<u8>()], 0..40)
    ) {
        check_foreign(bytes)?;
    }

    #[test]
    fn damaged_items_are_refused_or_are_some_items_encoding(
        item in arbitrary::item(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..3),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = EncodedItem::encode(&item).0.to_vec();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        check_foreign(bytes.clone())?;
        bytes.truncate(cut.index(bytes.len()));
        check_foreign(bytes)?;
    }
}

#[test]
fn containers_of_more_than_64_kb_are_navigated_too() {
    let list: Vec<AttributeValue> = (0..20_000).map(AttributeValue::from).collect();
    let map = (0..9_000_i64).map(|i| (format!("name{i}"), i.into())).collect();
    let item = Item::from([
        ("list".into(), AttributeValue::L(list)),
        ("map".into(), AttributeValue::M(map)),
        ("text".into(), AttributeValue::S("x".repeat(70_000))),
        ("empty".into(), AttributeValue::L(vec![])),
    ]);

    let encoded = EncodedItem::encode(&item);

    assert_eq!(encoded.decode(), item);
    assert_eq!(EncodedItem::parse(encoded.0.clone()), Ok(encoded.clone()));
    let list = encoded.view().get("list").and_then(ValueRef::as_list).unwrap();
    assert_eq!(list.get(19_999).map(ValueRef::to_value), Some(19_999.into()));
    assert_eq!(list.get(20_000), None);
    let map = encoded.view().get("map").and_then(ValueRef::as_map).unwrap();
    assert_eq!(map.get("name8999").map(ValueRef::to_value), Some(8_999.into()));
}

#[test]
fn equal_names_and_equal_elements_are_refused() {
    let mut builder = ItemBuilder::new();
    for name in ["b", "a", "b"] {
        builder.name(name).unwrap();
        builder.null();
    }
    assert_eq!(builder.finish(), Err(BuildError::DuplicateName("b".into())));

    let mut builder = ItemBuilder::new();
    builder.name("set").unwrap();
    builder.begin_set(ValueKind::SS);
    for element in ["z", "a", "z"] {
        builder.element(element.as_bytes());
    }
    let elements = ["z", "a", "z"].map(|element| element.as_bytes().to_vec()).to_vec();
    assert_eq!(builder.end(), Err(BuildError::DuplicateElement(elements)));
}

#[test]
fn sets_are_equal_whatever_the_order_and_know_their_elements() {
    let numbers =
        |texts: &[&str]| AttributeValue::number_set(texts.iter().map(|text| Number::parse(text).unwrap()));
    let item = EncodedItem::encode(&Item::from([
        ("a".into(), numbers(&["1.0", "-2", "30"])),
        ("b".into(), numbers(&["3e1", "1", "-2.00"])),
        ("in".into(), Number::parse("30.0").unwrap().into()),
        ("text".into(), "30".into()),
    ]));
    let get = |name| item.view().get(name).unwrap();

    assert_eq!(get("a"), get("b"));
    let set = get("a").as_set().unwrap();
    assert!(set.contains(get("in")));
    assert!(!set.contains(get("text")));
    assert_eq!((set.len(), set.element_kind()), (3, ValueKind::N));
}

#[test]
fn nesting_past_the_limit_is_refused_without_recursing_further() {
    let nested = |levels: usize| {
        let leaf = AttributeValue::Null;
        (0..levels).fold(leaf, |inner, _| AttributeValue::L(vec![inner]))
    };
    for (levels, accepted) in [(32, true), (40, false), (400, false)] {
        let item = EncodedItem::encode(&Item::from([("a".into(), nested(levels))]));
        assert_eq!(EncodedItem::parse(item.0).is_ok(), accepted, "{levels}");
    }
}

fn check_foreign(bytes: Vec<u8>) -> Result<(), TestCaseError> {
    if let Ok(item) = EncodedItem::parse(Bytes::from(bytes)) {
        prop_assert_eq!(EncodedItem::encode(&item.decode()), item);
    }
    Ok(())
}

fn naive_size(value: &AttributeValue) -> usize {
    let number = |n: &Number| usize::try_from(crate::number::size_of(n.as_bytes())).unwrap();
    match value {
        AttributeValue::S(text) => text.len(),
        AttributeValue::N(n) => number(n),
        AttributeValue::B(bytes) => bytes.len(),
        AttributeValue::Bool(_) | AttributeValue::Null => 1,
        AttributeValue::L(list) => 3 + list.iter().map(|value| 1 + naive_size(value)).sum::<usize>(),
        AttributeValue::M(map) => {
            3 + map.iter().map(|(name, value)| 1 + name.len() + naive_size(value)).sum::<usize>()
        }
        AttributeValue::SS(set) => set.iter().map(String::len).sum(),
        AttributeValue::NS(set) => set.iter().map(number).sum(),
        AttributeValue::BS(set) => set.iter().map(Vec::len).sum(),
    }
}
