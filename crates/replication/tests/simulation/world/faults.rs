//! What goes wrong, and its end.

use rand::Rng;
use units::NodeId;

use super::{Event, Live, MILLI, World, nanos};

impl World {
    pub(super) fn fault(&mut self) {
        let pause = self.rng.random_range(50 * MILLI..nanos(self.plan.fault_gap));
        self.after(pause, Event::Fault);
        let nodes = self.node_ids();
        let one = nodes[self.rng.random_range(0..nodes.len())];
        let other = nodes[self.rng.random_range(0..nodes.len())];
        let group = self.groups()[self.rng.random_range(0..self.groups().len())];
        let leader = self.holder(group).unwrap_or(one);
        let mut fault = self.rng.random_range(0..17);
        if !self.plan.focus.is_empty() && self.rng.random_bool(0.5) {
            fault = self.plan.focus[self.rng.random_range(0..self.plan.focus.len())];
        }
        match fault {
            0 => {
                self.cut.insert((one, other));
            }
            1 => {
                self.cut.insert((one, other));
                self.cut.insert((other, one));
            }
            2 => {
                for node in &nodes {
                    self.cut.insert((leader, *node));
                    self.cut.insert((*node, leader));
                }
            }
            3 | 4 => {
                self.cut.clear();
                self.muffled.clear();
            }
            5 => self.loss = self.rng.random_range(0.0..0.3),
            6 => self.loss = 0.0,
            7 => self.crash_for(one),
            8 => self.crash_for(leader),
            9 => self.wipe(one),
            10 => self.pause(leader),
            11 => self.pause(one),
            12 => {
                let rate = self.rng.random_range(991..=1009);
                let now = self.now;
                self.nodes.get_mut(&one).unwrap().clock.set_rate(now, rate);
            }
            13 => {
                let node = self.nodes.get_mut(&one).unwrap();
                node.slow_disk = !node.slow_disk;
            }
            14 => {
                self.reached.transfers += 1;
                self.with_core(leader, |core, now| core.transfer_leadership(group, other, now));
            }
            15 => {
                self.muffled.insert((leader, other));
                self.muffled.insert((other, leader));
            }
            _ => {
                self.clients_idle = !self.clients_idle;
                let groups = self.groups();
                for (node, group) in nodes.iter().flat_map(|node| groups.iter().map(|group| (*node, *group)))
                {
                    self.checkpoint(node, group);
                }
            }
        }
    }

    pub(super) fn crash_for(&mut self, node: NodeId) {
        if self.nodes[&node].live.is_some() {
            self.crash(node);
            let down = self.rng.random_range(50..2500) * MILLI;
            self.after(down, Event::Restart(node));
        }
    }

    /// Deletes a disk, unless another replica is without its data: two of three lost are lost.
    pub(super) fn wipe(&mut self, id: NodeId) {
        let groups = self.groups();
        let whole = self.nodes.values().all(|node| {
            let refilling = |live: &Live| groups.iter().any(|group| live.core.is_refilling(*group));
            !node.wiped && node.live.as_ref().is_some_and(|live| !refilling(live))
        });
        if !whole {
            return;
        }
        self.reached.refills += 1;
        self.crash_for(id);
        let node = self.nodes.get_mut(&id).unwrap();
        node.disk.wipe();
        node.checkpoints.clear();
        node.staged.clear();
        node.wiped = true;
    }

    pub(super) fn pause(&mut self, node: NodeId) {
        let pause = self.rng.random_range(100..3000) * MILLI;
        self.nodes.get_mut(&node).unwrap().paused_until = self.now + pause;
    }

    pub(super) fn heal(&mut self) {
        self.cut.clear();
        self.muffled.clear();
        self.loss = 0.0;
        self.clients_idle = false;
        self.queue.retain(|_, event| !matches!(event, Event::Fault));
        for node in self.node_ids() {
            let healed = self.nodes.get_mut(&node).unwrap();
            healed.slow_disk = false;
            healed.paused_until = healed.paused_until.min(self.now);
        }
    }
}
