//! The request path, composed: what happens to a request, in this order and for these reasons.
//!
//! | step | function | why there |
//! |---|---|---|
//! | accept | `http::Server` | bounds before anything is read; nothing here is repeated later |
//! | name | [`RequestPath::operation`] | costs nothing, and says which metrics the rest belongs to |
//! | authenticate | [`RequestPath::authenticate`] | before the body is parsed: strangers get no parser |
//! | decode | [`RequestPath::decode`] | before routing: what is invalid concerns no other tier |
//! | route | [`RequestPath::route`] | before admission: what has no partition must cost no tokens |
//! | admit | [`RequestPath::admit`] | last before the network: local, and never refunded for nothing |
//! | forward | [`RequestPath::forward`] | the only step that leaves the process while tokens are held |
//! | settle | [`RequestPath::settle`] | as soon as the cost is known, and before the client may go away |
//! | answer | [`RequestPath::answer`] | counted once, wherever the request ended |
//!
//! What an operation does between decoding and answering, such as walking over partitions, is in
//! `operations/`; it uses the same steps.

mod call;
mod deadline;
mod failure;
mod gate;
mod metadata;
mod request_metrics;
#[cfg(test)]
mod tests;
mod throttle;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use ::admission::StorageRefusal;
use bytes::Bytes;
use dynamodb::api::{self, ApiOperation, KeyClue, Request};
use dynamodb::error::{ApiError, ErrorKind};
use dynamodb::expression::ExpressionCache;
use dynamodb::operation::{Operation, Outcome};
use dynamodb::table::{TableDescriptor, TableStatus};
use routing::{Budget, Route};
use storage_adapter::{PartitionStore, StoreError};

use crate::auth::{AMZ_TARGET, Authenticator, CredentialSource, Presented};
use crate::http::{Answer, Handler, Received, RetryHint};
use crate::metrics as names;
use crate::operations::Tables;
use crate::routing::{Looked, RoutingError};

pub(crate) use call::Call;
pub(crate) use deadline::Deadline;
pub(crate) use failure::Failure;
pub(crate) use gate::Gate;
pub(crate) use metadata::Metadata;
use request_metrics::RequestMetrics;
pub(crate) use throttle::Throttle;

/// Executions of one operation beyond the first.
const MAX_RETRIES: u32 = 3;

/// Retries add at most a tenth to what clients ask for: so few that they cannot keep an overloaded tier
/// overloaded …
const RETRIES_PER_MILLE: u32 = 100;
/// … and what may be saved up, for the moment after a leader's failure when all its requests need one.
const RETRY_RESERVE: u32 = 100;

/// First pause before a retry that nobody gave a hint for; doubled for each further one. Three of them
/// (50, 100, 200 ms) fit into the request deadline many times.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// How long an invalid request waits for the word that its table has changed.
const REFRESH_WITHIN: Duration = Duration::from_millis(100);

/// The tiers that a request path works with.
pub(crate) trait Tiers: Send + Sync + 'static {
    /// Who may sign.
    type Credentials: CredentialSource;
    /// Which tables and partitions there are.
    type Metadata: Metadata;
    /// Whether there is capacity.
    type Gate: Gate;
    /// Where items are.
    type Store: PartitionStore;
    /// Where tables are made.
    type Tables: Tables;
}

/// The request path over some tiers.
pub(crate) struct RequestPath<T: Tiers> {
    pub(crate) authenticator: Authenticator<T::Credentials>,
    pub(crate) metadata: T::Metadata,
    pub(crate) gate: T::Gate,
    pub(crate) store: T::Store,
    pub(crate) tables: T::Tables,
    /// Parses of expressions, by their text.
    expressions: ExpressionCache,
    retries: Budget,
    metrics: RequestMetrics,
    request_deadline: Duration,
    table_deadline: Duration,
}

/// How long requests may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadlines {
    /// Operations on items.
    pub(crate) request: Duration,
    /// Operations on tables.
    pub(crate) table: Duration,
}

/// An answer, and whether some of what was asked for is still to be done.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) answer: api::Answer,
    /// A batch was throttled in part.
    pub(crate) throttled: Option<RetryHint>,
}

impl From<api::Answer> for Answered {
    fn from(answer: api::Answer) -> Self {
        Self { answer, throttled: None }
    }
}

