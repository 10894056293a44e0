//! The peaks of on-demand tables, as the GAC servers report them, and what follows: a table's quota is twice
//! its previous peak. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use admission::{BucketId, CapacityKind, Level};
use dynamodb::table::{Billing, TableStatus};
use units::{MilliUnitsPerSecond, Timestamp, UnixMillis};

use crate::catalog::Catalog;
use crate::quota::{Boost, QuotaCause, QuotaKind, QuotaMode, QuotaVersion};
use crate::record::{OnDemandHistories, TableRecord};

/// A table's peaks are looked at so often: its record is written at most once in that time on their account.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// The author of what a table's own peak does.
const AUTHOR: &str = "on-demand";

/// What was reported since each table was last looked at: soft state of the leader. A new one misses at
/// most one look.
#[derive(Debug, Default)]
pub(crate) struct Peaks {
    /// By table number: the highest rates.
    reported: BTreeMap<u64, Highest>,
    looked_at: BTreeMap<u64, Timestamp>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Highest {
    read: MilliUnitsPerSecond,
    write: MilliUnitsPerSecond,
}

impl Peaks {
    /// Takes in reported peaks of tables on demand.
    pub(crate) fn report(
        &mut self,
        catalog: &Catalog,
        peaks: impl Iterator<Item = (BucketId, MilliUnitsPerSecond)>,
    ) {
        let ids = on_demand_ids(catalog);
        for (bucket, rate) in peaks {
            // What is kept is bounded by the tables that are there.
            if bucket.level() != Level::Table || !ids.contains(&bucket.table().get()) {
                continue;
            }
            let highest = self.reported.entry(bucket.table().get()).or_default();
            let highest = match bucket.kind() {
                CapacityKind::Read => &mut highest.read,
                CapacityKind::Write => &mut highest.write,
            };
            *highest = rate.max(*highest);
        }
    }

    /// The tables whose records change by what was reported of them, or by the time that has passed.
    pub(crate) fn due(&mut self, catalog: &Catalog, now: Timestamp, unix: UnixMillis) -> Vec<TableRecord> {
        let ids = on_demand_ids(catalog);
        self.looked_at.retain(|id, _| ids.contains(id));
        self.reported.retain(|id, _| ids.contains(id));
        let mut changed = Vec::new();
        for table in on_demand_tables(catalog) {
            let id = table.descriptor.id;
            let looked_at = self.looked_at.entry(id).or_insert(now);
            if now.since(*looked_at) < LOOK_EVERY {
                continue;
            }
            *looked_at = now;
            let highest = self.reported.remove(&id).unwrap_or_default();
            changed.extend(observe(table, highest.read, highest.write, unix));
        }
        changed
    }
}

fn on_demand_tables(catalog: &Catalog) -> impl Iterator<Item = &TableRecord> {
    catalog.tables.values().filter(|table| {
        matches!(table.descriptor.billing, Billing::OnDemand { .. })
            && table.descriptor.status != TableStatus::Deleting
    })
}

fn on_demand_ids(catalog: &Catalog) -> BTreeSet<u64> {
    on_demand_tables(catalog).map(|table| table.descriptor.id).collect()
}

/// The table once it has sustained these rates; none: nothing changes.
fn observe(
    table: &TableRecord,
    read: MilliUnitsPerSecond,
    write: MilliUnitsPerSecond,
    now: UnixMillis,
) -> Option<TableRecord> {
    let mut after = table.clone();
    let history = |kind, rate| {
        let mut history = table.on_demand(kind);
        history.observe(rate, now);
        history
    };
    let histories = OnDemandHistories {
        read: history(QuotaKind::Read, read).into(),
        write: history(QuotaKind::Write, write).into(),
    };
    let before = OnDemandHistories {
        read: table.on_demand(QuotaKind::Read).into(),
        write: table.on_demand(QuotaKind::Write).into(),
    };
    if histories == before {
        return None;
    }
    after.on_demand = Some(histories);
    let mut raised = false;
    for kind in QuotaKind::ALL {
        if let Some(version) = raised_quota(&after, kind, now) {
            after.set_quota(kind, version);
            raised = true;
        }
    }
    after.descriptor.version += u64::from(raised);
    Some(after)
}

/// The quota that the table's peaks give it, if it follows them and they give more than it has.
fn raised_quota(table: &TableRecord, kind: QuotaKind, now: UnixMillis) -> Option<QuotaVersion> {
    let present = table.quota(kind);
    let lasting = present.lasting_terms();
    let rate = table.own_units(kind);
    if lasting.mode != QuotaMode::OnDemand || rate <= lasting.rate {
        return None;
    }
    let raised = lasting.clone().at_rate(rate);
    // A boost stays, unless the table has outgrown it.
    let boost = present.boost.as_ref().filter(|_| present.terms.rate > rate);
    let terms = boost.map_or_else(|| raised.clone(), |_| present.terms.clone());
    let peak = table.on_demand(kind).previous_peak.get() / 1000;
    Some(QuotaVersion {
        version: present.version + 1,
        terms,
        boost: boost.map(|boost| Boost { until_ms: boost.until_ms, returns_to: raised }),
        cause: QuotaCause::OnDemand,
        author: AUTHOR.to_owned(),
        reason: format!("the previous peak is {peak} units per second"),
        at_ms: now.get(),
    })
}

#[cfg(test)]
mod tests;
