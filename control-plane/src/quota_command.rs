//! Changes of quotas: from what an operator (or a clock, or a peak) wants and the catalog to the record to
//! write, or why not. Pure.
//!
//! A table's quota in force is in the table's record, so that one conditional write changes it together
//! with the descriptor, and with the provisioned throughput that it is; its history follows. The account's
//! and the principals' are the last versions of their histories.

use dynamodb::table::{Billing, TableStatus};
use units::UnixMillis;

use crate::catalog::Catalog;
use crate::quota::{
    Basis, Boost, BoostRequest, EndBoostRequest, QuotaCause, QuotaChange, QuotaDiff, QuotaError,
    QuotaHistory, QuotaKind, QuotaMode, QuotaState, QuotaSubject, QuotaTerms, QuotaVersion, RollbackRequest,
    Signed, apply, boosted, changes, check_signed, check_terms,
};
use crate::record::{CurrentQuotas, QuotaOwner, QuotaRecord, TableRecord, bucket_of};
use crate::table_command;

/// What to write for a change, and what it changes.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Nothing: the quota says that already.
    pub(crate) write: Option<Write>,
    pub(crate) cause: QuotaCause,
    pub(crate) diff: QuotaDiff,
}

/// The record to write.
#[derive(Clone, Debug)]
pub(crate) enum Write {
    Table(Box<TableRecord>),
    Quota(QuotaRecord),
}

/// A change that an operator asks for.
#[derive(Clone, Debug)]
pub(crate) enum QuotaCommand {
    Set(QuotaChange),
    Rollback(RollbackRequest),
    Boost(BoostRequest),
    EndBoost(EndBoostRequest),
}

impl QuotaCommand {
    /// Whose quota.
    pub(crate) const fn subject(&self) -> &QuotaSubject {
        match self {
            Self::Set(change) => &change.subject,
            Self::Rollback(request) => &request.subject,
            Self::Boost(request) => &request.subject,
            Self::EndBoost(request) => &request.subject,
        }
    }
}

/// Principals' quotas, of both kinds together: each takes a line in every complete push.
const MAX_PRINCIPAL_QUOTAS: usize = 10_000;
/// How long a boost may last.
const BOOST_MS: std::ops::RangeInclusive<u64> = 1_000..=30 * 86_400_000;
/// The author of a boost's return.
const EXPIRY: &str = "expiry";

/// What `command` would do now.
///
/// # Errors
/// When it cannot be done.
pub(crate) fn plan(
    catalog: &Catalog,
    command: &QuotaCommand,
    now: UnixMillis,
    dry_run: bool,
) -> Result<Plan, QuotaError> {
    match command {
        QuotaCommand::Set(change) => set(catalog, change, now, dry_run),
        QuotaCommand::Rollback(request) => rollback(catalog, request, now, dry_run),
        QuotaCommand::Boost(request) => boost(catalog, request, now, dry_run),
        QuotaCommand::EndBoost(request) => end_boost(catalog, request, now, dry_run),
    }
}

fn set(catalog: &Catalog, change: &QuotaChange, now: UnixMillis, dry_run: bool) -> Result<Plan, QuotaError> {
    let place = Place::find(catalog, &change.subject, change.kind)?;
    place.check(&change.signed)?;
    let present = place.current();
    let applied = apply(present.map(QuotaVersion::lasting_terms), place.basis(), change)?;
    check_terms(&change.subject, &applied.terms)?;
    place.check_floors(&applied.terms)?;
    let boost = present.and_then(|present| Some((present, present.boost.as_ref()?)));
    let (terms, boost) = match boost.filter(|_| !applied.ends_boost) {
        // What a boost has raised stays raised.
        Some((present, boost)) => (
            QuotaTerms { rate: present.terms.rate, burst: present.terms.burst, ..applied.terms.clone() },
            Some(Boost { until_ms: boost.until_ms, returns_to: applied.terms }),
        ),
        None => (applied.terms, None),
    };
    let next = Next { terms, boost, cause: QuotaCause::Set, signed: &change.signed };
    Ok(place.plan(next, now, dry_run))
}

