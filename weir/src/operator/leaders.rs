//! `weir leaders`: which storage node leads how many partitions; and moves leaderships from one to others.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use storage_adapter::{MoveCount, MoveReport, NodeLeaderships};

use super::confirm::confirm;
use super::failure::Failure;
use super::figure;
use super::fleet::{Fleet, Process, Reach, Tier};
use super::leader_args::{LeadersArgs, LeadersCommand, MoveArgs};
use super::routes::escaped;
use crate::admin::{MoveRequest, ServerRoutes};
use crate::cli::OutputFormat;

/// What stayed where it was, and is told one by one.
const KEPT_SHOWN: usize = 10;

/// Who leads how many, as `-o json` prints it.
#[derive(Debug, Serialize)]
struct FleetLeaders {
    nodes: Vec<NodeLeads>,
    /// Processes that did not answer: name → why.
    missing: BTreeMap<String, String>,
}

/// One storage node.
#[derive(Debug, Clone, Serialize)]
struct NodeLeads {
    node: u64,
    zone: u8,
    /// The process that it runs in.
    process: String,
    /// Partitions that it leads.
    leads: u64,
    /// Partitions that it hosts.
    replicas: u64,
    /// Of these, the ones of which it knows no leader.
    leaderless: u64,
}

/// `weir leaders …`.
pub(crate) async fn run(args: LeadersArgs) -> Result<(), Failure> {
    match args.command {
        None => show(&args.reach, args.table.as_deref()).await,
        Some(LeadersCommand::Move(wanted)) => move_away(&wanted).await,
    }
}

async fn show(reach: &Reach, table: Option<&str>) -> Result<(), Failure> {
    let fleet = Fleet::find(reach).await?;
    let table = number_of(&fleet, table).await?;
    let (seen, _) = FleetLeaders::ask(&fleet, table).await?;
    match reach.output {
        OutputFormat::Json => figure::print(serde_json::to_string(&seen)?)?,
        OutputFormat::Table => figure::print(seen.shown())?,
    }
    Ok(())
}

async fn move_away(args: &MoveArgs) -> Result<(), Failure> {
    let reach = &args.reach;
    let fleet = Fleet::find(reach).await?;
    let table = number_of(&fleet, args.table.as_deref()).await?;
    let (seen, processes) = FleetLeaders::ask(&fleet, table).await?;
    let from = seen.find(&args.from)?.clone();
    let to = args.to.as_deref().map(|to| seen.find(to)).transpose()?.map(|to| to.node);
    let count = args.count.unwrap_or(from.leads).min(from.leads);
    if reach.output == OutputFormat::Table || args.change.dry_run {
        figure::print(announced(&from, to, count, args.within))?;
    }
    if args.change.dry_run {
        return Ok(());
    }
    confirm(&args.change)?;
    let request = MoveRequest {
        from: Some(from.node),
        count: args.count.map_or(MoveCount::All, MoveCount::Number),
        to,
        table,
        within_ms: u64::try_from(args.within.as_millis()).unwrap_or(u64::MAX),
        author: args.change.author.clone(),
        reason: args.change.reason.clone(),
    };
    let process = processes.get(&from.node).expect("the node was found in a process that answered");
    let report: MoveReport = fleet.post_to(process, "/leaders/move", &request).await?;
    match reach.output {
        OutputFormat::Json => figure::print(serde_json::to_string(&report)?)?,
        OutputFormat::Table => figure::print(reported(&report))?,
    }
    match report.kept.len() {
        0 => Ok(()),
        kept => Err(Failure::Other(anyhow::anyhow!("{kept} did not move; node {} leads on", from.node))),
    }
}

