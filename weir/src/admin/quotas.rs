//! Quotas and the ring, at a member of the control plane.
//!
//! | request | answer |
//! |---|---|
//! | `GET /quotas` | every quota in force |
//! | `GET /quotas/{subject}` | a subject's, read and write |
//! | `GET /quotas/{subject}/history` | their versions |
//! | `POST /quotas?dry_run=` | what a change changes |
//! | `POST /quotas/{subject}/rollback`, `…/boost`, `…/boost/end` `?dry_run=` | likewise |
//! | `GET /quotas/watch?since=` | what has changed since, or waits for a change |
//! | `GET /ring` | the GAC servers |
//! | `POST /ring` | adds or drains one |
//!
//! A subject is one segment of the path: `table%2Forders`.

use std::time::Duration;

use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use control_plane::quota::{
    BoostRequest, EndBoostRequest, QuotaChange, QuotaDiff, QuotaError, QuotaHistory, QuotaState,
    QuotaSubject, RollbackRequest, WatchAnswer,
};
use control_plane::ring::{RingChange, RingError, RingStatus};
use control_plane::{Quotas, RingControl};
use serde::{Deserialize, Serialize};

use super::answer::{Problem, ProblemKind};

/// How long a watch waits for a change before it answers that there is none.
const WATCH: Duration = Duration::from_secs(25);

/// What a member of the control plane offers operators.
pub(crate) fn routes(quotas: Quotas, ring: RingControl) -> Router {
    let quotas = Router::new()
        .route("/quotas", get(list).post(set))
        .route("/quotas/watch", get(watch))
        .route("/quotas/{subject}", get(one))
        .route("/quotas/{subject}/history", get(history))
        .route("/quotas/{subject}/rollback", post(rollback))
        .route("/quotas/{subject}/boost", post(boost))
        .route("/quotas/{subject}/boost/end", post(end_boost))
        .with_state(quotas);
    quotas.merge(Router::new().route("/ring", get(show_ring).post(change_ring)).with_state(ring))
}

/// A change of the ring, as `POST /ring` takes it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RingRequest {
    /// Into the ring, or out of it.
    pub action: RingAction,
    /// Which server, who, why.
    pub change: RingChange,
}

/// Into the ring, or out of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RingAction {
    /// Into.
    Add,
    /// Out of.
    Drain,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct How {
    dry_run: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Since {
    since: Option<u64>,
}

type Asked<T> = Result<Query<T>, QueryRejection>;
type Sent<T> = Result<Json<T>, JsonRejection>;
type Answer<T> = Result<Json<T>, Problem>;

async fn list(State(quotas): State<Quotas>) -> Answer<Vec<QuotaState>> {
    Ok(Json(quotas.list().await?))
}

async fn one(State(quotas): State<Quotas>, Path(subject): Path<String>) -> Answer<Vec<QuotaState>> {
    Ok(Json(quotas.get(&parse(&subject)?).await?))
}

async fn history(State(quotas): State<Quotas>, Path(subject): Path<String>) -> Answer<Vec<QuotaHistory>> {
    Ok(Json(quotas.history(&parse(&subject)?).await?))
}

async fn set(State(quotas): State<Quotas>, how: Asked<How>, body: Sent<QuotaChange>) -> Answer<QuotaDiff> {
    Ok(Json(quotas.set(body?.0, how?.dry_run).await?))
}

async fn rollback(
    State(quotas): State<Quotas>,
    Path(subject): Path<String>,
    how: Asked<How>,
    body: Sent<RollbackRequest>,
) -> Answer<QuotaDiff> {
    let request = body?.0;
    same(&subject, &request.subject)?;
    Ok(Json(quotas.rollback(request, how?.dry_run).await?))
}

async fn boost(
    State(quotas): State<Quotas>,
    Path(subject): Path<String>,
    how: Asked<How>,
    body: Sent<BoostRequest>,
) -> Answer<QuotaDiff> {
    let request = body?.0;
    same(&subject, &request.subject)?;
    Ok(Json(quotas.boost(request, how?.dry_run).await?))
}

async fn end_boost(
    State(quotas): State<Quotas>,
    Path(subject): Path<String>,
    how: Asked<How>,
    body: Sent<EndBoostRequest>,
) -> Answer<QuotaDiff> {
    let request = body?.0;
    same(&subject, &request.subject)?;
    Ok(Json(quotas.end_boost(request, how?.dry_run).await?))
}

async fn watch(State(quotas): State<Quotas>, asked: Asked<Since>) -> Answer<WatchAnswer> {
    Ok(Json(quotas.watch(asked?.since, WATCH).await?))
}

async fn show_ring(State(ring): State<RingControl>) -> Answer<RingStatus> {
    Ok(Json(ring.get().await?))
}

async fn change_ring(State(ring): State<RingControl>, body: Sent<RingRequest>) -> Answer<RingStatus> {
    let RingRequest { action, change } = body?.0;
    Ok(Json(match action {
        RingAction::Add => ring.add(change).await?,
        RingAction::Drain => ring.drain(change).await?,
    }))
}

fn parse(subject: &str) -> Result<QuotaSubject, Problem> {
    subject.parse().map_err(|error: control_plane::quota::MalformedSubject| {
        Problem::new(ProblemKind::Invalid, error.to_string())
    })
}

/// The path and the body must be about the same.
fn same(path: &str, body: &QuotaSubject) -> Result<(), Problem> {
    match parse(path)? == *body {
        true => Ok(()),
        false => Err(Problem::new(ProblemKind::Invalid, format!("the path says {path}, the body {body}"))),
    }
}

impl From<QuotaError> for Problem {
    fn from(error: QuotaError) -> Self {
        let kind = match &error {
            QuotaError::NotLeader { .. } => ProblemKind::NotLeader,
            QuotaError::Unavailable | QuotaError::Overloaded => ProblemKind::Unavailable,
            QuotaError::UnknownTable { .. }
            | QuotaError::NoQuota { .. }
            | QuotaError::UnknownVersion { .. }
            | QuotaError::NotBoosted { .. } => ProblemKind::NotFound,
            QuotaError::VersionMismatch { .. } | QuotaError::TableDeleting { .. } => ProblemKind::Conflict,
            QuotaError::IndexesUnsupported { .. }
            | QuotaError::Invalid { .. }
            | QuotaError::LimitExceeded { .. }
            | QuotaError::FloorsExceedAccount { .. }
            | QuotaError::TooManyPrincipals { .. } => ProblemKind::Invalid,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<RingError> for Problem {
    fn from(error: RingError) -> Self {
        let kind = match &error {
            RingError::NotLeader { .. } => ProblemKind::NotLeader,
            RingError::Unavailable | RingError::Overloaded => ProblemKind::Unavailable,
            RingError::NotThere { .. } => ProblemKind::NotFound,
            RingError::AlreadyThere { .. } | RingError::EpochMismatch { .. } => ProblemKind::Conflict,
            RingError::Invalid { .. } | RingError::LastServer { .. } | RingError::TooManyServers { .. } => {
                ProblemKind::Invalid
            }
        };
        Self::new(kind, error.to_string())
    }
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        Self::new(ProblemKind::Invalid, rejection.body_text())
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        Self::new(ProblemKind::Invalid, rejection.body_text())
    }
}
