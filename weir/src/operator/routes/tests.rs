use dynamodb::table::{Billing, KeyAttribute, KeySchema, TableStatus};
use memds::TableRoutes;

use super::*;

#[test]
fn servers_that_agree_are_summed_up_in_the_last_line() {
    let view =
        TableView::of("orders", &said(&[("memds-1", true, Some(7)), ("memds-2", true, Some(7))])).unwrap();
    let shown = view.shown(false);
    assert_eq!(shown.lines().last(), Some("2 partitions, 2 of 2 servers agree"), "{shown}");
    assert!(shown.contains("80000000…") && shown.contains("1/z0 2/z1") && shown.contains("1.7"), "{shown}");
    assert!(!shown.contains('!'), "{shown}");
    assert!(view.shown(true).contains(&"80000000".repeat(4)));
}

#[test]
fn a_server_that_says_something_else_is_named_with_what_it_says() {
    let view =
        TableView::of("orders", &said(&[("memds-1", true, Some(7)), ("memds-2", true, Some(9))])).unwrap();
    let shown = view.shown(false);
    assert!(
        shown.contains("! memds-1 differs on partition 1 (from start): version 1.7 instead of 1.9"),
        "{shown}"
    );
    assert_eq!(shown.lines().last(), Some("2 partitions, 1 of 2 servers agree"));
    assert_eq!((view.servers["memds-1"].differs_on, view.servers["memds-2"].differs_on), (2, 0));
}

#[test]
fn a_server_that_is_silent_or_knows_no_such_table_is_told() {
    let mut said = said(&[("memds-1", true, Some(7)), ("memds-2", true, None)]);
    said.missing.insert("memds-3".to_owned(), "no answer".to_owned());
    let shown = TableView::of("orders", &said).unwrap().shown(false);
    assert!(shown.contains("! memds-2 knows no such table"), "{shown}");
    assert!(shown.contains("! memds-3 is silent: no answer"), "{shown}");
    assert_eq!(shown.lines().last(), Some("2 partitions, 1 of 2 servers agree, 1 silent"));
}

#[test]
fn many_differences_are_shortened() {
    let mut lines: Vec<_> = (0..100).map(|line: u32| line.to_string()).collect();
    shorten(&mut lines);
    assert_eq!((lines.len(), lines.last().map(String::as_str)), (LINES_SHOWN + 1, Some("! … and 80 more")));
}

#[test]
fn a_table_is_unknown_only_where_the_whole_catalog_is_known() {
    let absent = TableView::of("orders", &said(&[("memds-1", true, None)])).unwrap_err();
    assert!(matches!(absent, Failure::NotFound(_)), "{absent}");
    let filling =
        TableView::of("orders", &said(&[("memds-1", true, None), ("memds-2", false, None)])).unwrap_err();
    assert!(matches!(filling, Failure::Unreachable(_)), "{filling}");
}

#[test]
fn a_key_finds_the_partition_that_holds_it() {
    let table = descriptor();
    let key = storage_key(&table, r#"{"pk": {"S": "a"}, "sk": {"N": "1"}}"#).unwrap();
    let place = storage_key(&table, r#"{"pk": {"S": "a"}}"#).unwrap();
    assert!(key.starts_with(&place), "without a sort key it is where the items of the partition key begin");
    let [first, second] = partitions(1).try_into().unwrap();
    assert!(holds(&first, &key) != holds(&second, &key));
    assert!(holds(&first, "7fff") && holds(&second, &"80000000".repeat(4)) && holds(&second, "ff"));
}

#[test]
fn a_key_that_is_none_is_refused_with_what_it_should_be() {
    for wrong in ["", "a", "[]", r#"{"pk": "a"}"#, r#"{"pk": {"N": "1"}}"#, r#"{"id": {"S": "a"}}"#] {
        let refused = storage_key(&descriptor(), wrong).unwrap_err();
        assert!(matches!(refused, Failure::Refused(_)), "{wrong}");
    }
    let refused = storage_key(&descriptor(), r#"{"id": {"S": "a"}}"#).unwrap_err();
    assert_eq!(refused.to_string(), "--key: the key of table orders is pk (S) and sk (N)");
}

#[test]
fn names_travel_in_urls() {
    assert_eq!(escaped("a-b_c.9"), "a-b_c.9");
    assert_eq!(escaped("a b&c"), "a%20b%26c");
}

fn said(servers: &[(&str, bool, Option<u64>)]) -> Said {
    let server = |(name, ready, term): &(&str, bool, Option<u64>)| {
        let routes = term.map(|term| TableRoutes {
            table: 4,
            name: "orders".to_owned(),
            version: 1,
            partitions: partitions(term),
        });
        let descriptor = routes.is_some().then(descriptor);
        ((*name).to_owned(), ServerRoutes { address: String::new(), ready: *ready, descriptor, routes })
    };
    Said { given: servers.iter().map(server).collect(), missing: BTreeMap::new() }
}

fn partitions(term: u64) -> Vec<PartitionRoute> {
    let middle = "80000000".repeat(4);
    let route = |partition, start: &str, end: Option<&str>| PartitionRoute {
        partition,
        start: start.to_owned(),
        end: end.map(str::to_owned),
        members: vec![(1, 0, false), (2, 1, false)],
        leader: Some(1),
        configuration: 1,
        term,
    };
    vec![route(1, "", Some(&middle)), route(2, &middle, None)]
}

fn descriptor() -> TableDescriptor {
    let attribute = |name: &str, kind| KeyAttribute { name: name.to_owned(), kind };
    TableDescriptor {
        id: 4,
        name: "orders".to_owned(),
        uuid: String::new(),
        arn: String::new(),
        version: 1,
        status: TableStatus::Active,
        keys: KeySchema { partition: attribute("pk", KeyType::S), sort: Some(attribute("sk", KeyType::N)) },
        attribute_definitions: Vec::new(),
        billing: Billing::OnDemand { max_read: None, max_write: None, since_ms: 0 },
        quotas: None,
        created_at_ms: 0,
        hash_seed: 5,
        deletion_protection: false,
        table_class: None,
        tags: Vec::new(),
        partitions: 2,
        item_count: 0,
        size_bytes: 0,
    }
}