/// A table's number: MemDS knows it by its name; a number is taken as it is where no table has it as a name.
async fn number_of(fleet: &Fleet, table: Option<&str>) -> Result<Option<u64>, Failure> {
    let Some(table) = table else { return Ok(None) };
    let path = format!("/memds/routes?table={}", escaped(table));
    let failure = match fleet.get_all::<Vec<ServerRoutes>>(Tier::Memds, &path).await {
        Ok(answers) => {
            let known = answers.given.iter().flat_map(|(_, servers)| servers);
            let newest = known.filter_map(|server| server.routes.as_ref()).map(|routes| routes.table).max();
            if newest.is_some() {
                return Ok(newest);
            }
            Failure::Unreachable(format!("no MemDS server can say yet whether there is a table {table}"))
        }
        Err(failure) => failure,
    };
    table.parse().map(Some).map_err(|_| failure)
}

impl FleetLeaders {
    /// What all storage nodes say, and which process each runs in.
    async fn ask(fleet: &Fleet, table: Option<u64>) -> Result<(Self, BTreeMap<u64, Process>), Failure> {
        let path = table.map_or_else(|| "/leaders".to_owned(), |table| format!("/leaders?table={table}"));
        let answers = fleet.get_all::<Vec<NodeLeaderships>>(Tier::Storage, &path).await?;
        let mut missing = fleet.silent_of(Tier::Storage);
        missing.extend(answers.missing.into_iter().map(|(name, failure)| (name, failure.to_string())));
        let (mut nodes, mut processes) = (Vec::new(), BTreeMap::new());
        for (process, said) in answers.given {
            for node in said {
                nodes.push(NodeLeads::of(&process, &node));
                processes.insert(node.node, process.clone());
            }
        }
        nodes.sort_by_key(|node| node.node);
        Ok((Self { nodes, missing }, processes))
    }

    /// The node of this number, or the one that this process is.
    fn find(&self, name: &str) -> Result<&NodeLeads, Failure> {
        let number: Option<u64> = name.parse().ok();
        let named = |node: &&NodeLeads| number == Some(node.node) || node.process == name;
        let mut found = self.nodes.iter().filter(named);
        match (found.next(), found.next()) {
            (Some(node), None) => Ok(node),
            (Some(_), Some(_)) => {
                Err(Failure::Refused(format!("{name} runs several nodes: say which, by its number")))
            }
            (None, _) => {
                let known: Vec<_> = self.nodes.iter().map(|node| node.node.to_string()).collect();
                let what = format!("no storage node {name} answers; those that do: {}", known.join(", "));
                Err(Failure::NotFound(what))
            }
        }
    }

    fn shown(&self) -> String {
        let mut table = figure::table(&[">NODE", ">ZONE", "PROCESS", ">LEADS", ">REPLICAS", ">LEADERLESS"]);
        for node in &self.nodes {
            table.add_row([
                node.node.to_string(),
                node.zone.to_string(),
                node.process.clone(),
                figure::whole(node.leads),
                figure::whole(node.replicas),
                figure::whole(node.leaderless),
            ]);
        }
        let mut parts = vec![figure::trimmed(&table)];
        parts.extend(self.missing.iter().map(|(name, why)| format!("! {name} is silent: {why}")));
        parts.join("\n\n")
    }
}

impl NodeLeads {
    fn of(process: &Process, said: &NodeLeaderships) -> Self {
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        Self {
            node: said.node,
            zone: said.zone,
            process: process.name.clone(),
            leads: count(said.groups.iter().filter(|group| group.leads).count()),
            replicas: count(said.groups.len()),
            leaderless: count(said.groups.iter().filter(|group| group.leader.is_none()).count()),
        }
    }
}

fn announced(from: &NodeLeads, to: Option<u64>, count: u64, within: Duration) -> String {
    let NodeLeads { node, leads, .. } = from;
    // Not every group has a member on the node that was named.
    let at_most = if to.is_some() { "at most " } else { "" };
    let to = to.map_or_else(|| "the members that lead least".to_owned(), |to| format!("node {to}"));
    format!(
        "node {node} leads {}; moving {at_most}{} to {to}, within {}",
        figure::whole(*leads),
        figure::whole(count),
        humantime::format_duration(within)
    )
}

