//! One leader's time in one term: when it may serve, who confirmed it, how long its lease lasts.

use std::collections::{BTreeMap, BTreeSet};

use units::{Epoch, LogIndex, NodeId, Timestamp};

use crate::config::SeededBug;
use crate::recovered::Membership;
use crate::shared::Shared;

#[derive(Debug)]
pub(crate) struct Reign {
    /// The entry with which the term began; once applied, so is everything acknowledged before.
    pub(crate) first: LogIndex,
    /// Every earlier lease is over then.
    pub(crate) may_serve_from: Timestamp,
    pub(crate) serving: bool,
    /// A transfer was begun: no lease in this term any more, whatever becomes of the transfer.
    pub(crate) lease_given_up: bool,
    members: BTreeMap<NodeId, Standing>,
}

/// What one incarnation of a member last said in this term.
#[derive(Clone, Copy, Debug)]
struct Standing {
    incarnation: Epoch,
    follows: bool,
}

impl Reign {
    pub(crate) const fn new(first: LogIndex, may_serve_from: Timestamp) -> Self {
        Self { first, may_serve_from, serving: false, lease_given_up: false, members: BTreeMap::new() }
    }

    /// A member's incarnation follows in this term. Says whether that is news. One that said that it does
    /// not any more is not believed again: its messages may have overtaken each other.
    pub(crate) fn confirm(&mut self, member: NodeId, incarnation: Epoch) -> bool {
        match self.members.get(&member) {
            Some(standing) if standing.incarnation >= incarnation => false,
            _ => {
                self.members.insert(member, Standing { incarnation, follows: true });
                true
            }
        }
    }

    /// A member's incarnation does not follow any more.
    pub(crate) fn bar(&mut self, member: NodeId, incarnation: Epoch) {
        self.members.insert(member, Standing { incarnation, follows: false });
    }

    pub(crate) fn is_confirmed(&self, member: NodeId, incarnation: Epoch) -> bool {
        self.members
            .get(&member)
            .is_some_and(|standing| standing.follows && standing.incarnation == incarnation)
    }

    /// Until when no other leader can serve: a quorum of both sets of voters acknowledged heartbeats that
    /// were sent no longer ago than a lease.
    pub(crate) fn lease_end(&self, membership: &Membership, shared: &Shared) -> Option<Timestamp> {
        if self.lease_given_up {
            return None;
        }
        let mut sent = self.quorum_sent(&membership.voters, shared)?;
        if !membership.outgoing.is_empty() {
            sent = sent.min(self.quorum_sent(&membership.outgoing, shared)?);
        }
        Some(if sent == FOREVER { FOREVER } else { sent + shared.config.held_lease() })
    }

    /// The sending time that a quorum of these voters acknowledged at least. This node needs no
    /// acknowledgement of its own.
    fn quorum_sent(&self, voters: &BTreeSet<NodeId>, shared: &Shared) -> Option<Timestamp> {
        let mut sent: Vec<Timestamp> =
            voters.iter().filter_map(|voter| self.member_sent(*voter, shared)).collect();
        sent.sort_unstable_by(|a, b| b.cmp(a));
        sent.get(voters.len() / 2).copied()
    }

    fn member_sent(&self, member: NodeId, shared: &Shared) -> Option<Timestamp> {
        if member == shared.me() {
            return Some(FOREVER);
        }
        let peer = shared.peers.get(&member)?;
        let confirmed =
            self.is_confirmed(member, peer.incarnation) || (shared.has_bug(SeededBug::CountUnconfirmed));
        if confirmed { peer.acknowledged() } else { None }
    }
}

/// Later than any clock: what a node acknowledges to itself.
const FOREVER: Timestamp = Timestamp::from_nanos(u64::MAX);
