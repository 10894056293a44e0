//! The leader's changes of quotas and of the ring: operators' commands, boosts that end, tables that outgrow
//! their peaks, and GAC servers that are drained.

use std::time::Duration;

use tracing::{info, warn};
use wire::clock;

use super::{Changed, CommandError, Leader};
use crate::catalog_store::{CatalogStore, WriteError};
use crate::metrics;
use crate::quota::QuotaDiff;
use crate::quota_command::{self, Plan, QuotaCommand, Write};
use crate::record::QuotaRecord;
use crate::ring::{self, RingCommand};

impl<S: CatalogStore> Leader<'_, S> {
    /// Changes a quota as an operator asks for.
    pub(super) async fn change_quota(&mut self, command: &QuotaCommand) -> Result<Changed, CommandError> {
        let plan = quota_command::plan(&self.catalog, command, clock::unix_now(), false)?;
        Ok(Changed::Quota(Box::new(self.carry_out(plan).await?)))
    }

    /// Changes the ring as an operator asks for.
    pub(super) async fn change_ring(&mut self, command: &RingCommand) -> Result<Changed, CommandError> {
        let present = self.catalog.ring().cloned().expect("a leader records the ring before it serves");
        let ring = ring::changed(&present, command, clock::unix_now())?;
        info!(epoch = ring.epoch, servers = ring.servers.len(), author = %ring.author, "the ring is changed");
        self.write(ring).await?;
        Ok(Changed::Ring)
    }

    /// Records the ring of the configuration, if it is the first or another than it was.
    pub(super) async fn begin_ring(&mut self) -> Result<(), WriteError> {
        match ring::configured(self.catalog.ring(), &self.shared.config.gac, clock::unix_now()) {
            Some(ring) => self.write(ring).await,
            None => Ok(()),
        }
    }

    /// What time and peaks do to quotas, and drained servers to the ring; whether anything was done.
    pub(super) async fn tend_quotas(&mut self) -> bool {
        match self.try_tend_quotas().await {
            Ok(busy) => busy,
            Err(error) => {
                // It is looked at again, in what the catalog then says.
                warn!(%error, "a quota was not tended");
                true
            }
        }
    }

    async fn try_tend_quotas(&mut self) -> Result<bool, WriteError> {
        let mut busy = false;
        let boosts: Vec<_> = quota_command::boosts(&self.catalog).collect();
        metrics::boosts(boosts.len());
        let now = clock::unix_now();
        for (state, _) in boosts.into_iter().filter(|(_, until_ms)| *until_ms <= now.get()) {
            if let Some(plan) = quota_command::expire(&self.catalog, &state, now) {
                self.carry_out(plan).await?;
                busy = true;
            }
        }
        let due = self.shared.peaks.lock().due(&self.catalog, clock::now(), now);
        for table in due {
            let raised = self
                .catalog
                .tables
                .get(&table.descriptor.name)
                .is_some_and(|before| before.value.quotas != table.quotas);
            if raised {
                info!(table = %table.descriptor.name, "a table on demand has outgrown its quota");
            }
            self.record_histories(&table.descriptor.name).await?;
            self.write(table).await?;
            busy = true;
        }
        let board = &self.shared.ring_board;
        let settled =
            self.catalog.ring().and_then(|ring| ring::settled(ring, |it| board.is_drained(it, ring.epoch)));
        if let Some(ring) = settled {
            info!(epoch = ring.epoch, "a GAC server is drained");
            self.write(ring).await?;
            busy = true;
        }
        metrics::ring_epoch(self.catalog.ring().map_or(0, |ring| ring.epoch));
        Ok(busy)
    }

    /// How long until the next boost ends.
    pub(super) fn until_a_boost_ends(&self) -> Duration {
        let next = quota_command::boosts(&self.catalog).map(|(_, until_ms)| until_ms).min();
        let now = clock::unix_now().get();
        next.map_or(Duration::MAX, |until_ms| Duration::from_millis(until_ms.saturating_sub(now)))
    }

    async fn carry_out(&mut self, plan: Plan) -> Result<QuotaDiff, WriteError> {
        let Some(write) = plan.write else { return Ok(plan.diff) };
        match write {
            Write::Table(table) => {
                self.record_histories(&table.descriptor.name).await?;
                self.write(*table).await?;
            }
            Write::Quota(record) => self.record_version(record).await?,
        }
        let version = &plan.diff.state.current;
        info!(
            subject = %plan.diff.subject,
            kind = %plan.diff.kind,
            version = version.version,
            rate = version.terms.rate,
            author = %version.author,
            cause = ?version.cause,
            "a quota is changed"
        );
        Ok(plan.diff)
    }

    /// Writes the histories that lack a table's quotas in force: the next change must not overtake them.
    pub(super) async fn record_histories(&mut self, table: &str) -> Result<(), WriteError> {
        let Some(table) = self.catalog.tables.get(table).cloned() else { return Ok(()) };
        for history in quota_command::histories_to_write(&table.value, &self.catalog) {
            self.record_version(history).await?;
        }
        Ok(())
    }

    /// Writes a history with one more version: each version comes by here once.
    pub(super) async fn record_version(&mut self, history: QuotaRecord) -> Result<(), WriteError> {
        metrics::quota_change(history.newest().cause.author_kind());
        self.write(history).await
    }
}
