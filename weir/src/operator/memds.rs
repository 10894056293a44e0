//! `weir memds status`: what each MemDS server holds and serves, how far behind the pushes it is, and whether all
//! hold the same.

use std::collections::BTreeMap;

use memds::{NodeStatus, PeerStatus, Status};
use serde::Serialize;

use super::failure::Failure;
use super::figure;
use super::fleet::{Fleet, Reach, Tier};
use super::metadata_args::MemdsCommand;
use crate::cli::OutputFormat;

/// Hexadecimal digits of a root hash that are shown: what differs at all differs in these.
const SHORT_ROOT: usize = 8;

/// What the fleet's MemDS servers say, as `-o json` prints it.
#[derive(Debug, Serialize)]
struct FleetStatus {
    /// Those that answered, by name.
    servers: BTreeMap<String, Status>,
    /// Those that did not: name → why.
    missing: BTreeMap<String, String>,
    /// Whether all that answered hold the same routes.
    agree: bool,
    /// Lookups per second of all of them.
    lookups_per_second: f64,
}

/// `weir memds …`.
pub(crate) async fn run(command: MemdsCommand) -> Result<(), Failure> {
    match command {
        MemdsCommand::Status { nodes, reach } => status(&reach, nodes).await,
    }
}

async fn status(reach: &Reach, nodes: bool) -> Result<(), Failure> {
    let fleet = Fleet::find_tier(reach, Tier::Memds).await?;
    let answers = fleet.get_all::<Vec<Status>>(Tier::Memds, "/memds/status").await?;
    let mut missing = fleet.silent_of(Tier::Memds);
    missing.extend(answers.missing.into_iter().map(|(name, failure)| (name, failure.to_string())));
    let servers = answers.given.into_iter().flat_map(|(process, servers)| process.each(servers)).collect();
    let seen = FleetStatus::of(servers, missing);
    match reach.output {
        OutputFormat::Json => figure::print(serde_json::to_string(&seen)?)?,
        OutputFormat::Table => figure::print(seen.shown(nodes))?,
    }
    Ok(())
}

impl FleetStatus {
    fn of(servers: BTreeMap<String, Status>, missing: BTreeMap<String, String>) -> Self {
        let mut roots = servers.values().map(|server| &server.root);
        let first = roots.next();
        Self {
            agree: roots.all(|root| Some(root) == first),
            lookups_per_second: servers.values().map(|server| server.lookups_per_second).sum(),
            servers,
            missing,
        }
    }

    fn shown(&self, nodes: bool) -> String {
        let mut parts = vec![self.table()];
        parts.extend(self.peers());
        if nodes {
            parts.push(self.nodes());
        }
        let mut last: Vec<_> =
            self.missing.iter().map(|(name, why)| format!("! {name} is silent: {why}")).collect();
        last.push(self.sum());
        parts.push(last.join("\n"));
        parts.join("\n\n")
    }

    fn table(&self) -> String {
        let mut table = figure::table(&[
            "SERVER",
            "ADDRESS",
            "STATE",
            ">UPTIME",
            ">TABLES",
            ">ROUTES",
            ">BYTES",
            ">LOOKUPS/S",
            ">LOOKUPS",
            ">PUSH AGE",
            ">CHANGE LAG",
            ">CATALOG",
            "ROOT",
        ]);
        for (name, server) in &self.servers {
            table.add_row([
                name.clone(),
                server.address.clone(),
                if server.ready { "ready" } else { "filling" }.to_owned(),
                seconds(Some(server.uptime_seconds)),
                figure::whole(server.tables),
                figure::whole(server.routes),
                figure::whole(server.route_bytes),
                figure::units(server.lookups_per_second),
                figure::whole(server.lookups),
                seconds(worst(server, |node| node.push_seconds)),
                millis(worst(server, |node| node.longest_change_lag_ms)),
                format!("{}.{}", server.catalog.0, server.catalog.1),
                root(server).to_owned(),
            ]);
        }
        figure::trimmed(&table)
    }

    fn peers(&self) -> Option<String> {
        let mut table =
            figure::table(&["SERVER", "PEER", "STATE", ">COMPARED", ">REPAIRED", ">IN ALL", ">BYTES"]);
        for (name, server) in &self.servers {
            for peer in &server.peers {
                table.add_row([
                    name.clone(),
                    self.name_of(peer),
                    if peer.connected { "connected" } else { "away" }.to_owned(),
                    peer.compared_seconds.map_or_else(dash, |ago| format!("{} ago", seconds(Some(ago)))),
                    peer.last_repaired.map_or_else(dash, figure::whole),
                    figure::whole(peer.repaired),
                    peer.last_bytes.map_or_else(dash, figure::whole),
                ]);
            }
        }
        (!table.is_empty()).then(|| figure::trimmed(&table))
    }

    /// The name of the server that listens at the peer's address, if it is one of those that answered.
    fn name_of(&self, peer: &PeerStatus) -> String {
        let known = self.servers.iter().find(|(_, server)| server.address == peer.address);
        known.map_or_else(|| peer.address.clone(), |(name, _)| name.clone())
    }

