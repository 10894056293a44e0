//! A route as the partition map keeps it: under (table, start of its range), everything else in few bytes.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use units::{NodeId, PartitionId, TableId, Term, Zone};

use crate::perkle::MAX_KEY;
use crate::{KeyRange, Member, MemberKind, Route, RouteVersion};

/// Bytes of a table's number at the beginning of a key.
const TABLE: usize = 8;

/// What stands under a route's key; `postcard` writes numbers in as few bytes as they need.
#[derive(Serialize, Deserialize)]
struct Entry<'a> {
    partition: u64,
    configuration: u64,
    term: u64,
    /// The leader's place among the members, plus one; zero: none is known.
    leader: u8,
    #[serde(borrow)]
    end: Option<&'a [u8]>,
    /// Each member: its node, its zone, and whether it keeps the log only.
    members: Vec<(u64, u8, bool)>,
}

/// One route as the map keeps it and as MemDS sends it: read only where it is news.
#[derive(Clone, Copy, Debug)]
pub struct RouteEntry<'a> {
    /// Start of the partition's range.
    pub start: &'a [u8],
    /// Everything else, as this module writes it.
    pub value: &'a [u8],
}

impl RouteEntry<'_> {
    /// The route, of this table; none: the entry is malformed.
    #[must_use]
    pub fn route(&self, table: TableId) -> Option<Route> {
        route(&key(table, self.start), self.value)
    }
}

/// The key of the route that holds the beginning of `range_start`.
pub(crate) fn key(table: TableId, range_start: &[u8]) -> Vec<u8> {
    [&table.get().to_be_bytes(), range_start].concat()
}

/// The table of a key.
pub(crate) fn table(key: &[u8]) -> TableId {
    let number = key.first_chunk::<TABLE>().expect("every key begins with a table's number");
    TableId::new(u64::from_be_bytes(*number))
}

/// Whether the route's key is one that the tree takes.
pub(crate) fn fits(route: &Route) -> bool {
    route.range.start.len() <= MAX_KEY - TABLE
}

/// The value under the route's key.
pub(crate) fn value(route: &Route) -> Vec<u8> {
    let leader = route.leader.and_then(|leader| {
        let place = route.members.iter().position(|member| member.node == leader)?;
        u8::try_from(place + 1).ok()
    });
    let entry = Entry {
        partition: route.partition.get(),
        configuration: route.version.configuration,
        term: route.version.term.get(),
        leader: leader.unwrap_or_default(),
        end: route.range.end.as_deref(),
        members: route
            .members
            .iter()
            .map(|member| (member.node.get(), member.zone.get(), member.kind == MemberKind::Log))
            .collect(),
    };
    postcard::to_allocvec(&entry).expect("a route has a form")
}

/// Reads what [`key`] and [`value`] wrote; none: something else wrote them.
pub(crate) fn route(key: &[u8], value: &[u8]) -> Option<Route> {
    let (number, start) = key.split_first_chunk::<TABLE>()?;
    let entry: Entry<'_> = postcard::from_bytes(value).ok()?;
    let members: Vec<Member> = entry
        .members
        .iter()
        .map(|(node, zone, is_log)| Member {
            node: NodeId::new(*node),
            zone: Zone::new(*zone),
            kind: if *is_log { MemberKind::Log } else { MemberKind::Storage },
        })
        .collect();
    let leader = usize::from(entry.leader).checked_sub(1).and_then(|place| members.get(place));
    Some(Route {
        table: TableId::new(u64::from_be_bytes(*number)),
        partition: PartitionId::new(entry.partition),
        range: KeyRange { start: Bytes::copy_from_slice(start), end: entry.end.map(Bytes::copy_from_slice) },
        leader: leader.map(|member| member.node),
        members,
        version: RouteVersion { configuration: entry.configuration, term: Term::new(entry.term) },
    })
}
