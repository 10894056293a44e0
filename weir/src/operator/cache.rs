//! `weir cache`: what proxies have cached of tables and routes; empties it.

use std::collections::BTreeMap;

use proxy::routing::Flushed;
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

/// `weir cache …`.
pub(crate) async fn run(args: CacheArgs) -> Result<(), Failure> {
    match args.command {
        CacheCommand::Flush { change } => flush(&args.reach, &change).await,
    }
}

async fn flush(reach: &Reach, change: &ChangeArgs) -> Result<(), Failure> {
    let fleet = Fleet::find(reach).await?;
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

impl FleetFlushed {
    fn shown(&self) -> String {
        let mut table = figure::table(&["PROXY", ">TABLES", ">ROUTES", ">WARM ROUTES"]);
        for (name, flushed) in &self.proxies {
            let forgotten = [flushed.tables, flushed.routes, flushed.warm];
            let counts = forgotten.map(|count| figure::whole(count as u64));
            table.add_row([name.clone()].into_iter().chain(counts));
        }
        let mut lines = vec![figure::trimmed(&table)];
        lines.extend(self.missing.iter().map(|(name, why)| format!("! {name} is silent: {why}")));
        lines.join("\n\n")
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
}
