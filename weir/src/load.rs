//! `weir load`: the load generator, which finds fleets of this machine by their folders.

use std::path::Path;

use anyhow::{Context, bail};
use loadgen::command::{Fleets, LoadArgs, LocalFleet};
use loadgen::credentials::Credentials;
use tokio_util::sync::CancellationToken;

use crate::admin::{DYNAMODB_ENDPOINT_FILE, ENDPOINT_FILE};
use crate::cluster;
use crate::credentials::KeyPair;
use crate::operator_token::OperatorToken;

/// `weir load`.
pub(crate) async fn run(args: LoadArgs, shutdown: CancellationToken) -> anyhow::Result<()> {
    Ok(loadgen::command::run(args, &FoldersOfFleets, shutdown).await?)
}

/// Fleets are found by the folders that `weir dev` and `weir cluster` keep.
struct FoldersOfFleets;

impl Fleets for FoldersOfFleets {
    async fn find(&self, dir: &Path) -> anyhow::Result<LocalFleet> {
        let keys = KeyPair::kept_in(dir)?;
        let credentials = keys.map(|keys| Credentials::new(&keys.access_key, &keys.secret_key, None));
        let operator_token = OperatorToken::kept_in(dir)?.map(|token| token.reveal().to_owned());
        let fleet = LocalFleet { credentials, operator_token, ..LocalFleet::default() };
        if let Ok(operators) = std::fs::read_to_string(dir.join(ENDPOINT_FILE)) {
            let file = dir.join(DYNAMODB_ENDPOINT_FILE);
            let endpoint = std::fs::read_to_string(&file).with_context(|| {
                format!("cannot read {}: the `weir dev` there is of another version", file.display())
            })?;
            let line = |text: String| vec![text.trim().to_owned()];
            return Ok(LocalFleet { endpoints: line(endpoint), operators: line(operators), ..fleet });
        }
        if !cluster::is_in(dir) {
            bail!("{} is not the folder of a `weir cluster` or a `weir dev`", dir.display());
        }
        let rows =
            cluster::running(dir).await.with_context(|| format!("no fleet runs from {}", dir.display()))?;
        let of = |tier: &str| {
            let running = rows.iter().filter(|row| row.pid.is_some());
            running.filter(|row| row.name.starts_with(tier)).collect::<Vec<_>>()
        };
        let proxies = of("proxy-");
        if proxies.is_empty() {
            bail!("no proxy of the fleet in {} runs; `weir cluster status` shows who does", dir.display());
        }
        Ok(LocalFleet {
            endpoints: proxies.iter().map(|row| format!("http://{}", row.listen)).collect(),
            operators: proxies
                .iter()
                .chain(&of("control-"))
                .map(|row| format!("http://{}", row.admin))
                .collect(),
            processes: rows.iter().filter_map(|row| Some((row.name.clone(), row.pid?))).collect(),
            ..fleet
        })
    }
}
