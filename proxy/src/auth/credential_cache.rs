//! Credentials as the proxy holds them: served at once, refreshed in the background as they are used,
//! kept through an outage of their source; a revocation is seen within a minute.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use moka::sync::Cache;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use units::Timestamp;

use super::authorization::Authorization;
use super::signature::SigningKey;
use super::{Credential, CredentialSource, SourceUnavailable};

/// A credential older than this is refreshed in the background when it is used.
const REFRESH_AFTER: Duration = Duration::from_secs(15);

/// A credential older than this is confirmed before it is used: with [`CONFIRM_WITHIN`] it keeps the
/// promise that a revocation is seen within 60 s.
const CONFIRM_AFTER: Duration = Duration::from_secs(55);

/// How long a request waits for that confirmation before it goes on with what is known.
const CONFIRM_WITHIN: Duration = Duration::from_millis(500);

/// After a failed confirmation nobody waits again for so long.
const OUTAGE_PAUSE: Duration = Duration::from_secs(2);

/// How long a credential outlives an outage of the source.
const OUTLIVES_OUTAGE: Duration = Duration::from_secs(3600);

/// How long a request with an unseen key waits for the source.
const FETCH_WITHIN: Duration = Duration::from_secs(2);

/// How long "no such key" is remembered: short, since a new key must work soon.
const UNKNOWN_FOR: Duration = Duration::from_secs(3);

/// Unknown keys remembered: at 200 B each, 2 MB.
const MAX_UNKNOWN: u64 = 10_000;

/// Credentials held: at 1 KB each, 10 MB.
const MAX_KNOWN: usize = 10_000;

/// Fetches at a time, so that strangers' keys cannot flood the source.
const MAX_FETCHES: usize = 16;

/// Derived keys per credential: dates (two around midnight) times regions.
const MAX_DERIVED: usize = 8;

type Snapshot = HashMap<Box<str>, Arc<Known>, foldhash::fast::RandomState>;

/// One credential, and the signing keys derived from it.
pub(super) struct Known {
    pub(super) credential: Credential,
    derived: ArcSwap<Vec<Derived>>,
    /// `Timestamp` of the last word from the source.
    confirmed: AtomicU64,
    /// `Timestamp` of the last failure to get one.
    failed: AtomicU64,
    refreshing: AtomicBool,
}

#[derive(Clone)]
struct Derived {
    date: Box<str>,
    region: Box<str>,
    key: SigningKey,
}

impl Known {
    pub(super) fn new(credential: Credential, now: Timestamp) -> Self {
        Self {
            credential,
            derived: ArcSwap::default(),
            confirmed: AtomicU64::new(now.as_nanos()),
            failed: AtomicU64::new(0),
            refreshing: AtomicBool::new(false),
        }
    }

    /// The signing key of the scope, derived once.
    pub(super) fn signing_key(&self, scope: &Authorization<'_>) -> SigningKey {
        let derived = self.derived.load();
        let found = derived.iter().find(|d| *d.date == *scope.date && *d.region == *scope.region);
        if let Some(found) = found {
            return found.key.clone();
        }
        let key = SigningKey::derive(&self.credential.secret_key, scope.date, scope.region);
        let mut more = Vec::clone(&derived);
        // The oldest goes: yesterday's, or one of a client that tries out regions.
        if more.len() == MAX_DERIVED {
            more.remove(0);
        }
        more.push(Derived { date: scope.date.into(), region: scope.region.into(), key: key.clone() });
        // Two requests may do this at once; one of their keys is then derived again.
        self.derived.store(Arc::new(more));
        key
    }

    fn age(&self, now: Timestamp) -> Duration {
        now.since(Timestamp::from_nanos(self.confirmed.load(Ordering::Relaxed)))
    }

    fn failed_lately(&self, now: Timestamp) -> bool {
        let failed = self.failed.load(Ordering::Relaxed);
        failed != 0 && now.since(Timestamp::from_nanos(failed)) < OUTAGE_PAUSE
    }
}

/// All the credentials that were asked for.
pub(super) struct CredentialCache<S> {
    shared: Arc<Shared<S>>,
}

struct Shared<S> {
    source: S,
    known: ArcSwap<Snapshot>,
    /// Held while a new snapshot is made.
    change: Mutex<()>,
    /// Access key → when the source said that there is none.
    unknown: Cache<Box<str>, Timestamp>,
    fetches: Semaphore,
}

