//! Three members of the control plane with their replicated catalog, over real sockets.

#![expect(clippy::unwrap_used, reason = "clippy allows it in test functions, not in their helpers")]

use std::net::TcpListener;
use std::time::Duration;

use control_plane::quota::{BoostRate, BoostRequest, QuotaKind, QuotaSubject, Signed};
use control_plane::{Config, Handle, InitialCredential, MemberAddress};
use dynamodb::table::{
    AttributeDefinition, Billing, KeyAttribute, KeySchema, KeyType, NewTable, ProvisionedThroughput,
    TableDescriptor,
};
use tokio_util::sync::CancellationToken;
use wire::method::{Credential, Tables};
use wire::proto::control::{CredentialRequest, TableCommand, table_answer::Answer, table_command::Command};
use wire::transport::{Connection, ConnectionConfig};

const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_outlives_the_member_that_created_it() {
    let folders = tempfile::tempdir().unwrap();
    let mut members = Members::start(folders.path()).await;
    let created = members.create("orders").await;

    members.stop_leader().await;

    let found = members.describe("orders").await;
    assert_eq!((found.id, found.uuid), (created.id, created.uuid));
    let next = members.create("more").await;
    assert!(next.id > created.id);
    members.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_boost_outlives_the_member_that_was_asked_for_it() {
    let folders = tempfile::tempdir().unwrap();
    let mut members = Members::start(folders.path()).await;
    members.create("orders").await;
    let boost = BoostRequest {
        subject: QuotaSubject::Table("orders".into()),
        kind: QuotaKind::Read,
        to: BoostRate::Rate(50),
        for_ms: 3_600_000,
        signed: Signed { author: "ann".into(), ..Signed::default() },
    };
    let asked = members.leader().await.quotas().boost(boost.clone(), false).await.unwrap();

    members.stop_leader().await;

    let quotas = members.leader().await.quotas();
    let found = quotas.get(&boost.subject).await.unwrap().swap_remove(0);
    assert_eq!(found, asked.state);
    let history = quotas.history(&boost.subject).await.unwrap().swap_remove(0);
    assert_eq!(history.versions.iter().map(|version| version.version).collect::<Vec<_>>(), [1, 2]);
    members.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_catalog_outlives_the_processes() {
    let folders = tempfile::tempdir().unwrap();
    let members = Members::start(folders.path()).await;
    let created = members.create("orders").await;
    members.stop().await;

    let members = Members::start(folders.path()).await;

    assert_eq!(members.describe("orders").await.uuid, created.uuid);
    members.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_member_comes_to_know_the_initial_credential() {
    let folders = tempfile::tempdir().unwrap();
    let members = Members::start(folders.path()).await;
    members.create("orders").await;

    for member in &members.running {
        let known = within(async {
            loop {
                let request = CredentialRequest { access_key: "KEY".into() };
                if let Ok(known) = member.connection.call::<Credential>(&request, PATIENCE).await {
                    return known;
                }
            }
        })
        .await;
        assert!(known.found && known.secret_key == "secret");
    }
    members.stop().await;
}

#[tokio::test]
async fn one_member_alone_leads_at_once() {
    let shutdown = CancellationToken::new();
    let config = config(1, "127.0.0.1:0", &[], None);
    let handle = control_plane::start(config, shutdown.clone()).await.unwrap();
    let member = Running::new(handle, CancellationToken::new());
    within(async {
        while !member.handle.leads() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    shutdown.cancel();
    member.handle.join().await.unwrap();
}

struct Members {
    running: Vec<Running>,
}

struct Running {
    handle: Handle,
    connection: Connection,
    shutdown: CancellationToken,
}

impl Running {
    fn new(handle: Handle, shutdown: CancellationToken) -> Self {
        let connection = Connection::open(&handle.address().to_string(), ConnectionConfig::named("test"));
        Self { handle, connection, shutdown }
    }
}

impl Members {
    async fn start(folders: &std::path::Path) -> Self {
        // Reserved together, so that they differ; freed before the members take them.
        let reserved: Vec<_> = (0..3).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let addresses: Vec<String> =
            reserved.iter().map(|listener| listener.local_addr().unwrap().to_string()).collect();
        drop(reserved);
        let mut running = Vec::new();
        for (id, address) in (1..).zip(&addresses) {
            let shutdown = CancellationToken::new();
            let folder = folders.join(id.to_string());
            let config = config(id, address, &addresses, Some(folder));
            running
                .push(Running::new(control_plane::start(config, shutdown.clone()).await.unwrap(), shutdown));
        }
        Self { running }
    }

    /// Asks the members in turn until one leads.
    async fn table(&self, command: Command) -> TableDescriptor {
        let command = TableCommand { principal: "test".into(), command: Some(command) };
        within(async {
            for member in self.running.iter().cycle() {
                let answer = member.connection.call::<Tables>(&command, PATIENCE).await;
                match answer.map(|answer| answer.answer) {
                    Ok(Some(Answer::Table(table))) => return serde_json::from_slice(&table).unwrap(),
                    Ok(Some(Answer::Exception(exception))) => panic!("{exception:?}"),
                    _ => tokio::task::yield_now().await,
                }
            }
            unreachable!("the cycle has no end")
        })
        .await
    }

    async fn create(&self, name: &str) -> TableDescriptor {
        self.table(Command::Create(serde_json::to_vec(&new_table(name)).unwrap().into())).await
    }

    async fn describe(&self, name: &str) -> TableDescriptor {
        self.table(Command::Describe(name.into())).await
    }

    /// The member that leads, once there is one.
    async fn leader(&self) -> &Handle {
        within(async {
            loop {
                if let Some(leader) = self.running.iter().find(|member| member.handle.leads()) {
                    return &leader.handle;
                }
                tokio::task::yield_now().await;
            }
        })
        .await
    }

    async fn stop_leader(&mut self) {
        let at = self.running.iter().position(|member| member.handle.leads()).unwrap();
        let leader = self.running.remove(at);
        leader.shutdown.cancel();
        leader.handle.join().await.unwrap();
    }

    async fn stop(self) {
        for member in &self.running {
            member.shutdown.cancel();
        }
        for member in self.running {
            member.handle.join().await.unwrap();
        }
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("in time")
}

fn config(id: u64, listen: &str, members: &[String], data_dir: Option<std::path::PathBuf>) -> Config {
    Config {
        id,
        listen: listen.parse().unwrap(),
        members: (1..)
            .zip(members)
            .map(|(id, address)| MemberAddress { id, address: address.clone() })
            .collect(),
        data_dir,
        replaces_lost_member: false,
        memds: vec![],
        gac: vec![],
        region: "us-east-1".into(),
        account: "000000000000".into(),
        minimum_nodes: 3,
        table_limit: 2500,
        credentials: vec![InitialCredential {
            access_key: "KEY".into(),
            secret_key: "secret".into(),
            principal: "root".into(),
        }],
    }
}

fn new_table(name: &str) -> NewTable {
    let throughput = ProvisionedThroughput { read: 1, write: 1, ..Default::default() };
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
