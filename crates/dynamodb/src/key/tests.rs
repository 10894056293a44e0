use proptest::prelude::*;

use super::*;
use crate::value::{AttributeValue, Item, arbitrary};

const SEED: u64 = 7;

fn schema(partition: KeyType, sort: Option<KeyType>) -> KeySchema {
    let attribute = |name: &str, kind| KeyAttribute { name: name.into(), kind };
    KeySchema { partition: attribute("pk", partition), sort: sort.map(|kind| attribute("sk", kind)) }
}

fn item(attributes: &[(&str, AttributeValue)]) -> EncodedItem {
    let pairs = attributes.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
    EncodedItem::encode(&pairs.collect::<Item>())
}

fn sort_value() -> impl Strategy<Value = AttributeValue> {
    prop_oneof![
        "[a-c]{1,3}".prop_map(AttributeValue::S),
        arbitrary::number().prop_map(AttributeValue::N),
        prop::collection::vec(prop_oneof![Just(0), Just(0xFF), any::<u8>()], 1..4)
            .prop_map(AttributeValue::B),
    ]
}

/// A sort value, and two to compare it with, of one type.
fn sort_values() -> impl Strategy<Value = [AttributeValue; 3]> {
    [sort_value(), sort_value(), sort_value()]
        .prop_filter("of one type", |[a, b, c]| a.kind() == b.kind() && b.kind() == c.kind())
}

fn key_type(value: &AttributeValue) -> KeyType {
    match value {
        AttributeValue::N(_) => KeyType::N,
        AttributeValue::B(_) => KeyType::B,
        _ => KeyType::S,
    }
}

fn begins(value: ValueRef<'_>, prefix: ValueRef<'_>) -> bool {
    value.scalar_bytes().unwrap().starts_with(prefix.scalar_bytes().unwrap())
}

proptest! {
    #[test]
    fn under_one_partition_key_storage_keys_are_in_the_sort_keys_order([a, b, _] in sort_values()) {
        let keys = schema(KeyType::S, Some(key_type(&a)));
        let [x, y] = [a, b].map(|sort| item(&[("pk", "p".into()), ("sk", sort)]));
        let [k, l] = [&x, &y].map(|item| keys.storage_key(item.view(), SEED).unwrap());
        let expected = x.view().get("sk").unwrap().compare(y.view().get("sk").unwrap());
        prop_assert_eq!(Some(k.cmp(&l)), expected);
    }

    #[test]
    fn a_query_reads_exactly_the_keys_that_fulfil_its_condition(
        [value, low, high] in sort_values(),
        same_partition in prop::bool::weighted(0.8),
    ) {
        use SortCondition as Sort;
        let keys = schema(KeyType::S, Some(key_type(&value)));
        let stored_under = if same_partition { "p" } else { "q" };
        let stored = item(&[("pk", stored_under.into()), ("sk", value)]);
        let values = item(&[("high", high), ("low", low), ("pk", "p".into())]);
        let [low, high, partition] = ["low", "high", "pk"].map(|name| values.view().get(name).unwrap());
        let sort = stored.view().get("sk").unwrap();
        let order = sort.compare(low).unwrap();
        let key = keys.storage_key(stored.view(), SEED).unwrap();

        for (condition, fulfilled) in [
            (None, true),
            (Some(Sort::Equal(low)), order.is_eq()),
            (Some(Sort::Less(low)), order.is_lt()),
            (Some(Sort::LessOrEqual(low)), order.is_le()),
            (Some(Sort::Greater(low)), order.is_gt()),
            (Some(Sort::GreaterOrEqual(low)), order.is_ge()),
            (Some(Sort::Between(low, high)), order.is_ge() && sort.compare(high).unwrap().is_le()),
        ] {
            let bounds = keys.bounds(partition, condition, SEED).unwrap();
            prop_assert_eq!(within(&key, &bounds), same_partition && fulfilled, "{:?}", condition);
        }
        if sort.kind() != ValueKind::N {
            let bounds = keys.bounds(partition, Some(Sort::BeginsWith(low)), SEED).unwrap();
            prop_assert_eq!(within(&key, &bounds), same_partition && begins(sort, low));
        }
    }

    #[test]
    fn shares_of_the_key_space_are_even_and_leave_nothing_out(count in 1_u32..=5000) {
        let starts = partition_starts(count);
        prop_assert_eq!(starts.len(), count as usize);
        prop_assert!(starts[0].is_empty());
        let number = |start: &Bytes| match start.len() {
            0 => 0,
            _ => u128::from_be_bytes(start[..].try_into().unwrap()),
        };
        let even = u128::MAX / u128::from(count);
        for pair in starts.windows(2) {
            let width = number(&pair[1]) - number(&pair[0]);
            prop_assert!(width.abs_diff(even) <= 1);
        }
        for segment in 0..count.min(50) {
            let bounds = segment_bounds(segment, count);
            prop_assert_eq!(&bounds.start.0, &starts[segment as usize]);
            let next = starts.get(segment as usize + 1);
            prop_assert_eq!(bounds.end.as_ref().map(|end| &end.0), next);
        }
    }
}

