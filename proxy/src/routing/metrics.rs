//! The routing module's metrics.

use metrics::{Unit, counter, describe_counter};

/// Declares every metric's unit and meaning to the process's recorder.
pub(super) fn describe() {
    let counter = |name: &'static str, what: &'static str| describe_counter!(name, Unit::Count, what);
    counter(
        "weir_proxy_route_lookups_total",
        "Requests routed: from the cache (hit), or after a wait (miss).",
    );
    counter("weir_proxy_table_misses_total", "Requests that waited for a table's descriptor.");
    counter(
        "weir_proxy_lookups_dropped_total",
        "Background lookups not sent since a queue to MemDS was full.",
    );
    counter("weir_proxy_routes_learned_total", "Routes that were news, by source: memds, redirect.");
}

/// `weir_proxy_route_lookups_total{result}`: requests routed, by whether the route was cached (`hit`) or
/// had to be waited for (`miss`).
pub(super) fn route(hit: bool) {
    counter!("weir_proxy_route_lookups_total", "result" => if hit { "hit" } else { "miss" }).increment(1);
}

/// `weir_proxy_table_misses_total`: requests that waited for a table's descriptor.
pub(super) fn table_miss() {
    counter!("weir_proxy_table_misses_total").increment(1);
}

/// `weir_proxy_lookups_dropped_total`: background lookups that could not be sent because a queue to MemDS
/// was full. Any is a reason for alarm: MemDS is under-provisioned.
pub(super) fn lookup_dropped() {
    counter!("weir_proxy_lookups_dropped_total").increment(1);
}

/// `weir_proxy_routes_learned_total{source}`: routes that were news, from `memds` or a node's `redirect`.
pub(super) fn learned(source: &'static str) {
    counter!("weir_proxy_routes_learned_total", "source" => source).increment(1);
}