/// Why an admitted operation was not executed.
#[derive(Debug)]
enum NotExecuted {
    /// A storage node had no capacity for it.
    Refused(Box<StorageRefusal>),
    Failed(Failure),
}

impl From<RoutingError> for NotExecuted {
    fn from(error: RoutingError) -> Self {
        Self::Failed(error.into())
    }
}

impl<T: Tiers> Handler for RequestPath<T> {
    async fn handle(&self, request: Received) -> Answer {
        let operation = match Self::operation(&request) {
            Ok(operation) => operation,
            Err(error) => return crate::http::exception(&error),
        };
        let answered = self.steps(operation, &request).await;
        self.answer(operation, answered, &request)
    }
}

impl<T: Tiers> RequestPath<T> {
    pub(crate) fn new(
        authenticator: Authenticator<T::Credentials>,
        (metadata, gate, store, tables): (T::Metadata, T::Gate, T::Store, T::Tables),
        deadlines: Deadlines,
    ) -> Self {
        Self {
            authenticator,
            metadata,
            gate,
            store,
            tables,
            expressions: ExpressionCache::new(),
            retries: Budget::new(RETRIES_PER_MILLE, RETRY_RESERVE),
            metrics: RequestMetrics::new(),
            request_deadline: deadlines.request,
            table_deadline: deadlines.table,
        }
    }

    async fn steps(&self, operation: ApiOperation, request: &Received) -> Result<Answered, Failure> {
        let principal = self.authenticate(request).await?;
        let answered = self.decode_and_execute(operation, request, &principal).await;
        // A cached descriptor can outlive its table, and another of the same name may exist by now, with
        // other keys, hashed anew. So the request is then planned anew: once, for that word is fresh.
        let again = match &answered {
            Err(Failure::TableGone) => true,
            Err(Failure::Unfit { tables, .. }) => Box::pin(self.any_changed(tables)).await,
            _ => false,
        };
        if !again {
            return answered;
        }
        Box::pin(self.decode_and_execute(operation, request, &principal)).await
    }

    /// Whether MemDS knows better than the cache what these tables are.
    async fn any_changed(&self, tables: &[Arc<TableDescriptor>]) -> bool {
        for table in tables {
            let newest = self.metadata.refresh_table(&table.name, REFRESH_WITHIN).await;
            if newest.is_ok_and(|newest| (newest.id, newest.version) != (table.id, table.version)) {
                return true;
            }
        }
        false
    }

    async fn decode_and_execute(
        &self,
        operation: ApiOperation,
        request: &Received,
        principal: &Arc<str>,
    ) -> Result<Answered, Failure> {
        let decoded = self.decode(operation, request)?;
        let deadline = Deadline::new(request.arrived, self.request_deadline);
        let for_tables = Deadline::new(request.arrived, self.table_deadline);
        let call = Call { id: &request.id, operation, principal, deadline };
        // A request for one item is what most requests are: the others' states are boxed, so that its own is
        // small enough to be moved.
        match decoded {
            Request::Point(point) => self.point(*point, call).await.map(Answered::from),
            Request::Range(range) => Box::pin(self.range(*range, call)).await.map(Answered::from),
            Request::BatchGet(batch) => Box::pin(self.batch_get(batch, call)).await,
            Request::BatchWrite(batch) => Box::pin(self.batch_write(batch, call)).await,
            other => {
                let operation = self.table_operation(other, principal, &request.host, for_tables);
                Box::pin(operation).await.map(Answered::from)
            }
        }
    }

    /// Which operation the request names. The header is signed, so this is believed only after the next
    /// step; until then it is a label.
    fn operation(request: &Received) -> Result<ApiOperation, ApiError> {
        let target = request.headers.get(AMZ_TARGET).and_then(|target| target.to_str().ok());
        ApiOperation::from_target(target.unwrap_or_default())
    }

    /// Who sent it. Before the body is parsed, so that only people with keys reach the parsers.
    async fn authenticate(&self, request: &Received) -> Result<Arc<str>, Failure> {
        let presented = Presented { headers: &request.headers, host: &request.host, body: &request.body };
        let today = wire::clock::unix_now();
        self.authenticator.authenticate(presented, request.arrived, today).await.map_err(|refusal| {
            metrics::counter!(names::AUTHENTICATION_FAILURES, "cause" => refusal.cause()).increment(1);
            Failure::Exception(refusal.into_error())
        })
    }