fn rollback(
    catalog: &Catalog,
    request: &RollbackRequest,
    now: UnixMillis,
    dry_run: bool,
) -> Result<Plan, QuotaError> {
    let place = Place::find(catalog, &request.subject, request.kind)?;
    place.check(&request.signed)?;
    let history = place.history().ok_or_else(|| place.none())?;
    let unknown = || QuotaError::UnknownVersion {
        version: request.version,
        oldest: history.versions.first().map_or(0, |version| version.version),
        newest: history.versions.last().map_or(0, |version| version.version),
    };
    let version = history.versions.iter().find(|it| it.version == request.version).ok_or_else(unknown)?;
    let mut terms = version.lasting_terms().clone();
    match (terms.mode, place.basis()) {
        (QuotaMode::OnDemand, Basis::OnDemand(rate)) => terms.rate = rate,
        (QuotaMode::OnDemand, _) | (QuotaMode::Provisioned, Basis::OnDemand(_) | Basis::Operators) => {
            let message = format!("version {} is of another billing mode than the table's", request.version);
            return Err(QuotaError::invalid("version", message));
        }
        _ => {}
    }
    check_terms(&request.subject, &terms)?;
    place.check_floors(&terms)?;
    let cause = QuotaCause::Rollback(request.version);
    Ok(place.plan(Next { terms, boost: None, cause, signed: &request.signed }, now, dry_run))
}

fn boost(
    catalog: &Catalog,
    request: &BoostRequest,
    now: UnixMillis,
    dry_run: bool,
) -> Result<Plan, QuotaError> {
    let place = Place::find(catalog, &request.subject, request.kind)?;
    place.check(&request.signed)?;
    if !BOOST_MS.contains(&request.for_ms) {
        return Err(QuotaError::invalid("for_ms", "must be from one second to 30 days"));
    }
    let present = place.current().ok_or_else(|| place.none())?;
    let lasting = present.lasting_terms().clone();
    let terms = boosted(&lasting, request.to)?;
    check_terms(&request.subject, &terms)?;
    if let (Some(ceiling), QuotaMode::OnDemand) = (place.ceiling(), lasting.mode)
        && terms.rate > ceiling
    {
        return Err(QuotaError::LimitExceeded { asked: terms.rate, limit: ceiling });
    }
    let until_ms = now.get().saturating_add(request.for_ms);
    let boost = Some(Boost { until_ms, returns_to: lasting });
    Ok(place.plan(Next { terms, boost, cause: QuotaCause::Boost, signed: &request.signed }, now, dry_run))
}

fn end_boost(
    catalog: &Catalog,
    request: &EndBoostRequest,
    now: UnixMillis,
    dry_run: bool,
) -> Result<Plan, QuotaError> {
    let place = Place::find(catalog, &request.subject, request.kind)?;
    place.check(&request.signed)?;
    let boost = place.current().and_then(|present| present.boost.as_ref());
    let not_boosted = || QuotaError::NotBoosted { subject: request.subject.clone(), kind: request.kind };
    let terms = boost.ok_or_else(not_boosted)?.returns_to.clone();
    let next = Next { terms, boost: None, cause: QuotaCause::BoostEnded, signed: &request.signed };
    Ok(place.plan(next, now, dry_run))
}

/// Every boost, with when it ends.
pub(crate) fn boosts(catalog: &Catalog) -> impl Iterator<Item = (QuotaState, u64)> + '_ {
    let boosted = |version: &QuotaVersion| version.boost.is_some();
    let others = catalog.quotas.values().filter(move |record| boosted(record.newest()));
    let tables = catalog
        .tables
        .values()
        .filter(move |table| QuotaKind::ALL.iter().any(|kind| boosted(table.quota(*kind))));
    others.filter_map(state_of_record).chain(tables.flat_map(states_of_table)).filter_map(|state| {
        let until = state.current.boost.as_ref()?.until_ms;
        Some((state, until))
    })
}

