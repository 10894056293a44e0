//! The groups' messages as they travel: the one home of the conversion between `replication`'s plain
//! types and `wire::proto::replication`.

use admission::Spare;
use bytes::Bytes;
use replication::{
    EntryKind, Envelope, GroupMessage, LogEntry, Membership, MessageKind, NodeHeartbeat, NodeHeartbeatAck,
    Position, Revocation, SnapshotPosition,
};
use units::{Epoch, LogIndex, MilliUnits, NodeId, PartitionId, Term};
use wire::proto::replication as proto;

/// What a node sent to another.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) from: NodeId,
    pub(crate) envelope: Envelope,
    /// What the sender could still give to bursts.
    pub(crate) spare: Option<Spare>,
}

/// An envelope as it travels, with what the sender could still give to bursts.
pub(crate) fn envelope(from: NodeId, envelope: Envelope, spare: Option<Spare>) -> proto::Envelope {
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
        spare: spare.map(|spare| proto::SpareCapacity { read: spare.read.get(), write: spare.write.get() }),
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

/// A received envelope, typed; messages of unknown kinds are left out, as if lost.
pub(crate) fn typed_envelope(envelope: proto::Envelope) -> Received {
    let spare = envelope
        .spare
        .map(|spare| Spare { read: MilliUnits::new(spare.read), write: MilliUnits::new(spare.write) });
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
    Received { from: NodeId::new(envelope.from_node), envelope: typed, spare }
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

#[cfg(test)]
mod tests {
    use proptest::collection::{btree_set, vec};
    use proptest::option;
    use proptest::prelude::*;

    use super::*;

    fn nodes() -> impl Strategy<Value = std::collections::BTreeSet<NodeId>> {
        btree_set(any::<u64>().prop_map(NodeId::new), 0..4)
    }

    fn some_membership() -> impl Strategy<Value = Membership> {
        (nodes(), nodes(), nodes(), nodes(), any::<bool>()).prop_map(
            |(voters, learners, outgoing, learners_next, auto_leave)| Membership {
                voters,
                learners,
                outgoing,
                learners_next,
                auto_leave,
            },
        )
    }

    fn some_entry() -> impl Strategy<Value = LogEntry> {
        (any::<bool>(), any::<[u64; 2]>(), vec(any::<u8>(), 0..20)).prop_map(
            |(membership, [term, index], payload)| LogEntry {
                kind: if membership { EntryKind::Membership } else { EntryKind::Normal },
                term: Term::new(term),
                index: LogIndex::new(index),
                payload: payload.into(),
            },
        )
    }

    fn some_snapshot() -> impl Strategy<Value = SnapshotPosition> {
        (any::<[u64; 2]>(), some_membership()).prop_map(|([index, term], membership)| SnapshotPosition {
            at: Position { index: LogIndex::new(index), term: Term::new(term) },
            membership,
        })
    }

    fn some_message() -> impl Strategy<Value = GroupMessage> {
        let kind = (1..=13_u32).prop_map(|number| MessageKind::from_number(number).unwrap());
        let rest = (any::<bool>(), any::<i64>(), vec(any::<u8>(), 0..9));
        (kind, any::<[u64; 10]>(), rest, vec(some_entry(), 0..3), option::of(some_snapshot())).prop_map(
            |(kind, n, (reject, priority, context), entries, snapshot)| GroupMessage {
                group: PartitionId::new(n[0]),
                kind,
                from: NodeId::new(n[1]),
                to: NodeId::new(n[2]),
                term: Term::new(n[3]),
                log_term: Term::new(n[4]),
                index: LogIndex::new(n[5]),
                commit: LogIndex::new(n[6]),
                commit_term: Term::new(n[7]),
                reject,
                reject_hint: LogIndex::new(n[8]),
                request_snapshot: LogIndex::new(n[9]),
                priority,
                context: context.into(),
                entries,
                snapshot,
            },
        )
    }

    fn some_ack() -> impl Strategy<Value = NodeHeartbeatAck> {
        (any::<[u64; 2]>(), vec(any::<[u64; 2]>(), 0..3)).prop_map(|([incarnation, sequence], revoked)| {
            let revocation = |[group, term]: [u64; 2]| Revocation {
                group: PartitionId::new(group),
                term: Term::new(term),
            };
            NodeHeartbeatAck {
                incarnation: Epoch::new(incarnation),
                sequence,
                revoked: revoked.into_iter().map(revocation).collect(),
            }
        })
    }

    proptest! {
        #[test]
        fn an_envelope_arrives_as_it_was_sent(
            from_incarnation in any::<u64>(),
            messages in vec(some_message(), 0..3),
            heartbeat in option::of(any::<[u64; 2]>()),
            heartbeat_ack in option::of(some_ack()),
            spare in option::of(any::<[u64; 2]>()),
        ) {
            let sent = Envelope {
                from_incarnation: Epoch::new(from_incarnation),
                messages,
                heartbeat: heartbeat.map(|[sequence, processed]| NodeHeartbeat { sequence, processed }),
                heartbeat_ack,
            };
            let spare = spare
                .map(|[read, write]| Spare { read: MilliUnits::new(read), write: MilliUnits::new(write) });
            let bytes = prost::Message::encode_to_vec(&envelope(NodeId::new(5), sent.clone(), spare));
            let received = prost::Message::decode(bytes.as_slice()).unwrap();
            let expected = Received { from: NodeId::new(5), envelope: sent, spare };
            prop_assert_eq!(typed_envelope(received), expected);
        }
    }
}
