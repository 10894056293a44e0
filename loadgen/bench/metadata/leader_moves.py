"""At least 200 leaderships move within a second, under load."""

import time

from .counters import gained, of_tier, total, totals_by
from .local_fleet import (check, endpoints, leaders, local_fleet, make_tables, memds_addresses, run,
                          share_of_capacity, streams, warm_up)
from .report import Series, figure

# 640 partitions: each of three nodes leads a third of them.
TABLES = 16
WANTED = 200


def moves(settings):
    """No client sees an error; redirects and retries are bounded."""
    with local_fleet("--proxies", "2") as cluster:
        names, where = make_tables(cluster, TABLES), endpoints(cluster)
        memds = memds_addresses(cluster)["memds-1"]
        warm_up(settings, names, where, 600, 10)
        rate = share_of_capacity(settings, names, where, 0.4)
        begins = [3 + settings.seconds * (number + 1) for number in range(3)]
        end = begins[-1] + settings.seconds
        done = run(streams(settings, names, where, rate, 0, end))
        moved = [Move(cluster, memds, names, done, node + 1, at) for node, at in enumerate(begins)]
        done.done()
        check("moves", "requests without success", f"{done.unsuccessful} of {done.sent} {done.reasons() or ''}", "0",
              done.unsuccessful == 0)
        calm = done.window(3, begins[0] - 1)
        for move in moved:
            move.judge(done, calm)
        Series(done, end, None, [(move.begin - done.began, f"{move.count} moved") for move in moved]).write(
            settings, "moves", f"Leaderships moved ({rate:.0f} requests/s)")


class Move:
    """Everything that one node leads goes to others."""

    def __init__(self, cluster, memds, names, done, node, at):
        self.node = node
        done.until(at - 1)
        known = leaders(memds, names)
        self.before = of_tier(cluster, "proxy")
        done.until(at)
        self.begin = time.monotonic()
        self.answer = move_leaders(cluster, node)
        self.took = time.monotonic() - self.begin
        # Within a second: as MemDS knows it by then, which is later than it is so.
        done.until(at + 1.0)
        now = leaders(memds, names)
        self.count = sum(now[one][0] != known[one][0] for one in known)
        done.until(at + 1.5)
        self.after = of_tier(cluster, "proxy")

    def judge(self, done, calm):
        begin = self.begin - done.began
        around = done.window(begin - 0.5, begin + 1.5)
        name = f"from node {self.node}"
        check("moves", f"{name}: leaderships that others have 1 s later", f"{self.count} (command {self.took:.2f} s)",
              f">= {WANTED}", self.count >= WANTED)
        retries = total(self.after, "weir_proxy_retries_total") - total(self.before, "weir_proxy_retries_total")
        causes = self._gained("weir_proxy_retries_total", "cause")
        check("moves", f"{name}: retries / requests in the 2 s around, %",
              f"{retries / around.offered * 100:.2f} {causes}", "<= 10", retries <= 0.1 * around.offered)
        # Each proxy learns each moved route once; requests in flight meanwhile are redirected too.
        stale = self._gained("weir_proxy_stale_routes_total", "source")
        check("moves", f"{name}: stale routes found, by whom; requests", f"{stale}; {around.offered}", "(shown)", True)
        check("moves", f"{name}: p99 calm -> in the 2 s; longest, ms",
              f"{calm.ms(0.99):.1f} -> {figure(around.ms(0.99), 1)}; {figure(around.ms(1.0), 1)}", "(shown)", True)

    def _gained(self, counter, label):
        counts = gained(totals_by(self.after, counter, label), totals_by(self.before, counter, label))
        return {key: int(count) for key, count in counts.items()}


def move_leaders(cluster, node):
    return cluster.weir("leaders", "move", "--from", str(node), "-o", "json")
