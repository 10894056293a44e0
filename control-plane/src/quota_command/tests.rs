//! Changes of quotas against a catalog, and against a naive model of a quota's life.

use dynamodb::table::{
    Billing, KeyAttribute, KeySchema, KeyType, NewTable, ProvisionedThroughput, TableChange, TableStatus,
};
use proptest::prelude::*;

use super::*;
use crate::quota::{BoostRate, FieldChange, HISTORY_VERSIONS};
use crate::record::Identifiers;
use crate::table_command::{self, Account, Chance, Request};

#[test]
fn a_provisioned_tables_rate_is_its_provisioned_throughput() {
    let mut catalog = catalog();

    let diff = run(&mut catalog, set(ORDERS, |change| change.rate = Some(250)), 10).unwrap();

    assert_eq!((diff.from_version, diff.to_version), (Some(1), Some(2)));
    let rate = FieldChange { field: "rate".into(), old: 100.into(), new: 250.into() };
    assert_eq!(diff.changes, [rate]);
    let table = &catalog.tables.get(ORDERS).unwrap().value;
    assert_eq!((table.descriptor.billing.read_units(), table.descriptor.billing.write_units()), (250, 50));
    assert_eq!(table.descriptor.read_quota().rate_milli, 250_000);
    assert_eq!(table.descriptor.read_quota().burst_milli, 250_000 * 300);
    assert_eq!(table.descriptor.version, 2);
    let Billing::Provisioned(throughput) = table.descriptor.billing else { panic!("provisioned") };
    assert_eq!((throughput.last_increase_ms, throughput.last_decrease_ms), (Some(10), None));
}

#[test]
fn an_on_demand_tables_rate_is_overridden_until_it_is_given_back() {
    let mut catalog = catalog();

    run(&mut catalog, set(CLICKS, |change| change.rate = Some(500)), 1).unwrap();
    assert_eq!(terms(&catalog, CLICKS), QuotaTerms::of(QuotaMode::Operator, 500));

    run(&mut catalog, set(CLICKS, |change| change.mode = Some(QuotaMode::OnDemand)), 2).unwrap();
    assert_eq!(terms(&catalog, CLICKS), QuotaTerms::of(QuotaMode::OnDemand, 12_000));
}

#[test]
fn update_table_takes_over_from_an_operator() {
    let mut catalog = catalog();
    let overridden = set(ORDERS, |change| {
        change.mode = Some(QuotaMode::Operator);
        change.rate = Some(30);
        change.burst = Some(Some(77));
    });
    run(&mut catalog, overridden, 1).unwrap();
    let table = &catalog.tables.get(ORDERS).unwrap().value;
    assert_eq!(table.descriptor.billing.read_units(), 100, "DescribeTable shows what was provisioned");
    assert_eq!(table.descriptor.read_quota().rate_milli, 30_000);

    update_table(&mut catalog, 200, 2);

    // 77 units were 2.6 s of the operator's rate.
    let expected = QuotaTerms { burst: Some(514), ..QuotaTerms::of(QuotaMode::Provisioned, 200) };
    assert_eq!(terms(&catalog, ORDERS), expected);
    let history = history_of(&catalog, ORDERS);
    let authors: Vec<_> = history.iter().map(|version| (version.version, version.author.as_str())).collect();
    assert_eq!(authors, [(1, "creator"), (2, "ann"), (3, "caller")]);
    assert_eq!(history[2].reason, "UpdateTable");
}

#[test]
fn another_rate_keeps_the_length_of_the_burst() {
    let mut catalog = catalog();
    run(&mut catalog, set(ORDERS, |change| change.burst = Some(Some(1_000))), 1).unwrap();

    run(&mut catalog, set(ORDERS, |change| change.rate = Some(3)), 2).unwrap();
    assert_eq!(terms(&catalog, ORDERS).burst, Some(30), "10 s, as before");
    update_table(&mut catalog, 200, 3);
    assert_eq!(terms(&catalog, ORDERS).burst, Some(2_000));

    let both = set(ORDERS, |change| (change.rate, change.burst) = (Some(50), Some(Some(7))));
    run(&mut catalog, both, 4).unwrap();
    assert_eq!(terms(&catalog, ORDERS).burst, Some(7), "unless it is changed, too");
    run(&mut catalog, set(ORDERS, |change| change.weight = Some(2)), 5).unwrap();
    assert_eq!(terms(&catalog, ORDERS).burst, Some(7));
}