    /// The typed request. All that can be refused without another tier is refused here.
    fn decode<'r>(&self, operation: ApiOperation, request: &'r Received) -> Result<Request<'r>, Failure> {
        Ok(api::decode(operation, &request.body, &self.expressions)?)
    }

    /// The table, if requests for its items can be answered; and whether the lookups of the request's first
    /// operation on it went out with that.
    pub(crate) async fn table(
        &self,
        name: &str,
        clue: impl Fn() -> KeyClue + Send,
        deadline: Deadline,
    ) -> Result<(Arc<TableDescriptor>, Looked), Failure> {
        let found = self.metadata.table(name, clue, deadline.whole()).await;
        let (table, looked) = found.map_err(|error| match error {
            // Not from a cache: MemDS was asked.
            RoutingError::NotFound => ApiError::table_not_found().into(),
            RoutingError::Unavailable => Failure::Unavailable,
        })?;
        match table.status {
            TableStatus::Active | TableStatus::Updating => Ok((table, looked)),
            TableStatus::Creating | TableStatus::Deleting => Err(ApiError::table_not_found().into()),
        }
    }

    /// The partition that holds `key`: from the cache, while the metadata tier is asked in any case.
    async fn route(
        &self,
        table: &TableDescriptor,
        key: &Bytes,
        looked: Looked,
        deadline: Deadline,
    ) -> Result<Arc<Route>, Failure> {
        let route = self.metadata.route(table, key, looked, deadline.whole()).await;
        if matches!(route, Err(RoutingError::NotFound)) {
            // Ids are never reused.
            self.gate.forget(table);
        }
        Ok(route?)
    }

    /// Takes the least that the operation will cost. Local: no network, no lock held.
    async fn admit(
        &self,
        call: Call<'_>,
        table: &TableDescriptor,
        operation: &Operation,
    ) -> Result<<T::Gate as Gate>::Permit, Failure> {
        self.gate.admit(call, table, api::estimate(operation)).await.map_err(Failure::Throttled)
    }

    /// Charges what it really cost.
    fn settle(&self, permit: <T::Gate as Gate>::Permit, operation: &Operation, outcome: &Outcome) {
        self.gate.settle(permit, Some(api::charge(operation, outcome)));
    }

    /// Route, admit, forward, settle: executes one operation on the partition that holds `key`.
    ///
    /// `operation` is asked anew for every attempt, since a range read depends on the partition's range.
    /// `looked` is as [`Self::table`] said, for the request's first operation on the table.
    pub(crate) async fn execute<'a>(
        &self,
        table: &TableDescriptor,
        key: &Bytes,
        looked: Looked,
        operation: impl Fn(&Route) -> Cow<'a, Operation> + Send + Sync,
        call: Call<'_>,
    ) -> Result<(Outcome, Arc<Route>), Failure> {
        self.retries.request();
        let route = self.route(table, key, looked, call.deadline).await?;
        let first = operation(&route);
        let permit = self.admit(call, table, &first).await?;
        let executed = self.forward(table, key, route, &operation, first, call.deadline).await;
        match executed {
            Ok((outcome, operation, route)) => {
                self.settle(permit, &operation, &outcome);
                Ok((outcome, route))
            }
            Err(NotExecuted::Refused(refusal)) => {
                Err(Failure::Throttled(self.gate.refused_by_node(call, permit, &refusal)))
            }
            // What may have been executed is paid for as estimated.
            Err(NotExecuted::Failed(failure)) if failure.is_indefinite() => Err(failure),
            Err(NotExecuted::Failed(failure)) => {
                self.gate.settle(permit, None);
                Err(failure)
            }
        }
    }

    /// Sends the operation to the partition, and again while that is allowed, useful and in time.
    async fn forward<'a>(
        &self,
        table: &TableDescriptor,
        key: &Bytes,
        mut route: Arc<Route>,
        operation: &(impl Fn(&Route) -> Cow<'a, Operation> + Send + Sync),
        first: Cow<'a, Operation>,
        deadline: Deadline,
    ) -> Result<(Outcome, Cow<'a, Operation>, Arc<Route>), NotExecuted> {
        let mut sent = first;
        // The first attempt has all the time there is: the clock need not say so.
        let mut left = deadline.whole();
        for attempt in 0.. {
            let error = match self.store.execute(&route, &sent, left).await {
                Ok(outcome) => return Ok((outcome, sent, route)),
                Err(error) => error,
            };
            let is_write = sent.is_write();
            let Some(pause) = pause_before_retry(&error, is_write, attempt, &route) else {
                return Err(final_failure(error, is_write));
            };
            left = deadline.left();
            if attempt == MAX_RETRIES || pause >= left {
                return Err(final_failure(error, is_write));
            }
            if !self.retries.spend() {
                metrics::counter!(names::RETRY_BUDGET_EXHAUSTED).increment(1);
                return Err(final_failure(error, is_write));
            }
            metrics::counter!(names::RETRIES, "cause" => cause(&error)).increment(1);
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
                left = deadline.left();
            }
            route = Box::pin(self.next_route(error, table, key, &route, left)).await?;
            sent = operation(&route);
            left = deadline.left();
        }
        unreachable!("the loop ends at MAX_RETRIES")
    }

    /// Where to try next.
    async fn next_route(
        &self,
        error: StoreError,
        table: &TableDescriptor,
        key: &Bytes,
        tried: &Arc<Route>,
        left: Duration,
    ) -> Result<Arc<Route>, RoutingError> {
        if let StoreError::Redirect(newer) = error {
            self.metadata.learn(Route::clone(&newer));
            // A partition that was split answers with its own half.
            if newer.holds(key) && newer.table.get() == table.id {
                return Ok(Arc::from(newer));
            }
        }
        self.metadata.refresh(table, key, tried, left).await
    }

    /// The response. Every request that named an operation passes here once.
    fn answer(
        &self,
        operation: ApiOperation,
        answered: Result<Answered, Failure>,
        request: &Received,
    ) -> Answer {
        let (answer, kind) = match answered {
            Ok(Answered { answer, throttled }) => {
                let (status, kind) = (answer.http_status(), answer.error);
                (Answer { status, body: answer.body.into(), throttled }, kind)
            }
            Err(failure) => (failure.answer(), Some(failure.kind())),
        };
        self.metrics.record(operation, kind, wire::clock::now().since(request.arrived));
        if matches!(kind, Some(ErrorKind::InternalServerError | ErrorKind::ServiceUnavailable)) {
            tracing::debug!(request = %request.id, operation = operation.name(), ?kind, "request failed");
        }
        answer
    }
}

