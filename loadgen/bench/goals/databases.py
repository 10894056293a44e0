"""Goals 5 to 7: what an operation costs the whole database, beside dynoxide (SQLite, one copy, no signatures)."""

from harness import peers, weir
from harness.bars import bars
from harness.dynamodb import create_table
from harness.findings import Ratio, Section, cpus, interleaved, least_and_median
from harness.load import YCSB_A, YCSB_B, closed, preload

NAME, GOALS = "databases", ["5", "6", "7"]
TITLE = "A database's CPU per operation"
INTRO = """YCSB-A (half reads, half updates of one field) and YCSB-B (95 % reads), 10,000 items of ten fields of 100
bytes, keys by Zipf's law (0.99), reads strongly consistent; a closed loop. Every process of a database is on CPU 0, the
load on CPU 1. dynoxide keeps one copy and checks no signature; dynalite is shown, and not counted. Ratios: of the least
values / median of the pairs of one round (their range)."""
CONNECTIONS = [16, 64]
IN_MEMORY = ["dynoxide, in memory", "weir dev, in memory", "weir fleet, in memory", "dynalite, in memory"]
ON_DISK = ["dynoxide, on a file", "weir dev, on disk", "weir fleet, on disk"]
# Of a fleet's processes, what goal 5 counts.
REQUEST_PATH = ("proxy-", "storage-")


class Target:
    """A database and which of its processes count."""

    def __init__(self, database, counted=("",)):
        self.database, self.address = database, database.address
        self.processes = {name: pid for name, pid in database.processes.items() if name.startswith(counted)}
        self.stop = database.stop


def start(section, settings):
    one, copies = weir.one_replica("dev")
    folder = settings.scratch
    fleet_one, fleet_copies = weir.one_replica("cluster")
    memory, where = weir.in_memory("cluster")
    section.notes.append(f"weir dev: {copies}; the fleet of goal 5: {fleet_copies}, {where}, proxy and storage processes "
                         "counted; the fleet of goal 7: three synced replicas, all of its processes counted.")
    yield "dynoxide, in memory", Target(peers.dynoxide())
    yield "weir dev, in memory", Target(weir.Dev(*one))
    fleet = weir.Fleet(folder / "memory", "--proxies", 1, "--memds", 2, "--gac", 1, *fleet_one, *memory)
    yield "weir fleet, in memory", Target(fleet, REQUEST_PATH)
    try:
        yield "dynalite, in memory", Target(peers.dynalite())
    except peers.NotInstalled as missing:
        section.notes.append(f"Without dynalite: {missing}.")
    yield "dynoxide, on a file", Target(peers.dynoxide(folder / "dynoxide.db"))
    yield "weir dev, on disk", Target(weir.Dev(*one, data_dir=folder / "dev"))
    yield "weir fleet, on disk", Target(weir.Fleet(folder / "disk", "--proxies", 1, "--memds", 2, "--gac", 1))


def measure(settings):
    section, targets, rows = Section(NAME, TITLE, INTRO), {}, {}
    try:
        for name, target in start(section, settings):
            targets[name] = target
            create_table(target.address, read=40_000, write=40_000)
            preload(target, YCSB_A)
        seconds = settings.seconds(2, 1.2)
        for workload, requests, names in [("YCSB-B", YCSB_B, IN_MEMORY), ("YCSB-A", YCSB_A, ON_DISK)]:
            rows |= interleaved(settings, [(workload, count) for count in CONNECTIONS],
                                {name: targets[name] for name in names if name in targets},
                                lambda case, target: closed(target, requests, case[1], seconds),
                                label=lambda case: f"{case[0]} over {case[1]} connections")
    finally:
        for target in targets.values():
            target.stop()
    judge(section, rows)
    show(section, rows)
    return section


def judge(section, rows):
    for goal, workload, ours, theirs, must, aim in [
            ("5", "YCSB-B", "weir dev, in memory", "dynoxide, in memory", 1.0, 0.7),
            ("5", "YCSB-B", "weir fleet, in memory", "dynoxide, in memory", 1.0, 0.7),
            ("6", "YCSB-A", "weir dev, on disk", "dynoxide, on a file", 0.5, 0.3),
            ("7", "YCSB-A", "weir fleet, on disk", "dynoxide, on a file", 1.0, 0.5)]:
        for connections in CONNECTIONS:
            case = (workload, connections)
            found = Ratio(cpus(rows[case, ours]), cpus(rows[case, theirs]))
            section.find(goal, f"{workload}, {connections} connections: {ours} ÷ {theirs}", found.median, found.text(),
                         must=must, aim=aim)


def show(section, rows):
    table = [[*case, name, least_and_median(cpus(some)), f"{max(row['rps'] for row in some):.0f}",
              min(row["p50_us"] for row in some), min(row["p99_us"] for row in some),
              f"{max(sum(process['rss_mb'] for process in row['processes'].values()) for row in some):.0f}"]
             for (case, name), some in sorted(rows.items())]
    section.tables.append(("", ["workload", "connections", "database", "CPU µs per operation (least / median)",
                                "operations/s (best)", "p50 µs (best)", "p99 µs (best)", "RSS MB"], table))
    by_process = [[*case, process, least_and_median([row["processes"][process]["cpu_us"] for row in some])]
                  for (case, name), some in sorted(rows.items()) if name == "weir fleet, on disk"
                  for process in some[0]["processes"]]
    section.tables.append(("The fleet on disk, by process:",
                           ["workload", "connections", "process", "CPU µs per operation (least / median)"], by_process))
    cases = sorted({case for case, _ in rows})
    section.svg["databases.svg"] = bars(
        "CPU µs per operation, all counted processes (least; the line: median)",
        [(f"{case[0]}, {case[1]} connections", [(name, cpus(some)) for (at, name), some in rows.items() if at == case])
         for case in cases])
    section.plots.append(("databases.svg", "A database's CPU per operation"))
    section.raw["closed loop"] = [[*case, name, some] for (case, name), some in rows.items()]
