//! A fleet to test with: real GAC servers on loopback, proxies that report to them, clients, and tables.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use ::admission::Quota;
use dynamodb::table::{
    Billing, KeyAttribute, KeySchema, KeyType, ProvisionedThroughput, TableDescriptor, TableQuota,
    TableQuotas, TableStatus,
};
use tokio_util::task::TaskTracker;
use units::{MilliUnitsPerSecond, Timestamp};
use wire::method::{PushQuotas, PushRing};
use wire::proto::{control, gac};
use wire::transport::{Connection, ConnectionConfig};

use super::super::*;
use crate::http::RequestIds;

pub(super) const LONG: Duration = Duration::from_secs(20);

pub(super) const READ: CapacityKind = CapacityKind::Read;

pub(super) const WRITE: CapacityKind = CapacityKind::Write;

pub(super) fn provisioned(id: u64, version: u64, read: u64, write: u64) -> TableDescriptor {
    let throughput = ProvisionedThroughput { read, write, ..ProvisionedThroughput::default() };
    table(id, version, Billing::Provisioned(throughput))
}

pub(super) fn table(id: u64, version: u64, billing: Billing) -> TableDescriptor {
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
pub(super) struct Client<'a> {
    pub(super) proxy: &'a Admission,
    pub(super) principal: Arc<str>,
    pub(super) ids: RequestIds,
}

impl<'a> Client<'a> {
    pub(super) fn of(proxy: &'a Admission) -> Self {
        Self::named(proxy, "app")
    }

    pub(super) fn named(proxy: &'a Admission, principal: &str) -> Self {
        Self { proxy, principal: principal.into(), ids: RequestIds::new(1) }
    }

    /// Without a wait.
    pub(super) fn admit(
        &self,
        table: &TableDescriptor,
        kind: CapacityKind,
        cost: MilliUnits,
    ) -> Result<Permit, Refusal> {
        self.admit_at(table, kind, cost, clock::now())
    }

    pub(super) fn admit_at(
        &self,
        table: &TableDescriptor,
        kind: CapacityKind,
        cost: MilliUnits,
        now: Timestamp,
    ) -> Result<Permit, Refusal> {
        self.proxy.admit(&self.ask(&self.ids.next(), table, kind, cost, now))
    }

    /// As the request path asks.
    pub(super) async fn admit_patiently(
        &self,
        table: &TableDescriptor,
        cost: MilliUnits,
    ) -> Result<Permit, Refusal> {
        let id = self.ids.next();
        self.proxy.admit_patiently(&self.ask(&id, table, WRITE, cost, clock::now())).await
    }

    /// As the request path asks; the refused request's explanation.
    pub(super) async fn explained(
        &self,
        table: &TableDescriptor,
        cost: MilliUnits,
    ) -> Result<Permit, Explanation> {
        let id = self.ids.next();
        let asked = self.proxy.admit_patiently(&self.ask(&id, table, WRITE, cost, clock::now())).await;
        asked.map_err(|_| self.proxy.explain(id.as_str()).expect("a refusal is kept"))
    }

    pub(super) fn ask<'b>(
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
pub(super) fn lease(
    proxy: &Admission,
    table: u64,
    kind: CapacityKind,
) -> Option<(MilliUnitsPerSecond, PoolColour)> {
    let bucket = proxy.shared.buckets.get(&BucketId::new(TableId::new(table), kind))?;
    Some((bucket.tokens.rate_at(clock::now()), bucket.pool()))
}

pub(super) fn units(units: u64) -> MilliUnits {
    MilliUnits::from_units(units)
}

pub(super) struct Fleet {
    pub(super) gac: Vec<gac_server::Handle>,
    pub(super) shutdown: CancellationToken,
}

impl Fleet {
    pub(super) async fn start(servers: usize, proxies: u32) -> Self {
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

    pub(super) fn proxy(&self, number: u64, proxies: u32) -> Admission {
        let servers = self.gac.iter().map(|server| server.address().to_string()).collect();
        let config = AdmissionConfig { proxy: ProxyId::new(number), servers, expected_proxies: proxies };
        Admission::start(config, &self.shutdown)
    }
}

/// A table whose write quota has this rate and burst, in units.
pub(super) fn with_quota(id: u64, version: u64, rate: u64, burst: u64) -> TableDescriptor {
    let quota = TableQuota { burst_milli: burst * 1000, ..TableQuota::usual(rate, version) };
    let quotas = Some(TableQuotas { read: quota, write: quota });
    TableDescriptor { quotas, ..provisioned(id, version, rate, rate) }
}

impl Fleet {
    /// What the control plane would say to every server.
    pub(super) async fn push(&self, quotas: &control::Quotas) {
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
    pub(super) async fn push_ring(&self, epoch: u64, server: &str) {
        for told in &self.gac {
            let connection =
                Connection::open(&told.address().to_string(), ConnectionConfig::named("test-control"));
            until(|| connection.is_connected()).await;
            let ring = gac::Ring { epoch, servers: vec![server.to_owned()] };
            connection.call::<PushRing>(&ring, LONG).await.expect("a ring is acknowledged");
        }
    }
}

pub(super) fn control_quota(bucket: BucketId, rate: u64, burst: u64) -> control::Quota {
    let quota = Quota {
        rate: MilliUnitsPerSecond::from_units(rate),
        burst: units(burst),
        ..Quota::with_usual_burst(MilliUnitsPerSecond::from_units(rate), 1)
    };
    control::Quota::of(bucket, quota)
}

/// What was admitted of what was offered, and how long that took: under load it may take longer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offered {
    pub(super) admitted: f64,
    pub(super) seconds: f64,
}

/// Offers requests of one unit for `millis` of real time, as many as `per_millisecond`.
pub(super) async fn offer(
    proxy: &Admission,
    table: &TableDescriptor,
    per_millisecond: u32,
    millis: u64,
) -> Offered {
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
pub(super) async fn offer_patiently(
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

pub(super) async fn until(condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(LONG, waiting).await.expect("it comes true");
}

pub(super) fn alone(expected_proxies: u32) -> Admission {
    let nobody = AdmissionConfig { proxy: ProxyId::new(1), servers: Vec::new(), expected_proxies };
    Admission::start(nobody, &CancellationToken::new())
}
