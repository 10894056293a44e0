"""Goal 8: latency from a tenth to four fifths of what a fleet can do."""

import random
import statistics

from harness import disk, weir
from harness.dynamodb import create_table
from harness.findings import Ratio, Section, progress
from harness.load import OpenLoad, Stream
from metadata.svg_plot import Panel, drawn

NAME, GOALS = "load_levels", ["8"]
TITLE = "Latency from 10 % to 80 % of capacity"
INTRO = """`weir cluster` (three synced replicas), all of it on CPU 0; an open loop with Poisson arrivals from CPU 1,
95 % strongly consistent reads and 5 % writes; latency counts from the time that a request was due. Capacity is what
`weir load search --objective 'p99<10ms'` looks for: the highest rate with that p99 and no failure. Levels in shuffled
order, in each of the rounds; a level's figure is the median of its rounds, and its ratio to the lowest that of theirs.
Once with the nodes' folders on a file system in memory, which is judged, and once on the disk."""
LEVELS = [10, 20, 30, 40, 50, 60, 70, 80]
READS = 0.95
CONNECTIONS = 64
CAPACITY_P99_MS = 10
ROUNDS = 5
# A search ends when the highest rate that holds and the lowest that does not are this close.
CLOSE_ENOUGH = 1.07
SETTLING_S = 0.5


def streams(rate, seconds):
    return [Stream("reads", "usertable", rate * READS, seconds, operation="get", connections=CONNECTIONS),
            Stream("writes", "usertable", rate * (1 - READS), seconds, connections=CONNECTIONS // 4)]


def run(fleet, rate, seconds, seed):
    return OpenLoad(fleet, streams(rate, seconds), seed)


def capacity(fleet, settings):
    """Requests per second."""
    def holds(rate, seconds):
        window = run(fleet, rate, seconds, seed=int(rate)).window(SETTLING_S, seconds)
        progress(f"capacity: {rate:.0f}/s: p99 {window.ms(0.99) or 0:.1f} ms, {window.success:.2%} successful")
        return window.success == 1 and window.ms(0.99) < CAPACITY_P99_MS

    seconds = settings.seconds(3, 2)
    low, high, rate = 0.0, None, 2_000.0
    while high is None or high > CLOSE_ENOUGH * low:
        # A second try: one stray second of the machine does not settle it.
        if holds(rate, seconds) or holds(rate, seconds):
            low = rate
        else:
            high = rate
        rate = low * 1.5 if high is None else (low * high) ** 0.5 if low else high / 2
        if rate < 50:
            raise RuntimeError("no rate holds")
    while not holds(low, 2 * seconds):
        low *= 0.93
    progress("")
    return low


def measure(settings):
    section = Section(NAME, TITLE, INTRO)
    section.notes.append(disk.WHY_MEMORY.format(syncs=disk.syncs(settings.scratch)))
    with disk.in_memory(settings) as folder:
        measure_on(section, settings, folder, "in memory", judged=True)
    measure_on(section, settings, settings.scratch, "on the disk", judged=False)
    return section


def measure_on(section, settings, folder, where, judged):
    fleet = weir.Fleet(folder / "fleet", "--proxies", 1)
    try:
        create_table(fleet.address, read=40_000, write=40_000)
        most = capacity(fleet, settings)
        section.notes.append(f"Capacity, folders {where}: {most:.0f} requests/s.")
        rows = levels(fleet, settings, most)
    finally:
        fleet.stop()
    judge(section, most, rows, where, judged)


def levels(fleet, settings, most):
    rows = {level: [] for level in LEVELS}
    seconds = settings.seconds(3.5, 2)
    for number in range(settings.seconds(ROUNDS, 3)):
        order = LEVELS[:]
        random.Random(number).shuffle(order)
        for level in order:
            progress(f"round {number + 1}, {level} % of capacity")
            load = run(fleet, most * level / 100, seconds, seed=100 * number + level)
            window, reads, writes = (load.window(SETTLING_S, seconds, names) for names in (None, ["reads"], ["writes"]))
            rows[level].append({"p50": window.ms(0.5), "p99": window.ms(0.99), "p999": window.ms(0.999),
                                "p99 of reads": reads.ms(0.99), "p99 of writes": writes.ms(0.99),
                                "success": window.success, "offered": window.offered})
    progress("")
    return rows


def judge(section, most, rows, where, judged):
    middle = {what: {level: statistics.median(row[what] for row in rows[level]) for level in LEVELS}
              for what in rows[LEVELS[0]][0] if what.startswith("p")}
    for what in ("p99", "p50", "p99 of reads", "p99 of writes"):
        must, aim = (2.0, 1.3) if judged and what == "p99" else (None, None)
        of = lambda level: [row[what] for row in rows[level]]
        ratios = {level: Ratio(of(level), of(LEVELS[0])) for level in LEVELS}
        worst = max(LEVELS, key=lambda level: ratios[level].median)
        found = ratios[worst]
        section.find("8", f"folders {where}: {what} at {worst} % of capacity, the most of 10 to 80 %, ÷ at 10 %",
                     must and found.median,
                     f"{found.median:.2f} ({min(found.pairs):.2f}–{max(found.pairs):.2f}; medians "
                     f"{middle[what][worst]:.2f} ÷ {middle[what][LEVELS[0]]:.2f} ms)", must=must, aim=aim)
    section.tables.append((f"Folders {where}", ["% of capacity", "requests/s", "p50 ms", "p99 ms (median of rounds)", "p99 ms (range)",
                                "p99 of reads", "p99 of writes", "p99.9 ms",
                                "successful"],
                           [[level, f"{most * level / 100:.0f}", f"{middle['p50'][level]:.2f}",
                             f"{middle['p99'][level]:.2f}",
                             f"{min(row['p99'] for row in rows[level]):.2f}–{max(row['p99'] for row in rows[level]):.2f}",
                             f"{middle['p99 of reads'][level]:.2f}", f"{middle['p99 of writes'][level]:.2f}",
                             f"{middle['p999'][level]:.2f}", f"{min(row['success'] for row in rows[level]):.2%}"]
                            for level in LEVELS]))
    panel = Panel("Latency, ms: median of the rounds")
    for what in ("p50", "p99", "p99 of reads", "p99 of writes"):
        panel.line(what, [(level, middle[what][level]) for level in LEVELS])
    panel.level("2 × p99 at 10 %", 2 * middle["p99"][LEVELS[0]])
    file = f"load-levels-{where.split()[-1]}.svg"
    section.svg[file] = drawn(f"Latency by load, folders {where}", [panel], unit=" %")
    section.plots.append((file, f"p50 and p99 by load, folders {where}"))
    section.raw[where] = {"capacity": most, "levels": rows}