#[test]
fn what_is_there_already_is_no_new_version() {
    let mut catalog = catalog();
    let diff = run(&mut catalog, set(ORDERS, |change| change.rate = Some(100)), 1).unwrap();
    assert_eq!((diff.to_version, diff.changes.len()), (None, 0));
    assert_eq!(history_of(&catalog, ORDERS).len(), 1);
}

#[test]
fn a_dry_run_shows_the_change_and_makes_none() {
    let catalog = catalog();
    let command = set(ORDERS, |change| change.rate = Some(7));
    let plan = plan(&catalog, &command, UnixMillis::new(1), true).unwrap();
    assert!(plan.diff.dry_run && plan.diff.to_version == Some(2));
    assert_eq!(terms(&catalog, ORDERS).rate, 100);
}

#[test]
fn a_boost_scales_the_burst_and_remembers_what_it_returns_to() {
    let mut catalog = catalog();
    run(&mut catalog, set(ORDERS, |change| change.burst = Some(Some(1_000))), 1).unwrap();

    run(&mut catalog, boost_by(ORDERS, BoostRate::Factor(2.5), 5_000), 10_000).unwrap();

    let current = current(&catalog, ORDERS);
    assert_eq!((current.terms.rate, current.terms.burst), (250, Some(2_500)));
    let boost = current.boost.unwrap();
    assert_eq!((boost.until_ms, boost.returns_to.rate, boost.returns_to.burst), (15_000, 100, Some(1_000)));
    let table = &catalog.tables.get(ORDERS).unwrap().value;
    assert_eq!(table.descriptor.billing.read_units(), 100, "a boost is not provisioned");
}

#[test]
fn a_boost_returns_at_its_time_and_not_before() {
    let mut catalog = catalog();
    run(&mut catalog, boost_by(ORDERS, BoostRate::Rate(300), 5_000), 10_000).unwrap();

    expire_at(&mut catalog, 14_999);
    assert_eq!(current(&catalog, ORDERS).terms.rate, 300);
    expire_at(&mut catalog, 15_000);

    let returned = current(&catalog, ORDERS);
    assert_eq!((returned.version, returned.terms.rate, returned.boost), (3, 100, None));
    assert_eq!((returned.cause, returned.author.as_str()), (QuotaCause::BoostExpired, "expiry"));
    let causes: Vec<_> = history_of(&catalog, ORDERS).iter().map(|version| version.cause).collect();
    assert_eq!(causes, [QuotaCause::CreateTable, QuotaCause::Boost, QuotaCause::BoostExpired]);
}

#[test]
fn other_terms_may_change_while_a_boost_lasts() {
    let mut catalog = catalog();
    run(&mut catalog, boost_by(ORDERS, BoostRate::Rate(300), 5_000), 0).unwrap();

    run(&mut catalog, set(ORDERS, |change| change.weight = Some(4)), 1).unwrap();
    assert_eq!((terms(&catalog, ORDERS).rate, terms(&catalog, ORDERS).weight), (300, 4));
    expire_at(&mut catalog, 5_000);

    assert_eq!((terms(&catalog, ORDERS).rate, terms(&catalog, ORDERS).weight), (100, 4));
}

#[test]
fn a_boost_beyond_a_limit_is_refused() {
    let mut catalog = catalog();
    let refused = run(&mut catalog, boost_by(ORDERS, BoostRate::Factor(401.0), 5_000), 0).unwrap_err();
    assert_eq!(refused, QuotaError::LimitExceeded { asked: 40_100, limit: 40_000 });

    let ceiling =
        TableChange { name: CLICKS.into(), on_demand: Some((Some(20_000), None)), ..Default::default() };
    apply_update(&mut catalog, &ceiling, 1);
    let refused = run(&mut catalog, boost_by(CLICKS, BoostRate::Rate(20_001), 5_000), 0).unwrap_err();
    assert_eq!(refused, QuotaError::LimitExceeded { asked: 20_001, limit: 20_000 });
}

