//! Sends each operation to the replica that may execute it, and types what comes back.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ::metrics::Gauge;
use arc_swap::ArcSwap;
use dynamodb::operation::{Operation, Outcome};
use futures_util::future::{Either, select};
use parking_lot::Mutex;
use routing::{Budget, MemberKind, NO_PROBE, Replica, ReplicaHealth, Route, choose_replicas};
use units::{LogIndex, NodeId, Timestamp, Zone};
use wire::method::Execute;
use wire::proto::storage::execute_response::Outcome as Wire;
use wire::proto::storage::{ExecuteRequest, ExecuteResponse};
use wire::transport::{CallError, Connection, ConnectionConfig, Failure};

use super::metrics::{self, ClientMetrics};
use super::node_health::{self, NodeHealth, Probe, ReadKind, Timing};
use super::read_floors::{ReadFloor, ReadFloors};
use crate::{PartitionStore, StoreError, wire_form};

/// When to come back to a node that is not connected or has too much to do.
const RETRY_AFTER: Duration = Duration::from_millis(50);

/// When to come back for a state that only a leader that is away is known to have: three attempts last about as
/// long as the group takes to elect another one, which is as new.
const UNTIL_ELECTED: Duration = Duration::from_millis(500);

/// How often nodes are judged, by a read that comes along.
const JUDGED_EVERY: Duration = Duration::from_millis(50);

/// Second replicas asked, per 1,000 eventually consistent reads: what they add to storage's load at most.
const HEDGES_PER_MILLE: u32 = 20;

/// How long a probe's answer is waited for: longer than what makes a node gray, and short enough that a frozen
/// one is not asked in vain for long before it is found well again.
const PROBE_DEADLINE: Duration = Duration::from_secs(1);

/// Second replicas that may be asked at once after a calm time: what is under way at a node that fails.
const HEDGES_SAVED: u32 = 100;

/// Where a storage node listens, as MemDS or the control plane says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeAddress {
    /// The node.
    pub node: NodeId,
    /// `host:port`.
    pub address: String,
}

/// Executes on a fleet of storage nodes. One connection per node, opened when the node is learnt.
#[derive(Debug)]
pub struct ReplicatedStore {
    zone: Zone,
    name: String,
    nodes: ArcSwap<BTreeMap<NodeId, Arc<Node>>>,
    /// Held while `nodes` is replaced.
    learning: Mutex<()>,
    /// Counts the eventually consistent reads.
    turn: AtomicU64,
    hedges: Budget,
    floors: ReadFloors,
    /// When nodes are to be judged again, in nanoseconds of the clock.
    judge_at: AtomicU64,
    metrics: ClientMetrics,
    told: OnceLock<Told>,
}

/// Who is told of routes that nobody asked for.
struct Told(Box<dyn Fn(Route) + Send + Sync>);

impl std::fmt::Debug for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Told")
    }
}

/// One storage node.
#[derive(Debug)]
struct Node {
    connection: Connection,
    /// Shared with a probe under way.
    health: Arc<NodeHealth>,
    gray: Gauge,
}

/// An eventually consistent read, whichever nodes are asked.
struct EventualRead<'a> {
    request: ExecuteRequest,
    kind: ReadKind,
    floors: &'a ReadFloors,
    floor: Arc<ReadFloor>,
    /// A replica was asked that is older than what was read before.
    met_behind: AtomicBool,
}

/// The nodes whose replicas an eventually consistent read asks.
struct Chosen {
    first: Arc<Node>,
    second: Option<Arc<Node>>,
    probe: Option<Arc<Node>>,
    is_near: bool,
}

impl ReplicatedStore {
    /// A client in `zone` that knows no node yet. `name` is what nodes call it in their logs.
    #[must_use]
    pub fn new(name: &str, zone: Zone) -> Self {
        Self::with_hedges(name, zone, Budget::new(HEDGES_PER_MILLE, HEDGES_SAVED))
    }

    pub(super) fn with_hedges(name: &str, zone: Zone, hedges: Budget) -> Self {
        Self {
            zone,
            name: name.to_owned(),
            nodes: ArcSwap::default(),
            learning: Mutex::new(()),
            turn: AtomicU64::new(NO_PROBE),
            hedges,
            floors: ReadFloors::default(),
            judge_at: AtomicU64::new(0),
            metrics: ClientMetrics::new(),
            told: OnceLock::new(),
        }
    }

    /// The same with a deliberate mistake, by which tests show that they would notice it: it forgets what it read,
    /// so that eventually consistent reads may go back.
    #[doc(hidden)]
    #[must_use]
    pub fn forgetful(mut self) -> Self {
        self.floors.forgetful = true;
        self
    }

