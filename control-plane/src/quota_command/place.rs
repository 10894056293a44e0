//! Where a quota is kept, and how its next version is put in force. Pure.

use dynamodb::table::{Billing, TableStatus};
use units::UnixMillis;

use super::{Plan, Write};
use crate::catalog::Catalog;
use crate::quota::{
    Basis, Boost, QuotaCause, QuotaDiff, QuotaError, QuotaHistory, QuotaKind, QuotaMode, QuotaState,
    QuotaSubject, QuotaTerms, QuotaVersion, Signed, changes, check_signed,
};
use crate::record::{QuotaOwner, QuotaRecord, TableRecord, bucket_of};
use crate::table_command;

/// Principals' quotas, of both kinds together: each takes a line in every complete push.
const MAX_PRINCIPAL_QUOTAS: usize = 10_000;
/// A version to be.
pub(super) struct Next<'a> {
    pub(super) terms: QuotaTerms,
    pub(super) boost: Option<Boost>,
    pub(super) cause: QuotaCause,
    pub(super) signed: &'a Signed,
}

/// Where a quota is kept.
pub(super) struct Place<'a> {
    catalog: &'a Catalog,
    subject: &'a QuotaSubject,
    kind: QuotaKind,
    owner: QuotaOwner,
    /// The table, if it is one.
    table: Option<&'a TableRecord>,
    record: Option<&'a QuotaRecord>,
}

impl<'a> Place<'a> {
    pub(super) fn find(
        catalog: &'a Catalog,
        subject: &'a QuotaSubject,
        kind: QuotaKind,
    ) -> Result<Self, QuotaError> {
        let place = Self::find_even_deleting(catalog, subject, kind)?;
        match place.table {
            Some(table) if table.descriptor.status == TableStatus::Deleting => {
                Err(QuotaError::TableDeleting { table: table.descriptor.name.clone() })
            }
            _ => Ok(place),
        }
    }

    pub(super) fn find_even_deleting(
        catalog: &'a Catalog,
        subject: &'a QuotaSubject,
        kind: QuotaKind,
    ) -> Result<Self, QuotaError> {
        let (owner, table) = match subject {
            QuotaSubject::Account => (QuotaOwner::Account, None),
            QuotaSubject::Principal(name) => (QuotaOwner::Principal(name.clone()), None),
            QuotaSubject::Index { .. } => {
                return Err(QuotaError::IndexesUnsupported { subject: subject.clone() });
            }
            QuotaSubject::Table(name) => {
                let unknown = || QuotaError::UnknownTable { table: name.clone() };
                let table = &catalog.tables.get(name).ok_or_else(unknown)?.value;
                (QuotaOwner::Table(table.descriptor.id), Some(table))
            }
        };
        let name = QuotaRecord::name_of(&owner, kind);
        let record = catalog.quotas.get(&name).map(|record| &record.value);
        Ok(Self { catalog, subject, kind, owner, table, record })
    }

