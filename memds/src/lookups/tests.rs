use dynamodb::item_builder::ItemBuilder;
use proptest::prelude::*;
use prost::Message as _;
use routing::{KeyRange, Member, MemberKind, Route, RouteEntry, RouteVersion};
use units::{NodeId, PartitionId, Term, Zone};
use wire::proto::routing::{LookupAnswer as Answer, LookupAnswers, LookupResult};

use super::*;

const ORDERS: TableId = TableId::new(7);
const SEED: u64 = 99;

#[test]
fn every_lookup_is_answered_in_its_place() {
    let known = snapshot(true);
    let lookups = [
        by_name("orders"),
        LookupEntry { table: 7, key: Some(Bytes::from_static(b"\x90")), ..Default::default() },
        by_name("other"),
        LookupEntry { table: 8, ..Default::default() },
    ];

    let (answers, tally) = ask(&known, lookups);

    assert_eq!(
        results(&answers),
        [LookupResult::Found, LookupResult::Found, LookupResult::NoTable, LookupResult::NoTable]
    );
    assert_eq!(answers[0].start, None, "only the table was asked for");
    assert_eq!((route(&answers[1]).partition, answers[1].table_id), (PartitionId::new(2), 7));
    assert_eq!(tally, Tally { found: 2, no_table: 2, ..Tally::default() });
}

#[test]
fn the_route_comes_whatever_the_asker_knows_and_the_descriptor_only_if_it_is_newer() {
    let known = snapshot(true);
    let lookup = |known_table_version| LookupEntry {
        table: 7,
        known_table_version,
        key: Some(Bytes::new()),
        ..Default::default()
    };
    let (answers, _) = ask(&known, [lookup(2), lookup(3), lookup(4)]);
    assert_eq!(answers.iter().map(|answer| answer.table.is_some()).collect::<Vec<_>>(), [true, false, false]);
    for answer in &answers {
        assert_eq!(route(answer).partition, PartitionId::new(1));
    }
    assert_eq!(answers[0].table, Some(descriptor("orders")));
}

#[test]
fn a_key_is_made_of_the_attributes_that_a_request_happens_to_have() {
    let known = snapshot(true);
    let attributes = item(&[("customer", "c-1"), ("order", "o-9"), ("total", "3")]);
    let keys = known.by_number(ORDERS).unwrap().keys.clone().unwrap();
    let key = keys.routing_key(attributes.view(), SEED).unwrap();
    let lookup = LookupEntry { attributes: Some(attributes.0), ..by_name("orders") };

    let (answers, tally) = ask(&known, [lookup]);

    let found = known.routes().holder(ORDERS, &key.0);
    assert_eq!(Some(route(&answers[0])), found);
    assert!(found.is_some_and(|route| route.holds(&key.0)));
    assert_eq!(tally.found, 1);
}

#[test]
fn without_the_partition_key_the_table_is_answered_alone() {
    let known = snapshot(true);
    let lookup = LookupEntry { attributes: Some(item(&[("order", "o-9")]).0), ..by_name("orders") };
    let (answers, tally) = ask(&known, [lookup]);
    assert_eq!((results(&answers), answers[0].start.clone()), (vec![LookupResult::Found], None));
    assert!(answers[0].table.is_some());
    assert_eq!(tally, Tally { no_key: 1, ..Tally::default() });
}

#[test]
fn a_server_without_the_whole_catalog_denies_no_table() {
    let (answers, tally) = ask(&snapshot(false), [by_name("other"), by_name("orders")]);
    assert_eq!(results(&answers), [LookupResult::NotReady, LookupResult::Found]);
    assert_eq!(tally, Tally { not_ready: 1, found: 1, ..Tally::default() });
}

#[test]
fn a_route_that_is_not_known_is_counted_apart() {
    let mut known = snapshot(true);
    known.learn_table(Table::read(descriptor_of(9, "new")).unwrap());
    let (answers, tally) = ask(&known, [LookupEntry { key: Some(Bytes::new()), ..by_name("new") }]);
    assert_eq!((results(&answers), &answers[0].start), (vec![LookupResult::Found], &None));
    assert_eq!(tally.no_route, 1);
}

proptest! {
    #[test]
    fn whatever_bytes_come_as_key_or_attributes_the_batch_is_answered(
        key in proptest::collection::vec(any::<u8>(), 0..5_000),
        attributes in proptest::collection::vec(any::<u8>(), 0..80),
        cut in 0_usize..40,
        flipped in any::<u8>(),
    ) {
        let mut damaged = item(&[("customer", "c-1"), ("order", "o-9")]).0.to_vec();
        let place = cut % damaged.len();
        damaged[place] ^= flipped;
        let lookups = [
            LookupEntry { key: Some(key.into()), ..by_name("orders") },
            LookupEntry { attributes: Some(attributes.into()), ..by_name("orders") },
            LookupEntry { attributes: Some(damaged.into()), ..by_name("orders") },
        ];
        let (answers, tally) = ask(&snapshot(true), lookups);
        prop_assert_eq!((answers.len(), tally.total()), (3, 3));
    }
}

fn ask<const N: usize>(snapshot: &Snapshot, lookups: [LookupEntry; N]) -> (Vec<Answer>, Tally) {
    let (encoded, tally) = answer(snapshot, &LookupBatch { lookups: lookups.to_vec() });
    (LookupAnswers::decode(encoded).expect("it is well-formed").answers, tally)
}

fn results(answers: &[Answer]) -> Vec<LookupResult> {
    answers.iter().map(Answer::result).collect()
}

fn route(answer: &Answer) -> Route {
    let start = answer.start.as_ref().expect("a route was found");
    let entry = RouteEntry { start, value: &answer.entry };
    entry.route(TableId::new(answer.table_id)).expect("it is well-formed")
}

fn by_name(name: &str) -> LookupEntry {
    LookupEntry { table_name: name.to_owned(), ..Default::default() }
}

fn item(strings: &[(&str, &str)]) -> EncodedItem {
    let mut builder = ItemBuilder::new();
    for (name, value) in strings {
        builder.name(name).unwrap();
        builder.string(value);
    }
    builder.finish().unwrap()
}

/// The table `orders`, in two partitions.
fn snapshot(catalog_is_whole: bool) -> Snapshot {
    let mut snapshot = Snapshot::default();
    snapshot.learn_table(Table::read(descriptor("orders")).unwrap());
    let middle = Bytes::from_static(b"\x80");
    for (partition, start, end) in [(1, Bytes::new(), Some(middle.clone())), (2, middle, None)] {
        snapshot.learn_route(Route {
            table: ORDERS,
            partition: PartitionId::new(partition),
            range: KeyRange { start, end },
            members: vec![Member { node: NodeId::new(1), zone: Zone::new(0), kind: MemberKind::Storage }],
            leader: Some(NodeId::new(1)),
            version: RouteVersion { configuration: 1, term: Term::new(1) },
        });
    }
    if catalog_is_whole {
        snapshot.hears_the_whole();
    }
    snapshot
}

fn descriptor(name: &str) -> Bytes {
    descriptor_of(ORDERS.get(), name)
}

fn descriptor_of(id: u64, name: &str) -> Bytes {
    let keys = r#"{"partition":{"name":"customer","kind":"S"},"sort":{"name":"order","kind":"S"}}"#;
    format!(r#"{{"id":{id},"name":"{name}","version":3,"keys":{keys},"hash_seed":{SEED}}}"#).into()
}
