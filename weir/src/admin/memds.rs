//! What MemDS servers offer operators.
//!
//! | request | answer |
//! |---|---|
//! | `GET /memds/status` | what each server of the process holds, serves, and lags behind |
//! | `GET /memds/routes?table=NAME` | what each server of the process knows of the table |
//!
//! Both are lists: `weir dev` runs two servers in one process.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::routing::get;
use axum::{Json, Router};
use dynamodb::table::TableDescriptor;
use memds::{Inspector, Status, TableRoutes};
use serde::{Deserialize, Serialize};

use super::answer::Problem;

/// What the MemDS servers of a process offer operators.
pub(crate) fn routes(servers: Vec<Inspector>) -> Router {
    Router::new()
        .route("/memds/status", get(status))
        .route("/memds/routes", get(table_routes))
        .with_state(servers)
}

/// What one server knows of a table.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ServerRoutes {
    /// Where it listens.
    pub address: String,
    /// It has heard the whole catalog, and been filled by a peer if there is one.
    pub ready: bool,
    /// The table's descriptor; none: it knows no table of that name.
    pub descriptor: Option<TableDescriptor>,
    /// The table's partitions; none: it knows no table of that name.
    pub routes: Option<TableRoutes>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    table: String,
}

async fn status(State(servers): State<Vec<Inspector>>) -> Json<Vec<Status>> {
    Json(servers.iter().map(Inspector::status).collect())
}

async fn table_routes(
    State(servers): State<Vec<Inspector>>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<Vec<ServerRoutes>>, Problem> {
    let Query(Asked { table }) = asked?;
    let known: Vec<_> = servers.iter().map(|server| known(server, &table)).collect();
    // A server that is still being filled must not say that a table does not exist.
    if known.iter().all(|server| server.ready && server.routes.is_none()) {
        return Err(Problem::not_found(format!("there is no table {table}")));
    }
    Ok(Json(known))
}

fn known(server: &Inspector, table: &str) -> ServerRoutes {
    let Status { address, ready, .. } = server.status();
    ServerRoutes { address, ready, descriptor: descriptor(server, table), routes: server.routes(table) }
}

/// The descriptor, if it can be read: routes are shown without it, too.
fn descriptor(server: &Inspector, table: &str) -> Option<TableDescriptor> {
    serde_json::from_slice(&server.descriptor(table)?).ok()
}
