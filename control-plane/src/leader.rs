//! The leader's work: one task that owns the catalog's copy, executes commands one after another, and
//! takes the steps that remain. It starts anew, from the stored records, whenever this member comes to
//! lead or a write's fate is unknown.

mod quotas;
mod steps;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use dynamodb::error::ApiError;
use dynamodb::table::{NewTable, TableChange, TableDescriptor};
use parking_lot::{Mutex, RwLock};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use storage_adapter::Leadership;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use units::{NodeId, Term, Timestamp};
use wire::clock;
use wire::transport::Connection;

use crate::catalog::{Catalog, Kept, stored};
use crate::catalog_store::{CatalogStore, WriteError};
use crate::config::Config;
use crate::fleet::Fleet;
use crate::gac_servers::RingBoard;
use crate::metrics;
use crate::peaks::Peaks;
use crate::push::{FRESH_FOR, Published, PushBoard};
use crate::quota::{QuotaDiff, QuotaError};
use crate::quota_command::QuotaCommand;
use crate::quota_log::QuotaLog;
use crate::record::CredentialRecord;
use crate::ring::{RingCommand, RingError};
use crate::table_command::{self, Account, Chance, Request};

/// Commands that may wait for the leader: each takes two or three quorum writes.
pub(crate) const COMMAND_QUEUE: usize = 1024;
/// The pause between two looks at what remains while something does.
const BUSY_BEAT: Duration = Duration::from_millis(50);
/// The same while nothing does.
const IDLE_BEAT: Duration = Duration::from_secs(1);
/// The pause before the catalog is read again after it could not be.
const LOAD_RETRY: Duration = Duration::from_millis(100);
/// How often a command starts over when a record changed under it.
const COMMAND_ATTEMPTS: usize = 3;

/// What the leader's task and the service share.
#[derive(Debug)]
pub(crate) struct Shared<S> {
    pub(crate) config: Config,
    pub(crate) store: S,
    /// The catalog, while this member leads and has read it.
    pub(crate) serving: RwLock<Option<Serving>>,
    pub(crate) fleet: Mutex<Fleet>,
    /// Something was learned that the leader may act on.
    pub(crate) wake: Arc<Notify>,
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) published: watch::Sender<Option<Arc<Published>>>,
    pub(crate) board: Arc<PushBoard>,
    /// What the GAC servers last answered about the ring.
    pub(crate) ring_board: Arc<RingBoard>,
    /// What the GAC servers reported of on-demand tables.
    pub(crate) peaks: Mutex<Peaks>,
    /// What watchers of quotas are told.
    pub(crate) quota_log: QuotaLog,
}

/// The catalog as its leader has it.
#[derive(Clone, Debug)]
pub(crate) struct Serving {
    pub(crate) term: Term,
    pub(crate) catalog: Arc<Catalog>,
}

/// A change that somebody asks for; the answer goes through `reply`. Dropped unanswered when this member
/// ceases to lead: it may or may not have taken place.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) change: Change,
    pub(crate) reply: oneshot::Sender<Result<Changed, Refused>>,
}

/// What shall change.
#[derive(Debug)]
pub(crate) enum Change {
    Create { new: NewTable, principal: String },
    Update { change: TableChange, principal: String },
    Delete(String),
    PutCredential(CredentialRecord),
    Quota(QuotaCommand),
    Ring(RingCommand),
}

/// What has changed.
#[derive(Debug)]
pub(crate) enum Changed {
    Table(Box<TableDescriptor>),
    Credential,
    Quota(Box<QuotaDiff>),
    Ring,
}

/// Why nothing was changed.
#[derive(Debug)]
pub(crate) enum Refused {
    Table(ApiError),
    Quota(QuotaError),
    Ring(RingError),
}

impl Change {
    /// As metrics and logs call it.
    const fn name(&self) -> &'static str {
        match self {
            Self::Create { .. } => "create",
            Self::Update { .. } => "update",
            Self::Delete(_) => "delete",
            Self::PutCredential(_) => "put_credential",
            Self::Quota(_) => "quota",
            Self::Ring(_) => "ring",
        }
    }
}

/// Why a command has no result.
#[derive(Debug)]
enum CommandError {
    Refused(Refused),
    Write(WriteError),
}

impl From<ApiError> for CommandError {
    fn from(error: ApiError) -> Self {
        Self::Refused(Refused::Table(error))
    }
}

impl From<QuotaError> for CommandError {
    fn from(error: QuotaError) -> Self {
        Self::Refused(Refused::Quota(error))
    }
}

impl From<RingError> for CommandError {
    fn from(error: RingError) -> Self {
        Self::Refused(Refused::Ring(error))
    }
}

impl From<WriteError> for CommandError {
    fn from(error: WriteError) -> Self {
        Self::Write(error)
    }
}

