//! Changes of quotas: from what an operator (or a clock, or a peak) wants and the catalog to the record to
//! write, or why not. Pure.
//!
//! A table's quota in force is in the table's record, so that one conditional write changes it together
//! with the descriptor, and with the provisioned throughput that it is; its history follows. The account's
//! and the principals' are the last versions of their histories.

mod place;

use units::UnixMillis;

use self::place::{Next, Place};
use crate::catalog::Catalog;
use crate::quota::{
    Basis, Boost, BoostRequest, EndBoostRequest, QuotaCause, QuotaChange, QuotaDiff, QuotaError,
    QuotaHistory, QuotaKind, QuotaMode, QuotaState, QuotaSubject, QuotaTerms, QuotaVersion, RollbackRequest,
    Signed, apply, boosted, check_terms,
};
use crate::record::{CurrentQuotas, QuotaOwner, QuotaRecord, TableRecord, bucket_of};

/// What to write for a change, and what it changes.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Nothing: the quota says that already.
    pub(crate) write: Option<Write>,
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
        (QuotaMode::OnDemand, Basis::OnDemand(rate)) => terms = terms.at_rate(rate),
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
            terms: QuotaTerms { mode: new.mode, ..present.lasting_terms().clone().at_rate(new.rate) },
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
