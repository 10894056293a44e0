//! A walk over any partitions, in pages of any size, reads what one partition would have answered.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::execute::{Flow, PageBuilder};
use crate::table::{Billing, KeyAttribute, KeySchema, KeyType, TableStatus};
use crate::value::{AttributeValue, Item};

type Stored = BTreeMap<StorageKey, EncodedItem>;

proptest! {
    #[test]
    fn partitions_do_not_show_in_a_page(
        keys in prop::collection::btree_set(prop::collection::vec(any::<u8>(), 1..3), 0..40),
        cuts in prop::collection::btree_set(prop::collection::vec(any::<u8>(), 1..3), 0..6),
        range in (prop::collection::vec(any::<u8>(), 0..3), prop::option::of(prop::collection::vec(any::<u8>(), 0..3))),
        forward in any::<bool>(),
        limit in prop::option::of(1_u32..8),
    ) {
        let stored = stored(&keys);
        let bounds = KeyBounds { start: key(&range.0), end: range.1.as_deref().map(key) };
        let cuts: Vec<Vec<u8>> = cuts.into_iter().collect();

        let whole = walk(&stored, &[], &bounds, forward, limit);
        let pieces = walk(&stored, &cuts, &bounds, forward, limit);

        prop_assert_eq!(whole, pieces);
    }

    #[test]
    fn the_key_to_route_by_is_in_what_is_still_to_be_read(end in prop::collection::vec(any::<u8>(), 1..40)) {
        let end = key(&end);
        let last = last_key_before(Some(&end));
        prop_assert!(last < end);
        // Every storage key before the end is at or before it.
        let mut before = end.0.to_vec();
        before.pop();
        prop_assert!(key(&before) <= last);
    }
}

#[test]
fn an_empty_range_is_read_nowhere() {
    let bounds = KeyBounds { start: key(b"b"), end: Some(key(b"b")) };
    let walk = RangeWalk::new(&table(), bounds, true, CheckedExpressions::default(), parameters(None));
    assert_eq!(walk.routing_key(), None);
}

#[test]
fn a_page_ends_with_the_item_that_fills_it_and_says_where() {
    let mut walk =
        RangeWalk::new(&table(), everything(), true, CheckedExpressions::default(), parameters(None));
    let last = item(b"x");
    let page = Page { scanned: 1, scanned_bytes: MAX_PAGE_BYTES, last_key: Some(last), ..Page::default() };

    walk.absorb(page, b"", None);

    assert_eq!(walk.routing_key(), None);
    let body = String::from_utf8(walk.answer().body).unwrap();
    assert_eq!(body, r#"{"Items":[],"Count":0,"ScannedCount":1,"LastEvaluatedKey":{"k":{"B":"eA=="}}}"#);
}

/// Reads pages until one is complete, from partitions cut at `cuts`: items and last key.
fn walk(
    stored: &Stored,
    cuts: &[Vec<u8>],
    bounds: &KeyBounds,
    forward: bool,
    limit: Option<u32>,
) -> (Vec<EncodedItem>, u32, Option<EncodedItem>) {
    let mut walk =
        RangeWalk::new(&table(), bounds.clone(), forward, CheckedExpressions::default(), parameters(limit));
    while let Some(key) = walk.routing_key() {
        let after = cuts.partition_point(|cut| **cut <= *key.0);
        let start = if after == 0 { &[][..] } else { &cuts[after - 1] };
        let end = cuts.get(after).map(Vec::as_slice);
        let read = walk.read_in(start, end);
        assert!(*read.start.0 >= *start, "only the partition's keys are asked of it");
        walk.absorb(page(stored, &read), start, end);
    }
    (walk.page.items, walk.page.scanned, walk.page.last_key)
}

fn page(stored: &Stored, read: &RangeRead) -> Page {
    let cache = ExpressionCache::new();
    let mut builder = PageBuilder::new(read, &cache).unwrap();
    let within = |key: &StorageKey| *key >= read.start && read.end.as_ref().is_none_or(|end| key < end);
    let mut items: Vec<&EncodedItem> =
        stored.iter().filter(|(key, _)| within(key)).map(|(_, item)| item).collect();
    if !read.forward {
        items.reverse();
    }
    for item in items {
        if builder.push(item).unwrap() == Flow::Stop {
            break;
        }
    }
    builder.finish()
}

fn stored(keys: &std::collections::BTreeSet<Vec<u8>>) -> Stored {
    keys.iter().map(|bytes| (key(bytes), item(bytes))).collect()
}

fn key(bytes: &[u8]) -> StorageKey {
    StorageKey(Bytes::copy_from_slice(bytes))
}

fn item(bytes: &[u8]) -> EncodedItem {
    EncodedItem::encode(&Item::from([("k".to_owned(), AttributeValue::B(bytes.to_vec()))]))
}

fn everything() -> KeyBounds {
    KeyBounds { start: key(b""), end: None }
}

fn parameters(limit: Option<u32>) -> PageParameters {
    PageParameters { limit, consistent: true, count_only: false, capacity: ReturnConsumedCapacity::None }
}

fn table() -> TableDescriptor {
    TableDescriptor {
        id: 1,
        name: "t".to_owned(),
        uuid: String::new(),
        arn: String::new(),
        version: 1,
        status: TableStatus::Active,
        keys: KeySchema { partition: KeyAttribute { name: "k".to_owned(), kind: KeyType::B }, sort: None },
        attribute_definitions: Vec::new(),
        billing: Billing::OnDemand { max_read: None, max_write: None, since_ms: 0 },
        created_at_ms: 0,
        hash_seed: 0,
        deletion_protection: false,
        table_class: None,
        tags: Vec::new(),
        partitions: 1,
        item_count: 0,
        size_bytes: 0,
        quotas: None,
    }
}
