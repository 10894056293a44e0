//! Puts a refusal into words: what `weir explain` prints.

use std::time::Duration;

use ::admission::{BurstState, CapacityKind, PoolColour, StorageRefusal};
use units::{MilliUnits, MilliUnitsPerSecond, Timestamp, UnixMillis};

use super::explanation::{Capacity, Cause, Explanation, HotKeyCheck, Layer, LevelCheck, PartitionCheck};
use super::refusal_log::{LevelRecord, Record};

impl Record {
    /// `proxy`: its number; `now` and `today`: the two clocks' readings.
    pub(super) fn explain(&self, proxy: u64, now: Timestamp, today: UnixMillis) -> Explanation {
        let ago = u64::try_from(now.since(self.at).as_millis()).unwrap_or(u64::MAX);
        let (higher_quota_helps, verdict) = self.verdict();
        Explanation {
            request: self.request.to_string(),
            proxy,
            at_ms: today.get().saturating_sub(ago),
            table: self.table.as_ref().to_owned(),
            operation: self.operation.name().to_owned(),
            principal: self.principal.as_ref().to_owned(),
            capacity: capacity(self.kind),
            cost: self.cost.as_units(),
            layer: self.layer,
            cause: self.cause,
            levels: self.levels.iter().flatten().map(LevelRecord::check).collect(),
            partition: self.node.as_ref().map(partition_check),
            retry_after_ms: self.retry_after_ms(),
            higher_quota_helps,
            verdict,
        }
    }

    fn retry_after_ms(&self) -> Option<u64> {
        let millis = self.retry_after.as_nanos().div_ceil(1_000_000);
        (self.retry_after < Duration::MAX).then(|| u64::try_from(millis).unwrap_or(u64::MAX))
    }

    /// Whether a higher quota of the layer that refused would have admitted the request, and why.
    fn verdict(&self) -> (bool, String) {
        let back = match self.retry_after_ms() {
            Some(millis) => format!("Come back in {millis} ms."),
            None => "It is never admitted at this rate.".to_owned(),
        };
        let refused = self.levels.iter().flatten().find(|level| level.refused);
        let (helps, why) = match (self.cause, refused) {
            (Cause::Partition, _) => (
                false,
                "One partition refused: its keys were asked for faster than a partition serves. A higher quota \
                 of the table does not help; spreading requests over more partition keys does."
                    .to_owned(),
            ),
            (Cause::Node, _) => (
                false,
                "The storage node had no capacity left. A higher quota of the table does not help; more nodes, \
                 or moving partitions away from this one, do."
                    .to_owned(),
            ),
            (_, Some(level)) => level.verdict(self.cause),
            (cause, None) => (false, format!("The {} refused ({cause}).", self.layer)),
        };
        (helps, format!("{why} {back}"))
    }
}

impl LevelRecord {
    fn verdict(&self, cause: Cause) -> (bool, String) {
        let whose = match self.layer {
            Layer::Account => format!("account's part for table {}", self.subject),
            layer => format!("{layer} {}", self.subject),
        };
        // What a table gets of its account's quota is divided anew all the time: its number says nothing.
        let version = match self.layer {
            Layer::Account => String::new(),
            _ => format!(", version {}", self.quota.version),
        };
        let quota = format!(
            "the quota of {} units/s (burst {}{version})",
            units_per_second(self.quota.rate),
            self.quota.burst.as_units(),
        );
        if self.quota.rate.get() == 0 && self.quota.version > 0 {
            return (true, format!("{quota} of the {whose} is nothing: only a higher one admits anything."));
        }
        if self.lease_expired && self.lease_age.is_some() {
            let why = "no GAC server has answered for longer than the lease holds, so this proxy admits its safe rate of";
            return (
                false,
                format!("{whose}: {why} {} units/s, its part of {quota}.", units_per_second(self.rate)),
            );
        }
        match (cause, self.pool) {
            (Cause::Quota, _) => (
                true,
                format!(
                    "The fleet has used up {quota} of the {whose}: a higher one would have admitted this."
                ),
            ),
            (Cause::Account, PoolColour::Dry) => (
                true,
                format!(
                    "The fleet has used up the {} units/s of the account's quota that are table {}'s part now: a \
                     higher quota of the account, or a larger claim of the table on it, would have admitted this.",
                    units_per_second(self.quota.rate),
                    self.subject
                ),
            ),
            (_, PoolColour::Unknown) => (
                false,
                format!(
                    "This proxy had not been granted a part of {quota} of the {whose} yet: a higher one is not what \
                     was missing."
                ),
            ),
            _ if self.rate >= self.quota.rate => (
                true,
                format!(
                    "This proxy may use all of {quota} of the {whose}, and had used what that had earned; the fleet's \
                     pool {}. A higher one would have admitted this.",
                    if self.pool == PoolColour::Scarce { "was nearly empty" } else { "has more for it soon" }
                ),
            ),
            (_, PoolColour::Scarce) => (
                true,
                format!(
                    "This proxy's share ({} units/s, {} units deep) of {quota} of the {whose} was used up, and the \
                     fleet's pool was nearly empty: a higher one would have admitted this.",
                    units_per_second(self.rate),
                    self.cap.as_units()
                ),
            ),
            _ => (
                false,
                format!(
                    "This proxy's share ({} units/s, {} units deep) of {quota} of the {whose} was used up while the \
                     pool still had tokens: a local shortage, not the quota.",
                    units_per_second(self.rate),
                    self.cap.as_units()
                ),
            ),
        }
    }

    fn check(&self) -> LevelCheck {
        LevelCheck {
            layer: self.layer,
            subject: self.subject.as_ref().to_owned(),
            refused: self.refused,
            shadow: self.quota.shadow,
            quota_rate: units_per_second(self.quota.rate),
            quota_burst: self.quota.burst.as_units(),
            quota_version: self.quota.version,
            level: if self.debt > MilliUnits::ZERO { -self.debt.as_units() } else { self.level.as_units() },
            cap: self.cap.as_units(),
            leased_rate: units_per_second(self.rate),
            lease_age_ms: self.lease_age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
            lease_expired: self.lease_expired,
            mode: self.mode.name().to_owned(),
            pool: self.pool.name().to_owned(),
        }
    }
}

fn partition_check(refusal: &StorageRefusal) -> PartitionCheck {
    let burst = match refusal.burst {
        BurstState::Empty => "empty",
        BurstState::NodeBusy => "node busy",
        BurstState::MembersBusy => "members busy",
    };
    PartitionCheck {
        rate: units_per_second(refusal.quota),
        level: refusal.level.as_units(),
        banked: refusal.banked.as_units(),
        burst: burst.to_owned(),
        hot_key: refusal.hot_key.map(|key| HotKeyCheck {
            hash: format!("{:016x}", key.hash.get()),
            part: f64::from(key.permille) / 1000.0,
        }),
    }
}

pub(super) const fn capacity(kind: CapacityKind) -> Capacity {
    match kind {
        CapacityKind::Read => Capacity::Read,
        CapacityKind::Write => Capacity::Write,
    }
}

fn units_per_second(rate: MilliUnitsPerSecond) -> f64 {
    MilliUnits::new(rate.get()).as_units()
}