fn reported(report: &MoveReport) -> String {
    let mut by_node: BTreeMap<u64, u64> = BTreeMap::new();
    for moved in &report.moved {
        *by_node.entry(moved.to).or_default() += 1;
    }
    let mut took: Vec<_> = report.moved.iter().map(|moved| moved.took_us).collect();
    took.sort_unstable();
    let mut lines = vec![match (took.get(took.len() / 2), took.last()) {
        (Some(median), Some(longest)) => {
            let to: Vec<_> = by_node.iter().map(|(node, count)| format!("{count} to node {node}")).collect();
            format!(
                "{} moved in {}: {}; each changed hands in {} (median), {} at most",
                figure::whole(took.len() as u64),
                figure::span(report.took_ms),
                to.join(", "),
                millis(*median),
                millis(*longest),
            )
        }
        _ => "nothing moved".to_owned(),
    }];
    let kept = report.kept.iter().take(KEPT_SHOWN);
    lines.extend(kept.map(|kept| {
        format!("! partition {} of table #{} stays: {}", kept.partition, kept.table, kept.reason)
    }));
    if let Some(more) = report.kept.len().checked_sub(KEPT_SHOWN).filter(|more| *more > 0) {
        lines.push(format!("! and {more} more"));
    }
    lines.join("\n")
}

#[expect(clippy::cast_precision_loss, reason = "only shown")]
fn millis(us: u64) -> String {
    format!("{} ms", figure::units(us as f64 / 1000.0))
}

#[cfg(test)]
mod tests {
    use storage_adapter::{KeptLeadership, MovedLeadership};

    use super::*;

    #[test]
    fn a_node_is_found_by_its_number_or_its_process() {
        let seen = fleet(&[(1, "storage-1"), (2, "storage-2")]);
        assert_eq!(seen.find("2").unwrap().node, 2);
        assert_eq!(seen.find("storage-1").unwrap().node, 1);
        assert!(matches!(seen.find("storage-9"), Err(Failure::NotFound(_))));
        let dev = fleet(&[(1, "dev"), (2, "dev")]);
        assert_eq!(dev.find("2").unwrap().node, 2);
        assert!(matches!(dev.find("dev"), Err(Failure::Refused(_))));
    }

    #[test]
    fn what_moved_is_summed_and_what_stayed_is_told() {
        let moved = |partition, to, took_us| MovedLeadership { table: 3, partition, to, term: 2, took_us };
        let kept = |partition| KeptLeadership { table: 3, partition, reason: "away".to_owned() };
        let mut report = MoveReport {
            node: 1,
            led: 3,
            moved: vec![moved(1, 2, 9_000), moved(2, 3, 12_500), moved(3, 2, 48_000)],
            kept: Vec::new(),
            took_ms: 811,
        };
        let shown = reported(&report);
        assert_eq!(
            shown,
            "3 moved in 811ms: 2 to node 2, 1 to node 3; each changed hands in 12.5 ms (median), 48 ms at most"
        );
        report.kept = (0..12).map(kept).collect();
        let shown = reported(&report);
        assert!(shown.contains("! partition 0 of table #3 stays: away") && shown.ends_with("! and 2 more"));
        report.moved.clear();
        assert!(reported(&report).starts_with("nothing moved"));
    }

    #[test]
    fn who_leads_how_many_is_a_row_per_node() {
        let mut seen = fleet(&[(1, "storage-1"), (2, "storage-2")]);
        seen.missing.insert("storage-3".to_owned(), "no answer".to_owned());
        let shown = seen.shown();
        assert!(
            shown.contains("storage-2") && shown.ends_with("! storage-3 is silent: no answer"),
            "{shown}"
        );
    }

    fn fleet(nodes: &[(u64, &str)]) -> FleetLeaders {
        let node = |(node, process): &(u64, &str)| NodeLeads {
            node: *node,
            zone: 0,
            process: (*process).to_owned(),
            leads: 7,
            replicas: 9,
            leaderless: 0,
        };
        FleetLeaders { nodes: nodes.iter().map(node).collect(), missing: BTreeMap::new() }
    }
}
