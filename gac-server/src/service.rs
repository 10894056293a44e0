//! Answers reports and takes quotas, on the connection's own task: an entry is O(1).

use std::collections::BTreeSet;

use admission::{AllocatorConfig, BucketId};
use parking_lot::Mutex;
use units::{Epoch, Timestamp};
use wire::clock;
use wire::method::{FetchLevels, Method, PushQuotas, Report};
use wire::proto::control::Quotas;
use wire::proto::gac;
use wire::proto::routing::Acknowledged;
use wire::transport::{Failure, Incoming, Responder, Service};

use crate::levels::Levels;
use crate::metrics::Metrics;
use crate::owner::{BucketOwner, SHARDS, Unreadable};

/// The buckets behind their messages.
#[derive(Debug)]
pub(crate) struct GacService {
    owner: BucketOwner,
    levels: Mutex<Levels>,
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
    pub(crate) fn new(epoch: Epoch, config: &AllocatorConfig, now: Timestamp) -> Self {
        Self {
            owner: BucketOwner::new(epoch, config, now),
            levels: Mutex::default(),
            metrics: Metrics::new(),
        }
    }

    pub(crate) fn is_learning(&self, now: Timestamp) -> bool {
        self.owner.is_learning(now)
    }

    pub(crate) fn take_quotas(&self, quotas: &Quotas, from: QuotaSource) {
        let now = clock::now();
        let listed: BTreeSet<BucketId> = quotas.quotas.iter().map(|quota| quota.parts().0).collect();
        for quota in &quotas.quotas {
            let (bucket, quota) = quota.parts();
            self.owner.shard_of(bucket).lock().set_quota(bucket, quota, now);
        }
        if quotas.complete {
            self.owner.shards().iter().for_each(|shard| shard.lock().retain_quotas(&listed));
        }
        if self.levels.lock().take(quotas, clock::unix_now()) {
            tracing::info!("the set of quotas above tables changed");
        }
        let counter = match from {
            QuotaSource::Push => &self.metrics.quotas_pushed,
            QuotaSource::Fetch => &self.metrics.quotas_fetched,
        };
        counter.increment(quotas.quotas.len() as u64);
    }

    /// Counts silent proxies of one shard down. To be called for each about once a second.
    pub(crate) fn tick(&self, shard: usize) {
        let now = clock::now();
        self.owner.shards()[shard].lock().expire(now);
        if shard + 1 == SHARDS {
            self.metrics.show(&self.owner, now);
        }
    }

    fn report(&self, report: &gac::Report) -> Result<gac::Grants, Unreadable> {
        let answered = self.owner.answer(report, clock::now())?;
        let mut grants = answered.grants;
        self.metrics.reports.increment(1);
        self.metrics.granted.increment(grants.bucket.len() as u64);
        self.metrics.ignored.increment((report.bucket.len() - grants.bucket.len()) as u64);
        self.metrics.tokens.increment(answered.tokens.get());
        grants.levels_version = self.levels.lock().version();
        Ok(grants)
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
                    Err(_unreadable) => self.malformed(responder),
                }
            }
            PushQuotas::NUMBER => {
                let Ok(quotas) = request.decode::<PushQuotas>() else { return self.malformed(responder) };
                self.take_quotas(&quotas, QuotaSource::Push);
                responder.answer::<PushQuotas>(&Acknowledged {});
            }
            FetchLevels::NUMBER => responder.answer::<FetchLevels>(&self.levels.lock().to_wire()),
            _ => responder.fail(Failure::UnknownMethod),
        }
    }
}
