//! The tiers of these tests: a catalog and routes in a map, items in memory, capacity on a counter,
//! faults on demand.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use ::admission::{CapacityKind, StorageRefusal};
use bytes::Bytes;
use dynamodb::api::{Cost, KeyClue, ListTables};
use dynamodb::error::{ApiError, ErrorKind};
use dynamodb::operation::{Operation, Outcome};
use dynamodb::table::{Billing, BillingMode, NewTable, TableDescriptor, TableStatus};
use parking_lot::Mutex;
use routing::{KeyRange, Member, MemberKind, Route, RouteVersion};
use serde_json::Value;
use storage_adapter::{MemoryStore, PartitionStore, StoreError};
use units::{NodeId, PartitionId, TableId, Term, Zone};

use super::super::throttle::Limit;
use super::super::{Call, Deadline, Deadlines, Gate, Metadata, RequestPath, Throttle, Tiers};
use crate::admission::{Described, Refusal};
use crate::auth::Authenticator;
use crate::auth::tests::{Keys, Unsigned};
use crate::http::{Handler, Received, RequestIds, RetryHint};
use crate::operations::{TableCommand, Tables, TablesError};
use crate::routing::{Looked, RoutingError};

/// The request path under test, with a hand on its tiers.
pub(super) struct Weir {
    path: RequestPath<TestTiers>,
    catalog: Catalog,
    counter: Counter,
    store: FaultyStore,
    ids: RequestIds,
    last_hint: Mutex<Option<RetryHint>>,
}

pub(super) struct TestTiers;

impl Tiers for TestTiers {
    type Credentials = Keys;
    type Metadata = Catalog;
    type Gate = Counter;
    type Store = FaultyStore;
    type Tables = Catalog;
}

pub(super) fn new_weir(partitions: u64) -> Weir {
    let catalog = Catalog { partitions, ..Catalog::default() };
    let (counter, store) = (Counter::default(), FaultyStore::default());
    let tiers = (catalog.clone(), counter.clone(), store.clone(), catalog.clone());
    let whole = Duration::from_secs(5);
    let path = RequestPath::new(
        Authenticator::new(Keys::one(), None, false),
        tiers,
        Deadlines { request: whole, table: whole },
    );
    Weir { path, catalog, counter, store, ids: RequestIds::new(1), last_hint: Mutex::default() }
}

impl Weir {
    /// Sends a signed request.
    pub(super) async fn send(&self, operation: &str, body: &Value) -> (u16, Value) {
        self.send_bytes(operation, body.to_string().into_bytes()).await
    }

    pub(super) async fn send_bytes(&self, operation: &str, body: Vec<u8>) -> (u16, Value) {
        self.send_signed_with(crate::auth::tests::SECRET_KEY, operation, body).await
    }

    pub(super) async fn send_signed_with(
        &self,
        secret_key: &'static str,
        operation: &str,
        body: Vec<u8>,
    ) -> (u16, Value) {
        let date = crate::auth::tests::date(wire::clock::unix_now());
        let unsigned = Unsigned {
            headers: vec![
                ("content-type", "application/x-amz-json-1.0".into()),
                ("host", "localhost:8000".into()),
                ("x-amz-date", date.clone()),
                ("x-amz-target", format!("DynamoDB_20120810.{operation}")),
            ],
            scope: format!("{}/us-east-1/dynamodb/aws4_request", &date[..8]),
            secret_key,
            body,
            ..Unsigned::default()
        };
        let signed = unsigned.sign();
        let received = Received {
            headers: signed.headers,
            host: signed.host,
            body: signed.body.into(),
            arrived: wire::clock::now(),
            id: self.ids.next(),
        };
        let answer = self.path.handle(received).await;
        let body = serde_json::from_slice(&answer.body).expect("answers are JSON");
        *self.last_hint.lock() = answer.throttled;
        (answer.status, body)
    }

    /// What the last answer's headers say of throttling.
    pub(super) fn last_hint(&self) -> Option<RetryHint> {
        *self.last_hint.lock()
    }

