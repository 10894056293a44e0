//! `weir load verify`: calls an endpoint, writes down what it is told, and checks it.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::args::VerifyArgs;
use super::checker::{Findings, check};
use super::history::{History, What};
use super::plan::Asked;
use super::recorder::{Recorder, Shared, read_all, record};
use super::summary::summary;
use super::told::Told;
use crate::credentials::Credentials;
use crate::engine::Client;
use crate::spec::Protocol;

/// How long a new table may take to become active, and endpoints to be there.
const READY_WITHIN: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(200);
const SHOW_EVERY: Duration = Duration::from_secs(1);
/// So often a probe is sent that is not answered.
const MOST_PROBES: u32 = 10;

/// Where calls go, and as whom.
#[derive(Debug, Clone)]
pub struct Target {
    /// At least one.
    pub endpoints: Vec<String>,
    /// In signatures.
    pub region: String,
    /// Who signs.
    pub credentials: Credentials,
}

/// Calls the target as `args` say until they are over or `stop`, prints what came of it, and returns it.
///
/// # Errors
/// When the table cannot be made ready, or the history's file not be written.
pub async fn run(target: &Target, args: &VerifyArgs, stop: &CancellationToken) -> anyhow::Result<Findings> {
    prepare(target, args, stop).await?;
    let tells_found = tells_found(target, args).await?;
    if !tells_found && !args.quiet {
        eprintln!("the service does not say what a failed condition found: such calls show less");
    }
    let history = call(target, args, tells_found, stop).await?;
    if let Some(path) = &args.history {
        write_history(&history, path).with_context(|| format!("cannot write {}", path.display()))?;
    }
    report(&history)
}

/// Checks a history that was written before, and prints what came of it.
///
/// # Errors
/// When it cannot be read.
pub fn check_file(path: &Path) -> anyhow::Result<Findings> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let history = History::read(BufReader::new(file)).with_context(|| format!("{}", path.display()))?;
    report(&history)
}

fn report(history: &History) -> anyhow::Result<Findings> {
    let began = wire::clock::now();
    let findings = check(history);
    let took = wire::clock::now().since(began);
    write!(std::io::stdout(), "{}", summary(history, &findings, took))?;
    Ok(findings)
}

fn write_history(history: &History, path: &Path) -> std::io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    history.write(&mut file)?;
    file.flush()
}

async fn call(
    target: &Target,
    args: &VerifyArgs,
    tells_found: bool,
    stop: &CancellationToken,
) -> anyhow::Result<History> {
    let run = wire::clock::unix_now().get();
    let keys = (0..args.keys).map(|key| format!("verify-{run:x}-{key}")).collect();
    let shared = Arc::new(Shared::new(&args.table, keys, target.endpoints.clone(), tells_found));
    let pace = args.rate.map(|rate| Duration::from_secs(1) * args.clients / rate);
    let over = stop.child_token();
    let watching = tokio::spawn(watch(Arc::clone(&shared), args.duration, args.quiet, over.clone()));
    let mut calls = record(recorders(target, args, &shared, 0)?, args.seed, pace, &over).await;
    over.cancel();
    watching.await.context("the progress display failed")?;
    if !args.quiet {
        eprintln!("reading all keys");
    }
    // Also when the run was stopped: without these reads nothing is known of what was lost.
    let settled = CancellationToken::new();
    let reading = read_all(recorders(target, args, &shared, args.clients)?, &settled);
    let mut reading = std::pin::pin!(reading);
    calls.extend(match tokio::time::timeout(args.settle, &mut reading).await {
        Ok(calls) => calls,
        Err(_elapsed) => {
            settled.cancel();
            reading.await
        }
    });
    show_errors(&shared);
    Ok(shared.history(calls))
}

fn recorders(
    target: &Target,
    args: &VerifyArgs,
    shared: &Arc<Shared>,
    after: u32,
) -> anyhow::Result<Vec<Recorder>> {
    (1..=args.clients)
        .map(|number| {
            let endpoint = number as usize % target.endpoints.len();
            Ok(Recorder {
                shared: Arc::clone(shared),
                number: after + number,
                endpoint: u16::try_from(endpoint).context("there are too many endpoints")?,
                client: client(target, endpoint)?.with_timeout(args.timeout),
                calls: Vec::new(),
            })
        })
        .collect()
}

fn client(target: &Target, endpoint: usize) -> anyhow::Result<Client> {
    let endpoint = &target.endpoints[endpoint];
    let credentials = target.credentials.clone();
    Client::new(endpoint, &target.region, credentials, Protocol::Http1).map_err(anyhow::Error::from)
}

