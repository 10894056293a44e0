//! What a node answers: operations, snapshots, assignments, the groups' messages.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use dynamodb::operation::Operation;
use prost::Message;
use tokio::sync::oneshot;
use units::{LogIndex, NodeId, PartitionId, TableId, Timestamp};
use wire::method::{Assign, Execute, InstallChunk, Method, Notice, Replicate};
use wire::proto::control::{AssignRequest, AssignResponse};
use wire::proto::routing::Acknowledged;
use wire::transport::{Failure, Incoming, Responder, Service};

use super::assignment::{self, Assignment};
use super::hosted::Hosted;
use super::inbox::Input;
use super::lagging_reads::LaggingRead;
use super::reply::Reply;
use super::request::Request;
use super::shared::Shared;
use super::snapshot_receiver::{self, ChunkError};
use super::{reads, replication_form, send_on, unavailable};
use crate::wire_form::WireFormError;
use crate::{StoreError, wire_form};

/// The node's service: `Execute`, `InstallChunk`, `Assign` and the notice `Replicate`.
#[derive(Debug)]
pub struct NodeService {
    shared: Arc<Shared>,
}

impl NodeService {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    fn execute(&self, request: &Incoming, responder: Responder) {
        let Ok(request) = request.decode::<Execute>() else { return responder.fail(Failure::Malformed) };
        let at_least = LogIndex::new(request.at_least);
        match wire_form::operation(request) {
            Ok((table, partition, operation)) => {
                let address = Address { table: Some(table), partition, at_least };
                execute(&self.shared, &address, operation, Reply::Wire(responder));
            }
            Err(_) => responder.fail(Failure::Malformed),
        }
    }

    fn install(&self, request: &Incoming, responder: Responder) {
        let Ok(chunk) = request.decode::<InstallChunk>() else {
            return responder.fail(Failure::Malformed);
        };
        let shared = Arc::clone(&self.shared);
        drop(self.shared.runtime.spawn(async move {
            match snapshot_receiver::receive(&shared, chunk).await {
                Ok(()) => responder.answer::<InstallChunk>(&Acknowledged {}),
                Err(error) => {
                    tracing::warn!(%error, "a snapshot's chunk was not stored");
                    if matches!(error, ChunkError::Engine(crate::engine::EngineError::Io(_))) {
                        shared.fail("a snapshot cannot be stored");
                    }
                    responder.fail(Failure::Unavailable);
                }
            }
        }));
    }

    fn assign(&self, request: &Incoming, responder: Responder) {
        let Ok(request) = request.decode::<Assign>() else {
            return responder.fail(Failure::Malformed);
        };
        let shared = Arc::clone(&self.shared);
        drop(self.shared.runtime.spawn(async move {
            match assign(&shared, request).await {
                Ok(response) => responder.answer::<Assign>(&response),
                Err(AssignError::Malformed(error)) => {
                    tracing::warn!(%error, "an assignment was refused");
                    responder.fail(Failure::Malformed);
                }
                Err(AssignError::Stopping) => responder.fail(Failure::Unavailable),
            }
        }));
    }
}

impl Service for NodeService {
    fn call(&self, request: Incoming, responder: Responder) {
        if self.shared.failed.is_cancelled() || self.shared.stopping.is_cancelled() {
            return responder.fail(Failure::Unavailable);
        }
        match request.method {
            Execute::NUMBER => self.execute(&request, responder),
            InstallChunk::NUMBER => self.install(&request, responder),
            Assign::NUMBER => self.assign(&request, responder),
            _ => responder.fail(Failure::UnknownMethod),
        }
    }

    fn notice(&self, method: u32, payload: Bytes) {
        if method != Replicate::NUMBER {
            return;
        }
        match <Replicate as Notice>::Message::decode(payload) {
            Ok(envelope) => {
                let received = replication_form::typed_envelope(envelope);
                if let Some(spare) = received.spare {
                    self.shared.throughput.hear(received.from, spare, wire::clock::now());
                }
                self.shared.inbox.offer_envelope(received.from, received.envelope);
            }
            Err(error) => tracing::warn!(%error, "an envelope was malformed"),
        }
    }

    fn frame_ended(&self) {
        self.shared.take_turns();
    }
}

/// What an operation is for.
#[derive(Debug)]
pub(super) struct Address {
    /// The partition's, if given.
    pub(super) table: Option<TableId>,
    pub(super) partition: PartitionId,
    /// How far the replica must have applied the log, for an eventually consistent read.
    pub(super) at_least: LogIndex,
}

/// Executes an operation, or says where to go.
pub(super) fn execute(shared: &Arc<Shared>, address: &Address, operation: Operation, reply: Reply) {
    let hosted = shared.directory.get(address.partition);
    let hosted = hosted.filter(|hosted| address.table.is_none_or(|table| hosted.assignment().table == table));
    let Some(hosted) = hosted else { return reply.refuse(StoreError::Unknown) };
    if !in_range(&hosted, &operation) {
        return reply.refuse(StoreError::Unknown);
    }
    let consistent = is_consistent(&operation);
    if !consistent && hosted.is_refilling() {
        return reply.refuse(unavailable("the replica is being refilled"));
    }
    let now = wire::clock::now();
    if !consistent && !hosted.has_applied(address.at_least) {
        return LaggingRead { hosted, operation, at_least: address.at_least, reply }.wait(shared, now);
    }
    admit(shared, hosted, operation, reply, now);
}

