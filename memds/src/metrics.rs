//! The MemDS tier's metrics.
//!
//! | metric | labels | what |
//! |---|---|---|
//! | `weir_memds_lookups_total` | `result` | lookups served: `found`, `no_route`, `no_key` (it cannot be made of the attributes), `no_table`, `not_ready` |
//! | `weir_memds_pushes_total` | `from`, `result` | pushes from a `node`, from `control` or from a `peer`: `news`, `known`, `stale` |
//! | `weir_memds_comparisons_total` | `result` | rounds of anti-entropy that this server began: `done`, `failed` |
//! | `weir_memds_repaired_routes_total` | `direction` | routes that a comparison brought (`taken`) or gave (`given`) |
//! | `weir_memds_comparison_bytes_total` | | bytes of the messages of comparisons that this server began, both ways |
//! | `weir_memds_push_lag_seconds` | `node` | since that storage node's last push |
//! | `weir_memds_change_lag_seconds` | `node` | the longest that a change of the last minute had waited at that node |
//! | `weir_memds_route_bytes` | | what the routes' tree takes, about |
//! | `weir_memds_malformed_total` | | pushed routes, nodes or tables that could not be read |
//! | `weir_memds_tables`, `weir_memds_routes`, `weir_memds_nodes` | | entries held |

use std::collections::BTreeMap;

use metrics::{Counter, Gauge, Unit, counter, describe_counter, describe_gauge, gauge};

use parking_lot::Mutex;
use units::{NodeId, Timestamp};

use crate::lookups::Tally;
use crate::push_log::PushLog;
use crate::snapshot::Snapshot;

/// Handles, made once: a lookup must not search the registry.
#[derive(Debug)]
pub(crate) struct Metrics {
    pub(crate) found: Counter,
    pub(crate) no_route: Counter,
    no_key: Counter,
    pub(crate) no_table: Counter,
    pub(crate) not_ready: Counter,
    pub(crate) malformed: Counter,
    pub(crate) taken: Counter,
    pub(crate) given: Counter,
    tables: Gauge,
    routes: Gauge,
    nodes: Gauge,
    pub(crate) comparison_bytes: Counter,
    route_bytes: Gauge,
    /// Push lag and change lag of each node that has pushed.
    lags: Mutex<BTreeMap<NodeId, Lags>>,
}

#[derive(Debug)]
struct Lags {
    push: Gauge,
    change: Gauge,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        describe();
        let lookups = |result: &'static str| counter!("weir_memds_lookups_total", "result" => result);
        Self {
            found: lookups("found"),
            no_route: lookups("no_route"),
            no_key: lookups("no_key"),
            no_table: lookups("no_table"),
            not_ready: lookups("not_ready"),
            malformed: counter!("weir_memds_malformed_total"),
            taken: counter!("weir_memds_repaired_routes_total", "direction" => "taken"),
            given: counter!("weir_memds_repaired_routes_total", "direction" => "given"),
            tables: gauge!("weir_memds_tables"),
            routes: gauge!("weir_memds_routes"),
            nodes: gauge!("weir_memds_nodes"),
            comparison_bytes: counter!("weir_memds_comparison_bytes_total"),
            route_bytes: gauge!("weir_memds_route_bytes"),
            lags: Mutex::default(),
        }
    }

    /// Counts a batch's lookups.
    pub(crate) fn looked_up(&self, tally: &Tally) {
        let results = [
            (&self.found, tally.found),
            (&self.no_route, tally.no_route),
            (&self.no_key, tally.no_key),
            (&self.no_table, tally.no_table),
            (&self.not_ready, tally.not_ready),
        ];
        for (counter, lookups) in results {
            if lookups > 0 {
                counter.increment(lookups);
            }
        }
    }

    /// Counts a push.
    #[expect(clippy::unused_self, reason = "all of the tier's metrics are counted through this")]
    pub(crate) fn pushed(&self, from: &'static str, result: &'static str) {
        counter!("weir_memds_pushes_total", "from" => from, "result" => result).increment(1);
    }

    /// Counts a comparison with a peer.
    #[expect(clippy::unused_self, reason = "all of the tier's metrics are counted through this")]
    pub(crate) fn compared(&self, result: &'static str) {
        counter!("weir_memds_comparisons_total", "result" => result).increment(1);
    }

    /// Shows how much is held.
    #[expect(clippy::cast_precision_loss, reason = "only shown; counts are far below 2^53")]
    pub(crate) fn holds(&self, snapshot: &Snapshot) {
        self.tables.set(snapshot.table_count() as f64);
        self.routes.set(snapshot.route_count() as f64);
        self.nodes.set(snapshot.nodes().len() as f64);
        self.route_bytes.set(snapshot.route_bytes() as f64);
    }

    /// Shows how far behind each node's pushes the server is.
    pub(crate) fn push_lags(&self, pushes: &PushLog, now: Timestamp) {
        let mut lags = self.lags.lock();
        for (node, pushes) in pushes.nodes() {
            let gauges = lags.entry(node).or_insert_with(|| Lags {
                push: gauge!("weir_memds_push_lag_seconds", "node" => node.get().to_string()),
                change: gauge!("weir_memds_change_lag_seconds", "node" => node.get().to_string()),
            });
            gauges.push.set(now.since(pushes.last).as_secs_f64());
            gauges.change.set(pushes.longest_change_lag(now).unwrap_or_default().as_secs_f64());
        }
    }
}

/// Declares every metric's unit and meaning to the process's recorder.
fn describe() {
    let counter = |name: &'static str, what: &'static str| describe_counter!(name, Unit::Count, what);
    counter("weir_memds_lookups_total", "Lookups served, by result.");
    counter("weir_memds_pushes_total", "Pushes received, by sender and whether they were news.");
    counter("weir_memds_comparisons_total", "Comparisons with a peer that this server began, by result.");
    counter("weir_memds_repaired_routes_total", "Routes that a comparison brought (taken) or gave (given).");
    counter("weir_memds_malformed_total", "Pushed routes, nodes or tables that could not be read.");
    describe_gauge!("weir_memds_tables", Unit::Count, "Tables held.");
    describe_gauge!("weir_memds_routes", Unit::Count, "Routes held.");
    describe_gauge!("weir_memds_nodes", Unit::Count, "Storage nodes known.");
    describe_counter!(
        "weir_memds_comparison_bytes_total",
        Unit::Bytes,
        "Bytes of the messages of comparisons that this server began, both ways."
    );
    describe_gauge!("weir_memds_route_bytes", Unit::Bytes, "What the routes' tree takes, about.");
    describe_gauge!("weir_memds_push_lag_seconds", Unit::Seconds, "Since that storage node's last push.");
    describe_gauge!(
        "weir_memds_change_lag_seconds",
        Unit::Seconds,
        "The longest that a change of the last minute had waited at that storage node."
    );
}
