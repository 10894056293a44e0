//! When a changed quota is in force: every GAC server that owns part of it has the new version.

use std::collections::BTreeMap;
use std::time::Duration;

use control_plane::quota::{QuotaDiff, QuotaMode};
use gac_server::Inspection;

use super::failure::Failure;
use super::figure;
use super::fleet::{Fleet, Process, Tier};

/// Owners are asked so often …
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// … and so long: they are told at once, and again every second.
const WITHIN: Duration = Duration::from_secs(10);
/// What no server has by then is used by nobody.
const UNUSED_AFTER: Duration = Duration::from_millis(500);

/// Where a change is in force.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum InForce {
    /// At the servers that own what was changed.
    At(Vec<String>),
    /// Nobody uses it: no server has it.
    Unused,
    /// There is nothing to be in force any more: a limit was removed.
    Lifted,
}

impl InForce {
    /// In words, after so many milliseconds.
    pub(super) fn told(&self, ms: u64) -> String {
        let took = figure::span(ms);
        match self {
            Self::At(owners) => format!("in force at {} after {took}", owners.join(", ")),
            Self::Lifted => format!("recorded after {took}; proxies stop checking it within about a second"),
            Self::Unused => {
                format!("recorded after {took}; nobody uses it now: in force from the first request")
            }
        }
    }
}

/// What must be seen.
#[derive(Debug)]
struct Wanted {
    /// Version by bucket.
    buckets: BTreeMap<u64, u64>,
    /// Version by kind, of the account's quotas, which have no buckets of their own.
    accounts: BTreeMap<&'static str, u64>,
}

/// Waits until every owner has the new versions.
pub(super) async fn wait(fleet: &Fleet, made: &[QuotaDiff]) -> Result<InForce, Failure> {
    let wanted = Wanted::of(made);
    if wanted.buckets.is_empty() && wanted.accounts.is_empty() {
        return Ok(InForce::Lifted);
    }
    // A bucket that is nobody's: what is asked for by number is cheap, whatever else a server has.
    let mut list: Vec<_> = wanted.buckets.keys().map(u64::to_string).collect();
    if list.is_empty() {
        list.push(u64::MAX.to_string());
    }
    let path = format!("/gac/status?buckets={}", list.join(","));
    let began = wire::clock::now();
    loop {
        let answers = fleet.get_all::<Inspection>(Tier::Gac, &path).await?;
        let waited = wire::clock::now().since(began);
        match wanted.owners(&answers.given) {
            Seen::New(owners) => return Ok(InForce::At(owners)),
            Seen::Nowhere if waited > UNUSED_AFTER => return Ok(InForce::Unused),
            _ if waited > WITHIN => {
                return Err(Failure::Unreachable(format!(
                    "the change is recorded, but not every GAC server had it within {WITHIN:?}; see \
                     `weir gac status`"
                )));
            }
            _ => tokio::time::sleep(LOOK_EVERY).await,
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Seen {
    /// All that is seen of it is new, at these servers.
    New(Vec<String>),
    /// Some server has an older version.
    Old,
    /// No server has it.
    Nowhere,
}

impl Wanted {
    fn of(made: &[QuotaDiff]) -> Self {
        let mut wanted = Self { buckets: BTreeMap::new(), accounts: BTreeMap::new() };
        for diff in made.iter().filter(|diff| diff.to_version.is_some()) {
            let current = &diff.state.current;
            match diff.state.bucket {
                // What is unlimited disappears.
                _ if current.terms.mode == QuotaMode::Unlimited => {}
                Some(bucket) => drop(wanted.buckets.insert(bucket, current.version)),
                None => drop(wanted.accounts.insert(diff.kind.as_str(), current.version)),
            }
        }
        wanted
    }

    fn owners(&self, servers: &[(Process, Inspection)]) -> Seen {
        let mut owners = Vec::new();
        for (process, inspection) in servers {
            let buckets = inspection
                .buckets
                .iter()
                .filter_map(|bucket| Some((bucket.quota.version, *self.buckets.get(&bucket.bucket)?)));
            let accounts = inspection.server.accounts.iter().filter_map(|account| {
                Some((account.quota.version, *self.accounts.get(account.kind.as_str())?))
            });
            let mut has = false;
            for (present, wanted) in buckets.chain(accounts) {
                if present < wanted {
                    return Seen::Old;
                }
                has = true;
            }
            if has {
                owners.push(process.name.clone());
            }
        }
        if owners.is_empty() { Seen::Nowhere } else { Seen::New(owners) }
    }
}
