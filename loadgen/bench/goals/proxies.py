"""Goals 1 to 4: what a request costs our proxy, beside proxies that check no signature and read no JSON."""

from dataclasses import replace

from harness import binaries, peers, weir
from harness.bars import bars
from harness.dynamodb import create_table
from harness.findings import Ratio, Section, cpus, interleaved, least_and_median
from harness.load import GETS, PUTS, LoadFailed, closed, preload
from harness.weir_load import Run

NAME, GOALS = "proxies", ["1", "2", "3", "4"]
TITLE = "A proxy's CPU per request"
INTRO = """Our proxy alone on CPU 0 (signature checked, JSON decoded, three levels of admission, routed, forwarded,
answered), before a fleet on CPU 1; the peers before a stub on CPU 1 that answers at once with as many bytes. A closed
loop; µs of CPU of the proxy's process per request, least and median of the rounds. Ratios: of the least values / median
of the pairs of one round (their range)."""
CONNECTIONS = [16, 64]
OURS, OURS_STUB = "Weir's proxy", "Weir's proxy, before a stub"
OPERATIONS = {"GetItem": GETS, "PutItem": PUTS}
MIXES = {"GetItem": "get", "PutItem": "put"}
# Goal 4 is judged where the proxy's CPU is short, and shown at this rate, too.
EQUAL_RATE, EQUAL_CONNECTIONS = 6_000, 32
# A refusal and what is admitted are closer to each other than two proxies are: it takes the median of so many pairs.
PAIRS = 9


class OurProxyAlone:
    """One before a stub, as the peers are; what stands behind the other has work of its own to do."""

    def __init__(self, folder):
        self.back = weir.BackTiers(1, 100)
        self.proxy = weir.Proxy(folder, self.back)
        self.address, self.processes = self.proxy.address, self.proxy.processes

    def stop(self):
        self.proxy.stop()
        self.back.stop()


class OurProxy:
    """A fleet of which only the proxy is on the tested CPU."""

    def __init__(self, folder):
        replicas, self.copies = weir.one_replica("cluster")
        memory, self.where = weir.in_memory("cluster")
        self.fleet = weir.Fleet(folder, "--proxies", 1, *replicas, *memory).leave("proxy-1")
        self.address = self.fleet.address
        self.processes = {"proxy": self.fleet.processes["proxy-1"]}
        create_table(self.address, read=40_000, write=40_000)
        create_table(self.address, "absent", read=40_000, write=40_000)
        create_table(self.address, "poor", read=5, write=5)
        preload(self, GETS)

    def stop(self):
        self.fleet.stop()


def measure(settings):
    section = Section(NAME, TITLE, INTRO)
    upstream = peers.Upstream(binaries.UPSTREAM)
    targets = {}
    try:
        targets[OURS] = ours = OurProxy(settings.scratch / "proxies")
        targets[OURS_STUB] = OurProxyAlone(settings.scratch / "alone")
        for name, start in [("Envoy", peers.envoy), ("nginx", peers.nginx), ("HAProxy", peers.haproxy)]:
            targets[name] = start(upstream, settings.scratch)
        section.notes.append(f"Behind our proxy: storage with {ours.copies}, {ours.where}. Envoy {peers.ENVOY} with "
                             "`local_ratelimit`, nginx with `limit_req`, HAProxy with a stick table: each with one "
                             "worker, without access logs, connections to the stub kept.")
        cases = [(operation, connections) for operation in OPERATIONS for connections in CONNECTIONS]
        seconds = settings.seconds(1.5, 1.0)
        rows = interleaved(settings, cases, targets,
                           lambda case, target: closed(target, OPERATIONS[case[0]], case[1], seconds),
                           label=lambda case: f"{case[0]} over {case[1]} connections")
        compare(section, targets, cases, rows)
        refusals(section, settings, ours)
    finally:
        for target in [*targets.values(), upstream]:
            target.stop()
    return section


