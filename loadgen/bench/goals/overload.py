"""Goals 9a to 9c: what is left of goodput when a quota, the proxy's CPU or storage is short."""

import statistics
import time

from harness import weir
from harness.dynamodb import create_table
from harness.findings import Section, progress
from harness.goodput import Goodput
from harness.weir_load import Run
from metadata.svg_plot import Panel, drawn

NAME, GOALS = "overload", ["9a", "9b", "9c"]
TITLE = "Overload"
INTRO = """Open loops with Poisson arrivals (`weir load`) over a fixed number of HTTP/1.1 connections from CPU 1; an
attempt that is not answered within a second counts as failed. Goodput: successful answers per second by the proxy's
counter, while the overload lasts. Peak: the most that was seen, in a closed loop over as many connections or under an
overload. A second load, small and on connections of its own, runs before, during and after: recovery is the time from
the overload's end until, for good, a second of it is as it was before (99 % successful, p99 at most twice)."""
CONNECTIONS = 256
TIMEOUT_S = 1.0
BASE_CONNECTIONS = 16
# Seconds of the phases. `weir load` sends what waits for a connection for DRAINS seconds more.
BEFORE, LENGTH, DRAINS, AFTER = 5, 6, 5, 6


class Phases:
    """A small load throughout, and an overload in the middle."""

    def __init__(self, settings):
        self.before, self.length = settings.seconds(BEFORE, 4), settings.seconds(LENGTH, 4)
        self.end = self.before + self.length + DRAINS + AFTER
        # Seconds that are under overload as a whole, although processes take their time to start.
        self.over = (self.before + 1, self.before + self.length)

    def run(self, target, base, over):
        goodput = Goodput(target.admin)
        small = Run(target.address, self.end, connections=BASE_CONNECTIONS, timeout=TIMEOUT_S, **base)
        time.sleep(self.before)
        large = Run(target.address, self.length, timeout=TIMEOUT_S, warm_up=0, **{"connections": CONNECTIONS, **over})
        large_result = large.result()
        ended = time.monotonic() - goodput.began
        return Experiment(self, small.result(), large_result, goodput.stop(), ended)


class Experiment:
    """One such run: both loads' results, the proxy's goodput by time, and when the overload was over."""

    def __init__(self, phases, small, large, series, ended):
        self.phases, self.small, self.large, self.series, self.ended = phases, small, large, series, ended

    @property
    def goodput(self):
        """While the overload was whole, requests per second."""
        since, until = self.phases.over
        return statistics.mean(rate for second, rate in self.series if since + 0.5 <= second <= until)

    @property
    def recovery(self):
        """Seconds from the overload's end; none: not within the run."""
        small = self.small
        calm = statistics.median(small.p99(second) or 0 for second in range(1, self.phases.before))
        good = lambda second: (small.ok(second, second + 1) >= 0.99 * small.offered(second, second + 1)
                               and (small.p99(second) or 1e9) <= 2 * calm)
        # The small load's seconds began after its process had: what they say is from up to a second later.
        first = int(self.ended)
        seconds = [second for second in range(first, self.phases.end)
                   if all(good(later) for later in range(second, self.phases.end))]
        return seconds[0] - first if seconds else None


def measure(settings):
    section, phases = Section(NAME, TITLE, INTRO), Phases(settings)
    quota(section, settings, phases)
    proxy(section, settings, phases)
    storage(section, settings, phases)
    return section


# ── a: a quota ──────────────────────────────────────────────────────────────────────────────────


def quota(section, settings, phases):
    fleet = weir.Fleet(settings.scratch / "quota", "--proxies", 1)
    try:
        create_table(fleet.address, "others", read=4_000, write=2_000)
        create_table(fleet.address, "short", read=200, write=200)
        base = {"table": "others", "rate": 400, "mix": "get=80,put=20"}
        over = {"table": "short", "rate": 2_000, "mix": "put=100", "item_size": "100", "connections": 32}
        Run(fleet.address, 2, **base).result()
        pairs = [phases.run(fleet, {**base, "seed": number}, {**over, "seed": number})
                 for number in range(settings.seconds(3, 1))]
    finally:
        fleet.stop()
    others = [pair.small for pair in pairs]
    shares = [small.ok(*phases.over) / small.offered(*phases.over) * 100 for small in others]
    ratios = [p99_of(small, *phases.over) / p99_of(small, 1, phases.before) for small in others]
    section.find("9a", "other tables' goodput while a table is offered 10 × its quota", min(shares),
                 f"{min(shares):.2f} % at least", must=99, aim=99.9, at_least=True, unit=" %")
    section.find("9a", "their p99 then ÷ before", statistics.median(ratios),
                 f"{statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})", must=1.2, aim=1.05)
    find_recovery(section, "9a", pairs)
    large = pairs[0].large
    section.notes.append(f"9a: {large.offered(1, phases.length):.0f}/s offered to a quota of 200 WCU, {large.ok(1, phases.length):.0f}/s "
                         "admitted, with what the new table had banked.")
    plot(section, "overload-quota.svg", "A table at 10 × its quota, beside others", pairs[0])


