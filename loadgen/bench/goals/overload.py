"""Goals 9a to 9c: what is left of goodput when a quota, the proxy's CPU or storage is short."""

import statistics
import time

from harness import disk, weir
from harness.dynamodb import create_table
from harness.findings import Ratio, Section, progress
from harness.goodput import Goodput
from harness.processes import TESTED_CPU
from harness.weir_load import Run
from metadata.svg_plot import Panel, drawn

from .neighbours import beside, paired, paired_text

NAME, GOALS = "overload", ["9a", "9b", "9c"]
TITLE = "Overload"
INTRO = """9a alternates phases, as the comparison of neighbours below does: p99 is by pairs of phases. 9b and 9c:
open loops with Poisson arrivals (`weir load`) over a fixed number of HTTP/1.1 connections from CPU 1; an attempt that is
not answered within a second counts as failed. Goodput: successful answers per second by the proxy's counter. In each
round a closed loop over as many connections and the overloads take turns; whichever has the highest median of the rounds
is the peak, and a ratio to it is the median of those of the rounds. Recovery: from the end of an overload until, for two
seconds on end, a small load (in b and c one of its own, on connections of its own) is as it was before: 99 % successful,
and its p99 at most twice what it was in the worst step before. A step is half a second in a, a second in b and c."""
CONNECTIONS = 256
TIMEOUT_S = 1.0
BASE_CONNECTIONS = 16
# WCU of the table that is short of it, and how many times that it is offered.
SHORT_QUOTA, SHORT_FACTOR = 200, 10
SETTLING_S = 0.5
# As it was before: for so long, and at most so many times the latency.
CALM_FOR_S, CALM_WITHIN = 2, 2
TURNS = 9
# Seconds of a turn, and of it those that are looked at: processes take their time to start.
TURN, LOOKED_AT = 3.5, (1.2, 3.3)
# Seconds of the phases. `weir load` sends what waits for a connection for DRAINS seconds more.
BEFORE, LENGTH, DRAINS, AFTER = 5, 6, 5, 6


class Phases:
    """A small load throughout, and an overload in the middle."""

    def __init__(self, settings):
        self.before, self.length = settings.seconds(BEFORE, 4), settings.seconds(LENGTH, 4)
        self.end = self.before + self.length + DRAINS + AFTER

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
    def recovery(self):
        """Seconds from the overload's end; none: not within the run."""
        small = self.small
        calm = max(small.p99(second) or 0 for second in range(1, self.phases.before))
        good = lambda second: (small.ok(second, second + 1) >= 0.99 * small.offered(second, second + 1)
                               and (small.p99(second) or 1e9) <= CALM_WITHIN * calm)
        # The small load's seconds began after its process had: what they say is from up to a second later.
        return recovered([good(second) for second in range(int(self.ended), self.phases.end)], 1)


def recovered(good, step):
    """Seconds until the first step of this many seconds from which all are good for long enough; none: never."""
    needed = int(CALM_FOR_S / step)
    return next((at * step for at in range(len(good) - needed + 1) if all(good[at:at + needed])), None)


def measure(settings):
    section, phases = Section(NAME, TITLE, INTRO), Phases(settings)
    quota(section, settings)
    proxy(section, settings, phases)
    storage(section, settings, phases)
    return section


# ── a: a quota ──────────────────────────────────────────────────────────────────────────────────


def quota(section, settings):
    """Phases alternate; the short table keeps to its quota, or is offered ten times as much: see `neighbours`."""
    pairs, length = settings.seconds(10, 3), settings.seconds(5, 3)
    section.notes.append("9a: " + disk.WHY_MEMORY.format(syncs=disk.syncs(settings.scratch)))
    load = beside(settings, pairs, length, SHORT_QUOTA, SHORT_FACTOR)
    quiet = ("gets", "puts")
    phase = lambda number: load.window(number * length + SETTLING_S, (number + 1) * length, quiet)
    before, during = ([phase(2 * pair + offset) for pair in range(pairs)] for offset in (0, 1))
    share = sum(window.ok for window in during) / sum(window.offered for window in during) * 100
    section.find("9a", "other tables' goodput while a table is offered 10 × its quota", share, f"{share:.2f} %", must=99,
                 aim=99.9, at_least=True, unit=" %")
    found_p99 = paired(during, before, 0.99)
    section.find("9a", "their p99 then ÷ while it is offered its quota", found_p99.median,
                 paired_text(found_p99, during, before, 0.99), must=1.2, aim=1.05)
    # The first phase, before any overload.
    calm = max(load.window(step / 2, (step + 1) / 2, quiet).ms(0.99) for step in range(1, 2 * length))
    took = [half_seconds(load, (2 * pair + 2) * length, length, quiet, calm) for pair in range(pairs - 1)]
    worst = None if None in took else max(took)
    found(section, "9a", worst)
    section.raw["9a"] = {"before_p99_ms": [window.ms(0.99) for window in before],
                         "during_p99_ms": [window.ms(0.99) for window in during],
                         "recovered_s": took, "reasons": load.reasons()}
    times = [step / 2 for step in range(int(4 * pairs * length))]
    panel = Panel("p99 of the others in each half second, ms")
    panel.line("p99", [(time + 0.25, load.window(time, time + 0.5, quiet).ms(0.99)) for time in times])
    ok = Panel("the others' successful requests in each half second, %")
    ok.line("successful", [(time + 0.25, load.window(time, time + 0.5, quiet).success * 100) for time in times])
    events = [(number * length, ("overload" if number % 2 else "over") if number < 3 else "")
              for number in range(1, 2 * pairs)]
    section.svg["overload-quota.svg"] = drawn("A table at 10 × its quota, on and off, beside others", [panel, ok], events)
    section.plots.append(("overload-quota.svg", "Others beside a table at 10 × its quota"))


