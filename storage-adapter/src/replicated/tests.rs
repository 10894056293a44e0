//! The client against storage services that answer, hold or refuse as they are told, over real streams.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use dynamodb::item_builder::ItemBuilder;
use dynamodb::operation::{Get, Operation, Outcome, StorageKey};
use futures_util::future::join_all;
use parking_lot::Mutex;
use routing::{Budget, KeyRange, Member, MemberKind, Route, RouteVersion};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use units::{LogIndex, NodeId, PartitionId, TableId, Term, Zone};
use wire::method::Execute;
use wire::proto::storage::ExecuteResponse;
use wire::transport::{Failure, Incoming, Responder, Service, serve};

use super::{NodeAddress, ReplicatedStore};
use crate::{PartitionStore, StoreError, wire_form};

const LONG: Duration = Duration::from_secs(20);
/// Far slower than a loaded machine makes a quick one.
const SLOW: Duration = Duration::from_millis(300);
const NEAR: NodeId = NodeId::new(1);
const OTHER: NodeId = NodeId::new(2);

#[tokio::test]
async fn a_second_replica_answers_when_the_first_is_slow_and_the_first_is_cancelled() {
    let fleet = Fleet::start(Budget::new(0, 1)).await;
    fleet.near.does(Does::Hold);

    assert_eq!(fleet.read(false).await, Ok(Outcome::Item(None)));

    // The second is a probe.
    fleet.near.until_received(2).await;
    assert_eq!((fleet.near.received(), fleet.other.received()), (2, 1));
    let held = fleet.near.take_held();
    // What follows on the same stream arrives after the cancellation.
    fleet.near.does(Does::Answer);
    fleet.read(true).await.unwrap();
    assert!(held[0].is_cancelled());
}

#[tokio::test]
async fn the_first_replicas_answer_counts_when_it_is_first_after_all() {
    let fleet = Fleet::start(Budget::new(0, 1)).await;
    fleet.near.does(Does::Hold);
    fleet.other.does(Does::Hold);
    let reading = fleet.read(false);
    let answering = async {
        fleet.other.until_received(1).await;
        fleet.near.until_received(2).await;
        fleet.near.release();
    };

    let (answer, ()) = tokio::join!(reading, answering);

    assert_eq!(answer, Ok(Outcome::Item(None)));
    assert_eq!((fleet.near.received(), fleet.other.received()), (2, 1), "the read, its probe, its hedge");
}

#[tokio::test]
async fn second_replicas_are_asked_within_the_budget_only() {
    let fleet = Fleet::start(Budget::new(0, 3)).await;
    fleet.near.does(Does::Hold);
    let reads = join_all((0..10).map(|_| fleet.read(false)));
    let answering = async {
        fleet.near.until_received(10).await;
        fleet.other.until_received(3).await;
        // Far longer than the patience of all of them: whatever is sent too much would be there.
        tokio::time::sleep(SLOW).await;
        fleet.near.release();
    };

    let (answers, ()) = tokio::join!(reads, answering);

    assert!(answers.iter().all(|answer| *answer == Ok(Outcome::Item(None))), "{answers:?}");
    assert_eq!((fleet.near.received(), fleet.other.received()), (11, 3), "one probe at a time");
}

#[tokio::test]
async fn a_strong_read_is_never_sent_twice() {
    let fleet = Fleet::start(Budget::new(0, 10)).await;
    fleet.near.does(Does::Hold);
    let strong = fleet.read(true);
    let later = async {
        fleet.near.until_received(1).await;
        // Begun later, it was slow for long enough: so was the strong read.
        assert_eq!(fleet.read(false).await, Ok(Outcome::Item(None)));
        assert_eq!(fleet.other.received(), 1);
        fleet.near.until_received(3).await;
        fleet.near.release();
    };

    let (answer, ()) = tokio::join!(strong, later);

    assert_eq!(answer, Ok(Outcome::Item(None)));
    assert_eq!((fleet.near.received(), fleet.other.received()), (3, 1), "and the eventual read's probe");
}

#[tokio::test]
async fn what_one_replica_refuses_another_answers_at_once_and_the_next_reads_go_there() {
    for refusal in [Does::Fail, Does::Refuse] {
        let fleet = Fleet::start(Budget::new(0, 1)).await;
        fleet.near.does(refusal);
        assert_eq!(fleet.read(false).await, Ok(Outcome::Item(None)));
        assert_eq!(fleet.read(false).await, Ok(Outcome::Item(None)));
        assert_eq!((fleet.near.received(), fleet.other.received()), (1, 2));
    }
}