    pub(super) fn current(&self) -> Option<&'a QuotaVersion> {
        match self.table {
            Some(table) => Some(table.quota(self.kind)),
            None => self.record.map(QuotaRecord::newest),
        }
    }

    pub(super) fn basis(&self) -> Basis {
        let Some(table) = self.table else { return Basis::Operators };
        let units = table.own_units(self.kind);
        match table.descriptor.billing {
            Billing::Provisioned(_) => Basis::Provisioned(units),
            Billing::OnDemand { .. } => Basis::OnDemand(units),
        }
    }

    pub(super) fn ceiling(&self) -> Option<u64> {
        self.table?.ceiling(self.kind)
    }

    pub(super) fn history(&self) -> Option<QuotaHistory> {
        let mut versions = self.record.map_or_else(Vec::new, |record| record.versions.clone());
        // A table's history follows its record by one write.
        if let Some(current) = self.current()
            && versions.last().is_none_or(|newest| newest.version < current.version)
        {
            versions.push(current.clone());
        }
        (!versions.is_empty()).then(|| QuotaHistory {
            subject: self.subject.clone(),
            kind: self.kind,
            versions,
        })
    }

    pub(super) fn none(&self) -> QuotaError {
        QuotaError::NoQuota { subject: self.subject.clone(), kind: self.kind }
    }

    pub(super) fn state(&self, current: QuotaVersion) -> QuotaState {
        let bucket = bucket_of(&self.owner, self.kind);
        QuotaState { subject: self.subject.clone(), kind: self.kind, bucket, current }
    }

    pub(super) fn check(&self, signed: &Signed) -> Result<(), QuotaError> {
        check_signed(signed)?;
        let present = self.current().map_or(0, |current| current.version);
        if let Some(expected) = signed.expected_version.filter(|expected| *expected != present) {
            return Err(QuotaError::VersionMismatch { expected, present });
        }
        let is_principal = |name: &&String| name.starts_with("principal/");
        if matches!(self.owner, QuotaOwner::Principal(_))
            && self.record.is_none()
            && self.catalog.quotas.names_after(None).filter(is_principal).count() >= MAX_PRINCIPAL_QUOTAS
        {
            return Err(QuotaError::TooManyPrincipals { limit: MAX_PRINCIPAL_QUOTAS });
        }
        Ok(())
    }

    /// The tables' floors must fit into the account's quota, if it has one.
    pub(super) fn check_floors(&self, terms: &QuotaTerms) -> Result<(), QuotaError> {
        let account = match self.owner {
            QuotaOwner::Account => Some(terms),
            QuotaOwner::Table(_) if terms.floor > 0 => {
                let name = QuotaRecord::name_of(&QuotaOwner::Account, self.kind);
                self.catalog.quotas.get(&name).map(|record| record.value.newest().lasting_terms())
            }
            _ => None,
        };
        let Some(account) = account.filter(|account| account.mode != QuotaMode::Unlimited) else {
            return Ok(());
        };
        let is_this = |table: &TableRecord| QuotaOwner::Table(table.descriptor.id) == self.owner;
        let others = self.catalog.tables.values().filter(|table| !is_this(table));
        let own = if self.table.is_some() { terms.floor } else { 0 };
        let floors = others.map(|table| table.quota(self.kind).terms.floor).fold(own, u64::saturating_add);
        if floors > account.rate {
            return Err(QuotaError::FloorsExceedAccount { floors, rate: account.rate });
        }
        Ok(())
    }

    /// The records that put the next version in force; none if it says what the present one says.
    pub(super) fn plan(&self, next: Next<'_>, now: UnixMillis, dry_run: bool) -> Plan {
        let present = self.current();
        let version = QuotaVersion {
            version: present.map_or(0, |present| present.version) + 1,
            terms: next.terms,
            boost: next.boost,
            cause: next.cause,
            author: next.signed.author.clone(),
            reason: next.signed.reason.clone(),
            at_ms: now.get(),
        };
        let from_version = present.map(|present| present.version);
        let unchanged = present
            .filter(|present| present.terms == version.terms && present.boost == version.boost)
            .cloned();
        if let Some(present) = unchanged {
            let diff = QuotaDiff {
                subject: self.subject.clone(),
                kind: self.kind,
                from_version,
                to_version: None,
                changes: vec![],
                dry_run,
                state: self.state(present),
            };
            return Plan { write: None, diff };
        }
        let diff = QuotaDiff {
            subject: self.subject.clone(),
            kind: self.kind,
            from_version,
            to_version: Some(version.version),
            changes: changes(present, &version),
            dry_run,
            state: self.state(version.clone()),
        };
        let write = match self.table {
            Some(table) => Write::Table(Box::new(with_version(table, self.kind, version, now))),
            None => Write::Quota(match self.record {
                Some(record) => record.clone().with(version),
                None => QuotaRecord { owner: self.owner.clone(), kind: self.kind, versions: vec![version] },
            }),
        };
        Plan { write: Some(write), diff }
    }
}

/// The table with a quota's new version in force. What the version says lastingly, if it follows the
/// provisioned throughput, is the provisioned throughput.
fn with_version(table: &TableRecord, kind: QuotaKind, version: QuotaVersion, now: UnixMillis) -> TableRecord {
    let mut table = table.clone();
    let lasting = version.lasting_terms();
    if let (QuotaMode::Provisioned, Billing::Provisioned(present)) = (lasting.mode, &table.descriptor.billing)
    {
        let (read, write) = match kind {
            QuotaKind::Read => (lasting.rate, present.write),
            QuotaKind::Write => (present.read, lasting.rate),
        };
        table.descriptor.billing =
            Billing::Provisioned(table_command::provisioned(*present, read, write, now));
    }
    table.set_quota(kind, version);
    table.descriptor.version += 1;
    table
}
