//! Puts together what operators see.

use std::cmp::Reverse;

use admission::{BucketId, BucketSummary, CapacityKind, OutagePolicy, Quota, Ring, ShareSummary};
use units::Timestamp;
use wire::proto::gac::InspectRequest;

use crate::activity::Activity;
use crate::inspection::{
    AccountStatus, BucketStatus, Inspection, ProxyStatus, QuotaStatus, ServerStatus, ShareStatus,
};
use crate::owner::Shard;
use crate::service::GacService;
use crate::survey::ratio;

/// Buckets shown when no number is asked for.
const USUAL_LIMIT: usize = 20;
/// Buckets shown at most: with their shares some MB.
const MAX_LIMIT: usize = 1_000;
/// Shares shown of a bucket, and proxies of a server, at most.
const MAX_SHOWN: usize = 1_000;

impl GacService {
    /// What operators see now.
    pub(crate) fn inspect(&self, wanted: &InspectRequest, now: Timestamp) -> Inspection {
        let limit = match usize::try_from(wanted.limit).unwrap_or(MAX_LIMIT) {
            0 => USUAL_LIMIT,
            limit => limit.min(MAX_LIMIT),
        };
        let chosen: Vec<BucketId> = if wanted.buckets.is_empty() {
            self.busiest(limit, now)
        } else {
            wanted.buckets.iter().take(MAX_LIMIT).copied().map(BucketId::from_raw).collect()
        };
        let buckets = chosen.into_iter().filter_map(|id| self.bucket(id, wanted.shares, now)).collect();
        Inspection { server: self.server(now), buckets }
    }

    fn server(&self, now: Timestamp) -> ServerStatus {
        let survey = self.owner.survey();
        // Every shard hears of every report: one speaks for all.
        let shard = self.owner.shards()[0].lock();
        let allocator = &shard.allocator;
        let ring: Vec<String> = allocator.ring().map_or(Vec::new(), |ring| ring.servers().to_vec());
        let mut proxies: Vec<_> = allocator
            .roster()
            .map(|(proxy, heard_at, ring)| ProxyStatus {
                proxy: proxy.get(),
                silent_ms: millis(now.since(heard_at)),
                ring_epoch: ring.get(),
            })
            .collect();
        let (fleet, ring_epoch) = (allocator.fleet(), allocator.ring().map_or(0, epoch_of));
        let frozen = allocator.is_frozen(now) && !allocator.is_drained();
        drop(shard);
        proxies.sort_by_key(|proxy| (Reverse(proxy.silent_ms), proxy.proxy));
        proxies.truncate(MAX_SHOWN);
        ServerStatus {
            address: self.address.clone(),
            started: self.started.get(),
            ring_epoch,
            in_ring: ring.is_empty() || ring.contains(&self.address),
            ring,
            learning: self.owner.is_learning(now),
            frozen,
            drained: self.owner.is_drained(),
            buckets: self.owner.buckets() as u64,
            handing_over: self.owner.handing_over() as u64,
            entries_per_second: self.entries.per_second(),
            fleet,
            levels_version: self.levels.lock().version(),
            modes: survey.modes,
            accounts: self.accounts(),
            proxies,
        }
    }

    fn accounts(&self) -> Vec<AccountStatus> {
        let kinds = [CapacityKind::Read, CapacityKind::Write].into_iter();
        kinds
            .filter_map(|kind| {
                let account = self.owner.account_summary(kind)?;
                Some(AccountStatus {
                    kind: kind.name().to_owned(),
                    quota: quota_status(account.quota),
                    bank: account.bank.get(),
                    assigned: account.assigned.get(),
                    tables: account.tables as u64,
                })
            })
            .collect()
    }

    /// Those with the highest demand relative to their quota.
    fn busiest(&self, limit: usize, now: Timestamp) -> Vec<BucketId> {
        let mut busiest: Vec<(f64, BucketId)> = Vec::new();
        for shard in self.owner.shards() {
            let shard = shard.lock();
            let summaries = shard.allocator.summaries(now);
            busiest.extend(
                summaries.map(|(id, bucket)| (ratio(bucket.demand.get(), bucket.quota.rate.get()), id)),
            );
            drop(shard);
            busiest
                .sort_by(|(one, one_id), (other, other_id)| other.total_cmp(one).then(one_id.cmp(other_id)));
            busiest.truncate(limit);
        }
        busiest.into_iter().map(|(_, id)| id).collect()
    }

    fn bucket(&self, id: BucketId, with_shares: bool, now: Timestamp) -> Option<BucketStatus> {
        let shard = self.owner.shard_of(id).lock();
        let Shard { allocator, activities, .. } = &*shard;
        let summary = allocator.summary(id, now)?;
        let shares: Vec<_> = if with_shares { allocator.shares(id, now).collect() } else { Vec::new() };
        let activity = activities.of(id).copied();
        drop(shard);
        let mut status = bucket_status(id, &summary, activity.as_ref(), &shares);
        status.name = self.levels.lock().name(id).map(str::to_owned);
        Some(status)
    }
}

fn epoch_of(ring: &Ring) -> u64 {
    ring.epoch().get()
}

/// A bucket, as operators see it.
fn bucket_status(
    id: BucketId,
    bucket: &BucketSummary,
    activity: Option<&Activity>,
    shares: &[ShareSummary],
) -> BucketStatus {
    let (admitted, throttled) = activity
        .map_or((bucket.admitted, bucket.throttled), |activity| (activity.admitted, activity.throttled));
    let mut shares: Vec<_> = shares.iter().map(share_status).collect();
    shares.sort_by_key(|share| (Reverse(share.out), share.proxy));
    shares.truncate(MAX_SHOWN);
    BucketStatus {
        bucket: id.get(),
        level: id.level().name().to_owned(),
        number: id.number(),
        name: None,
        kind: id.kind().name().to_owned(),
        quota: quota_status(bucket.quota),
        mode: bucket.mode.name().to_owned(),
        pool: bucket.pool.get(),
        colour: bucket.colour.name().to_owned(),
        out: bucket.leased.get(),
        out_ratio: ratio(bucket.leased.get(), bucket.quota.rate.get()),
        held: bucket.held.get(),
        reserve: bucket.reserved.get(),
        reserve_tokens: bucket.reserved_tokens.get(),
        demand: bucket.demand.get(),
        admitted: admitted.get(),
        throttled: throttled.get(),
        over_admission: bucket.worst_window.get(),
        over_admission_bound: bucket.quota.burst.get(),
        jain_index: bucket.fairness,
        learning: bucket.learning,
        epoch: bucket.epoch.get(),
        proxies: bucket.proxies as u64,
        shares,
    }
}

fn share_status(share: &ShareSummary) -> ShareStatus {
    ShareStatus {
        proxy: share.proxy.get(),
        out: share.out.get(),
        hold: share.hold.get(),
        demand: share.demand.get(),
        admitted: share.admitted.get(),
        throttled: share.throttled.get(),
        silent_ms: millis(share.age),
        silent: share.silent,
        overdrafts: u64::from(share.overdrafts),
    }
}

fn quota_status(quota: Quota) -> QuotaStatus {
    QuotaStatus {
        rate: quota.rate.get(),
        burst: quota.burst.get(),
        version: quota.version,
        outage: match quota.outage {
            OutagePolicy::Strict => "strict",
            OutagePolicy::Static => "static",
            OutagePolicy::Open => "open",
        }
        .to_owned(),
        shadow: quota.shadow,
    }
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
