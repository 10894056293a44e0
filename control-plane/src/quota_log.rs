//! What happened to quotas lately, for who watches them. A watcher that missed more than is kept, or that
//! followed another leader, gets everything in force anew.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use units::Term;

use crate::catalog::Catalog;
use crate::quota::{QuotaEvent, QuotaKind, QuotaSubject, WatchAnswer};
use crate::quota_command;
use crate::record::{QuotaOwner, TableRecord};

/// Events that are kept: a watcher may miss as many. Each takes about 500 bytes.
const MAX_EVENTS: usize = 1024;
/// A revision's bits below its term's: each term has room for 10¹² events.
const TERM_SHIFT: u32 = 40;
/// How long a watcher may wait at once.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// The log.
#[derive(Debug, Default)]
pub(crate) struct QuotaLog {
    inner: Mutex<Inner>,
    /// The newest revision.
    newest: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Inner {
    revision: u64,
    /// What followed this revision is in `events`.
    floor: u64,
    events: VecDeque<(u64, QuotaEvent)>,
    /// By table number: name, and its quotas' versions.
    tables: BTreeMap<u64, (String, [u64; 2])>,
    /// Versions of the account's and the principals' quotas, by record.
    others: BTreeMap<String, u64>,
}

impl QuotaLog {
    /// Notes what `catalog` says otherwise than it did.
    pub(crate) fn note(&self, term: Term, catalog: &Catalog) {
        let mut inner = self.inner.lock();
        if inner.revision >> TERM_SHIFT != term.get() {
            let revision = term.get() << TERM_SHIFT;
            *inner = Inner { revision, floor: revision, ..Inner::default() };
            // What was in force when the term began is no event: watchers begin with all of it.
            drop(inner.changed(catalog));
        } else {
            for event in inner.changed(catalog) {
                inner.push(event);
            }
        }
        let revision = inner.revision;
        drop(inner);
        self.newest.send_if_modified(|newest| std::mem::replace(newest, revision) != revision);
    }

    /// What happened after `since`; waits up to `wait` until something has. None: ask for everything.
    pub(crate) async fn after(&self, since: u64, wait: Duration) -> Option<WatchAnswer> {
        let mut newest = self.newest.subscribe();
        let something = newest.wait_for(|newest| *newest != since);
        // Nothing within the time is an answer, too.
        let _nothing = tokio::time::timeout(wait.min(MAX_WAIT), something).await;
        let inner = self.inner.lock();
        if since < inner.floor || since > inner.revision {
            return None;
        }
        let later = inner.events.iter().filter(|(revision, _)| *revision > since);
        let changes = later.map(|(_, event)| event.clone()).collect();
        Some(WatchAnswer { revision: inner.revision, reset: false, changes })
    }

    /// The newest revision.
    pub(crate) fn revision(&self) -> u64 {
        self.inner.lock().revision
    }
}

impl Inner {
    fn push(&mut self, event: QuotaEvent) {
        self.revision += 1;
        self.events.push_back((self.revision, event));
        if self.events.len() > MAX_EVENTS
            && let Some((dropped, _)) = self.events.pop_front()
        {
            self.floor = dropped;
        }
    }