#[test]
fn boosts_that_are_none_are_refused() {
    let mut catalog = catalog();
    let odd = [
        BoostRate::Factor(1.0),
        BoostRate::Factor(f64::NAN),
        BoostRate::Factor(f64::INFINITY),
        BoostRate::Rate(100),
    ];
    for to in odd {
        let refused = run(&mut catalog, boost_by(ORDERS, to, 5_000), 0).unwrap_err();
        assert!(matches!(&refused, QuotaError::Invalid { field, .. } if field == "to"), "{refused:?}");
    }
    for for_ms in [0, 999, 31 * 86_400_000] {
        let refused = run(&mut catalog, boost_by(ORDERS, BoostRate::Rate(200), for_ms), 0).unwrap_err();
        assert!(matches!(&refused, QuotaError::Invalid { field, .. } if field == "for_ms"), "{refused:?}");
    }
    let end = QuotaCommand::EndBoost(EndBoostRequest {
        subject: table(ORDERS),
        kind: QuotaKind::Read,
        signed: signed(),
    });
    assert!(matches!(run(&mut catalog, end, 0), Err(QuotaError::NotBoosted { .. })));
}

#[test]
fn values_that_cannot_be_are_refused_by_name() {
    let mut catalog = catalog();
    let mut field_of = |command: QuotaCommand| match run(&mut catalog, command, 0).unwrap_err() {
        QuotaError::Invalid { field, .. } => field,
        other => format!("{other:?}"),
    };
    assert_eq!(field_of(set(ORDERS, |change| change.rate = Some(0))), "rate");
    assert_eq!(field_of(set(ORDERS, |change| change.burst = Some(Some(0)))), "burst");
    assert_eq!(field_of(set(ORDERS, |change| change.weight = Some(0))), "weight");
    assert_eq!(field_of(set(ORDERS, |change| change.cap = Some(Some(0)))), "cap");
    assert_eq!(field_of(set(ORDERS, |change| change.mode = Some(QuotaMode::OnDemand))), "mode");
    assert_eq!(field_of(set(CLICKS, |change| change.mode = Some(QuotaMode::Provisioned))), "mode");
    assert_eq!(field_of(set(ORDERS, |change| change.mode = Some(QuotaMode::Unlimited))), "mode");
    assert_eq!(field_of(set(ORDERS, |change| change.signed.author.clear())), "author");
    assert_eq!(field_of(set(ORDERS, |change| change.signed.reason = "x".repeat(1025))), "reason");
    assert_eq!(field_of(set(ORDERS, |change| change.signed.reason = "two\nlines".into())), "reason");
    let floor_above_cap = set(ORDERS, |change| {
        change.floor = Some(10);
        change.cap = Some(Some(9));
    });
    assert_eq!(field_of(floor_above_cap), "floor");
    let mut of_principal = change(QuotaSubject::Principal("ann".into()));
    of_principal.shadow = Some(true);
    assert_eq!(field_of(QuotaCommand::Set(of_principal.clone())), "rate");
    of_principal.rate = Some(5);
    of_principal.weight = Some(3);
    assert_eq!(field_of(QuotaCommand::Set(of_principal)), "weight");
}

#[test]
fn subjects_that_are_not_there_are_named() {
    let mut catalog = catalog();
    let unknown = run(&mut catalog, set("nothing", |change| change.rate = Some(1)), 0).unwrap_err();
    assert_eq!(unknown, QuotaError::UnknownTable { table: "nothing".into() });
    let subject = QuotaSubject::Index { table: ORDERS.into(), index: "by_date".into() };
    let index = QuotaCommand::Set(change(subject.clone()));
    assert_eq!(run(&mut catalog, index, 0).unwrap_err(), QuotaError::IndexesUnsupported { subject });
    let above = run(&mut catalog, set(ORDERS, |change| change.rate = Some(40_001)), 0).unwrap_err();
    assert_eq!(above, QuotaError::LimitExceeded { asked: 40_001, limit: 40_000 });
}

#[test]
fn a_change_meant_for_another_version_is_refused() {
    let mut catalog = catalog();
    let stale = set(ORDERS, |change| {
        change.rate = Some(5);
        change.signed.expected_version = Some(4);
    });
    let refused = run(&mut catalog, stale, 0).unwrap_err();
    assert_eq!(refused, QuotaError::VersionMismatch { expected: 4, present: 1 });
    let new = QuotaCommand::Set(QuotaChange {
        rate: Some(9),
        signed: Signed { expected_version: Some(0), ..signed() },
        ..change(QuotaSubject::Principal("ann".into()))
    });
    assert_eq!(run(&mut catalog, new.clone(), 0).unwrap().to_version, Some(1));
    assert!(matches!(run(&mut catalog, new, 0), Err(QuotaError::VersionMismatch { .. })));
}