    /// Sends a request that succeeds.
    pub(super) async fn ok(&self, operation: &str, body: &Value) -> Value {
        let (status, answer) = self.send(operation, body).await;
        assert_eq!(status, 200, "{operation} {body}: {answer}");
        answer
    }

    /// Sends a request that is refused with this exception.
    pub(super) async fn refused(&self, operation: &str, body: &Value, kind: ErrorKind) {
        let (status, answer) = self.send(operation, body).await;
        assert_eq!(answer["__type"], kind.type_name(), "{operation} {body}: {answer}");
        assert_eq!(status, kind.http_status());
    }

    pub(super) fn fail_next(&self, errors: impl IntoIterator<Item = StoreError>) {
        self.store.0.faults.lock().extend(errors);
    }

    /// Lets the next request for the table see it as it is now, whatever becomes of it.
    pub(super) fn cache(&self, table: &str) {
        *self.catalog.stale.lock() = self.catalog.tables.lock().get(table).cloned();
    }

    pub(super) fn executed(&self) -> usize {
        self.store.0.executed.load(Ordering::Relaxed)
    }

    /// Admits so many more operations, and then none.
    pub(super) fn admit_only(&self, operations: u64) {
        self.counter.0.open.store(operations, Ordering::Relaxed);
    }

    /// Who asked for capacity.
    pub(super) fn asked(&self) -> Vec<String> {
        self.counter.0.principals.lock().iter().cloned().collect()
    }

    /// Tables whose buckets were dropped.
    pub(super) fn forgotten(&self) -> usize {
        self.counter.0.forgotten.lock().len()
    }

    /// Milli-units taken and not given back.
    pub(super) fn tokens_out(&self) -> i64 {
        self.counter.0.out.load(Ordering::Relaxed)
    }

    /// From here on no request finds its tables in a cache.
    pub(super) fn forget_tables(&self) {
        self.catalog.forgets.store(true, Ordering::Relaxed);
    }

    /// Since the last time: operations whose route came with their table, and those whose route was asked for.
    pub(super) fn routed(&self) -> (usize, usize) {
        let take = |count: &AtomicUsize| count.swap(0, Ordering::Relaxed);
        (take(&self.catalog.brought), take(&self.catalog.asked))
    }

    /// Routes that storage nodes taught.
    pub(super) fn learned(&self) -> usize {
        self.catalog.learned.load(Ordering::Relaxed)
    }

    /// A route that holds all of the table's keys.
    pub(super) fn route_of(&self, table: &str) -> Route {
        let tables = self.catalog.tables.lock();
        route(tables[table].id, 0, 1)
    }
}

/// The `n`-th of `of` equal parts of a table.
pub(super) fn route(table: u64, n: u64, of: u64) -> Route {
    let bound = |n: u64| u8::try_from(256 * n / of).ok().map(|byte| Bytes::from(vec![byte]));
    let start = if n == 0 { Bytes::new() } else { bound(n).expect("inside") };
    Route {
        table: TableId::new(table),
        partition: PartitionId::new(table * 1000 + n),
        range: KeyRange { start, end: bound(n + 1) },
        members: vec![Member { node: NodeId::new(1), zone: Zone::new(0), kind: MemberKind::Storage }],
        leader: Some(NodeId::new(1)),
        version: RouteVersion { configuration: 1, term: Term::new(1) },
    }
}

/// Tables, their routes, and who learned better.
#[derive(Clone, Default)]
pub(super) struct Catalog {
    tables: Arc<Mutex<BTreeMap<String, Arc<TableDescriptor>>>>,
    /// Served once more after its table was deleted, as a cache does.
    stale: Arc<Mutex<Option<Arc<TableDescriptor>>>>,
    created: Arc<AtomicUsize>,
    partitions: u64,
    learned: Arc<AtomicUsize>,
    /// Knows no table that it was not told of in the same request.
    forgets: Arc<AtomicBool>,
    /// Operations whose route came with their table …
    brought: Arc<AtomicUsize>,
    /// … and those whose route was asked for.
    asked: Arc<AtomicUsize>,
}

