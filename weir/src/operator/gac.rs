//! `weir gac status|add|drain`: who owns which buckets, and how full they are.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use control_plane::quota::{QuotaState, QuotaSubject};
use control_plane::ring::{RingChange, RingStatus};
use gac_server::{BucketStatus, Inspection, ServerStatus, ShareStatus};
use serde::Serialize;

use super::args::{ChangeArgs, GacCommand};
use super::confirm::confirm;
use super::failure::Failure;
use super::figure;
use super::fleet::{Fleet, Reach, Tier};
use crate::admin::{RingAction, RingRequest};
use crate::cli::OutputFormat;
use crate::cluster;

/// A ring change is looked after so often …
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// … and so long: a hand-over takes less than a second, and what cannot be handed over ends with its lease.
const SETTLED_WITHIN: Duration = Duration::from_secs(30);

/// What the fleet's GAC servers say, as `-o json` prints it.
#[derive(Debug, Serialize)]
struct FleetStatus {
    /// Those that answered, by name.
    servers: BTreeMap<String, Inspection>,
    /// Those that did not: name → why.
    missing: BTreeMap<String, String>,
}

/// `weir gac …`.
pub(crate) async fn run(command: GacCommand) -> Result<(), Failure> {
    match command {
        GacCommand::Status { reach, table, limit } => status(&reach, table, limit).await,
        GacCommand::Add { reach, address, change } => {
            change_ring(&reach, &address, RingAction::Add, &change).await
        }
        GacCommand::Drain { reach, address, change } => {
            change_ring(&reach, &address, RingAction::Drain, &change).await
        }
    }
}

async fn status(reach: &Reach, table: Option<String>, limit: u32) -> Result<(), Failure> {
    let fleet = Fleet::find(reach).await?;
    let names = Names::of(&fleet).await;
    let path = match &table {
        Some(table) => {
            let buckets = names.buckets_of(&fleet, table).await?;
            format!("/gac/status?shares=true&buckets={}", buckets.join(","))
        }
        None => format!("/gac/status?limit={limit}"),
    };
    let answers = fleet.get_all::<Inspection>(Tier::Gac, &path).await?;
    let mut missing: BTreeMap<_, _> =
        answers.missing.into_iter().map(|(name, failure)| (name, failure.to_string())).collect();
    missing.extend(fleet.silent().iter().filter(|(name, _)| name.starts_with("gac-")).cloned());
    let servers = answers.given.into_iter().map(|(process, inspection)| (process.name, inspection)).collect();
    let seen = FleetStatus { servers, missing };
    match reach.output {
        OutputFormat::Json => figure::print(serde_json::to_string(&seen)?)?,
        OutputFormat::Table => figure::print(seen.shown(&names))?,
    }
    Ok(())
}

impl FleetStatus {
    fn shown(&self, names: &Names) -> String {
        let mut parts = vec![servers(&self.servers)];
        for (name, why) in &self.missing {
            parts.push(format!("! {name} is missing: {why}"));
        }
        if let Some(newest) = self.servers.values().map(|it| &it.server).max_by_key(|it| it.ring_epoch) {
            parts.push(match newest.ring_epoch {
                0 => "ring: none known yet".to_owned(),
                epoch => format!("ring {epoch}: {}", newest.ring.join(", ")),
            });
        }
        parts.extend(accounts(&self.servers));
        parts.push(buckets(&self.servers, names));
        for (server, inspection) in &self.servers {
            for bucket in inspection.buckets.iter().filter(|bucket| !bucket.shares.is_empty()) {
                parts.push(format!("{} at {server}\n{}", names.name(bucket), shares(bucket)));
            }
        }
        parts.join("\n\n")
    }
}

