//! Reports this node to the control plane each second, and does what the answer says.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use wire::method::ReportNode;
use wire::proto::control::{AssignRequest, NodeReport, ReplicaReport};
use wire::proto::routing::Node;
use wire::transport::{Connection, ConnectionConfig};

use super::service;
use super::shared::Shared;

/// How often.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long a report may take.
const DEADLINE: Duration = Duration::from_secs(1);

/// Reports to one of `members` until the node stops: to the one that leads, once it is found.
pub(super) async fn run(shared: Arc<Shared>, address: String, members: Vec<String>) {
    let mut reporter = Reporter { shared, address, members, next: 0, open: BTreeMap::new() };
    loop {
        reporter.report().await;
        tokio::select! {
            () = reporter.shared.stopping.cancelled() => return,
            () = tokio::time::sleep(INTERVAL) => {}
        }
    }
}

struct Reporter {
    shared: Arc<Shared>,
    address: String,
    members: Vec<String>,
    next: usize,
    open: BTreeMap<String, Connection>,
}

impl Reporter {
    /// Reports once, trying each member once and following the leader's address once for each.
    async fn report(&mut self) {
        let report = self.compose();
        for _ in 0..self.members.len() {
            let member = self.members[self.next % self.members.len()].clone();
            match self.report_to(&member, &report).await {
                Told::Done => return,
                Told::Elsewhere(Some(leader)) => {
                    if let Some(position) = self.members.iter().position(|member| *member == leader) {
                        self.next = position;
                    }
                    if matches!(self.report_to(&leader, &report).await, Told::Done) {
                        return;
                    }
                    self.next += 1;
                }
                Told::Elsewhere(None) | Told::Failed => self.next += 1,
            }
        }
    }

    fn compose(&self) -> NodeReport {
        let replica = |hosted: &Arc<super::hosted::Hosted>| {
            let applied = hosted.replica().applied();
            ReplicaReport {
                partition: hosted.partition().get(),
                leads: hosted.lease.leader() == Some(self.shared.node),
                term: hosted.lease.term().get(),
                applied: applied.position.index.get(),
                items: applied.items,
                bytes: applied.bytes,
            }
        };
        NodeReport {
            node: Some(Node {
                id: self.shared.node.get(),
                zone: self.shared.zone.get().into(),
                address: self.address.clone(),
                incarnation: self.shared.incarnation.get(),
            }),
            replicas: self.shared.directory.all().iter().map(replica).collect(),
        }
    }

    async fn report_to(&mut self, member: &str, report: &NodeReport) -> Told {
        let connection = self.connection(member);
        // A member that is away must not keep a stopping node.
        let call = connection.call::<ReportNode>(report, DEADLINE);
        let answer = match self.shared.stopping.run_until_cancelled(call).await {
            None => return Told::Failed,
            Some(Ok(answer)) => answer,
            Some(Err(error)) => {
                tracing::debug!(member, %error, "the control plane was not reached");
                return Told::Failed;
            }
        };
        if let Some(elsewhere) = answer.not_leader {
            return Told::Elsewhere(elsewhere.leader_address);
        }
        let request = AssignRequest { assign: answer.assignments, drop: answer.drop };
        if !(request.assign.is_empty() && request.drop.is_empty())
            && let Err(error) = service::assign(&self.shared, request).await
        {
            tracing::warn!(?error, "the control plane's assignments were not taken");
        }
        Told::Done
    }

    fn connection(&mut self, member: &str) -> Connection {
        let name = format!("storage-{}", self.shared.node);
        let open = || Connection::open(member, ConnectionConfig::named(&name));
        self.open.entry(member.to_owned()).or_insert_with(open).clone()
    }
}

/// What came of a report.
enum Told {
    Done,
    /// Another member leads, perhaps this one.
    Elsewhere(Option<String>),
    Failed,
}
