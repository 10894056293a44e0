//! A route as the partition map keeps it: under (table, start of its range), everything else in few bytes.
//!
//! The bytes are what `postcard` makes of an entry: numbers in groups of seven bits, lengths before contents.
//! They are read here by hand, so that a lookup can ask for the range's end or the version alone.

use bytes::Bytes;
use serde::Serialize;
use units::{NodeId, PartitionId, TableId, Term, Zone};

use crate::perkle::MAX_KEY;
use crate::{KeyRange, Member, MemberKind, Route, RouteVersion};

/// Bytes of a table's number at the beginning of a key.
pub(crate) const TABLE: usize = 8;
/// Bytes of the keys that are made on the stack: some more than a hash and a short sort key need.
const SHORT: usize = 128;
/// Bytes of a member, at least: the node, the zone, the kind.
const LEAST_MEMBER: usize = 3;

/// What stands under a route's key.
#[derive(Serialize)]
struct Entry<'a> {
    partition: u64,
    configuration: u64,
    term: u64,
    /// The leader's place among the members, plus one; zero: none is known.
    leader: u8,
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
        read(table, self.start, self.value)
    }

    /// What decides whether it supersedes another route of the same range: its version, whether a leader is
    /// known, and the partition. None: the entry is malformed.
    #[must_use]
    pub fn version(&self) -> Option<(RouteVersion, bool, PartitionId)> {
        let mut rest = Rest(self.value);
        let head = Head::read(&mut rest)?;
        let members = rest.length()?;
        Some((head.version, (1..=members).contains(&head.leader), head.partition))
    }

    /// Whether it says no more than `route`: the same start of the range, and no newer version. None: the entry
    /// is malformed.
    #[must_use]
    pub fn is_known_by(&self, route: &Route) -> Option<bool> {
        self.version().map(|version| version <= route.rank() && *self.start == *route.range.start)
    }

    /// The end of the partition's range, if it has one. None: the entry is malformed.
    pub(crate) fn end(&self) -> Option<Option<&[u8]>> {
        Head::read(&mut Rest(self.value)).map(|head| head.end)
    }

    /// Whether `key` is in the partition's range. A malformed entry holds nothing.
    #[must_use]
    pub fn holds(&self, key: &[u8]) -> bool {
        let head = Head::read(&mut Rest(self.value));
        head.is_some_and(|head| key >= self.start && head.end.is_none_or(|end| key < end))
    }
}

/// The key of the route that holds the beginning of `range_start`.
pub(crate) fn key(table: TableId, range_start: &[u8]) -> Vec<u8> {
    [&table.get().to_be_bytes(), range_start].concat()
}

/// Gives `look` the key of the route that holds the beginning of `range_start`; made on the stack, as a rule.
pub(crate) fn with_key<T>(table: TableId, range_start: &[u8], look: impl FnOnce(&[u8]) -> T) -> T {
    let mut room = [0; SHORT];
    let Some(key) = room.get_mut(..TABLE + range_start.len()) else {
        return look(&self::key(table, range_start));
    };
    let (number, rest) = key.split_at_mut(TABLE);
    number.copy_from_slice(&table.get().to_be_bytes());
    rest.copy_from_slice(range_start);
    look(key)
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
    read(TableId::new(u64::from_be_bytes(*number)), start, value)
}

fn read(table: TableId, start: &[u8], value: &[u8]) -> Option<Route> {
    let mut rest = Rest(value);
    let head = Head::read(&mut rest)?;
    let count = rest.length()?;
    // So that a few bytes cannot ask for much memory.
    if count > rest.0.len() / LEAST_MEMBER {
        return None;
    }
    let mut members = Vec::with_capacity(count);
    for _ in 0..count {
        members.push(rest.member()?);
    }
    let leader = head.leader.checked_sub(1).and_then(|place| members.get(place));
    Some(Route {
        table,
        partition: head.partition,
        range: KeyRange { start: Bytes::copy_from_slice(start), end: head.end.map(Bytes::copy_from_slice) },
        leader: leader.map(|member| member.node),
        members,
        version: head.version,
    })
}

/// What stands before the members.
struct Head<'a> {
    partition: PartitionId,
    version: RouteVersion,
    /// As in [`Entry`].
    leader: usize,
    end: Option<&'a [u8]>,
}

