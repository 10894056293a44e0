//! `weir routes`: where a table's partitions are, and whether all MemDS servers say so.

use std::collections::BTreeMap;

use dynamodb::table::{KeyType, TableDescriptor};
use memds::PartitionRoute;
use serde::Serialize;

use super::failure::Failure;
use super::figure;
use super::fleet::{Fleet, Tier};
use super::metadata_args::RoutesArgs;
use super::route_agreement::{self as agreement, Row, Seam};
use crate::admin::ServerRoutes;
use crate::cli::OutputFormat;

/// Half bytes of a key that are shown unless all are wanted.
const SHORT_KEY: usize = 8;
/// Lines about differences, and about ranges that do not meet: where there is one there may be one per partition,
/// and `-o json` has them all.
const LINES_SHOWN: usize = 20;

/// A table's routes, as `-o json` prints them.
#[derive(Debug, Serialize)]
struct TableView {
    /// The table's name.
    name: String,
    /// Its number.
    table: u64,
    /// Its descriptor's version.
    version: u64,
    /// The servers that answered.
    servers: BTreeMap<String, ServerView>,
    /// Those that did not: name → why.
    missing: BTreeMap<String, String>,
    /// The storage key that `--key` is, in hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// How many partitions the table has; those that were asked for follow.
    partitions_total: usize,
    partitions: Vec<Row>,
    /// Where the ranges leave something out, or overlap.
    seams: Vec<Seam>,
}

/// A server that answered.
#[derive(Debug, Serialize)]
struct ServerView {
    /// It has heard the whole catalog, and been filled by a peer if there is one.
    ready: bool,
    /// Whether it knows a table of that name.
    knows_table: bool,
    /// The version of the descriptor that it has.
    version: u64,
    /// Partitions of which it does not say what the newest route says.
    differs_on: usize,
}

/// `weir routes`.
pub(crate) async fn run(args: RoutesArgs) -> Result<(), Failure> {
    let fleet = Fleet::find_tier(&args.reach, Tier::Memds).await?;
    let said = ask(&fleet, &args.table).await?;
    let mut view = TableView::of(&args.table, &said)?;
    view.choose(&args, said.descriptor())?;
    match args.reach.output {
        OutputFormat::Json => figure::print(serde_json::to_string(&view)?)?,
        OutputFormat::Table => figure::print(view.shown(args.wide))?,
    }
    Ok(())
}

/// What the servers answered.
struct Said {
    given: BTreeMap<String, ServerRoutes>,
    missing: BTreeMap<String, String>,
}

impl Said {
    /// The newest descriptor.
    fn descriptor(&self) -> Option<&TableDescriptor> {
        self.given
            .values()
            .filter_map(|server| server.descriptor.as_ref())
            .max_by_key(|it| (it.id, it.version))
    }
}

async fn ask(fleet: &Fleet, table: &str) -> Result<Said, Failure> {
    let path = format!("/memds/routes?table={}", escaped(table));
    let answers = fleet.get_all::<Vec<ServerRoutes>>(Tier::Memds, &path).await?;
    let mut missing = fleet.silent_of(Tier::Memds);
    let mut given = BTreeMap::new();
    for (name, failure) in answers.missing {
        match failure {
            // It answered: there is no such table. Others know it, so it must be told.
            Failure::NotFound(_) => {
                let none =
                    ServerRoutes { address: String::new(), ready: true, descriptor: None, routes: None };
                given.insert(name, none);
            }
            failure => {
                missing.insert(name, failure.to_string());
            }
        }
    }
    for (name, server) in answers.given.into_iter().flat_map(|(process, servers)| process.each(servers)) {
        given.insert(name, server);
    }
    Ok(Said { given, missing })
}

/// A name as part of a URL's query: DynamoDB's tables have only these characters, others find nothing.
pub(super) fn escaped(table: &str) -> String {
    let mut text = String::new();
    for byte in table.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => text.push(char::from(byte)),
            other => text.push_str(&format!("%{other:02X}")),
        }
    }
    text
}

