//! A GAC server over loopback, spoken to as proxies and the control plane do.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use admission::{BucketId, CapacityKind, GrantNumber, Level, Quota, ReportEntry, ReportHeader};
use gac_server::{Config, Handle, start};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use units::{Epoch, MilliUnits, MilliUnitsPerSecond, ProxyId, TableId};
use wire::method::{FetchLevels, FetchQuotas, Method, PushQuotas, Report};
use wire::proto::{control, gac};
use wire::transport::{
    CallError, Connection, ConnectionConfig, Failure, Incoming, Responder, Service, serve,
};

const DEADLINE: Duration = Duration::from_secs(10);

fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

async fn gac(config: Config) -> (Handle, Connection, CancellationToken) {
    let shutdown = CancellationToken::new();
    let handle = start(config, shutdown.clone()).await.expect("loopback has ports");
    let connection = Connection::open(&handle.address().to_string(), ConnectionConfig::named("test"));
    (handle, connection, shutdown)
}

fn bucket() -> BucketId {
    BucketId::new(TableId::new(9), CapacityKind::Read)
}

fn quota(units: u64, version: u64) -> Quota {
    Quota::with_usual_burst(MilliUnitsPerSecond::from_units(units), version)
}

fn header(proxy: u64, session: u64) -> ReportHeader {
    ReportHeader {
        proxy: ProxyId::new(proxy),
        session,
        fleet: 0,
        ring: Epoch::new(1),
        leaving: false,
        session_age: Duration::ZERO,
    }
}

fn entry(quota: Quota) -> ReportEntry {
    ReportEntry {
        bucket: bucket(),
        admitted: MilliUnits::ZERO,
        throttled: MilliUnits::ZERO,
        returned: MilliUnits::ZERO,
        held: MilliUnits::ZERO,
        need: MilliUnits::ZERO,
        acknowledged: GrantNumber::default(),
        rate_in_use: MilliUnitsPerSecond::default(),
        quota,
    }
}

async fn report(connection: &Connection, proxy: u64, entries: &[ReportEntry]) -> gac::Grants {
    let report = gac::Report::pack(header(proxy, 1), entries);
    connection.call::<Report>(&report, DEADLINE).await.expect("it answers")
}

#[tokio::test]
async fn a_report_is_answered_by_a_grant_of_the_quota_it_carries() {
    let (handle, connection, shutdown) = gac(Config::new(loopback(), Vec::new())).await;
    assert!(!handle.is_ready());
    assert_eq!(report(&connection, 1, &[]).await.bucket, [0_u64; 0]);
    assert!(handle.is_ready(), "the only expected proxy has reported");
    let grants = report(&connection, 1, &[entry(quota(100, 1))]).await;
    assert_eq!(grants.bucket, [bucket().get()]);
    assert!((1..=100_000).contains(&grants.rate[0]));
    shutdown.cancel();
    handle.join().await.expect("it ends in order");
}

#[tokio::test]
async fn a_pushed_quota_overrules_an_older_one_in_a_report() {
    let (_handle, connection, _shutdown) = gac(Config::new(loopback(), Vec::new())).await;
    let pushed = control::Quotas {
        quotas: vec![control::Quota::of(bucket(), quota(10, 8))],
        complete: true,
        ..Default::default()
    };
    connection.call::<PushQuotas>(&pushed, DEADLINE).await.expect("it answers");
    report(&connection, 1, &[]).await;
    let grants = report(&connection, 1, &[entry(quota(1_000, 7))]).await;
    assert!(grants.rate[0] <= 10_000, "{grants:?}");
}

#[tokio::test]
async fn what_cannot_be_read_is_refused() {
    let (_handle, connection, _shutdown) = gac(Config::new(loopback(), Vec::new())).await;
    let mut ragged = gac::Report::pack(header(1, 1), &[entry(quota(1, 1))]);
    ragged.need.clear();
    let refused = connection.call::<Report>(&ragged, DEADLINE).await;
    assert_eq!(refused, Err(CallError::Failed(Failure::Malformed)));
    let unknown = connection.call::<FetchQuotas>(&control::QuotasRequest {}, DEADLINE).await;
    assert_eq!(unknown, Err(CallError::Failed(Failure::UnknownMethod)));
}

#[tokio::test]
async fn proxies_learn_which_quotas_stand_above_tables() {
    let (_handle, connection, _shutdown) = gac(Config::new(loopback(), Vec::new())).await;
    assert_eq!(report(&connection, 1, &[]).await.levels_version, 0, "nothing was heard yet");
    let principal = BucketId::at(Level::Principal, 77, CapacityKind::Write);
    let mut named = control::Quota::of(principal, quota(5, 1));
    named.name = "app".to_owned();
    let account = control::Quota::of(BucketId::from_raw(0), quota(500, 1));
    let pushed = control::Quotas {
        quotas: vec![named, control::Quota::of(bucket(), quota(10, 8))],
        complete: true,
        account_read: Some(account),
        account_write: None,
    };
    connection.call::<PushQuotas>(&pushed, DEADLINE).await.expect("it answers");
    let version = report(&connection, 1, &[]).await.levels_version;
    let levels = connection.call::<FetchLevels>(&gac::LevelsRequest {}, DEADLINE).await.expect("it answers");
    assert!(version > 0);
    let app = gac::Principal { name: "app".to_owned(), read: false, write: true };
    let expected = gac::Levels { version, account_read: true, account_write: false, principals: vec![app] };
    assert_eq!(levels, expected);
    connection.call::<PushQuotas>(&pushed, DEADLINE).await.expect("it answers");
    assert_eq!(report(&connection, 1, &[]).await.levels_version, version, "nothing changed");
}

