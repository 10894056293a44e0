//! Answers reports and takes quotas, on the connection's own task: an entry is O(1).

use std::collections::BTreeSet;

use admission::Allocator;
use parking_lot::Mutex;
use units::{ProxyId, Timestamp};
use wire::clock;
use wire::method::{Method, PushQuotas, Report};
use wire::proto::control::Quotas;
use wire::proto::gac;
use wire::proto::routing::Acknowledged;
use wire::transport::{Failure, Incoming, Responder, Service};

use crate::metrics::Metrics;

/// Entries of one report at most: some milliseconds' work, 10 MB. A proxy sends more in several reports.
const MAX_ENTRIES: usize = 100_000;

/// The allocator behind its messages.
#[derive(Debug)]
pub(crate) struct GacService {
    allocator: Mutex<Allocator>,
    metrics: Metrics,
}

/// Where quotas came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QuotaSource {
    /// The control plane sent them on its own.
    Push,
    /// This server asked for them.
    Fetch,
}

impl GacService {
    pub(crate) fn new(allocator: Allocator) -> Self {
        Self { allocator: Mutex::new(allocator), metrics: Metrics::new() }
    }

    pub(crate) fn is_learning(&self, now: Timestamp) -> bool {
        self.allocator.lock().is_learning(now)
    }

    pub(crate) fn take_quotas(&self, quotas: &Quotas, from: QuotaSource) {
        let now = clock::now();
        let mut allocator = self.allocator.lock();
        for quota in &quotas.quotas {
            let (bucket, quota) = quota.parts();
            allocator.set_quota(bucket, quota, now);
        }
        if quotas.complete {
            let listed: BTreeSet<_> = quotas.quotas.iter().map(|quota| quota.parts().0).collect();
            allocator.retain_quotas(&listed);
        }
        drop(allocator);
        let counter = match from {
            QuotaSource::Push => &self.metrics.quotas_pushed,
            QuotaSource::Fetch => &self.metrics.quotas_fetched,
        };
        counter.increment(quotas.quotas.len() as u64);
    }

    /// Counts silent proxies down, and shows the sums.
    pub(crate) fn tick(&self) {
        let now = clock::now();
        let mut allocator = self.allocator.lock();
        allocator.expire(now);
        self.metrics.show(&allocator, now);
    }

    fn report(&self, report: &gac::Report) -> Result<gac::Grants, Failure> {
        let entries = report.entries().map_err(|_ragged| Failure::Malformed)?;
        if report.bucket.len() > MAX_ENTRIES {
            return Err(Failure::Malformed);
        }
        let proxy = ProxyId::new(report.proxy);
        let now = clock::now();
        let mut grants = Vec::with_capacity(report.bucket.len());
        let mut allocator = self.allocator.lock();
        for entry in entries {
            grants.extend(allocator.on_report(proxy, report.session, &entry, now));
        }
        // After its entries: what a proxy shows in its first report is still learned from.
        allocator.introduce(proxy);
        drop(allocator);
        self.metrics.reports.increment(1);
        self.metrics.granted.increment(grants.len() as u64);
        self.metrics.ignored.increment((report.bucket.len() - grants.len()) as u64);
        self.metrics.tokens.increment(grants.iter().map(|grant| grant.tokens.get()).sum());
        Ok(gac::Grants::pack(&grants))
    }

    fn malformed(&self, responder: Responder) {
        self.metrics.malformed.increment(1);
        responder.fail(Failure::Malformed);
    }
}

impl Service for GacService {
    fn call(&self, request: Incoming, responder: Responder) {
        match request.method {
            Report::NUMBER => {
                let Ok(report) = request.decode::<Report>() else { return self.malformed(responder) };
                match self.report(&report) {
                    Ok(grants) => responder.answer::<Report>(&grants),
                    Err(_malformed) => self.malformed(responder),
                }
            }
            PushQuotas::NUMBER => {
                let Ok(quotas) = request.decode::<PushQuotas>() else { return self.malformed(responder) };
                self.take_quotas(&quotas, QuotaSource::Push);
                responder.answer::<PushQuotas>(&Acknowledged {});
            }
            _ => responder.fail(Failure::UnknownMethod),
        }
    }
}
