"""At least 200 leaderships move within a second, under load."""

import json
import statistics
import subprocess
import time

from fleet import WEIR

from .counters import gained, of_tier, total, totals_by
from .local_fleet import (check, endpoints, leaders, local_fleet, make_tables, memds_addresses, run,
                          share_of_capacity, streams, warm_up)
from .report import Series, figure

# 640 partitions: one of three nodes leads at least a third of them.
TABLES = 16
PROXIES = 2
WANTED = 200
MOVED = 210
# Over which they are spread: a second, less what the last of them takes.
WITHIN = "800ms"
REDIRECTS = "weir_proxy_redirects_total"


def moves(settings):
    """No client sees an error; redirects and retries are bounded."""
    with local_fleet("--proxies", str(PROXIES)) as cluster:
        names, where = make_tables(cluster, TABLES), endpoints(cluster)
        memds = memds_addresses(cluster)["memds-1"]
        warm_up(settings, names, where, 600, 10)
        rate = share_of_capacity(settings, names, where, 0.5)
        begins = [3 + settings.seconds * (number + 1) for number in range(3)]
        end = begins[-1] + settings.seconds
        done = run(streams(settings, names, where, rate, 0, end))
        moved = [Move(cluster, memds, names, done, at) for at in begins]
        done.done()
        check("moves", "requests without success", f"{done.unsuccessful} of {done.sent} {done.reasons() or ''}", "0",
              done.unsuccessful == 0)
        calm = done.window(3, begins[0] - 1)
        for move in moved:
            move.judge(done, calm)
        Series(done, end, None, [(move.begin - done.began, f"{move.count} moved") for move in moved]).write(
            settings, "moves", f"Leaderships moved ({rate:.0f} requests/s)")


class Move:
    """Leaderships of the node that has the most go to others."""

    def __init__(self, cluster, memds, names, done, at):
        done.until(at - 2)
        known = leaders(memds, names)
        self.node = statistics.mode(leader for leader, _ in known.values())
        done.until(at - 0.5)
        self.before = of_tier(cluster, "proxy")
        done.until(at)
        self.begin = time.monotonic()
        self.report = move_leaders(cluster, self.node, MOVED)
        done.until(at + 1.5)
        self.after = of_tier(cluster, "proxy")
        now = leaders(memds, names)
        self.count = sum(now[one][0] != known[one][0] for one in known)

    def judge(self, done, calm):
        name = f"from node {self.node}"
        moved, kept = self.report["moved"], self.report["kept"]
        check("moves", f"{name}: leaderships moved, in s; MemDS knows of",
              f"{len(moved)}, {figure(self.report['took_ms'] / 1000)}; {self.count}", f">= {WANTED} in 1 s",
              len(moved) >= WANTED and self.report["took_ms"] <= 1000 and self.count >= WANTED)
        if kept:
            check("moves", f"{name}: stayed", f"{len(kept)}: {sorted({one['reason'] for one in kept})}", "(shown)", True)
        took = sorted(one["took_us"] / 1000 for one in moved) or [0.0]
        check("moves", f"{name}: each changed hands in, ms: median, longest",
              f"{took[len(took) // 2]:.1f}, {took[-1]:.1f}", "(shown)", True)
        begin = self.begin - done.began
        around = done.window(begin - 0.5, begin + 1.5)
        retries = total(self.after, "weir_proxy_retries_total") - total(self.before, "weir_proxy_retries_total")
        check("moves", f"{name}: retries / requests in the 2 s around, %",
              f"{retries / around.offered * 100:.2f} {self._gained('weir_proxy_retries_total', 'cause')}", "<= 10",
              retries <= 0.1 * around.offered)
        # Each proxy learns each moved route once; what is in flight to the same one meanwhile is redirected too.
        redirects = total(self.after, REDIRECTS) - total(self.before, REDIRECTS)
        bound = 2 * PROXIES * len(moved)
        check("moves", f"{name}: redirects; stale routes found, by whom",
              f"{redirects:.0f}; {self._gained('weir_proxy_stale_routes_total', 'source')}",
              f"<= {bound}: 2 per route and proxy", redirects <= bound)
        check("moves", f"{name}: p99 calm -> in the 2 s; longest, ms",
              f"{calm.ms(0.99):.1f} -> {figure(around.ms(0.99), 1)}; {figure(around.ms(1.0), 1)}", "(shown)", True)

    def _gained(self, counter, label):
        counts = gained(totals_by(self.after, counter, label), totals_by(self.before, counter, label))
        return {key: int(count) for key, count in counts.items()}


def move_leaders(cluster, node, count):
    """The operators' call; what it reports, also when some leaderships stayed."""
    done = subprocess.run([str(WEIR), "leaders", "move", "--from", str(node), "--count", str(count), "--within", WITHIN,
                           "--yes", "-o", "json", "--dir", str(cluster.directory)],
                          capture_output=True, text=True, timeout=60)
    assert done.stdout.strip(), f"weir leaders move: {done.returncode}: {done.stderr}"
    return json.loads(done.stdout)
