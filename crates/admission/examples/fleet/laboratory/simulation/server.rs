//! One simulated GAC server: the real allocator, and whether it can be reached.

use std::time::Duration;

use admission::{Allocator, AllocatorConfig, BucketId, Grant, Quota, ReportEntry, ReportHeader};
use units::{Epoch, Timestamp};

/// A server's answer to one report.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) grants: Vec<Grant>,
}

/// A GAC server; while it is down it has no allocator.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) allocator: Option<Allocator>,
    /// Grows with each start: messages of an earlier life are lost with their connection.
    pub(crate) life: u64,
    /// Alive, but no message reaches it or leaves it.
    pub(crate) cut: bool,
    config: AllocatorConfig,
}

impl Server {
    pub(crate) fn start(config: AllocatorConfig, quotas: &[(BucketId, Quota)], now: Timestamp) -> Self {
        let mut server = Self { allocator: None, life: 0, cut: false, config };
        server.restart(quotas, now);
        server
    }

    /// Loses everything but what the control plane tells.
    pub(crate) fn restart(&mut self, quotas: &[(BucketId, Quota)], now: Timestamp) {
        self.life += 1;
        // As the real server's: from its start on the wall clock.
        let epoch = Epoch::new(1 + now.as_nanos() / 1_000_000);
        let mut allocator = Allocator::new(epoch, self.config.clone(), now);
        for (bucket, quota) in quotas {
            allocator.set_quota(*bucket, *quota, now);
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
        let grants = entries
            .iter()
            .filter_map(|entry| allocator.on_report(header.proxy, header.session, entry, now))
            .collect();
        allocator.introduce(header.proxy);
        Some(Answer { grants })
    }

    /// Once a second.
    pub(crate) fn expire(&mut self, now: Timestamp) {
        if let Some(allocator) = &mut self.allocator {
            allocator.expire(now);
        }
    }

    pub(crate) fn ttl(&self) -> Duration {
        self.config.ttl
    }
}
