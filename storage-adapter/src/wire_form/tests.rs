use admission::{BurstState, CapacityKind, HotKey, KeyHash, StorageLayer, StorageRefusal};
use dynamodb::value::AttributeValue;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use units::{MilliUnits, MilliUnitsPerSecond};

use super::*;

fn bytes() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..24).prop_map(Bytes::from)
}

fn key() -> impl Strategy<Value = StorageKey> {
    bytes().prop_map(StorageKey)
}

fn item() -> impl Strategy<Value = EncodedItem> {
    btree_map("[a-z]{1,3}", "[a-z]{0,6}".prop_map(AttributeValue::S), 0..3)
        .prop_map(|item| EncodedItem::encode(&item))
}

fn some_bindings() -> impl Strategy<Value = Bindings> {
    (btree_map("#[a-z]{1,3}", "[a-z]{1,3}", 0..3), option::of(item()))
        .prop_map(|(names, values)| Bindings { names, values })
}

fn text() -> impl Strategy<Value = Option<std::sync::Arc<str>>> {
    option::of("[a-z =:#]{1,12}").prop_map(|text| text.map(Into::into))
}

fn options() -> impl Strategy<Value = WriteOptions> {
    (text(), some_bindings(), any::<bool>()).prop_map(|(condition, bindings, return_item_on_failure)| {
        WriteOptions { condition, bindings, return_item_on_failure }
    })
}

fn some_return_values() -> impl Strategy<Value = ReturnValues> {
    prop_oneof![
        Just(ReturnValues::None),
        Just(ReturnValues::AllOld),
        Just(ReturnValues::UpdatedOld),
        Just(ReturnValues::AllNew),
        Just(ReturnValues::UpdatedNew),
    ]
}

fn range() -> impl Strategy<Value = RangeRead> {
    let keys = (key(), option::of(key()), any::<[bool; 3]>(), option::of(any::<u32>()), any::<u64>());
    (keys, text(), text(), some_bindings(), vec("[a-z]{1,3}", 0..3)).prop_map(
        |(keys, filter, projection, bindings, key_attributes)| {
            let (start, end, [forward, consistent, count_only], limit, max_bytes) = keys;
            RangeRead {
                start,
                end,
                forward,
                consistent,
                limit,
                max_bytes,
                filter,
                projection,
                bindings,
                count_only,
                key_attributes,
            }
        },
    )
}

fn some_operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        (key(), any::<bool>()).prop_map(|(key, consistent)| Operation::Get(Get { key, consistent })),
        (key(), item(), options(), any::<bool>()).prop_map(
            |(key, item, options, return_old)| Operation::Put(Put { key, item, options, return_old })
        ),
        (key(), options(), any::<bool>()).prop_map(|(key, options, return_old)| Operation::Delete(Delete {
            key,
            options,
            return_old
        })),
        (key(), item(), text(), options(), some_return_values()).prop_map(
            |(key, key_item, update, options, return_values)| {
                Operation::Update(Update { key, key_item, update, options, return_values })
            }
        ),
        range().prop_map(Operation::Range),
    ]
}

fn some_outcome() -> impl Strategy<Value = Outcome> {
    let page = (vec(item(), 0..4), any::<u32>(), any::<u32>(), any::<u64>(), option::of(item()));
    prop_oneof![
        option::of(item()).prop_map(Outcome::Item),
        (option::of(item()), any::<u64>(), any::<u64>()).prop_map(|(attributes, old_size, new_size)| {
            Outcome::Written(Written { attributes, old_size, new_size })
        }),
        (option::of(item()), any::<u64>())
            .prop_map(|(item, charged_size)| Outcome::ConditionFailed { item, charged_size }),
        page.prop_map(|(items, count, scanned, scanned_bytes, last_key)| {
            Outcome::Page(Page { items, count, scanned, scanned_bytes, last_key })
        }),
        "[a-z]{1,20}".prop_map(|message| Outcome::Invalid(ApiError::validation(message))),
    ]
}