#[test]
fn the_successor_is_the_next_key() {
    let key = StorageKey(Bytes::from_static(b"ab"));
    assert!(key < key.successor());
    assert!(key.successor() <= StorageKey(Bytes::from_static(b"ab\0")));
}

#[test]
fn partition_keys_that_begin_alike_do_not_share_a_range() {
    let keys = schema(KeyType::S, Some(KeyType::S));
    let values = item(&[("a", "ab".into())]);
    let bounds = keys.bounds(values.view().get("a").unwrap(), None, SEED).unwrap();
    let other = item(&[("pk", "a".into()), ("sk", "b".into())]);
    assert!(!within(&keys.storage_key(other.view(), SEED).unwrap(), &bounds));
}

#[test]
fn an_items_keys_are_refused_in_dynamodbs_words() {
    let keys = schema(KeyType::S, Some(KeyType::N));
    let message = |attributes: &[(&str, AttributeValue)]| {
        keys.storage_key(item(attributes).view(), SEED).unwrap_err().message.into_owned()
    };
    assert_eq!(
        message(&[("sk", 1.into())]),
        "One or more parameter values were invalid: Missing the key pk in the item"
    );
    assert_eq!(
        message(&[("pk", 1.into()), ("sk", 1.into())]),
        "One or more parameter values were invalid: Type mismatch for key pk expected: S actual: N"
    );
    assert_eq!(
        message(&[("pk", "".into()), ("sk", 1.into())]),
        "One or more parameter values are not valid. The AttributeValue for a key attribute cannot \
         contain an empty string value. Key: pk"
    );
    assert_eq!(
        message(&[("pk", "x".repeat(2049).into()), ("sk", 1.into())]),
        "One or more parameter values were invalid: Size of hashkey has exceeded the maximum size \
         limit of2048 bytes"
    );
    assert!(
        keys.storage_key(item(&[("pk", "x".repeat(2048).into()), ("sk", 1.into())]).view(), SEED).is_ok()
    );
}

#[test]
fn a_key_parameter_is_the_key_attributes_and_nothing_else() {
    let keys = schema(KeyType::S, Some(KeyType::S));
    let of = |attributes: &[(&str, AttributeValue)]| keys.storage_key_of_key(item(attributes).view(), SEED);
    let (pk, sk) = (("pk", "p".into()), ("sk", "s".into()));

    assert!(of(&[pk.clone(), sk.clone()]).is_ok());
    for wrong in [vec![pk.clone()], vec![pk.clone(), ("x", "s".into())], vec![pk.clone(), ("sk", 1.into())]] {
        assert_eq!(of(&wrong).unwrap_err().message, NO_MATCH);
    }
    assert_eq!(of(&[pk, sk, ("x", 1.into())]).unwrap_err().message, NO_MATCH);
}

#[test]
fn a_key_item_is_the_key_attributes_of_an_item() {
    let keys = schema(KeyType::S, Some(KeyType::N));
    let whole = item(&[("pk", "p".into()), ("sk", 1.into()), ("other", true.into())]);
    assert_eq!(keys.key_item(whole.view()), item(&[("pk", "p".into()), ("sk", 1.into())]));
}

fn within(key: &StorageKey, bounds: &KeyBounds) -> bool {
    *key >= bounds.start && bounds.end.as_ref().is_none_or(|end| key < end)
}

/// The published value of XXH3 (128 bits) of nothing: tables on disk depend on this function.
#[test]
fn the_stored_hash_is_xxh3() {
    assert_eq!(XxHash3_128::oneshot(b""), 0x99aa_06d3_0147_98d8_6001_c324_468d_497f);
    assert_ne!(XxHash3_128::oneshot_with_seed(1, b"a"), XxHash3_128::oneshot_with_seed(2, b"a"));
}
