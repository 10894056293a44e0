//! Creates and fills tables before a run, and says what it does.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::args::PreparationArgs;
use super::call::{CallFailure, call};
use super::failure::Failure;
use super::session::Session;
use crate::engine::Client;
use crate::preparation::{
    Description, Found, Loaded, Permission, Plan, Wanted, create_table, filling, plan, read_marker, wanted,
    write_marker,
};
use crate::spec::RunSpec;
use crate::workload::RequestSource;

/// Batches in flight while a table is filled.
const FILLERS: usize = 16;
/// How long a new table may take to become active.
const ACTIVE_WITHIN: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// The pause after a first refusal for capacity; it doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Without any progress for so many pauses of the longest kind, filling has failed.
const MOST_TRIES: u32 = 60;
const SHOW_EVERY: Duration = Duration::from_millis(500);

/// What may be done, and how.
#[derive(Debug, Clone, Copy)]
pub(super) struct Preparing {
    pub permission: Permission,
    pub provisioned: Option<(u64, u64)>,
    /// Whether to say what is done.
    pub quiet: bool,
}

impl Preparing {
    /// By these flags; `own`: the table is `weir load`'s own, and nobody has to ask for it.
    pub(super) const fn of(args: &PreparationArgs, own: bool, quiet: bool) -> Self {
        let permission = match (args.into_existing, args.prepare || own) {
            (true, _) => Permission::Fill,
            (false, true) => Permission::Prepare,
            (false, false) => Permission::Use,
        };
        Self { permission, provisioned: args.provisioned, quiet }
    }

    fn say(&self, text: &str) {
        if !self.quiet {
            eprintln!("{text}");
        }
    }
}

/// Makes every table of a run ready, or fails and says why.
pub(super) async fn prepare(
    session: &Session,
    spec: &RunSpec,
    how: Preparing,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    for wanted in wanted(spec).map_err(anyhow::Error::from)? {
        let stopped = || Failure::Stopped(format!("stopped while `{}` was being prepared", wanted.table));
        let preparation = Preparation { session, spec, wanted: &wanted, how };
        stop.run_until_cancelled(preparation.run()).await.ok_or_else(stopped)??;
    }
    Ok(())
}

struct Preparation<'a> {
    session: &'a Session,
    spec: &'a RunSpec,
    wanted: &'a Wanted,
    how: Preparing,
}

