//! What a member of the control plane does with each request.

use std::collections::BTreeMap;
use std::sync::Arc;

use admission::BucketId;
use dynamodb::error::ApiError;
use dynamodb::table::{Billing, TableDescriptor, TableStatus};
use routing::NodeAddress;
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;
use tracing::warn;
use units::{Bytes64, MilliUnitsPerSecond, PartitionId, Term};
use wire::clock;
use wire::method::{Credential, FetchQuotas, InstallChunk, Method, ReportNode, ReportPeaks, Tables};
use wire::proto::control as proto;
use wire::proto::control::table_answer::Answer;
use wire::proto::control::table_command::Command as Asked;
use wire::proto::routing::Acknowledged;
use wire::transport::{Failure, Incoming, Responder, Service};

use crate::catalog::json;
use crate::catalog_store::CatalogStore;
use crate::fleet::ReplicaState;
use crate::leader::{Change, Changed, Command, Refused, Serving, Shared};
use crate::metrics;
use crate::push;
use crate::reconcile;
use crate::record::{CredentialRecord, Record, TableRecord};
use crate::table_command;

/// Names that one answer to `ListTables` carries at most. Source: DynamoDB API, `ListTables`.
const MAX_NAMES: usize = 100;

/// The control plane's service, beside the one of the group that holds the catalog.
pub(crate) struct ControlService<S> {
    shared: Arc<Shared<S>>,
    /// Serves the catalog's group: what its members say to one another.
    group: Option<Arc<dyn Service>>,
    /// Requests that wait for the catalog.
    waiting: TaskTracker,
}

impl<S: CatalogStore> ControlService<S> {
    pub(crate) fn new(shared: Arc<Shared<S>>, group: Option<Arc<dyn Service>>, waiting: TaskTracker) -> Self {
        Self { shared, group, waiting }
    }
}

impl<S: CatalogStore> Service for ControlService<S> {
    fn call(&self, request: Incoming, responder: Responder) {
        match request.method {
            Tables::NUMBER => match request.decode::<Tables>() {
                Ok(command) => {
                    self.spawn(responder, |shared, responder| answer_tables(shared, command, responder))
                }
                Err(_) => responder.fail(Failure::Malformed),
            },
            Credential::NUMBER => match request.decode::<Credential>() {
                Ok(asked) => {
                    self.spawn(responder, |shared, responder| answer_credential(shared, asked, responder))
                }
                Err(_) => responder.fail(Failure::Malformed),
            },
            ReportNode::NUMBER => match request.decode::<ReportNode>() {
                Ok(report) => self.take_report(report, responder),
                Err(_) => responder.fail(Failure::Malformed),
            },
            FetchQuotas::NUMBER => self.answer_quotas(responder),
            ReportPeaks::NUMBER => match request.decode::<ReportPeaks>() {
                Ok(peaks) => self.take_peaks(&peaks, responder),
                Err(_) => responder.fail(Failure::Malformed),
            },
            InstallChunk::NUMBER => match &self.group {
                Some(group) => group.call(request, responder),
                None => responder.fail(Failure::UnknownMethod),
            },
            _ => responder.fail(Failure::UnknownMethod),
        }
    }

    fn notice(&self, method: u32, payload: bytes::Bytes) {
        if let Some(group) = &self.group {
            group.notice(method, payload);
        }
    }

    fn frame_ended(&self) {
        if let Some(group) = &self.group {
            group.frame_ended();
        }
    }
}

