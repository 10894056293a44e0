//! Buckets that a change of the ring moves from one owner to another, with their sums.

use std::time::Duration;

use units::{Epoch, MilliUnits, MilliUnitsPerSecond, ProxyId, Timestamp};

use super::bucket::{Bucket, Context};
use super::shares::{Share, Standing};
use super::summary::{BucketState, BucketSummary, ShareState, ShareSummary};
use super::{Allocator, MAX_BUCKETS, NOTICED_AFTER, entry_within_reason, within_reason};
use crate::allowance::WIDE_TTL;
use crate::lease::{BucketId, ReportEntry};
use crate::ring::Ring;

impl Allocator {
    /// Goes by `ring`, in which it is called `me`, unless it knows a newer one. The same ring again
    /// confirms it: to be called about once a second while the control plane is there. Buckets that it
    /// owns no more are leased no more from here on; see [`Self::handovers`].
    pub fn set_ring(&mut self, ring: Ring, me: &str, now: Timestamp) {
        let first = self.ownership.ring().is_none();
        let learning_until = now + self.config.lease_certainly_ended() + NOTICED_AFTER;
        if !self.ownership.set(ring, me, learning_until, now) {
            return;
        }
        if !self.roster.use_ring(self.ownership.ring_epoch(), now) && first {
            // It waited for its ring, and may own what others have leased to whom it has not heard.
            let until =
                if self.ownership.is_settled() { learning_until } else { learning_until - NOTICED_AFTER };
            self.ownership.learn_anew(until);
        }
        self.follow_ring(now);
        // What an even earlier change moved and nobody took has been learned by its new owner since.
        self.moving.clear();
        let (epoch, acquisition) = (self.ownership.epoch(), self.ownership.acquisition());
        let mut moved = Vec::new();
        for (id, bucket) in self.buckets.iter_mut() {
            if !self.ownership.owns(id) {
                moved.push(id);
            } else if first {
                bucket.epoch = epoch;
            } else if !self.ownership.owned_before(id) {
                // Rings were skipped: somebody else may have owned it in between.
                bucket.epoch = epoch;
                bucket.acquired = acquisition;
                bucket.handed_over = false;
                bucket.pool.charge(bucket.pool.level());
            }
        }
        for id in moved {
            let bucket = self.buckets.remove(id).expect("it was just seen");
            self.violations = self.violations.plus(bucket.violations);
            // Sums that are still being learned are no sums: the new owner learns them by itself.
            if self.ownership.is_learned(bucket.acquired) {
                self.moving.insert(id, bucket);
            }
        }
        self.settle(now);
    }

    /// Up to `limit` buckets that are to be handed over, each with its new owner's name. They are listed
    /// until [`Self::handed_over`] says that they were taken, or the ring changes again.
    pub fn handovers(
        &self,
        limit: usize,
        now: Timestamp,
    ) -> impl Iterator<Item = (String, BucketState)> + '_ {
        self.moving.iter().take(limit).filter_map(move |(id, bucket)| {
            let owner = self.ownership.ring()?.owner_name(*id)?.to_owned();
            Some((owner, bucket.state(*id, now)))
        })
    }

    /// How many buckets wait to be handed over.
    #[must_use]
    pub fn handing_over(&self) -> usize {
        self.moving.len()
    }

    /// The new owner has taken these buckets, or has learned of them by itself.
    pub fn handed_over(&mut self, taken: &[BucketId]) {
        for id in taken {
            self.moving.remove(id);
        }
    }

    /// Takes an earlier owner's sums, sent under the ring of `ring`'s epoch; without waiting, it leases the
    /// bucket from now on. False: it does not own the bucket by that ring. True also when it knows
    /// better already.
    pub fn accept_handover(&mut self, ring: Epoch, state: &BucketState, now: Timestamp) -> bool {
        if ring != self.ownership.ring_epoch() || !self.ownership.owns(state.bucket) {
            return false;
        }
        let epoch = self.ownership.epoch();
        if state.epoch >= epoch {
            return false;
        }
        let quota = within_reason(state.quota);
        let acquisition = self.ownership.acquisition();
        let known = self.buckets.position(state.bucket);
        if known.is_none() && self.buckets.len() >= MAX_BUCKETS {
            return false;
        }
        let position = known.unwrap_or_else(|| {
            let bucket = Bucket::new(quota, epoch, acquisition, now);
            self.keep(state.bucket, bucket)
        });
        let bucket = self.buckets.at(position);
        if bucket.handed_over || self.ownership.is_learned(bucket.acquired) && !bucket.shares.is_empty() {
            return true;
        }
        // Learned: by the sums of whoever granted last.
        bucket.acquired = 0;
        bucket.handed_over = true;
        let view = self.context(0, now);
        let bucket = self.buckets.at(position);
        let context = view.borrow(&self.config);
        bucket.adopt(quota, &context);
        bucket.merge(state, &context);
        bucket.check(true);
        true
    }
}

impl Bucket {
    fn state(&self, bucket: BucketId, now: Timestamp) -> BucketState {
        BucketState {
            bucket,
            epoch: self.epoch,
            pool: self.pool.level(),
            quota: self.quota,
            wide_for: self.wide_until.since(now),
            shares: self.shares.iter().map(Share::state).collect(),
        }
    }

