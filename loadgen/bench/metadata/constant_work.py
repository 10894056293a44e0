"""Two lookups per request whatever the hit ratio is, and for proxies that know nothing."""

import time

from .counters import gained, of_tier, total, totals_by
from .local_fleet import (LOOKUPS, PARTITIONS_PER_TABLE, await_ready, check, endpoints, local_fleet, make_tables, run,
                          streams, warm_up)
from .report import figure, write_csv

TABLES = 5
DROPPED = "weir_proxy_lookups_dropped_total"
# What is configured, and the hit ratio that it must bring, in per cent: least and most.
CASES = [
    ("everything cached", {}, 99, 100),
    ("half of it cached", {"WEIR_PROXY_CACHED_ROUTES": TABLES * PARTITIONS_PER_TABLE // 2,
                           "WEIR_PROXY_WARM_ROUTES_BYTES": 0}, 35, 65),
    ("nothing cached", {"WEIR_PROXY_CACHED_ROUTES": 1, "WEIR_PROXY_WARM_ROUTES_BYTES": 0}, 0, 2),
]


def constant(settings):
    """Lookups per request at hit ratios of 100 %, about 50 %, 0 %, and of new proxies."""
    rate, rows, ratios = settings.rate or 1000, [], []
    for what, fields, least, most in CASES:
        with local_fleet("--proxies", "2", **fields) as cluster:
            names, where = make_tables(cluster, TABLES), endpoints(cluster)
            warm_up(settings, names, where, rate)
            ratios.append(count(settings, cluster, (names, where, rate), (what, least, most), rows))
    with local_fleet("--proxies", "2") as cluster:
        names = make_tables(cluster, TABLES)
        for _ in range(2):
            cluster.command("add", "proxy")
        await_ready(cluster, ["proxy-3", "proxy-4"])
        ratios.append(count(settings, cluster, (names, endpoints(cluster)[2:], rate), ("new proxies", 0, 100), rows))
    spread = max(ratios) / min(ratios)
    check("constant", "largest lookups per request / smallest", figure(spread, 4), "<= 1.01", spread <= 1.01)
    write_csv(settings, "constant",
              ["case", "requests", "hit_percent", "lookups", "lookups_per_request", "p50_ms", "p99_ms"], rows)


def count(settings, cluster, load, case, rows):
    (names, where, rate), (what, least, most) = load, case
    # What is sent without a request would count as a request's.
    time.sleep(1)
    memds, proxies = of_tier(cluster, "memds"), of_tier(cluster, "proxy")
    done = run(streams(settings, names, where, rate, 0, settings.seconds)).done()
    # Lookups wait some milliseconds for their batch.
    time.sleep(1)
    memds_after, proxies_after = of_tier(cluster, "memds"), of_tier(cluster, "proxy")
    served = total(memds_after, LOOKUPS) - total(memds, LOOKUPS)
    ratio = served / done.sent
    hits, by_result = route_hits(proxies, proxies_after)
    window = done.window(0, settings.seconds)
    rows.append([what, done.sent, hits, int(served), f"{ratio:.4f}", window.ms(0.5), window.ms(0.99)])
    check("constant", f"{what}: lookups per request", f"{ratio:.4f} over {done.sent}", "2.00 +- 0.01",
          abs(ratio - 2) <= 0.01)
    check("constant", f"{what}: hit ratio, %", f"{figure(hits, 1)} {by_result}", f"{least}-{most}",
          hits is not None and least <= hits <= most)
    dropped = total(proxies_after, DROPPED) - total(proxies, DROPPED)
    check("constant", f"{what}: lookups that proxies dropped", f"{dropped:.0f}", "0", dropped == 0)
    check("constant", f"{what}: requests without success", f"{done.unsuccessful} {done.reasons() or ''}", "0",
          done.unsuccessful == 0)
    return ratio


def route_hits(before, after):
    """Per cent of routings that a cache answered, from the hot or the warm tier; and the counts by result."""
    counts = gained(totals_by(after, "weir_proxy_route_lookups_total", "result"),
                    totals_by(before, "weir_proxy_route_lookups_total", "result"))
    hits = sum(n for result, n in counts.items() if "miss" not in result and "unknown" not in result)
    return (hits / sum(counts.values()) * 100 if counts else None), {key: int(n) for key, n in counts.items()}