impl<S: CatalogStore> ControlService<S> {
    fn spawn<F: Future<Output = ()> + Send + 'static>(
        &self,
        responder: Responder,
        answer: impl FnOnce(Arc<Shared<S>>, Responder) -> F,
    ) {
        self.waiting.spawn(answer(Arc::clone(&self.shared), responder));
    }

    fn take_report(&self, report: proto::NodeReport, responder: Responder) {
        let Some(serving) = self.shared.serving() else {
            let not_leader = Some(not_leader(&self.shared));
            return responder
                .answer::<ReportNode>(&proto::NodeReportAnswer { not_leader, ..Default::default() });
        };
        let Some(Ok(node)) = report.node.map(NodeAddress::try_from) else {
            warn!("a storage node's report lacks its address");
            return responder.fail(Failure::Malformed);
        };
        metrics::report();
        let replicas: BTreeMap<PartitionId, ReplicaState> = report
            .replicas
            .iter()
            .map(|replica| (PartitionId::new(replica.partition), state(replica)))
            .collect();
        let drop = serving.catalog.gone(report.replicas.iter().map(|replica| replica.partition));
        let mut fleet = self.shared.fleet.lock();
        let known = fleet.directory().get(node.node) == Some(&node);
        fleet.report(node.clone(), replicas.clone(), clock::now());
        let hosted_by_catalog = serving
            .catalog
            .tables
            .values()
            .filter(|table| table.descriptor.status != TableStatus::Deleting)
            .flat_map(|table| reconcile::assignments(table, &fleet, node.node));
        let assignments = hosted_by_catalog
            .filter(|assignment| !replicas.contains_key(&PartitionId::new(assignment.partition)))
            .collect();
        std::mem::drop(fleet);
        if !known {
            self.shared.wake.notify_one();
        }
        responder.answer::<ReportNode>(&proto::NodeReportAnswer {
            not_leader: None,
            assignments,
            drop: drop.into_iter().collect(),
        });
    }

    fn answer_quotas(&self, responder: Responder) {
        match self.shared.serving() {
            Some(serving) => {
                responder.answer::<FetchQuotas>(&push::all_quotas(&serving.catalog));
            }
            None => responder.fail(Failure::Unavailable),
        }
    }

    fn take_peaks(&self, peaks: &proto::Peaks, responder: Responder) {
        let Some(serving) = self.shared.serving() else { return responder.fail(Failure::Unavailable) };
        let peaks = peaks
            .peaks
            .iter()
            .map(|peak| (BucketId::from_raw(peak.bucket), MilliUnitsPerSecond::new(peak.rate_milli)));
        self.shared.peaks.lock().report(&serving.catalog, peaks);
        responder.answer::<ReportPeaks>(&Acknowledged {});
    }
}

async fn answer_tables<S: CatalogStore>(
    shared: Arc<Shared<S>>,
    command: proto::TableCommand,
    responder: Responder,
) {
    match tables(&shared, command).await {
        Ok(answer) => responder.answer::<Tables>(&proto::TableAnswer { answer: Some(answer) }),
        Err(failure) => responder.fail(failure),
    }
}

async fn tables<S: CatalogStore>(
    shared: &Shared<S>,
    command: proto::TableCommand,
) -> Result<Answer, Failure> {
    let Some(serving) = shared.serving() else {
        return Ok(Answer::NotLeader(not_leader(shared)));
    };
    let principal = command.principal;
    match command.command.ok_or(Failure::Malformed)? {
        Asked::Create(new) => {
            let new = serde_json::from_slice(&new).map_err(|_| Failure::Malformed)?;
            change(shared, Change::Create { new, principal }).await
        }
        Asked::Update(wanted) => {
            let wanted = serde_json::from_slice(&wanted).map_err(|_| Failure::Malformed)?;
            change(shared, Change::Update { change: wanted, principal }).await
        }
        Asked::Delete(name) => change(shared, Change::Delete(name)).await,
        Asked::Describe(name) => Ok(match table_command::existing(&serving.catalog, &name) {
            Ok(_) => table(&describe(shared, &serving, &name)),
            Err(error) => exception(error),
        }),
        Asked::List(list) => Ok(Answer::Names(names(&serving, &list))),
    }
}

/// Has the leader's task change a table, and shows it as it then is.
async fn change<S: CatalogStore>(shared: &Shared<S>, change: Change) -> Result<Answer, Failure> {
    match execute(shared, change).await? {
        Ok(Changed::Table(descriptor)) => Ok(table(&descriptor)),
        Err(Refused::Table(error)) => Ok(exception(error)),
        Ok(_) | Err(_) => Err(Failure::Internal),
    }
}

/// Has the leader's task execute a change.
///
/// # Errors
/// `Overloaded`: not executed. `Internal`: it may or may not have been executed.
pub(crate) async fn execute<S>(
    shared: &Shared<S>,
    change: Change,
) -> Result<Result<Changed, Refused>, Failure> {
    let (reply, result) = oneshot::channel();
    shared.commands.try_send(Command { change, reply }).map_err(|_full| Failure::Overloaded)?;
    result.await.map_err(|_dropped| Failure::Internal)
}