#[tokio::test]
async fn without_a_budget_a_refusal_is_the_answer_and_the_next_read_goes_elsewhere() {
    let fleet = Fleet::start(Budget::new(0, 0)).await;
    fleet.near.does(Does::Refuse);
    assert_eq!(fleet.read(false).await, Err(StoreError::Unknown));
    assert_eq!(fleet.read(false).await, Ok(Outcome::Item(None)));
    assert_eq!((fleet.near.received(), fleet.other.received()), (1, 1));
}

#[tokio::test]
async fn when_both_refuse_the_first_refusal_is_the_answer() {
    let fleet = Fleet::start(Budget::new(0, 1)).await;
    fleet.near.does(Does::Refuse);
    fleet.other.does(Does::Fail);
    assert_eq!(fleet.read(false).await, Err(StoreError::Unknown));
    assert_eq!((fleet.near.received(), fleet.other.received()), (1, 1));
}

#[tokio::test]
async fn the_replica_in_the_own_zone_serves_all_reads_and_nobody_waits_for_a_probe() {
    let fleet = Fleet::start(Budget::new(0, 0)).await;
    fleet.other.does(Does::Hold);
    for _ in 0..128 {
        fleet.read(false).await.unwrap();
    }
    // The turn of one of the two probes is that of the replica that is read anyway.
    fleet.other.until_received(1).await;
    assert_eq!((fleet.near.received(), fleet.other.received()), (128, 1));
}

#[tokio::test]
async fn reads_of_a_partition_stay_at_one_of_two_equals_and_partitions_are_shared() {
    let fleet = Fleet::start(Budget::new(0, 0)).await;
    let far_away = Zone::new(9);
    let members = fleet.route.members.iter().map(|member| Member { zone: far_away, ..*member });
    let mut route = Route { members: members.collect(), ..fleet.route.clone() };
    let mut served = [0, 0];
    for partition in 0..16 {
        route.partition = PartitionId::new(partition);
        let before = [fleet.near.received(), fleet.other.received()];
        for _ in 0..3 {
            fleet.client.execute(&route, &get(false), LONG).await.unwrap();
        }
        let reads = [fleet.near.received() - before[0], fleet.other.received() - before[1]];
        assert!(reads == [3, 0] || reads == [0, 3], "{reads:?} of partition {partition}");
        served[usize::from(reads[1] > 0)] += 1;
    }
    assert!(served.iter().all(|partitions| *partitions > 0), "{served:?}");
}

#[tokio::test]
async fn a_slow_replica_is_avoided_but_for_probes() {
    let fleet = Fleet::start(Budget::new(0, 0)).await;
    fleet.near.does(Does::AnswerLate);
    join_all((0..30).map(|_| fleet.read(false))).await;
    let only_other = Route { members: vec![member(OTHER)], ..fleet.route.clone() };
    let read = get(false);
    join_all((0..30).map(|_| fleet.client.execute(&only_other, &read, LONG))).await;

    // Found slow as soon as nodes are judged again.
    let mut slow_reads = fleet.near.received();
    for _ in 0..10 {
        fleet.read(false).await.unwrap();
        if fleet.near.received() == slow_reads {
            break;
        }
        slow_reads = fleet.near.received();
    }
    for _ in 0..64 {
        fleet.read(false).await.unwrap();
    }
    fleet.near.until_received(slow_reads + 1).await;
    assert_eq!(fleet.near.received() - slow_reads, 1);
}

#[tokio::test]
async fn a_frozen_replica_is_found_although_each_read_of_it_is_given_up() {
    let fleet = Fleet::start(Budget::new(0, 100_000)).await;
    fleet.near.does(Does::Hold);
    let found = async {
        loop {
            let asked = fleet.near.received();
            fleet.read(false).await.unwrap();
            // Neither read nor probed any more.
            if fleet.near.received() == asked {
                return;
            }
        }
    };
    tokio::time::timeout(LONG, found).await.expect("it is found");
    // By its silence: these are too few to judge its latencies by.
    assert!(fleet.near.received() < 20, "{}", fleet.near.received());
}

#[tokio::test]
async fn after_a_newer_replica_answered_an_older_one_is_not_believed() {
    let fleet = Fleet::start(Budget::new(0, 2)).await;
    fleet.near.has_applied(10);
    fleet.other.has_applied(12);
    assert_eq!(fleet.read(false).await, Ok(state(10)));
    fleet.near.does(Does::Refuse);
    assert_eq!(fleet.read(false).await, Ok(state(12)));

    // Back, and asked first again.
    fleet.near.does(Does::Answer);
    let near_only = Route { members: vec![member(NEAR)], leader: Some(OTHER), ..fleet.route.clone() };
    assert_eq!(fleet.client.execute(&near_only, &get(false), LONG).await, Ok(state(12)), "of the leader");
    fleet.near.has_applied(13);
    assert_eq!(fleet.client.execute(&near_only, &get(false), LONG).await, Ok(state(13)));
}