    /// Learns where nodes listen; a node that moved is connected anew, one that is not named stays. Must
    /// be called within a tokio runtime.
    pub fn learn_nodes(&self, nodes: impl IntoIterator<Item = NodeAddress>) {
        let _learning = self.learning.lock();
        let current = self.nodes.load_full();
        let mut newer = None;
        for NodeAddress { node, address } in nodes {
            let known = current.get(&node).is_some_and(|known| known.connection.address() == address);
            if !known && !address.is_empty() {
                let connection = Connection::open(&address, ConnectionConfig::named(&self.name));
                let gray = metrics::gray_gauge(node);
                let opened = Arc::new(Node { connection, health: Arc::default(), gray });
                newer.get_or_insert_with(|| (*current).clone()).insert(node, opened);
            }
        }
        if let Some(newer) = newer {
            self.nodes.store(newer.into());
        }
    }

    /// Has `listener` told of routes that come with a redirect for another partition: the same node led these
    /// until a moment ago. The first listener stays.
    pub fn on_moved(&self, listener: impl Fn(Route) + Send + Sync + 'static) {
        let _there_is_one = self.told.set(Told(Box::new(listener)));
    }

    /// Whether a node is known, and where.
    #[must_use]
    pub fn address_of(&self, node: NodeId) -> Option<String> {
        self.nodes.load().get(&node).map(|known| known.connection.address().to_owned())
    }

    /// The node whose replica leads. Without a leader to turn to (an election is under way, or its node is
    /// gone) any member will do: it holds the request until the group has a leader, and says who.
    fn leader(&self, route: &Route) -> Result<Arc<Node>, StoreError> {
        match self.connected_leader(route) {
            Some(leader) => Ok(leader),
            None => self.choose(route, NO_PROBE, wire::clock::now()).map(|chosen| chosen.first),
        }
    }

    fn connected_leader(&self, route: &Route) -> Option<Arc<Node>> {
        let nodes = self.nodes.load();
        let leader = nodes.get(&route.leader?)?;
        leader.connection.is_connected().then(|| Arc::clone(leader))
    }

    fn choose(&self, route: &Route, turn: u64, now: Timestamp) -> Result<Chosen, StoreError> {
        let nodes = self.nodes.load();
        let members = route.members.iter().enumerate();
        let storage = members.filter(|(_, member)| member.kind == MemberKind::Storage);
        let replicas = storage.filter_map(|(place, member)| {
            let health = nodes.get(&member.node)?.health(now);
            Some(Replica { place, is_near: member.zone == self.zone, health })
        });
        let spread = route.partition.get();
        let choice = choose_replicas(replicas, route.members.len(), spread, turn);
        let choice = choice.ok_or(StoreError::Unknown)?;
        let node_at = |place: usize| nodes.get(&route.members[place].node).map(Arc::clone);
        Ok(Chosen {
            first: node_at(choice.first).ok_or(StoreError::Unknown)?,
            second: choice.second.and_then(node_at),
            probe: choice.probe.and_then(node_at),
            is_near: route.members[choice.first].zone == self.zone,
        })
    }

    /// Reads from a replica that is at least as new as any that this client has read the partition from, so that
    /// its reads do not go back whichever replicas answer: if neither of the two that are asked is, the leader
    /// is asked, which is as new as can be.
    async fn read_eventually(
        &self,
        route: &Route,
        operation: &Operation,
        deadline: Duration,
    ) -> Result<Outcome, StoreError> {
        let began = wire::clock::now();
        self.judge_nodes(began);
        let mut request = wire_form::request(route.table, route.partition, operation);
        let floor = self.floors.of(route.partition);
        request.at_least = floor.at_least().get();
        let read = EventualRead {
            request,
            kind: ReadKind::of(operation),
            floors: &self.floors,
            floor,
            met_behind: AtomicBool::new(false),
        };
        let answer = self.read_hedged(route, &read, began, deadline).await;
        if !read.met_behind.load(Ordering::Relaxed) || !may_succeed_elsewhere(&answer) {
            return answer;
        }
        // Not out of the budget for hedges, which is there against slowness: another answer would be wrong.
        self.metrics.behind_reads.increment(1);
        let Some(leader) = self.connected_leader(route) else {
            return Err(StoreError::Unavailable {
                reason: "the leader is away, and no other replica is as new as what was read before"
                    .to_owned(),
                retry_after: UNTIL_ELECTED,
            });
        };
        let now = wire::clock::now();
        leader.read(&read, now, deadline.saturating_sub(now.since(began))).await
    }

