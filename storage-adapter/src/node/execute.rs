//! Requests at the loop: writes are evaluated against the newest version, applied or proposed, and
//! become proposals; reads without a lease ask a quorum.

use std::sync::Arc;

use dynamodb::operation::Outcome;
use replication::{Position, ReadToken, Refused};
use units::{NodeId, PartitionId, Timestamp};

use super::group::{Confirmed, Group, Held};
use super::hosted::Hosted;
use super::node_loop::NodeLoop;
use super::reads::{self, unreadable};
use super::reply::Reply;
use super::request::Request;
use super::{send_on, unavailable};
use crate::{evaluate, metrics};

impl NodeLoop {
    /// Executes a write or a strong read, holds it until this node serves, or says where to go.
    pub(super) fn execute(&mut self, request: Request, now: Timestamp) {
        if request.reply.is_abandoned(now) {
            return;
        }
        let partition = request.hosted.partition();
        let Some(group) = self.groups.get_mut(&partition) else {
            return request.reply.refuse(crate::StoreError::Unknown);
        };
        if group.serving.is_none() {
            if is_elsewhere(&request.hosted, self.shared.node) {
                return send_on(&self.shared, &request.hosted, request.reply);
            }
            // Nobody leads yet, or this node waits the old leader's lease out.
            return hold(group, Held::Request(request), self.shared.limits.held_requests);
        }
        // The group takes no writes until the successor leads: a moment, after which the caller is told
        // where that is.
        if request.operation.is_write() && self.core.is_handing_over(partition) {
            return hold(group, Held::Request(request), self.shared.limits.held_requests);
        }
        if request.operation.is_write() {
            self.write(partition, request, now);
        } else if request.hosted.lease.is_valid(wire::clock::now()) {
            reads::read(&self.shared, request);
        } else {
            self.ask(partition, Confirmed::Read(request), now);
        }
    }

    fn write(&mut self, partition: PartitionId, request: Request, now: Timestamp) {
        let group = self.groups.get_mut(&partition).expect("the caller found the group");
        let Request { hosted: _, operation, reply, admitted } = request;
        // Those before it may have changed much larger items than they were charged for.
        if let Err(refusal) = admitted.recheck() {
            return reply.refuse(crate::StoreError::Throttled(Box::new(refusal)));
        }
        let (current, depends_on) = match group.newest(&operation.routing_key().0) {
            Ok(newest) => newest,
            Err(error) => return reply.refuse(unreadable(&self.shared, partition, &error)),
        };
        let (outcome, effect) = evaluate::write(&operation, current, &self.shared.expressions);
        let Some(effect) = effect else {
            admitted.settle(&operation, &outcome);
            // It is true only if what it depends on, proposed in this term, comes true.
            let depends_on = depends_on.zip(group.serving).map(|(index, term)| Position { index, term });
            return self.answer_unchanged(partition, depends_on, outcome, reply, now);
        };
        match self.core.propose(partition, effect.encode(), now) {
            Ok((term, index)) => {
                metrics::proposed();
                admitted.settle(&operation, &outcome);
                let group = self.groups.get_mut(&partition).expect("the caller found the group");
                group.proposed(effect, Position { index, term }, outcome, reply);
            }
            Err(Refused::NotLeader { .. }) => self.turn_away(partition, reply),
            Err(Refused::Busy) => reply.overloaded(),
            Err(Refused::Unknown) => reply.refuse(crate::StoreError::Unknown),
        }
    }

    /// Answers a write that changes nothing: in truth a read, which a leader that was replaced without
    /// knowing it must not answer, not even once what it depends on is applied.
    fn answer_unchanged(
        &mut self,
        partition: PartitionId,
        depends_on: Option<Position>,
        outcome: Outcome,
        reply: Reply,
        now: Timestamp,
    ) {
        let group = self.groups.get_mut(&partition).expect("the caller found the group");
        match (group.hosted.lease.is_valid(wire::clock::now()), depends_on) {
            (true, None) => reply.outcome(outcome),
            (true, Some(on)) => group.depends(on, outcome, reply),
            (false, _) => self.ask(partition, Confirmed::Answer(outcome, reply, depends_on), now),
        }
    }

    /// Asks a quorum whether this node still leads.
    fn ask(&mut self, partition: PartitionId, what: Confirmed, now: Timestamp) {
        metrics::quorum_read();
        let token = ReadToken(self.next_token);
        self.next_token += 1;
        let refused = match self.core.read_index(partition, token, now) {
            Ok(()) => {
                self.asked.insert(token, (partition, what));
                return;
            }
            Err(refused) => refused,
        };
        let (Confirmed::Read(Request { reply, .. }) | Confirmed::Answer(_, reply, _)) = what;
        match refused {
            Refused::NotLeader { .. } => self.turn_away(partition, reply),
            Refused::Busy => reply.overloaded(),
            Refused::Unknown => reply.refuse(crate::StoreError::Unknown),
        }
    }

    /// Sends the caller to the next leader, as soon as that is known: here, if this node leads again. Then no
    /// change of leadership follows that would release whoever is held.
    pub(super) fn turn_away(&mut self, partition: PartitionId, reply: Reply) {
        let serves = self.serves(partition);
        match self.groups.get_mut(&partition) {
            None => reply.refuse(crate::StoreError::Unknown),
            Some(group) if serves || is_elsewhere(&group.hosted, self.shared.node) => {
                send_on(&self.shared, &group.hosted, reply);
            }
            Some(group) => hold(group, Held::Turned(reply), self.shared.limits.held_requests),
        }
    }

    /// Whether this node serves the group, goes on to do so as far as is known, and has carried out all that
    /// follows from it.
    fn serves(&self, partition: PartitionId) -> bool {
        let Some(group) = self.groups.get(&partition) else { return false };
        let lease = &group.hosted.lease;
        group.serving == Some(lease.term()) && lease.serving() && !self.core.is_handing_over(partition)
    }

    /// Releases what is held although this node serves: whoever waits for a change of leadership that has
    /// taken place already would wait until its deadline.
    pub(super) fn release_where_served(&mut self, now: Timestamp) {
        let held = self.groups.iter().filter(|(_, group)| !group.held.is_empty());
        let held: Vec<_> = held.map(|(partition, _)| *partition).collect();
        for partition in held {
            if self.serves(partition) {
                self.release_held(partition, now);
            }
        }
    }

    /// The group has a leader again: what waited for one is executed, or sent there.
    pub(super) fn release_held(&mut self, partition: PartitionId, now: Timestamp) {
        let Some(group) = self.groups.get_mut(&partition) else { return };
        let hosted = Arc::clone(&group.hosted);
        for held in std::mem::take(&mut group.held) {
            match held {
                Held::Request(request) => self.execute(request, now),
                Held::Turned(reply) => send_on(&self.shared, &hosted, reply),
            }
        }
    }
}

fn is_elsewhere(hosted: &Hosted, here: NodeId) -> bool {
    hosted.lease.leader().is_some_and(|leader| leader != here)
}

fn hold(group: &mut Group, held: Held, at_most: usize) {
    if group.held.len() < at_most {
        return group.held.push_back(held);
    }
    let (Held::Request(Request { reply, .. }) | Held::Turned(reply)) = held;
    reply.refuse(unavailable("too many requests wait for the partition to have a leader"));
}