#[test]
fn the_accounts_quota_comes_goes_and_must_hold_the_floors() {
    let mut catalog = catalog();
    let account = |rate| QuotaCommand::Set(QuotaChange { rate: Some(rate), ..change(QuotaSubject::Account) });
    run(&mut catalog, set(ORDERS, |change| change.floor = Some(60)), 0).unwrap();
    let refused = run(&mut catalog, account(59), 1).unwrap_err();
    assert_eq!(refused, QuotaError::FloorsExceedAccount { floors: 60, rate: 59 });
    run(&mut catalog, account(100), 2).unwrap();
    let refused = run(&mut catalog, set(CLICKS, |change| change.floor = Some(41)), 3).unwrap_err();
    assert_eq!(refused, QuotaError::FloorsExceedAccount { floors: 101, rate: 100 });

    let mut gone = change(QuotaSubject::Account);
    gone.mode = Some(QuotaMode::Unlimited);
    run(&mut catalog, QuotaCommand::Set(gone), 4).unwrap();
    run(&mut catalog, set(CLICKS, |change| change.floor = Some(41)), 5).unwrap();

    let back = rollback_to(QuotaSubject::Account, 1);
    let refused = run(&mut catalog, back, 6).unwrap_err();
    assert_eq!(refused, QuotaError::FloorsExceedAccount { floors: 101, rate: 100 });
}

#[test]
fn a_rollback_across_billing_modes_is_refused() {
    let mut catalog = catalog();
    let to_on_demand = TableChange {
        name: ORDERS.into(),
        billing_mode: Some(dynamodb::table::BillingMode::PayPerRequest),
        ..Default::default()
    };
    apply_update(&mut catalog, &to_on_demand, 1);
    let refused = run(&mut catalog, rollback_to(table(ORDERS), 1), 2).unwrap_err();
    assert!(matches!(refused, QuotaError::Invalid { .. }));
    let refused = run(&mut catalog, rollback_to(table(ORDERS), 9), 2).unwrap_err();
    assert_eq!(refused, QuotaError::UnknownVersion { version: 9, oldest: 1, newest: 2 });
}

#[test]
fn a_change_survives_json_and_an_absent_field_differs_from_null() {
    let json = r#"{"subject":"table/orders","kind":"read","burst":null,"signed":{"author":"ann"}}"#;
    let change: QuotaChange = serde_json::from_str(json).unwrap();
    assert_eq!((change.burst, change.cap, change.rate), (Some(None), None, None));
    let again: QuotaChange = serde_json::from_str(&serde_json::to_string(&change).unwrap()).unwrap();
    assert_eq!(again, change);
    let typo = r#"{"subject":"table/orders","kind":"read","rat":5,"signed":{"author":"ann"}}"#;
    assert!(serde_json::from_str::<QuotaChange>(typo).is_err());
}

#[test]
fn errors_survive_json() {
    for error in [
        QuotaError::NotLeader { leader: Some("127.0.0.1:1".into()) },
        QuotaError::Unavailable,
        QuotaError::NoQuota { subject: QuotaSubject::Account, kind: QuotaKind::Write },
        QuotaError::UnknownVersion { version: 9, oldest: 1, newest: 2 },
    ] {
        let json = serde_json::to_string(&error).unwrap();
        assert_eq!(serde_json::from_str::<QuotaError>(&json).unwrap(), error);
    }
}

/// What may happen to one quota.
#[derive(Clone, Debug)]
enum Action {
    Set(u64),
    Weigh(u32),
    Boost(u64, u64),
    EndBoost,
    Rollback(u64),
    UpdateTable(u64),
    Pass(u64),
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        (1..9_u64).prop_map(|tens| Action::Set(tens * 10)),
        (1..5_u32).prop_map(Action::Weigh),
        (2..20_u64, 1_000..9_000_u64).prop_map(|(tens, for_ms)| Action::Boost(tens * 10, for_ms)),
        Just(Action::EndBoost),
        (0..40_u64).prop_map(Action::Rollback),
        (1..9_u64).prop_map(|tens| Action::UpdateTable(tens * 10)),
        (0..6_000_u64).prop_map(Action::Pass),
    ]
}

/// Lasting rate, boosted rate and its end, weight.
type ModelVersion = (u64, Option<(u64, u64)>, u32);

/// A quota as a list of its versions.
#[derive(Clone, Debug)]
struct Model {
    now: u64,
    versions: Vec<ModelVersion>,
}

