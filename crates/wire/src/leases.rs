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
            session_age_us: u64::try_from(header.session_age.as_micros()).unwrap_or(u64::MAX),
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
            session_age: Duration::from_micros(self.session_age_us),
        }
    }

    /// Its entries.
    ///
    /// # Errors
    /// When the columns differ in length.
    pub fn entries(&self) -> Result<impl Iterator<Item = ReportEntry> + '_, RaggedColumns> {
        let entries = self.checked()?;
        Ok((0..entries.len()).map(move |place| entries.get(place)))
    }

    /// Its entries, to be read in any order.
    ///
    /// # Errors
    /// When the columns differ in length.
    pub fn checked(&self) -> Result<Entries<'_>, RaggedColumns> {
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
        if ragged { Err(RaggedColumns) } else { Ok(Entries { report: self }) }
    }
}

/// A report whose columns are of one length.
#[derive(Clone, Copy, Debug)]
pub struct Entries<'a> {
    report: &'a gac::Report,
}

impl Entries<'_> {
    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.report.bucket.len()
    }

    /// Whether there are none: the report is a heartbeat.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.report.bucket.is_empty()
    }

    /// Which bucket the entry at `place` is about.
    ///
    /// # Panics
    /// When `place` is not below [`Self::len`].
    #[must_use]
    pub fn bucket(&self, place: usize) -> BucketId {
        BucketId::from_raw(self.report.bucket[place])
    }

    /// The entry at `place`.
    ///
    /// # Panics
    /// When `place` is not below [`Self::len`].
    #[must_use]
    pub fn get(&self, place: usize) -> ReportEntry {
        let report = self.report;
        ReportEntry {
            bucket: BucketId::from_raw(report.bucket[place]),
            admitted: MilliUnits::new(report.admitted[place]),
            throttled: MilliUnits::new(report.throttled[place]),
            returned: MilliUnits::new(report.returned[place]),
            held: MilliUnits::new(report.held[place]),
            need: MilliUnits::new(report.need[place]),
            acknowledged: GrantNumber {
                epoch: Epoch::new(report.epoch[place]),
                sequence: report.sequence[place],
            },
            rate_in_use: MilliUnitsPerSecond::new(report.rate_in_use[place]),
            quota: quota(
                (report.quota_rate[place], report.quota_burst[place]),
                report.quota_version[place],
                report.quota_terms[place],
            ),
        }
    }
}

impl gac::Grants {
    /// Packs grants.
    #[must_use]
    pub fn pack(grants: &[Grant]) -> Self {
        let mut packed = Self::with_room(grants.len());
        grants.iter().for_each(|grant| packed.push(grant));
        packed
    }

    /// An answer with room for `count` grants.
    #[must_use]
    pub fn with_room(count: usize) -> Self {
        Self {
            bucket: Vec::with_capacity(count),
            epoch: Vec::with_capacity(count),
            sequence: Vec::with_capacity(count),
            rate: Vec::with_capacity(count),
            tokens: Vec::with_capacity(count),
            cap: Vec::with_capacity(count),
            next_report_ms: Vec::with_capacity(count),
            ttl_ms: Vec::with_capacity(count),
            safe_rate: Vec::with_capacity(count),
            pool: Vec::with_capacity(count),
            mode: Vec::with_capacity(count),
            dry_ms: Vec::with_capacity(count),
            quota_version: Vec::with_capacity(count),
            quota_rate: Vec::with_capacity(count),
            quota_burst: Vec::with_capacity(count),
            quota_terms: Vec::with_capacity(count),
            ..Self::default()
        }
    }

    /// Adds a grant.
    pub fn push(&mut self, grant: &Grant) {
        self.bucket.push(grant.bucket.get());
        self.epoch.push(grant.number.epoch.get());
        self.sequence.push(grant.number.sequence);
        self.rate.push(grant.rate.get());
        self.tokens.push(grant.tokens.get());
        self.cap.push(grant.cap.get());
        self.next_report_ms.push(millis(grant.next_report));
        self.ttl_ms.push(millis(grant.ttl));
        self.safe_rate.push(grant.safe_rate.get());
        self.pool.push(colour_to_wire(grant.pool).into());
        self.mode.push(mode_to_wire(grant.mode).into());
        self.dry_ms.push(millis(grant.dry_for));
        self.quota_version.push(grant.quota.version);
        self.quota_rate.push(grant.quota.rate.get());
        self.quota_burst.push(grant.quota.burst.get());
        self.quota_terms.push(terms_to_wire(grant.quota));
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

pub(crate) fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

/// Added to a quota's terms when it only counts.
const SHADOW: u32 = 4;

pub(crate) const fn terms_to_wire(quota: Quota) -> u32 {
    let outage = match quota.outage {
        OutagePolicy::Strict => 0,
        OutagePolicy::Static => 1,
        OutagePolicy::Open => 2,
    };
    outage | if quota.shadow { SHADOW } else { 0 }
}

pub(crate) const fn quota((rate, burst): (u64, u64), version: u64, terms: u32) -> Quota {
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

    const HEADER: ReportHeader = ReportHeader {
        proxy: ProxyId::new(3),
        session: 4,
        fleet: 5,
        ring: Epoch::new(6),
        leaving: true,
        session_age: Duration::from_micros(7),
    };

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