impl<'a> Head<'a> {
    fn read(rest: &mut Rest<'a>) -> Option<Self> {
        Some(Self {
            partition: PartitionId::new(rest.number()?),
            version: RouteVersion { configuration: rest.number()?, term: Term::new(rest.number()?) },
            leader: usize::from(rest.byte()?),
            end: if rest.flag()? { Some(rest.bytes()?) } else { None },
        })
    }
}

/// What is not read yet of a value.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    fn flag(&mut self) -> Option<bool> {
        match self.byte()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    /// Seven bits a byte, the lowest first; the highest bit says that more follow.
    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if bits > u64::MAX >> shift {
                return None;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn length(&mut self) -> Option<usize> {
        usize::try_from(self.number()?).ok()
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.length()?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    fn member(&mut self) -> Option<Member> {
        let (node, zone) = (NodeId::new(self.number()?), Zone::new(self.byte()?));
        let kind = if self.flag()? { MemberKind::Log } else { MemberKind::Storage };
        Some(Member { node, zone, kind })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes() -> impl Strategy<Value = Bytes> {
        prop::collection::vec(any::<u8>(), 0..200).prop_map(Bytes::from)
    }

    fn routes() -> impl Strategy<Value = Route> {
        let member = (any::<u64>(), any::<u8>(), any::<bool>()).prop_map(|(node, zone, is_log)| Member {
            node: NodeId::new(node),
            zone: Zone::new(zone),
            kind: if is_log { MemberKind::Log } else { MemberKind::Storage },
        });
        let range = (bytes(), prop::option::of(bytes())).prop_map(|(start, end)| KeyRange { start, end });
        let members = prop::collection::vec(member, 0..5);
        (any::<[u64; 3]>(), range, members, 0_usize..6).prop_map(|(numbers, range, members, leader)| Route {
            table: TableId::new(7),
            partition: PartitionId::new(numbers[0]),
            range,
            leader: members.get(leader).map(|member| member.node),
            members,
            version: RouteVersion { configuration: numbers[1], term: Term::new(numbers[2]) },
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_whole_and_in_part(written in routes(), probe in bytes()) {
            let value = value(&written);
            let entry = RouteEntry { start: &written.range.start, value: &value };
            prop_assert_eq!(entry.route(written.table), Some(written.clone()));
            prop_assert_eq!(
                entry.version(),
                Some((written.version, written.leader.is_some(), written.partition))
            );
            for key in [&probe[..], &written.range.start, written.range.end.as_deref().unwrap_or_default()] {
                prop_assert_eq!(entry.holds(key), written.holds(key));
            }
        }

        #[test]
        fn part_of_an_entry_is_none(written in routes(), cut in any::<prop::sample::Index>()) {
            let value = value(&written);
            let entry = RouteEntry { start: &written.range.start, value: &value[..cut.index(value.len())] };
            prop_assert_eq!(entry.route(written.table), None);
        }

        #[test]
        fn any_bytes_can_be_asked(value: Vec<u8>, start: Vec<u8>, key: Vec<u8>) {
            let entry = RouteEntry { start: &start, value: &value };
            let _ = entry.version();
            let holds = entry.holds(&key);
            if let Some(route) = entry.route(TableId::new(1)) {
                prop_assert_eq!(holds, route.holds(&key));
                let rank = (route.version, route.leader.is_some(), route.partition);
                prop_assert_eq!(entry.version(), Some(rank));
            }
        }
    }

    #[test]
    fn numbers_past_sixty_four_bits_are_none() {
        let most = [&[0xff; 9][..], &[1]].concat();
        assert_eq!(Rest(&most).number(), Some(u64::MAX));
        let more = [&[0xff; 9][..], &[2]].concat();
        assert_eq!(Rest(&more).number(), None);
        assert_eq!(Rest(&[0x80; 11]).number(), None);
    }

    #[test]
    fn a_count_that_cannot_be_reserves_nothing() {
        let value = [&[1, 1, 1, 0, 0][..], &[0xff, 0xff, 0xff, 0xff, 0xff, 1]].concat();
        assert_eq!(RouteEntry { start: &[], value: &value }.route(TableId::new(1)), None);
    }
}
