//! Partitions as a large deployment has them, for the bench and the figures: three members in three zones, a
//! leader, a version, and ranges that begin at hashes.

use bytes::Bytes;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use routing::{KeyRange, Member, MemberKind, Route, RouteVersion};
use units::{NodeId, PartitionId, TableId, Term, Zone};

/// Storage nodes of the deployment.
const NODES: u64 = 3_000;

/// So many tables of as many partitions each; in an order as if pushed by many nodes.
pub(crate) fn routes(tables: u64, partitions: u64) -> Vec<Route> {
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let mut routes = Vec::new();
    for table in 1..=tables {
        let mut starts: Vec<[u8; 16]> = (1..partitions).map(|_| rng.random()).collect();
        starts.sort_unstable();
        let starts = starts.iter().map(|start| Bytes::copy_from_slice(start));
        let starts: Vec<_> = std::iter::once(Bytes::new()).chain(starts).collect();
        for (at, start) in starts.iter().enumerate() {
            // Bytes of their own, as a message's are: cloned ones would share an allocation.
            let own = |bytes: &Bytes| Bytes::copy_from_slice(bytes);
            let range = KeyRange { start: own(start), end: starts.get(at + 1).map(own) };
            routes.push(route(TableId::new(table), routes.len() as u64 + 1, range, &mut rng));
        }
    }
    routes.shuffle(&mut rng);
    routes
}

fn route(table: TableId, partition: u64, range: KeyRange, rng: &mut ChaCha8Rng) -> Route {
    let first = rng.random_range(0..NODES / 3) * 3;
    let members = (0..3_u8).map(|zone| Member {
        node: NodeId::new(1 + (first + u64::from(zone) * 300) % NODES),
        zone: Zone::new(zone),
        kind: MemberKind::Storage,
    });
    let members: Vec<_> = members.collect();
    Route {
        table,
        partition: PartitionId::new(partition),
        range,
        leader: Some(members[rng.random_range(0..3)].node),
        members,
        version: RouteVersion {
            configuration: rng.random_range(1..50),
            term: Term::new(rng.random_range(1..500)),
        },
    }
}

/// The route after its group has elected again.
pub(crate) fn elected_again(route: &Route, rng: &mut ChaCha8Rng) -> Route {
    let leader = route.members[rng.random_range(0..route.members.len())].node;
    let version = RouteVersion { term: Term::new(route.version.term.get() + 1), ..route.version };
    Route { leader: Some(leader), version, ..route.clone() }
}
