"""Whether a request costs a proxy the same, however many tables and partitions there are."""

from harness import weir
from harness.findings import Ratio, Section, cpus, interleaved, least_and_median
from harness.load import Requests, closed

NAME, GOALS = "flatness", ["flat"]
TITLE = "Cost by number of tables and partitions"
INTRO = """The same GetItem requests over 16 connections, 10,000 keys, to one proxy each; MemDS, GAC and a storage node
that stores nothing stand behind it on the load's CPU, and know so many tables or partitions. µs of CPU of the proxy's
process per request. Ratios to the smallest: of the least values / median of the pairs of one round (their range)."""
CONNECTIONS = 16
ROUTES = 1_000
TABLES = {f"{tables:,} tables": (tables, ROUTES // tables) for tables in (10, 100, 1_000)}
PARTITIONS = {f"{count:,} partitions": (1, count) for count in (100, 10_000, 1_000_000)}
# More than this is not the same.
SAME = 1.05


class Target:
    """A proxy before tiers of its own."""

    def __init__(self, folder, tables, partitions):
        self.back = weir.BackTiers(tables, partitions)
        self.proxy = weir.Proxy(folder, self.back)
        self.address, self.processes = self.proxy.address, self.proxy.processes
        self.requests = Requests(100, tables=tables)

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
            rows = interleaved(settings, [what], targets,
                               lambda _, target: closed(target, target.requests, CONNECTIONS, settings.seconds(2, 1)))
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
    section.tables.append(("", [what, "CPU µs per request (least / median)", "requests/s (best)", "RSS MB"],
                           [[name, least_and_median(cpus(rows[what, name])),
                             f"{max(row['rps'] for row in rows[what, name]):.0f}",
                             f"{rows[what, name][-1]['processes']['proxy']['rss_mb']:.0f}"] for name in names]))
    section.raw[what] = {name: rows[what, name] for name in names}
