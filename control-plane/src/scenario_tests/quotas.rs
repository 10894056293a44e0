//! Operators' changes of quotas and of the ring, down to what the GAC servers are told.

use std::time::Duration;

use dynamodb::table::{Billing, TableChange, TableStatus};
use wire::clock;
use wire::method::{FetchQuotas, ReportPeaks};
use wire::proto::control::{Peak, Peaks, QuotasRequest, table_command::Command};

use super::stage::{DEADLINE, Member, Stage, new_table, provisioned};
use crate::catalog::json;
use crate::quota::{
    BoostRate, BoostRequest, QuotaCause, QuotaChange, QuotaError, QuotaEvent, QuotaKind, QuotaMode,
    QuotaSubject, QuotaVersion, RollbackRequest, Signed,
};
use crate::ring::{RingChange, RingError};

#[tokio::test]
async fn a_set_quota_reaches_gac_memds_and_describe_table() {
    let stage = Stage::start().await;
    let member = stage.leader().await;
    let _nodes = stage.three_nodes(&member).await;
    let table = member.create_active("orders").await;
    let gac = &stage.gac[0];

    let diff = member.handle.quotas().set(set_rate(orders(), 250), false).await.unwrap();

    assert_eq!((diff.from_version, diff.to_version), (Some(1), Some(2)));
    let (told_at, started) = (async || gac.rate(table.id * 8) == 250_000, clock::now());
    member.until("GAC is told", told_at).await;
    let took = clock::now().since(started);
    assert!(took < Duration::from_secs(2), "{took:?}: not at once, but with the push of everything");
    assert_eq!(gac.quota(table.id * 8).unwrap().version, 2);
    let described = member.becomes("orders", TableStatus::Active).await;
    assert_eq!((described.billing.read_units(), described.billing.write_units()), (250, 1));
    let known = stage.lookup("orders").await;
    let known: dynamodb::table::TableDescriptor = serde_json::from_slice(&known.table.unwrap()).unwrap();
    assert_eq!(known.read_quota().rate_milli, 250_000);
    stage.stop().await;
}

#[tokio::test]
async fn update_table_and_an_operators_set_write_the_same_history() {
    let stage = Stage::start().await;
    let member = stage.leader().await;
    let _nodes = stage.three_nodes(&member).await;
    member.create_active("orders").await;
    let quotas = member.handle.quotas();

    quotas.set(set_rate(orders(), 20), false).await.unwrap();
    let update =
        TableChange { name: "orders".into(), provisioned: Some(provisioned(30, 1)), ..Default::default() };
    member.table(Command::Update(json(&update))).await.unwrap();
    member.becomes("orders", TableStatus::Active).await;
    let back = RollbackRequest { subject: orders(), kind: QuotaKind::Read, version: 2, signed: signed() };
    quotas.rollback(back, false).await.unwrap();

    let history = read_history(&member).await;
    let told: Vec<_> =
        history.iter().map(|it| (it.version, it.terms.rate, it.author.as_str(), it.cause)).collect();
    assert_eq!(
        told,
        [
            (1, 1, "test", QuotaCause::CreateTable),
            (2, 20, "ann", QuotaCause::Set),
            (3, 30, "test", QuotaCause::UpdateTable),
            (4, 20, "ann", QuotaCause::Rollback(2)),
        ]
    );
    let described = member.becomes("orders", TableStatus::Active).await;
    assert_eq!(described.billing.read_units(), 20);
    stage.stop().await;
}

#[tokio::test]
async fn a_boost_returns_on_time() {
    let stage = Stage::start().await;
    let member = stage.leader().await;
    let _nodes = stage.three_nodes(&member).await;
    let table = member.create_active("orders").await;
    let gac = &stage.gac[0];

    member.handle.quotas().boost(boost(1_000), false).await.unwrap();
    let until = member.handle.quotas().get(&orders()).await.unwrap()[0].current.boost.clone().unwrap();
    member.until("the boost is pushed", async || gac.rate(table.id * 8) == 5_000).await;
    member.until("it returns", async || gac.rate(table.id * 8) == 1_000).await;

    let late = clock::unix_now().get().saturating_sub(until.until_ms);
    assert!(clock::unix_now().get() >= until.until_ms, "not before its time");
    assert!(late < 1_000, "{late} ms late");
    let causes: Vec<_> = read_history(&member).await.iter().map(|version| version.cause).collect();
    assert_eq!(causes, [QuotaCause::CreateTable, QuotaCause::Boost, QuotaCause::BoostExpired]);
    stage.stop().await;
}

