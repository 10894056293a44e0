//! Members of the control plane over real sockets, with a catalog in memory, storage nodes that only keep
//! lists, GAC servers that only remember what they are told, and a real MemDS server.

mod gac;
mod quotas;
mod stage;

use dynamodb::table::{Billing, NewTable, TableChange, TableStatus};
use units::NodeId;
use wire::method::FetchQuotas;
use wire::proto::control::{QuotasRequest, table_answer::Answer, table_command::Command};
use wire::transport::{CallError, Failure};

use self::stage::{DEADLINE, Stage, StorageNode, new_table, provisioned};
use crate::catalog::json;
use crate::record::CredentialRecord;

#[tokio::test]
async fn a_created_table_is_active_once_its_partitions_have_leaders_and_memds_knows_it() {
    let stage = Stage::start().await;
    let member = stage.leader().await;
    let nodes = stage.three_nodes(&member).await;

    let created = member.table(Command::Create(json(&new_table("orders", 6000, 1000)))).await.unwrap();
    assert_eq!(created.status, TableStatus::Creating);
    let active = member.becomes(&created.name, TableStatus::Active).await;

    assert_eq!(active.partitions, 3);
    assert!(nodes.iter().all(|node| node.hosted().len() == 3), "one replica of each partition in each zone");
    let known = stage.lookup("orders").await;
    let known: dynamodb::table::TableDescriptor = serde_json::from_slice(&known.table.unwrap()).unwrap();
    assert_eq!((known.id, known.status), (created.id, TableStatus::Active));
    stage.stop().await;
}

#[tokio::test]
async fn a_deleted_table_is_gone_from_the_nodes_the_catalog_and_memds() {
    let stage = Stage::start().await;
    let member = stage.leader().await;
    let nodes = stage.three_nodes(&member).await;
    member.create_active("orders").await;

    let deleting = member.table(Command::Delete("orders".into())).await.unwrap();
    assert_eq!(deleting.status, TableStatus::Deleting);
    member.becomes_gone("orders").await;

    assert!(nodes.iter().all(|node| node.hosted().is_empty()));
    stage.memds_forgets("orders").await;
    let again = member.table(Command::Create(json(&new_table("orders", 1, 1)))).await.unwrap();
    assert!(again.id > deleting.id, "numbers are never reused");
    stage.stop().await;
}

#[tokio::test]
async fn nothing_is_placed_before_enough_nodes_have_reported() {
    let stage = Stage::start().await;
    let member = stage.leader().await;
    let first = stage.node(&member, 1).await;
    let second = stage.node(&member, 2).await;
    member.table(Command::Create(json(&new_table("orders", 1, 1)))).await.unwrap();
    // Each report is answered after the leader has had its turn.
    for _ in 0..5 {
        first.report().await;
        second.report().await;
    }
    assert!(first.hosted().is_empty() && second.hosted().is_empty());

    let third = stage.node(&member, 3).await;
    member.becomes("orders", TableStatus::Active).await;

    assert!([first, second, third].iter().all(|node| node.hosted().len() == 1));
    stage.stop().await;
}

#[tokio::test]
async fn a_new_leader_finishes_what_the_last_one_began() {
    let stage = Stage::start().await;
    let first = stage.leader().await;
    first.table(Command::Create(json(&new_table("begun", 1, 1)))).await.unwrap();
    first.depose(None);
    first.leads_no_more().await;

    let second = stage.leader().await;
    let _nodes = stage.three_nodes(&second).await;

    second.becomes("begun", TableStatus::Active).await;
    stage.stop().await;
}

#[tokio::test]
async fn a_member_that_does_not_lead_says_who_does() {
    let stage = Stage::start().await;
    let member = stage.follower(Some(NodeId::new(2))).await;

    let Answer::NotLeader(not_leader) = member.ask(Command::Describe("orders".into())).await else {
        panic!("it does not lead")
    };

    assert_eq!(not_leader.leader_address.as_deref(), Some("127.0.0.1:7002"));
    stage.stop().await;
}

#[tokio::test]
async fn every_member_knows_the_credentials_and_only_the_leader_denies_one() {
    let stage = Stage::start().await;
    let leader = stage.leader().await;
    let follower = stage.follower(None).await;
    leader.leads().await;
    let pair = CredentialRecord {
        access_key: "SECOND".into(),
        secret_key: "hidden".into(),
        principal: "someone".into(),
        active: false,
    };
    leader.handle.put_credential(pair).await.unwrap();

    assert_eq!(leader.credential("INITIAL").await.unwrap().secret_key, "initial-secret");
    let known = follower.credential("SECOND").await.unwrap();
    assert_eq!((known.secret_key.as_str(), known.active), ("hidden", false));
    assert!(!leader.credential("NOBODY").await.unwrap().found);
    assert_eq!(follower.credential("NOBODY").await, Err(CallError::Failed(Failure::Unavailable)));
    stage.stop().await;
}