fn servers(servers: &BTreeMap<String, Inspection>) -> String {
    let mut table = figure::table(&[
        "SERVER",
        "ADDRESS",
        "STATE",
        ">RING",
        ">PROXIES",
        ">BUCKETS",
        ">UNTRACKED",
        ">LEASED",
        ">DIRECT",
        ">ENTRIES/S",
    ]);
    for (name, Inspection { server, .. }) in servers {
        table.add_row([
            name.clone(),
            server.address.clone(),
            state(server).to_owned(),
            server.ring_epoch.to_string(),
            server.fleet.to_string(),
            server.buckets.to_string(),
            server.modes.untracked.to_string(),
            server.modes.leased.to_string(),
            server.modes.direct.to_string(),
            server.entries_per_second.to_string(),
        ]);
    }
    figure::trimmed(&table)
}

/// One word for what matters most.
const fn state(server: &ServerStatus) -> &'static str {
    if server.frozen {
        "frozen"
    } else if server.drained {
        "drained"
    } else if server.handing_over > 0 || (!server.in_ring && server.ring_epoch > 0) {
        "draining"
    } else if server.learning {
        "learning"
    } else {
        "leasing"
    }
}

/// The account's quotas, where they are divided.
fn accounts(servers: &BTreeMap<String, Inspection>) -> Option<String> {
    let mut table = figure::table(&[
        "ACCOUNT",
        "DIVIDED AT",
        ">QUOTA/S",
        ">VERSION",
        ">ASSIGNED/S",
        ">BANK",
        ">BURST",
        ">TABLES",
    ]);
    for (server, inspection) in servers {
        for account in &inspection.server.accounts {
            table.add_row([
                account.kind.clone(),
                server.clone(),
                figure::milli(account.quota.rate),
                account.quota.version.to_string(),
                figure::milli(account.assigned),
                figure::milli(account.bank),
                figure::milli(account.quota.burst),
                account.tables.to_string(),
            ]);
        }
    }
    (!table.is_empty()).then(|| figure::trimmed(&table))
}

fn buckets(servers: &BTreeMap<String, Inspection>, names: &Names) -> String {
    let mut table = figure::table(&[
        "BUCKET",
        "OWNER",
        "MODE",
        ">QUOTA/S",
        ">VERSION",
        ">OUT/R",
        ">POOL",
        ">HELD",
        ">BURST",
        ">DEMAND/S",
        ">ADMITTED/S",
        ">THROTTLED/S",
        ">OVER",
        ">BOUND",
        ">JAIN",
        ">SHARES",
        "NOTES",
    ]);
    let mut any = false;
    for (server, inspection) in servers {
        for bucket in &inspection.buckets {
            any = true;
            table.add_row([
                names.name(bucket),
                server.clone(),
                bucket.mode.clone(),
                figure::milli(bucket.quota.rate),
                version(bucket),
                format!("{:.3}", bucket.out_ratio),
                figure::milli(bucket.pool),
                figure::milli(bucket.held),
                figure::milli(bucket.quota.burst),
                figure::milli(bucket.demand),
                figure::milli(bucket.admitted),
                figure::milli(bucket.throttled),
                figure::milli(bucket.over_admission),
                figure::milli(bucket.over_admission_bound),
                format!("{:.3}", bucket.jain_index),
                bucket.proxies.to_string(),
                notes(bucket),
            ]);
        }
    }
    if !any {
        return format!("{}\n (nobody uses any)", figure::trimmed(&table));
    }
    figure::trimmed(&table)
}

/// What a table gets of its account's quota is divided anew all the time: that has no version to tell.
fn version(bucket: &BucketStatus) -> String {
    match bucket.level.as_str() {
        "account" => "-".to_owned(),
        _ => bucket.quota.version.to_string(),
    }
}

fn notes(bucket: &BucketStatus) -> String {
    let mut notes = Vec::new();
    if bucket.learning {
        notes.push("learning");
    }
    if bucket.colour != "comfortable" {
        notes.push(bucket.colour.as_str());
    }
    if bucket.quota.shadow {
        notes.push("shadow");
    }
    if bucket.quota.outage != "strict" {
        notes.push(bucket.quota.outage.as_str());
    }
    notes.join(" ")
}

