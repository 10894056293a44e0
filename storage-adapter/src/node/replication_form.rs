//! The groups' messages as they travel: the one home of the conversion between `replication`'s plain
//! types and `wire::proto::replication`.

use bytes::Bytes;
use replication::{
    EntryKind, Envelope, GroupMessage, LogEntry, Membership, MessageKind, NodeHeartbeat, NodeHeartbeatAck,
    Position, Revocation, SnapshotPosition,
};
use units::{Epoch, LogIndex, NodeId, PartitionId, Term};
use wire::proto::replication as proto;

/// An envelope as it travels.
pub(crate) fn envelope(from: NodeId, envelope: Envelope) -> proto::Envelope {
    proto::Envelope {
        from_node: from.get(),
        from_incarnation: envelope.from_incarnation.get(),
        messages: envelope.messages.into_iter().map(message).collect(),
        heartbeat: envelope.heartbeat.map(|heartbeat| proto::NodeHeartbeat {
            sequence: heartbeat.sequence,
            processed: heartbeat.processed,
        }),
        heartbeat_ack: envelope.heartbeat_ack.map(|ack| proto::NodeHeartbeatAck {
            sequence: ack.sequence,
            incarnation: ack.incarnation.get(),
            revoked: ack.revoked.into_iter().map(revocation).collect(),
        }),
    }
}

fn revocation(revocation: Revocation) -> proto::Revocation {
    proto::Revocation { group: revocation.group.get(), term: revocation.term.get() }
}

/// A group's message as it travels.
pub(crate) fn message(message: GroupMessage) -> proto::GroupMessage {
    proto::GroupMessage {
        group: message.group.get(),
        kind: message.kind.number(),
        to: message.to.get(),
        from: message.from.get(),
        term: message.term.get(),
        log_term: message.log_term.get(),
        index: message.index.get(),
        commit: message.commit.get(),
        commit_term: message.commit_term.get(),
        reject: message.reject,
        reject_hint: message.reject_hint.get(),
        request_snapshot: message.request_snapshot.get(),
        priority: message.priority,
        context: message.context,
        entries: message.entries.into_iter().map(entry).collect(),
        snapshot: message.snapshot.map(snapshot),
    }
}

fn entry(entry: LogEntry) -> proto::LogEntry {
    proto::LogEntry {
        kind: entry.kind.number().into(),
        term: entry.term.get(),
        index: entry.index.get(),
        data: entry.payload,
        context: Bytes::new(),
    }
}

fn snapshot(position: SnapshotPosition) -> proto::SnapshotPosition {
    let numbers = |nodes: std::collections::BTreeSet<NodeId>| nodes.into_iter().map(NodeId::get).collect();
    let membership = position.membership;
    proto::SnapshotPosition {
        index: position.at.index.get(),
        term: position.at.term.get(),
        membership: Some(proto::Membership {
            voters: numbers(membership.voters),
            learners: numbers(membership.learners),
            voters_outgoing: numbers(membership.outgoing),
            learners_next: numbers(membership.learners_next),
            auto_leave: membership.auto_leave,
        }),
        data: Bytes::new(),
    }
}

/// A received envelope, typed, with its sender; messages of unknown kinds are left out, as if lost.
pub(crate) fn typed_envelope(envelope: proto::Envelope) -> (NodeId, Envelope) {
    let typed = Envelope {
        from_incarnation: Epoch::new(envelope.from_incarnation),
        messages: envelope.messages.into_iter().filter_map(typed_message).collect(),
        heartbeat: envelope
            .heartbeat
            .map(|heartbeat| NodeHeartbeat { sequence: heartbeat.sequence, processed: heartbeat.processed }),
        heartbeat_ack: envelope.heartbeat_ack.map(|ack| NodeHeartbeatAck {
            incarnation: Epoch::new(ack.incarnation),
            sequence: ack.sequence,
            revoked: ack.revoked.into_iter().map(typed_revocation).collect(),
        }),
    };
    (NodeId::new(envelope.from_node), typed)
}

fn typed_revocation(revocation: proto::Revocation) -> Revocation {
    Revocation { group: PartitionId::new(revocation.group), term: Term::new(revocation.term) }
}

/// A received message of a group, typed; none: of an unknown kind.
pub(crate) fn typed_message(message: proto::GroupMessage) -> Option<GroupMessage> {
    Some(GroupMessage {
        group: PartitionId::new(message.group),
        kind: MessageKind::from_number(message.kind)?,
        from: NodeId::new(message.from),
        to: NodeId::new(message.to),
        term: Term::new(message.term),
        log_term: Term::new(message.log_term),
        index: LogIndex::new(message.index),
        commit: LogIndex::new(message.commit),
        commit_term: Term::new(message.commit_term),
        reject: message.reject,
        reject_hint: LogIndex::new(message.reject_hint),
        request_snapshot: LogIndex::new(message.request_snapshot),
        priority: message.priority,
        context: message.context,
        entries: message.entries.into_iter().map(typed_entry).collect::<Option<_>>()?,
        snapshot: message.snapshot.map(typed_snapshot),
    })
}

fn typed_entry(entry: proto::LogEntry) -> Option<LogEntry> {
    Some(LogEntry {
        kind: EntryKind::from_number(u8::try_from(entry.kind).ok()?)?,
        term: Term::new(entry.term),
        index: LogIndex::new(entry.index),
        payload: entry.data,
    })
}

fn typed_snapshot(position: proto::SnapshotPosition) -> SnapshotPosition {
    let nodes = |numbers: Vec<u64>| numbers.into_iter().map(NodeId::new).collect();
    let membership = position.membership.unwrap_or_default();
    SnapshotPosition {
        at: Position { index: LogIndex::new(position.index), term: Term::new(position.term) },
        membership: Membership {
            voters: nodes(membership.voters),
            learners: nodes(membership.learners),
            outgoing: nodes(membership.voters_outgoing),
            learners_next: nodes(membership.learners_next),
            auto_leave: membership.auto_leave,
        },
    }
}
