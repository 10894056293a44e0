//! Admission against real GAC servers over loopback.

use std::net::SocketAddr;
use std::time::Duration;

use dynamodb::table::{Billing, KeyAttribute, KeySchema, KeyType, ProvisionedThroughput, TableStatus};

use super::*;

const LONG: Duration = Duration::from_secs(20);
const READ: CapacityKind = CapacityKind::Read;
const WRITE: CapacityKind = CapacityKind::Write;

fn provisioned(id: u64, version: u64, read: u64, write: u64) -> TableDescriptor {
    let throughput = ProvisionedThroughput { read, write, ..ProvisionedThroughput::default() };
    table(id, version, Billing::Provisioned(throughput))
}

fn table(id: u64, version: u64, billing: Billing) -> TableDescriptor {
    TableDescriptor {
        id,
        name: format!("table-{id}"),
        uuid: String::new(),
        arn: String::new(),
        version,
        status: TableStatus::Active,
        keys: KeySchema { partition: KeyAttribute { name: "k".into(), kind: KeyType::S }, sort: None },
        attribute_definitions: Vec::new(),
        billing,
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

fn units(units: u64) -> MilliUnits {
    MilliUnits::from_units(units)
}

struct Fleet {
    gac: Vec<gac_server::Handle>,
    shutdown: CancellationToken,
}

impl Fleet {
    async fn start(servers: usize, proxies: u32) -> Self {
        let shutdown = CancellationToken::new();
        let mut gac = Vec::new();
        for _ in 0..servers {
            let listen = SocketAddr::from(([127, 0, 0, 1], 0));
            let config = gac_server::Config {
                expected_proxies: proxies,
                ..gac_server::Config::new(listen, Vec::new())
            };
            gac.push(gac_server::start(config, shutdown.clone()).await.expect("loopback has ports"));
        }
        Self { gac, shutdown }
    }

    fn proxy(&self, number: u64, proxies: u32) -> Admission {
        let servers = self.gac.iter().map(|server| server.address().to_string()).collect();
        let config = AdmissionConfig { proxy: ProxyId::new(number), servers, expected_proxies: proxies };
        Admission::start(config, &self.shutdown)
    }
}

/// What was admitted of what was offered, and how long that took: under load it may take longer.
#[derive(Clone, Copy, Debug)]
struct Offered {
    admitted: f64,
    seconds: f64,
}

/// Offers requests of one unit for `millis` of real time, as many as `per_millisecond`.
async fn offer(proxy: &Admission, table: &TableDescriptor, per_millisecond: u32, millis: u64) -> Offered {
    let started = clock::now();
    let mut admitted = 0_u32;
    for step in 1..=millis {
        for _ in 0..per_millisecond {
            admitted += u32::from(proxy.admit(table, WRITE, units(1), clock::now()).is_ok());
        }
        let due = started + Duration::from_millis(step);
        tokio::time::sleep(due.since(clock::now())).await;
    }
    Offered { admitted: f64::from(admitted), seconds: clock::now().since(started).as_secs_f64() }
}

async fn until(condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(LONG, waiting).await.expect("it comes true");
}

#[tokio::test]
async fn a_new_tables_first_requests_need_no_grant() {
    let nobody = AdmissionConfig { proxy: ProxyId::new(1), servers: Vec::new(), expected_proxies: 2 };
    let admission = Admission::start(nobody, &CancellationToken::new());
    let table = provisioned(1, 1, 100, 100);
    let now = clock::now();
    let admitted = (0..100).filter(|_| admission.admit(&table, READ, units(1), now).is_ok()).count();
    // A quarter of a second of half the quota.
    assert_eq!(admitted, 12);
    let refusal = admission.admit(&table, READ, units(1), now).expect_err("nothing is left");
    assert_eq!((refusal.cause, refusal.retry_after), (Cause::Share, Duration::from_millis(10)));
    assert!(admission.admit(&table, WRITE, units(1), now).is_ok(), "the other kind is another bucket");
}

#[tokio::test]
async fn refunds_return_and_late_charges_are_owed() {
    let nobody = AdmissionConfig { proxy: ProxyId::new(1), servers: Vec::new(), expected_proxies: 1 };
    let admission = Admission::start(nobody, &CancellationToken::new());
    let table = provisioned(1, 1, 16, 16);
    let now = clock::now();
    let permit = admission.admit(&table, READ, units(4), now).expect("four units are there");
    assert!(admission.admit(&table, READ, units(1), now).is_err());
    admission.settle(permit, None);
    let permit = admission.admit(&table, READ, units(4), now).expect("they came back");
    admission.settle(permit, Some(units(20)));
    let refusal = admission.admit(&table, READ, units(1), now).expect_err("16 are owed");
    assert_eq!(refusal.retry_after, Duration::from_secs(17) / 16);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lone_proxy_is_leased_the_quota_it_needs_and_no_more() {
    let fleet = Fleet::start(1, 1).await;
    let proxy = fleet.proxy(1, 1);
    let table = provisioned(1, 1, 10, 500);
    let first = offer(&proxy, &table, 2, 1500).await;
    let then = offer(&proxy, &table, 2, 1000).await;
    assert!(then.admitted >= 500.0 * then.seconds * 0.9, "{then:?} of 500 a second");
    // The pool starts empty, so all that is admitted was earned since, but for the first allowance.
    let earned = 500.0 * (first.seconds + then.seconds) + 125.0;
    assert!(first.admitted + then.admitted <= earned + 1.0, "{first:?} and {then:?}");
    let (rate, _) = proxy.lease(TableId::new(1), WRITE, clock::now()).expect("it was used");
    assert!(rate <= MilliUnitsPerSecond::from_units(500), "{rate:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_proxies_share_a_quota_by_what_they_are_offered() {
    let fleet = Fleet::start(2, 2).await;
    let (busy, calm) = (fleet.proxy(1, 2), fleet.proxy(2, 2));
    let table = provisioned(7, 1, 10, 1000);
    let both = || async { tokio::join!(offer(&busy, &table, 3, 1500), offer(&calm, &table, 1, 1500)) };
    both().await;
    let (most, least) = both().await;
    let all = most.admitted + least.admitted;
    assert!(all >= 1000.0 * most.seconds.min(least.seconds) * 0.9, "{most:?} and {least:?}");
    assert!(most.admitted > least.admitted * 2.0, "{most:?} and {least:?}: thrice was offered to the first");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_quota_comes_into_force_with_the_tables_new_version() {
    let fleet = Fleet::start(1, 1).await;
    let proxy = fleet.proxy(1, 1);
    let small = provisioned(1, 1, 10, 10);
    let _taken = proxy.admit(&small, WRITE, units(1), clock::now()).expect("a first request");
    until(|| {
        proxy.lease(TableId::new(1), WRITE, clock::now()).is_some_and(|(_, pool)| pool != PoolColour::Unknown)
    })
    .await;
    let large = provisioned(1, 2, 10, 5000);
    let _admitted = proxy.admit(&large, WRITE, units(1), clock::now());
    until(|| {
        let lease = proxy.lease(TableId::new(1), WRITE, clock::now());
        lease.is_some_and(|(rate, _)| rate > MilliUnitsPerSecond::from_units(2000))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_gac_server_is_shown_what_is_in_use() {
    let mut fleet = Fleet::start(1, 1).await;
    let address = fleet.gac[0].address();
    let proxies = CancellationToken::new();
    let config =
        AdmissionConfig { proxy: ProxyId::new(1), servers: vec![address.to_string()], expected_proxies: 1 };
    let proxy = Admission::start(config, &proxies);
    let table = provisioned(1, 1, 10, 800);
    offer(&proxy, &table, 2, 1000).await;
    let before = proxy.lease(TableId::new(1), WRITE, clock::now()).expect("it was used").0;
    assert!(before > MilliUnitsPerSecond::from_units(700), "{before:?}");

    fleet.shutdown.cancel();
    fleet.gac.remove(0).join().await.expect("it ends in order");
    let while_away = offer(&proxy, &table, 2, 500).await;
    assert!(while_away.admitted >= 700.0 * while_away.seconds * 0.9, "the lease holds: {while_away:?}");

    let again = gac_server::Config::new(address, Vec::new());
    let _again = gac_server::start(again, proxies.clone()).await.expect("the port is free again");
    let after = offer(&proxy, &table, 2, 1000).await;
    assert!(after.admitted >= 800.0 * after.seconds * 0.85, "{after:?} of 800 a second");
}

#[tokio::test]
async fn an_idle_proxy_introduces_itself_so_that_learning_ends() {
    let fleet = Fleet::start(1, 1).await;
    let _proxy = fleet.proxy(1, 1);
    until(|| fleet.gac[0].is_ready()).await;
}

#[tokio::test]
async fn a_deleted_tables_buckets_are_dropped_and_the_tasks_end() {
    let fleet = Fleet::start(1, 1).await;
    let proxy = fleet.proxy(1, 1);
    let table = provisioned(5, 1, 10, 10);
    let permit = proxy.admit(&table, READ, units(1), clock::now()).expect("a first request");
    proxy.forget(TableId::new(5));
    assert_eq!(proxy.lease(TableId::new(5), READ, clock::now()), None);
    proxy.settle(permit, None);
    fleet.shutdown.cancel();
    proxy.closed().await;
}

#[test]
fn on_demand_tables_start_with_dynamodbs_throughput_or_their_maximum() {
    let billing = |max_read, max_write| Billing::OnDemand { max_read, max_write, since_ms: 0 };
    let rate = |billing, kind| quota_of(&table(1, 1, billing), kind).rate;
    assert_eq!(rate(billing(None, None), READ), MilliUnitsPerSecond::from_units(12_000));
    assert_eq!(rate(billing(None, None), WRITE), MilliUnitsPerSecond::from_units(4_000));
    assert_eq!(rate(billing(Some(50), Some(7)), READ), MilliUnitsPerSecond::from_units(50));
    assert_eq!(rate(billing(Some(50), Some(7)), WRITE), MilliUnitsPerSecond::from_units(7));
}

#[tokio::test]
async fn a_burst_that_the_pool_covers_is_admitted_without_a_retry() {
    let fleet = Fleet::start(1, 1).await;
    let proxy = fleet.proxy(1, 1);
    let table = provisioned(1, 1, 100, 100);
    let id = TableId::new(table.id);
    assert!(proxy.admit(&table, WRITE, units(1), clock::now()).is_ok());
    // Comfortable: a second's units are banked.
    until(|| matches!(proxy.lease(id, WRITE, clock::now()), Some((_, PoolColour::Comfortable)))).await;

    let began = clock::now();
    for number in 0..120 {
        let admitted = proxy.admit_patiently(&table, WRITE, units(1), clock::now()).await;
        assert!(admitted.is_ok(), "request {number}: {admitted:?}");
    }
    assert!(clock::now().since(began) < Duration::from_secs(1), "not earned, but banked");
}

#[tokio::test]
async fn a_request_beyond_the_quota_is_refused_without_a_wait() {
    let nobody = AdmissionConfig { proxy: ProxyId::new(1), servers: Vec::new(), expected_proxies: 1 };
    let admission = Admission::start(nobody, &CancellationToken::new());
    let table = provisioned(1, 1, 4, 4);
    assert!(admission.admit(&table, WRITE, units(4), clock::now()).is_ok());

    let refused = std::pin::pin!(admission.admit_patiently(&table, WRITE, units(4), clock::now()));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(matches!(refused.poll(&mut context), std::task::Poll::Ready(Err(_))));
}
