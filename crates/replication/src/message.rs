//! What nodes say to each other: plain types, whose wire forms are in `wire/proto/replication.proto`.
//!
//! The consensus library's types never meet the network.

use bytes::Bytes;
use units::{Epoch, LogIndex, NodeId, PartitionId, Term};

use crate::recovered::SnapshotPosition;

/// Everything that one node has for another at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Envelope {
    /// The sender's incarnation; what comes from an older one than known is dropped.
    pub from_incarnation: Epoch,
    /// Messages of groups.
    pub messages: Vec<GroupMessage>,
    /// "I am here."
    pub heartbeat: Option<NodeHeartbeat>,
    /// "I heard you; and in these groups I have moved on."
    pub heartbeat_ack: Option<NodeHeartbeatAck>,
}

/// One message of one group. Which fields mean something depends on `kind`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GroupMessage {
    /// The group.
    pub group: PartitionId,
    /// What it is.
    pub kind: MessageKind,
    /// The sender.
    pub from: NodeId,
    /// The receiver.
    pub to: NodeId,
    /// The sender's term, or the one it asks votes for.
    pub term: Term,
    /// Term of the entry at `index`.
    pub log_term: Term,
    /// Position in the log.
    pub index: LogIndex,
    /// The sender's commit index.
    pub commit: LogIndex,
    /// Term of the entry at `commit`.
    pub commit_term: Term,
    /// Refused; in a refill's answer: the answerer has no data itself.
    pub reject: bool,
    /// Where to try next after a refused append.
    pub reject_hint: LogIndex,
    /// A snapshot of at least this index is asked for.
    pub request_snapshot: LogIndex,
    /// Election priority.
    pub priority: i64,
    /// Opaque; returned with the answer.
    pub context: Bytes,
    /// Entries to append.
    pub entries: Vec<LogEntry>,
    /// Where a snapshot stands; its data travels apart.
    pub snapshot: Option<SnapshotPosition>,
}

impl GroupMessage {
    /// A message in which nothing but its kind and ends is set.
    #[must_use]
    pub fn empty(group: PartitionId, kind: MessageKind, from: NodeId, to: NodeId) -> Self {
        Self {
            group,
            kind,
            from,
            to,
            term: Term::default(),
            log_term: Term::default(),
            index: LogIndex::default(),
            commit: LogIndex::default(),
            commit_term: Term::default(),
            reject: false,
            reject_hint: LogIndex::default(),
            request_snapshot: LogIndex::default(),
            priority: 0,
            context: Bytes::new(),
            entries: Vec::new(),
            snapshot: None,
        }
    }
}

/// Kinds of group messages, with their stable numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum MessageKind {
    /// Entries for a follower.
    Append = 1,
    /// A follower holds (or refuses) them.
    AppendResponse = 2,
    /// A candidate asks for a vote.
    Vote = 3,
    /// The vote.
    VoteResponse = 4,
    /// A follower asks whether it would get votes.
    PreVote = 5,
    /// It would, or not.
    PreVoteResponse = 6,
    /// The leader is there.
    Heartbeat = 7,
    /// The follower, too.
    HeartbeatResponse = 8,
    /// A follower is too far behind the log.
    Snapshot = 9,
    /// The receiver should lead now.
    TimeoutNow = 10,
    /// No traffic: sleep until something happens.
    Sleep = 11,
    /// A replica that lost its data asks what it may have promised.
    RefillQuery = 12,
    /// The answer: the answerer's term and commit index.
    RefillAnswer = 13,
    /// The leader's word on how far the receiver's log is committed: `commit`, which is in it. Not answered.
    Committed = 14,
}

impl MessageKind {
    const ALL: [Self; 14] = [
        Self::Append,
        Self::AppendResponse,
        Self::Vote,
        Self::VoteResponse,
        Self::PreVote,
        Self::PreVoteResponse,
        Self::Heartbeat,
        Self::HeartbeatResponse,
        Self::Snapshot,
        Self::TimeoutNow,
        Self::Sleep,
        Self::RefillQuery,
        Self::RefillAnswer,
        Self::Committed,
    ];

    /// The number that stands for it on the wire.
    #[must_use]
    pub const fn number(self) -> u32 {
        self as u32
    }

    /// The kind with this number.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }
}

/// One entry of a group's log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LogEntry {
    /// Whose payload it is.
    pub kind: EntryKind,
    /// The term in which it was proposed.
    pub term: Term,
    /// Its position.
    pub index: LogIndex,
    /// The payload; empty in the entry with which a leader begins its term.
    pub payload: Bytes,
}

/// Whose payload an entry carries, with its stable number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum EntryKind {
    /// The shell's.
    Normal = 0,
    /// A change of membership.
    Membership = 1,
}

impl EntryKind {
    /// The number that stands for it on disk and on the wire.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The kind with this number.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Normal),
            1 => Some(Self::Membership),
            _ => None,
        }
    }
}

/// Liveness between two nodes, once for all groups that they share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NodeHeartbeat {
    /// Counts up from 1 with each incarnation of the sender.
    pub sequence: u64,
    /// The newest own heartbeat whose acknowledgement the sender has processed: revocations that came
    /// with it need no repeating.
    pub processed: u64,
}

/// The answer to a [`NodeHeartbeat`]; each is answered at most once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NodeHeartbeatAck {
    /// The incarnation whose heartbeat it answers.
    pub incarnation: Epoch,
    /// The heartbeat that it answers.
    pub sequence: u64,
    /// Groups in which the answerer no longer follows the receiver.
    pub revoked: Vec<Revocation>,
}

/// In this group the sender has moved past the term in which it followed the receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Revocation {
    /// The group.
    pub group: PartitionId,
    /// The sender's term there; 0 when it no longer hosts the group.
    pub term: Term,
}
