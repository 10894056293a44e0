//! Between our plain types and the consensus library's.

use bytes::Bytes;
use raft::eraftpb;
use raft::eraftpb::MessageType;
use units::{LogIndex, NodeId, PartitionId, Term};

use crate::message::{EntryKind, GroupMessage, LogEntry, MessageKind};
use crate::recovered::{HardState, Membership, Position, SnapshotPosition};

/// The library's form of a message; `None` for the kinds that are ours alone.
pub(crate) fn to_raft(message: GroupMessage) -> Option<eraftpb::Message> {
    let mut raft = eraftpb::Message::default();
    raft.set_msg_type(match message.kind {
        MessageKind::Append => MessageType::MsgAppend,
        MessageKind::AppendResponse => MessageType::MsgAppendResponse,
        MessageKind::Vote => MessageType::MsgRequestVote,
        MessageKind::VoteResponse => MessageType::MsgRequestVoteResponse,
        MessageKind::PreVote => MessageType::MsgRequestPreVote,
        MessageKind::PreVoteResponse => MessageType::MsgRequestPreVoteResponse,
        MessageKind::Heartbeat => MessageType::MsgHeartbeat,
        MessageKind::HeartbeatResponse => MessageType::MsgHeartbeatResponse,
        MessageKind::Snapshot => MessageType::MsgSnapshot,
        MessageKind::TimeoutNow => MessageType::MsgTimeoutNow,
        MessageKind::Sleep
        | MessageKind::RefillQuery
        | MessageKind::RefillAnswer
        | MessageKind::Committed => return None,
    });
    raft.to = message.to.get();
    raft.from = message.from.get();
    raft.term = message.term.get();
    raft.log_term = message.log_term.get();
    raft.index = message.index.get();
    raft.commit = message.commit.get();
    raft.commit_term = message.commit_term.get();
    raft.reject = message.reject;
    raft.reject_hint = message.reject_hint.get();
    raft.request_snapshot = message.request_snapshot.get();
    raft.priority = message.priority;
    raft.context = message.context;
    raft.set_entries(message.entries.into_iter().map(entry_to_raft).collect::<Vec<_>>().into());
    if let Some(snapshot) = message.snapshot {
        raft.set_snapshot(snapshot_to_raft(&snapshot));
    }
    Some(raft)
}

/// Our form of a message that the library sends; `None` for what is only forwarded or local.
pub(crate) fn from_raft(group: PartitionId, mut raft: eraftpb::Message) -> Option<GroupMessage> {
    let kind = match raft.get_msg_type() {
        MessageType::MsgAppend => MessageKind::Append,
        MessageType::MsgAppendResponse => MessageKind::AppendResponse,
        MessageType::MsgRequestVote => MessageKind::Vote,
        MessageType::MsgRequestVoteResponse => MessageKind::VoteResponse,
        MessageType::MsgRequestPreVote => MessageKind::PreVote,
        MessageType::MsgRequestPreVoteResponse => MessageKind::PreVoteResponse,
        MessageType::MsgHeartbeat => MessageKind::Heartbeat,
        MessageType::MsgHeartbeatResponse => MessageKind::HeartbeatResponse,
        MessageType::MsgSnapshot => MessageKind::Snapshot,
        MessageType::MsgTimeoutNow => MessageKind::TimeoutNow,
        _ => return None,
    };
    let entries = raft.take_entries().into_iter().map(|entry| entry_from_raft(&entry)).collect();
    let snapshot = raft.has_snapshot().then(|| snapshot_from_raft(raft.get_snapshot()));
    Some(GroupMessage {
        group,
        kind,
        from: NodeId::new(raft.from),
        to: NodeId::new(raft.to),
        term: Term::new(raft.term),
        log_term: Term::new(raft.log_term),
        index: LogIndex::new(raft.index),
        commit: LogIndex::new(raft.commit),
        commit_term: Term::new(raft.commit_term),
        reject: raft.reject,
        reject_hint: LogIndex::new(raft.reject_hint),
        request_snapshot: LogIndex::new(raft.request_snapshot),
        priority: raft.priority,
        context: std::mem::take(&mut raft.context),
        entries,
        snapshot,
    })
}

pub(crate) fn entry_to_raft(entry: LogEntry) -> eraftpb::Entry {
    let mut raft = eraftpb::Entry::default();
    raft.set_entry_type(match entry.kind {
        EntryKind::Normal => eraftpb::EntryType::EntryNormal,
        EntryKind::Membership => eraftpb::EntryType::EntryConfChangeV2,
    });
    raft.term = entry.term.get();
    raft.index = entry.index.get();
    raft.data = entry.payload;
    raft
}

pub(crate) fn entry_from_raft(raft: &eraftpb::Entry) -> LogEntry {
    let kind = match raft.get_entry_type() {
        eraftpb::EntryType::EntryNormal => EntryKind::Normal,
        eraftpb::EntryType::EntryConfChange | eraftpb::EntryType::EntryConfChangeV2 => EntryKind::Membership,
    };
    LogEntry {
        kind,
        term: Term::new(raft.term),
        index: LogIndex::new(raft.index),
        payload: Bytes::clone(&raft.data),
    }
}

pub(crate) fn hard_state_to_raft(state: &HardState) -> eraftpb::HardState {
    eraftpb::HardState {
        term: state.term.get(),
        vote: state.vote.map_or(0, NodeId::get),
        commit: state.commit.get(),
        ..Default::default()
    }
}

pub(crate) fn hard_state_from_raft(raft: &eraftpb::HardState) -> HardState {
    HardState { term: Term::new(raft.term), vote: node(raft.vote), commit: LogIndex::new(raft.commit) }
}

pub(crate) fn membership_to_raft(membership: &Membership) -> eraftpb::ConfState {
    let ids = |nodes: &std::collections::BTreeSet<NodeId>| nodes.iter().map(|node| node.get()).collect();
    eraftpb::ConfState {
        voters: ids(&membership.voters),
        learners: ids(&membership.learners),
        voters_outgoing: ids(&membership.outgoing),
        learners_next: ids(&membership.learners_next),
        auto_leave: membership.auto_leave,
        ..Default::default()
    }
}

pub(crate) fn membership_from_raft(raft: &eraftpb::ConfState) -> Membership {
    let nodes = |ids: &[u64]| ids.iter().map(|id| NodeId::new(*id)).collect();
    Membership {
        voters: nodes(&raft.voters),
        learners: nodes(&raft.learners),
        outgoing: nodes(&raft.voters_outgoing),
        learners_next: nodes(&raft.learners_next),
        auto_leave: raft.auto_leave,
    }
}

pub(crate) fn snapshot_to_raft(snapshot: &SnapshotPosition) -> eraftpb::Snapshot {
    let mut raft = eraftpb::Snapshot::default();
    let metadata = raft.mut_metadata();
    metadata.index = snapshot.at.index.get();
    metadata.term = snapshot.at.term.get();
    metadata.set_conf_state(membership_to_raft(&snapshot.membership));
    raft
}

pub(crate) fn snapshot_from_raft(raft: &eraftpb::Snapshot) -> SnapshotPosition {
    let metadata = raft.get_metadata();
    SnapshotPosition {
        at: Position { index: LogIndex::new(metadata.index), term: Term::new(metadata.term) },
        membership: membership_from_raft(metadata.get_conf_state()),
    }
}

/// The library's 0 is nobody.
pub(crate) fn node(raw: u64) -> Option<NodeId> {
    (raw != 0).then(|| NodeId::new(raw))
}