fn shares(bucket: &BucketStatus) -> String {
    let mut table = figure::table(&[
        "PROXY",
        ">OUT/S",
        ">PART",
        ">HOLDS",
        ">DEMAND/S",
        ">ADMITTED/S",
        ">THROTTLED/S",
        ">SILENT",
        "NOTES",
    ]);
    for share in &bucket.shares {
        table.add_row([
            share.proxy.to_string(),
            figure::milli(share.out),
            percentage(share.out, bucket.quota.rate),
            figure::milli(share.hold),
            figure::milli(share.demand),
            figure::milli(share.admitted),
            figure::milli(share.throttled),
            figure::span(share.silent_ms),
            share_notes(share),
        ]);
    }
    figure::trimmed(&table)
}

fn share_notes(share: &ShareStatus) -> String {
    let mut notes = Vec::new();
    if share.silent {
        notes.push("silent: counts with its safe rate".to_owned());
    }
    if share.overdrafts > 0 {
        notes.push(format!("{} overdrafts", share.overdrafts));
    }
    notes.join(", ")
}

#[expect(clippy::cast_precision_loss, reason = "only shown")]
fn percentage(part: u64, whole: u64) -> String {
    match whole {
        0 => "-".to_owned(),
        whole => format!("{:.1}%", part as f64 * 100.0 / whole as f64),
    }
}

/// What buckets are for: the control plane knows names, GAC servers only numbers.
struct Names {
    by_bucket: BTreeMap<u64, String>,
    /// Tables' buckets by the table's name, read and write.
    by_table: BTreeMap<String, Vec<u64>>,
}

impl Names {
    /// Those of the fleet's quotas; none when the control plane is away.
    async fn of(fleet: &Fleet) -> Self {
        let quotas: Vec<QuotaState> = fleet.get("/quotas").await.unwrap_or_default();
        let mut names = Self { by_bucket: BTreeMap::new(), by_table: BTreeMap::new() };
        for quota in quotas {
            let Some(bucket) = quota.bucket else { continue };
            names.by_bucket.insert(bucket, format!("{} {}", quota.subject, quota.kind));
            if let QuotaSubject::Table(table) = quota.subject {
                names.by_table.entry(table).or_default().push(bucket);
            }
        }
        names
    }

    fn name(&self, bucket: &BucketStatus) -> String {
        // A table's part of the account's quota has the table's number, at another level.
        let table = |kind: &str| {
            let id = admission::BucketId::from_raw(bucket.bucket);
            let own = admission::BucketId::new(id.table(), id.kind()).get();
            self.by_bucket.get(&own).map(|name| name.trim_end_matches(kind).trim_end().to_owned())
        };
        if let Some(known) = self.by_bucket.get(&bucket.bucket) {
            return known.clone();
        }
        match (bucket.level.as_str(), &bucket.name) {
            ("account", _) => match table(&bucket.kind) {
                Some(table) => format!("account:{table} {}", bucket.kind),
                None => format!("account:table/#{} {}", bucket.number, bucket.kind),
            },
            (level, Some(name)) => format!("{level}/{name} {}", bucket.kind),
            (level, None) => format!("{level}/#{} {}", bucket.number, bucket.kind),
        }
    }

    /// The buckets of a table, and its shares of the account's quota.
    async fn buckets_of(&self, fleet: &Fleet, table: &str) -> Result<Vec<String>, Failure> {
        let Some(own) = self.by_table.get(table) else {
            // Asked again, for the reason.
            let subject = QuotaSubject::Table(table.to_owned());
            let _known: Vec<QuotaState> = fleet.get(&super::quota::path_of(&subject)).await?;
            return Err(Failure::NotFound(format!("there is no table {table}")));
        };
        let shares = own.iter().map(|bucket| {
            let own = admission::BucketId::from_raw(*bucket);
            admission::BucketId::at(admission::Level::AccountShare, own.number(), own.kind()).get()
        });
        Ok(own.iter().copied().chain(shares).map(|bucket| bucket.to_string()).collect())
    }
}

