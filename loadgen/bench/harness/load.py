"""Load from the other CPU: closed loops for costs, open loops for latency and goodput."""

import json
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from . import binaries
from .dynamodb import KEYS
from .processes import LOAD_CPU, pinned


class LoadFailed(Exception):
    """The load generator ended in an error, or requests failed."""


@dataclass
class Requests:
    """What a closed loop sends."""

    reads: int = 100
    writes: str = "put"
    keys: int = 10_000
    zipf: float = 0.0
    fields: int = 9
    field_bytes: int = 78
    table: str = "usertable"
    tables: int = 1

    def words(self):
        return ["--reads", self.reads, "--writes", self.writes, "--keys", self.keys, "--zipf", self.zipf,
                "--fields", self.fields, "--field-bytes", self.field_bytes, "--table", self.table,
                "--tables", self.tables]


GETS, PUTS = Requests(100), Requests(0)
YCSB = {"fields": 10, "field_bytes": 100, "zipf": 0.99, "writes": "update"}
YCSB_A, YCSB_B = Requests(50, **YCSB), Requests(95, **YCSB)


def closed(target, requests, connections, seconds, warm=0.4, may_fail=False):
    """One closed loop against what has `address` and `processes`; the generator's JSON."""
    row = _closed(target, requests, connections, ["--seconds", seconds, "--warm", warm])
    if row["failed"] and not may_fail:
        raise LoadFailed(f"{row['failed']} requests failed at {target.address}: {row['first_failure']}")
    row["seconds"] = seconds
    row["cpu_us"] = sum(process["cpu_us"] for process in row["processes"].values())
    return row


def preload(target, requests, connections=16):
    """Writes every key once."""
    _closed(target, requests, connections, ["--load"])


def _closed(target, requests, connections, more):
    command = [binaries.CLOSED_LOOP, "--address", target.address, "--connections", connections, *requests.words(),
               *KEYS, *more]
    for name, pid in target.processes.items():
        command += ["--process", f"{name}:{pid}"]
    return json.loads(_run(command, 600))


def _run(command, timeout):
    done = subprocess.run(pinned(command, LOAD_CPU), capture_output=True, text=True, timeout=timeout)
    if done.returncode:
        raise LoadFailed(done.stderr[-2000:])
    return done.stdout


@dataclass
class Stream:
    """Requests of one kind at one rate, in a part of an open loop's run."""

    name: str
    table: str
    rate: float
    until: float
    since: float = 0.0
    operation: str = "put"
    keys: int = 10_000
    connections: int = 32
    arrivals: str = "poisson"
    # Another endpoint than the target's.
    address: str | None = None

    def text(self, address):
        fields = {"name": self.name, "endpoint": self.address or address, "table": self.table, "rate": self.rate, "from": self.since,
                  "to": self.until, "op": self.operation, "keys": self.keys, "connections": self.connections,
                  "arrivals": self.arrivals}
        return ",".join(f"{key}={value}" for key, value in fields.items())


class OpenLoad:
    """A run of an open loop, and what became of its requests in any window of it."""

    def __init__(self, target, streams, seed=1):
        with tempfile.NamedTemporaryFile(prefix="weir-samples-") as samples:
            command = [binaries.OPEN_LOOP, *KEYS, "--seed", seed, "--samples", samples.name]
            for stream in streams:
                command += ["--stream", stream.text(target.address)]
            for name, pid in target.processes.items():
                command += ["--process", f"{name}:{pid}"]
            output = _run(command, 60 + 3 * max(stream.until for stream in streams))
            self.result = json.loads(output.strip().splitlines()[-1])
            self.rows = _rows(Path(samples.name).read_bytes(), [stream.name for stream in streams])
        self.cpu_seconds = self.result["cpu_seconds"]

    def window(self, since, until, names=None):
        """The requests that were due in it; of these streams, or all."""
        wanted = lambda row: since <= row.due < until and (names is None or row.stream in names)
        return Window([row for row in self.rows if wanted(row)], until - since)

    def reasons(self):
        """Why requests did not succeed: how often by reason."""
        total = {}
        for one in self.result["streams"]:
            for reason, count in one["reasons"].items():
                total[reason] = total.get(reason, 0) + count
        return total


@dataclass
class Row:
    """One request; times in seconds. Outcome: 0 successful, 1 throttled, 2 failed."""

    stream: str
    due: float
    latency: float
    outcome: int


def _rows(raw, names):
    import array
    import sys

    words = array.array("I")
    words.frombytes(raw)
    if sys.byteorder == "big":
        words.byteswap()
    return [Row(names[stream], due / 1e6, latency / 1e6, outcome)
            for stream, due, latency, outcome in zip(words[0::4], words[1::4], words[2::4], words[3::4])]


@dataclass
class Window:
    """Requests of one window."""

    rows: list
    seconds: float
    ordered: list = field(init=False)

    def __post_init__(self):
        self.ordered = sorted(row.latency for row in self.rows if row.outcome == 0)

    def ms(self, q):
        """A quantile of the successful ones' latencies, in milliseconds; none without any."""
        return self.ordered[min(len(self.ordered) - 1, int(len(self.ordered) * q))] * 1000 if self.ordered else None

    @classmethod
    def of(cls, windows):
        """All of them as one."""
        return cls([row for window in windows for row in window.rows], sum(window.seconds for window in windows))

    @property
    def offered(self):
        return len(self.rows)

    @property
    def ok(self):
        return len(self.ordered)

    @property
    def success(self):
        """A share of 1."""
        return self.ok / self.offered if self.rows else 1.0
