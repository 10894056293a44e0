use dynamodb::table::{AttributeDefinition, KeyAttribute, KeySchema, KeyType};

use super::{provisioned as provisioned_at, *};
use crate::record::Record;

const ACCOUNT: Account<'static> = Account { region: "eu-central-1", account: "123456789012", table_limit: 3 };

#[test]
fn a_new_table_is_creating_with_its_arn_and_partitions() {
    let new = new_table("orders", provisioned(4000, 1000));
    let partitions = check_create(&Catalog::default(), &new, ACCOUNT).unwrap();
    let table = make(new, partitions);

    assert_eq!(table.descriptor.status, TableStatus::Creating);
    assert_eq!(table.descriptor.arn, "arn:aws:dynamodb:eu-central-1:123456789012:table/orders");
    assert_eq!(table.descriptor.partitions, 3);
    assert!(!table.is_placed());
}

#[test]
fn an_on_demand_table_starts_with_four_partitions() {
    let new = new_table("orders", Billing::OnDemand { max_read: None, max_write: None, since_ms: 0 });
    assert_eq!(check_create(&Catalog::default(), &new, ACCOUNT), Ok(4));
}

#[test]
fn a_name_is_taken_until_its_table_is_gone() {
    let catalog = with(TableStatus::Deleting);
    let refusal = check_create(&catalog, &new_table("orders", provisioned(1, 1)), ACCOUNT).unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::ResourceInUse);
    assert_eq!(refusal.message, "Table already exists: orders");
}

#[test]
fn an_account_has_only_so_many_tables() {
    let mut catalog = Catalog::default();
    for name in ["a", "b", "c"] {
        catalog.put(1, make(new_table(name, provisioned(1, 1)), 1));
    }
    let refusal = check_create(&catalog, &new_table("d", provisioned(1, 1)), ACCOUNT).unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::LimitExceeded);
}

#[test]
fn only_so_many_tables_are_changed_at_once() {
    let mut catalog = Catalog::default();
    for number in 0..TABLES_IN_CHANGE {
        catalog.put(1, make(new_table(&format!("t{number}"), provisioned(1, 1)), 1));
    }
    let account = Account { table_limit: 2500, ..ACCOUNT };
    let refusal = check_create(&catalog, &new_table("more", provisioned(1, 1)), account).unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::LimitExceeded);
}

#[test]
fn a_table_that_is_not_there_is_named() {
    let refusal = delete(&Catalog::default(), "orders").unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::ResourceNotFound);
    assert_eq!(refusal.message, "Requested resource not found: Table: orders not found");
}

#[test]
fn a_table_in_change_is_not_changed_again() {
    for (status, what) in [
        (TableStatus::Creating, "created"),
        (TableStatus::Updating, "updated"),
        (TableStatus::Deleting, "deleted"),
    ] {
        let expected =
            format!("Attempt to change a resource which is still in use: Table is being {what}: orders");
        let catalog = with(status);
        assert_eq!(delete(&catalog, "orders").unwrap_err().message, expected);
        let refusal = update(&catalog, &change(Some((9, 9))), request()).unwrap_err();
        assert_eq!((refusal.kind, refusal.message.as_ref()), (ErrorKind::ResourceInUse, expected.as_str()));
    }
}

#[test]
fn a_protected_table_is_not_deleted_until_the_protection_is_off() {
    let mut catalog = with(TableStatus::Active);
    let protect = |on| TableChange { deletion_protection: Some(on), ..change(None) };
    let protected = update(&catalog, &protect(true), request()).unwrap();
    assert_eq!(protected.descriptor.status, TableStatus::Active);
    catalog.put(2, protected);

    assert_eq!(delete(&catalog, "orders").unwrap_err().kind, ErrorKind::Validation);

    let free = update(&catalog, &protect(false), request()).unwrap();
    catalog.put(3, free);
    assert_eq!(delete(&catalog, "orders").unwrap().descriptor.status, TableStatus::Deleting);
}

#[test]
fn unchanged_throughput_is_refused() {
    let refusal = update(&with(TableStatus::Active), &change(Some((5, 5))), request()).unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::Validation);
    assert!(refusal.message.starts_with("The provisioned throughput for the table will not change."));
}

#[test]
fn an_increase_and_a_decrease_are_each_dated() {
    let table = update(&with(TableStatus::Active), &change(Some((9, 2))), request()).unwrap();
    assert_eq!(table.descriptor.status, TableStatus::Updating);
    let Billing::Provisioned(throughput) = table.descriptor.billing else { panic!("still provisioned") };
    assert_eq!((throughput.read, throughput.write), (9, 2));
    assert_eq!((throughput.last_increase_ms, throughput.last_decrease_ms), (Some(77), Some(77)));
}

