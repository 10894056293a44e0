//! Routes and nodes between their typed form and their form on the wire.

use routing::perkle::Region;
use routing::{Answer, KeyRange, Member, MemberKind, NodeAddress, Question, Route, RouteVersion};
use units::{Epoch, NodeId, PartitionId, TableId, Term, Zone};

use crate::proto::routing as proto;

/// A route or node that arrived and cannot be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed {0}")]
pub struct Malformed(&'static str);

impl From<&Question> for proto::RegionQuestion {
    fn from(question: &Question) -> Self {
        let (bytes, nibbles, ends) = question.region.to_parts();
        Self {
            region: bytes.to_vec().into(),
            nibbles: u32::try_from(nibbles).expect("keys are short"),
            ends,
            parts: question.parts.clone(),
        }
    }
}

impl TryFrom<proto::RegionQuestion> for Question {
    type Error = Malformed;

    fn try_from(wire: proto::RegionQuestion) -> Result<Self, Malformed> {
        let region = Region::from_parts(&wire.region, wire.nibbles as usize, wire.ends);
        Ok(Self { region: region.ok_or(Malformed("region"))?, parts: wire.parts })
    }
}

impl From<Answer> for proto::RegionAnswer {
    fn from(answer: Answer) -> Self {
        let (keys, values) =
            answer.entries.into_iter().map(|(key, value)| (key.into(), value.into())).unzip();
        Self { descend: answer.descend, settled: answer.settled, keys, values }
    }
}

impl TryFrom<proto::RegionAnswer> for Answer {
    type Error = Malformed;

    fn try_from(wire: proto::RegionAnswer) -> Result<Self, Malformed> {
        if wire.keys.len() != wire.values.len() {
            return Err(Malformed("region's entries"));
        }
        let entries = wire.keys.into_iter().zip(wire.values);
        Ok(Self {
            descend: wire.descend,
            settled: wire.settled,
            entries: entries.map(|(key, value)| (key.into(), value.into())).collect(),
        })
    }
}

impl From<&Route> for proto::Route {
    fn from(route: &Route) -> Self {
        Self {
            table: route.table.get(),
            partition: route.partition.get(),
            start: route.range.start.clone(),
            end: route.range.end.clone(),
            members: route.members.iter().map(Into::into).collect(),
            leader: route.leader.map(NodeId::get),
            configuration: route.version.configuration,
            term: route.version.term.get(),
        }
    }
}

impl TryFrom<proto::Route> for Route {
    type Error = Malformed;

    fn try_from(wire: proto::Route) -> Result<Self, Malformed> {
        let route = Self {
            table: TableId::new(wire.table),
            partition: PartitionId::new(wire.partition),
            range: KeyRange { start: wire.start, end: wire.end },
            members: wire.members.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            leader: wire.leader.map(NodeId::new),
            version: RouteVersion { configuration: wire.configuration, term: Term::new(wire.term) },
        };
        if route.is_valid() { Ok(route) } else { Err(Malformed("route")) }
    }
}

impl From<&Member> for proto::Member {
    fn from(member: &Member) -> Self {
        Self {
            node: member.node.get(),
            zone: u32::from(member.zone.get()),
            log_only: member.kind == MemberKind::Log,
        }
    }
}

impl TryFrom<proto::Member> for Member {
    type Error = Malformed;

    fn try_from(wire: proto::Member) -> Result<Self, Malformed> {
        Ok(Self {
            node: node_id(wire.node)?,
            zone: zone(wire.zone)?,
            kind: if wire.log_only { MemberKind::Log } else { MemberKind::Storage },
        })
    }
}

impl From<&NodeAddress> for proto::Node {
    fn from(node: &NodeAddress) -> Self {
        Self {
            id: node.node.get(),
            zone: u32::from(node.zone.get()),
            address: node.address.clone(),
            incarnation: node.incarnation.get(),
        }
    }
}

impl TryFrom<proto::Node> for NodeAddress {
    type Error = Malformed;

    fn try_from(wire: proto::Node) -> Result<Self, Malformed> {
        if wire.address.is_empty() {
            return Err(Malformed("node address"));
        }
        Ok(Self {
            node: node_id(wire.id)?,
            zone: zone(wire.zone)?,
            address: wire.address,
            incarnation: Epoch::new(wire.incarnation),
        })
    }
}

fn node_id(raw: u64) -> Result<NodeId, Malformed> {
    if raw == 0 { Err(Malformed("node number")) } else { Ok(NodeId::new(raw)) }
}

fn zone(raw: u32) -> Result<Zone, Malformed> {
    u8::try_from(raw).map(Zone::new).map_err(|_| Malformed("zone"))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_route_survives_the_wire() {
        let route = Route {
            table: TableId::new(3),
            partition: PartitionId::new(9),
            range: KeyRange { start: Bytes::from_static(b"a"), end: Some(Bytes::from_static(b"m")) },
            members: vec![
                Member { node: NodeId::new(1), zone: Zone::new(0), kind: MemberKind::Storage },
                Member { node: NodeId::new(2), zone: Zone::new(2), kind: MemberKind::Log },
            ],
            leader: Some(NodeId::new(1)),
            version: RouteVersion { configuration: 4, term: Term::new(7) },
        };
        assert_eq!(Route::try_from(proto::Route::from(&route)), Ok(route));
    }

    #[test]
    fn a_route_whose_leader_is_no_member_is_refused() {
        let wire = proto::Route {
            members: vec![proto::Member { node: 1, zone: 0, log_only: false }],
            leader: Some(2),
            ..Default::default()
        };
        assert_eq!(Route::try_from(wire), Err(Malformed("route")));
    }
}