    /// What `catalog` says otherwise; remembers it.
    fn changed(&mut self, catalog: &Catalog) -> Vec<QuotaEvent> {
        let mut events = Vec::new();
        for table in catalog.tables.values() {
            let versions = versions(table);
            let known = self.tables.get(&table.descriptor.id).map(|(_, versions)| *versions);
            if known == Some(versions) {
                continue;
            }
            self.tables.insert(table.descriptor.id, (table.descriptor.name.clone(), versions));
            let before = known.unwrap_or_default();
            let states = quota_command::states_of_table(table).into_iter().zip(before);
            let new = states.filter(|(state, before)| state.current.version != *before);
            events.extend(new.map(|(state, _)| QuotaEvent::Changed(state)));
        }
        if self.tables.len() > catalog.tables.len() {
            let kept: std::collections::BTreeSet<u64> =
                catalog.tables.values().map(|table| table.descriptor.id).collect();
            let gone = self.tables.extract_if(.., |id, _| !kept.contains(id));
            events.extend(gone.map(|(_, (name, _))| QuotaEvent::Removed(QuotaSubject::Table(name))));
        }
        for record in catalog.quotas.values() {
            if matches!(record.owner, QuotaOwner::Table(_)) {
                continue;
            }
            let name = crate::record::QuotaRecord::name_of(&record.owner, record.kind);
            if self.others.insert(name, record.newest().version) != Some(record.newest().version) {
                events.extend(quota_command::state_of_record(record).map(QuotaEvent::Changed));
            }
        }
        events
    }
}

fn versions(table: &TableRecord) -> [u64; 2] {
    QuotaKind::ALL.map(|kind| table.quota(kind).version)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quota::{QuotaCause, QuotaMode, QuotaTerms, QuotaVersion};
    use crate::record::QuotaRecord;

    #[tokio::test]
    async fn a_watcher_hears_of_each_change_once() {
        let (log, mut catalog) = begun();
        let start = log.revision();
        note(&log, &mut catalog, 1);
        note(&log, &mut catalog, 2);

        let first = log.after(start, Duration::ZERO).await.unwrap();
        let second = log.after(first.revision, Duration::ZERO).await.unwrap();

        assert_eq!((first.changes.len(), second.changes.len()), (2, 0));
        assert_eq!(second.revision, first.revision);
    }

    #[tokio::test]
    async fn the_same_catalog_is_no_change() {
        let (log, mut catalog) = begun();
        note(&log, &mut catalog, 1);
        let revision = log.revision();
        log.note(Term::new(1), &catalog);
        assert_eq!(log.revision(), revision);
    }

    #[tokio::test]
    async fn who_missed_more_than_is_kept_begins_anew() {
        let (log, mut catalog) = begun();
        let start = log.revision();
        for version in 1..=MAX_EVENTS as u64 {
            note(&log, &mut catalog, version);
        }
        assert_eq!(log.after(start, Duration::ZERO).await.unwrap().changes.len(), MAX_EVENTS);
        note(&log, &mut catalog, MAX_EVENTS as u64 + 1);
        assert_eq!(log.after(start, Duration::ZERO).await, None);
        let missed = log.after(start + 1, Duration::ZERO).await.unwrap();
        assert_eq!(missed.changes.len(), MAX_EVENTS);
    }

    #[tokio::test]
    async fn who_followed_another_leader_begins_anew() {
        let (log, mut catalog) = begun();
        note(&log, &mut catalog, 1);
        let of_first = log.revision();
        log.note(Term::new(2), &catalog);
        assert_eq!(log.after(of_first, Duration::ZERO).await, None);
        assert_eq!(log.after(log.revision() + 7, Duration::ZERO).await, None);
        let now = log.after(log.revision(), Duration::ZERO).await.unwrap();
        assert!(now.changes.is_empty());
    }

    fn begun() -> (QuotaLog, Catalog) {
        let (log, catalog) = (QuotaLog::default(), Catalog::default());
        log.note(Term::new(1), &catalog);
        (log, catalog)
    }

    fn note(log: &QuotaLog, catalog: &mut Catalog, version: u64) {
        let version = QuotaVersion {
            version,
            terms: QuotaTerms::of(QuotaMode::Operator, version),
            boost: None,
            cause: QuotaCause::Set,
            author: "ann".into(),
            reason: String::new(),
            at_ms: 0,
        };
        let (owner, kind) = (QuotaOwner::Account, QuotaKind::Read);
        catalog.put(1, QuotaRecord { owner, kind, versions: vec![version] });
        log.note(Term::new(1), catalog);
    }
}
