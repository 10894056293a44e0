//! What a GAC server does with each request: everything is answered at once, on the connection's own task;
//! an entry of a report is O(1).

use std::collections::{BTreeMap, BTreeSet};

use admission::{AllocatorConfig, BucketId, BucketState, CapacityKind, Level, Ring};
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;
use units::{Epoch, Timestamp};
use wire::clock;
use wire::method::{FetchLevels, Handover, Inspect, Method, PushQuotas, PushRing, Report};
use wire::proto::control::{Peak, Quotas};
use wire::proto::gac;
use wire::proto::routing::Acknowledged;
use wire::transport::{Failure, Incoming, Responder, Service};

use crate::entry_rate::EntryRate;
use crate::levels::Levels;
use crate::metrics::Metrics;
use crate::owner::{BucketOwner, SHARDS, Unreadable};

/// Servers of a ring at most.
const MAX_SERVERS: usize = 1_000;
/// The longest `host:port`: a name of 253 characters and a port.
const MAX_ADDRESS_BYTES: usize = 260;
/// A ring's epoch stands above a server's start in the epochs of grants, in what 43 bits leave.
const MAX_RING_EPOCH: u64 = (1 << 21) - 1;
/// What is sent to new owners in one message, of each shard: 16 × 256 buckets …
const BUCKETS_PER_HANDOVER: usize = 256;
/// … and 16 × 4,000 proxies' shares of 80 bytes: some 5 MB. (A bucket with more goes alone.)
const SHARES_PER_HANDOVER: usize = 4_000;

/// The buckets behind their messages.
#[derive(Debug)]
pub(crate) struct GacService {
    pub(crate) address: String,
    pub(crate) started: Epoch,
    pub(crate) owner: BucketOwner,
    pub(crate) levels: Mutex<Levels>,
    pub(crate) entries: EntryRate,
    pub(crate) metrics: Metrics,
    ring_changed: Notify,
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
    /// A server that is known as `address`.
    pub(crate) fn new(address: String, started: Epoch, config: &AllocatorConfig, now: Timestamp) -> Self {
        Self {
            address,
            started,
            owner: BucketOwner::new(started, config, now),
            levels: Mutex::default(),
            entries: EntryRate::new(now),
            metrics: Metrics::new(),
            ring_changed: Notify::new(),
        }
    }

    pub(crate) fn is_learning(&self, now: Timestamp) -> bool {
        self.owner.is_learning(now)
    }

    pub(crate) fn is_drained(&self) -> bool {
        self.owner.is_drained()
    }

