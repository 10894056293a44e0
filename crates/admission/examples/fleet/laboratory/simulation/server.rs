//! One simulated GAC server: the real allocator, and whether it can be reached.

use admission::{
    Allocator, AllocatorConfig, BucketId, BucketState, Grant, Quota, ReportEntry, ReportHeader, Ring,
};
use units::{Epoch, Timestamp};

/// Buckets that are handed over in one message.
const HANDED_AT_ONCE: usize = 1_000;

/// A server's answer to one report.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) grants: Vec<Grant>,
    /// Live proxies.
    pub(crate) fleet: u32,
    /// The ring, when the proxy's is older.
    pub(crate) ring: Option<Ring>,
}

/// A GAC server; while it is down it has no allocator.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) name: String,
    pub(crate) allocator: Option<Allocator>,
    /// Grows with each start: messages of an earlier life are lost with their connection.
    pub(crate) life: u64,
    /// Alive, but no message of a proxy reaches it or leaves it.
    pub(crate) cut: bool,
    /// Alive, but neither the control plane nor other servers reach it.
    pub(crate) cut_from_control: bool,
    config: AllocatorConfig,
}

impl Server {
    pub(crate) fn start(
        number: usize,
        config: AllocatorConfig,
        quotas: &[(BucketId, Quota)],
        now: Timestamp,
    ) -> Self {
        let name = name_of(number);
        let mut server = Self { name, allocator: None, life: 0, cut: false, cut_from_control: false, config };
        server.restart(quotas, now);
        server
    }

    /// Loses everything but what the control plane tells.
    pub(crate) fn restart(&mut self, quotas: &[(BucketId, Quota)], now: Timestamp) {
        self.life += 1;
        // Its start on the wall clock.
        let started = Epoch::new(1_000_000 + now.as_nanos() / 1_000_000);
        let mut allocator = Allocator::new(started, self.config.clone(), now);
        for (bucket, quota) in quotas {
            allocator.set_quota(*bucket, *quota, false, now);
        }
        self.allocator = Some(allocator);
    }

    pub(crate) fn crash(&mut self) {
        self.life += 1;
        self.allocator = None;
    }

    pub(crate) fn is_reachable(&self) -> bool {
        self.allocator.is_some() && !self.cut
    }

    pub(crate) fn answer(
        &mut self,
        header: &ReportHeader,
        entries: &[ReportEntry],
        now: Timestamp,
    ) -> Option<Answer> {
        let allocator = self.allocator.as_mut()?;
        let grants =
            entries.iter().filter_map(|entry| allocator.on_report(header, entry, now).grant()).collect();
        allocator.hear(header, now);
        let ring = allocator.ring().filter(|ring| ring.epoch() > header.ring).cloned();
        Some(Answer { grants, fleet: allocator.fleet(), ring })
    }

    /// The control plane's word.
    pub(crate) fn set_ring(&mut self, ring: &Ring, now: Timestamp) {
        if let Some(allocator) = &mut self.allocator {
            allocator.set_ring(ring.clone(), &self.name, now);
        }
    }

    /// What the ring has moved away: the new owner's number, the ring, and the sums.
    pub(crate) fn handovers(&self, now: Timestamp) -> Vec<(usize, Epoch, BucketState)> {
        let Some(allocator) = &self.allocator else { return Vec::new() };
        if self.cut_from_control || allocator.handing_over() == 0 {
            return Vec::new();
        }
        let Some(epoch) = allocator.ring().map(Ring::epoch) else { return Vec::new() };
        let moves = allocator.handovers(HANDED_AT_ONCE, now);
        moves.map(|(owner, state)| (number_of(&owner), epoch, state)).collect()
    }

    /// Another server's sums. Whether they were taken.
    pub(crate) fn take_over(&mut self, ring: Epoch, state: &BucketState, now: Timestamp) -> bool {
        !self.cut_from_control
            && self.allocator.as_mut().is_some_and(|allocator| allocator.accept_handover(ring, state, now))
    }

    /// Once a second.
    pub(crate) fn expire(&mut self, now: Timestamp) {
        if let Some(allocator) = &mut self.allocator {
            allocator.expire(now);
        }
    }
}

/// How the ring calls a server.
pub(crate) fn name_of(number: usize) -> String {
    format!("gac-{number}")
}

/// The other way round.
pub(crate) fn number_of(name: &str) -> usize {
    name.trim_start_matches("gac-").parse().expect("servers are named by their numbers")
}