#[tokio::test]
async fn a_boost_outlives_its_leader_and_still_returns() {
    let stage = Stage::start().await;
    let first = stage.leader().await;
    let _nodes = stage.three_nodes(&first).await;
    let table = first.create_active("orders").await;
    first.handle.quotas().boost(boost(1_500), false).await.unwrap();
    first.depose(None);
    first.leads_no_more().await;

    let second = stage.leader().await;
    second.leads().await;
    let boosted = second.handle.quotas().get(&orders()).await.unwrap()[0].current.clone();
    assert!(boosted.boost.is_some() && boosted.terms.rate == 5);
    second.until("it returns", async || stage.gac[0].rate(table.id * 8) == 1_000).await;

    let last = read_history(&second).await.pop().unwrap();
    assert_eq!((last.version, last.terms.rate, last.cause), (3, 1, QuotaCause::BoostExpired));
    stage.stop().await;
}

#[tokio::test]
async fn an_answer_that_is_lost_makes_no_second_version() {
    let stage = Stage::start().await;
    let member = stage.leader().await;
    let _nodes = stage.three_nodes(&member).await;
    member.create_active("orders").await;
    stage.lose_answers(1);

    let diff = member.handle.quotas().set(set_rate(orders(), 9), false).await.unwrap();

    assert_eq!(diff.to_version, Some(2));
    member.until("the history follows", async || read_history(&member).await.len() == 2).await;
    stage.stop().await;
}

#[tokio::test]
async fn the_accounts_and_the_principals_quotas_are_pushed_and_taken_away() {
    let stage = Stage::start().await;
    let member = stage.leader().await;
    member.leads().await;
    let quotas = member.handle.quotas();
    let gac = &stage.gac[1];
    let ann = QuotaSubject::Principal("ann".into());

    quotas.set(set_rate(QuotaSubject::Account, 5_000), false).await.unwrap();
    let state = quotas.set(set_rate(ann.clone(), 9), false).await.unwrap().state;
    let bucket = state.bucket.unwrap();
    member.until("both are pushed", async || gac.rate(bucket) == 9_000).await;
    assert_eq!(gac.account(), [Some(5_000_000), None]);
    assert_eq!(gac.quota(bucket).unwrap().name, "ann");
    let fetched = member.connection.call::<FetchQuotas>(&QuotasRequest {}, DEADLINE).await.unwrap();
    assert!(fetched.complete && fetched.account_read.is_some() && fetched.account_write.is_none());
    assert_eq!(fetched.quotas.len(), 1);

    for subject in [QuotaSubject::Account, ann] {
        let unlimited = QuotaChange { mode: Some(QuotaMode::Unlimited), ..set(subject) };
        quotas.set(unlimited, false).await.unwrap();
    }
    let gone = async || gac.quota(bucket).is_none() && gac.account() == [None, None];
    member.until("both are taken away", gone).await;
    stage.stop().await;
}

#[tokio::test]
async fn a_claim_on_the_account_goes_with_its_tables_quota() {
    let stage = Stage::start().await;
    let member = stage.leader().await;
    let _nodes = stage.three_nodes(&member).await;
    let table = member.create_active("orders").await;

    let change = QuotaChange {
        weight: Some(4),
        floor: Some(1),
        cap: Some(Some(6)),
        priority: Some(2),
        shadow: Some(true),
        outage: Some(dynamodb::table::Outage::Open),
        burst: Some(Some(50)),
        ..set(orders())
    };
    member.handle.quotas().set(change, false).await.unwrap();

    let gac = &stage.gac[0];
    let told = async || gac.quota(table.id * 8).is_some_and(|quota| quota.version == 2);
    member.until("it is pushed", told).await;
    let quota = gac.quota(table.id * 8).unwrap();
    let claim = (quota.weight, quota.floor_milli, quota.cap_milli, quota.priority);
    assert_eq!(claim, (4, 1_000, Some(6_000), 2));
    assert_eq!((quota.terms, quota.burst_milli), (6, 50_000), "open, and shadow");
    stage.stop().await;
}

