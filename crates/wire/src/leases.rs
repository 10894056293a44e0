//! Reports and grants (`proto/gac.proto`) and the admission core's types: packed columns, entry `i` in
//! the `i`-th place of every column.

use std::time::Duration;

use admission::{
    BucketId, Claim, Grant, GrantNumber, Mode, OutagePolicy, PoolColour, Quota, ReportEntry, ReportHeader,
};
use units::{Epoch, MilliUnits, MilliUnitsPerSecond, ProxyId};

use crate::proto::{control, gac};

/// A report or an answer whose columns differ in length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the columns differ in length")]
pub struct RaggedColumns;

impl gac::Report {
    /// Packs what a proxy reports.
    #[must_use]
    pub fn pack(header: ReportHeader, entries: &[ReportEntry]) -> Self {
        let column = |value: fn(&ReportEntry) -> u64| entries.iter().map(value).collect();
        Self {
            proxy: header.proxy.get(),
            session: header.session,
            fleet: header.fleet,
            ring_epoch: header.ring.get(),
            leaving: header.leaving,
            bucket: column(|entry| entry.bucket.get()),
            admitted: column(|entry| entry.admitted.get()),
            throttled: column(|entry| entry.throttled.get()),
            returned: column(|entry| entry.returned.get()),
            held: column(|entry| entry.held.get()),
            need: column(|entry| entry.need.get()),
            epoch: column(|entry| entry.acknowledged.epoch.get()),
            sequence: column(|entry| entry.acknowledged.sequence),
            rate_in_use: column(|entry| entry.rate_in_use.get()),
            quota_version: column(|entry| entry.quota.version),
            quota_rate: column(|entry| entry.quota.rate.get()),
            quota_burst: column(|entry| entry.quota.burst.get()),
            quota_terms: entries.iter().map(|entry| terms_to_wire(entry.quota)).collect(),
        }
    }

    /// What stands above its entries.
    #[must_use]
    pub const fn header(&self) -> ReportHeader {
        ReportHeader {
            proxy: ProxyId::new(self.proxy),
            session: self.session,
            fleet: self.fleet,
            ring: Epoch::new(self.ring_epoch),
            leaving: self.leaving,
        }
    }

    /// Its entries.
    ///
    /// # Errors
    /// When the columns differ in length.
    pub fn entries(&self) -> Result<impl Iterator<Item = ReportEntry> + '_, RaggedColumns> {
        let columns = [
            &self.admitted,
            &self.throttled,
            &self.returned,
            &self.held,
            &self.need,
            &self.epoch,
            &self.sequence,
            &self.rate_in_use,
            &self.quota_version,
            &self.quota_rate,
            &self.quota_burst,
        ];
        let ragged = columns.iter().any(|column| column.len() != self.bucket.len())
            || self.quota_terms.len() != self.bucket.len();
        if ragged {
            return Err(RaggedColumns);
        }
        Ok((0..self.bucket.len()).map(|i| ReportEntry {
            bucket: BucketId::from_raw(self.bucket[i]),
            admitted: MilliUnits::new(self.admitted[i]),
            throttled: MilliUnits::new(self.throttled[i]),
            returned: MilliUnits::new(self.returned[i]),
            held: MilliUnits::new(self.held[i]),
            need: MilliUnits::new(self.need[i]),
            acknowledged: GrantNumber { epoch: Epoch::new(self.epoch[i]), sequence: self.sequence[i] },
            rate_in_use: MilliUnitsPerSecond::new(self.rate_in_use[i]),
            quota: quota(
                (self.quota_rate[i], self.quota_burst[i]),
                self.quota_version[i],
                self.quota_terms[i],
            ),
        }))
    }
}

impl gac::Grants {
    /// Packs grants.
    #[must_use]
    pub fn pack(grants: &[Grant]) -> Self {
        let column = |value: fn(&Grant) -> u64| grants.iter().map(value).collect();
        let millis = |value: fn(&Grant) -> Duration| {
            grants.iter().map(|grant| u32::try_from(value(grant).as_millis()).unwrap_or(u32::MAX)).collect()
        };
        Self {
            bucket: column(|grant| grant.bucket.get()),
            epoch: column(|grant| grant.number.epoch.get()),
            sequence: column(|grant| grant.number.sequence),
            rate: column(|grant| grant.rate.get()),
            tokens: column(|grant| grant.tokens.get()),
            cap: column(|grant| grant.cap.get()),
            next_report_ms: millis(|grant| grant.next_report),
            ttl_ms: millis(|grant| grant.ttl),
            safe_rate: column(|grant| grant.safe_rate.get()),
            pool: grants.iter().map(|grant| colour_to_wire(grant.pool).into()).collect(),
            mode: grants.iter().map(|grant| mode_to_wire(grant.mode).into()).collect(),
            dry_ms: millis(|grant| grant.dry_for),
            quota_version: column(|grant| grant.quota.version),
            quota_rate: column(|grant| grant.quota.rate.get()),
            quota_burst: column(|grant| grant.quota.burst.get()),
            quota_terms: grants.iter().map(|grant| terms_to_wire(grant.quota)).collect(),
            ..Self::default()
        }
    }