def p99_of(small, since, until):
    """The median over these seconds."""
    return statistics.median(small.p99(second) or 1e9 for second in range(since, until))


def find_recovery(section, goal, experiments):
    recovered = [one.recovery for one in experiments]
    worst = None if None in recovered else max(recovered)
    section.find(goal, "seconds to recover", 1e9 if worst is None else float(worst),
                 "not within the run" if worst is None else f"{worst} s", must=5, aim=1, unit=" s")


# ── b: the proxy's CPU ──────────────────────────────────────────────────────────────────────────


def proxy(section, settings, phases):
    """The proxy alone on its CPU, before tiers that cost little."""
    back = weir.BackTiers(1, 100)
    try:
        target = weir.Proxy(settings.scratch / "proxy", back)
        try:
            overload(section, settings, phases, "9b", target, "proxy's CPU", "put=100",
                     {2: (0.95, 0.98), 10: (0.90, 0.95)}, {"proxy": target.server.pid})
        finally:
            target.stop()
    finally:
        back.stop()


def overload(section, settings, phases, goal, target, what, mix, bounds, processes):
    """Peak in a closed loop, then multiples of it in an open one."""
    peaks = [Run(target.address, settings.seconds(4, 2), mix=mix, connections=CONNECTIONS, processes=processes).result()
             for _ in range(2)]
    capacity = max(result.rate for result in peaks)
    used = max(sum(row["cpu_us"] for row in result.found["processes"]) / result.found["lasted_us"] for result in peaks)
    section.notes.append(f"{goal}: {capacity:.0f}/s over {CONNECTIONS} connections in a closed loop, with {what} used to "
                         f"{used:.0%}: this is the capacity that the overloads are multiples of.")
    results = {}
    for factor in bounds:
        progress(f"{goal}: {factor} × capacity")
        base = {"rate": max(20, capacity * 0.05), "mix": mix}
        results[factor] = phases.run(target, base, {"rate": capacity * factor, "mix": mix})
    progress("")
    peak = max(capacity, *(one.goodput for one in results.values()))
    for factor, (must, aim) in bounds.items():
        one = results[factor]
        section.find(goal, f"goodput at {factor} × capacity ÷ peak, {what} short", one.goodput / peak,
                     f"{one.goodput / peak:.3f} ({one.goodput:.0f} ÷ {peak:.0f}/s)", must=must, aim=aim, at_least=True)
        section.raw[f"{goal} {factor}"] = {"peak": peak, "over": one.large.reasons, "base": one.small.reasons,
                                           "series": one.series, "ended": one.ended}
        plot(section, f"overload-{goal}-{factor}.svg", f"{factor} × capacity, {what} short", one, peak)
    find_recovery(section, goal, list(results.values()))


# ── c: storage ──────────────────────────────────────────────────────────────────────────────────


def storage(section, settings, phases):
    """Three replicas' processes share the tested CPU; writes cost them most."""
    fleet = weir.Fleet(settings.scratch / "storage", "--proxies", 1)
    try:
        names = [name for name in fleet.processes if name.startswith("storage-")]
        fleet.leave(*names)
        create_table(fleet.address, read=40_000, write=40_000)
        overload(section, settings, phases, "9c", fleet, "storage nodes' CPU", "update=100",
                 {10: (0.95, 0.99)}, {name: fleet.processes[name] for name in names})
    finally:
        fleet.stop()


def plot(section, file, title, one, peak=None):
    goodput = Panel("goodput, all loads together, requests/s").line("goodput", one.series)
    if peak:
        goodput.level("peak", peak)
    latency = Panel("p99 of the small load, ms")
    latency.line("p99", [(second + 0.5, one.small.p99(second)) for second in range(one.phases.end)])
    section.svg[file] = drawn(title, [goodput, latency],
                              [(one.phases.before, "overload"), (round(one.ended, 1), "over")])
    section.plots.append((file, title))