impl TableView {
    fn of(name: &str, said: &Said) -> Result<Self, Failure> {
        let tables = said.given.values().filter_map(|server| server.routes.as_ref());
        let Some(newest) = tables.max_by_key(|table| (table.table, table.version)) else {
            return Err(unknown(name, said));
        };
        let routes: BTreeMap<_, _> = said
            .given
            .iter()
            .map(|(server, said)| {
                let of_it = said.routes.as_ref().filter(|table| table.table == newest.table);
                (server.clone(), of_it.map(|table| table.partitions.clone()).unwrap_or_default())
            })
            .collect();
        let rows = agreement::compare(&routes);
        let server = |(name, said): (&String, &ServerRoutes)| {
            let view = ServerView {
                ready: said.ready,
                knows_table: said.routes.is_some(),
                version: said.routes.as_ref().map_or(0, |table| table.version),
                differs_on: rows.iter().filter(|row| row.differing.contains_key(name)).count(),
            };
            (name.clone(), view)
        };
        Ok(Self {
            name: newest.name.clone(),
            table: newest.table,
            version: newest.version,
            servers: said.given.iter().map(server).collect(),
            missing: said.missing.clone(),
            key: None,
            partitions_total: rows.len(),
            seams: agreement::seams(&rows),
            partitions: rows,
        })
    }

    /// Keeps the partitions that were asked for.
    fn choose(&mut self, args: &RoutesArgs, descriptor: Option<&TableDescriptor>) -> Result<(), Failure> {
        if let Some(partition) = args.partition {
            self.partitions.retain(|row| row.route.partition == partition);
            if self.partitions.is_empty() {
                return Err(Failure::NotFound(format!("table {} has no partition {partition}", self.name)));
            }
        }
        if let Some(key) = &args.key {
            let Some(descriptor) = descriptor else {
                return Err(Failure::Unreachable("no server tells the table's key attributes".to_owned()));
            };
            let key = storage_key(descriptor, key)?;
            self.partitions.retain(|row| holds(&row.route, &key));
            if self.partitions.is_empty() {
                return Err(Failure::NotFound(format!(
                    "no route of table {} holds the key {key}",
                    self.name
                )));
            }
            self.key = Some(key);
        }
        Ok(())
    }

    fn shown(&self, wide: bool) -> String {
        let mut parts = vec![format!("table {}, number {}, version {}", self.name, self.table, self.version)];
        if let Some(key) = &self.key {
            parts.push(format!("key {key}"));
        }
        parts.push(self.rows(wide));
        let differences = self.differences(wide);
        if !differences.is_empty() {
            parts.push(differences.join("\n"));
        }
        parts.push(self.last_lines(wide).join("\n"));
        parts.join("\n\n")
    }

    fn rows(&self, wide: bool) -> String {
        let mut table =
            figure::table(&[">PARTITION", "FROM", "TO", "REPLICAS", ">LEADER", ">VERSION", ">SERVERS"]);
        for row in &self.partitions {
            table.add_row([
                row.route.partition.to_string(),
                shown_key(&row.route.start, wide),
                row.route.end.as_deref().map_or_else(|| "end".to_owned(), |end| shown_key(end, wide)),
                agreement::replicas(&row.route),
                agreement::leader(&row.route),
                agreement::version(&row.route),
                format!("{}/{}", row.agree, self.servers.len()),
            ]);
        }
        figure::trimmed(&table)
    }

    fn differences(&self, wide: bool) -> Vec<String> {
        let mut lines = Vec::new();
        for row in &self.partitions {
            for (server, route) in &row.differing {
                lines.push(format!(
                    "! {server} differs on partition {} (from {}): {}",
                    row.route.partition,
                    shown_key(&row.route.start, wide),
                    agreement::difference(&row.route, route.as_ref())
                ));
            }
        }
        shorten(&mut lines);
        lines
    }

    /// What must be known whatever was asked for, and the sum of it.
    fn last_lines(&self, wide: bool) -> Vec<String> {
        let mut lines = Vec::new();
        lines.extend(self.seams.iter().map(|seam| seam_in_words(seam, wide)));
        shorten(&mut lines);
        for (name, server) in &self.servers {
            match (server.knows_table, server.ready) {
                (false, _) => lines.push(format!("! {name} knows no such table")),
                (true, false) => lines.push(format!("! {name} is still being filled")),
                (true, true) => {}
            }
        }
        for (name, why) in &self.missing {
            lines.push(format!("! {name} is silent: {why}"));
        }
        lines.push(self.sum());
        lines
    }