/// Leads whenever the store says that this member does, until `shutdown`.
pub(crate) async fn run<S: CatalogStore>(
    shared: Arc<Shared<S>>,
    mut commands: mpsc::Receiver<Command>,
    shutdown: CancellationToken,
) {
    let mut leadership = shared.store.leadership();
    loop {
        let present = *leadership.borrow_and_update();
        if present.serving {
            let term = present.term;
            info!(%term, "this member leads the control plane");
            let mut leader = Leader::new(&shared, term);
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = lost(&mut leadership, term) => {}
                () = leader.lead(&mut commands) => {}
            }
            shared.stop_serving();
            // Their senders learn from the dropped reply that nobody leads here.
            while commands.try_recv().is_ok() {}
            info!(%term, "this member leads the control plane no more");
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            changed = leadership.wait_for(|now| *now != present) => if changed.is_err() { return },
        }
    }
}

fn leads_in(now: &Leadership, term: Term) -> bool {
    now.serving && now.term == term
}

/// Waits until this member does not lead in `term`.
async fn lost(leadership: &mut watch::Receiver<Leadership>, term: Term) {
    // An error means that the store is gone, which is the same.
    let _gone = leadership.wait_for(|now| !leads_in(now, term)).await;
}

impl<S> Shared<S> {
    /// The catalog, if this member leads and has read it.
    pub(crate) fn serving(&self) -> Option<Serving> {
        self.serving.read().clone()
    }

    pub(crate) fn account(&self) -> Account<'_> {
        Account {
            region: &self.config.region,
            account: &self.config.account,
            table_limit: self.config.table_limit,
        }
    }

    fn serve(&self, term: Term, catalog: &Catalog, fresh: &BTreeMap<u64, Timestamp>) {
        *self.serving.write() = Some(Serving { term, catalog: Arc::new(catalog.clone()) });
        let before = self.published.borrow().clone();
        let published = Published::of(catalog, term, before.as_deref(), fresh, clock::now());
        self.quota_log.note(term, catalog);
        self.published.send_replace(Some(Arc::new(published)));
        metrics::leads(true);
    }

    fn stop_serving(&self) {
        *self.serving.write() = None;
        self.published.send_replace(None);
        metrics::leads(false);
    }
}

struct Leader<'a, S> {
    shared: &'a Arc<Shared<S>>,
    term: Term,
    catalog: Catalog,
    /// A write's fate is unknown: the copy must be read anew before anything is decided on it.
    stale: bool,
    nodes: BTreeMap<NodeId, Connection>,
    /// Tables that this leader has just created, and when.
    fresh: BTreeMap<u64, Timestamp>,
    rng: StdRng,
}

impl<'a, S: CatalogStore> Leader<'a, S> {
    fn new(shared: &'a Arc<Shared<S>>, term: Term) -> Self {
        Self {
            shared,
            term,
            catalog: Catalog::default(),
            stale: true,
            nodes: BTreeMap::new(),
            fresh: BTreeMap::new(),
            rng: StdRng::from_os_rng(),
        }
    }

