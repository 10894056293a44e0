//! Clients: they write unique values to whoever leads, and read everywhere.

use bytes::Bytes;
use rand::Rng;
use replication::ReadToken;
use units::{NodeId, PartitionId};

use super::{Event, MILLI, World};

impl World {
    pub(super) fn client(&mut self) {
        let pause = self.rng.random_range(2..30) * MILLI;
        self.after(pause, Event::Client);
        let (nodes, groups) = (self.node_ids(), self.groups());
        let node = nodes[self.rng.random_range(0..nodes.len())];
        let group = groups[self.rng.random_range(0..groups.len())];
        if self.nodes[&node].paused_until > self.now || self.nodes[&node].live.is_none() {
            return;
        }
        self.read(node, group);
        if !self.clients_idle {
            for node in nodes {
                if self.nodes[&node].paused_until <= self.now {
                    self.propose(node, group);
                }
            }
        }
    }

    pub(super) fn propose(&mut self, node: NodeId, group: PartitionId) {
        let value = self.next_value;
        self.next_value += 1;
        let size = self.rng.random_range(8..200);
        let mut payload = value.to_be_bytes().to_vec();
        payload.resize(size, 7);
        let payload = Bytes::from(payload);
        let mut proposed = None;
        self.with_core(node, |core, now| proposed = core.propose(group, payload.clone(), now).ok());
        let (Some((term, index)), Some(live)) = (proposed, &mut self.nodes.get_mut(&node).unwrap().live)
        else {
            return;
        };
        // Alone, an entry may be committed at once only after its persistence, so this is never too late.
        live.pending.insert((group, index), (term, payload));
    }

    pub(super) fn read(&mut self, id: NodeId, group: PartitionId) {
        let seen = self.checks.observed(group);
        let node = self.nodes.get_mut(&id).unwrap();
        let now = node.clock.read(self.now);
        let live = node.live.as_mut().unwrap();
        if live.leases[&group].is_valid(now) {
            self.reached.lease_reads += 1;
            self.checks.read(id, group, live.states[&group].at.index, seen, "lease");
        }
        if self.clients_idle {
            return;
        }
        let token = self.next_read;
        self.next_read += 1;
        live.reads.insert(token, (group, seen));
        let mut asked = false;
        self.with_core(id, |core, now| asked = core.read_index(group, ReadToken(token), now).is_ok());
        if !asked && let Some(live) = &mut self.nodes.get_mut(&id).unwrap().live {
            live.reads.remove(&token);
        }
    }
}