/// The return of a boost whose time is over.
pub(crate) fn expire(catalog: &Catalog, state: &QuotaState, now: UnixMillis) -> Option<Plan> {
    let place = Place::find(catalog, &state.subject, state.kind).ok()?;
    let present = place.current()?;
    let boost = present.boost.as_ref().filter(|boost| boost.until_ms <= now.get())?;
    let signed = Signed {
        author: EXPIRY.to_owned(),
        reason: format!("the boost of version {} is over", present.version),
        expected_version: None,
    };
    let terms = boost.returns_to.clone();
    let next = Next { terms, boost: None, cause: QuotaCause::BoostExpired, signed: &signed };
    Some(place.plan(next, now, false))
}

/// The quota in force; none: there is none.
///
/// # Errors
/// When the subject is not there.
pub(crate) fn state(
    catalog: &Catalog,
    subject: &QuotaSubject,
    kind: QuotaKind,
) -> Result<Option<QuotaState>, QuotaError> {
    let place = Place::find_even_deleting(catalog, subject, kind)?;
    Ok(place.current().map(|current| place.state(current.clone())))
}

/// The versions that are kept; none: there never was a quota.
///
/// # Errors
/// When the subject is not there.
pub(crate) fn history(
    catalog: &Catalog,
    subject: &QuotaSubject,
    kind: QuotaKind,
) -> Result<Option<QuotaHistory>, QuotaError> {
    Ok(Place::find_even_deleting(catalog, subject, kind)?.history())
}

/// Every quota in force: the account's, the principals', the tables'.
pub(crate) fn states(catalog: &Catalog) -> impl Iterator<Item = QuotaState> + '_ {
    let others = catalog.quotas.values().filter_map(state_of_record);
    others.chain(catalog.tables.values().flat_map(states_of_table))
}

/// The account's or a principal's quota in force; none: it is a table's history.
pub(crate) fn state_of_record(record: &QuotaRecord) -> Option<QuotaState> {
    let subject = match &record.owner {
        QuotaOwner::Account => QuotaSubject::Account,
        QuotaOwner::Principal(name) => QuotaSubject::Principal(name.clone()),
        QuotaOwner::Table(_) => return None,
    };
    let bucket = bucket_of(&record.owner, record.kind);
    Some(QuotaState { subject, kind: record.kind, bucket, current: record.newest().clone() })
}

/// A table's quotas in force.
pub(crate) fn states_of_table(table: &TableRecord) -> [QuotaState; 2] {
    QuotaKind::ALL.map(|kind| QuotaState {
        subject: QuotaSubject::Table(table.descriptor.name.clone()),
        kind,
        bucket: bucket_of(&QuotaOwner::Table(table.descriptor.id), kind),
        current: table.quota(kind).clone(),
    })
}

/// A version to be.
struct Next<'a> {
    terms: QuotaTerms,
    boost: Option<Boost>,
    cause: QuotaCause,
    signed: &'a Signed,
}

/// Where a quota is kept.
struct Place<'a> {
    catalog: &'a Catalog,
    subject: &'a QuotaSubject,
    kind: QuotaKind,
    owner: QuotaOwner,
    /// The table, if it is one.
    table: Option<&'a TableRecord>,
    record: Option<&'a QuotaRecord>,
}

impl<'a> Place<'a> {
    fn find(catalog: &'a Catalog, subject: &'a QuotaSubject, kind: QuotaKind) -> Result<Self, QuotaError> {
        let place = Self::find_even_deleting(catalog, subject, kind)?;
        match place.table {
            Some(table) if table.descriptor.status == TableStatus::Deleting => {
                Err(QuotaError::TableDeleting { table: table.descriptor.name.clone() })
            }
            _ => Ok(place),
        }
    }

    fn find_even_deleting(
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

    fn current(&self) -> Option<&'a QuotaVersion> {
        match self.table {
            Some(table) => Some(table.quota(self.kind)),
            None => self.record.map(QuotaRecord::newest),
        }
    }