    async fn lead(&mut self, commands: &mut mpsc::Receiver<Command>) {
        *self.shared.fleet.lock() = Fleet::since(clock::now());
        *self.shared.peaks.lock() = Peaks::default();
        loop {
            if self.stale {
                self.load().await;
            }
            let mut busy = self.reconcile().await;
            if self.stale {
                continue;
            }
            busy |= self.tend_quotas().await;
            if self.stale {
                continue;
            }
            let beat = if busy { BUSY_BEAT } else { IDLE_BEAT.min(self.until_a_boost_ends()) };
            tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => self.execute(command).await,
                    None => return,
                },
                () = self.shared.wake.notified() => {}
                () = tokio::time::sleep(beat) => {}
            }
        }
    }

    /// Reads the whole catalog, however often it takes; another member leads when it takes forever.
    async fn load(&mut self) {
        loop {
            match self.shared.store.scan().await {
                Ok(records) => match Catalog::load(&records) {
                    Ok(catalog) => {
                        self.loaded(catalog).await;
                        return;
                    }
                    Err(unreadable) => error!(%unreadable, "the catalog is damaged"),
                },
                Err(error) => warn!(%error, "the catalog cannot be read now"),
            }
            tokio::time::sleep(LOAD_RETRY).await;
        }
    }

    async fn loaded(&mut self, catalog: Catalog) {
        // Counts on, so that watchers of this term see every reading as newer than what came before.
        let revision = self.catalog.revision + 1;
        self.catalog = Catalog { revision, ..catalog };
        self.stale = false;
        {
            let mut fleet = self.shared.fleet.lock();
            for node in self.catalog.nodes.values() {
                fleet.remember(node.into());
            }
        }
        for initial in &self.shared.config.credentials {
            if self.catalog.credentials.get(&initial.access_key).is_none() {
                let record = CredentialRecord {
                    access_key: initial.access_key.clone(),
                    secret_key: initial.secret_key.clone(),
                    principal: initial.principal.clone(),
                    active: true,
                };
                if let Err(error) = self.write(record).await {
                    warn!(%error, "an initial key pair could not be written");
                    return;
                }
            }
        }
        if let Err(error) = self.begin_ring().await {
            warn!(%error, "the ring could not be written");
            return;
        }
        self.shared.serve(self.term, &self.catalog, &self.fresh);
    }

    /// Runs a command, again when a record changed under it, and answers it unless nobody can say what
    /// came of it.
    async fn execute(&mut self, command: Command) {
        let Command { change, reply } = command;
        for _attempt in 0..COMMAND_ATTEMPTS {
            if self.stale {
                self.load().await;
            }
            let (result, outcome) = match self.change(&change).await {
                Ok(changed) => (Ok(changed), "done"),
                Err(CommandError::Refused(refusal)) => (Err(refusal), "refused"),
                Err(CommandError::Write(WriteError::Conflict)) => continue,
                Err(CommandError::Write(WriteError::Unavailable(reason))) => {
                    warn!(%reason, command = change.name(), "a command's fate is unknown");
                    metrics::command(change.name(), "unavailable");
                    return;
                }
            };
            metrics::command(change.name(), outcome);
            // A receiver that has gone is nobody's loss: the change is in the catalog.
            let _gone = reply.send(result);
            return;
        }
        metrics::command(change.name(), "unavailable");
    }

    async fn change(&mut self, change: &Change) -> Result<Changed, CommandError> {
        match change {
            Change::Create { new, principal } => self.create(new, principal).await.map(table),
            Change::Update { change, principal } => self.update(change, principal).await.map(table),
            Change::Delete(name) => self.delete(name).await.map(table),
            Change::PutCredential(record) => {
                self.write(record.clone()).await?;
                Ok(Changed::Credential)
            }
            Change::Quota(command) => self.change_quota(command).await,
            Change::Ring(command) => self.change_ring(command).await,
        }
    }

    async fn create(&mut self, new: &NewTable, principal: &str) -> Result<TableDescriptor, CommandError> {
        let partitions = table_command::check_create(&self.catalog, new, self.shared.account())?;
        let (identifiers, counter) = self.catalog.counter().take(partitions);
        self.write(counter).await?;
        let chance = Chance {
            uuid: uuid::Builder::from_random_bytes(self.rng.random()).into_uuid().to_string(),
            hash_seed: self.rng.random(),
        };
        let table = table_command::create(
            new.clone(),
            partitions,
            identifiers,
            self.shared.account(),
            chance,
            Request { principal, now: clock::unix_now() },
        );
        info!(table = %table.descriptor.name, partitions, "a table is created");
        self.fresh.insert(table.descriptor.id, clock::now());
        self.write(table.clone()).await?;
        Ok(table.descriptor)
    }

    async fn update(
        &mut self,
        change: &TableChange,
        principal: &str,
    ) -> Result<TableDescriptor, CommandError> {
        self.record_histories(&change.name).await?;
        let request = Request { principal, now: clock::unix_now() };
        let table = table_command::update(&self.catalog, change, request)?;
        self.write(table.clone()).await?;
        Ok(table.descriptor)
    }

    async fn delete(&mut self, name: &str) -> Result<TableDescriptor, CommandError> {
        let table = table_command::delete(&self.catalog, name)?;
        info!(table = %name, "a table is deleted");
        self.write(table.clone()).await?;
        Ok(table.descriptor)
    }

    /// Writes a record over the version that this copy has.
    async fn write<T: Kept>(&mut self, value: T) -> Result<(), WriteError> {
        let record = stored(self.catalog.version_of(&value) + 1, &value);
        if let Err(error) = self.shared.store.put(&record).await {
            // A write without an answer may have taken place all the same.
            let present = self.shared.store.get(&record.key).await;
            if present.as_ref().is_ok_and(|present| present.as_ref() != Some(&record)) || present.is_err() {
                return Err(self.not_written(error));
            }
        }
        self.catalog.put(record.version, value);
        self.publish();
        Ok(())
    }

    async fn delete_record<T: Kept>(&mut self, name: &str) -> Result<(), WriteError> {
        let Some(version) = T::of(&self.catalog).get(name).map(|record| record.version) else {
            return Ok(());
        };
        let key = format!("{}{name}", T::PREFIX);
        if let Err(error) = self.shared.store.delete(&key, version).await {
            return Err(self.not_written(error));
        }
        self.catalog.remove::<T>(name);
        self.publish();
        Ok(())
    }

    fn not_written(&mut self, error: WriteError) -> WriteError {
        metrics::write_failed(match &error {
            WriteError::Conflict => "conflict",
            WriteError::Unavailable(_) => "unavailable",
        });
        // Another leader may be at work: what this copy says, such as what a node should drop, must not be
        // acted on until it has been read anew.
        self.stale = true;
        self.shared.stop_serving();
        error
    }

    fn publish(&mut self) {
        let now = clock::now();
        self.fresh.retain(|_, created_at| now.since(*created_at) < FRESH_FOR);
        // Before it serves, the copy is not whole in what it promises (initial key pairs).
        if self.shared.serving.read().is_some() {
            self.shared.serve(self.term, &self.catalog, &self.fresh);
        }
    }
}

fn table(descriptor: TableDescriptor) -> Changed {
    Changed::Table(Box::new(descriptor))
}
