use bytes::Bytes;
use proptest::prelude::*;
use routing::{KeyRange, Member, MemberKind, RouteVersion};
use units::{Epoch, NodeId, PartitionId, Term, Zone};

use super::*;

#[test]
fn a_table_that_the_whole_catalog_lacks_is_gone_with_its_routes() {
    let metadata = Metadata::default();
    metadata.push_catalog(push(1, 1, vec![table(1, "a", 1), table(2, "b", 1)], true));
    metadata.push_routes(None, vec![route(1, 1, 1, 1), route(2, 2, 1, 1)]);

    assert_eq!(metadata.push_catalog(push(1, 2, vec![table(2, "b", 1)], true)), Pushed::News);

    let now = metadata.read();
    assert!(now.by_name("a").is_none() && now.routes().holder(TableId::new(1), b"k").is_none());
    assert!(now.by_name("b").is_some() && now.routes().holder(TableId::new(2), b"k").is_some());
}

#[test]
fn a_deposed_leaders_catalog_removes_nothing() {
    let metadata = Metadata::default();
    metadata.push_catalog(push(5, 1, vec![table(1, "a", 1), table(2, "b", 1)], true));

    assert_eq!(metadata.push_catalog(push(4, 99, vec![table(1, "a", 1)], true)), Pushed::Stale);

    assert!(metadata.read().by_name("b").is_some());
}

#[test]
fn an_older_descriptor_never_replaces_a_newer_one() {
    let metadata = Metadata::default();
    metadata.push_catalog(push(1, 1, vec![table(1, "a", 7)], false));
    assert_eq!(metadata.push_catalog(push(1, 2, vec![table(1, "a", 6)], false)), Pushed::Known);
    assert_eq!(metadata.read().by_name("a").unwrap().version, 7);
}

#[test]
fn a_name_belongs_to_the_later_of_two_tables_until_that_one_is_removed() {
    let metadata = Metadata::default();
    metadata.push_catalog(push(1, 1, vec![table(9, "a", 1), table(3, "a", 4)], false));
    assert_eq!(metadata.read().by_name("a").unwrap().id, TableId::new(9));
    metadata.push_catalog(CatalogPush { removed: vec![TableId::new(3)], ..push(1, 2, vec![], false) });
    assert_eq!(metadata.read().by_name("a").unwrap().id, TableId::new(9));
}

#[test]
fn a_node_that_lists_nothing_removes_nothing() {
    let metadata = Metadata::default();
    metadata.push_routes(Some(node(1, 1)), vec![route(1, 1, 1, 1)]);
    assert_eq!(metadata.push_routes(Some(node(1, 2)), vec![]), Pushed::News);
    assert!(metadata.read().routes().holder(TableId::new(1), b"k").is_some());
}

#[test]
fn a_known_push_publishes_no_snapshot() {
    let metadata = Metadata::default();
    metadata.push_routes(Some(node(1, 1)), vec![route(1, 1, 1, 1)]);
    let before = Arc::as_ptr(&metadata.read());
    assert_eq!(metadata.push_routes(Some(node(1, 1)), vec![route(1, 1, 1, 1)]), Pushed::Known);
    assert_eq!(before, Arc::as_ptr(&metadata.read()));
}

#[test]
fn only_a_whole_catalog_lets_it_deny_a_table() {
    let metadata = Metadata::default();
    metadata.push_catalog(push(1, 1, vec![table(1, "a", 1)], false));
    assert!(!metadata.read().catalog_is_whole());
    assert_eq!(metadata.push_catalog(push(1, 2, vec![table(1, "a", 1)], true)), Pushed::News);
    assert!(metadata.read().catalog_is_whole());
}

proptest! {
    /// The control plane's pushes in any order, some of them lost: what is known is always a state that
    /// the catalog once had, and never an older one than before.
    #[test]
    fn knowledge_of_the_catalog_never_goes_back(
        mut pushes in proptest::collection::vec((1u64..4, 1u64..30), 1..40),
    ) {
        let metadata = Metadata::default();
        let mut newest = PushPosition::default();
        for (term, sequence) in pushes.drain(..) {
            let position = PushPosition { term, sequence };
            // At each position the catalog has one table, whose number and version say where it was.
            let at = term * 100 + sequence;
            let pushed = metadata.push_catalog(push(term, sequence, vec![table(at, "t", at)], true));
            prop_assert_eq!(pushed == Pushed::Stale, position < newest);
            newest = newest.max(position);
            let now = metadata.read();
            prop_assert_eq!(now.by_name("t").unwrap().version, newest.term * 100 + newest.sequence);
            prop_assert_eq!(now.table_count(), 1);
        }
    }
}

fn push(term: u64, sequence: u64, tables: Vec<Table>, complete: bool) -> CatalogPush {
    CatalogPush { tables, removed: vec![], complete, position: PushPosition { term, sequence } }
}

fn table(id: u64, name: &str, version: u64) -> Table {
    Table { id: TableId::new(id), name: name.into(), version, json: Bytes::new(), keys: None, hash_seed: 0 }
}

fn node(id: u64, incarnation: u64) -> NodeAddress {
    NodeAddress {
        node: NodeId::new(id),
        zone: Zone::new(0),
        address: "127.0.0.1:1".into(),
        incarnation: Epoch::new(incarnation),
    }
}

fn route(table: u64, partition: u64, configuration: u64, term: u64) -> Route {
    Route {
        table: TableId::new(table),
        partition: PartitionId::new(partition),
        range: KeyRange::default(),
        members: vec![Member { node: NodeId::new(1), zone: Zone::new(0), kind: MemberKind::Storage }],
        leader: Some(NodeId::new(1)),
        version: RouteVersion { configuration, term: Term::new(term) },
    }
}