impl<S: CredentialSource> CredentialCache<S> {
    pub(super) fn new(source: S) -> Self {
        Self {
            shared: Arc::new(Shared {
                source,
                known: ArcSwap::default(),
                change: Mutex::new(()),
                unknown: Cache::new(MAX_UNKNOWN),
                fetches: Semaphore::new(MAX_FETCHES),
            }),
        }
    }

    /// The credential of `access_key`; none: there is no such key.
    pub(super) async fn get(
        &self,
        access_key: &str,
        now: Timestamp,
    ) -> Result<Option<Arc<Known>>, SourceUnavailable> {
        let held = self.shared.known.load().get(access_key).map(Arc::clone);
        if let Some(known) = held {
            let age = known.age(now);
            if age < REFRESH_AFTER {
                return Ok(Some(known));
            }
            if age < CONFIRM_AFTER {
                self.refresh_in_background(access_key, &known, now);
                return Ok(Some(known));
            }
            return self.confirm(access_key, known, now).await;
        }
        let refused = self.shared.unknown.get(access_key);
        if refused.is_some_and(|since| now.since(since) < UNKNOWN_FOR) {
            return Ok(None);
        }
        tokio::time::timeout(FETCH_WITHIN, self.shared.fetch(access_key, now))
            .await
            .unwrap_or(Err(SourceUnavailable))
    }

    fn refresh_in_background(&self, access_key: &str, known: &Arc<Known>, now: Timestamp) {
        if known.failed_lately(now) || known.refreshing.swap(true, Ordering::AcqRel) {
            return;
        }
        let (shared, known) = (Arc::clone(&self.shared), Arc::clone(known));
        let access_key: Box<str> = access_key.into();
        // Bounded by FETCH_WITHIN, and one per credential: it needs no one to join it.
        tokio::spawn(async move {
            let fetched = tokio::time::timeout(FETCH_WITHIN, shared.fetch(&access_key, now)).await;
            if !matches!(fetched, Ok(Ok(_))) {
                known.failed.store(now.as_nanos(), Ordering::Relaxed);
            }
            known.refreshing.store(false, Ordering::Release);
        });
    }

    /// Asks the source before `known` is used again; an outage does not take it away.
    async fn confirm(
        &self,
        access_key: &str,
        known: Arc<Known>,
        now: Timestamp,
    ) -> Result<Option<Arc<Known>>, SourceUnavailable> {
        if !known.failed_lately(now) {
            let fetch = self.shared.fetch(access_key, now);
            if let Ok(Ok(fetched)) = tokio::time::timeout(CONFIRM_WITHIN, fetch).await {
                return Ok(fetched);
            }
            known.failed.store(now.as_nanos(), Ordering::Relaxed);
        }
        if known.age(now) < OUTLIVES_OUTAGE {
            return Ok(Some(known));
        }
        Err(SourceUnavailable)
    }
}

impl<S: CredentialSource> Shared<S> {
    /// Asks the source, and remembers its answer.
    async fn fetch(&self, access_key: &str, now: Timestamp) -> Result<Option<Arc<Known>>, SourceUnavailable> {
        let _turn = self.fetches.acquire().await.expect("the semaphore is never closed");
        let fetched = self.source.fetch(access_key).await?;
        let _change = self.change.lock();
        let snapshot = self.known.load();
        let held = snapshot.get(access_key);
        let Some(credential) = fetched else {
            self.unknown.insert(access_key.into(), now);
            if held.is_some() {
                let mut fewer = Snapshot::clone(&snapshot);
                fewer.remove(access_key);
                self.known.store(Arc::new(fewer));
            }
            return Ok(None);
        };
        // The same credential keeps its derived keys.
        if let Some(held) = held.filter(|held| held.credential == credential) {
            held.confirmed.fetch_max(now.as_nanos(), Ordering::Relaxed);
            return Ok(Some(Arc::clone(held)));
        }
        let known = Arc::new(Known::new(credential, now));
        let mut more = Snapshot::clone(&snapshot);
        if more.len() >= MAX_KNOWN {
            evict_oldest(&mut more);
        }
        more.insert(access_key.into(), Arc::clone(&known));
        self.known.store(Arc::new(more));
        Ok(Some(known))
    }
}

/// Drops the credential that was confirmed, and so used, longest ago.
fn evict_oldest(snapshot: &mut Snapshot) {
    let oldest = snapshot
        .iter()
        .min_by_key(|(_, known)| known.confirmed.load(Ordering::Relaxed))
        .map(|(k, _)| k.clone());
    if let Some(oldest) = oldest {
        snapshot.remove(&oldest);
    }
}
