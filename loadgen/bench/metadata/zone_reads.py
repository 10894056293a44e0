"""Eventually consistent reads: in the proxy's zone when calm; one storage node slow."""

import statistics
import time

from .counters import gained, of_tier, total, totals_by
from .local_fleet import (check, endpoints, local_fleet, make_tables, run, share_of_capacity, streams, warm_up)
from .report import Series, figure

TABLES = 5
SETTLED_S = 3
SLOWED = "storage-2"
PROXIES = 3
# Each proxy may save up a hundred.
SAVED = 100 * PROXIES
HEDGES = "weir_proxy_hedges_total"
# Hedges that were sent; `denied` are those that the budget did not allow.
SENT = {"won", "lost"}


def zones(settings):
    """Hedges within their budget hold p99 while one replica is slow."""
    with local_fleet("--proxies", str(PROXIES)) as cluster:
        names, where = make_tables(cluster, TABLES), endpoints(cluster)
        warm_up(settings, names, where, 600, 8)
        kind = {"writes": 0.0, "reads": "eventual"}
        rate = share_of_capacity(settings, names, where, 0.4, **kind)
        phases = [("calm", None), ("one slow", ("slow", SLOWED, "--ms", "40")), ("fast again", ("resume", SLOWED))]
        ends = [SETTLED_S + settings.seconds * number for number in range(len(phases) + 1)]
        done = run(streams(settings, names, where, rate, 0, ends[-1], **kind))
        readings, events = [], []
        for begin, (_, action) in zip(ends, phases):
            done.until(begin)
            readings.append(of_tier(cluster, "proxy"))
            if action:
                cluster.command(*action)
                events.append((time.monotonic(), " ".join(action[:2])))
        done.done()
        readings.append(of_tier(cluster, "proxy"))
        judge_latency(done, ends)
        for number, (name, _) in enumerate(phases):
            judge_replicas(name, readings[number], readings[number + 1])
        Series(done, ends[-1], None, [(when - done.began, what) for when, what in events]).write(
            settings, "zones", f"Eventually consistent reads, one storage node slow ({rate:.0f} reads/s)")


def judge_latency(done, ends):
    seconds = lambda begin, end: [done.window(second, second + 1).ms(0.99) for second in range(begin, end)]
    check("zones", "requests without success", f"{done.unsuccessful} of {done.sent} {done.reasons() or ''}", "0",
          done.unsuccessful == 0)
    calm, slow = done.window(ends[0], ends[1]), done.window(ends[1], ends[2])
    check("zones", "p99 calm -> one storage node slow, ms", f"{calm.ms(0.99):.2f} -> {slow.ms(0.99):.2f}", "<= 1.5 x",
          slow.ms(0.99) <= 1.5 * calm.ms(0.99))
    each = seconds(ends[1], ends[2])
    check("zones", "p99 of its seconds while one is slow: median, worst, ms",
          f"{statistics.median(each):.2f}, {figure(max(each))}", "(shown)", True)


def judge_replicas(name, before, after):
    reads = gained(totals_by(after, "weir_proxy_reads_total", "replica"),
                   totals_by(before, "weir_proxy_reads_total", "replica"))
    every = sum(reads.values()) or 1
    near = reads.get("zone", 0) / every
    calm = name == "calm"
    check("zones", f"{name}: reads by replica, %",
          ", ".join(f"{replica} {count / every * 100:.1f}" for replica, count in sorted(reads.items())),
          ">= 98 in the zone" if calm else "(shown)", not calm or near >= 0.98)
    sent = sum(total(after, HEDGES, result=result) - total(before, HEDGES, result=result) for result in SENT)
    results = gained(totals_by(after, HEDGES, "result"), totals_by(before, HEDGES, "result"))
    check("zones", f"{name}: hedges / reads, %",
          f"{sent / every * 100:.2f} {({key: int(count) for key, count in results.items()}) or ''}", f"<= 2, and {SAVED} saved",
          sent <= 0.02 * every + SAVED)
