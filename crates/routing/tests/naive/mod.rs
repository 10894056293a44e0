//! What the maps and caches of routes are held against, and the routes that they are told.

use bytes::Bytes;
use proptest::prelude::*;
use routing::{KeyRange, Learned, Member, MemberKind, Route, RouteVersion};
use units::{NodeId, PartitionId, TableId, Term, Zone};

/// Keys are single bytes below this: few enough that ranges collide all the time.
pub(crate) const KEYS: u8 = 24;

/// The rules, written down as plainly as possible: without bounds.
#[derive(Default)]
pub(crate) struct Model {
    pub(crate) routes: Vec<Route>,
}

impl Model {
    pub(crate) fn learn(&mut self, route: &Route) -> Learned {
        if self.routes.iter().any(|known| overlap(known, route) && !route.supersedes(known)) {
            return Learned::Known;
        }
        self.routes.retain(|known| !overlap(known, route));
        self.routes.push(route.clone());
        Learned::News
    }

    pub(crate) fn holder(&self, table: TableId, key: &[u8]) -> Option<&Route> {
        self.routes.iter().find(|route| route.table == table && route.holds(key))
    }
}

/// A route of one of two tables, that is valid.
pub(crate) fn route() -> impl Strategy<Value = Route> {
    (1u64..3, 0u64..4, 0..KEYS, 1..=KEYS, 0u64..4, 0u64..3, any::<bool>()).prop_map(
        |(table, partition, start, width, configuration, term, led)| {
            let end = start.saturating_add(width);
            Route {
                partition: PartitionId::new(partition),
                range: KeyRange {
                    start: if start == 0 { Bytes::new() } else { Bytes::copy_from_slice(&[start]) },
                    end: (end < KEYS).then(|| Bytes::copy_from_slice(&[end])),
                },
                leader: led.then(|| NodeId::new(1)),
                version: RouteVersion { configuration, term: Term::new(term) },
                ..whole(TableId::new(table))
            }
        },
    )
}

/// A route for all keys of a table.
pub(crate) fn whole(table: TableId) -> Route {
    Route {
        table,
        partition: PartitionId::new(1),
        range: KeyRange::default(),
        members: vec![Member { node: NodeId::new(1), zone: Zone::new(0), kind: MemberKind::Storage }],
        leader: Some(NodeId::new(1)),
        version: RouteVersion::default(),
    }
}

/// Whether two routes share a key.
pub(crate) fn overlap(one: &Route, other: &Route) -> bool {
    one.table == other.table && (0..=KEYS).any(|key| one.holds(&[key]) && other.holds(&[key]))
}
