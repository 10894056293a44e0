//! The proxies that one bucket's owner tracks.

use std::collections::HashMap;
use std::time::Duration;

use foldhash::fast::FixedState;
use units::{Epoch, MilliUnits, MilliUnitsPerSecond, ProxyId, Timestamp};

use super::MAX_AMOUNT;
use crate::lease::{GrantNumber, ReportEntry};

/// Offered load is followed fast when it rises and slowly when it falls.
const RISE_HALF_LIFE: Duration = Duration::from_millis(50);
/// See [`RISE_HALF_LIFE`].
const FALL_HALF_LIFE: Duration = Duration::from_millis(350);
/// A sample within so many standard deviations of what was expected tells nothing new: requests come at
/// random, and a unit counts as one of them. Following every peak would make small proxies look large.
const NOISE_DEVIATIONS: f64 = 3.0;
/// Within the noise, the mean is followed, up and down alike.
const NOISE_HALF_LIFE: Duration = Duration::from_secs(2);
/// Reports closer together than this only acknowledge: a rate over so short a time means nothing, and a
/// new decrease for each acknowledgement would be answered by the next one, for ever.
const MIN_SAMPLE: Duration = Duration::from_millis(50);
/// Up to so many shares are looked through; more have an index.
const UNINDEXED: usize = 8;

/// One proxy's part of a bucket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    pub(super) proxy: ProxyId,
    pub(super) session: u64,
    pub(super) admitted: MilliUnits,
    pub(super) throttled: MilliUnits,
    pub(super) returned: MilliUnits,
    /// The highest rate that the proxy may be using.
    pub(super) out: MilliUnitsPerSecond,
    /// The most tokens that the proxy may be holding.
    pub(super) hold: MilliUnits,
    /// What the last grant said; `out` and `hold` fall to it when it is acknowledged.
    pub(super) granted_rate: MilliUnitsPerSecond,
    pub(super) granted_cap: MilliUnits,
    /// The highest rate to which it may go once its lease has run out: a grant that was lost may have been
    /// the one that lowered it.
    pub(super) safe_rate: MilliUnitsPerSecond,
    pub(super) granted_safe_rate: MilliUnitsPerSecond,
    /// Of the last grant; 0: none yet.
    pub(super) sequence: u64,
    pub(super) demand: MilliUnitsPerSecond,
    pub(super) need: MilliUnits,
    /// Its last sample, and its last report of any kind, at most a sample later.
    pub(super) reported_at: Timestamp,
    /// That sample's time by the proxy's clock; zero: not told.
    pub(super) session_age: Duration,
    /// Parts of the last sample, in milli-units per second.
    pub(super) admitted_rate: f32,
    pub(super) throttled_rate: f32,
    /// Its report showed more admitted than its leases can explain.
    pub(super) overdrafts: u16,
    /// Grants since it became a newcomer.
    pub(super) grants: u8,
    /// Samples since its demand last changed by more than a tenth, and more than by chance.
    pub(super) steady: u8,
    pub(super) standing: Standing,
    /// Some grant reached it. Without one it goes up to its part of the quota when it misses its owner.
    pub(super) has_lease: bool,
}

/// What is known of a share's proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It reports.
    Active,
    /// It does not report this bucket, but its lease may still be used.
    Silent,
    /// The last grant made it untracked: it is dropped once it uses that.
    Leaving,
    /// It does: its share is dropped when it stays quiet.
    Left,
}

impl Share {
    /// Reports can be repeated and overtake each other; the counters only grow, so they tell.
    pub(super) fn is_older_than(&self, session: u64, entry: &ReportEntry) -> bool {
        session < self.session
            || session == self.session
                && (entry.admitted < self.admitted
                    || entry.throttled < self.throttled
                    || entry.returned < self.returned)
    }

    /// A proxy that started again counts from 0. It may use what its predecessor might have used: the
    /// lease stays in the family, and nothing is leased twice.
    pub(super) fn begin_session(&mut self, session: u64, entry: &ReportEntry) {
        if session > self.session {
            self.session = session;
            self.admitted = MilliUnits::ZERO;
            self.throttled = MilliUnits::ZERO;
            self.returned = entry.returned;
            self.overdrafts = self.overdrafts.saturating_add(1);
            self.session_age = Duration::ZERO;
        }
    }

