//! Admission against real GAC servers over loopback.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use ::admission::Quota;
use dynamodb::table::{
    Billing, KeyAttribute, KeySchema, KeyType, ProvisionedThroughput, TableDescriptor, TableQuota,
    TableQuotas, TableStatus,
};
use tokio_util::task::TaskTracker;
use units::{Epoch, MilliUnitsPerSecond, Timestamp};
use wire::method::{PushQuotas, PushRing};
use wire::proto::{control, gac};
use wire::transport::{Connection, ConnectionConfig};

use super::shared::quota_of;
use super::*;
use crate::http::RequestIds;

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

/// Asks and settles as one client.
struct Client<'a> {
    proxy: &'a Admission,
    principal: Arc<str>,
    ids: RequestIds,
}

impl<'a> Client<'a> {
    fn of(proxy: &'a Admission) -> Self {
        Self::named(proxy, "app")
    }

    fn named(proxy: &'a Admission, principal: &str) -> Self {
        Self { proxy, principal: principal.into(), ids: RequestIds::new(1) }
    }

    /// Without a wait.
    fn admit(
        &self,
        table: &TableDescriptor,
        kind: CapacityKind,
        cost: MilliUnits,
    ) -> Result<Permit, Refusal> {
        self.admit_at(table, kind, cost, clock::now())
    }

    fn admit_at(
        &self,
        table: &TableDescriptor,
        kind: CapacityKind,
        cost: MilliUnits,
        now: Timestamp,
    ) -> Result<Permit, Refusal> {
        self.proxy.admit(&self.ask(&self.ids.next(), table, kind, cost, now))
    }

    /// As the request path asks.
    async fn admit_patiently(&self, table: &TableDescriptor, cost: MilliUnits) -> Result<Permit, Refusal> {
        let id = self.ids.next();
        self.proxy.admit_patiently(&self.ask(&id, table, WRITE, cost, clock::now())).await
    }

    /// As the request path asks; the refused request's explanation.
    async fn explained(&self, table: &TableDescriptor, cost: MilliUnits) -> Result<Permit, Explanation> {
        let id = self.ids.next();
        let asked = self.proxy.admit_patiently(&self.ask(&id, table, WRITE, cost, clock::now())).await;
        asked.map_err(|_| self.proxy.explain(id.as_str()).expect("a refusal is kept"))
    }

    fn ask<'b>(
        &'b self,
        request: &'b RequestId,
        table: &'b TableDescriptor,
        kind: CapacityKind,
        cost: MilliUnits,
        now: Timestamp,
    ) -> Ask<'b> {
        let operation = if kind == READ {
            dynamodb::api::ApiOperation::GetItem
        } else {
            dynamodb::api::ApiOperation::PutItem
        };
        Ask { request, operation, principal: &self.principal, table, kind, cost, now }
    }
}