impl Preparation<'_> {
    async fn run(&self) -> Result<(), Failure> {
        let mut client = self.client(0)?;
        let found = self.find(&mut client).await?;
        let plan = plan(self.wanted, &found, self.how.permission, self.spec).map_err(anyhow::Error::from)?;
        let Wanted { table, keys, item_size, .. } = self.wanted;
        match plan {
            Plan::Ready => return Ok(()),
            Plan::Create => {
                let capacity = match self.how.provisioned {
                    Some((read, write)) => format!("{read} read and {write} write capacity units"),
                    None => "on demand".to_owned(),
                };
                self.how.say(&format!("table {table}: not there; creating it ({capacity})"));
                self.create(&mut client).await?;
            }
            Plan::Fill { .. } => {}
        }
        self.how.say(&format!("table {table}: loading {} items of {item_size} bytes", keys.keys));
        if plan != (Plan::Fill { ours: false }) {
            // Until all are there it says that none are: a load that is broken off begins anew.
            self.patiently(&mut client, "PutItem", &write_marker(self.wanted, 0)).await?;
        }
        self.fill().await?;
        if plan != (Plan::Fill { ours: false }) {
            self.patiently(&mut client, "PutItem", &write_marker(self.wanted, keys.keys)).await?;
        }
        Ok(())
    }

    /// Another endpoint for each, if there are several.
    fn client(&self, number: usize) -> Result<Client, Failure> {
        let endpoint = &self.spec.endpoints[number % self.spec.endpoints.len()];
        self.session.client(endpoint, &self.spec.region, self.wanted.profile.as_deref(), self.spec.protocol)
    }

    /// What is there. A table that is being created is waited for.
    async fn find(&self, client: &mut Client) -> Result<Found, Failure> {
        let found = self.describe(client).await?;
        let Found::Table(mut description) = found else { return Ok(found) };
        if !description.is_active() {
            description = self.await_active(client).await?;
        }
        if self.how.permission == Permission::Use {
            return Ok(Found::Table(description));
        }
        // Any other form has no such key; `plan` says so.
        let marker = call(client, "GetItem", bytes(&read_marker(self.wanted))).await;
        description.loaded = marker.ok().as_ref().and_then(Loaded::of_answer);
        Ok(Found::Table(description))
    }

    async fn describe(&self, client: &mut Client) -> Result<Found, Failure> {
        let body = json!({ "TableName": self.wanted.table });
        match call(client, "DescribeTable", bytes(&body)).await {
            Err(CallFailure::NoTable) => Ok(Found::Missing),
            Err(failure) => Err(self.failed("cannot look at it", &failure)),
            Ok(answer) => match Description::of_answer(&answer) {
                Some(description) => Ok(Found::Table(description)),
                None => Err(self
                    .failed("cannot look at it", &CallFailure::Refused("DescribeTable says nothing".into()))),
            },
        }
    }

    async fn create(&self, client: &mut Client) -> Result<(), Failure> {
        let body = create_table(self.wanted, self.how.provisioned);
        let answer = call(client, "CreateTable", bytes(&body)).await;
        answer.map_err(|failure| self.failed("cannot create it", &failure))?;
        self.await_active(client).await.map(|_| ())
    }

    async fn await_active(&self, client: &mut Client) -> Result<Description, Failure> {
        let active = async {
            loop {
                if let Found::Table(description) = self.describe(client).await?
                    && description.is_active()
                {
                    return Ok(description);
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        let waited = tokio::time::timeout(ACTIVE_WITHIN, active).await;
        waited.unwrap_or_else(|_| {
            let why = CallFailure::Unavailable(format!("it did not become active within {ACTIVE_WITHIN:?}"));
            Err(self.failed("cannot use it", &why))
        })
    }

    /// Writes every key once, in batches, from several tasks.
    async fn fill(&self) -> Result<(), Failure> {
        let (stream, requests) = filling(self.wanted);
        let work = Arc::new(Work {
            source: Mutex::new(RequestSource::new(&stream, false, self.spec.seed, 0, 1)),
            left: AtomicU64::new(requests),
            done: AtomicU64::new(0),
        });
        let mut fillers = JoinSet::new();
        for number in 0..FILLERS {
            fillers.spawn(fill(self.client(number)?, Arc::clone(&work)));
        }
        let mut shown = tokio::time::interval(SHOW_EVERY);
        shown.tick().await;
        loop {
            tokio::select! {
                ended = fillers.join_next() => match ended {
                    None => break,
                    Some(Ok(Ok(()))) => {}
                    Some(Ok(Err(failure))) => return Err(self.failed("cannot fill it", &failure)),
                    Some(Err(error)) => return Err(Failure::Other(error.into())),
                },
                _ = shown.tick() => self.show(&work, requests),
            }
        }
        self.how.say(&format!(
            "{}table {}: ready",
            if self.renews() { "\r\x1b[K" } else { "" },
            self.wanted.table
        ));
        Ok(())
    }

    /// Whether a line that renews itself can be seen.
    fn renews(&self) -> bool {
        !self.how.quiet && std::io::stderr().is_terminal()
    }

    fn show(&self, work: &Work, requests: u64) {
        if !self.renews() {
            return;
        }
        let keys = u128::from(self.wanted.keys.keys);
        let items = keys * u128::from(work.done.load(Ordering::Relaxed)) / u128::from(requests.max(1));
        eprint!("\rtable {}: {items} of {keys} items", self.wanted.table);
        // Progress that does not appear is no reason to fail.
        _ = std::io::stderr().flush();
    }

    /// Calls until it is not refused for capacity.
    async fn patiently(&self, client: &mut Client, operation: &str, body: &Value) -> Result<Value, Failure> {
        let answer = patiently(client, operation, bytes(body)).await;
        answer.map_err(|failure| self.failed("cannot write into it", &failure))
    }

    fn failed(&self, what: &str, failure: &CallFailure) -> Failure {
        Failure::Other(anyhow::anyhow!("table `{}`: {what}: {failure}", self.wanted.table))
    }
}

/// What fillers share.
struct Work {
    source: Mutex<RequestSource>,
    left: AtomicU64,
    done: AtomicU64,
}

impl Work {
    /// The next batch; none when all are taken.
    fn next(&self) -> Option<Vec<u8>> {
        let take = |left: u64| left.checked_sub(1);
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).ok()?;
        // A source is whole whoever held it.
        let mut source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
        Some(source.next(Duration::ZERO).body.to_vec())
    }
}

async fn fill(mut client: Client, work: Arc<Work>) -> Result<(), CallFailure> {
    while let Some(mut body) = work.next() {
        let mut pause = FIRST_PAUSE;
        for _ in 0..MOST_TRIES {
            let answer = patiently(&mut client, "BatchWriteItem", body).await?;
            let rest = &answer["UnprocessedItems"];
            if rest.as_object().is_none_or(serde_json::Map::is_empty) {
                body = Vec::new();
                break;
            }
            body = bytes(&json!({ "RequestItems": rest }));
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        if !body.is_empty() {
            return Err(CallFailure::Throttled(
                "it takes next to no writes; raise its write capacity".into(),
            ));
        }
        work.done.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Calls until it is not refused for capacity, or for too long.
async fn patiently(client: &mut Client, operation: &str, body: Vec<u8>) -> Result<Value, CallFailure> {
    let mut pause = FIRST_PAUSE;
    for _ in 1..MOST_TRIES {
        match call(client, operation, body.clone()).await {
            Err(failure) if failure.may_pass() => tokio::time::sleep(pause).await,
            settled => return settled,
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    call(client, operation, body).await
}

fn bytes(body: &Value) -> Vec<u8> {
    body.to_string().into_bytes()
}