#[tokio::test]
async fn only_a_new_tables_first_push_is_fresh() {
    let stage = Stage::start().await;
    let first = stage.leader().await;
    let _nodes = stage.three_nodes(&first).await;
    let table = first.create_active("orders").await;
    let gac = &stage.gac[0];
    first.until("it is pushed", async || gac.rate(table.id * 8) == 1_000).await;
    assert_eq!(gac.called_fresh(table.id * 8), 1);

    first.handle.quotas().set(set_rate(orders(), 9), false).await.unwrap();
    first.until("it is pushed", async || gac.rate(table.id * 8) == 9_000).await;
    first.depose(None);
    first.leads_no_more().await;
    let second = stage.leader().await;
    second.leads().await;
    second.handle.quotas().set(set_rate(orders(), 10), false).await.unwrap();
    second.until("it is pushed", async || gac.rate(table.id * 8) == 10_000).await;

    assert_eq!((gac.called_fresh(table.id * 8), gac.called_fresh(table.id * 8 + 1)), (1, 1));
    let fetched = second.connection.call::<FetchQuotas>(&QuotasRequest {}, DEADLINE).await.unwrap();
    assert!(fetched.quotas.iter().all(|quota| !quota.fresh));
    stage.stop().await;
}

#[tokio::test]
async fn watchers_hear_of_each_change_and_of_a_tables_end() {
    let stage = Stage::start().await;
    let member = stage.leader().await;
    let _nodes = stage.three_nodes(&member).await;
    member.create_active("orders").await;
    let quotas = member.handle.quotas();
    let begun = quotas.watch(None, Duration::ZERO).await.unwrap();
    assert!(begun.reset && begun.changes.len() == 2);
    let nothing = quotas.watch(Some(begun.revision), Duration::ZERO).await.unwrap();
    assert_eq!((nothing.revision, nothing.reset, nothing.changes.len()), (begun.revision, false, 0));

    let (waited, _set) =
        tokio::join!(quotas.watch(Some(begun.revision), DEADLINE), quotas.set(set_rate(orders(), 8), false));
    let waited = waited.unwrap();
    let [QuotaEvent::Changed(state)] = waited.changes.as_slice() else { panic!("{waited:?}") };
    assert_eq!((state.current.version, state.current.terms.rate), (2, 8));

    member.table(Command::Delete("orders".into())).await.unwrap();
    member.becomes_gone("orders").await;
    let end = quotas.watch(Some(waited.revision), DEADLINE).await.unwrap();
    assert_eq!(end.changes, [QuotaEvent::Removed(orders())]);
    let unknown = quotas.get(&orders()).await.unwrap_err();
    assert_eq!(unknown, QuotaError::UnknownTable { table: "orders".into() });
    stage.stop().await;
}

#[tokio::test]
async fn a_member_that_does_not_lead_shows_and_changes_nothing() {
    let stage = Stage::start().await;
    let member = stage.follower(Some(units::NodeId::new(2))).await;
    let leader = Some("127.0.0.1:7002".to_owned());

    let refused = member.handle.quotas().set(set_rate(orders(), 1), false).await.unwrap_err();
    assert_eq!(refused, QuotaError::NotLeader { leader: leader.clone() });
    assert_eq!(member.handle.quotas().list().await, Err(QuotaError::NotLeader { leader: leader.clone() }));
    assert_eq!(member.handle.ring().get().await, Err(RingError::NotLeader { leader }));
    stage.stop().await;
}

