//! A partition's route: key range, membership, leader, version.

use bytes::Bytes;
use units::{NodeId, PartitionId, TableId, Term, Zone};

/// Where one partition is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Which table or index it belongs to.
    pub table: TableId,
    /// Which partition, and so which replication group.
    pub partition: PartitionId,
    /// The part of the table's key space that it holds.
    pub range: KeyRange,
    /// Its replicas: two or three, rarely more during a change.
    pub members: Vec<Member>,
    /// The member that leads, if one is known.
    pub leader: Option<NodeId>,
    /// Orders this route among all that ever described the same range.
    pub version: RouteVersion,
}

impl Route {
    /// Whether `key` is in the partition's range.
    #[must_use]
    pub fn holds(&self, key: &[u8]) -> bool {
        self.range.contains(key)
    }

    /// Whether this route replaces `other` where their ranges overlap: the one rule of what is newer.
    ///
    /// Versions order all routes that ever described a key, of whichever partition: a partition that
    /// comes out of a split or merge starts with a configuration above its parents'. A known leader beats
    /// an unknown one of the same term. The partition's number only breaks a tie that should not happen,
    /// so that every server keeps the same one.
    #[must_use]
    pub fn supersedes(&self, other: &Self) -> bool {
        self.rank() > other.rank()
    }

    /// What [`supersedes`](Self::supersedes) compares.
    pub(crate) const fn rank(&self) -> (RouteVersion, bool, PartitionId) {
        (self.version, self.leader.is_some(), self.partition)
    }

    /// Whether it can be a route at all: a range that is not empty, members, and a leader among them.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        let range = self.range.end.as_ref().is_none_or(|end| self.range.start < *end);
        let distinct = self
            .members
            .iter()
            .enumerate()
            .all(|(at, member)| self.members[..at].iter().all(|earlier| earlier.node != member.node));
        let leader = self.leader.is_none_or(|leader| self.members.iter().any(|member| member.node == leader));
        range && distinct && leader && !self.members.is_empty() && self.members.len() <= MAX_MEMBERS
    }
}

/// What came of telling a map or cache a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Learned {
    /// It is new, or newer than what it replaced.
    News,
    /// It, or something newer about its range, was known.
    Known,
}

/// Replicas of one partition, at most: three zones, each with a storage replica and, while it is being
/// replaced, its successor and a log replica. Bounds what a pushed route may carry.
const MAX_MEMBERS: usize = 9;

/// A contiguous range of storage keys: `start ≤ key < end`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyRange {
    /// First key; empty: from the beginning.
    pub start: Bytes,
    /// First key past the range; none: to the end of the key space.
    pub end: Option<Bytes>,
}

impl KeyRange {
    /// Whether `key` is in it.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        *key >= *self.start && self.end.as_ref().is_none_or(|end| *key < **end)
    }
}

/// One replica of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// The node that hosts it.
    pub node: NodeId,
    /// That node's zone.
    pub zone: Zone,
    /// What it keeps.
    pub kind: MemberKind,
}

/// What a replica keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberKind {
    /// Log and B-tree: serves reads, may lead.
    Storage,
    /// Recent log only: votes, serves nothing.
    Log,
}

/// Orders routes: first by the group's configuration (membership and range), then by leadership.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct RouteVersion {
    /// Counts the changes of membership and range, in the group's log.
    pub configuration: u64,
    /// The leader's term.
    pub term: Term,
}