impl Model {
    fn push(&mut self, version: ModelVersion) {
        if self.versions.last() != Some(&version) {
            self.versions.push(version);
        }
    }

    fn take(&mut self, action: &Action) {
        let (lasting, boost, weight) = *self.versions.last().unwrap();
        match *action {
            Action::Set(rate) => self.push((rate, None, weight)),
            Action::Weigh(weight) => self.push((lasting, boost, weight)),
            Action::Boost(rate, for_ms) if rate > lasting => {
                self.push((lasting, Some((rate, self.now + for_ms)), weight));
            }
            Action::EndBoost => self.push((lasting, None, weight)),
            Action::Rollback(version) => {
                let kept = self.versions.len().saturating_sub(HISTORY_VERSIONS) as u64;
                if let Some((lasting, _, weight)) =
                    self.versions.get(version.wrapping_sub(1) as usize).copied()
                    && version > kept
                {
                    self.push((lasting, None, weight));
                }
            }
            // DynamoDB refuses what changes nothing.
            Action::UpdateTable(rate) if rate != lasting => self.push((rate, None, weight)),
            Action::Pass(time) => {
                self.now += time;
                if boost.is_some_and(|(_, until)| until <= self.now) {
                    self.push((lasting, None, weight));
                }
            }
            Action::Boost(..) | Action::UpdateTable(_) => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_quotas_life_is_the_naive_ones(actions in prop::collection::vec(action(), 1..150)) {
        let mut catalog = catalog();
        let mut model = Model { now: 1_000, versions: vec![(100, None, 1)] };
        for action in &actions {
            let now = model.now;
            let command = match *action {
                Action::Set(rate) => Some(set(ORDERS, |change| change.rate = Some(rate))),
                Action::Weigh(weight) => Some(set(ORDERS, |change| change.weight = Some(weight))),
                Action::Boost(rate, for_ms) => Some(boost_by(ORDERS, BoostRate::Rate(rate), for_ms)),
                Action::EndBoost => Some(QuotaCommand::EndBoost(EndBoostRequest {
                    subject: table(ORDERS),
                    kind: QuotaKind::Read,
                    signed: signed(),
                })),
                Action::Rollback(version) => Some(rollback_to(table(ORDERS), version)),
                Action::UpdateTable(_) | Action::Pass(_) => None,
            };
            model.take(action);
            match *action {
                Action::UpdateTable(rate) => update_table(&mut catalog, rate, now),
                Action::Pass(_) => expire_at(&mut catalog, model.now),
                // What cannot be is refused, and changes nothing in the model either.
                _ => drop(command.map(|command| run(&mut catalog, command, now))),
            }

            let current = current(&catalog, ORDERS);
            let (lasting, boost, weight) = *model.versions.last().unwrap();
            prop_assert_eq!(current.version, model.versions.len() as u64);
            prop_assert_eq!(current.terms.rate, boost.map_or(lasting, |(rate, _)| rate));
            prop_assert_eq!(current.boost.map(|boost| boost.until_ms), boost.map(|(_, until)| until));
            prop_assert_eq!(current.terms.weight, weight);
            let table = &catalog.tables.get(ORDERS).unwrap().value;
            prop_assert_eq!(table.descriptor.billing.read_units(), lasting);
            prop_assert_eq!(table.descriptor.read_quota().version, current.version);
            prop_assert_eq!(table.descriptor.read_quota().rate_milli, current.terms.rate * 1000);
            prop_assert!(table.descriptor.version >= current.version);
        }
        let history = history_of(&catalog, ORDERS);
        let kept = model.versions.len().min(HISTORY_VERSIONS);
        prop_assert_eq!(history.len(), kept);
        let expected = &model.versions[model.versions.len() - kept..];
        for (version, (lasting, _, _)) in history.iter().zip(expected) {
            prop_assert_eq!(version.lasting_terms().rate, *lasting);
        }
        prop_assert!(history.windows(2).all(|pair| pair[1].version == pair[0].version + 1));
        // Nothing of this concerned the other quotas.
        prop_assert_eq!(catalog.tables.get(ORDERS).unwrap().value.quota(QuotaKind::Write).version, 1);
    }
}

const ORDERS: &str = "orders";
const CLICKS: &str = "clicks";
const REQUEST: Request<'static> = Request { principal: "creator", now: UnixMillis::new(0) };

/// `orders`, provisioned with 100 read and 50 write units, and `clicks`, on demand.
fn catalog() -> Catalog {
    let mut catalog = Catalog::default();
    let provisioned = ProvisionedThroughput { read: 100, write: 50, ..Default::default() };
    let billings = [
        (ORDERS, Billing::Provisioned(provisioned)),
        (CLICKS, Billing::OnDemand { max_read: None, max_write: None, since_ms: 0 }),
    ];
    for (id, (name, billing)) in (1..).zip(billings) {
        let new = NewTable {
            name: name.into(),
            keys: KeySchema { partition: KeyAttribute { name: "id".into(), kind: KeyType::S }, sort: None },
            attribute_definitions: vec![],
            billing,
            deletion_protection: false,
            table_class: None,
            tags: vec![],
        };
        let identifiers = Identifiers { table: id, first_partition: id };
        let account = Account { region: "r", account: "000000000000", table_limit: 9 };
        let chance = Chance { uuid: "u".into(), hash_seed: 1 };
        let mut table = table_command::create(new, 1, identifiers, account, chance, REQUEST);
        table.descriptor.status = TableStatus::Active;
        write(&mut catalog, Write::Table(Box::new(table)));
    }
    catalog
}

fn run(catalog: &mut Catalog, command: QuotaCommand, now: u64) -> Result<QuotaDiff, QuotaError> {
    let plan = plan(catalog, &command, UnixMillis::new(now), false)?;
    if let Some(record) = plan.write {
        write(catalog, record);
    }
    Ok(plan.diff)
}

/// Writes a record, and what follows it.
fn write(catalog: &mut Catalog, record: Write) {
    match record {
        Write::Quota(record) => catalog.put(1, record),
        Write::Table(table) => {
            let histories = histories_to_write(&table, catalog);
            catalog.put(1, *table);
            histories.into_iter().for_each(|history| catalog.put(1, history));
        }
    }
}

fn expire_at(catalog: &mut Catalog, now: u64) {
    let boosts: Vec<_> = boosts(catalog).collect();
    for (state, _) in boosts {
        if let Some(plan) = expire(catalog, &state, UnixMillis::new(now)) {
            write(catalog, plan.write.unwrap());
        }
    }
}

fn update_table(catalog: &mut Catalog, read: u64, now: u64) {
    let provisioned = Some(ProvisionedThroughput { read, write: 50, ..Default::default() });
    apply_update(catalog, &TableChange { name: ORDERS.into(), provisioned, ..Default::default() }, now);
}

fn apply_update(catalog: &mut Catalog, change: &TableChange, now: u64) {
    let request = Request { principal: "caller", now: UnixMillis::new(now) };
    if let Ok(mut table) = table_command::update(catalog, change, request) {
        table.descriptor.status = TableStatus::Active;
        write(catalog, Write::Table(Box::new(table)));
    }
}

fn current(catalog: &Catalog, name: &str) -> QuotaVersion {
    catalog.tables.get(name).unwrap().value.quota(QuotaKind::Read).clone()
}

fn terms(catalog: &Catalog, name: &str) -> QuotaTerms {
    current(catalog, name).terms
}

fn history_of(catalog: &Catalog, name: &str) -> Vec<QuotaVersion> {
    history(catalog, &table(name), QuotaKind::Read).unwrap().unwrap().versions
}

fn set(name: &str, what: impl FnOnce(&mut QuotaChange)) -> QuotaCommand {
    let mut change = change(table(name));
    what(&mut change);
    QuotaCommand::Set(change)
}

fn boost_by(name: &str, to: BoostRate, for_ms: u64) -> QuotaCommand {
    let (subject, kind) = (table(name), QuotaKind::Read);
    QuotaCommand::Boost(BoostRequest { subject, kind, to, for_ms, signed: signed() })
}

fn rollback_to(subject: QuotaSubject, version: u64) -> QuotaCommand {
    let kind = QuotaKind::Read;
    QuotaCommand::Rollback(RollbackRequest { subject, kind, version, signed: signed() })
}

fn change(subject: QuotaSubject) -> QuotaChange {
    QuotaChange::of(subject, QuotaKind::Read, signed())
}

fn table(name: &str) -> QuotaSubject {
    QuotaSubject::Table(name.into())
}

fn signed() -> Signed {
    Signed { author: "ann".into(), reason: "a test".into(), expected_version: None }
}
