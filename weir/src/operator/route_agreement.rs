//! What MemDS servers say of one table's partitions, put beside one another: the newest of each, who agrees with
//! it, and where the ranges leave something out.

use std::collections::BTreeMap;

use memds::PartitionRoute;
use serde::Serialize;

/// One partition, as the server says that knows the newest of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Row {
    /// The newest route of it.
    #[serde(flatten)]
    pub route: PartitionRoute,
    /// How many servers say the same.
    pub agree: usize,
    /// What the others say: nothing, where they know no route that begins there.
    pub differing: BTreeMap<String, Option<PartitionRoute>>,
}

/// Neighbours that do not meet: keys between them are nobody's, or two partitions'.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Seam {
    /// Where the earlier partition ends; none: where all keys end.
    pub end: Option<String>,
    /// Where the next one begins; none: there is no next one.
    pub start: Option<String>,
}

/// Puts what each server says beside one another: a row per beginning of a range, in order.
pub(super) fn compare(servers: &BTreeMap<String, Vec<PartitionRoute>>) -> Vec<Row> {
    let mut by_start: BTreeMap<&str, BTreeMap<&str, &PartitionRoute>> = BTreeMap::new();
    for (server, routes) in servers {
        for route in routes {
            by_start.entry(&route.start).or_default().insert(server, route);
        }
    }
    by_start.values().filter_map(|said| row(servers.keys(), said)).collect()
}

fn row<'a>(servers: impl Iterator<Item = &'a String>, said: &BTreeMap<&str, &PartitionRoute>) -> Option<Row> {
    let newest = said.values().copied().max_by_key(|route| rank(route))?;
    let mut row = Row { route: newest.clone(), agree: 0, differing: BTreeMap::new() };
    for server in servers {
        match said.get(server.as_str()) {
            Some(route) if *route == newest => row.agree += 1,
            other => {
                row.differing.insert(server.clone(), other.map(|route| (*route).clone()));
            }
        }
    }
    Some(row)
}

/// As servers themselves say which of two routes is newer: see `routing::Route::supersedes`.
const fn rank(route: &PartitionRoute) -> (u64, u64, bool, u64) {
    (route.configuration, route.term, route.leader.is_some(), route.partition)
}

/// Where the rows do not meet, from the beginning of all keys to their end.
pub(super) fn seams(rows: &[Row]) -> Vec<Seam> {
    let ends = std::iter::once(Some("")).chain(rows.iter().map(|row| row.route.end.as_deref()));
    let starts = rows.iter().map(|row| Some(row.route.start.as_str())).chain(std::iter::once(None));
    ends.zip(starts)
        .filter(|(end, start)| end != start)
        .map(|(end, start)| Seam { end: end.map(str::to_owned), start: start.map(str::to_owned) })
        .collect()
}

/// How another server's route differs from the newest, in words.
pub(super) fn difference(newest: &PartitionRoute, other: Option<&PartitionRoute>) -> String {
    let Some(other) = other else { return "has no route that begins there".to_owned() };
    let mut words = Vec::new();
    let mut differs = |what: &str, newest: String, other: String| {
        if newest != other {
            words.push(format!("{what} {other} instead of {newest}"));
        }
    };
    differs("version", version(newest), version(other));
    differs("leader", leader(newest), leader(other));
    differs("replicas", replicas(newest), replicas(other));
    differs("partition", newest.partition.to_string(), other.partition.to_string());
    let end = |route: &PartitionRoute| route.end.clone().unwrap_or_else(|| "the end".to_owned());
    differs("to", end(newest), end(other));
    words.join(", ")
}

/// Configuration and term: `2.7`.
pub(super) fn version(route: &PartitionRoute) -> String {
    format!("{}.{}", route.configuration, route.term)
}

/// The node that leads, or a dash.
pub(super) fn leader(route: &PartitionRoute) -> String {
    route.leader.map_or_else(|| "-".to_owned(), |node| node.to_string())
}

/// Nodes and their zones: `1/z0 2/z1 3/z2`.
pub(super) fn replicas(route: &PartitionRoute) -> String {
    let shown = route.members.iter().map(|(node, zone, log_only)| {
        let log = if *log_only { "(log)" } else { "" };
        format!("{node}/z{zone}{log}")
    });
    shown.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_that_say_the_same_agree() {
        let said = vec![route(1, "", Some("80")), route(2, "80", None)];
        let rows = compare(&servers(&[("memds-1", &said), ("memds-2", &said)]));
        assert_eq!(
            rows.iter().map(|row| (row.route.partition, row.agree)).collect::<Vec<_>>(),
            [(1, 2), (2, 2)]
        );
        assert!(rows.iter().all(|row| row.differing.is_empty()));
        assert!(seams(&rows).is_empty());
    }

    #[test]
    fn the_newest_counts_and_the_other_server_is_named_with_what_it_says() {
        let old = route(1, "", None);
        let new = PartitionRoute { term: 8, leader: Some(3), ..old.clone() };
        let of = std::slice::from_ref;
        let rows = compare(&servers(&[("memds-1", of(&old)), ("memds-2", of(&new))]));
        assert_eq!(rows.len(), 1);
        assert_eq!((&rows[0].route, rows[0].agree), (&new, 1));
        assert_eq!(rows[0].differing["memds-1"].as_ref(), Some(&old));
        assert_eq!(
            difference(&new, rows[0].differing["memds-1"].as_ref()),
            "version 1.7 instead of 1.8, leader 1 instead of 3"
        );
    }

    #[test]
    fn a_server_without_the_route_differs() {
        let rows = compare(&servers(&[("memds-1", &[route(1, "", None)]), ("memds-2", &[])]));
        assert_eq!((rows[0].agree, &rows[0].differing["memds-2"]), (1, &None));
    }

    #[test]
    fn ranges_that_do_not_meet_are_found() {
        let rows = |said: &[PartitionRoute]| compare(&servers(&[("memds-1", said)]));
        let seam = |end: Option<&str>, start: Option<&str>| Seam {
            end: end.map(str::to_owned),
            start: start.map(str::to_owned),
        };
        assert_eq!(seams(&rows(&[])), [seam(Some(""), None)]);
        assert_eq!(seams(&rows(&[route(1, "40", None)])), [seam(Some(""), Some("40"))]);
        assert_eq!(
            seams(&rows(&[route(1, "", Some("40")), route(2, "80", Some("c0"))])),
            [seam(Some("40"), Some("80")), seam(Some("c0"), None)]
        );
    }

    fn servers(said: &[(&str, &[PartitionRoute])]) -> BTreeMap<String, Vec<PartitionRoute>> {
        said.iter().map(|(server, routes)| ((*server).to_owned(), routes.to_vec())).collect()
    }

    fn route(partition: u64, start: &str, end: Option<&str>) -> PartitionRoute {
        PartitionRoute {
            partition,
            start: start.to_owned(),
            end: end.map(str::to_owned),
            members: vec![(1, 0, false), (2, 1, false), (3, 2, true)],
            leader: Some(1),
            configuration: 1,
            term: 7,
        }
    }
}