    /// Whether the newest grant is in use.
    pub(super) fn is_acknowledged(&self, entry: &ReportEntry, epoch: Epoch) -> bool {
        self.sequence > 0 && entry.acknowledged == (GrantNumber { epoch, sequence: self.sequence })
    }

    /// I4: `out` and `hold` fall when the newest grant is known to be in use. A proxy without a rate can
    /// only use up what it holds.
    pub(super) fn acknowledge(&mut self, entry: &ReportEntry, epoch: Epoch) {
        if !self.is_acknowledged(entry, epoch) {
            return;
        }
        self.safe_rate = self.granted_safe_rate;
        if entry.rate_in_use > self.granted_rate {
            // Its owner was silent for so long that it went to its safe rate.
            self.out = self.out.max(entry.rate_in_use.min(self.safe_rate));
            return;
        }
        self.out = self.granted_rate;
        self.hold = self.granted_cap;
        if self.granted_rate.get() == 0 {
            self.hold = self.hold.min(entry.held);
        }
    }

    /// Follows the offered load (admitted *and* throttled: splitting by consumption would starve the very
    /// proxy that is being throttled). What was admitted since the last sample; none: too soon to tell.
    pub(super) fn sample(
        &mut self,
        entry: &ReportEntry,
        session_age: Duration,
        now: Timestamp,
    ) -> Option<MilliUnits> {
        self.standing = Standing::Active;
        self.need = entry.need;
        self.returned = entry.returned;
        let elapsed = if self.session_age > Duration::ZERO && session_age > self.session_age {
            session_age - self.session_age
        } else {
            now.since(self.reported_at)
        };
        if self.sequence == 0 {
            self.session_age = session_age;
            return Some(MilliUnits::ZERO);
        }
        if elapsed < MIN_SAMPLE {
            // The counters stay, so that the next sample covers this time, too.
            return None;
        }
        let admitted = entry.admitted.saturating_sub(self.admitted);
        let throttled = entry.throttled.saturating_sub(self.throttled);
        let before = self.demand.get();
        self.demand = follow(self.demand, admitted + throttled, elapsed);
        let change = self.demand.get().abs_diff(before);
        let steady = change.saturating_mul(10) <= before || is_noise(before, admitted + throttled, elapsed);
        self.steady = if steady { self.steady.saturating_add(1) } else { 0 };
        self.admitted_rate = per_second(admitted, elapsed);
        self.throttled_rate = per_second(throttled, elapsed);
        self.admitted = entry.admitted;
        self.throttled = entry.throttled;
        self.reported_at = now;
        self.session_age = session_age;
        Some(admitted)
    }

    /// I5: its lease has certainly ended. It uses its safe rate, if its owner is out of its reach; a
    /// leased proxy that merely has nothing to report uses no more than that either. `part`: what a proxy
    /// goes to that no grant has reached.
    pub(super) fn fall_silent(&mut self, lost: bool, part: MilliUnitsPerSecond, ended: bool) {
        self.standing = Standing::Silent;
        if lost && !self.has_lease {
            (self.safe_rate, self.granted_rate) = (part, MilliUnitsPerSecond::default());
        }
        let counts =
            if lost && self.granted_rate.get() == 0 { self.safe_rate } else { self.out.min(self.safe_rate) };
        // I5: until its lease has certainly ended, it may use that, too.
        self.out = if ended { counts } else { self.out.max(counts) };
        self.granted_rate = self.granted_rate.min(counts);
        self.demand = MilliUnitsPerSecond::default();
        self.need = MilliUnits::ZERO;
        self.steady = 0;
    }
}

impl Share {
    /// What it may use although it does not report.
    pub(super) fn silent_out(&self) -> u64 {
        if self.standing == Standing::Silent { self.out.get() } else { 0 }
    }

    /// What it goes to when it misses its owner.
    pub(super) fn goes_to(&self, part: MilliUnitsPerSecond) -> MilliUnitsPerSecond {
        if self.has_lease { self.safe_rate } else { part }
    }