proptest! {
    #[test]
    fn an_operation_arrives_as_it_was_sent(operation in some_operation()) {
        let sent = request(TableId::new(3), PartitionId::new(9), &operation);
        let encoded = prost::Message::encode_to_vec(&sent);
        let received = prost::Message::decode(encoded.as_slice()).unwrap();
        prop_assert_eq!(super::operation(received).unwrap(), (TableId::new(3), PartitionId::new(9), operation));
    }

    #[test]
    fn an_outcome_arrives_as_it_was_sent(outcome in some_outcome()) {
        let encoded = prost::Message::encode_to_vec(&response(outcome.clone()));
        let received = prost::Message::decode(encoded.as_slice()).unwrap();
        prop_assert_eq!(super::outcome(received).unwrap(), outcome);
    }
}

#[test]
fn a_redirect_carries_the_newer_route_and_others() {
    let newer = Route {
        table: TableId::new(1),
        partition: PartitionId::new(2),
        range: KeyRange { start: Bytes::from_static(b"a"), end: None },
        members: vec![Member { node: NodeId::new(3), zone: Zone::new(2), kind: MemberKind::Log }],
        leader: Some(NodeId::new(3)),
        version: RouteVersion { configuration: 4, term: Term::new(5) },
    };
    let error = StoreError::Redirect(Box::new(newer.clone()));
    assert_eq!(outcome(refusal(&error)), Err(error.clone()));

    let others = [Route { partition: PartitionId::new(9), ..newer.clone() }];
    let mut response = redirect(&newer, &others);
    assert_eq!(others_told(&mut response), others);
    assert_eq!(others_told(&mut response), []);
    assert_eq!(outcome(response), Err(error));
    assert_eq!(others_told(&mut refusal(&StoreError::Unknown)), []);
}

fn some_refusal() -> impl Strategy<Value = StorageRefusal> {
    let burst =
        prop_oneof![Just(BurstState::Empty), Just(BurstState::NodeBusy), Just(BurstState::MembersBusy),];
    let hot_key = option::of((any::<u64>(), 0..=1000_u16));
    (any::<[bool; 2]>(), any::<u32>(), any::<[u64; 3]>(), burst, hot_key).prop_map(
        |([node, write], millis, [quota, level, banked], burst, hot_key)| StorageRefusal {
            layer: if node { StorageLayer::Node } else { StorageLayer::Partition },
            kind: if write { CapacityKind::Write } else { CapacityKind::Read },
            retry_after: Duration::from_millis(millis.into()),
            quota: MilliUnitsPerSecond::new(quota),
            level: MilliUnits::new(level),
            banked: MilliUnits::new(banked),
            burst,
            hot_key: hot_key.map(|(hash, permille)| HotKey { hash: KeyHash::new(hash), permille }),
        },
    )
}

proptest! {
    #[test]
    fn a_buckets_refusal_arrives_as_it_was_sent(sent in some_refusal()) {
        let error = StoreError::Throttled(Box::new(sent));
        let encoded = prost::Message::encode_to_vec(&refusal(&error));
        let received = prost::Message::decode(encoded.as_slice()).unwrap();
        prop_assert_eq!(outcome(received), Err(error));
    }
}

#[test]
fn a_wait_is_rounded_up_to_milliseconds() {
    assert_eq!(millis(Duration::from_nanos(1)), 1);
    assert_eq!(millis(Duration::from_millis(7)), 7);
    assert_eq!(millis(Duration::MAX), u32::MAX);
}

#[test]
fn an_item_damaged_on_the_way_is_refused() {
    let mut damaged = response(Outcome::Item(Some(EncodedItem(Bytes::from_static(b"item")))));
    if let Some(proto::execute_response::Outcome::Item(proto::Item { found: Some(found) })) =
        &mut damaged.outcome
    {
        found.crc32c ^= 1;
    }
    assert_eq!(outcome(damaged), Err(StoreError::Corrupt));
}