#[test]
fn a_decrease_counts_for_its_day() {
    let day = 86_400_000;
    let lower = |present, units, now| provisioned_at(present, units, units, UnixMillis::new(now));
    let first = lower(ProvisionedThroughput { read: 9, write: 9, ..Default::default() }, 8, day);
    let second = lower(first, 7, 2 * day - 1);
    let raised = lower(second, 9, 2 * day - 1);
    let next_day = lower(raised, 5, 2 * day);
    let counts = [first, second, raised, next_day].map(|throughput| throughput.decreases_today);
    assert_eq!(counts, [1, 2, 2, 1]);
    assert_eq!(decreases_today(second, UnixMillis::new(2 * day)), 0);
}

#[test]
fn more_than_a_table_may_have_is_refused() {
    let new = new_table("orders", provisioned(40_001, 1));
    let refusal = check_create(&Catalog::default(), &new, ACCOUNT).unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::LimitExceeded);
    let raised = change(Some((40_000, 40_001)));
    let refusal = update(&with(TableStatus::Active), &raised, request()).unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::LimitExceeded);
    assert!(update(&with(TableStatus::Active), &change(Some((40_000, 40_000))), request()).is_ok());
}

#[test]
fn an_update_writes_a_version_of_each_quota_that_it_changes() {
    let updated = update(&with(TableStatus::Active), &change(Some((9, 5))), request()).unwrap();
    let read = updated.quota(QuotaKind::Read);
    assert_eq!((read.version, read.terms.rate, read.author.as_str()), (2, 9, "ann"));
    assert_eq!((read.reason.as_str(), read.at_ms), ("UpdateTable", 77));
    assert_eq!(updated.quota(QuotaKind::Write).version, 1);
    assert_eq!(updated.descriptor.read_quota().rate_milli, 9_000);
}

#[test]
fn a_table_that_was_provisioned_serves_no_less_on_demand() {
    let mut catalog = Catalog::default();
    catalog.put(1, make(new_table("orders", provisioned(20_000, 10)), 1));
    let mut active = catalog.tables.get("orders").unwrap().value.clone();
    active.descriptor.status = TableStatus::Active;
    catalog.put(2, active);
    let to_on_demand = TableChange { billing_mode: Some(BillingMode::PayPerRequest), ..change(None) };
    let table = update(&catalog, &to_on_demand, request()).unwrap();
    let rates = QuotaKind::ALL.map(|kind| table.quota(kind).terms.rate);
    assert_eq!(rates, [20_000, 4_000]);
}

#[test]
fn billing_modes_change_with_the_throughput_that_they_need() {
    let mut catalog = with(TableStatus::Active);
    let to = |mode, provisioned| TableChange { billing_mode: Some(mode), ..change(provisioned) };

    let refusal = update(&catalog, &to(BillingMode::PayPerRequest, Some((1, 1))), request()).unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::Validation);

    let mut on_demand = update(&catalog, &to(BillingMode::PayPerRequest, None), request()).unwrap();
    assert_eq!(
        on_demand.descriptor.billing,
        Billing::OnDemand { max_read: None, max_write: None, since_ms: 77 }
    );
    on_demand.descriptor.status = TableStatus::Active;
    catalog.put(2, on_demand);

    assert!(update(&catalog, &to(BillingMode::Provisioned, None), request()).is_err());
    assert!(update(&catalog, &to(BillingMode::Provisioned, Some((3, 4))), request()).is_ok());
}

fn with(status: TableStatus) -> Catalog {
    let mut table = make(new_table("orders", provisioned(5, 5)), 1);
    table.descriptor.status = status;
    assert_eq!(table.name(), "orders");
    let mut catalog = Catalog::default();
    catalog.put(1, table);
    catalog
}

fn make(new: NewTable, partitions: u32) -> TableRecord {
    let identifiers = Identifiers { table: 1, first_partition: 1 };
    create(new, partitions, identifiers, ACCOUNT, Chance { uuid: "u".into(), hash_seed: 1 }, request())
}

fn change(provisioned: Option<(u64, u64)>) -> TableChange {
    let provisioned =
        provisioned.map(|(read, write)| ProvisionedThroughput { read, write, ..Default::default() });
    TableChange { name: "orders".into(), provisioned, ..Default::default() }
}

fn provisioned(read: u64, write: u64) -> Billing {
    Billing::Provisioned(ProvisionedThroughput { read, write, ..Default::default() })
}

fn request() -> Request<'static> {
    Request { principal: "ann", now: UnixMillis::new(77) }
}

fn new_table(name: &str, billing: Billing) -> NewTable {
    NewTable {
        name: name.into(),
        keys: KeySchema { partition: KeyAttribute { name: "id".into(), kind: KeyType::S }, sort: None },
        attribute_definitions: vec![AttributeDefinition { name: "id".into(), kind: KeyType::S }],
        billing,
        deletion_protection: false,
        table_class: None,
        tags: vec![],
    }
}
