//! Clients that call an endpoint and write down what they were told.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use units::Timestamp;

use super::history::{Call, Fate, History, Moment, State, What};
use super::plan::Asked;
use super::told::{Told, shown};
use crate::engine::Client;

/// After an error, so that an endpoint that is away is not called in a tight loop.
const PAUSE: Duration = Duration::from_millis(20);

/// Calls kept per run: 40 bytes each in memory, so 800 MB.
const MOST_CALLS: u64 = 20_000_000;

/// Different errors that are counted by name.
const MOST_ERRORS: usize = 32;

/// What all clients of a run share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) table: String,
    pub(super) keys: Vec<String>,
    pub(super) endpoints: Vec<String>,
    /// Whether the service says what a failed condition found.
    tells_found: bool,
    began: Timestamp,
    /// By key: the value that was seen last; 0: none.
    last_seen: Vec<AtomicU64>,
    pub(super) tally: Tally,
}

/// Counts as the run goes on.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) reads: AtomicU64,
    pub(super) writes: AtomicU64,
    pub(super) unknown: AtomicU64,
    /// By name.
    errors: Mutex<BTreeMap<String, u64>>,
}

impl Shared {
    pub(super) fn new(table: &str, keys: Vec<String>, endpoints: Vec<String>, tells_found: bool) -> Self {
        Self {
            table: table.to_owned(),
            last_seen: keys.iter().map(|_| AtomicU64::new(0)).collect(),
            keys,
            endpoints,
            tells_found,
            began: wire::clock::now(),
            tally: Tally::default(),
        }
    }

    /// Moments begin at 1: what was there before has 0.
    fn now(&self) -> Moment {
        1 + u64::try_from(wire::clock::now().since(self.began).as_nanos()).unwrap_or(Moment::MAX - 1)
    }

    fn last_seen(&self, key: u32) -> State {
        match self.last_seen[key as usize].load(Ordering::Relaxed) {
            0 => None,
            value => Some(value),
        }
    }

    fn see(&self, key: u32, state: State) {
        self.last_seen[key as usize].store(state.unwrap_or(0), Ordering::Relaxed);
    }
}

impl Tally {
    pub(super) fn calls(&self) -> u64 {
        self.reads.load(Ordering::Relaxed) + self.writes.load(Ordering::Relaxed)
    }

    /// Errors by name.
    pub(super) fn errors(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        self.errors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, asked: Asked, told: &Told) {
        let of_kind = if matches!(asked, Asked::Read { .. }) { &self.reads } else { &self.writes };
        of_kind.fetch_add(1, Ordering::Relaxed);
        if matches!(told.what, Some(What::Write { fate: Fate::Unknown, .. })) {
            self.unknown.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(error) = &told.error {
            let mut errors = self.errors();
            let name =
                if errors.len() < MOST_ERRORS || errors.contains_key(error) { error } else { "others" };
            *errors.entry(name.to_owned()).or_default() += 1;
        }
    }
}

/// One client.
pub(super) struct Recorder {
    pub(super) shared: Arc<Shared>,
    /// From 1: values carry it.
    pub(super) number: u32,
    pub(super) endpoint: u16,
    pub(super) client: Client,
    pub(super) calls: Vec<Call>,
}

impl Recorder {
    /// Calls random keys until `stop`. `pace`: how long from one call's begin to the next one's.
    pub(super) async fn record(
        mut self,
        seed: u64,
        pace: Option<Duration>,
        stop: CancellationToken,
    ) -> Vec<Call> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut due = pace.map(|pace| {
            let mut due = tokio::time::interval(pace);
            // After a pause of the service the rate goes on as before; it is not made up for.
            due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            due
        });
        let mut written = 0;
        while !stop.is_cancelled() && self.shared.tally.calls() < MOST_CALLS {
            if let Some(due) = &mut due
                && stop.run_until_cancelled(due.tick()).await.is_none()
            {
                break;
            }
            let keys = u32::try_from(self.shared.keys.len()).expect("there are at most 2^32 keys");
            let key = rng.random_range(0..keys);
            written += 1;
            let value = u64::from(self.number) << 32 | written;
            let asked = Asked::next(&mut rng, key, self.shared.last_seen(key), value);
            if !self.call(key, asked).await {
                tokio::time::sleep(PAUSE).await;
            }
        }
        self.calls
    }

    /// Calls, and writes down what was told; whether it was answered without an error.
    async fn call(&mut self, key: u32, asked: Asked) -> bool {
        let (operation, body) = asked.request(&self.shared.table, &self.shared.keys[key as usize]);
        let body = serde_json::to_vec(&body).expect("a JSON value can be written");
        let began = self.shared.now();
        let answer = self.client.call(operation, body.into()).await;
        let ended = self.shared.now();
        let told = Told::of(asked, &answer, self.shared.tells_found);
        self.shared.tally.count(asked, &told);
        if let Some(what) = told.what {
            if let Some(state) = shown(&what) {
                self.shared.see(key, state);
            }
            let (endpoint, client) = (self.endpoint, self.number);
            self.calls.push(Call { key, endpoint, client, began, ended, what });
        }
        told.error.is_none()
    }

    /// Reads each of these keys strongly, trying until it is answered or `stop`.
    async fn read_all(mut self, keys: Vec<u32>, stop: CancellationToken) -> Vec<Call> {
        for key in keys {
            while !stop.is_cancelled() && !self.call(key, Asked::final_read()).await {
                tokio::time::sleep(PAUSE).await;
            }
        }
        self.calls
    }
}

/// Runs all clients until `stop`.
pub(super) async fn record(
    recorders: Vec<Recorder>,
    seed: u64,
    pace: Option<Duration>,
    stop: &CancellationToken,
) -> Vec<Call> {
    let mut running = JoinSet::new();
    for recorder in recorders {
        let seed = seed.wrapping_mul(1_000_003).wrapping_add(recorder.number.into());
        running.spawn(recorder.record(seed, pace, stop.clone()));
    }
    running.join_all().await.into_iter().flatten().collect()
}

/// Reads every key strongly at the end: each client its part of them, until all are answered or `stop`.
pub(super) async fn read_all(recorders: Vec<Recorder>, stop: &CancellationToken) -> Vec<Call> {
    let mut running = JoinSet::new();
    let of = recorders.len();
    for (part, recorder) in recorders.into_iter().enumerate() {
        let keys = (0_u32..).zip(&recorder.shared.keys).map(|(key, _)| key).skip(part).step_by(of).collect();
        running.spawn(recorder.read_all(keys, stop.clone()));
    }
    running.join_all().await.into_iter().flatten().collect()
}

impl Shared {
    /// The history of all that was recorded.
    pub(super) fn history(&self, calls: Vec<Call>) -> History {
        History { keys: self.keys.clone(), endpoints: self.endpoints.clone(), calls }
    }
}
