//! What a proxy offers operators.
//!
//! | request | answer |
//! |---|---|
//! | `GET /admission/top` | tables and principals by what they ask for |
//! | `GET /admission/explain/{id}` | why the request of this id was refused |

use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use proxy::{Explanation, Inspector, Top};

use super::answer::Problem;

/// What a proxy offers operators.
pub(crate) fn routes(proxy: Inspector) -> Router {
    Router::new()
        .route("/admission/top", get(top))
        .route("/admission/explain/{request}", get(explain))
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
