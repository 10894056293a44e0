//! What storage nodes offer operators.
//!
//! | request | answer |
//! |---|---|
//! | `GET /leaders?table=N` | each node of the process: what it hosts, and who leads that |
//! | `POST /leaders/move` | moves leaderships away from a node; answers when it is done, with what came of each |
//!
//! A list, and a `from`, since `weir dev` runs three nodes in one process.

use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Query, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use storage_adapter::{LeaderMove, Leaderships, MoveCount, MoveError, MoveReport, NodeLeaderships};

use super::answer::{Problem, ProblemKind};

/// What the storage nodes of a process offer operators.
pub(crate) fn routes(nodes: Vec<Leaderships>) -> Router {
    Router::new().route("/leaders", get(leaders)).route("/leaders/move", post(move_away)).with_state(nodes)
}

/// Leaderships to move, as `POST /leaders/move` takes them.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct MoveRequest {
    /// Away from which node; may be left out where the process runs one.
    pub from: Option<u64>,
    /// How many: a number, or `all`.
    pub count: MoveCount,
    /// To which node; none: to the members that lead least.
    pub to: Option<u64>,
    /// Of which table, by its number; none: of any.
    pub table: Option<u64>,
    /// Milliseconds over which they are spread.
    pub within_ms: u64,
    /// Who; must be given.
    pub author: String,
    /// Why.
    pub reason: String,
}

impl Default for MoveRequest {
    fn default() -> Self {
        let LeaderMove { count, to, table, within_ms } = LeaderMove::default();
        Self { from: None, count, to, table, within_ms, author: String::new(), reason: String::new() }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Asked {
    table: Option<u64>,
}

async fn leaders(
    State(nodes): State<Vec<Leaderships>>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<Vec<NodeLeaderships>>, Problem> {
    let Query(Asked { table }) = asked?;
    Ok(Json(nodes.iter().map(|node| node.show(table)).collect()))
}

async fn move_away(
    State(nodes): State<Vec<Leaderships>>,
    body: Result<Json<MoveRequest>, JsonRejection>,
) -> Result<Json<MoveReport>, Problem> {
    let Json(request) = body?;
    if request.author.trim().is_empty() {
        return Err(Problem::new(ProblemKind::Invalid, "`author` says who moves leaderships: it is logged"));
    }
    let node = chosen(&nodes, request.from)?;
    let MoveRequest { count, to, table, within_ms, author, reason, .. } = request;
    tracing::info!(node = %node.node(), ?count, ?to, ?table, within_ms, %author, %reason,
        "an operator moves leaderships");
    Ok(Json(node.move_away(&LeaderMove { count, to, table, within_ms }).await?))
}

fn chosen(nodes: &[Leaderships], from: Option<u64>) -> Result<&Leaderships, Problem> {
    match (nodes, from) {
        ([only], None) => Ok(only),
        (_, None) => Err(Problem::new(ProblemKind::Invalid, "several nodes run here: `from` says which")),
        (nodes, Some(from)) => {
            let found = nodes.iter().find(|node| node.node().get() == from);
            found.ok_or_else(|| Problem::not_found(format!("node {from} does not run here")))
        }
    }
}

impl From<MoveError> for Problem {
    fn from(error: MoveError) -> Self {
        let kind = match &error {
            MoveError::Busy => ProblemKind::Conflict,
            MoveError::TooSlow | MoveError::ToItself(_) => ProblemKind::Invalid,
            MoveError::NoMember(_) => ProblemKind::NotFound,
            MoveError::Stopping => ProblemKind::Unavailable,
        };
        Self::new(kind, error.to_string())
    }
}