#[tokio::test]
async fn the_leader_is_asked_for_a_newer_state_whatever_the_budget_for_hedges() {
    let fleet = Fleet::start(Budget::new(0, 0)).await;
    let led_by_other = Route { leader: Some(OTHER), ..fleet.route.clone() };
    fleet.near.has_applied(10);
    fleet.other.has_applied(12);
    assert_eq!(fleet.read(false).await, Ok(state(10)));

    fleet.near.has_applied(9);
    assert_eq!(fleet.client.execute(&led_by_other, &get(false), LONG).await, Ok(state(12)));
}

#[tokio::test]
async fn a_client_that_forgets_what_it_read_goes_back() {
    let mut fleet = Fleet::start(Budget::new(0, 0)).await;
    fleet.client = fleet.client.forgetful();
    fleet.near.has_applied(10);
    assert_eq!(fleet.read(false).await, Ok(state(10)));
    fleet.near.has_applied(9);
    assert_eq!(fleet.read(false).await, Ok(state(9)), "the mistake that the tests above would notice");
}

#[tokio::test]
async fn when_no_replica_is_new_enough_the_read_fails_and_is_not_answered_wrong() {
    let fleet = Fleet::start(Budget::new(0, 10)).await;
    fleet.near.has_applied(10);
    assert_eq!(fleet.read(false).await, Ok(state(10)));
    fleet.near.has_applied(9);
    fleet.other.has_applied(8);
    assert!(matches!(fleet.read(false).await, Err(StoreError::Unavailable { .. })));
}

#[tokio::test]
async fn what_was_read_is_forgotten_when_the_leader_itself_has_less() {
    let fleet = Fleet::start(Budget::new(0, 0)).await;
    fleet.near.has_applied(10);
    assert_eq!(fleet.read(false).await, Ok(state(10)));
    fleet.near.has_applied(3);
    fleet.near.does(Does::Lead);
    assert!(matches!(fleet.read(false).await, Err(StoreError::Unavailable { .. })));
    assert_eq!(fleet.read(false).await, Ok(state(3)));
}

#[tokio::test]
async fn a_leader_that_is_only_behind_makes_nobody_forget_what_was_read() {
    let fleet = Fleet::start(Budget::new(0, 0)).await;
    fleet.near.has_applied(10);
    assert_eq!(fleet.read(false).await, Ok(state(10)));
    let near_leads = Route { members: vec![member(NEAR)], leader: Some(NEAR), ..fleet.route.clone() };
    fleet.near.has_applied(9);
    for _ in 0..2 {
        let answer = fleet.client.execute(&near_leads, &get(false), LONG).await;
        assert!(matches!(answer, Err(StoreError::Unavailable { .. })), "{answer:?}");
    }
    fleet.near.has_applied(10);
    assert_eq!(fleet.client.execute(&near_leads, &get(false), LONG).await, Ok(state(10)));
}

#[tokio::test]
async fn floors_are_of_one_partition_each() {
    let fleet = Fleet::start(Budget::new(0, 0)).await;
    fleet.near.has_applied(10);
    assert_eq!(fleet.read(false).await, Ok(state(10)));
    fleet.near.has_applied(4);
    let elsewhere =
        Route { partition: PartitionId::new(8), members: vec![member(NEAR)], ..fleet.route.clone() };
    assert_eq!(fleet.client.execute(&elsewhere, &get(false), LONG).await, Ok(state(4)));
}

/// A client in the near node's zone, and two nodes.
struct Fleet {
    client: ReplicatedStore,
    near: Arc<FakeNode>,
    other: Arc<FakeNode>,
    route: Route,
    _running: tokio_util::sync::DropGuard,
}

/// A storage service that does what it is told.
struct FakeNode {
    does: Mutex<Does>,
    applied: AtomicU64,
    held: Mutex<Vec<Responder>>,
    received: watch::Sender<usize>,
}

#[derive(Clone, Copy, Debug)]
enum Does {
    Answer,
    AnswerLate,
    Hold,
    /// By the transport.
    Fail,
    /// By an answer.
    Refuse,
    /// Answer, and claim to lead.
    Lead,
}