/// Ends the run when it is over, and says how it goes until then.
async fn watch(shared: Arc<Shared>, duration: Duration, quiet: bool, over: CancellationToken) {
    let began = wire::clock::now();
    let mut before = 0;
    while wire::clock::now().since(began) < duration {
        let left = duration.saturating_sub(wire::clock::now().since(began));
        if over.run_until_cancelled(tokio::time::sleep(SHOW_EVERY.min(left))).await.is_none() {
            return;
        }
        if quiet {
            continue;
        }
        let tally = &shared.tally;
        let calls = tally.calls();
        let errors: u64 = tally.errors().values().sum();
        let unknown = tally.unknown.load(std::sync::atomic::Ordering::Relaxed);
        let elapsed = wire::clock::now().since(began).as_secs_f64();
        eprintln!(
            "{elapsed:>6.0} s  {:>7} calls/s  {calls:>9} calls  {errors:>6} errors  {unknown:>5} writes in doubt",
            calls - before
        );
        before = calls;
    }
    over.cancel();
}

fn show_errors(shared: &Shared) {
    for (name, count) in &*shared.tally.errors() {
        eprintln!("{count:>8} × {name}");
    }
}

/// Creates the table if it is missing, and waits until it can be used.
async fn prepare(target: &Target, args: &VerifyArgs, stop: &CancellationToken) -> anyhow::Result<()> {
    let mut client = client(target, 0)?;
    let until = wire::clock::now() + READY_WITHIN;
    let create = json!({
        "TableName": args.table,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{ "AttributeName": "pk", "AttributeType": "S" }],
        "KeySchema": [{ "AttributeName": "pk", "KeyType": "HASH" }],
    });
    let describe = json!({ "TableName": args.table });
    loop {
        let (status, answer) = ask(&mut client, "DescribeTable", &describe).await;
        let kind = answer["__type"].as_str().unwrap_or_default().to_owned();
        if status == 200 {
            if answer["Table"]["TableStatus"] == "ACTIVE" {
                return keys_suit(&answer["Table"], &args.table);
            }
        } else if kind.ends_with("ResourceNotFoundException") {
            ask(&mut client, "CreateTable", &create).await;
        } else if (400..500).contains(&status) {
            anyhow::bail!("the endpoint refuses: {kind}: {}", answer["message"].as_str().unwrap_or_default());
        }
        if wire::clock::now() > until {
            let endpoint = &target.endpoints[0];
            anyhow::bail!("table {} is not ready at {endpoint} after {READY_WITHIN:?}: {answer}", args.table);
        }
        if stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_none() {
            anyhow::bail!("stopped before the first call");
        }
    }
}

/// Whether the service says what a failed condition found, of each kind of write: without that, an answer that shows
/// no item does not say that there was none.
async fn tells_found(target: &Target, args: &VerifyArgs) -> anyhow::Result<bool> {
    const THERE: Option<u64> = Some(2);
    let mut client = client(target, 0)?;
    let key = format!("verify-{:x}-probe", wire::clock::unix_now().get());
    let put = Asked::Write { new: THERE, as_update: false, condition: None, returns_old: false };
    let refused =
        |new, as_update| Asked::Write { new, as_update, condition: Some(Some(1)), returns_old: false };
    if probe(&mut client, put, args, &key).await.is_none() {
        return Ok(false);
    }
    for asked in [refused(Some(3), false), refused(Some(3), true), refused(None, false)] {
        let told = probe(&mut client, asked, args, &key).await;
        if told != Some(What::Refused { expected: Some(1), found: Some(THERE) }) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What a call was told, once it is answered without an error.
async fn probe(client: &mut Client, asked: Asked, args: &VerifyArgs, key: &str) -> Option<What> {
    let (operation, body) = asked.request(&args.table, key);
    let body = bytes::Bytes::from(serde_json::to_vec(&body).expect("a JSON value can be written"));
    for _ in 0..MOST_PROBES {
        let told = Told::of(asked, &client.call(operation, body.clone()).await, false);
        if told.error.is_none() {
            return told.what;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    None
}

fn keys_suit(table: &Value, name: &str) -> anyhow::Result<()> {
    let keys = table["KeySchema"].as_array().map_or(0, Vec::len);
    anyhow::ensure!(
        keys == 1 && table["KeySchema"][0]["AttributeName"] == "pk",
        "table {name} has other keys than a string `pk` alone; name another with --table"
    );
    Ok(())
}

/// A status and a body; 0 when there is no answer, with why.
async fn ask(client: &mut Client, operation: &str, body: &Value) -> (u16, Value) {
    let body = serde_json::to_vec(body).expect("a JSON value can be written");
    match client.call(operation, body.into()).await {
        Ok(answer) => (answer.status, serde_json::from_slice(&answer.body).unwrap_or_default()),
        Err(error) => (0, Value::String(error.to_string())),
    }
}
