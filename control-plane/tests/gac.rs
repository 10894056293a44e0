//! The control plane with real GAC servers: what operators change is what proxies are granted.

#![expect(clippy::unwrap_used, reason = "clippy allows it in test functions, not in their helpers")]

use std::net::SocketAddr;
use std::time::Duration;

use admission::{BucketId, CapacityKind, GrantNumber, Quota, ReportEntry, ReportHeader};
use control_plane::quota::{BoostRate, BoostRequest, QuotaChange, QuotaKind, QuotaSubject, Signed};
use control_plane::ring::RingChange;
use control_plane::{Config, Handle};
use dynamodb::table::{
    AttributeDefinition, Billing, KeyAttribute, KeySchema, KeyType, NewTable, ProvisionedThroughput,
};
use tokio_util::sync::CancellationToken;
use units::{Epoch, MilliUnits, MilliUnitsPerSecond, ProxyId, TableId};
use wire::method::{Report, Tables};
use wire::proto::control::{TableCommand, table_answer::Answer, table_command::Command};
use wire::proto::gac;
use wire::transport::{Connection, ConnectionConfig};

const PATIENCE: Duration = Duration::from_secs(20);
/// Between the reports of a proxy that is contended.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_is_granted_the_new_quota_within_one_report_interval() {
    let fleet = Fleet::start(1).await;
    let table = fleet.create("orders", 100).await;
    let bucket = BucketId::new(TableId::new(table), CapacityKind::Read);
    fleet.until_granted(bucket, 100).await;

    let (quotas, began) = (fleet.control.quotas(), wire::clock::now());
    quotas.set(QuotaChange { rate: Some(250), ..change() }, false).await.unwrap();
    fleet.until_granted(bucket, 250).await;
    quotas.set(QuotaChange { rate: Some(50), ..change() }, false).await.unwrap();
    fleet.until_granted(bucket, 50).await;

    let took = wire::clock::now().since(began);
    assert!(took < 2 * REPORT_INTERVAL, "two changes took {took:?}");
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_boost_is_granted_and_is_over_on_time() {
    let fleet = Fleet::start(1).await;
    let table = fleet.create("orders", 100).await;
    let bucket = BucketId::new(TableId::new(table), CapacityKind::Read);
    let boost = BoostRequest {
        subject: orders(),
        kind: QuotaKind::Read,
        to: BoostRate::Factor(3.0),
        for_ms: 1_500,
        signed: signed(),
    };

    let diff = fleet.control.quotas().boost(boost, false).await.unwrap();
    let until_ms = diff.state.current.boost.unwrap().until_ms;
    fleet.until_granted(bucket, 300).await;
    fleet.until_granted(bucket, 100).await;

    let now = wire::clock::unix_now().get();
    assert!((until_ms..until_ms + 1_000).contains(&now), "it ended {now}, and was due {until_ms}");
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drained_server_hands_over_and_leaves_the_ring() {
    let fleet = Fleet::start(2).await;
    let ring = fleet.control.ring();
    let begun = ring.get().await.unwrap();
    assert_eq!((begun.epoch, begun.servers.len()), (1, 2));
    let drained = fleet.gac[1].address().to_string();

    let change = RingChange {
        address: drained.clone(),
        author: "ann".into(),
        reason: String::new(),
        expected_epoch: Some(1),
    };
    ring.drain(change).await.unwrap();

    within(async {
        loop {
            let status = ring.get().await.unwrap();
            let settled =
                status.servers.len() == 1 && status.servers[0].answer.is_some_and(|answer| answer.epoch == 2);
            if settled {
                break;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    let request = gac_server::InspectRequest { buckets: vec![], limit: 1, shares: false };
    let status = fleet.gac[1].inspect(&request).server;
    assert!(status.drained && !status.in_ring && status.ring_epoch == 2, "{status:?}");
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quotas_their_boosts_and_the_ring_outlive_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let started = Fleet::start_in(1, Some(folder.path())).await;
    started.create("orders", 100).await;
    let quotas = started.control.quotas();
    quotas.set(QuotaChange { rate: Some(70), ..change() }, false).await.unwrap();
    let boost = BoostRequest {
        subject: orders(),
        kind: QuotaKind::Read,
        to: BoostRate::Rate(90),
        for_ms: 3_600_000,
        signed: signed(),
    };
    quotas.boost(boost, false).await.unwrap();
    let before = quotas.history(&orders()).await.unwrap();
    let ring = started.control.ring().get().await.unwrap();
    started.stop().await;

    let again = Fleet::start_in(1, Some(folder.path())).await;

    assert_eq!(again.control.quotas().history(&orders()).await.unwrap(), before);
    let current = again.control.quotas().get(&orders()).await.unwrap()[0].current.clone();
    assert_eq!((current.version, current.terms.rate), (3, 90));
    // Its GAC server has another port now: the configuration's list is another one.
    assert_eq!(again.control.ring().get().await.unwrap().epoch, ring.epoch + 1);
    again.stop().await;
}

/// One member of the control plane, and GAC servers.
struct Fleet {
    control: Handle,
    gac: Vec<gac_server::Handle>,
    shutdown: CancellationToken,
}

impl Fleet {
    async fn start(servers: usize) -> Self {
        Self::start_in(servers, None).await
    }

    async fn start_in(servers: usize, folder: Option<&std::path::Path>) -> Self {
        let shutdown = CancellationToken::new();
        let mut gac = Vec::new();
        for _ in 0..servers {
            let config = gac_server::Config::new(ANY_PORT, Vec::new());
            gac.push(gac_server::start(config, shutdown.clone()).await.unwrap());
        }
        let mut config = Config::new(1, ANY_PORT, folder.map(std::path::Path::to_owned));
        config.gac = gac.iter().map(|server| server.address().to_string()).collect();
        let control = control_plane::start(config, shutdown.clone()).await.unwrap();
        within(async {
            while !control.leads() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        Self { control, gac, shutdown }
    }

    /// Its number. Without storage nodes it never becomes active, but it has its quotas.
    async fn create(&self, name: &str, units: u64) -> u64 {
        let new = serde_json::to_vec(&new_table(name, units)).unwrap();
        let command = TableCommand { principal: "test".into(), command: Some(Command::Create(new.into())) };
        let control = connect(self.control.address());
        match control.call::<Tables>(&command, PATIENCE).await.unwrap().answer {
            Some(Answer::Table(table)) => {
                serde_json::from_slice::<dynamodb::table::TableDescriptor>(&table).unwrap().id
            }
            other => panic!("{other:?}"),
        }
    }

    /// Reports again and again, as a proxy that knows an outdated quota, until this one is in force.
    async fn until_granted(&self, bucket: BucketId, units: u64) {
        let connection = connect(self.gac[0].address());
        let report = report(bucket);
        let granted = async {
            loop {
                let grants = connection.call::<Report>(&report, PATIENCE).await.unwrap();
                let quota = grants.entries().unwrap().next().map(|grant| grant.quota);
                if quota.is_some_and(|quota| quota.rate == MilliUnitsPerSecond::from_units(units)) {
                    break;
                }
            }
        };
        within(granted).await;
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.control.join().await.unwrap();
        for server in self.gac {
            server.join().await.unwrap();
        }
    }
}

fn connect(address: SocketAddr) -> Connection {
    Connection::open(&address.to_string(), ConnectionConfig::named("test"))
}

fn report(bucket: BucketId) -> gac::Report {
    let header = ReportHeader {
        proxy: ProxyId::new(1),
        session: 1,
        fleet: 0,
        ring: Epoch::new(1),
        leaving: false,
        session_age: Duration::ZERO,
    };
    let entry = ReportEntry {
        bucket,
        admitted: MilliUnits::ZERO,
        throttled: MilliUnits::ZERO,
        returned: MilliUnits::ZERO,
        held: MilliUnits::ZERO,
        need: MilliUnits::ZERO,
        acknowledged: GrantNumber::default(),
        rate_in_use: MilliUnitsPerSecond::default(),
        quota: Quota::with_usual_burst(MilliUnitsPerSecond::from_units(1), 0),
    };
    gac::Report::pack(header, &[entry])
}

fn orders() -> QuotaSubject {
    QuotaSubject::Table("orders".into())
}

fn change() -> QuotaChange {
    QuotaChange::of(orders(), QuotaKind::Read, signed())
}

fn signed() -> Signed {
    Signed { author: "ann".into(), reason: "a test".into(), expected_version: None }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("in time")
}

fn new_table(name: &str, read: u64) -> NewTable {
    let throughput = ProvisionedThroughput { read, write: 1, ..Default::default() };
    NewTable {
        name: name.into(),
        keys: KeySchema { partition: KeyAttribute { name: "id".into(), kind: KeyType::S }, sort: None },
        attribute_definitions: vec![AttributeDefinition { name: "id".into(), kind: KeyType::S }],
        billing: Billing::Provisioned(throughput),
        deletion_protection: false,
        table_class: None,
        tags: vec![],
    }
}
