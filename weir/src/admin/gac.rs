//! What a GAC server offers operators.
//!
//! | request | answer |
//! |---|---|
//! | `GET /gac/status?limit=&shares=` | the server, and the buckets with the highest demand |
//! | `GET /gac/status?buckets=1,2&shares=` | the server, and these buckets, if it owns them |

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::routing::get;
use axum::{Json, Router};
use gac_server::{InspectRequest, Inspection, Inspector};
use serde::Deserialize;

use super::answer::{Problem, ProblemKind};

/// Buckets that are shown unless a number is asked for.
const USUAL_BUCKETS: u32 = 50;
/// Buckets that may be asked for by number.
const MAX_ASKED: usize = 1000;

/// What a GAC server offers operators.
pub(crate) fn routes(inspector: Inspector) -> Router {
    Router::new().route("/gac/status", get(status)).with_state(inspector)
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Asked {
    buckets: String,
    limit: Option<u32>,
    shares: bool,
}

async fn status(
    State(inspector): State<Inspector>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<Inspection>, Problem> {
    let Query(asked) = asked?;
    let wrong = |_| Problem::new(ProblemKind::Invalid, "`buckets` is a list of numbers: 1,2,3");
    let named = asked.buckets.split(',').filter(|text| !text.is_empty());
    let buckets: Vec<u64> = named.map(str::parse).collect::<Result<_, _>>().map_err(wrong)?;
    if buckets.len() > MAX_ASKED {
        return Err(Problem::new(ProblemKind::Invalid, format!("at most {MAX_ASKED} buckets at once")));
    }
    let wanted =
        InspectRequest { buckets, limit: asked.limit.unwrap_or(USUAL_BUCKETS), shares: asked.shares };
    Ok(Json(inspector.inspect(&wanted)))
}