#[tokio::test]
async fn an_updates_throughput_reaches_the_quotas() {
    let stage = Stage::start().await;
    let member = stage.leader().await;
    let _nodes = stage.three_nodes(&member).await;
    let table = member.create_active("orders").await;

    let change =
        TableChange { name: "orders".into(), provisioned: Some(provisioned(70, 80)), ..Default::default() };
    let updating = member.table(Command::Update(json(&change))).await.unwrap();
    assert_eq!(updating.status, TableStatus::Updating);
    let updated = member.becomes("orders", TableStatus::Active).await;

    let Billing::Provisioned(throughput) = updated.billing else { panic!("provisioned") };
    assert_eq!((throughput.read, throughput.write), (70, 80));
    let quotas = member.connection.call::<FetchQuotas>(&QuotasRequest {}, DEADLINE).await.unwrap().quotas;
    let rates: Vec<_> = quotas.iter().map(|quota| (quota.bucket, quota.rate_milli)).collect();
    assert_eq!(rates, [(table.id * 8, 70_000), (table.id * 8 + 1, 80_000)]);
    stage.stop().await;
}

#[tokio::test]
async fn a_node_that_was_away_is_told_to_drop_what_was_deleted_meanwhile() {
    let stage = Stage::start().await;
    let member = stage.leader().await;
    let nodes = stage.three_nodes(&member).await;
    member.create_active("orders").await;
    let back = StorageNode::silent_twin(&nodes[0]);
    member.table(Command::Delete("orders".into())).await.unwrap();
    member.becomes_gone("orders").await;

    assert_eq!(back.hosted().len(), 1, "the twin missed the deletion");
    back.report().await;

    assert!(back.hosted().is_empty());
    stage.stop().await;
}

#[tokio::test]
async fn a_node_that_lost_a_replica_is_told_to_host_it_again() {
    let stage = Stage::start().await;
    let member = stage.leader().await;
    let nodes = stage.three_nodes(&member).await;
    member.create_active("orders").await;

    nodes[0].forget_all();
    nodes[0].report().await;

    let again = nodes[0].hosted();
    assert_eq!(again.len(), 1);
    assert!(again.values().all(|assignment| assignment.established), "it must be refilled before it votes");
    stage.stop().await;
}

#[tokio::test]
async fn a_write_whose_answer_was_lost_counts_once() {
    let stage = Stage::start().await;
    let member = stage.leader().await;
    member.leads().await;
    stage.lose_answers(2);

    let created = member.table(Command::Create(json(&new_table("orders", 1, 1)))).await.unwrap();

    assert_eq!((created.id, created.status), (1, TableStatus::Creating));
    stage.stop().await;
}

#[tokio::test]
async fn tables_are_listed_by_name_in_pages() {
    let stage = Stage::start().await;
    let member = stage.leader().await;
    for name in ["carol", "alice", "bob"] {
        member.table(Command::Create(json::<NewTable>(&new_table(name, 1, 1)))).await.unwrap();
    }

    let first = member.names(None, 2).await;
    let second = member.names(Some("bob"), 2).await;

    assert_eq!((first.names, first.more), (vec!["alice".into(), "bob".into()], true));
    assert_eq!((second.names, second.more), (vec!["carol".to_owned()], false));
    stage.stop().await;
}

#[tokio::test]
async fn an_unreadable_command_is_refused_and_harms_nothing() {
    let stage = Stage::start().await;
    let member = stage.leader().await;
    member.leads().await;
    let nonsense = Command::Create(bytes::Bytes::from_static(b"{\"name\":"));

    assert_eq!(member.try_ask(nonsense).await.unwrap_err(), CallError::Failed(Failure::Malformed));

    assert!(member.names(None, 10).await.names.is_empty());
    stage.stop().await;
}

#[tokio::test]
async fn memds_keeps_the_tables_when_the_control_plane_is_down() {
    let stage = Stage::start().await;
    let member = stage.leader().await;
    let _nodes = stage.three_nodes(&member).await;
    member.create_active("orders").await;

    member.depose(None);
    member.leads_no_more().await;

    assert!(stage.lookup("orders").await.table.is_some());
    stage.stop().await;
}