impl Catalog {
    fn holder(&self, table: &TableDescriptor, key: &[u8]) -> Route {
        let mut routes = (0..self.partitions).map(|n| route(table.id, n, self.partitions));
        routes.find(|route| route.holds(key)).expect("the parts are the whole")
    }

    /// The route that MemDS makes of a clue.
    fn led_to(&self, table: &TableDescriptor, clue: KeyClue) -> Option<Route> {
        let key = match clue {
            KeyClue::Key(key) => key,
            KeyClue::Attributes(attributes) => table.keys.routing_key(attributes.view(), table.hash_seed)?,
        };
        Some(self.holder(table, &key.0))
    }
}

impl Metadata for Catalog {
    async fn table(
        &self,
        name: &str,
        clue: impl Fn() -> KeyClue + Send,
        _: Duration,
    ) -> Result<(Arc<TableDescriptor>, Looked), RoutingError> {
        if let Some(stale) = self.stale.lock().take_if(|stale| stale.name == name) {
            return Ok((stale, Looked::No));
        }
        let table = self.tables.lock().get(name).cloned().ok_or(RoutingError::NotFound)?;
        let looked = if self.forgets.load(Ordering::Relaxed) {
            Looked::Yes(self.led_to(&table, clue()).map(Arc::new))
        } else {
            Looked::No
        };
        Ok((table, looked))
    }

    async fn refresh_table(&self, name: &str, _: Duration) -> Result<Arc<TableDescriptor>, RoutingError> {
        self.tables.lock().get(name).cloned().ok_or(RoutingError::NotFound)
    }

    fn learn_table(&self, _: TableDescriptor) {}

    async fn route(
        &self,
        table: &TableDescriptor,
        key: &Bytes,
        looked: Looked,
        _: Duration,
    ) -> Result<Arc<Route>, RoutingError> {
        let holder = self.holder(table, key);
        let brought = match looked {
            Looked::No => None,
            Looked::Yes(brought) => brought,
        };
        let counter =
            if brought.as_ref() == Some(&Arc::new(holder.clone())) { &self.brought } else { &self.asked };
        counter.fetch_add(1, Ordering::Relaxed);
        Ok(Arc::new(holder))
    }

    async fn refresh(
        &self,
        table: &TableDescriptor,
        key: &Bytes,
        _: &Arc<Route>,
        deadline: Duration,
    ) -> Result<Arc<Route>, RoutingError> {
        if self.tables.lock().get(&table.name).is_none_or(|current| current.id != table.id) {
            return Err(RoutingError::NotFound);
        }
        self.route(table, key, Looked::No, deadline).await
    }

    fn learn(&self, _: Route) {
        self.learned.fetch_add(1, Ordering::Relaxed);
    }
}

impl Tables for Catalog {
    async fn command(
        &self,
        _: &str,
        command: TableCommand,
        _: Deadline,
    ) -> Result<TableDescriptor, TablesError> {
        let mut tables = self.tables.lock();
        let missing = || TablesError::Refused(ApiError::new(ErrorKind::ResourceNotFound, "no such table"));
        match command {
            TableCommand::Create(new) => {
                let table = descriptor(*new, self.created.fetch_add(1, Ordering::Relaxed) as u64 + 1);
                tables.insert(table.name.clone(), Arc::new(table.clone()));
                Ok(table)
            }
            TableCommand::Describe(name) => {
                tables.get(&name).map(|table| (**table).clone()).ok_or_else(missing)
            }
            TableCommand::Delete(name) => {
                tables.remove(&name).map(|table| (*table).clone()).ok_or_else(missing)
            }
            TableCommand::Update(change) => {
                let mut table =
                    tables.get(&change.name).map(|table| (**table).clone()).ok_or_else(missing)?;
                if change.billing_mode == Some(BillingMode::Provisioned) {
                    table.billing = Billing::Provisioned(change.provisioned.unwrap_or_default());
                }
                tables.insert(change.name, Arc::new(table.clone()));
                Ok(table)
            }
        }
    }

