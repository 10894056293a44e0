"""Goal 10: a well-behaved table while its neighbour offers a hundred times its quota."""

from harness import binaries, disk, peers, weir
from harness.dynamodb import create_table
from harness.findings import Ratio, Section
from harness.load import OpenLoad, Stream, Window
from metadata.svg_plot import Panel, drawn

NAME, GOALS = "neighbours", ["10"]
TITLE = "Beside a neighbour at a hundred times its quota"
INTRO = """`weir cluster` (three synced replicas, one proxy), all of it on CPU 0; open loops with Poisson arrivals from
CPU 1, latency from the time that a request was due. The neighbour offers its quota throughout, and in every other phase
of the run 99 × as much on top of it. In the phases between, that excess goes to a stub on CPU 1, so that the load
generator works as hard in both. The ratio is the median of the pairs of successive phases."""
GETS, PUTS, QUOTA, FACTOR = 400, 100, 20, 100
SETTLING_S = 0.5


def measure(settings):
    section = Section(NAME, TITLE, INTRO)
    section.notes.append(disk.WHY_MEMORY.format(syncs=disk.syncs(settings.scratch)))
    pairs, length = settings.seconds(30, 4), settings.seconds(3.5, 2.5)
    judge(section, beside(settings, pairs, length, QUOTA, FACTOR), pairs, length)
    return section


def beside(settings, pairs, length, quota, factor):
    """A run in which a table is offered this quota, its own, and so many times as much in every other phase."""
    stub = peers.Upstream(binaries.UPSTREAM)
    try:
        with disk.in_memory(settings) as folder:
            fleet = weir.Fleet(folder / "fleet", "--proxies", 1)
            try:
                create_table(fleet.address, "quiet", read=4_000, write=2_000)
                create_table(fleet.address, "noisy", read=quota, write=quota)
                return OpenLoad(fleet, [*streams(2 * pairs * length), *neighbour(stub, pairs, length, quota, factor)])
            finally:
                fleet.stop()
    finally:
        stub.stop()


def streams(until):
    return [Stream("gets", "quiet", GETS, until, operation="get"), Stream("puts", "quiet", PUTS, until)]


def neighbour(stub, pairs, length, quota, factor):
    """Its quota throughout; the excess in even phases at the stub, in odd ones at the fleet."""
    yield Stream("noisy", "noisy", quota, 2 * pairs * length)
    for phase in range(2 * pairs):
        over = phase % 2 == 1
        yield Stream(f"{'excess' if over else 'idle'}{phase}", "noisy", quota * (factor - 1), (phase + 1) * length,
                     since=phase * length, connections=16, address=None if over else stub.address)


def paired(over, kept, q):
    """Of a quantile, by pairs of phases."""
    return Ratio([window.ms(q) for window in over], [window.ms(q) for window in kept])


def paired_text(found, over, kept, q):
    now, then = (Window.of(windows).ms(q) for windows in (over, kept))
    return (f"{found.median:.3f} ({min(found.pairs):.2f}–{max(found.pairs):.2f}; all phases together {now / then:.2f}: "
            f"{now:.2f} ÷ {then:.2f} ms)")


def judge(section, load, pairs, length):
    quiet = ("gets", "puts")
    phase = lambda number, names=quiet: load.window(number * length + SETTLING_S, (number + 1) * length, names)
    kept, over = ([phase(2 * pair + offset) for pair in range(pairs)] for offset in (0, 1))
    for q, what, bounds in [(0.99, "p99", {"must": 1.10, "aim": 1.03}), (0.5, "p50", {})]:
        found = paired(over, kept, q)
        section.find("10", f"{what} beside a neighbour at {FACTOR} × its quota ÷ beside one that keeps to it",
                     found.median if bounds else None, paired_text(found, over, kept, q), **bounds)
    refused = sum(window.offered - window.ok for window in over)
    section.find("10", "requests of the well-behaved table that did not succeed", float(refused), str(refused), must=0)
    names = ("noisy", *(f"excess{number}" for number in range(2 * pairs)))
    offered = [phase(2 * pair + 1, names) for pair in range(pairs)]
    per_second = lambda counts: sum(counts) / sum(window.seconds for window in offered)
    section.notes.append(f"The neighbour: quota {QUOTA} WCU, {per_second(it.offered for it in offered):.0f} requests/s "
                         f"offered, {per_second(it.ok for it in offered):.0f}/s admitted.")
    end = 2 * pairs * length
    times = [second / 2 for second in range(int(2 * end))]
    panel = Panel("p99 of the well-behaved table in each half second, ms")
    panel.line("p99", [(time, load.window(time, time + 0.5, quiet).ms(0.99)) for time in times])
    panel.line("p50", [(time, load.window(time, time + 0.5, quiet).ms(0.5)) for time in times])
    events = [(number * length, ("excess" if number % 2 else "none") if number < 3 else "")
              for number in range(1, 2 * pairs)]
    section.svg["neighbours.svg"] = drawn("A neighbour at 100 × its quota, on and off", [panel], events)
    section.plots.append(("neighbours.svg", "p99 while the neighbour comes and goes"))
    section.raw = {"kept_p99_ms": [it.ms(0.99) for it in kept], "over_p99_ms": [it.ms(0.99) for it in over]}