#[tokio::test]
async fn an_accounts_quota_is_divided_by_the_tables_claims() {
    let (handle, connection, _shutdown) = gac(Config::new(loopback(), Vec::new())).await;
    report(&connection, 1, &[]).await;
    let table = |number| BucketId::new(TableId::new(number), CapacityKind::Write);
    let claim =
        |number, weight| control::Quota { weight, ..control::Quota::of(table(number), quota(900, 1)) };
    let pushed = control::Quotas {
        quotas: vec![claim(1, 1), claim(2, 3)],
        complete: true,
        account_read: None,
        account_write: Some(control::Quota::of(BucketId::from_raw(0), quota(400, 1))),
    };
    connection.call::<PushQuotas>(&pushed, DEADLINE).await.expect("it answers");

    // Both want more than there is: three quarters go to the one with three quarters of the weight.
    let share = |number| BucketId::at(Level::AccountShare, number, CapacityKind::Write);
    let mut offered = MilliUnits::ZERO;
    let divided = async {
        loop {
            offered += MilliUnits::from_units(100);
            let wants =
                |number| ReportEntry { bucket: share(number), throttled: offered, ..entry(quota(0, 0)) };
            report(&connection, 1, &[wants(1), wants(2)]).await;
            let wanted = gac::InspectRequest {
                buckets: vec![share(1).get(), share(2).get()],
                ..gac::InspectRequest::default()
            };
            let seen = handle.inspect(&wanted);
            let [account] = &seen.server.accounts[..] else { panic!("{seen:?}") };
            assert_eq!((account.kind.as_str(), account.quota.rate), ("write", 400_000));
            assert!(account.assigned <= account.quota.rate, "I1 of the account");
            let rates: Vec<u64> = seen.buckets.iter().map(|bucket| bucket.quota.rate).collect();
            if let [one, three] = rates[..]
                && three >= 250_000
                && (2 * one..4 * one).contains(&three)
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(60)).await;
        }
    };
    tokio::time::timeout(DEADLINE, divided).await.expect("the weights come into force");
}

#[tokio::test]
async fn a_new_tables_pool_starts_with_tokens_only_when_pushed_as_such() {
    let (_handle, connection, _shutdown) = gac(Config::new(loopback(), Vec::new())).await;
    report(&connection, 1, &[]).await;
    let table = |number| BucketId::new(TableId::new(number), CapacityKind::Read);
    let pushed = |number, fresh| control::Quota { fresh, ..control::Quota::of(table(number), quota(100, 1)) };
    let quotas =
        control::Quotas { quotas: vec![pushed(1, true), pushed(2, false)], ..control::Quotas::default() };
    connection.call::<PushQuotas>(&quotas, DEADLINE).await.expect("it answers");
    let wants = |number| ReportEntry {
        bucket: table(number),
        need: MilliUnits::from_units(60),
        ..entry(quota(100, 1))
    };
    let tokens = report(&connection, 1, &[wants(1)]).await.tokens[0];
    assert!((40_000..=60_000).contains(&tokens), "{tokens} of the first second's 100,000");
    let tokens = report(&connection, 1, &[wants(2)]).await.tokens[0];
    assert!(tokens < 20_000, "{tokens}: only what was saved since");
}

struct Control;

impl Service for Control {
    fn call(&self, request: Incoming, responder: Responder) {
        assert_eq!(request.method, FetchQuotas::NUMBER);
        let quotas = vec![control::Quota::of(bucket(), quota(3, 9))];
        responder.answer::<FetchQuotas>(&control::Quotas { quotas, complete: true, ..Default::default() });
    }
}

#[tokio::test]
async fn quotas_are_fetched_from_whichever_member_answers() {
    let listener = TcpListener::bind(loopback()).await.expect("loopback has ports");
    let address = listener.local_addr().expect("it is bound").to_string();
    let control = tokio::spawn(serve(listener, Arc::new(Control), CancellationToken::new()));
    let dead = TcpListener::bind(loopback()).await.expect("loopback has ports");
    let nobody = dead.local_addr().expect("it is bound").to_string();
    drop(dead);
    let (_handle, connection, _shutdown) = gac(Config::new(loopback(), vec![nobody, address])).await;
    report(&connection, 1, &[]).await;
    let fetched = async {
        let mut session = 1;
        loop {
            session += 1;
            let report = gac::Report::pack(header(1, session), &[entry(quota(1_000, 1))]);
            let grants = connection.call::<Report>(&report, DEADLINE).await.expect("it answers");
            if grants.rate[0] <= 3_000 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(DEADLINE, fetched).await.expect("the fetched quota comes into force");
    control.abort();
}