    fn sum(&self) -> String {
        let agreeing = self.servers.values().filter(|server| server.knows_table && server.differs_on == 0);
        let agree = format!("{} of {} servers agree", agreeing.count(), self.servers.len());
        let silent = match self.missing.len() {
            0 => String::new(),
            silent => format!(", {silent} silent"),
        };
        let leaderless = match self.partitions.iter().filter(|row| row.route.leader.is_none()).count() {
            0 => String::new(),
            some => format!(", {some} without a leader"),
        };
        let partitions = match (self.partitions.len(), self.partitions_total) {
            (1, 1) => "1 partition".to_owned(),
            (shown, all) if shown == all => format!("{all} partitions"),
            (shown, all) => format!("{shown} of {all} partitions"),
        };
        format!("{partitions}{leaderless}, {agree}{silent}")
    }
}

/// Leaves out what is past [`LINES_SHOWN`], and says how much that is.
fn shorten(lines: &mut Vec<String>) {
    let more = lines.len().saturating_sub(LINES_SHOWN);
    if more > 0 {
        lines.truncate(LINES_SHOWN);
        lines.push(format!("! … and {more} more"));
    }
}

/// Why no server knows the table.
fn unknown(name: &str, said: &Said) -> Failure {
    let filling: Vec<_> =
        said.given.iter().filter(|(_, server)| !server.ready).map(|(name, _)| name.as_str()).collect();
    if filling.is_empty() {
        return Failure::NotFound(format!("there is no table {name}"));
    }
    Failure::Unreachable(format!(
        "no server knows a table {name}, but {} has not heard the whole catalog yet",
        filling.join(" and ")
    ))
}

/// The storage key of `{"pk": {"S": "a"}}`, in hexadecimal.
fn storage_key(table: &TableDescriptor, json: &str) -> Result<String, Failure> {
    let attributes = dynamodb::json::decode_item(json.as_bytes())
        .map_err(|error| Failure::Refused(format!("--key: {}", error.message)))?;
    let Some(key) = table.keys.routing_key(attributes.view(), table.hash_seed) else {
        let keys = table.keys.attributes().map(|key| format!("{} ({})", key.name, type_name(key.kind)));
        return Err(Failure::Refused(format!(
            "--key: the key of table {} is {}",
            table.name,
            keys.collect::<Vec<_>>().join(" and ")
        )));
    };
    Ok(key.0.iter().map(|byte| format!("{byte:02x}")).collect())
}

const fn type_name(kind: KeyType) -> &'static str {
    match kind {
        KeyType::S => "S",
        KeyType::N => "N",
        KeyType::B => "B",
    }
}

/// Whether the key is in the route's range: hexadecimal digits order as the bytes do.
fn holds(route: &PartitionRoute, key: &str) -> bool {
    route.start.as_str() <= key && route.end.as_deref().is_none_or(|end| key < end)
}

fn shown_key(key: &str, wide: bool) -> String {
    match key.get(..SHORT_KEY) {
        Some(short) if !wide && key.len() > SHORT_KEY => format!("{short}…"),
        _ if key.is_empty() => "start".to_owned(),
        _ => key.to_owned(),
    }
}

fn seam_in_words(seam: &Seam, wide: bool) -> String {
    let shown = |key: &Option<String>| {
        key.as_deref().map_or_else(|| "the end".to_owned(), |key| shown_key(key, wide))
    };
    let overlaps = match (&seam.end, &seam.start) {
        (Some(end), Some(start)) => end > start,
        (None, Some(_)) => true,
        (_, None) => false,
    };
    match overlaps {
        true => format!("! two routes hold the keys from {} to {}", shown(&seam.start), shown(&seam.end)),
        false => format!("! no route holds the keys from {} to {}", shown(&seam.end), shown(&seam.start)),
    }
}

#[cfg(test)]
mod tests;
