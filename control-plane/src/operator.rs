//! What operators ask of a member: quotas and the ring. The member that leads answers; every other one says
//! who does.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use wire::clock;

use crate::catalog_store::CatalogStore;
use crate::gac_servers;
use crate::leader::{Change, Changed, Refused, Serving, Shared};
use crate::quota::{
    BoostRequest, EndBoostRequest, QuotaChange, QuotaDiff, QuotaError, QuotaEvent, QuotaHistory, QuotaKind,
    QuotaState, QuotaSubject, RollbackRequest, WatchAnswer,
};
use crate::quota_command::{self, QuotaCommand};
use crate::ring::{self, RingChange, RingCommand, RingError, RingServer, RingStatus};
use crate::service;

/// The quotas, as one member shows and changes them: see [`crate::Handle::quotas`].
#[derive(Clone)]
pub struct Quotas {
    member: Arc<dyn Operated>,
}

/// The ring of GAC servers, as one member shows and changes it: see [`crate::Handle::ring`].
#[derive(Clone)]
pub struct RingControl {
    member: Arc<dyn Operated>,
}

/// A member, whatever store it has.
pub(crate) trait Operated: Send + Sync {
    fn catalog(&self) -> Result<Serving, QuotaError>;
    fn change_quota(&self, command: QuotaCommand) -> BoxFuture<'_, Result<QuotaDiff, QuotaError>>;
    fn watch(&self, since: Option<u64>, wait: Duration) -> BoxFuture<'_, Result<WatchAnswer, QuotaError>>;
    fn ring(&self) -> Result<RingStatus, RingError>;
    fn change_ring(&self, command: RingCommand) -> BoxFuture<'_, Result<RingStatus, RingError>>;
}

impl Quotas {
    pub(crate) fn new(member: Arc<dyn Operated>) -> Self {
        Self { member }
    }

    /// The subject's quotas in force: for a table two, otherwise those that were ever set.
    ///
    /// # Errors
    /// `NotLeader`, `UnknownTable`, `IndexesUnsupported`.
    pub async fn get(&self, subject: &QuotaSubject) -> Result<Vec<QuotaState>, QuotaError> {
        let catalog = self.member.catalog()?.catalog;
        let states = QuotaKind::ALL.into_iter().map(|kind| quota_command::state(&catalog, subject, kind));
        states.filter_map(Result::transpose).collect()
    }

    /// Every quota in force: the account's, the principals', the tables'.
    ///
    /// # Errors
    /// `NotLeader`.
    pub async fn list(&self) -> Result<Vec<QuotaState>, QuotaError> {
        let catalog = self.member.catalog()?.catalog;
        Ok(quota_command::states(&catalog).collect())
    }

    /// Changes a quota, or with `dry_run` only shows what would change. The GAC servers are told at once.
    ///
    /// # Errors
    /// See [`QuotaError`].
    pub async fn set(&self, change: QuotaChange, dry_run: bool) -> Result<QuotaDiff, QuotaError> {
        self.change(QuotaCommand::Set(change), dry_run).await
    }

    /// The subject's versions that are kept, the oldest first.
    ///
    /// # Errors
    /// `NotLeader`, `UnknownTable`, `IndexesUnsupported`.
    pub async fn history(&self, subject: &QuotaSubject) -> Result<Vec<QuotaHistory>, QuotaError> {
        let catalog = self.member.catalog()?.catalog;
        let histories =
            QuotaKind::ALL.into_iter().map(|kind| quota_command::history(&catalog, subject, kind));
        histories.filter_map(Result::transpose).collect()
    }

    /// Puts an earlier version's values in force, as a new version.
    ///
    /// # Errors
    /// See [`QuotaError`].
    pub async fn rollback(&self, request: RollbackRequest, dry_run: bool) -> Result<QuotaDiff, QuotaError> {
        self.change(QuotaCommand::Rollback(request), dry_run).await
    }

    /// Raises a rate for some time. It returns by itself, whoever leads then.
    ///
    /// # Errors
    /// See [`QuotaError`].
    pub async fn boost(&self, request: BoostRequest, dry_run: bool) -> Result<QuotaDiff, QuotaError> {
        self.change(QuotaCommand::Boost(request), dry_run).await
    }

    /// Ends a boost before its time.
    ///
    /// # Errors
    /// See [`QuotaError`].
    pub async fn end_boost(&self, request: EndBoostRequest, dry_run: bool) -> Result<QuotaDiff, QuotaError> {
        self.change(QuotaCommand::EndBoost(request), dry_run).await
    }

    /// What has changed since a revision that an earlier answer gave; waits for it up to `wait`, a minute at
    /// most. With none, or with one that is too old or another leader's: everything in force, at once.
    ///
    /// # Errors
    /// `NotLeader`.
    pub async fn watch(&self, since: Option<u64>, wait: Duration) -> Result<WatchAnswer, QuotaError> {
        self.member.watch(since, wait).await
    }