/// What the bucket may refill at now, and the colour of its pool; none: it was not used yet.
fn lease(proxy: &Admission, table: u64, kind: CapacityKind) -> Option<(MilliUnitsPerSecond, PoolColour)> {
    let bucket = proxy.shared.buckets.get(&BucketId::new(TableId::new(table), kind))?;
    Some((bucket.tokens.rate_at(clock::now()), bucket.pool()))
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

/// A table whose write quota has this rate and burst, in units.
fn with_quota(id: u64, version: u64, rate: u64, burst: u64) -> TableDescriptor {
    let quota = TableQuota { burst_milli: burst * 1000, ..TableQuota::usual(rate, version) };
    let quotas = Some(TableQuotas { read: quota, write: quota });
    TableDescriptor { quotas, ..provisioned(id, version, rate, rate) }
}

impl Fleet {
    /// What the control plane would say to every server.
    async fn push(&self, quotas: &control::Quotas) {
        for server in &self.gac {
            let connection =
                Connection::open(&server.address().to_string(), ConnectionConfig::named("test-control"));
            until(|| connection.is_connected()).await;
            connection.call::<PushQuotas>(quotas, LONG).await.expect("a push is acknowledged");
        }
    }
}

impl Fleet {
    /// Makes `server` the only one.
    async fn push_ring(&self, epoch: u64, server: &str) {
        for told in &self.gac {
            let connection =
                Connection::open(&told.address().to_string(), ConnectionConfig::named("test-control"));
            until(|| connection.is_connected()).await;
            let ring = gac::Ring { epoch, servers: vec![server.to_owned()] };
            connection.call::<PushRing>(&ring, LONG).await.expect("a ring is acknowledged");
        }
    }
}

fn control_quota(bucket: BucketId, rate: u64, burst: u64) -> control::Quota {
    let quota = Quota {
        rate: MilliUnitsPerSecond::from_units(rate),
        burst: units(burst),
        ..Quota::with_usual_burst(MilliUnitsPerSecond::from_units(rate), 1)
    };
    control::Quota::of(bucket, quota)
}

/// What was admitted of what was offered, and how long that took: under load it may take longer.
#[derive(Clone, Copy, Debug)]
struct Offered {
    admitted: f64,
    seconds: f64,
}

/// Offers requests of one unit for `millis` of real time, as many as `per_millisecond`.
async fn offer(proxy: &Admission, table: &TableDescriptor, per_millisecond: u32, millis: u64) -> Offered {
    let client = Client::of(proxy);
    let started = clock::now();
    let mut admitted = 0_u32;
    for step in 1..=millis {
        for _ in 0..per_millisecond {
            admitted += u32::from(client.admit(table, WRITE, units(1)).is_ok());
        }
        let due = started + Duration::from_millis(step);
        tokio::time::sleep(due.since(clock::now())).await;
    }
    Offered { admitted: f64::from(admitted), seconds: clock::now().since(started).as_secs_f64() }
}

/// Offers requests of one unit as the request path does, one each `every`, for `lasting` of real time.
async fn offer_patiently(
    proxy: &Admission,
    table: &TableDescriptor,
    every: Duration,
    lasting: Duration,
) -> Offered {
    let started = clock::now();
    let admitted = Arc::new(AtomicUsize::new(0));
    let asked = TaskTracker::new();
    while clock::now().since(started) < lasting {
        let (proxy, table, admitted) = (proxy.clone(), table.clone(), Arc::clone(&admitted));
        asked.spawn(async move {
            if Client::of(&proxy).admit_patiently(&table, units(1)).await.is_ok() {
                admitted.fetch_add(1, Ordering::Relaxed);
            }
        });
        tokio::time::sleep(every).await;
    }
    let seconds = clock::now().since(started).as_secs_f64();
    asked.close();
    asked.wait().await;
    #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
    let admitted = admitted.load(Ordering::Relaxed) as f64;
    Offered { admitted, seconds }
}

async fn until(condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(LONG, waiting).await.expect("it comes true");
}

fn alone(expected_proxies: u32) -> Admission {
    let nobody = AdmissionConfig { proxy: ProxyId::new(1), servers: Vec::new(), expected_proxies };
    Admission::start(nobody, &CancellationToken::new())
}

#[tokio::test]
async fn without_any_server_a_proxy_admits_its_equal_part() {
    let proxy = alone(2);
    let (client, table) = (Client::of(&proxy), provisioned(1, 1, 100, 100));
    let now = clock::now();
    let admitted = (0..200).filter(|_| client.admit_at(&table, READ, units(1), now).is_ok()).count();
    // A hundredth of the burst (300 s of the rate), by two; from then on, half the rate.
    assert_eq!(admitted, 150);
    let refusal = client.admit_at(&table, READ, units(1), now).expect_err("nothing is left");
    assert_eq!((refusal.cause, refusal.layer), (Cause::Share, Layer::Table));
    assert_eq!(refusal.retry_after, Duration::from_millis(20));
    assert!(client.admit_at(&table, WRITE, units(1), now).is_ok(), "the other kind is another bucket");
}

#[tokio::test]
async fn refunds_return_and_late_charges_are_owed() {
    let proxy = alone(1);
    let (client, table) = (Client::of(&proxy), with_quota(1, 1, 16, 400));
    let now = clock::now();
    let permit = client.admit_at(&table, READ, units(4), now).expect("four units are there");
    assert!(client.admit_at(&table, READ, units(1), now).is_err());
    proxy.settle(permit, None);
    let permit = client.admit_at(&table, READ, units(4), now).expect("they came back");
    proxy.settle(permit, Some(units(20)));
    assert!(client.admit_at(&table, READ, units(1), now).is_err());
    let bucket = proxy.shared.buckets.get(&BucketId::new(TableId::new(1), READ)).expect("it was used");
    assert_eq!(bucket.tokens.debt(), units(16));
}

#[tokio::test]
async fn a_large_tables_first_requests_need_no_grant() {
    let fleet = Fleet::start(1, 2).await;
    let proxy = fleet.proxy(1, 2);
    let (client, table) = (Client::of(&proxy), provisioned(1, 1, 1000, 1000));
    let now = clock::now();
    let admitted = (0..2000).filter(|_| client.admit_at(&table, READ, units(1), now).is_ok()).count();
    // A hundredth of the burst (300 s of the rate), by two.
    assert_eq!(admitted, 1500);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lone_proxy_is_leased_the_quota_it_needs_and_no_more() {
    let fleet = Fleet::start(1, 1).await;
    let proxy = fleet.proxy(1, 1);
    let table = with_quota(1, 1, 500, 500);
    let first = offer(&proxy, &table, 2, 1500).await;
    let then = offer(&proxy, &table, 2, 1500).await;
    assert!(then.admitted >= 500.0 * then.seconds * 0.9, "{then:?} of 500 a second");
    let bound = 500.0 * (first.seconds + then.seconds) + 500.0;
    assert!(first.admitted + then.admitted <= bound + 1.0, "{first:?} and {then:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_proxies_share_a_quota_by_what_they_are_offered() {
    let fleet = Fleet::start(2, 2).await;
    let (busy, calm) = (fleet.proxy(1, 2), fleet.proxy(2, 2));
    let table = with_quota(7, 1, 1000, 1000);
    let both = || async { tokio::join!(offer(&busy, &table, 3, 1500), offer(&calm, &table, 1, 1500)) };
    both().await;
    let (most, least) = both().await;
    let all = most.admitted + least.admitted;
    assert!(all >= 1000.0 * most.seconds.min(least.seconds) * 0.9, "{most:?} and {least:?}");
    assert!(most.admitted > least.admitted * 2.0, "{most:?} and {least:?}: thrice was offered to the first");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_of_five_units_is_used_up_by_two_proxies_and_no_further() {
    let fleet = Fleet::start(1, 2).await;
    let (one, other) = (fleet.proxy(1, 2), fleet.proxy(2, 2));
    let table = with_quota(3, 1, 5, 5);
    let every = Duration::from_millis(50);
    let both = |lasting| {
        let (one, other, table) = (&one, &other, &table);
        async move {
            tokio::join!(
                offer_patiently(one, table, every, lasting),
                offer_patiently(other, table, every, lasting)
            )
        }
    };
    let before = both(Duration::from_secs(2)).await;
    let then = both(Duration::from_secs(6)).await;
    let admitted = then.0.admitted + then.1.admitted;
    let seconds = then.0.seconds.max(then.1.seconds);
    // What is earned in part of a unit at the end is not there yet.
    assert!(admitted >= 5.0 * seconds * 0.99 - 1.0, "{then:?} of 5 a second");
    let all = admitted + before.0.admitted + before.1.admitted;
    assert!(
        all <= 5.0 + 5.0 * (seconds + before.0.seconds.max(before.1.seconds)) + 1.0,
        "{before:?}, {then:?}"
    );
    assert!(then.0.admitted >= 5.0 && then.1.admitted >= 5.0, "neither starves: {then:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_quota_comes_into_force_with_the_tables_new_version() {
    let fleet = Fleet::start(1, 1).await;
    let proxy = fleet.proxy(1, 1);
    let small = with_quota(1, 1, 50, 50);
    let client = Client::of(&proxy);
    offer(&proxy, &small, 1, 500).await;
    let large = with_quota(1, 2, 5000, 5000);
    offer(&proxy, &large, 4, 1200).await;
    let then = offer(&proxy, &large, 4, 500).await;
    assert!(then.admitted > 2000.0 * then.seconds, "{then:?}");
    let refusal = loop {
        if let Err(refused) = client.explained(&large, units(5000)).await {
            break refused;
        }
    };
    assert_eq!((refusal.levels[0].quota_rate, refusal.levels[0].quota_version), (5000.0, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_gac_server_is_shown_what_is_in_use() {
    let mut fleet = Fleet::start(1, 1).await;
    let address = fleet.gac[0].address();
    let proxies = CancellationToken::new();
    let config =
        AdmissionConfig { proxy: ProxyId::new(1), servers: vec![address.to_string()], expected_proxies: 1 };
    let proxy = Admission::start(config, &proxies);
    let table = with_quota(1, 1, 800, 800);
    offer(&proxy, &table, 2, 1500).await;
    let before = lease(&proxy, 1, WRITE).expect("it was used").0;
    assert!(before > MilliUnitsPerSecond::from_units(700), "{before:?}");

    fleet.shutdown.cancel();
    fleet.gac.remove(0).join().await.expect("it ends in order");
    let while_away = offer(&proxy, &table, 2, 500).await;
    assert!(while_away.admitted >= 700.0 * while_away.seconds * 0.9, "the lease holds: {while_away:?}");

    let again = gac_server::Config::new(address, Vec::new());
    let _again = gac_server::start(again, proxies.clone()).await.expect("the port is free again");
    let after = offer(&proxy, &table, 2, 1500).await;
    assert!(after.admitted >= 800.0 * after.seconds * 0.85, "{after:?} of 800 a second");
}

#[tokio::test]
async fn an_idle_proxy_introduces_itself_so_that_learning_ends() {
    let fleet = Fleet::start(1, 1).await;
    let _proxy = fleet.proxy(1, 1);
    until(|| fleet.gac[0].is_ready()).await;
}

#[tokio::test]
async fn the_fleets_size_is_learned_from_answers() {
    let fleet = Fleet::start(1, 1).await;
    let proxies = [fleet.proxy(1, 1), fleet.proxy(2, 1), fleet.proxy(3, 1)];
    until(|| proxies.iter().all(|proxy| proxy.shared.proxies() == 3)).await;
}

#[tokio::test]
async fn a_deleted_tables_buckets_are_dropped_and_the_tasks_end() {
    let fleet = Fleet::start(1, 1).await;
    let proxy = fleet.proxy(1, 1);
    let table = provisioned(5, 1, 1000, 1000);
    let permit = Client::of(&proxy).admit(&table, READ, units(1)).expect("a first request");
    proxy.forget(TableId::new(5));
    assert_eq!(lease(&proxy, 5, READ), None);
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
    let client = Client::of(&proxy);
    assert!(client.admit_patiently(&table, units(1)).await.is_ok());
    // Two seconds' units are banked.
    tokio::time::sleep(Duration::from_secs(2)).await;

    let began = clock::now();
    for number in 0..120 {
        let admitted = client.admit_patiently(&table, units(1)).await;
        assert!(admitted.is_ok(), "request {number}: {admitted:?}");
    }
    assert!(clock::now().since(began) < Duration::from_secs(1), "not earned, but banked");
}

#[tokio::test]
async fn a_request_that_nobody_can_help_is_refused_without_a_wait() {
    let proxy = alone(1);
    let (client, table) = (Client::of(&proxy), with_quota(1, 1, 4, 400));
    assert!(client.admit(&table, WRITE, units(4)).is_ok());

    let mut refused = Box::pin(client.admit_patiently(&table, units(4)));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(matches!(refused.as_mut().poll(&mut context), std::task::Poll::Ready(Err(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_accounts_quota_limits_tables_that_have_their_own_left() {
    let fleet = Fleet::start(1, 1).await;
    let account = BucketId::at(Level::AccountShare, 0, WRITE);
    let account_write = Some(control_quota(account, 100, 100));
    fleet.push(&control::Quotas { account_write, complete: true, ..control::Quotas::default() }).await;
    let proxy = fleet.proxy(1, 1);
    until(|| proxy.shared.levels.load().limits_account(WRITE)).await;

    let table = with_quota(1, 1, 5000, 5000);
    offer(&proxy, &table, 1, 1500).await;
    let then = offer(&proxy, &table, 1, 2000).await;
    assert!(then.admitted <= 100.0 + 100.0 * then.seconds, "{then:?} of 100 a second");
    assert!(then.admitted >= 90.0 * then.seconds, "{then:?} of 100 a second");
    let refusal = loop {
        if let Err(refused) = Client::of(&proxy).explained(&table, units(1)).await {
            break refused;
        }
    };
    assert_eq!((refusal.layer, refusal.cause), (Layer::Account, Cause::Account));
    assert_eq!(refusal.levels.iter().map(|level| level.refused).collect::<Vec<_>>(), [false, true]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ring_that_moves_takes_the_buckets_along_under_load() {
    let fleet = Fleet::start(2, 1).await;
    let [first, second] = [0, 1].map(|server| fleet.gac[server].address().to_string());
    fleet.push_ring(1, &first).await;
    let servers = vec![first];
    let config = AdmissionConfig { proxy: ProxyId::new(1), servers, expected_proxies: 1 };
    let proxy = Admission::start(config, &fleet.shutdown);
    let table = with_quota(1, 1, 500, 500);
    offer(&proxy, &table, 1, 1500).await;
    let epoch = || proxy.shared.owners.load().ring.epoch();
    assert_eq!(epoch(), Epoch::new(1), "what a server says replaces what was configured");

    fleet.push_ring(2, &second).await;
    let moving = offer(&proxy, &table, 1, 2000).await;
    assert_eq!(epoch(), Epoch::new(2));
    assert!(moving.admitted >= 500.0 * moving.seconds * 0.9, "{moving:?} of 500 a second");
    assert!(moving.admitted <= 500.0 * moving.seconds + 500.0, "{moving:?} of 500 a second");
    let owner =
        proxy.shared.buckets.get(&BucketId::new(TableId::new(1), WRITE)).expect("it is in use").owner();
    assert_eq!(owner.expect("the ring has a server").address, second);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_principals_quota_limits_it_and_nobody_else() {
    let fleet = Fleet::start(1, 1).await;
    let limited = BucketId::principal("batch-job", WRITE);
    let quota = control::Quota { name: "batch-job".into(), ..control_quota(limited, 50, 50) };
    fleet.push(&control::Quotas { quotas: vec![quota], complete: true, ..control::Quotas::default() }).await;
    let proxy = fleet.proxy(1, 1);
    until(|| proxy.shared.levels.load().principal("batch-job", WRITE).is_some()).await;

    let table = provisioned(1, 1, 100, 100_000);
    let job = Client::named(&proxy, "batch-job");
    let refused = loop {
        if let Err(refused) = job.explained(&table, units(1)).await {
            break refused;
        }
    };
    assert_eq!((refused.layer, refused.principal.as_str()), (Layer::Principal, "batch-job"));
    assert!(Client::named(&proxy, "shop").admit_patiently(&table, units(1)).await.is_ok());
    let top = proxy.top();
    assert!(top.principals.len() <= 2);
}

#[tokio::test]
async fn of_the_accounts_quota_nothing_is_used_before_it_was_granted() {
    let fleet = Fleet::start(1, 1).await;
    let account_write = Some(control_quota(BucketId::at(Level::AccountShare, 0, WRITE), 1000, 1000));
    fleet.push(&control::Quotas { account_write, complete: true, ..control::Quotas::default() }).await;
    let proxy = fleet.proxy(1, 1);
    until(|| proxy.shared.levels.load().limits_account(WRITE)).await;
    let (client, table) = (Client::of(&proxy), provisioned(1, 1, 5000, 5000));
    let refused = client.admit(&table, WRITE, units(1)).expect_err("its part is not known yet");
    assert_eq!((refused.layer, refused.cause), (Layer::Account, Cause::Account));
    let granted = async { while client.admit_patiently(&table, units(1)).await.is_err() {} };
    tokio::time::timeout(LONG, granted).await.expect("it is granted a part");
}

#[tokio::test]
async fn a_principals_quota_that_nobody_knows_refuses_nobody() {
    let fleet = Fleet::start(1, 1).await;
    let proxy = fleet.proxy(1, 1);
    until(|| fleet.gac[0].is_ready()).await;
    let job = gac::Principal { name: "batch-job".into(), read: false, write: true };
    let levels = gac::Levels { version: 1, principals: vec![job], ..gac::Levels::default() };
    proxy.shared.learn_levels(Ok(levels));
    let (client, table) = (Client::named(&proxy, "batch-job"), provisioned(1, 1, 5000, 5000));
    let admitted = client.admit_patiently(&table, units(1)).await;
    assert!(admitted.is_ok(), "{admitted:?}");
}

#[tokio::test]
async fn a_shadow_quota_counts_and_admits() {
    let proxy = alone(1);
    let mut table = with_quota(1, 1, 4, 4);
    for quota in table.quotas.iter_mut() {
        quota.write.shadow = true;
    }
    let client = Client::of(&proxy);
    for _ in 0..20 {
        let permit = client.admit(&table, WRITE, units(1)).expect("a shadow refuses nothing");
        proxy.settle(permit, Some(units(1)));
    }
    let bucket = BucketId::new(TableId::new(1), WRITE);
    let meter = |now| {
        let bucket = proxy.shared.buckets.get(&bucket).expect("it was used");
        bucket.meter.tick(now);
        bucket.meter.flows().expect("it was used").1
    };
    let flow = meter(clock::now() + Duration::from_secs(1));
    assert!(flow.shadow.requests >= 15.0 / 1.1 && flow.throttled.is_empty(), "{flow:?}");
}

#[tokio::test]
async fn a_refusal_is_explained_with_every_level_that_was_checked() {
    let proxy = alone(1);
    let (client, table) = (Client::named(&proxy, "shop"), with_quota(1, 1, 4, 400));
    assert!(client.admit(&table, WRITE, units(4)).is_ok());
    let why = client.explained(&table, units(2)).await.expect_err("four were there");
    assert_eq!(
        (why.table.as_str(), why.operation.as_str(), why.principal.as_str()),
        ("table-1", "PutItem", "shop")
    );
    assert_eq!((why.layer, why.cause, why.capacity), (Layer::Table, Cause::Share, Capacity::Write));
    assert_eq!((why.cost, why.proxy), (2.0, 1));
    let [level] = &why.levels[..] else { panic!("{why:?}") };
    assert!(level.refused && !level.shadow);
    assert_eq!((level.quota_rate, level.quota_burst, level.quota_version), (4.0, 400.0, 1));
    assert!(level.level < 1.0 && level.leased_rate == 4.0, "{level:?}");
    assert!(why.retry_after_ms.is_some_and(|millis| millis <= 500), "{why:?}");
    assert!(!why.verdict.is_empty());
    let sent = serde_json::to_string(&why).expect("plain data");
    assert_eq!(serde_json::from_str::<Explanation>(&sent).expect("what was sent"), why);
    assert_eq!(proxy.explain("no id"), None);
}

#[tokio::test]
async fn a_storage_nodes_refusal_gives_everything_back_and_is_explained() {
    let proxy = alone(1);
    let (client, table) = (Client::of(&proxy), with_quota(1, 1, 4, 400));
    let permit = client.admit(&table, WRITE, units(4)).expect("four units are there");
    let id = client.ids.next();
    let refusal = ::admission::StorageRefusal {
        layer: ::admission::StorageLayer::Partition,
        kind: WRITE,
        retry_after: Duration::from_millis(7),
        quota: MilliUnitsPerSecond::from_units(1000),
        level: MilliUnits::ZERO,
        banked: MilliUnits::ZERO,
        burst: ::admission::BurstState::Empty,
        hot_key: None,
    };
    let refused = proxy.refused_by_node(&id, ApiOperation::PutItem, permit, &refusal);
    assert_eq!((refused.layer, refused.cause), (Layer::Partition, Cause::Partition));
    assert!(client.admit(&table, WRITE, units(4)).is_ok(), "all came back");
    let why = proxy.explain(id.as_str()).expect("it is kept");
    assert_eq!((why.layer, why.retry_after_ms, why.higher_quota_helps), (Layer::Partition, Some(7), false));
    assert_eq!(why.partition.expect("the node's word").rate, 1000.0);
}

#[tokio::test]
async fn a_proxy_that_leaves_gives_its_tokens_to_the_others() {
    let fleet = Fleet::start(1, 2).await;
    let stays = fleet.proxy(1, 2);
    let leaving = CancellationToken::new();
    let servers = vec![fleet.gac[0].address().to_string()];
    let leaves =
        Admission::start(AdmissionConfig { proxy: ProxyId::new(2), servers, expected_proxies: 2 }, &leaving);
    until(|| stays.shared.proxies() == 2 && leaves.shared.fleet.load(Ordering::Relaxed) == 2).await;
    let table = with_quota(1, 1, 400, 400);
    tokio::join!(offer(&stays, &table, 1, 1200), offer(&leaves, &table, 1, 1200));
    leaving.cancel();
    leaves.closed().await;
    offer(&stays, &table, 1, 1200).await;
    let after = offer(&stays, &table, 1, 1000).await;
    assert!(after.admitted >= 400.0 * after.seconds * 0.9, "{after:?} of 400 a second");
}