    /// Reads from the nearest replica that is well, and from a second one if that one is slow or fails. Reads
    /// of a partition go to the same replica as long as nothing happens to it.
    async fn read_hedged(
        &self,
        route: &Route,
        read: &EventualRead<'_>,
        began: Timestamp,
        deadline: Duration,
    ) -> ReadAnswer {
        let chosen = self.choose(route, self.turn.fetch_add(1, Ordering::Relaxed), began)?;
        if chosen.is_near { &self.metrics.zone_reads } else { &self.metrics.other_reads }.increment(1);
        self.hedges.request();

        if let Some(probed) = chosen.probe {
            probed.probe(read, began);
        }
        let mut first = pin!(chosen.first.read(read, began, deadline));
        let Some(second) = chosen.second else { return first.await };
        let patience = chosen.first.health.patience(read.kind);
        let in_time = match tokio::time::timeout(patience, first.as_mut()).await {
            Ok(answer) if !may_succeed_elsewhere(&answer) => return answer,
            Ok(failed) => Some(failed),
            Err(_elapsed) => None,
        };
        if !self.hedges.spend() {
            self.metrics.hedges_denied.increment(1);
            return match in_time {
                Some(answer) => answer,
                None => first.await,
            };
        }
        let now = wire::clock::now();
        if in_time.is_none() {
            // The late read is given up as soon as the other is answered, and says little of a node that may
            // be frozen. This one waits.
            chosen.first.probe(read, now);
        }
        let left = deadline.saturating_sub(now.since(began));
        let second = pin!(second.read(read, now, left));
        let (answer, won) = match in_time {
            Some(failed) => better(failed, second.await),
            None => first_good(first, second).await,
        };
        if won { &self.metrics.hedges_won } else { &self.metrics.hedges_lost }.increment(1);
        answer
    }

    /// Judges the nodes if that is due.
    fn judge_nodes(&self, now: Timestamp) {
        let due = self.judge_at.load(Ordering::Relaxed);
        let next = (now + JUDGED_EVERY).as_nanos();
        // One of the reads that find it due does it.
        if now.as_nanos() < due
            || self.judge_at.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_err()
        {
            return;
        }
        let nodes = self.nodes.load();
        let nodes: Vec<_> = nodes.iter().collect();
        let fleet: Vec<_> =
            nodes.iter().map(|(_, node)| (&*node.health, node.connection.silent_for(now))).collect();
        node_health::judge(&fleet, now, |at, is_gray| {
            let (id, node) = nodes[at];
            node.gray.set(f64::from(u8::from(is_gray)));
            tracing::info!(node = %id, is_gray, "a storage node's latency beside its peers' changed");
        });
    }
}

impl Node {
    fn health(&self, now: Timestamp) -> ReplicaHealth {
        if !self.connection.is_connected() {
            ReplicaHealth::Unconnected
        } else if self.health.is_failing(now) {
            ReplicaHealth::Failing
        } else if self.health.is_gray() {
            ReplicaHealth::Gray
        } else {
            ReplicaHealth::Well
        }
    }

    /// An eventually consistent read that begins now. Dropped, it is cancelled at the node.
    async fn read(&self, read: &EventualRead<'_>, now: Timestamp, deadline: Duration) -> ReadAnswer {
        let timing = self.health.begin(read.kind, now);
        let answer = self.connection.call::<Execute>(&read.request, deadline).await;
        read.note(&answer);
        judged(timing, answer)
    }

    /// Reads for nobody: what is learnt is how long it takes. One at a time.
    fn probe(&self, read: &EventualRead<'_>, now: Timestamp) {
        let Some(probe) = Probe::begin(&self.health) else { return };
        let kind = read.kind;
        let on_answer = move |answer| drop(judged(probe.health().begin(kind, now), answer));
        // Not sent: there is too much to do, or no connection. The next one comes soon.
        let _sent = self.connection.call_detached::<Execute>(&read.request, PROBE_DEADLINE, on_answer);
    }
}

impl EventualRead<'_> {
    /// Remembers how new the state is that an answer shows.
    fn note(&self, answer: &Result<ExecuteResponse, CallError>) {
        let Ok(response) = answer else { return };
        match &response.outcome {
            Some(Wire::Behind(behind)) => {
                self.met_behind.store(true, Ordering::Relaxed);
                let (asked, applied) = (LogIndex::new(self.request.at_least), LogIndex::new(behind.applied));
                // All replicas were lost, or this client was lied to: better older than never.
                if behind.leads && self.floor.lower(asked, applied) {
                    let (partition, at_least) = (self.request.partition, self.request.at_least);
                    tracing::warn!(
                        partition,
                        at_least,
                        applied = behind.applied,
                        "a leader has less than was read before: what was read is forgotten"
                    );
                }
            }
            _ => self.floors.raise(&self.floor, LogIndex::new(response.applied)),
        }
    }
}

