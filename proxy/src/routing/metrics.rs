//! The routing module's metrics.

use metrics::counter;

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
