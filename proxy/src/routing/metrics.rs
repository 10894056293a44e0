//! The routing module's metrics.
//!
//! | metric | labels | what |
//! |---|---|---|
//! | `weir_proxy_route_lookups_total` | `result` | operations routed: from the cache (`hit`), from its lower tier (`warm`), or after a wait (`miss`) |
//! | `weir_proxy_table_misses_total` | | requests that waited for a table's descriptor |
//! | `weir_proxy_lookups_total` | `server` | lookups sent to a MemDS server: two for every operation |
//! | `weir_proxy_lookups_dropped_total` | `server`, `reason` | lookups not sent: the queue was `full`, they were too old (`expired`), or there was no connection (`unreachable`). Any is a reason for alarm: MemDS is under-provisioned, or away |
//! | `weir_proxy_lookup_batches_total` | `server`, `result` | messages of lookups: `answered`, `failed` |
//! | `weir_proxy_lookup_batch_size` | | lookups in one message |
//! | `weir_proxy_lookup_seconds` | | from a message of lookups to its answers |
//! | `weir_proxy_second_lookups_total` | | operations that asked again for their route, since it did not come with the table |
//! | `weir_proxy_repeated_lookups_total` | | lookups sent by rounds of questions beyond a wait's first: bounded, mostly by a tenth of the operations |
//! | `weir_proxy_routes_learned_total` | `source` | routes that were news, from `memds` or a node's `redirect` |
//! | `weir_proxy_stale_routes_total` | `source` | cached routes found stale: a background lookup's answer was newer (`memds`), or a node redirected (`redirect`) or did not know the partition (`unknown`) |
//! | `weir_proxy_memds_gray` | `server` | 1: slow beside the others, silent or not connected; avoided where more than two are configured |

use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge,
    histogram,
};
use routing::Tier;

/// Handles, made once: a request must not search the registry.
#[derive(Debug)]
pub(super) struct Metrics {
    hit: Counter,
    warm: Counter,
    pub(super) miss: Counter,
    pub(super) table_miss: Counter,
    pub(super) second_lookups: Counter,
    pub(super) repeated_lookups: Counter,
    pub(super) learned_from_memds: Counter,
    pub(super) learned_by_redirect: Counter,
    pub(super) stale_by_memds: Counter,
    pub(super) stale_by_redirect: Counter,
    pub(super) stale_by_unknown: Counter,
}

/// The same for one MemDS server.
#[derive(Debug)]
pub(super) struct ServerMetrics {
    pub(super) sent: Counter,
    pub(super) full: Counter,
    pub(super) expired: Counter,
    pub(super) unreachable: Counter,
    pub(super) answered: Counter,
    pub(super) failed: Counter,
    pub(super) batch_size: Histogram,
    pub(super) round_trip: Histogram,
    pub(super) gray: Gauge,
}

impl Metrics {
    pub(super) fn new() -> Self {
        describe();
        let routed = |result: &'static str| counter!("weir_proxy_route_lookups_total", "result" => result);
        let learned = |source: &'static str| counter!("weir_proxy_routes_learned_total", "source" => source);
        let stale = |source: &'static str| counter!("weir_proxy_stale_routes_total", "source" => source);
        Self {
            hit: routed("hit"),
            warm: routed("warm"),
            miss: routed("miss"),
            table_miss: counter!("weir_proxy_table_misses_total"),
            second_lookups: counter!("weir_proxy_second_lookups_total"),
            repeated_lookups: counter!("weir_proxy_repeated_lookups_total"),
            learned_from_memds: learned("memds"),
            learned_by_redirect: learned("redirect"),
            stale_by_memds: stale("memds"),
            stale_by_redirect: stale("redirect"),
            stale_by_unknown: stale("unknown"),
        }
    }
}

impl Metrics {
    /// Counts operations routed from this tier of the cache.
    pub(super) const fn found_in(&self, tier: Tier) -> &Counter {
        match tier {
            Tier::Hot => &self.hit,
            Tier::Warm => &self.warm,
        }
    }
}

impl ServerMetrics {
    pub(super) fn of(server: &str) -> Self {
        let of = |name: &'static str| counter!(name, "server" => server.to_owned());
        let labelled = |name: &'static str, label: &'static str, value: &'static str| counter!(name, "server" => server.to_owned(), label => value);
        let dropped = |reason| labelled("weir_proxy_lookups_dropped_total", "reason", reason);
        let batches = |result| labelled("weir_proxy_lookup_batches_total", "result", result);
        Self {
            sent: of("weir_proxy_lookups_total"),
            full: dropped("full"),
            expired: dropped("expired"),
            unreachable: dropped("unreachable"),
            answered: batches("answered"),
            failed: batches("failed"),
            batch_size: histogram!("weir_proxy_lookup_batch_size"),
            round_trip: histogram!("weir_proxy_lookup_seconds"),
            gray: gauge!("weir_proxy_memds_gray", "server" => server.to_owned()),
        }
    }
}

/// Declares every metric's unit and meaning to the process's recorder.
fn describe() {
    let counter = |name: &'static str, what: &'static str| describe_counter!(name, Unit::Count, what);
    counter(
        "weir_proxy_route_lookups_total",
        "Operations routed: from the cache (hit), from its lower tier (warm), or after a wait (miss).",
    );
    counter("weir_proxy_table_misses_total", "Requests that waited for a table's descriptor.");
    counter("weir_proxy_lookups_total", "Lookups sent to a MemDS server: two for every operation.");
    counter(
        "weir_proxy_lookups_dropped_total",
        "Lookups not sent, by reason: the queue was full, too old (expired), or no connection (unreachable).",
    );
    counter("weir_proxy_lookup_batches_total", "Messages of lookups, by result: answered, failed.");
    describe_histogram!("weir_proxy_lookup_batch_size", Unit::Count, "Lookups in one message.");
    describe_histogram!(
        "weir_proxy_lookup_seconds",
        Unit::Seconds,
        "From a message of lookups to its answers."
    );
    counter(
        "weir_proxy_second_lookups_total",
        "Operations that asked again for their route, since it did not come with the table.",
    );
    counter("weir_proxy_repeated_lookups_total", "Lookups by rounds of questions beyond a wait's first.");
    counter("weir_proxy_routes_learned_total", "Routes that were news, by source: memds, redirect.");
    counter(
        "weir_proxy_stale_routes_total",
        "Cached routes found stale, by source: a background lookup's answer (memds), redirect, unknown.",
    );
    describe_gauge!(
        "weir_proxy_memds_gray",
        Unit::Count,
        "1: the MemDS server is slow beside the others, silent or not connected."
    );
}