def compare(section, targets, cases, rows):
    for operation, connections in cases:
        case = (operation, connections)
        goal, must, aim = ("1", 0.50, 0.38) if operation == "GetItem" else ("2", 0.55, 0.40)
        for peer, number, most, wanted in [("Envoy", goal, must, aim), ("nginx", "3", 1.1, 0.9)]:
            found = Ratio(cpus(rows[case, OURS]), cpus(rows[case, peer]))
            section.find(number, f"{operation}, {connections} connections: ÷ {peer}", found.median, found.text(),
                         must=most, aim=wanted)
            stub = Ratio(cpus(rows[case, OURS_STUB]), cpus(rows[case, peer]))
            section.find(number, f"{operation}, {connections} connections: ÷ {peer}, both before a stub", None, stub.text())
    table = [[*case, name, least_and_median(cpus(rows[case, name])), f"{max(row['rps'] for row in rows[case, name]):.0f}",
              f"{max(process['cores'] for row in rows[case, name] for process in row['processes'].values()):.0%}",
              min(row["p50_us"] for row in rows[case, name]), min(row["p99_us"] for row in rows[case, name])]
             for case in cases for name in targets]
    section.tables.append(("", ["requests", "connections", "proxy", "CPU µs per request (least / median)",
                                "requests/s (best)", "its CPU used", "p50 µs (best)", "p99 µs (best)"], table))
    section.svg["proxies.svg"] = bars(
        "CPU µs per request of the proxy's process (least; the line: median)",
        [(f"{case[0]}, {case[1]} connections", [(name, cpus(rows[case, name])) for name in targets]) for case in cases])
    section.plots.append(("proxies.svg", "A proxy's CPU per request"))
    section.raw["closed loop"] = [[*case, name, some] for (case, name), some in rows.items()]


def refusals(section, settings, ours):
    """Goal 4: the requests of goals 1 to 3. Shown: GetItem of what is absent, and both at one rate, where waking the client
    is most of the cost."""
    drain(ours)
    seconds = settings.seconds(1.5, 1.0)
    tables = {"admitted": GETS.table, "rejected": "poor"}
    run = lambda case, table: of_one_kind(closed(ours, replace(OPERATIONS[case[0]], table=table), case[1], seconds), table)
    label = lambda case: f"{case[0]} over {case[1]} connections"
    cases = [(operation, connections) for operation in OPERATIONS for connections in CONNECTIONS]
    rows = interleaved(replace(settings, rounds=settings.seconds(PAIRS, settings.rounds)), cases, tables, run, label)
    for case in cases:
        found = Ratio(cpus(rows[case, "rejected"]), cpus(rows[case, "admitted"]))
        section.find("4", f"a rejected {case[0]} ÷ an admitted one, {case[1]} connections", found.median, found.text(),
                     must=0.9, aim=0.6)
    absent = [case for case in cases if case[0] == "GetItem"]
    rows_absent = interleaved(settings, absent, {**tables, "admitted": "absent"}, run, label)
    for case in absent:
        found = Ratio(cpus(rows_absent[case, "rejected"]), cpus(rows_absent[case, "admitted"]))
        section.find("4", f"a rejected {case[0]} ÷ an admitted one of an item that is not there, {case[1]} connections",
                     None, found.text())
    section.tables.append(("Refused and admitted, by our proxy:",
                           ["requests", "connections", "", "CPU µs per request (least / median)", "requests/s (best)"],
                           [[*case, name, least_and_median(cpus(rows[case, name])),
                             f"{max(row['rps'] for row in rows[case, name]):.0f}"] for case in cases for name in tables]))
    section.raw["refusals"] = [[*case, name, some] for (case, name), some in rows.items()]
    at_equal_rate(section, settings, ours, tables)


def of_one_kind(row, table):
    """Nothing is refused of the one table, and nearly everything of the other."""
    share = row["refused"] / (row["rps"] * row["seconds"])
    if not (share > 0.98 if table == "poor" else row["refused"] == 0):
        raise LoadFailed(f"{row['refused']} requests of {table} were refused, {share:.1%}")
    return row


def at_equal_rate(section, settings, ours, tables):
    seconds = settings.seconds(3, 2)

    def load(operation, table, **more):
        return Run(ours.address, seconds, table=table, mix=f"{MIXES[operation]}=100", connections=EQUAL_CONNECTIONS,
                   processes=ours.processes, **more).result()

    def cost(operation, table):
        run = load(operation, table, rate=EQUAL_RATE)
        outcomes = run.summary["outcomes"]
        requests = sum(outcomes.values())
        return of_one_kind({"cpu_us": run.cpu_us("proxy") / requests, "refused": outcomes.get("throttled", 0),
                            "rps": requests / seconds, "seconds": seconds}, table)

    # What is read is there: each key is written several times over.
    load("PutItem", tables["admitted"], keys="sequential:10000")
    rows = interleaved(settings, list(OPERATIONS), tables, cost)
    for operation in OPERATIONS:
        found = Ratio(cpus(rows[operation, "rejected"]), cpus(rows[operation, "admitted"]))
        section.find("4", f"a rejected {operation} ÷ an admitted one, open loop, {EQUAL_RATE}/s each", None, found.text())


def drain(ours):
    """What a new table has banked."""
    for operation in OPERATIONS.values():
        closed(ours, replace(operation, table="poor"), 16, 1, may_fail=True)
