//! `weir cache`: what proxies have cached of tables and routes; empties it.

use std::collections::BTreeMap;

use proxy::routing::{Flushed, RoutingStatus, ServerStatus};
use serde::Serialize;

use super::args::ChangeArgs;
use super::confirm::confirm;
use super::failure::Failure;
use super::figure;
use super::fleet::{Fleet, Reach, Tier};
use super::metadata_args::{CacheArgs, CacheCommand};
use crate::admin::FlushRequest;
use crate::cli::OutputFormat;

/// What the fleet's proxies forgot, as `-o json` prints it.
#[derive(Debug, Serialize)]
struct FleetFlushed {
    /// By proxy.
    proxies: BTreeMap<String, Flushed>,
    /// Those whose caches are as they were: name → why.
    missing: BTreeMap<String, String>,
}

/// What the fleet's proxies have cached, as `-o json` prints it.
#[derive(Debug, Serialize)]
struct FleetCaches {
    /// By proxy.
    proxies: BTreeMap<String, RoutingStatus>,
    /// Those that do not answer: name → why.
    missing: BTreeMap<String, String>,
}

/// `weir cache …`.
pub(crate) async fn run(args: CacheArgs) -> Result<(), Failure> {
    match args.command {
        CacheCommand::Status => status(&args.reach).await,
        CacheCommand::Flush { change } => flush(&args.reach, &change).await,
    }
}

async fn status(reach: &Reach) -> Result<(), Failure> {
    let fleet = Fleet::find_tier(reach, Tier::Proxy).await?;
    let answers = fleet.get_all::<RoutingStatus>(Tier::Proxy, "/routing/status").await?;
    let mut missing = fleet.silent_of(Tier::Proxy);
    missing.extend(answers.missing.into_iter().map(|(name, failure)| (name, failure.to_string())));
    let proxies = answers.given.into_iter().map(|(process, status)| (process.name, status)).collect();
    let seen = FleetCaches { proxies, missing };
    match reach.output {
        OutputFormat::Json => figure::print(serde_json::to_string(&seen)?)?,
        OutputFormat::Table => figure::print(seen.shown())?,
    }
    Ok(())
}

async fn flush(reach: &Reach, change: &ChangeArgs) -> Result<(), Failure> {
    let fleet = Fleet::find_tier(reach, Tier::Proxy).await?;
    let proxies: Vec<_> = fleet.of(Tier::Proxy)?.into_iter().map(|process| process.name).collect();
    if reach.output == OutputFormat::Table || change.dry_run {
        figure::print(match proxies.as_slice() {
            [one] => format!("{one} forgets its cached tables and routes"),
            all => format!("{} proxies forget their cached tables and routes: {}", all.len(), all.join(", ")),
        })?;
    }
    if change.dry_run {
        return Ok(());
    }
    confirm(change)?;
    let request = FlushRequest { author: change.author.clone(), reason: change.reason.clone() };
    let answers = fleet.post_all::<Flushed>(Tier::Proxy, "/routing/flush", &request).await?;
    let mut missing = fleet.silent_of(Tier::Proxy);
    missing.extend(answers.missing.into_iter().map(|(name, failure)| (name, failure.to_string())));
    let proxies = answers.given.into_iter().map(|(process, flushed)| (process.name, flushed)).collect();
    let done = FleetFlushed { proxies, missing };
    match reach.output {
        OutputFormat::Json => figure::print(serde_json::to_string(&done)?)?,
        OutputFormat::Table => figure::print(done.shown())?,
    }
    match done.missing.keys().next() {
        None => Ok(()),
        Some(_) => {
            let names: Vec<_> = done.missing.keys().map(String::as_str).collect();
            Err(Failure::Unreachable(format!("not flushed, for they do not answer: {}", names.join(", "))))
        }
    }
}

impl FleetCaches {
    fn shown(&self) -> String {
        let mut parts = vec![self.cached(), self.servers()];
        parts.extend(silent(&self.missing));
        parts.join("\n\n")
    }

    fn cached(&self) -> String {
        let mut table =
            figure::table(&["PROXY", ">TABLES", ">ROUTES", ">WARM ROUTES", ">ROUTE BYTES", ">STORAGE NODES"]);
        for (name, it) in &self.proxies {
            let counts = [it.tables, it.routes, it.warm, it.route_bytes, it.nodes].map(figure::whole);
            table.add_row([name.clone()].into_iter().chain(counts));
        }
        figure::trimmed(&table)
    }

    fn servers(&self) -> String {
        let mut table = figure::table(&["PROXY", "MEMDS SERVER", "STATE", ">MEDIAN", ">P99", ">SILENT"]);
        for (name, proxy) in &self.proxies {
            for server in &proxy.servers {
                let [median, p99, silent] = [server.median_ms, server.p99_ms, server.silent_ms].map(millis);
                table.add_row([
                    name.clone(),
                    server.address.clone(),
                    state(server).to_owned(),
                    median,
                    p99,
                    silent,
                ]);
            }
        }
        figure::trimmed(&table)
    }
}

const fn state(server: &ServerStatus) -> &'static str {
    match (server.connected, server.gray) {
        (false, _) => "away",
        (true, true) => "gray",
        (true, false) => "well",
    }
}

fn millis(millis: Option<f64>) -> String {
    millis.map_or_else(|| "-".to_owned(), |millis| format!("{} ms", figure::units(millis)))
}

/// Who did not answer, and why.
fn silent(missing: &BTreeMap<String, String>) -> Option<String> {
    let lines: Vec<_> = missing.iter().map(|(name, why)| format!("! {name} is silent: {why}")).collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

impl FleetFlushed {
    fn shown(&self) -> String {
        let mut table = figure::table(&["PROXY", ">TABLES", ">ROUTES", ">WARM ROUTES"]);
        for (name, flushed) in &self.proxies {
            let forgotten = [flushed.tables, flushed.routes, flushed.warm];
            let counts = forgotten.map(|count| figure::whole(count as u64));
            table.add_row([name.clone()].into_iter().chain(counts));
        }
        let mut parts = vec![figure::trimmed(&table)];
        parts.extend(silent(&self.missing));
        parts.join("\n\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_each_proxy_forgot_is_shown_and_who_is_silent() {
        let done = FleetFlushed {
            proxies: [("proxy-1".to_owned(), Flushed { tables: 2, routes: 1200, warm: 7 })].into(),
            missing: [("proxy-2".to_owned(), "no answer".to_owned())].into(),
        };
        let shown = done.shown();
        assert!(shown.contains("1,200") && shown.contains("! proxy-2 is silent: no answer"), "{shown}");
    }
    #[test]
    fn what_is_cached_is_shown_and_how_each_memds_server_answers() {
        let server = |address: &str, connected, gray| ServerStatus {
            address: address.to_owned(),
            connected,
            gray,
            median_ms: Some(0.25),
            ..ServerStatus::default()
        };
        let servers = vec![server("a:1", true, false), server("b:1", true, true), server("c:1", false, true)];
        let proxy = RoutingStatus { tables: 3, routes: 4500, warm: 12, servers, ..RoutingStatus::default() };
        let caches =
            FleetCaches { proxies: [("proxy-1".to_owned(), proxy)].into(), missing: BTreeMap::new() };

        let shown = caches.shown();

        assert!(shown.contains("4,500") && shown.contains("0.25 ms"), "{shown}");
        for state in ["a:1           well", "b:1           gray", "c:1           away"] {
            assert!(shown.contains(state), "{shown}");
        }
    }
}