    async fn change(&self, command: QuotaCommand, dry_run: bool) -> Result<QuotaDiff, QuotaError> {
        if dry_run {
            let catalog = self.member.catalog()?.catalog;
            return Ok(quota_command::plan(&catalog, &command, clock::unix_now(), true)?.diff);
        }
        self.member.change_quota(command).await
    }
}

impl RingControl {
    pub(crate) fn new(member: Arc<dyn Operated>) -> Self {
        Self { member }
    }

    /// The ring, with what its servers last answered.
    ///
    /// # Errors
    /// `NotLeader`.
    pub async fn get(&self) -> Result<RingStatus, RingError> {
        self.member.ring()
    }

    /// Takes a server into the ring: it owns its part of the buckets from the next epoch on.
    ///
    /// # Errors
    /// See [`RingError`].
    pub async fn add(&self, change: RingChange) -> Result<RingStatus, RingError> {
        self.member.change_ring(RingCommand::Add(change)).await
    }

    /// Takes a server out of the ring. It is told until it has handed everything over; stop it once
    /// [`Self::get`] does not show it any more.
    ///
    /// # Errors
    /// See [`RingError`].
    pub async fn drain(&self, change: RingChange) -> Result<RingStatus, RingError> {
        self.member.change_ring(RingCommand::Drain(change)).await
    }
}

impl<S: CatalogStore> Operated for Shared<S> {
    fn catalog(&self) -> Result<Serving, QuotaError> {
        self.serving().ok_or_else(|| QuotaError::NotLeader { leader: service::other_leader(self) })
    }

    fn change_quota(&self, command: QuotaCommand) -> BoxFuture<'_, Result<QuotaDiff, QuotaError>> {
        Box::pin(async move {
            self.catalog()?;
            match service::execute(self, Change::Quota(command)).await {
                Ok(Ok(Changed::Quota(diff))) => Ok(*diff),
                Ok(Err(Refused::Quota(refusal))) => Err(refusal),
                Err(wire::transport::Failure::Overloaded) => Err(QuotaError::Overloaded),
                Ok(_) | Err(_) => Err(QuotaError::Unavailable),
            }
        })
    }

    fn watch(&self, since: Option<u64>, wait: Duration) -> BoxFuture<'_, Result<WatchAnswer, QuotaError>> {
        Box::pin(async move {
            self.catalog()?;
            if let Some(since) = since
                && let Some(answer) = self.quota_log.after(since, wait).await
            {
                // What a member that has just ceased to lead knows is still what happened.
                return Ok(answer);
            }
            // The revision is read first: what happens meanwhile is told twice rather than not at all.
            let revision = self.quota_log.revision();
            let states = quota_command::states(&self.catalog()?.catalog).map(QuotaEvent::Changed).collect();
            Ok(WatchAnswer { revision, reset: true, changes: states })
        })
    }

    fn ring(&self) -> Result<RingStatus, RingError> {
        let not_leader = || RingError::NotLeader { leader: service::other_leader(self) };
        let catalog = self.serving().ok_or_else(not_leader)?.catalog;
        let ring = catalog.ring().ok_or_else(not_leader)?;
        let server = |address: &String, draining| RingServer {
            address: address.clone(),
            draining,
            answer: self.ring_board.answer(address),
        };
        let serving = ring.servers.iter().map(|address| server(address, false));
        let draining = ring.draining.iter().map(|address| server(address, true));
        Ok(RingStatus {
            epoch: ring.epoch,
            servers: serving.chain(draining).collect(),
            author: ring.author.clone(),
            reason: ring.reason.clone(),
            at_ms: ring.at_ms,
        })
    }

    fn change_ring(&self, command: RingCommand) -> BoxFuture<'_, Result<RingStatus, RingError>> {
        Box::pin(async move {
            self.ring()?;
            if let RingCommand::Add(change) = &command {
                let present = self.serving().and_then(|serving| serving.catalog.ring().cloned());
                let present = present.ok_or(RingError::Unavailable)?;
                // What cannot be is refused for what it is.
                ring::changed(&present, &command, clock::unix_now())?;
                // Who is not there would own buckets that nobody looks after.
                if !gac_servers::answers(&change.address, &present.to_wire()).await {
                    let message = format!("no GAC server answers at {}", change.address);
                    return Err(RingError::Invalid { field: "address".into(), message });
                }
            }
            match service::execute(self, Change::Ring(command)).await {
                Ok(Ok(_)) => self.ring(),
                Ok(Err(Refused::Ring(refusal))) => Err(refusal),
                Err(wire::transport::Failure::Overloaded) => Err(RingError::Overloaded),
                Ok(Err(_)) | Err(_) => Err(RingError::Unavailable),
            }
        })
    }
}
