"""A `weir cluster` under constant arrivals: what every scenario starts with."""

import contextlib
import http.client
import json
import os
import socket
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

# It chooses the binaries (WEIR_BIN, LOAD_BIN; by default those of the profile `measured`).
from admission import ROOT, check, provisioned  # noqa: F401
from fleet import ACCESS_KEY, SECRET_KEY, Cluster, await_active, create_table

from .open_load import OpenLoad

LOOKUPS = "weir_memds_lookups_total"
# 30,000 reads and 30,000 writes per second are 10 and 30 partitions.
PARTITIONS_PER_TABLE = 40


@dataclass
class Settings:
    """What the command line says."""

    # Of each phase.
    seconds: int = 15
    # Requests per second; none: a share of the capacity.
    rate: float | None = None
    # Requests per second that the machine does; none: it is sought where a share of it is wanted.
    capacity: float | None = None
    # Their share of the requests.
    writes: float = 0.1
    # Flushes in `cold`.
    rounds: int = 5
    # Where series and plots go.
    out: Path = ROOT / "docs" / "metadata"


@contextlib.contextmanager
def local_fleet(*arguments, **fields):
    """A cluster in a folder of its own; `fields` are WEIR_<TIER>_<FIELD> of its processes."""
    os.environ.update({name: str(value) for name, value in fields.items()})
    try:
        with tempfile.TemporaryDirectory(prefix="weir-routing-") as folder:
            with Cluster(folder, ["--gac", "1", *arguments]) as cluster:
                yield cluster
    finally:
        for name in fields:
            os.environ.pop(name)


def make_tables(cluster, count):
    """So many tables of 40 partitions; all partitions have leaders once they are active."""
    db = cluster.client()
    names = [f"table{number}" for number in range(count)]
    for name in names:
        create_table(db, name, wait=False, **provisioned(write=30_000, read=30_000))
    for name in names:
        await_active(db, name)
    return names


def endpoints(cluster):
    """Of all proxies, by number, those that were added later included."""
    rows = sorted((int(name.split("-")[1]), row["listen"]) for name, row in cluster.processes().items()
                  if name.startswith("proxy-"))
    return [listen for _, listen in rows]


def await_ready(cluster, names):
    """Until their operators' endpoints say so."""
    rows = cluster.processes()
    for name in names:
        deadline = time.monotonic() + 30
        while not is_ready(rows[name]["admin"]):
            assert time.monotonic() < deadline, f"{name} is not ready"
            time.sleep(0.05)


def is_ready(address):
    try:
        return ask(address, "/readyz")[0] == 200
    except (OSError, http.client.HTTPException):
        return False


def ask(address, path):
    """An operators' endpoint: status and body."""
    connection = http.client.HTTPConnection(address, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def memds_addresses(cluster):
    """Operators' endpoints, by name."""
    return {name: row["admin"] for name, row in cluster.processes().items() if name.startswith("memds-")}


def memds_status(address):
    """What one server says of itself."""
    return json.loads(ask(address, "/memds/status")[1])[0]


def leaders(address, names):
    """Leader and term of each partition of these tables, as one MemDS server knows them."""
    found = {}
    for name in names:
        routes = json.loads(ask(address, f"/memds/routes?table={name}")[1])[0]["routes"]
        found.update({(name, one["partition"]): (one["leader"], one["term"]) for one in routes["partitions"]})
    return found


def streams(settings, names, where, rate, start, end, writes=None, reads="get", label="", connections=48):
    """Constant arrivals: `rate` in all, evenly over the endpoints `where`, uniform keys over all partitions."""
    writes = settings.writes if writes is None else writes
    specs = []
    for number, endpoint in enumerate(where):
        for operation, share in [(reads, 1 - writes), ("put", writes)]:
            if share > 0:
                fields = {"name": f"{label}{operation}-{number + 1}", "endpoint": endpoint, "table": "+".join(names),
                          "rate": rate * share / len(where), "from": start, "to": end, "op": operation,
                          "keys": 100_000, "connections": connections, "arrivals": "constant"}
                specs.append(",".join(f"{key}={value}" for key, value in fields.items()))
    return specs


def run(specs, processes=()):
    return OpenLoad(specs, (ACCESS_KEY, SECRET_KEY), processes)


def warm_up(settings, names, where, rate=400, seconds=6):
    """So that every proxy knows nearly every partition."""
    run(streams(settings, names, where, rate, 0, seconds)).done()


def share_of_capacity(settings, names, where, share, **kind):
    """--rate, or so much of what this machine does: what --capacity says or the first scenario finds."""
    if settings.rate:
        return settings.rate
    if not settings.capacity:
        settings.capacity = capacity(settings, names, where, **kind)
        # What the last overload left behind is worked off.
        time.sleep(3)
    print(f"       capacity {settings.capacity:.0f}/s; the load is {share:.0%} of it: {settings.capacity * share:.0f}/s",
          flush=True)
    return settings.capacity * share


def capacity(settings, names, where, **kind):
    """The highest rate, to about 6 %, at which p99 stays below 50 ms and nothing is left behind."""
    def holds(rate, seconds=6):
        done = run(streams(settings, names, where, rate, 0, seconds, **kind)).done()
        p99 = done.window(1, seconds).ms(0.99)
        print(f"       {rate:6.0f}/s: p99 {p99 if p99 is None else round(p99, 1)} ms, {done.unsuccessful} "
              f"unsuccessful, open_loop's CPU {done.result['own_cpu_seconds'] / seconds:.0%}", flush=True)
        return done.unsuccessful == 0 and p99 is not None and p99 < 50

    low, high, rate = 0.0, None, 1000.0
    while high is None or high > 1.06 * low:
        # A second try: one stray second of the machine does not settle it.
        if holds(rate) or holds(rate):
            low = rate
        else:
            high = rate
        assert high is None or high > 20, "no rate holds"
        rate = low * 1.5 if high is None else high / 1.5 if not low else (low * high) ** 0.5
    # What holds for some seconds may fall behind later: logs are synced and trees written back meanwhile.
    while not holds(low, 20):
        low *= 0.9
    return low