    /// The grants.
    ///
    /// # Errors
    /// When the columns differ in length.
    pub fn entries(&self) -> Result<impl Iterator<Item = Grant> + '_, RaggedColumns> {
        let count = self.bucket.len();
        let columns = [
            &self.epoch,
            &self.sequence,
            &self.rate,
            &self.tokens,
            &self.cap,
            &self.safe_rate,
            &self.quota_version,
            &self.quota_rate,
            &self.quota_burst,
        ];
        let short_columns = [&self.next_report_ms, &self.ttl_ms, &self.dry_ms, &self.quota_terms];
        let ragged = columns.iter().any(|column| column.len() != count)
            || short_columns.iter().any(|column| column.len() != count)
            || self.pool.len() != count
            || self.mode.len() != count;
        if ragged {
            return Err(RaggedColumns);
        }
        Ok((0..count).map(|i| Grant {
            bucket: BucketId::from_raw(self.bucket[i]),
            number: GrantNumber { epoch: Epoch::new(self.epoch[i]), sequence: self.sequence[i] },
            rate: MilliUnitsPerSecond::new(self.rate[i]),
            tokens: MilliUnits::new(self.tokens[i]),
            cap: MilliUnits::new(self.cap[i]),
            next_report: Duration::from_millis(u64::from(self.next_report_ms[i])),
            ttl: Duration::from_millis(u64::from(self.ttl_ms[i])),
            safe_rate: MilliUnitsPerSecond::new(self.safe_rate[i]),
            pool: colour_from_wire(self.pool[i]),
            mode: mode_from_wire(self.mode[i]),
            dry_for: Duration::from_millis(u64::from(self.dry_ms[i])),
            quota: quota(
                (self.quota_rate[i], self.quota_burst[i]),
                self.quota_version[i],
                self.quota_terms[i],
            ),
        }))
    }
}

impl control::Quota {
    /// A bucket's quota, as the control plane pushes it.
    #[must_use]
    pub fn of(bucket: BucketId, quota: Quota) -> Self {
        Self {
            bucket: bucket.get(),
            rate_milli: quota.rate.get(),
            burst_milli: quota.burst.get(),
            version: quota.version,
            terms: terms_to_wire(quota),
            ..Self::default()
        }
    }

    /// The table's claim on its account's quota.
    #[must_use]
    pub fn claim(&self) -> Claim {
        Claim {
            weight: self.weight.max(1),
            floor: MilliUnitsPerSecond::new(self.floor_milli),
            cap: self.cap_milli.map(MilliUnitsPerSecond::new),
            priority: u8::try_from(self.priority).unwrap_or(u8::MAX),
            version: self.version,
        }
    }

    /// Which bucket, and its quota.
    #[must_use]
    pub const fn parts(&self) -> (BucketId, Quota) {
        let quota = quota((self.rate_milli, self.burst_milli), self.version, self.terms);
        (BucketId::from_raw(self.bucket), quota)
    }
}

/// Added to a quota's terms when it only counts.
const SHADOW: u32 = 4;

const fn terms_to_wire(quota: Quota) -> u32 {
    let outage = match quota.outage {
        OutagePolicy::Strict => 0,
        OutagePolicy::Static => 1,
        OutagePolicy::Open => 2,
    };
    outage | if quota.shadow { SHADOW } else { 0 }
}

const fn quota((rate, burst): (u64, u64), version: u64, terms: u32) -> Quota {
    Quota {
        rate: MilliUnitsPerSecond::new(rate),
        burst: MilliUnits::new(burst),
        version,
        outage: match terms & (SHADOW - 1) {
            1 => OutagePolicy::Static,
            2 => OutagePolicy::Open,
            _ => OutagePolicy::Strict,
        },
        shadow: terms & SHADOW != 0,
    }
}