    async fn list(
        &self,
        _: &str,
        list: &ListTables,
        _: Deadline,
    ) -> Result<(Vec<String>, bool), TablesError> {
        let tables = self.tables.lock();
        let mut rest = tables.keys().filter(|name| list.start.as_ref().is_none_or(|start| *name > start));
        let names = rest.by_ref().take(list.limit).cloned().collect();
        Ok((names, rest.next().is_some()))
    }
}

fn descriptor(new: NewTable, id: u64) -> TableDescriptor {
    TableDescriptor {
        id,
        arn: format!("arn:aws:dynamodb:us-east-1:000000000000:table/{}", new.name),
        name: new.name,
        uuid: "00000000-0000-4000-8000-000000000000".into(),
        version: 1,
        status: TableStatus::Active,
        keys: new.keys,
        attribute_definitions: new.attribute_definitions,
        billing: new.billing,
        created_at_ms: 1_700_000_000_000,
        hash_seed: 42,
        deletion_protection: new.deletion_protection,
        table_class: new.table_class,
        tags: new.tags,
        partitions: 4,
        item_count: 0,
        size_bytes: 0,
        quotas: None,
    }
}

/// Counts what is taken and given back.
#[derive(Clone, Default)]
pub(super) struct Counter(Arc<CounterInner>);

struct CounterInner {
    out: AtomicI64,
    /// Requests that are still admitted.
    open: AtomicU64,
    principals: Mutex<BTreeSet<String>>,
    forgotten: Mutex<BTreeSet<u64>>,
}

impl Default for CounterInner {
    fn default() -> Self {
        Self {
            out: AtomicI64::new(0),
            open: AtomicU64::new(u64::MAX),
            principals: Mutex::default(),
            forgotten: Mutex::default(),
        }
    }
}

fn milli(cost: Cost) -> i64 {
    let (Cost::Read(amount) | Cost::Write(amount)) = cost;
    i64::try_from(amount.get()).unwrap()
}

/// What was taken of which table.
pub(super) struct Taken {
    cost: Cost,
    table: Arc<Described>,
}

impl Gate for Counter {
    type Permit = Taken;

    async fn admit(&self, call: Call<'_>, table: &TableDescriptor, cost: Cost) -> Result<Taken, Throttle> {
        self.0.principals.lock().insert(call.principal.as_ref().to_owned());
        let kind = match cost {
            Cost::Read(_) => CapacityKind::Read,
            Cost::Write(_) => CapacityKind::Write,
        };
        let described = Arc::new(Described::of(table, kind));
        let open = &self.0.open;
        if open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_err() {
            return Err(Throttle::new(&described, Limit::Table, Some(Duration::from_millis(40))));
        }
        self.0.out.fetch_add(milli(cost), Ordering::Relaxed);
        Ok(Taken { cost, table: described })
    }

    fn settle(&self, taken: Taken, actual: Option<Cost>) {
        self.0.out.fetch_add(actual.map_or(0, milli) - milli(taken.cost), Ordering::Relaxed);
    }

    fn refused_by_node(&self, _: Call<'_>, taken: Taken, node: &StorageRefusal) -> Throttle {
        let refusal = Refusal::by_node(node, Arc::clone(&taken.table));
        self.settle(taken, None);
        Throttle::of(&refusal)
    }

    fn forget(&self, table: &TableDescriptor) {
        self.0.forgotten.lock().insert(table.id);
    }
}

/// Items in memory, with errors in front of them.
#[derive(Clone, Default)]
pub(super) struct FaultyStore(Arc<FaultyInner>);

#[derive(Default)]
struct FaultyInner {
    memory: MemoryStore,
    faults: Mutex<VecDeque<StoreError>>,
    executed: AtomicUsize,
}

impl PartitionStore for FaultyStore {
    async fn execute(
        &self,
        route: &Route,
        operation: &Operation,
        deadline: Duration,
    ) -> Result<Outcome, StoreError> {
        self.0.executed.fetch_add(1, Ordering::Relaxed);
        let fault = self.0.faults.lock().pop_front();
        match fault {
            Some(error) => Err(error),
            None => self.0.memory.execute(route, operation, deadline).await,
        }
    }
}
