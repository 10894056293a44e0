"""Whether a request costs a proxy the same, however many tables and partitions there are."""

from dataclasses import replace

from harness import weir
from harness.findings import Ratio, Section, cpus, interleaved, least_and_median
from harness.load import LoadFailed, OpenLoad, Requests, Stream, closed
from harness.processes import resident_mb

NAME, GOALS = "flatness", ["flat"]
TITLE = "Cost by number of tables and partitions"
INTRO = """The same GetItem requests, 10,000 a second over 16 connections (an open loop: where a closed one gets answers
faster, more requests share a frame, and each costs less), 10,000 keys, to one proxy each; MemDS, GAC and a storage node
that stores nothing stand behind it on the load's CPU, and know so many tables or partitions. µs of CPU of the proxy's
process per request. Ratios to the smallest: of the least values / median of the pairs of one round (their range)."""
CONNECTIONS, RATE = 16, 10_000
ROUTES = 1_000
TABLES = {f"{tables:,} tables": (tables, ROUTES // tables) for tables in (10, 100, 1_000)}
PARTITIONS = {f"{count:,} partitions": (1, count) for count in (100, 10_000, 1_000_000)}
# More than this is not the same. On a shared machine one pair of runs differs by a tenth either way: it takes the median
# of so many.
SAME, PAIRS = 1.05, 16


class Target:
    """A proxy before tiers of its own."""

    def __init__(self, folder, tables, partitions):
        self.back = weir.BackTiers(tables, partitions)
        self.proxy = weir.Proxy(folder, self.back)
        self.address, self.processes = self.proxy.address, self.proxy.processes
        self.requests = Requests(100, tables=tables)
        self.names = "+".join(f"usertable{number}" for number in range(1, tables + 1)) if tables > 1 else "usertable"

    def cost(self, seconds):
        """One open loop."""
        run = OpenLoad(self, [Stream("gets", self.names, RATE, until=seconds, operation="get", connections=CONNECTIONS)])
        if run.reasons():
            raise LoadFailed(f"requests failed: {run.reasons()}")
        return {"cpu_us": run.cpu_seconds["proxy"] / len(run.rows) * 1e6, "rss_mb": resident_mb(self.processes["proxy"])}

    def stop(self):
        self.proxy.stop()
        self.back.stop()


def measure(settings):
    section = Section(NAME, TITLE, INTRO)
    for what, sizes in [("tables", TABLES), ("partitions", PARTITIONS)]:
        targets = {}
        try:
            for number, (name, (tables, partitions)) in enumerate(sizes.items()):
                targets[name] = Target(settings.scratch / f"{what}{number}", tables, partitions)
                # Every key once, so that its route is known.
                closed(targets[name], targets[name].requests, CONNECTIONS, settings.seconds(3, 2))
            rows = interleaved(replace(settings, rounds=settings.seconds(PAIRS, 3)), [what], targets,
                               lambda _, target: target.cost(settings.seconds(1.5, 1)))
        finally:
            for target in targets.values():
                target.stop()
        judge(section, what, list(sizes), rows)
    return section


def judge(section, what, names, rows):
    least = cpus(rows[what, names[0]])
    for name in names[1:]:
        found = Ratio(cpus(rows[what, name]), least)
        section.find("flat", f"{name} ÷ {names[0]}", found.median, found.text(), must=SAME)
    section.tables.append(("", [what, "CPU µs per request (least / median)", "RSS MB"],
                           [[name, least_and_median(cpus(rows[what, name])),
                             f"{rows[what, name][-1]['rss_mb']:.0f}"] for name in names]))
    section.raw[what] = {name: rows[what, name] for name in names}
