//! The client against members that follow a script, over the real transport.

use std::sync::atomic::AtomicU64;

use dynamodb::table::{Billing, KeyAttribute, KeySchema, KeyType, TableStatus};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use wire::method::Method;
use wire::proto::control::TableNames;
use wire::transport::{Incoming, Responder, Service, serve};

use super::*;

/// A member of a control plane: leads, or names who does.
struct Member {
    address: String,
    /// Index of the leader among `addresses`; more than there are: none.
    leader: Arc<AtomicU64>,
    addresses: Arc<Vec<String>>,
    asked: Arc<AtomicU64>,
    answer: Answered,
}

impl Service for Member {
    fn call(&self, request: Incoming, responder: Responder) {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if request.method == method::Credential::NUMBER {
            let request = request.decode::<method::Credential>().unwrap();
            let found = request.access_key == "known";
            let (secret_key, principal) = ("secret".into(), "alice".into());
            let answer = CredentialResponse { found, secret_key, principal, active: true };
            return responder.answer::<method::Credential>(&answer);
        }
        let leader = usize::try_from(self.leader.load(Ordering::Relaxed)).unwrap();
        let leader = self.addresses.get(leader);
        let answer = if leader == Some(&self.address) {
            self.answer.clone()
        } else {
            Answered::NotLeader(NotLeader { leader_address: leader.cloned() })
        };
        responder.answer::<method::Tables>(&TableAnswer { answer: Some(answer) });
    }
}

struct Members {
    client: ControlClient,
    leader: Arc<AtomicU64>,
    asked: Arc<AtomicU64>,
    _running: Vec<DropGuard>,
}

/// Three members; the `stopped` ones do not run.
async fn three(answer: Answered, stopped: &[usize]) -> Members {
    let mut listeners = Vec::new();
    for _ in 0..3 {
        listeners.push(TcpListener::bind("127.0.0.1:0").await.unwrap());
    }
    let addresses: Vec<String> =
        listeners.iter().map(|listener| listener.local_addr().unwrap().to_string()).collect();
    let addresses = Arc::new(addresses);
    let (leader, asked) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut running = Vec::new();
    for (number, listener) in listeners.into_iter().enumerate() {
        if stopped.contains(&number) {
            continue;
        }
        let member = Member {
            address: addresses[number].clone(),
            leader: Arc::clone(&leader),
            addresses: Arc::clone(&addresses),
            asked: Arc::clone(&asked),
            answer: answer.clone(),
        };
        let shutdown = CancellationToken::new();
        tokio::spawn(serve(listener, Arc::new(member), shutdown.clone()));
        running.push(shutdown.drop_guard());
    }
    let client = ControlClient::open(&addresses);
    for (number, member) in client.members.iter().enumerate() {
        if !stopped.contains(&number) {
            member.clone().reconnected().await;
        }
    }
    Members { client, leader, asked, _running: running }
}

fn deadline(millis: u64) -> Deadline {
    Deadline::new(wire::clock::now(), Duration::from_millis(millis))
}

fn table() -> TableDescriptor {
    let partition = KeyAttribute { name: "pk".into(), kind: KeyType::S };
    TableDescriptor {
        id: 7,
        name: "tab".into(),
        uuid: String::new(),
        arn: String::new(),
        version: 1,
        status: TableStatus::Active,
        keys: KeySchema { partition, sort: None },
        attribute_definitions: Vec::new(),
        billing: Billing::OnDemand { max_read: None, max_write: None, since_ms: 0 },
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

fn described() -> Answered {
    Answered::Table(json(&table()))
}

async fn describe(members: &Members, millis: u64) -> Result<TableDescriptor, TablesError> {
    let command = TableCommand::Describe("tab".into());
    Tables::command(&members.client, "alice", command, deadline(millis)).await
}

#[tokio::test]
async fn the_leader_is_found_wherever_it_is_and_remembered() {
    let members = three(described(), &[]).await;
    for leader in [0, 2, 1] {
        members.leader.store(leader, Ordering::Relaxed);
        assert_eq!(describe(&members, 5_000).await, Ok(table()));
        let asked = members.asked.load(Ordering::Relaxed);
        assert_eq!(describe(&members, 5_000).await, Ok(table()));
        assert_eq!(members.asked.load(Ordering::Relaxed), asked + 1);
    }
}

#[tokio::test]
async fn a_member_that_is_down_is_passed_over() {
    let members = three(described(), &[0]).await;
    members.leader.store(2, Ordering::Relaxed);
    assert_eq!(describe(&members, 5_000).await, Ok(table()));
    let credential = members.client.fetch("known").await.unwrap().unwrap();
    assert_eq!((credential.secret_key.as_str(), &*credential.principal), ("secret", "alice"));
    assert_eq!(members.client.fetch("unknown").await, Ok(None));
}

#[tokio::test]
async fn an_election_is_waited_for_and_no_longer_than_the_deadline() {
    let members = three(described(), &[]).await;
    members.leader.store(9, Ordering::Relaxed);
    assert_eq!(describe(&members, 250).await, Err(TablesError::Unavailable));
    let before = members.asked.load(Ordering::Relaxed);
    let election = async {
        // All three have said that nobody leads.
        while members.asked.load(Ordering::Relaxed) < before + 3 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        members.leader.store(1, Ordering::Relaxed);
    };
    let (described, ()) = tokio::join!(describe(&members, 5_000), election);
    assert_eq!(described, Ok(table()));
}

#[tokio::test]
async fn exceptions_and_names_come_through() {
    let exception = Exception {
        kind: ErrorKind::ResourceInUse.type_name().into(),
        message: "Table already exists: tab".into(),
    };
    let members = three(Answered::Exception(exception), &[]).await;
    let expected = ApiError::new(ErrorKind::ResourceInUse, "Table already exists: tab");
    assert_eq!(describe(&members, 5_000).await, Err(TablesError::Refused(expected)));

    let names = TableNames { names: vec!["tab".into()], more: true };
    let members = three(Answered::Names(names), &[]).await;
    let list = ListTables { start: None, limit: 1 };
    let listed = Tables::list(&members.client, "alice", &list, deadline(5_000)).await;
    assert_eq!(listed, Ok((vec!["tab".to_owned()], true)));
}

#[tokio::test]
async fn without_members_there_is_no_answer_and_no_hang() {
    let members = three(described(), &[0, 1, 2]).await;
    assert_eq!(describe(&members, 200).await, Err(TablesError::Unavailable));
    assert_eq!(members.client.fetch("known").await, Err(SourceUnavailable));
}
