"""Goals 1 to 4: what a request costs our proxy, beside proxies that check no signature and read no JSON."""

from harness import binaries, peers, weir
from harness.bars import bars
from harness.dynamodb import create_table
from harness.findings import Ratio, Section, cpus, interleaved, least_and_median
from harness.load import GETS, PUTS, LoadFailed, OpenLoad, Stream, closed, preload

NAME, GOALS = "proxies", ["1", "2", "3", "4"]
TITLE = "A proxy's CPU per request"
INTRO = """Our proxy alone on CPU 0 (signature checked, JSON decoded, three levels of admission, routed, forwarded,
answered), before a fleet on CPU 1; the peers before a stub on CPU 1 that answers at once with as many bytes. A closed
loop; µs of CPU of the proxy's process per request, least and median of the rounds. Ratios: of the least values / median
of the pairs of one round (their range)."""
CONNECTIONS = [16, 64]
OPERATIONS = {"GetItem": GETS, "PutItem": PUTS}
# Goal 4 sends both at this rate: batches are as large, and costs as comparable, as they get.
EQUAL_RATE = 2_000


class OurProxy:
    """A fleet of which only the proxy is on the tested CPU."""

    def __init__(self, folder):
        replicas, self.copies = weir.one_replica("cluster")
        memory, self.where = weir.in_memory("cluster")
        self.fleet = weir.Fleet(folder, "--proxies", 1, *replicas, *memory).leave("proxy-1")
        self.address = self.fleet.address
        self.processes = {"proxy": self.fleet.processes["proxy-1"]}
        create_table(self.address, read=40_000, write=40_000)
        create_table(self.address, "written", read=40_000, write=40_000)
        create_table(self.address, "poor", read=1, write=1)
        preload(self, GETS)

    def stop(self):
        self.fleet.stop()


def measure(settings):
    section = Section(NAME, TITLE, INTRO)
    upstream = peers.Upstream(binaries.UPSTREAM)
    targets = {}
    try:
        targets["Weir's proxy"] = ours = OurProxy(settings.scratch / "proxies")
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
    ratio = lambda case, peer: Ratio(cpus(rows[case, "Weir's proxy"]), cpus(rows[case, peer]))
    for operation, connections in cases:
        case = (operation, connections)
        goal, must, aim = ("1", 0.50, 0.38) if operation == "GetItem" else ("2", 0.55, 0.40)
        for peer, number, most, wanted in [("Envoy", goal, must, aim), ("nginx", "3", 1.1, 0.9)]:
            found = ratio(case, peer)
            section.find(number, f"{operation}, {connections} connections: ÷ {peer}", found.median, found.text(),
                         must=most, aim=wanted)
    table = [[*case, name, least_and_median(cpus(rows[case, name])), f"{max(row['rps'] for row in rows[case, name]):.0f}",
              min(row["p50_us"] for row in rows[case, name]), min(row["p99_us"] for row in rows[case, name])]
             for case in cases for name in targets]
    section.tables.append(("", ["requests", "connections", "proxy", "CPU µs per request (least / median)",
                                "requests/s (best)", "p50 µs (best)", "p99 µs (best)"], table))
    section.svg["proxies.svg"] = bars(
        "CPU µs per request of the proxy's process (least; the line: median)",
        [(f"{case[0]}, {case[1]} connections", [(name, cpus(rows[case, name])) for name in targets]) for case in cases])
    section.plots.append(("proxies.svg", "A proxy's CPU per request"))
    section.raw["closed loop"] = [[*case, name, some] for (case, name), some in rows.items()]


def refusals(section, settings, ours):
    """Goal 4, at the same rate for both."""
    seconds = settings.seconds(4, 3)

    def cost(operation, table):
        run = OpenLoad(ours, [Stream("s", table, EQUAL_RATE, until=seconds, operation=operation, connections=16)])
        strays = sum(row.outcome != (1 if table == "poor" else 0) for row in run.rows)
        if strays > len(run.rows) * 0.05:
            raise LoadFailed(f"{strays} of {len(run.rows)} unlike the others: {operation} on {table}: {run.reasons()}")
        return {"cpu_us": run.cpu_seconds["proxy"] / len(run.rows) * 1e6}

    drain(ours)
    rows = {}
    for operation, table in [("get", "usertable"), ("put", "written")]:
        rows |= interleaved(settings, [operation], {"admitted": table, "rejected": "poor"}, cost)
    for operation, name in [("get", "GetItem"), ("put", "PutItem")]:
        rejected, admitted = cpus(rows[operation, "rejected"]), cpus(rows[operation, "admitted"])
        found = Ratio(rejected, admitted)
        section.find("4", f"a rejected {name} ÷ an admitted one, {EQUAL_RATE}/s each", found.median, found.text(),
                     must=0.9, aim=0.6)
        section.raw[f"refused {name}"] = {"rejected": rejected, "admitted": admitted}


def drain(ours):
    """What a new table has banked."""
    for operation in ["put", "get"]:
        OpenLoad(ours, [Stream("s", "poor", EQUAL_RATE, until=1, operation=operation)])