async fn change_ring(
    reach: &Reach,
    server: &str,
    action: RingAction,
    change: &ChangeArgs,
) -> Result<(), Failure> {
    let fleet = Fleet::find(reach).await?;
    let address = address_of(reach, server).await?;
    let ring: RingStatus = fleet.get("/ring").await?;
    let owns = |ring: &RingStatus| ring.servers.iter().any(|it| it.address == address && !it.draining);
    match (action, owns(&ring)) {
        (RingAction::Add, true) => return Err(Failure::Refused(format!("{address} is in the ring already"))),
        (RingAction::Drain, false) => return Err(Failure::NotFound(format!("{address} is not in the ring"))),
        _ => {}
    }
    if reach.output == OutputFormat::Table || change.dry_run {
        let way = if action == RingAction::Add { "into" } else { "out of" };
        figure::print(format!("{address} goes {way} ring {}: {}", ring.epoch, listed(&ring)))?;
    }
    if change.dry_run {
        return Ok(());
    }
    confirm(change)?;
    let request = RingRequest {
        action,
        change: RingChange {
            address: address.clone(),
            author: change.author.clone(),
            reason: change.reason.clone(),
            expected_epoch: Some(ring.epoch),
        },
    };
    let began = wire::clock::now();
    let ring: RingStatus = fleet.post("/ring", &request).await?;
    let ring = settled(&fleet, ring.epoch).await?;
    let took = u64::try_from(wire::clock::now().since(began).as_millis()).unwrap_or(u64::MAX);
    match reach.output {
        OutputFormat::Json => figure::print(serde_json::to_string(&ring)?)?,
        OutputFormat::Table => figure::print(format!(
            "ring {} is in force after {}: {}{}",
            ring.epoch,
            figure::span(took),
            listed(&ring),
            if action == RingAction::Drain { "; the server can be stopped" } else { "" }
        ))?,
    }
    Ok(())
}

/// The servers that own buckets, and those that hand theirs over.
fn listed(ring: &RingStatus) -> String {
    let name = |it: &control_plane::ring::RingServer| match it.draining {
        false => it.address.clone(),
        true => format!("{} (draining)", it.address),
    };
    ring.servers.iter().map(name).collect::<Vec<_>>().join(", ")
}

/// Waits until every server of the ring has the change, and those that left have handed everything over.
async fn settled(fleet: &Fleet, epoch: u64) -> Result<RingStatus, Failure> {
    let settled = async {
        loop {
            let ring: RingStatus = fleet.get("/ring").await?;
            let knows =
                |it: &control_plane::ring::RingServer| it.answer.is_some_and(|answer| answer.epoch >= epoch);
            if ring.servers.iter().all(|it| !it.draining && knows(it)) {
                return Ok(ring);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::time::timeout(SETTLED_WITHIN, settled).await.unwrap_or_else(|_| {
        Err(Failure::Unreachable(format!(
            "ring {epoch} is recorded, but not every server had it within {SETTLED_WITHIN:?}; see \
             `weir gac status`"
        )))
    })
}

/// Where a server serves: given, or found by its name in the fleet's folder.
async fn address_of(reach: &Reach, server: &str) -> Result<String, Failure> {
    if server.contains(':') {
        return Ok(server.to_owned());
    }
    let dir = reach.folder().unwrap_or_else(|| PathBuf::from("weir-cluster"));
    let rows = cluster::running(&dir).await.map_err(|_| {
        Failure::Refused(format!("{server:?} is not host:port, and --dir names no running fleet"))
    })?;
    match rows.into_iter().find(|row| row.name == server) {
        Some(row) => Ok(row.listen),
        None => Err(Failure::NotFound(format!("the fleet in {} has no {server}", dir.display()))),
    }
}
