"""All route caches lost at 70 % of capacity, and twice the proxies, the new ones knowing nothing."""

import statistics
import time

from .constant_work import DROPPED, route_hits
from .counters import Watch, histogram_quantile, of_tier, total
from .local_fleet import (await_ready, check, endpoints, local_fleet, make_tables, memds_addresses, run,
                          share_of_capacity, streams, warm_up)
from .report import Series, figure

TABLES = 5
PROXIES = 2
DOUBLINGS = 3
# The first seconds of a run are not part of the warm phase.
SETTLED_S = 3


class Schedule:
    """Seconds of the run: warm; flushes; then, in turn, the load on the first proxies alone and on all."""

    def __init__(self, settings):
        self.gap = max(4, settings.seconds // 3)
        warm_until = SETTLED_S + settings.seconds
        self.warm = (SETTLED_S, warm_until - 0.5)
        self.flushes = [warm_until + number * self.gap for number in range(settings.rounds)]
        after = self.flushes[-1] + 2 * self.gap
        self.doublings = [after + number * 2 * self.gap for number in range(DOUBLINGS)]
        self.end = self.doublings[-1] + self.gap

    def streams(self, settings, names, few, all_of_them, rate):
        specs, since = [], 0
        for number, doubled in enumerate(self.doublings):
            specs += streams(settings, names, few, rate, since, doubled, label=f"few{number}-")
            since = doubled + self.gap
            specs += streams(settings, names, all_of_them, rate, doubled, since, label=f"all{number}-")
        return specs


def cold(settings):
    """No error, no more lookups than before, p99 up by at most a round trip to MemDS."""
    with local_fleet("--proxies", str(PROXIES)) as cluster:
        names, few = make_tables(cluster, TABLES), endpoints(cluster)
        warm_up(settings, names, few)
        rate = share_of_capacity(settings, names, few, 0.7)
        warm_up(settings, names, few)
        # The new ones are there, and idle, before the warm phase: starting processes is not what is measured.
        fresh = [f"proxy-{PROXIES + 1 + number}" for number in range(PROXIES)]
        for _ in fresh:
            cluster.command("add", "proxy")
        await_ready(cluster, fresh)
        schedule = Schedule(settings)
        watch, before = Watch(memds_addresses(cluster)), of_tier(cluster, "proxy")
        done = run(schedule.streams(settings, names, few, endpoints(cluster), rate))
        events = carry_out(cluster, schedule, done, fresh)
        done.done()
        time.sleep(0.5)
        watch.stop()
        events = [(begin - done.began, end - done.began, what) for begin, end, what in events]
        judge_lookups(done, watch, events, schedule, rate)
        judge_latency(done, events, schedule, before, of_tier(cluster, "proxy"))
        mean = warm_mean(done, watch, schedule) / len(watch.points)
        Series(done, int(schedule.end), watch, [(begin, what) for begin, _, what in events]).write(
            settings, "cold", f"Route caches lost at 70 % of capacity ({rate:.0f} requests/s)",
            [("warm mean", mean), ("1.05 x warm mean", mean * 1.05)])


def carry_out(cluster, schedule, done, fresh):
    """The events with their begins and ends on the monotonic clock."""
    events = []
    for at in schedule.flushes:
        done.until(at)
        begin = time.monotonic()
        cluster.weir("cache", "flush")
        events.append((begin, time.monotonic(), "flush"))
    for number, at in enumerate(schedule.doublings):
        if number:
            # The first time they are new anyway.
            done.until(at - schedule.gap + 0.5)
            for name in fresh:
                cluster.command("kill", name)
                cluster.command("start", name)
            await_ready(cluster, fresh)
        done.until(at)
        events.append((done.began + at, done.began + at, "twice the proxies"))
    return events


def warm_mean(done, watch, schedule):
    begin, end = (done.began + second for second in schedule.warm)
    return sum(watch.mean(name, begin, end) for name in watch.points)


def judge_lookups(done, watch, events, schedule, rate):
    mean = warm_mean(done, watch, schedule)
    check("cold", "requests without success", f"{done.unsuccessful} of {done.sent} {done.reasons() or ''}", "0",
          done.unsuccessful == 0)
    check("cold", "warm: lookups per request", figure(mean / rate, 3), "2.00 +- 0.01", abs(mean / rate - 2) <= 0.01)
    worst = lambda begin, end: max(watch.fleet_windows(done.began + begin, done.began + end), key=lambda it: it[1])
    _, calm = worst(*schedule.warm)
    check("cold", "worst 1 s of the warm phase / its mean", figure(calm / mean, 3), "(shown)", True)
    first = min(begin for begin, _, _ in events)
    when, most = worst(first, schedule.end)
    check("cold", "worst 1 s from the first event on / warm mean",
          f"{most / mean:.3f} ({most:.0f}/{mean:.0f}, until {when - done.began:.1f} s)", "<= 1.05", most <= 1.05 * mean)
    check("cold", "readings of the counters left out: they took over 40 ms", f"{len(watch.uncertain)}", "(shown)", True)


def judge_latency(done, events, schedule, before, after):
    trip = (histogram_quantile(after, before, "weir_proxy_lookup_seconds", 0.99) or 0.0) * 1000
    check("cold", "MemDS round trip, from a message of lookups to its answers: p99, ms", figure(trip), "(shown)", True)
    begin, end = schedule.warm
    seconds = [done.window(begin + half / 2, begin + half / 2 + 1).ms(0.99) for half in range(int(end - begin - 1) * 2)]
    warm = statistics.median(seconds)
    check("cold", "warm: p99 of its seconds: least, median, most, ms",
          f"{min(seconds):.2f} {warm:.2f} {max(seconds):.2f}", "(shown)", True)
    for what in ["flush", "twice the proxies"]:
        p99 = [done.window(begin, begin + 1).ms(0.99) for begin, _, name in events if name == what]
        middle = statistics.median(p99)
        check("cold", f"{what}: p99 in the 1 s after, median of {len(p99)}, ms",
              f"{middle:.2f} ({' '.join(f'{value:.2f}' for value in p99)})", f"<= {warm + trip:.2f}: warm + a round trip",
              middle <= warm + trip)
    longest = max(end - begin for begin, end, _ in events)
    check("cold", "longest flush of all proxies, s", figure(longest), "(shown)", True)
    _, results = route_hits(before, after)
    check("cold", "routings in the whole run", str(results), "misses among them",
          any("miss" in result for result in results))
    dropped = total(after, DROPPED) - total(before, DROPPED)
    check("cold", "lookups that proxies dropped", f"{dropped:.0f}", "0", dropped == 0)