    /// Whether it goes up to its safe rate when it misses its owner.
    pub(super) fn rises_when_lost(&self) -> bool {
        !self.has_lease || self.granted_rate.get() == 0
    }

    /// Whether it counts as a proxy that went from no rate to its safe rate.
    pub(super) fn counts_as_lost(&self) -> bool {
        self.granted_rate.get() == 0 && self.out.get() > 0
    }
}

/// All shares of a bucket, in the order in which they came, which is the same in every run.
#[derive(Debug, Default)]
pub(super) struct Shares {
    list: Vec<Share>,
    #[expect(clippy::box_collection, reason = "most buckets have none: 8 bytes each instead of 40")]
    index: Option<Box<HashMap<ProxyId, u32, FixedState>>>,
}

impl Shares {
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(super) fn iter(&self) -> std::slice::Iter<'_, Share> {
        self.list.iter()
    }

    pub(super) fn iter_mut(&mut self) -> std::slice::IterMut<'_, Share> {
        self.list.iter_mut()
    }

    /// Where `proxy`'s share is.
    pub(super) fn position(&self, proxy: ProxyId) -> Option<usize> {
        match &self.index {
            Some(index) => index.get(&proxy).map(|place| *place as usize),
            None => self.list.iter().position(|share| share.proxy == proxy),
        }
    }

    pub(super) fn get(&self, position: usize) -> &Share {
        &self.list[position]
    }

    pub(super) fn put(&mut self, position: Option<usize>, share: Share) {
        match position {
            Some(position) => self.list[position] = share,
            None => self.push(share),
        }
    }

    fn push(&mut self, share: Share) {
        let place = u32::try_from(self.list.len()).expect("proxies are bounded");
        self.list.push(share);
        if let Some(index) = &mut self.index {
            index.insert(share.proxy, place);
        } else if self.list.len() > UNINDEXED {
            let places = self.list.iter().zip(0..).map(|(share, place)| (share.proxy, place));
            self.index = Some(Box::new(places.collect()));
        }
    }

    /// Removes the share at `position`; the last one takes its place.
    pub(super) fn remove(&mut self, position: usize) -> Share {
        let share = self.list.swap_remove(position);
        if let Some(index) = &mut self.index {
            index.remove(&share.proxy);
            if let Some(moved) = self.list.get(position) {
                index.insert(moved.proxy, u32::try_from(position).expect("proxies are bounded"));
            }
        }
        if self.list.is_empty() {
            *self = Self::default();
        }
        share
    }
}

/// Whether so much in `elapsed` is what a Poisson process of that rate shows now and then.
#[expect(clippy::cast_precision_loss, reason = "an estimate of load")]
fn is_noise(rate: u64, offered: MilliUnits, elapsed: Duration) -> bool {
    let (counted, expected) = (offered.as_units(), rate as f64 / 1000.0 * elapsed.as_secs_f64());
    (counted - expected).abs() <= NOISE_DEVIATIONS * counted.max(expected).max(1.0).sqrt()
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an estimate of load; rates are far below 2^53 and never negative"
)]
fn follow(demand: MilliUnitsPerSecond, offered: MilliUnits, elapsed: Duration) -> MilliUnitsPerSecond {
    let seconds = elapsed.as_secs_f64();
    let before = demand.get() as f64;
    let sample = offered.get() as f64 / seconds;
    let (counted, expected) = (offered.as_units(), before / 1000.0 * seconds);
    let noise = NOISE_DEVIATIONS * counted.max(expected).max(1.0).sqrt();
    let half_life = if (counted - expected).abs() <= noise {
        NOISE_HALF_LIFE
    } else if sample > before {
        RISE_HALF_LIFE
    } else {
        FALL_HALF_LIFE
    };
    let kept = (-seconds / half_life.as_secs_f64()).exp2();
    MilliUnitsPerSecond::new((sample + (before - sample) * kept) as u64)
        .min(MilliUnitsPerSecond::new(MAX_AMOUNT))
}

#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "only shown")]
fn per_second(amount: MilliUnits, elapsed: Duration) -> f32 {
    (amount.get() as f64 / elapsed.as_secs_f64()) as f32
}