impl Service for FakeNode {
    fn call(&self, request: Incoming, responder: Responder) {
        let request = request.decode::<Execute>().expect("the client sends operations");
        self.received.send_modify(|received| *received += 1);
        let does = *self.does.lock();
        let applied = self.applied.load(Ordering::SeqCst);
        match does {
            Does::Answer | Does::Lead if request.at_least > applied => {
                let leads = matches!(does, Does::Lead);
                responder.answer::<Execute>(&wire_form::behind(LogIndex::new(applied), leads));
            }
            Does::Answer | Does::Lead if applied > 0 => {
                let response = wire_form::response(state(applied));
                responder.answer::<Execute>(&ExecuteResponse { applied, ..response });
            }
            Does::Answer | Does::Lead => answer(responder),
            Does::AnswerLate => {
                tokio::spawn(async {
                    tokio::time::sleep(SLOW).await;
                    answer(responder);
                });
            }
            Does::Hold => self.held.lock().push(responder),
            Does::Fail => responder.fail(Failure::Unavailable),
            Does::Refuse => responder.answer::<Execute>(&wire_form::refusal(&StoreError::Unknown)),
        }
    }
}

fn answer(responder: Responder) {
    responder.answer::<Execute>(&wire_form::response(Outcome::Item(None)));
}

impl FakeNode {
    async fn start(until: CancellationToken) -> (Arc<Self>, String) {
        let node = Arc::new(Self {
            does: Mutex::new(Does::Answer),
            applied: AtomicU64::new(0),
            held: Mutex::default(),
            received: watch::Sender::new(0),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let service = Arc::clone(&node);
        tokio::spawn(until.run_until_cancelled_owned(serve(listener, service, CancellationToken::new())));
        (node, address)
    }

    fn does(&self, does: Does) {
        *self.does.lock() = does;
    }

    /// Answers eventually consistent reads with that state from now on.
    fn has_applied(&self, index: u64) {
        self.applied.store(index, Ordering::SeqCst);
    }

    fn take_held(&self) -> Vec<Responder> {
        std::mem::take(&mut *self.held.lock())
    }

    /// Answers all that it holds, and what comes.
    fn release(&self) {
        self.does(Does::Answer);
        self.take_held().into_iter().for_each(answer);
    }

    fn received(&self) -> usize {
        *self.received.borrow()
    }

    async fn until_received(&self, count: usize) {
        let mut received = self.received.subscribe();
        let came = received.wait_for(|received| *received >= count);
        tokio::time::timeout(LONG, came).await.expect("it comes").expect("the node is there");
    }
}

impl Fleet {
    async fn start(hedges: Budget) -> Self {
        let running = CancellationToken::new();
        let (near, near_address) = FakeNode::start(running.clone()).await;
        let (other, other_address) = FakeNode::start(running.clone()).await;
        let client = ReplicatedStore::with_hedges("test", zone(NEAR), hedges);
        client.learn_nodes([
            NodeAddress { node: NEAR, address: near_address },
            NodeAddress { node: OTHER, address: other_address },
        ]);
        let route = Route {
            table: TableId::new(3),
            partition: PartitionId::new(7),
            range: KeyRange::default(),
            members: vec![member(OTHER), member(NEAR)],
            leader: Some(NEAR),
            version: RouteVersion { configuration: 1, term: Term::new(1) },
        };
        let fleet = Self { client, near, other, route, _running: running.drop_guard() };
        // Any answer means that the connection is up. Of strong reads nothing is counted or timed.
        for leader in [NEAR, OTHER] {
            let route = Route { leader: Some(leader), members: vec![member(leader)], ..fleet.route.clone() };
            fleet.client.execute(&route, &get(true), LONG).await.unwrap();
        }
        fleet.near.received.send_replace(0);
        fleet.other.received.send_replace(0);
        fleet
    }

    async fn read(&self, consistent: bool) -> Result<Outcome, StoreError> {
        self.client.execute(&self.route, &get(consistent), LONG).await
    }
}

/// What a replica answers that has applied the log up to `index`.
fn state(index: u64) -> Outcome {
    let mut builder = ItemBuilder::new();
    builder.name("index").unwrap();
    builder.string(&index.to_string());
    Outcome::Item(Some(builder.finish().unwrap()))
}

fn get(consistent: bool) -> Operation {
    Operation::Get(Get { key: StorageKey(Bytes::from_static(b"key")), consistent })
}

const fn zone(node: NodeId) -> Zone {
    Zone::new(node.get() as u8)
}

const fn member(node: NodeId) -> Member {
    Member { node, zone: zone(node), kind: MemberKind::Storage }
}
