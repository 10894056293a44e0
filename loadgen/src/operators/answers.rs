//! What operators' endpoints answer, as far as a run wants to know, and the samples that follow from it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Deserialize;

use crate::result::QuotaSample;

/// `GET /about`.
#[derive(Debug, Deserialize)]
pub(super) struct About {
    tiers: Vec<String>,
}

impl About {
    pub(super) fn is(&self, tier: &str) -> bool {
        self.tiers.iter().any(|known| known == tier)
    }
}

/// `GET /admission/top` of a proxy.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Top {
    tables: Vec<Row>,
}

#[derive(Debug, Clone, Deserialize)]
struct Row {
    name: String,
    capacity: Capacity,
    last_second: Flow,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Capacity {
    Read,
    Write,
}

#[derive(Debug, Clone, Deserialize)]
struct Flow {
    admitted: Amount,
    throttled: BTreeMap<String, Amount>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
struct Amount {
    units: f64,
}

/// One of `GET /quotas` of the control plane.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Quota {
    subject: String,
    kind: Capacity,
    current: Version,
}

#[derive(Debug, Clone, Deserialize)]
struct Version {
    terms: Terms,
}

#[derive(Debug, Clone, Deserialize)]
struct Terms {
    mode: String,
    rate: u64,
    /// It counts, and refuses nothing.
    #[serde(default)]
    shadow: bool,
}

impl Quota {
    /// In thousandths per second; none when nothing is refused for it.
    fn milli(&self) -> Option<u64> {
        let terms = &self.current.terms;
        (terms.mode != "unlimited" && !terms.shadow).then(|| terms.rate.saturating_mul(1000))
    }
}

/// One sample per table and capacity, summed over the proxies; tables that nobody asked for have zeros, so that
/// lines do not break.
pub(super) fn samples(
    proxies: &[Top],
    quotas: &[Quota],
    tables: &BTreeSet<String>,
    at: Duration,
) -> Vec<QuotaSample> {
    let at_us = u64::try_from(at.as_micros()).unwrap_or(u64::MAX);
    let mut samples = BTreeMap::new();
    for table in tables {
        for capacity in [Capacity::Read, Capacity::Write] {
            let sample = QuotaSample {
                at_us,
                table: table.clone(),
                write: capacity == Capacity::Write,
                quota_milli: quota(quotas, table, capacity),
                admitted_milli: 0,
                refused_milli: BTreeMap::new(),
            };
            samples.insert((table.as_str(), capacity), sample);
        }
    }
    for row in proxies.iter().flat_map(|top| &top.tables) {
        let Some(sample) = samples.get_mut(&(row.name.as_str(), row.capacity)) else { continue };
        sample.admitted_milli = sample.admitted_milli.saturating_add(milli(row.last_second.admitted));
        for (cause, amount) in &row.last_second.throttled {
            let refused = sample.refused_milli.entry(cause.clone()).or_default();
            *refused = refused.saturating_add(milli(*amount));
        }
    }
    samples.into_values().collect()
}

fn quota(quotas: &[Quota], table: &str, capacity: Capacity) -> Option<u64> {
    let of_table =
        |quota: &&Quota| quota.subject.strip_prefix("table/") == Some(table) && quota.kind == capacity;
    quotas.iter().find(of_table).and_then(Quota::milli)
}

/// Thousandths; what is no amount is none.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates")]
fn milli(amount: Amount) -> u64 {
    (amount.units * 1000.0).round() as u64
}
