//! What a proxy offers operators.
//!
//! | request | answer |
//! |---|---|
//! | `GET /admission/top` | tables and principals by what they ask for |
//! | `GET /admission/explain/{id}` | why the request of this id was refused |
//! | `GET /routing/status` | what is cached of tables and routes, and how the MemDS servers answer |
//! | `POST /routing/flush` | forgets every cached table and route; answers how many |

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use proxy::routing::{Flushed, RoutingStatus};
use proxy::{Explanation, Inspector, Top};
use serde::{Deserialize, Serialize};

use super::answer::Problem;

/// Who wants the caches emptied, and why: `POST /routing/flush`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FlushRequest {
    /// Who.
    pub author: String,
    /// Why.
    #[serde(default)]
    pub reason: String,
}

/// What a proxy offers operators.
pub(crate) fn routes(proxy: Inspector) -> Router {
    Router::new()
        .route("/admission/top", get(top))
        .route("/admission/explain/{request}", get(explain))
        .route("/routing/status", get(routing))
        .route("/routing/flush", post(flush))
        .with_state(proxy)
}

async fn top(State(proxy): State<Inspector>) -> Json<Top> {
    Json(proxy.top())
}

async fn explain(
    State(proxy): State<Inspector>,
    Path(request): Path<String>,
) -> Result<Json<Explanation>, Problem> {
    proxy.explain(&request).map(Json).ok_or_else(|| {
        Problem::not_found(
            "no refusal of this request is remembered here: it was not refused, or too long ago",
        )
    })
}

async fn routing(State(proxy): State<Inspector>) -> Json<RoutingStatus> {
    Json(proxy.routing())
}

async fn flush(
    State(proxy): State<Inspector>,
    asked: Result<Json<FlushRequest>, JsonRejection>,
) -> Result<Json<Flushed>, Problem> {
    let Json(FlushRequest { author, reason }) = asked?;
    let flushed = proxy.flush_caches();
    tracing::warn!(author, reason, ?flushed, "an operator emptied the caches of tables and routes");
    Ok(Json(flushed))
}
