//! What `weir top` shows of one proxy: who asks for how much, and what comes of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::explanation::{Capacity, Cause};

/// The busiest tables and principals of one proxy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Top {
    /// The proxy's number in the fleet.
    pub proxy: u64,
    /// When, milliseconds since 1970.
    pub at_ms: u64,
    /// Tables, by what was offered over ten seconds.
    pub tables: Vec<TopRow>,
    /// Principals, likewise; `(other)` stands for those beyond the number that is told apart.
    pub principals: Vec<TopRow>,
}

/// One table's or principal's traffic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TopRow {
    /// The table's or the principal's name.
    pub name: String,
    /// Which capacity.
    pub capacity: Capacity,
    /// Over the last second.
    pub last_second: Flow,
    /// Over the last ten seconds.
    pub last_ten_seconds: Flow,
}

/// Traffic, per second.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Flow {
    /// Asked for: admitted and throttled.
    pub offered: Amount,
    /// Admitted, at what it cost in the end.
    pub admitted: Amount,
    /// Refused, by cause; causes that refused nothing are left out.
    pub throttled: BTreeMap<Cause, Amount>,
    /// Admitted although a shadow quota would have refused it.
    pub shadow: Amount,
}

/// Capacity units and requests per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Amount {
    /// Capacity units per second.
    pub units: f64,
    /// Requests per second.
    pub requests: f64,
}

/// Who is not told apart.
pub(super) const OTHER: &str = "(other)";

/// Rows of each kind at most.
const MAX_ROWS: usize = 200;

impl TopRow {
    /// The busiest rows first, no more than [`MAX_ROWS`].
    pub(super) fn busiest(mut rows: Vec<Self>) -> Vec<Self> {
        let offered = |row: &Self| row.last_ten_seconds.offered;
        rows.sort_by(|a, b| {
            let (a, b) = (offered(a), offered(b));
            b.units.total_cmp(&a.units).then(b.requests.total_cmp(&a.requests))
        });
        rows.truncate(MAX_ROWS);
        rows
    }
}