#[tokio::test]
async fn the_ring_begins_as_configured_and_each_server_is_told_of_changes() {
    let stage = Stage::start().await;
    let member = stage.leader().await;
    member.leads().await;
    let [first, second, spare] = stage.gac.as_slice() else { panic!("three servers") };
    member.until("both are told", async || first.ring().epoch == 1 && second.ring().epoch == 1).await;
    assert_eq!(first.ring().servers.len(), 2);

    let nobody = member.handle.ring().add(change_of("127.0.0.1:1")).await.unwrap_err();
    assert!(matches!(&nobody, RingError::Invalid { field, .. } if field == "address"), "{nobody}");
    assert_eq!(member.handle.ring().get().await.unwrap().epoch, 1);
    member.handle.ring().add(change_of(&spare.address)).await.unwrap();
    member.until("the new one is told", async || spare.ring().epoch == 2).await;
    assert_eq!(spare.ring().servers.len(), 3);

    let status = member.handle.ring().drain(change_of(&first.address)).await.unwrap();
    assert_eq!((status.epoch, status.author.as_str()), (3, "ann"));
    assert!(status.servers.iter().any(|server| server.address == first.address && server.draining));
    member.until("the drained one is told", async || first.ring().epoch == 3).await;
    assert!(!first.ring().servers.contains(&first.address));

    first.drains();
    let gone = async || {
        let status = member.handle.ring().get().await.unwrap();
        status.servers.iter().all(|server| server.address != first.address)
    };
    member.until("it leaves the record", gone).await;
    assert_eq!(member.handle.ring().get().await.unwrap().epoch, 3);
    stage.stop().await;
}

#[tokio::test]
async fn a_new_leader_keeps_the_operators_ring() {
    let stage = Stage::start().await;
    let first = stage.leader().await;
    first.leads().await;
    first.handle.ring().drain(change_of(&stage.gac[0].address)).await.unwrap();
    first.depose(None);
    first.leads_no_more().await;

    let second = stage.leader().await;
    second.leads().await;

    let ring = second.handle.ring().get().await.unwrap();
    assert_eq!(ring.epoch, 2);
    assert_eq!(ring.servers.iter().filter(|server| !server.draining).count(), 1);
    stage.stop().await;
}

#[tokio::test]
async fn peaks_are_taken_from_gac_servers_by_the_leader_only() {
    let stage = Stage::start().await;
    let member = stage.leader().await;
    let follower = stage.follower(None).await;
    let _nodes = stage.three_nodes(&member).await;
    let mut new = new_table("clicks", 1, 1);
    new.billing = Billing::OnDemand { max_read: None, max_write: None, since_ms: 0 };
    let table = member.table(Command::Create(json(&new))).await.unwrap();
    let peaks = Peaks { peaks: vec![Peak { bucket: table.id * 8, rate_milli: 9_000_000 }] };

    member.connection.call::<ReportPeaks>(&peaks, DEADLINE).await.unwrap();
    assert!(follower.connection.call::<ReportPeaks>(&peaks, DEADLINE).await.is_err());
    stage.stop().await;
}

async fn read_history(member: &Member) -> Vec<QuotaVersion> {
    let histories = member.handle.quotas().history(&orders()).await.unwrap();
    histories.into_iter().find(|history| history.kind == QuotaKind::Read).unwrap().versions
}

fn orders() -> QuotaSubject {
    QuotaSubject::Table("orders".into())
}

fn set(subject: QuotaSubject) -> QuotaChange {
    QuotaChange::of(subject, QuotaKind::Read, signed())
}

fn set_rate(subject: QuotaSubject, rate: u64) -> QuotaChange {
    QuotaChange { rate: Some(rate), ..set(subject) }
}

fn boost(for_ms: u64) -> BoostRequest {
    let (subject, kind) = (orders(), QuotaKind::Read);
    BoostRequest { subject, kind, to: BoostRate::Factor(5.0), for_ms, signed: signed() }
}

fn change_of(address: &str) -> RingChange {
    RingChange {
        address: address.into(),
        author: "ann".into(),
        reason: "a test".into(),
        expected_epoch: None,
    }
}

fn signed() -> Signed {
    Signed { author: "ann".into(), reason: "a test".into(), expected_version: None }
}