const fn mode_to_wire(mode: Mode) -> gac::Mode {
    match mode {
        Mode::Leased => gac::Mode::Leased,
        Mode::Untracked => gac::Mode::Untracked,
        Mode::Direct => gac::Mode::Direct,
    }
}

fn mode_from_wire(mode: i32) -> Mode {
    match gac::Mode::try_from(mode) {
        Ok(gac::Mode::Untracked) => Mode::Untracked,
        Ok(gac::Mode::Direct) => Mode::Direct,
        Ok(gac::Mode::Leased) | Err(_) => Mode::Leased,
    }
}

const fn colour_to_wire(colour: PoolColour) -> gac::PoolColour {
    match colour {
        PoolColour::Unknown => gac::PoolColour::Unknown,
        PoolColour::Comfortable => gac::PoolColour::Comfortable,
        PoolColour::Scarce => gac::PoolColour::Scarce,
        PoolColour::Dry => gac::PoolColour::Dry,
    }
}

fn colour_from_wire(colour: i32) -> PoolColour {
    match gac::PoolColour::try_from(colour) {
        Ok(gac::PoolColour::Comfortable) => PoolColour::Comfortable,
        Ok(gac::PoolColour::Scarce) => PoolColour::Scarce,
        Ok(gac::PoolColour::Dry) => PoolColour::Dry,
        Ok(gac::PoolColour::Unknown) | Err(_) => PoolColour::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: ReportHeader =
        ReportHeader { proxy: ProxyId::new(3), session: 4, fleet: 5, ring: Epoch::new(6), leaving: true };

    fn entry(n: u64) -> ReportEntry {
        ReportEntry {
            bucket: BucketId::from_raw(n),
            admitted: MilliUnits::new(n + 1),
            throttled: MilliUnits::new(n + 2),
            returned: MilliUnits::new(n + 3),
            held: MilliUnits::new(n + 4),
            need: MilliUnits::new(n + 5),
            acknowledged: GrantNumber { epoch: Epoch::new(n + 6), sequence: n + 7 },
            rate_in_use: MilliUnitsPerSecond::new(n + 8),
            quota: some_quota(n),
        }
    }

    fn some_quota(n: u64) -> Quota {
        Quota {
            rate: MilliUnitsPerSecond::new(n + 9),
            burst: MilliUnits::new(n + 10),
            version: n + 11,
            outage: [OutagePolicy::Strict, OutagePolicy::Static, OutagePolicy::Open]
                [usize::try_from(n % 3).unwrap()],
            shadow: n.is_multiple_of(2),
        }
    }

    fn grant(n: u64) -> Grant {
        Grant {
            bucket: BucketId::from_raw(n),
            number: GrantNumber { epoch: Epoch::new(n + 1), sequence: n + 2 },
            rate: MilliUnitsPerSecond::new(n + 3),
            tokens: MilliUnits::new(n + 4),
            cap: MilliUnits::new(n + 5),
            next_report: Duration::from_millis(n + 6),
            ttl: Duration::from_millis(n + 7),
            safe_rate: MilliUnitsPerSecond::new(n + 8),
            pool: [PoolColour::Unknown, PoolColour::Comfortable, PoolColour::Scarce, PoolColour::Dry]
                [usize::try_from(n % 4).unwrap()],
            mode: [Mode::Leased, Mode::Untracked, Mode::Direct][usize::try_from(n % 3).unwrap()],
            dry_for: Duration::from_millis(n + 12),
            quota: some_quota(n + 1),
        }
    }

    #[test]
    fn reports_and_grants_survive_the_wire() {
        let entries: Vec<_> = (0..9).map(|n| entry(n * 100)).collect();
        let report = gac::Report::pack(HEADER, &entries);
        assert_eq!(report.header(), HEADER);
        assert_eq!(report.entries().unwrap().collect::<Vec<_>>(), entries);
        let grants: Vec<_> = (0..9).map(|n| grant(n * 101)).collect();
        assert_eq!(gac::Grants::pack(&grants).entries().unwrap().collect::<Vec<_>>(), grants);
    }

    #[test]
    fn ragged_columns_are_refused() {
        let mut report = gac::Report::pack(HEADER, &[entry(1), entry(2)]);
        report.held.pop();
        assert!(report.entries().is_err());
        let mut grants = gac::Grants::pack(&[grant(1)]);
        grants.pool.push(0);
        assert!(grants.entries().is_err());
    }
}