    fn basis(&self) -> Basis {
        let Some(table) = self.table else { return Basis::Operators };
        let units = table.own_units(self.kind);
        match table.descriptor.billing {
            Billing::Provisioned(_) => Basis::Provisioned(units),
            Billing::OnDemand { .. } => Basis::OnDemand(units),
        }
    }

    fn ceiling(&self) -> Option<u64> {
        self.table?.ceiling(self.kind)
    }

    fn history(&self) -> Option<QuotaHistory> {
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

    fn none(&self) -> QuotaError {
        QuotaError::NoQuota { subject: self.subject.clone(), kind: self.kind }
    }

    fn state(&self, current: QuotaVersion) -> QuotaState {
        let bucket = bucket_of(&self.owner, self.kind);
        QuotaState { subject: self.subject.clone(), kind: self.kind, bucket, current }
    }

    fn check(&self, signed: &Signed) -> Result<(), QuotaError> {
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
    fn check_floors(&self, terms: &QuotaTerms) -> Result<(), QuotaError> {
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
    fn plan(&self, next: Next<'_>, now: UnixMillis, dry_run: bool) -> Plan {
        let present = self.current();
        let cause = next.cause;
        let version = QuotaVersion {
            version: present.map_or(0, |present| present.version) + 1,
            terms: next.terms,
            boost: next.boost,
            cause,
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
            return Plan { write: None, cause, diff };
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
        Plan { write: Some(write), cause, diff }
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

/// The table's histories that do not have its version in force yet, with it.
pub(crate) fn histories_to_write(table: &TableRecord, catalog: &Catalog) -> Vec<QuotaRecord> {
    let owner = QuotaOwner::Table(table.descriptor.id);
    QuotaKind::ALL
        .into_iter()
        .filter_map(|kind| {
            let current = table.quota(kind);
            let name = QuotaRecord::name_of(&owner, kind);
            match catalog.quotas.get(&name).map(|record| &record.value) {
                Some(record) if record.newest().version >= current.version => None,
                Some(record) => Some(record.clone().with(current.clone())),
                None => Some(QuotaRecord { owner: owner.clone(), kind, versions: vec![current.clone()] }),
            }
        })
        .collect()
}

/// The quotas of a table whose billing (or a ceiling of it) was just changed by `author`: each kind that
/// this changes has a new version, which ends boosts and operators' overrides of it.
pub(crate) fn after_billing(
    before: &TableRecord,
    after: &TableRecord,
    author: &str,
    now: UnixMillis,
) -> CurrentQuotas {
    let version = |kind| {
        let present = before.quota(kind);
        let (old, new) = (before.own_terms(kind), after.own_terms(kind));
        if (old.mode, old.rate, before.ceiling(kind)) == (new.mode, new.rate, after.ceiling(kind)) {
            return present.clone();
        }
        QuotaVersion {
            version: present.version + 1,
            terms: QuotaTerms { mode: new.mode, rate: new.rate, ..present.lasting_terms().clone() },
            boost: None,
            cause: QuotaCause::UpdateTable,
            author: author.to_owned(),
            reason: "UpdateTable".to_owned(),
            at_ms: now.get(),
        }
    };
    CurrentQuotas { read: version(QuotaKind::Read), write: version(QuotaKind::Write) }
}

/// The quotas of a table that `author` creates.
pub(crate) fn first(table: &TableRecord, author: &str, now: UnixMillis) -> CurrentQuotas {
    let version = |kind| QuotaVersion {
        version: 1,
        terms: table.own_terms(kind),
        boost: None,
        cause: QuotaCause::CreateTable,
        author: author.to_owned(),
        reason: "CreateTable".to_owned(),
        at_ms: now.get(),
    };
    CurrentQuotas { read: version(QuotaKind::Read), write: version(QuotaKind::Write) }
}

#[cfg(test)]
mod tests;