/// What the client is told when there is no further attempt.
fn final_failure(error: StoreError, is_write: bool) -> NotExecuted {
    NotExecuted::Failed(match error {
        StoreError::Throttled(refusal) => return NotExecuted::Refused(refusal),
        StoreError::Indefinite | StoreError::Corrupt if is_write => {
            metrics::counter!(names::INDEFINITE).increment(1);
            Failure::Indefinite
        }
        StoreError::Redirect(_)
        | StoreError::Unknown
        | StoreError::Unavailable { .. }
        | StoreError::Indefinite
        | StoreError::Corrupt => Failure::Unavailable,
    })
}

/// How long to wait before another attempt; none: there must not be one.
fn pause_before_retry(error: &StoreError, is_write: bool, attempt: u32, tried: &Route) -> Option<Duration> {
    let backoff = RETRY_PAUSE * 2_u32.pow(attempt.min(MAX_RETRIES));
    match error {
        StoreError::Redirect(newer) if newer.supersedes(tried) => Some(Duration::ZERO),
        // Where to go instead is asked for, and waited for.
        StoreError::Unknown if attempt == 0 => Some(Duration::ZERO),
        // Two nodes that each name the other, or none that knows: let them settle it.
        StoreError::Redirect(_) | StoreError::Unknown => Some(backoff),
        StoreError::Unavailable { retry_after, .. } => Some((*retry_after).max(backoff)),
        // It may have taken place: only the client knows whether doing it twice is harmless.
        StoreError::Indefinite | StoreError::Corrupt if is_write => None,
        StoreError::Indefinite | StoreError::Corrupt => Some(Duration::ZERO),
        // The SDK backs off better than we can: it does not hold a connection meanwhile.
        StoreError::Throttled { .. } => None,
    }
}

/// A retry's label in metrics.
const fn cause(error: &StoreError) -> &'static str {
    match error {
        StoreError::Redirect(_) => "redirect",
        StoreError::Unknown => "unknown",
        StoreError::Unavailable { .. } => "unavailable",
        StoreError::Throttled { .. } => "throttled",
        StoreError::Indefinite => "no_answer",
        StoreError::Corrupt => "corrupt",
    }
}