def half_seconds(load, since, length, names, calm):
    """Seconds from `since` until all is as it was, by half seconds; none: not within the phase."""
    steps = [load.window(since + step / 2, since + (step + 1) / 2, names) for step in range(2 * length)]
    return recovered([step.success >= 0.99 and (step.ms(0.99) or 1e9) <= CALM_WITHIN * calm for step in steps], 0.5)


def find_recovery(section, goal, experiments):
    took = [one.recovery for one in experiments]
    found(section, goal, None if None in took else max(took))


def found(section, goal, worst):
    section.find(goal, "seconds to recover", 1e9 if worst is None else float(worst),
                 "not within the run" if worst is None else f"{worst} s", must=5, aim=1, unit=" s")


# ── b: the proxy's CPU ──────────────────────────────────────────────────────────────────────────


def proxy(section, settings, phases):
    """On one CPU with tiers behind it that cost little: the generator, alone on the other, must not be the limit."""
    back = weir.BackTiers(1, 100, cpu=TESTED_CPU)
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
    """Capacity in a closed loop, then multiples of it in an open one."""
    alone = [Run(target.address, settings.seconds(4, 2), mix=mix, connections=CONNECTIONS, processes=processes).result()
             for _ in range(2)]
    capacity = max(result.rate for result in alone)
    used = max(sum(row["cpu_us"] for row in result.found["processes"]) / result.found["lasted_us"] for result in alone)
    section.notes.append(f"{goal}: {capacity:.0f}/s over {CONNECTIONS} connections in a closed loop, with {what} used to "
                         f"{used:.0%}: this is the capacity that the overloads are multiples of.")
    turns = take_turns(settings, goal, target, capacity, mix, bounds)
    medians = {kind: statistics.median(turn[kind] for turn in turns) for kind in turns[0]}
    best = max(medians, key=medians.get)
    peak = medians[best]
    results = {}
    for factor in bounds:
        progress(f"{goal}: {factor} × capacity, and after")
        base = {"rate": max(20, capacity * 0.05), "mix": mix}
        results[factor] = phases.run(target, base, {"rate": capacity * factor, "mix": mix})
    progress("")
    section.raw[f"{goal} turns"] = [{str(factor): rate for factor, rate in turn.items()} for turn in turns]
    for factor, (must, aim) in bounds.items():
        one = results[factor]
        share = Ratio([turn[factor] for turn in turns], [turn[best] for turn in turns])
        section.find(goal, f"goodput at {factor} × capacity ÷ peak, {what} short", share.median,
                     f"{share.median:.3f} ({min(share.pairs):.2f}–{max(share.pairs):.2f}; {medians[factor]:.0f} ÷ "
                     f"{peak:.0f}/s)", must=must, aim=aim, at_least=True)
        section.raw[f"{goal} {factor}"] = {"over": one.large.reasons, "base": one.small.reasons,
                                           "series": one.series, "ended": one.ended}
        plot(section, f"overload-{goal}-{factor}.svg", f"{factor} × capacity, {what} short", one, peak)
    find_recovery(section, goal, list(results.values()))


def take_turns(settings, goal, target, capacity, mix, factors):
    """Goodput by factor in each round; the closed loop's by None."""
    turns = []
    rounds = settings.seconds(TURNS, 2)
    for number in range(rounds):
        turn = {}
        for factor in [None, *factors] if number % 2 else [*reversed(factors), None]:
            progress(f"{goal}: round {number + 1} of {rounds}, {f'{factor} × capacity' if factor else 'closed loop'}")
            goodput = Goodput(target.admin)
            run = Run(target.address, TURN, mix=mix, connections=CONNECTIONS, timeout=TIMEOUT_S, warm_up=0,
                      rate=factor and capacity * factor)
            time.sleep(TURN)
            series = goodput.stop()
            run.result()
            since, until = LOOKED_AT
            turn[factor] = statistics.mean(rate for second, rate in series if since <= second <= until)
        turns.append(turn)
    return turns


# ── c: storage ──────────────────────────────────────────────────────────────────────────────────


def storage(section, settings, phases):
    """All tiers share the tested CPU; of a write, three replicas take most of it."""
    fleet = weir.Fleet(settings.scratch / "storage", "--proxies", 1)
    try:
        names = [name for name in fleet.processes if name.startswith("storage-")]
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