/// The table as `DescribeTable` shows it: a change of status only once every MemDS server that answers
/// knows it, so that who sees `ACTIVE` can use the table through any proxy.
fn describe<S>(shared: &Shared<S>, serving: &Serving, name: &str) -> TableDescriptor {
    let record = serving.catalog.tables.get(name).expect("the caller has found the table");
    let mut descriptor = with_size(shared, &record.value);
    if descriptor.status == TableStatus::Active && !shared.board.reached(serving.term, record.revision) {
        // The version goes back with the status: who caches this must still take the real one for newer.
        descriptor.version -= 1;
        // Version 1 is a table's creation; what ends later is an update.
        descriptor.status =
            if descriptor.version <= 1 { TableStatus::Creating } else { TableStatus::Updating };
    }
    descriptor
}

/// The table with its size as the leaders of its partitions last reported it.
fn with_size<S>(shared: &Shared<S>, record: &TableRecord) -> TableDescriptor {
    let partitions = record.partitions.iter().map(|partition| PartitionId::new(partition.id));
    let (items, bytes) = shared.fleet.lock().size(partitions);
    let mut billing = record.descriptor.billing.clone();
    if let Billing::Provisioned(throughput) = &mut billing {
        throughput.decreases_today = table_command::decreases_today(*throughput, clock::unix_now());
    }
    TableDescriptor { item_count: items, size_bytes: bytes.get(), billing, ..record.descriptor.clone() }
}

fn names(serving: &Serving, list: &proto::ListTables) -> proto::TableNames {
    let limit = match usize::try_from(list.limit) {
        Ok(limit @ 1..=MAX_NAMES) => limit,
        _ => MAX_NAMES,
    };
    let mut names: Vec<String> =
        serving.catalog.tables.names_after(list.start_after.as_deref()).take(limit + 1).cloned().collect();
    let more = names.len() > limit;
    names.truncate(limit);
    proto::TableNames { names, more }
}

async fn answer_credential<S: CatalogStore>(
    shared: Arc<Shared<S>>,
    asked: proto::CredentialRequest,
    responder: Responder,
) {
    let record = match shared.serving() {
        Some(serving) => {
            Ok(serving.catalog.credentials.get(&asked.access_key).map(|known| known.value.clone()))
        }
        None => local_credential(&shared, &asked.access_key).await,
    };
    match record {
        Ok(record) => responder.answer::<Credential>(&credential(record)),
        Err(failure) => responder.fail(failure),
    }
}

/// The credential as a member that does not lead has it. That it has none means nothing: it may be behind.
async fn local_credential<S: CatalogStore>(
    shared: &Shared<S>,
    access_key: &str,
) -> Result<Option<CredentialRecord>, Failure> {
    if access_key.is_empty() || access_key.len() > MAX_ACCESS_KEY_BYTES {
        return Ok(None);
    }
    let key = format!("{}{access_key}", CredentialRecord::PREFIX);
    match shared.store.get_local(&key).await {
        Ok(Some(record)) => serde_json::from_slice(&record.json).map(Some).map_err(|_| Failure::Internal),
        Ok(None) | Err(_) => Err(Failure::Unavailable),
    }
}

/// Longest access key. Source: AWS IAM API, `AccessKey`: 16 to 128 characters.
pub(crate) const MAX_ACCESS_KEY_BYTES: usize = 128;

fn credential(record: Option<CredentialRecord>) -> proto::CredentialResponse {
    record.map_or_else(Default::default, |record| proto::CredentialResponse {
        found: true,
        secret_key: record.secret_key,
        principal: record.principal,
        active: record.active,
    })
}

fn table(descriptor: &TableDescriptor) -> Answer {
    Answer::Table(json(descriptor))
}

fn exception(error: ApiError) -> Answer {
    Answer::Exception(proto::Exception {
        kind: error.kind.type_name().to_owned(),
        message: error.message.into_owned(),
    })
}

fn not_leader<S: CatalogStore>(shared: &Shared<S>) -> proto::NotLeader {
    proto::NotLeader { leader_address: other_leader(shared) }
}

/// Where the member listens that leads in this one's place, if that is known.
pub(crate) fn other_leader<S: CatalogStore>(shared: &Shared<S>) -> Option<String> {
    let leader = shared.store.leadership().borrow().leader.filter(|leader| leader.get() != shared.config.id);
    leader.and_then(|leader| shared.config.address_of(leader)).map(str::to_owned)
}

fn state(replica: &proto::ReplicaReport) -> ReplicaState {
    ReplicaState {
        leads: replica.leads,
        term: Term::new(replica.term),
        items: replica.items,
        bytes: Bytes64::new(replica.bytes),
    }
}