    fn nodes(&self) -> String {
        let mut table = figure::table(&[
            "SERVER",
            ">NODE",
            ">ZONE",
            "ADDRESS",
            ">PUSH AGE",
            ">COMPLETE PUSH",
            ">LAST CHANGE LAG",
            ">LONGEST",
        ]);
        for (name, server) in &self.servers {
            for node in &server.nodes {
                table.add_row([
                    name.clone(),
                    node.node.to_string(),
                    node.zone.to_string(),
                    node.address.clone(),
                    seconds(node.push_seconds),
                    seconds(node.complete_push_seconds),
                    millis(node.change_lag_ms),
                    millis(node.longest_change_lag_ms),
                ]);
            }
        }
        figure::trimmed(&table)
    }

    fn sum(&self) -> String {
        let servers = match self.servers.len() {
            1 => "1 server".to_owned(),
            count => format!("{count} servers"),
        };
        let silent = match self.missing.len() {
            0 => String::new(),
            silent => format!(", {silent} silent"),
        };
        let agree = match (self.servers.len(), self.agree) {
            (1, _) => "nobody to agree with",
            (_, true) => "all hold the same routes",
            (_, false) => {
                "they hold different routes: `weir routes TABLE` says which, a comparison levels them out"
            }
        };
        format!("{servers}{silent}, {} lookups/s, {agree}", figure::units(self.lookups_per_second))
    }
}

/// Of the storage nodes the greatest; none where no node has pushed.
fn worst(server: &Status, figure: impl Fn(&NodeStatus) -> Option<f64>) -> Option<f64> {
    server.nodes.iter().filter_map(figure).max_by(f64::total_cmp)
}

fn root(server: &Status) -> &str {
    server.root.get(..SHORT_ROOT).unwrap_or(&server.root)
}

/// Tenths below ten seconds; whole seconds, minutes, hours above.
fn seconds(seconds: Option<f64>) -> String {
    match seconds {
        None => dash(),
        Some(short) if short < 10.0 => format!("{short:.1}s"),
        Some(long) => figure::span(whole_millis(long)),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a time that a server has counted: positive, and far below 2^53 ms"
)]
fn whole_millis(seconds: f64) -> u64 {
    (seconds * 1000.0) as u64
}

fn millis(millis: Option<f64>) -> String {
    millis.map_or_else(dash, |millis| format!("{} ms", figure::units(millis)))
}

fn dash() -> String {
    "-".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_that_hold_the_same_agree() {
        let seen = fleet(&[("memds-1", "ab"), ("memds-2", "ab")]);
        assert!(seen.agree);
        assert!(seen.shown(false).ends_with("2 servers, 20 lookups/s, all hold the same routes"));
    }

    #[test]
    fn servers_that_differ_are_told() {
        let seen = fleet(&[("memds-1", "ab"), ("memds-2", "cd")]);
        assert!(!seen.agree);
        assert!(seen.shown(false).contains("they hold different routes"));
    }

    #[test]
    fn a_silent_server_is_named_and_counted() {
        let mut seen = fleet(&[("memds-1", "ab")]);
        seen.missing.insert("memds-2".to_owned(), "no answer".to_owned());
        let shown = seen.shown(false);
        assert!(shown.contains("! memds-2 is silent: no answer"), "{shown}");
        assert!(shown.ends_with("1 server, 1 silent, 10 lookups/s, nobody to agree with"), "{shown}");
    }

    #[test]
    fn the_node_that_is_furthest_behind_counts_and_each_is_listed_when_asked() {
        let mut seen = fleet(&[("memds-1", "ab")]);
        let node = |node, push, lag| NodeStatus {
            node,
            push_seconds: Some(push),
            longest_change_lag_ms: lag,
            ..NodeStatus::default()
        };
        seen.servers.get_mut("memds-1").unwrap().nodes = vec![node(1, 0.5, Some(3.0)), node(2, 42.0, None)];
        let shown = seen.shown(false);
        assert!(shown.contains(" 42s ") && shown.contains(" 3 ms "), "{shown}");
        assert!(!shown.contains("COMPLETE PUSH") && seen.shown(true).contains("COMPLETE PUSH"));
    }

    #[test]
    fn peers_are_called_by_their_names() {
        let mut seen = fleet(&[("memds-1", "ab"), ("memds-2", "ab")]);
        let peer = |address: &str| PeerStatus { address: address.to_owned(), ..PeerStatus::default() };
        seen.servers.get_mut("memds-1").unwrap().peers = vec![peer("memds-2:1"), peer("10.0.0.9:1")];
        let peers = seen.peers().unwrap();
        assert!(peers.contains("memds-1  memds-2 ") && peers.contains("10.0.0.9:1"), "{peers}");
    }

    fn fleet(servers: &[(&str, &str)]) -> FleetStatus {
        let server = |(name, root): &(&str, &str)| {
            let status = Status {
                address: format!("{name}:1"),
                root: root.repeat(16),
                lookups_per_second: 10.0,
                ..Status::default()
            };
            ((*name).to_owned(), status)
        };
        FleetStatus::of(servers.iter().map(server).collect(), BTreeMap::new())
    }
}