/// What came of an eventually consistent read, and what it says of the node.
fn judged(timing: Timing<'_>, answer: Result<ExecuteResponse, CallError>) -> ReadAnswer {
    let is_late = matches!(answer, Err(CallError::Timeout | CallError::Failed(Failure::DeadlineExceeded)));
    // One that waited for a lagging replica in vain: slow, but nothing is known against its other replicas.
    let is_behind = matches!(&answer, Ok(ExecuteResponse { outcome: Some(Wire::Behind(_)), .. }));
    let answer = typed(answer, false);
    let now = wire::clock::now();
    let health = timing.health();
    match &answer {
        Ok(_) => timing.answered(now),
        Err(_) if is_behind => {
            timing.answered(now);
            return answer;
        }
        // Dropped: it took at least so long.
        Err(_) if is_late => drop(timing),
        Err(_) => timing.refused(),
    }
    if may_succeed_elsewhere(&answer) {
        health.failed(now);
    }
    answer
}

impl PartitionStore for ReplicatedStore {
    async fn execute(
        &self,
        route: &Route,
        operation: &Operation,
        deadline: Duration,
    ) -> Result<Outcome, StoreError> {
        let consistent = match operation {
            Operation::Get(get) => get.consistent,
            Operation::Range(range) => range.consistent,
            Operation::Put(_) | Operation::Update(_) | Operation::Delete(_) => true,
        };
        let answer = if consistent {
            if !operation.is_write() {
                self.metrics.leader_reads.increment(1);
            }
            let node = self.leader(route)?;
            let request = wire_form::request(route.table, route.partition, operation);
            let mut answer = node.connection.call::<Execute>(&request, deadline).await;
            if let (Ok(response), Some(told)) = (&mut answer, self.told.get()) {
                wire_form::others_told(response).into_iter().for_each(&told.0);
            }
            typed(answer, operation.is_write())
        } else {
            self.read_eventually(route, operation, deadline).await
        };
        if matches!(answer, Err(StoreError::Redirect(_))) {
            self.metrics.redirects.increment(1);
        }
        answer
    }
}

type ReadAnswer = Result<Outcome, StoreError>;

/// The first of two answers that no other replica could better, and whether it is the second's. The other
/// read is dropped with its future.
async fn first_good(
    first: impl Future<Output = ReadAnswer> + Unpin,
    second: impl Future<Output = ReadAnswer> + Unpin,
) -> (ReadAnswer, bool) {
    match select(first, second).await {
        Either::Left((answer, second)) if may_succeed_elsewhere(&answer) => better(answer, second.await),
        Either::Left((answer, _)) => (answer, false),
        Either::Right((answer, first)) if may_succeed_elsewhere(&answer) => (first.await, false),
        Either::Right((answer, _)) => (answer, true),
    }
}

/// The second's answer, and that it won, unless it failed like the first.
fn better(failed: ReadAnswer, second: ReadAnswer) -> (ReadAnswer, bool) {
    if may_succeed_elsewhere(&second) { (failed, false) } else { (second, true) }
}

/// Whether another replica may do what this one did not.
const fn may_succeed_elsewhere(answer: &ReadAnswer) -> bool {
    matches!(answer, Err(StoreError::Unavailable { .. } | StoreError::Corrupt | StoreError::Unknown))
}

/// What came of a call, typed.
fn typed(answer: Result<ExecuteResponse, CallError>, is_write: bool) -> Result<Outcome, StoreError> {
    match answer {
        Ok(response) => wire_form::outcome(response),
        Err(error) => Err(failure(&error, is_write)),
    }
}

/// What a call without an answer means for the operation.
fn failure(error: &CallError, is_write: bool) -> StoreError {
    let not_executed = || StoreError::Unavailable { reason: error.to_string(), retry_after: RETRY_AFTER };
    match error {
        CallError::QueueFull | CallError::NotConnected => not_executed(),
        CallError::Failed(
            Failure::Overloaded
            | Failure::Unavailable
            | Failure::DeadlineExceeded
            | Failure::UnknownMethod
            | Failure::Malformed,
        ) => not_executed(),
        CallError::Disconnected | CallError::Timeout | CallError::Failed(Failure::Internal) if is_write => {
            StoreError::Indefinite
        }
        CallError::Malformed if is_write => StoreError::Indefinite,
        CallError::Malformed => StoreError::Corrupt,
        CallError::Disconnected | CallError::Timeout | CallError::Failed(Failure::Internal) => not_executed(),
    }
}