    fn merge(&mut self, state: &BucketState, context: &Context<'_>) {
        self.wide_until = self.wide_until.max(context.now + state.wide_for.min(2 * WIDE_TTL));
        for handed in &state.shares {
            let position = self.shares.position(handed.proxy);
            let mut share = match position {
                Some(position) => {
                    let share = *self.shares.get(position);
                    self.sums.remove(&share);
                    share
                }
                None => Share::handed_over(handed, context.now),
            };
            let (out, hold) = (handed.out.get().max(share.out.get()), handed.hold.max(share.hold));
            share.out =
                MilliUnitsPerSecond::new(out.min(self.quota.rate.get().saturating_sub(self.sums.out)));
            let room = MilliUnits::new(self.quota.burst.get().saturating_sub(self.sums.hold));
            share.hold = hold.min(room);
            share.demand = share.demand.max(handed.demand);
            if position.is_none() {
                (share.granted_rate, share.granted_cap) = (share.out, share.hold);
            }
            self.sums.add(&share);
            self.shares.put(position, share);
        }
        self.balance(context);
        self.receive(state.pool);
    }

    pub(super) fn summary(&self, context: &Context<'_>) -> BucketSummary {
        let reserve = self.reserve(context);
        let (mut admitted, mut throttled, mut ratios, mut squares, mut count) = (0.0, 0.0, 0.0, 0.0, 0.0);
        let mut overdrawn: Option<(ProxyId, u16)> = None;
        for share in self.shares.iter() {
            if share.overdrafts > overdrawn.map_or(0, |(_, most)| most) {
                overdrawn = Some((share.proxy, share.overdrafts));
            }
            let (mine, refused) = (f64::from(share.admitted_rate), f64::from(share.throttled_rate));
            admitted += mine;
            throttled += refused;
            if mine + refused > 0.0 {
                let ratio = mine / (mine + refused);
                ratios += ratio;
                squares += ratio * ratio;
                count += 1.0;
            }
        }
        BucketSummary {
            quota: self.quota,
            pool: self.pool.level(),
            leased: MilliUnitsPerSecond::new(self.sums.out),
            held: MilliUnits::new(self.sums.hold),
            reserved: MilliUnitsPerSecond::new(reserve.rate),
            reserved_tokens: MilliUnits::new(reserve.tokens),
            demand: MilliUnitsPerSecond::new(self.sums.demand),
            admitted: rounded(admitted),
            throttled: rounded(throttled),
            proxies: self.shares.len(),
            mode: self.mode(),
            colour: self.colour(MilliUnits::ZERO),
            epoch: self.epoch,
            learning: context.learning,
            worst_window: MilliUnits::new(self.meter.worst),
            fairness: if squares > 0.0 { ratios * ratios / (count * squares) } else { 1.0 },
            overdrawn,
        }
    }

    pub(super) fn share_summaries(&self, now: Timestamp) -> impl Iterator<Item = ShareSummary> + '_ {
        self.shares.iter().map(move |share| ShareSummary {
            proxy: share.proxy,
            out: share.out,
            hold: share.hold,
            demand: share.demand,
            admitted: rounded(f64::from(share.admitted_rate)),
            throttled: rounded(f64::from(share.throttled_rate)),
            age: now.since(share.reported_at),
            overdrafts: share.overdrafts,
            silent: share.standing == Standing::Silent,
        })
    }
}

impl Share {
    fn state(&self) -> ShareState {
        ShareState {
            proxy: self.proxy,
            session: self.session,
            admitted: self.admitted,
            throttled: self.throttled,
            returned: self.returned,
            out: self.out,
            hold: self.hold,
            safe_rate: self.safe_rate,
            demand: self.demand,
            need: self.need,
        }
    }

    fn handed_over(state: &ShareState, now: Timestamp) -> Self {
        // As absurd as a report can be, and cut down in the same way.
        let claim = entry_within_reason(&ReportEntry {
            bucket: BucketId::from_raw(0),
            admitted: state.admitted,
            throttled: state.throttled,
            returned: state.returned,
            held: state.hold,
            need: state.need,
            acknowledged: crate::lease::GrantNumber::default(),
            rate_in_use: state.out,
            quota: crate::lease::Quota::with_usual_burst(MilliUnitsPerSecond::default(), 0),
        });
        Self {
            proxy: state.proxy,
            session: state.session,
            admitted: claim.admitted,
            throttled: claim.throttled,
            returned: claim.returned,
            out: claim.rate_in_use,
            hold: claim.held,
            granted_rate: claim.rate_in_use,
            granted_cap: claim.held,
            safe_rate: state.safe_rate.min(claim.rate_in_use),
            granted_safe_rate: state.safe_rate.min(claim.rate_in_use),
            sequence: 0,
            demand: state.demand.min(MilliUnitsPerSecond::new(super::MAX_AMOUNT)),
            need: claim.need,
            reported_at: now,
            session_age: Duration::ZERO,
            admitted_rate: 0.0,
            throttled_rate: 0.0,
            overdrafts: 0,
            grants: u8::MAX,
            steady: 0,
            standing: Standing::Active,
            has_lease: true,
        }
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "only shown; never negative")]
fn rounded(rate: f64) -> MilliUnitsPerSecond {
    MilliUnitsPerSecond::new(rate as u64)
}