/// The second part of [`execute`]: the replica has what the operation wants to see.
pub(super) fn admit(
    shared: &Arc<Shared>,
    hosted: Arc<Hosted>,
    operation: Operation,
    reply: Reply,
    now: Timestamp,
) {
    let consistent = is_consistent(&operation);
    // A strong read under a valid lease needs no hop to the loop: what was answered is applied.
    let reads_here = !operation.is_write() && (!consistent || hosted.lease.is_valid(now));
    let lease = &hosted.lease;
    if !reads_here && !lease.serving() && lease.leader().is_some_and(|leader| leader != shared.node) {
        return send_on(shared, &hosted, reply);
    }
    // Last, since what is sent elsewhere is not charged here; and before the queue, so that what is refused
    // costs the loop nothing.
    let members = || hosted.assignment().voters().collect();
    let admitted = match hosted.throughput.admit(&operation, members, now) {
        Ok(admitted) => admitted,
        Err(refusal) => return reply.refuse(StoreError::Throttled(Box::new(refusal))),
    };
    let request = Request { hosted, operation, reply, admitted };
    if reads_here {
        reads::read(shared, request);
    } else if let Err(request) = shared.inbox.offer(request) {
        request.reply.overloaded();
    }
}

const fn is_consistent(operation: &Operation) -> bool {
    match operation {
        Operation::Get(get) => get.consistent,
        Operation::Range(range) => range.consistent,
        Operation::Put(_) | Operation::Update(_) | Operation::Delete(_) => true,
    }
}

/// Whether an operation belongs to the partition: an item's key by itself, a range by any part.
fn in_range(hosted: &Hosted, operation: &Operation) -> bool {
    match operation {
        Operation::Range(read) => {
            let assignment = hosted.assignment();
            let ends_before = read.end.as_ref().is_some_and(|end| end.0 <= assignment.range.start)
                && !assignment.range.start.is_empty();
            let starts_after = assignment.range.end.as_ref().is_some_and(|end| read.start.0 >= *end);
            !ends_before && !starts_after
        }
        other => hosted.holds(&other.routing_key().0),
    }
}

/// Why an assignment was not taken.
#[derive(Debug)]
pub(super) enum AssignError {
    Malformed(WireFormError),
    Stopping,
}

/// Hosts and drops replicas; recorded durably before it returns. Idempotent.
pub(super) async fn assign(
    shared: &Arc<Shared>,
    request: AssignRequest,
) -> Result<AssignResponse, AssignError> {
    let (assignments, mut addresses) = assignment::typed(request.assign).map_err(AssignError::Malformed)?;
    addresses.remove(&shared.node);
    shared.peers.learn(&addresses);
    let drop: BTreeSet<_> = request.drop.into_iter().map(PartitionId::new).collect();
    let hosted: Vec<_> = assignments.iter().map(|assignment| assignment.partition).collect();
    record(shared, &assignments, &addresses, &drop).await?;
    let (sender, opened) = oneshot::channel();
    shared.inbox.push(Input::Open(assignments, sender));
    opened.await.map_err(|_| AssignError::Stopping)?;
    if !drop.is_empty() {
        let (sender, closed) = oneshot::channel();
        shared.inbox.push(Input::Close(drop, sender));
        closed.await.map_err(|_| AssignError::Stopping)?;
    }
    let led = |partition: &PartitionId| {
        let hosted = shared.directory.get(*partition)?;
        hosted.lease.leader().map(|_| partition.get())
    };
    Ok(AssignResponse { led: hosted.iter().filter_map(led).collect() })
}

/// Writes the manifest if anything in it changes.
async fn record(
    shared: &Arc<Shared>,
    assignments: &[Assignment],
    addresses: &BTreeMap<NodeId, String>,
    drop: &BTreeSet<PartitionId>,
) -> Result<(), AssignError> {
    if shared.files.is_none() {
        return Ok(());
    }
    let (assignments, addresses, drop) = (assignments.to_vec(), addresses.clone(), drop.clone());
    let blocking = Arc::clone(shared);
    let write = move || {
        let files = blocking.files.as_ref().expect("checked by the caller");
        let mut manifest = files.manifest.lock();
        let mut newer = manifest.1.clone();
        for assignment in assignments {
            newer.replicas.insert(assignment.partition, assignment);
        }
        newer.replicas.retain(|partition, _| !drop.contains(partition));
        newer.addresses.extend(addresses);
        if newer.replicas == manifest.1.replicas && newer.addresses == manifest.1.addresses {
            return Ok(());
        }
        manifest.0.write(&newer)?;
        manifest.1 = newer;
        std::io::Result::Ok(())
    };
    match tokio::task::spawn_blocking(write).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => {
            shared.fail(&format!("the manifest cannot be written: {error}"));
            Err(AssignError::Stopping)
        }
        Err(_panicked) => Err(AssignError::Stopping),
    }
}