    pub(crate) fn take_quotas(&self, quotas: &Quotas, from: QuotaSource) {
        let now = clock::now();
        for quota in &quotas.quotas {
            // What is asked for at the start may be old; what is pushed is news.
            let fresh = quota.fresh && from == QuotaSource::Push;
            let claim = quota.claim();
            let (bucket, quota) = quota.parts();
            self.owner.set_quota(bucket, quota, fresh, now);
            if bucket.level() == Level::Table {
                self.owner.set_claim(bucket.table(), bucket.kind(), claim);
            }
        }
        let accounts =
            [(CapacityKind::Read, &quotas.account_read), (CapacityKind::Write, &quotas.account_write)];
        for (kind, account) in accounts {
            // Every message tells of the account, also one that names a part of the buckets only.
            let quota = account.as_ref().map(|quota| quota.parts().1);
            self.owner.set_account_quota(kind, quota, now);
        }
        if quotas.complete {
            let listed: BTreeSet<BucketId> = quotas.quotas.iter().map(|quota| quota.parts().0).collect();
            self.owner.retain_quotas(&listed);
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

    /// Goes by a ring unless it knows a newer one.
    pub(crate) fn take_ring(&self, ring: Ring) {
        let before = self.owner.ring_epoch();
        let (epoch, servers) = (ring.epoch(), ring.servers().len());
        self.owner.set_ring(&ring, &self.address, clock::now());
        if epoch > before {
            let member = ring.servers().contains(&self.address);
            let moved = self.owner.handing_over();
            tracing::info!(%epoch, servers, member, moved, "goes by a new ring");
            self.ring_changed.notify_one();
        }
    }

    /// Resolves once after every change of the ring.
    pub(crate) async fn ring_changed(&self) {
        self.ring_changed.notified().await;
    }

    /// The next of what is to be handed over, by new owner.
    pub(crate) fn handovers(&self) -> BTreeMap<String, gac::Handover> {
        // Read first: what a newer ring moves meanwhile is refused under this one, and sent again.
        let ring = self.owner.ring_epoch();
        let by_owner = self.owner.handovers(BUCKETS_PER_HANDOVER, SHARES_PER_HANDOVER, clock::now());
        let message = |states: Vec<BucketState>| gac::Handover {
            ring_epoch: ring.get(),
            from: self.address.clone(),
            buckets: states.iter().map(Into::into).collect(),
        };
        by_owner.into_iter().map(|(owner, states)| (owner, message(states))).collect()
    }

    /// A new owner has these buckets.
    pub(crate) fn handed_over(&self, taken: &[BucketId]) {
        self.owner.handed_over(taken);
        self.metrics.handed_over.increment(taken.len() as u64);
    }

    /// Their new owner learns these buckets by itself.
    pub(crate) fn given_up(&self, buckets: &[BucketId]) {
        self.owner.handed_over(buckets);
        self.metrics.given_up.increment(buckets.len() as u64);
    }

    pub(crate) fn take_peaks(&self) -> Vec<Peak> {
        self.owner.take_peaks(clock::now())
    }

    /// Looks through one shard. To be called for each about once a second, the last one last.
    pub(crate) fn tick(&self, shard: usize) {
        let now = clock::now();
        self.owner.tick(shard, now);
        if shard + 1 == SHARDS {
            self.entries.tick(now);
            self.metrics.show(&self.owner.survey());
        }
    }

    /// The encoded answer.
    fn report(&self, report: &gac::Report) -> Result<Bytes, Unreadable> {
        let began = clock::now();
        let answered = self.owner.answer(report, began)?;
        let mut grants = answered.grants;
        grants.levels_version = self.levels.lock().version();
        self.entries.count(report.bucket.len() as u64);
        let metrics = &self.metrics;
        metrics.reports.increment(1);
        metrics.granted.increment(grants.bucket.len() as u64);
        metrics.not_owned.increment(grants.not_owned.len() as u64);
        metrics.stale.increment(answered.stale);
        metrics.frozen_entries.increment(answered.frozen);
        metrics.full.increment(answered.full);
        metrics.tokens.increment(answered.tokens.get());
        let encoded = grants.encode_columns();
        metrics.report_seconds.record(clock::now().since(began));
        Ok(encoded)
    }

    fn push_ring(&self, ring: gac::Ring) -> Option<gac::RingAnswer> {
        let sensible = (1..=MAX_RING_EPOCH).contains(&ring.epoch)
            && (1..=MAX_SERVERS).contains(&ring.servers.len())
            && ring.servers.iter().all(|server| (1..=MAX_ADDRESS_BYTES).contains(&server.len()));
        if !sensible {
            return None;
        }
        self.take_ring(Ring::new(Epoch::new(ring.epoch), ring.servers));
        Some(gac::RingAnswer {
            epoch: self.owner.ring_epoch().get(),
            buckets: self.owner.buckets() as u64,
            drained: self.owner.is_drained(),
        })
    }

    fn take_handover(&self, handover: &gac::Handover) -> gac::HandoverAnswer {
        let states: Vec<BucketState> = handover.buckets.iter().map(Into::into).collect();
        let ring = Epoch::new(handover.ring_epoch);
        let taken = self.owner.accept_handover(ring, &states, clock::now());
        self.metrics.taken_over.increment(taken.len() as u64);
        tracing::debug!(
            from = handover.from,
            offered = states.len(),
            taken = taken.len(),
            "buckets handed over"
        );
        gac::HandoverAnswer {
            ring_epoch: self.owner.ring_epoch().get(),
            taken: taken.into_iter().map(BucketId::get).collect(),
        }
    }

    fn malformed(&self, responder: Responder) {
        self.metrics.malformed.increment(1);
        responder.fail(Failure::Malformed);
    }

    /// Answers what `answer` makes of the request; none: it makes no sense.
    fn answer<M: Method>(
        &self,
        request: &Incoming,
        responder: Responder,
        answer: impl FnOnce(M::Request) -> Option<M::Response>,
    ) {
        match request.decode::<M>().ok().and_then(answer) {
            Some(response) => responder.answer::<M>(&response),
            None => self.malformed(responder),
        }
    }
}

impl Service for GacService {
    fn call(&self, request: Incoming, responder: Responder) {
        match request.method {
            Report::NUMBER => match request.decode::<Report>().ok().map(|report| self.report(&report)) {
                Some(Ok(encoded)) => responder.answer_encoded(encoded),
                Some(Err(_)) | None => self.malformed(responder),
            },
            PushQuotas::NUMBER => self.answer::<PushQuotas>(&request, responder, |quotas| {
                self.take_quotas(&quotas, QuotaSource::Push);
                Some(Acknowledged {})
            }),
            PushRing::NUMBER => {
                self.answer::<PushRing>(&request, responder, |ring| self.push_ring(ring));
            }
            Handover::NUMBER => {
                self.answer::<Handover>(&request, responder, |handover| Some(self.take_handover(&handover)))
            }
            FetchLevels::NUMBER => self
                .answer::<FetchLevels>(&request, responder, |_everything| Some(self.levels.lock().to_wire())),
            Inspect::NUMBER => self.answer::<Inspect>(&request, responder, |wanted| {
                let inspection = self.inspect(&wanted, clock::now());
                let json = serde_json::to_vec(&inspection).expect("a status has no maps and no odd numbers");
                Some(gac::Inspection { json: json.into() })
            }),
            _ => responder.fail(Failure::UnknownMethod),
        }
    }
}
